"""Bringing a file onto the disk beside the work: who wrote goes on, and asks later whether it got there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NoReturn

from testwarden.errors import LedgerError

Ticket = threading.Event
"""Stands for one request: set when it was answered, well or ill."""


class Flusher:
    """One thread that flushes when it is asked to; one flush serves everybody who asked before it began. Thread-safe.

    A flush that failed is never made good: the kernel may have forgotten what it could not write, and the next flush
    would succeed without it (fsync(2)). From then on every call raises.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        """Given what flushes, start the thread."""
        self._flush = flush
        self._asked: SimpleQueue[Ticket | None] = SimpleQueue()
        """None: the end."""
        self._failure = ""
        self._thread = threading.Thread(target=self._work, name="ledger-flush", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LedgerError if something that was written may never have reached the disk."""
        if self._failure or not self._thread.is_alive():
            self._raise(self._failure or "the thread that flushes is gone")

    def ask(self) -> Ticket:
        """Have what was written until now flushed; return what to `wait` for."""
        ticket = Ticket()
        self._asked.put(ticket)
        return ticket

    def wait(self, ticket: Ticket) -> None:
        """Return when the flush that a ticket stands for has ended. Raise LedgerError if any failed."""
        while not ticket.wait(timeout=1.0):
            self.check()  # asked behind a failure, it is never answered
        if self._failure:
            self._raise(self._failure)

    def close(self) -> None:
        """Bring what was asked for to its end; there is no thread then."""
        self._asked.put(None)
        self._thread.join()

    def _raise(self, failure: str) -> NoReturn:
        raise LedgerError(f"what was written may not be on the disk ({failure}): start the agent again")

    def _work(self) -> None:
        tickets: list[Ticket | None] = []
        try:
            while None not in tickets:
                tickets = [self._asked.get(), *self._more()]
                self._flush()
                _answer(tickets)
        except BaseException as problem:  # noqa: BLE001 - whatever ends this thread has to be told
            self._failure = str(problem) or repr(problem)
            _answer([*tickets, *self._more()])

    def _more(self) -> list[Ticket | None]:
        """Return what else was asked meanwhile."""
        found: list[Ticket | None] = []
        try:
            while True:
                found.append(self._asked.get_nowait())
        except Empty:
            return found


def _answer(tickets: list[Ticket | None]) -> None:
    for ticket in tickets:
        if ticket is not None:
            ticket.set()
