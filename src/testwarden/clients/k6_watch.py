"""Watching a run while it runs: its numbers, and whether it keeps to what `k6 inspect` had said of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from testwarden.clients.k6_numbers import Connect, K6Numbers, K6Silent, numbers_of
from testwarden.clients.stop import Stop

EVERY = 10.0
"""Seconds between two looks."""
EARLY = 1.0
"""Seconds between the first few looks: k6 makes its virtual users ready then, and nobody waits long for a first number."""
EARLY_LOOKS = 10
LIAR_GRACE = 5.0
"""Seconds between TERM and KILL for a run that makes more virtual users than it had said."""


class Watch:
    """A context manager around a run: inside, a thread looks at it and hands on its numbers.

    A script decides by itself what its load is, and may say one thing to `k6 inspect` and another to `k6 run`. k6 tells
    how many virtual users it makes ready, before they begin: a run with more than are allowed is stopped.
    """

    def __init__(self, connect: Connect, most_vus: int, progress: Callable[[K6Numbers], None], stop: Stop) -> None:
        """Given how to reach the REST API, how many virtual users are allowed, who gets the numbers, and the stop that
        others may request."""
        self.stop = Stop()
        """What the run listens to: requested when the other one is, or by us."""
        self.last: K6Numbers | None = None
        """What it said last."""
        self._connect = connect
        self._most_vus = most_vus
        self._progress = progress
        self._theirs = stop
        self._over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Watch:
        self._stack.enter_context(self._theirs.listener(self._pass_on))
        thread = threading.Thread(target=self._look_and_look, name="k6-watch", daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._over.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for _ in range(self.stop.kills):
            self._theirs.note_kill()

    def _pass_on(self) -> None:
        self.stop.request(self._theirs.reason, max(0.0, self._theirs.kill_at - time.monotonic()))

    def _look_and_look(self) -> None:
        looks = 0
        while not self._over.wait(EARLY if looks < EARLY_LOOKS else EVERY):
            looks += 1
            self._look()

    def _look(self) -> None:
        try:
            self.last = numbers_of(self._connect)
        except K6Silent:
            return  # not there yet, busy or gone; the run itself says which
        self._progress(self.last)
        if self.last.vus_max > self._most_vus:
            reason = f"the script makes {self.last.vus_max} virtual users, {self._most_vus} are allowed"
            self.stop.request(f"{reason}; it had said otherwise", LIAR_GRACE)
