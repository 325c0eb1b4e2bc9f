"""One run of the agent as a person sees it: log, signals, keys, tables, exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import FrameType
from typing import Any

from testwarden.agent import Agent, Options
from testwarden.clock import SystemClock
from testwarden.console import keys, tables
from testwarden.console.log import Log
from testwarden.control.fetch import Reading
from testwarden.errors import TestwardenError
from testwarden.safety.task_verdict import Judged
from testwarden.settings import secrets
from testwarden.settings_schema import Settings

INTERRUPTED = 130
"""Exit code after SIGINT (128 + 2, as shells have it)."""

_log = logging.getLogger(__name__)
_Handler = Callable[[], None]


class Session:
    """Runs one agent in a console, or without one."""

    def __init__(
        self, settings: Settings, *, cycles: int | None, console: bool, log_format: str, log_level: str
    ) -> None:
        """Given the settings and what the command line says. Raise ValueError for an unknown level."""
        self._console = console
        self._keys: keys.Keys | None = None
        self._interrupts = 0
        self._shown: list[tables.TaskRow] | None = None
        self._json = log_format == "json"
        self._log = Log(descriptor(sys.stdout), level=log_level, as_json=self._json, secrets=secrets(settings))
        self._agent = Agent(settings, Options(cycles), SystemClock(), self._show_plan)

    def run(self) -> int:
        """Run until the end; return the exit code."""
        with self._log:
            try:
                with ExitStack() as stack:
                    self._take_keys(stack)
                    stack.enter_context(handlers(self._signals()))
                    return self._agent.run()
            except TestwardenError as problem:
                _log.error("%s", problem)
                return 1

    def _signals(self) -> Mapping[int, _Handler]:
        wanted: dict[int, _Handler] = {
            signal.SIGTERM: lambda: self._agent.stop("SIGTERM"),
            signal.SIGINT: self._interrupt,
            signal.SIGTSTP: lambda: self._agent.ask(self._suspend),
            signal.SIGCONT: lambda: self._agent.ask(self._resume),
        }
        # Ignored by who started us: that is nohup, which means that the end of the terminal shall not be ours.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            wanted[signal.SIGHUP] = lambda: self._agent.stop("SIGHUP")
        return wanted

    def _interrupt(self) -> None:
        """The first SIGINT asks; the second ends at once, and takes every child along."""
        self._interrupts += 1
        if self._interrupts == 1:
            self._agent.stop("SIGINT", INTERRUPTED)
            return
        self._agent.kill()
        self._leave_terminal()
        # Nothing is unwound any more: that is what the second Ctrl-C asks for.
        os._exit(INTERRUPTED)

    def _leave_terminal(self) -> None:
        if self._keys is not None:
            self._keys.stop()

    def _take_keys(self, stack: ExitStack) -> None:
        """Read keys if there is a terminal in front of us."""
        fd = descriptor(sys.stdin)
        if not self._console or fd is None or not keys.available(fd):
            return
        # What a key asks for is done by the main thread, so that a key typed during the start finds a whole agent.
        actions: dict[str, Callable[[], None]] = {
            "q": lambda: self._agent.stop("the operator quits"),
            "f": self._agent.fetch_now,
            "s": lambda: self._agent.ask(self._show_status),
            "p": lambda: self._agent.ask(self._toggle_pause),
            "?": lambda: self._say(tables.HELP),
        }
        typing = keys.Typing(actions, lambda ref: self._agent.ask(lambda: self._start_task(ref)), self._log.echo)
        self._keys = stack.enter_context(keys.Keys(fd, typing))

    def _suspend(self) -> None:
        self._agent.suspend(self._keys.suspend if self._keys is not None else stop_process)

    def _resume(self) -> None:
        if self._keys is not None:
            self._keys.resume()

    def _show_status(self) -> None:
        self._say(tables.status_table(self._agent.desk.snapshot(), _width()))

    def _toggle_pause(self) -> None:
        self._agent.desk.toggle_pause()

    def _start_task(self, ref: str) -> None:
        self._agent.desk.start_task(ref)

    def _say(self, text: str) -> None:
        self._log.echo(f"\n{text.rstrip()}\n\n")

    def _show_plan(self, judged: tuple[Judged, ...], reading: Reading) -> None:
        """Show the task table, or in JSON the same rows as one event."""
        rows = [tables.judged_row(one) for one in judged]
        rows += [tables.refused_row(finding) for finding in reading.findings if finding.task is not None]
        rows.sort(key=lambda row: row.task)
        where = f"commit {reading.commit[:12]}" if reading.commit else "this hour"
        if rows == self._shown:
            _log.info("tasks of %s: the same as before", where)
            return
        self._shown = rows
        if self._json:
            _log.info("tasks of %s", where, extra={"tasks": [vars(row) for row in rows]})
        else:
            _log.info("tasks of %s\n%s", where, tables.task_table(rows, _width()))


def stop_process() -> None:
    """Do what SIGTSTP does by default; return when the process is continued. Main thread only."""
    ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, ours)


@contextlib.contextmanager
def handlers(wanted: Mapping[int, _Handler]) -> Iterator[None]:
    """Inside, each of these signals has its call made, in a thread of its own; afterwards all is as it was before.

    Main thread only. Python's own handlers would run in the main thread: in the middle of whatever holds a lock there,
    and not before it wakes up, should the signal have come in the moment before it began to wait.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    fd_before = signal.set_wakeup_fd(theirs.fileno())
    before: dict[int, Any] = {number: signal.signal(number, _noted) for number in wanted}
    thread = threading.Thread(target=_answer, args=(ours, wanted), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(fd_before)
        theirs.close()
        thread.join()
        ours.close()


def _noted(_number: int, _frame: FrameType | None) -> None:
    """What the interpreter calls. By then the number of the signal is in the socket."""


def _answer(arriving: socket.socket, wanted: Mapping[int, _Handler]) -> None:
    """Make the calls, one after the other, until the other end is closed."""
    while numbers := arriving.recv(64):
        for number in numbers:
            if number in wanted:
                wanted[number]()


def descriptor(stream: Any) -> int | None:
    """Return the descriptor of a standard stream; None where it is closed."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _width() -> int | None:
    """Return the characters of a line; None where nobody says."""
    fd = descriptor(sys.stdout)
    if fd is None or not os.isatty(fd):
        return None
    return shutil.get_terminal_size().columns
