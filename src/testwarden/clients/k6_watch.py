"""Watching a run while it runs: its numbers, and whether it keeps to what `k6 inspect` had said of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.k6_numbers import Connect, K6Gone, K6Numbers, K6Silent, numbers_of, users_of
from testwarden.clients.stop import Stop

EVERY = 10.0
"""Seconds between two looks at all its numbers."""
OFTEN = 2.0
"""Seconds between two looks at the virtual users of a run that is held to a rate, as those of a public control file are."""
EARLY = 1.0
"""Seconds between the first few looks: k6 makes its virtual users ready then, and nobody waits long for a first number."""
EARLY_LOOKS = 10
LIAR_GRACE = 5.0
"""Seconds between TERM and KILL for a run that does not keep to what it had said."""
SILENT_LOOKS = 3
"""Looks in a row without an answer, after which a run that is held to a rate is stopped."""
FACTOR = 2
"""How many times the requests of its rate a run may be seen to make: how much passes between two looks is not exact."""
MARGIN = 50
"""Requests between two looks that are never too many."""


class Watch:
    """A context manager around a run: inside, a thread looks at it and hands on its numbers.

    A script decides by itself what its load is, and may say one thing to `k6 inspect` and another to `k6 run`. k6 tells
    how many virtual users it makes ready, before they begin: a run with more than are allowed is stopped. They are judged
    by themselves: the rest of what k6 tells can be made too long to read by a script, with metrics of its own. A run that
    is held to a rate is also stopped when it makes far more requests, or says nothing any more: k6's API listens until
    the run is over, so who does not listen is ending, and who listens and is silent hides something.
    """

    def __init__(self, connect: Connect, bounds: K6Bounds, progress: Callable[[K6Numbers], None], stop: Stop) -> None:
        """Given how to reach the REST API, what is allowed, who gets the numbers, and the stop that others may request."""
        self.stop = Stop()
        """What the run listens to: requested when the other one is, or by us."""
        self.last: K6Numbers | None = None
        """What it said last."""
        self._connect = connect
        self._most_vus = bounds.most_vus
        self._rate = bounds.most_rate
        self._progress = progress
        self._theirs = stop
        self._counted = (time.monotonic(), 0)
        """When requests were counted last, and how many there were."""
        self._answered = False
        self._silent = 0
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
        looks, numbers_at = 0, 0.0
        while not self._over.wait(self._pause(looks)):
            looks += 1
            self._look_at_users()
            if looks <= EARLY_LOOKS or time.monotonic() >= numbers_at:
                numbers_at = time.monotonic() + EVERY
                self._look_at_numbers()

    def _pause(self, looks: int) -> float:
        if looks < EARLY_LOOKS:
            return EARLY
        return EVERY if self._rate is None else OFTEN

    def _look_at_users(self) -> None:
        try:
            users = users_of(self._connect)
        except K6Gone:
            self._silent = 0
        except K6Silent:
            self._note_silence()
        else:
            self._answered, self._silent = True, 0
            if users.most > self._most_vus:
                self._end(f"the script makes {users.most} virtual users, {self._most_vus} are allowed")

    def _note_silence(self) -> None:
        """It is busy with its start, or has something to hide; the run itself says which where it is the operator's."""
        self._silent += 1
        if self._answered and self._rate is not None and self._silent >= SILENT_LOOKS:
            self.stop.request("k6 does not say any more how many virtual users it has", LIAR_GRACE)

    def _look_at_numbers(self) -> None:
        try:
            self.last = numbers_of(self._connect)
        except K6Silent:
            return  # not there yet, busy or gone
        self._progress(self.last)
        self._judge_rate(self.last.requests)

    def _judge_rate(self, requests: int) -> None:
        now, (then, before) = time.monotonic(), self._counted
        self._counted = (now, requests)
        made, seconds = requests - before, now - then
        if self._rate is not None and made > max(MARGIN, FACTOR * self._rate * seconds):
            self._end(f"the script makes {made} requests in {seconds:.0f} s, {self._rate} a second are allowed")

    def _end(self, reason: str) -> None:
        self.stop.request(f"{reason}; it had said otherwise", LIAR_GRACE)
