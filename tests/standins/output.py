"""What a process says, collected by a thread, so that a test can wait for it."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Callable

PATIENCE = 45.0
"""Seconds after which a wait is called failed. Nothing here takes long; a slow machine may take its time."""

LAST_WORDS = 0.5
"""Seconds that the rest gets to arrive here when nobody says anything any more."""


class Output:
    """What a process says, collected by a thread."""

    def __init__(self, fd: int) -> None:
        """Given the descriptor to read from, which is now ours."""
        self._fd = fd
        self._changed = threading.Condition()
        self._data = b""
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := self._read():
            with self._changed:
                self._data += data
                self._changed.notify_all()

    def _read(self) -> bytes:
        ready, _, _ = select.select([self._fd, self._wake], [], [])
        if self._wake in ready:
            return b""
        try:
            return os.read(self._fd, 65536)
        except OSError:
            return b""  # a terminal without a process ends with EIO

    @property
    def text(self) -> str:
        """All that was said so far."""
        with self._changed:
            return self._data.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(
        self, pattern: str, after: int = 0, seconds: float = PATIENCE, over: Callable[[], bool] = lambda: False
    ) -> re.Match[str]:
        """Return when the pattern is found behind the first `after` characters. `over` says that no more will come."""
        until = time.monotonic() + seconds
        wanted = re.compile(pattern, re.MULTILINE)
        with self._changed:
            while not (found := wanted.search(self.text, after)):
                now = time.monotonic()
                assert now < until, f"in vain waited for {pattern!r} behind character {after} of:\n{self.text}"
                if over():
                    until = min(until, now + LAST_WORDS)
                self._changed.wait(min(until - now, LAST_WORDS))
            return found

    def whole(self) -> str:
        """Return all that was said, when nobody can say anything any more; fail where somebody still could."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "somebody still holds the output"
        return self.text

    def close(self) -> None:
        """Read no more, and give back the descriptor. What was said is still there."""
        if self._fd < 0:
            return
        os.write(self._waker, b"x")
        self._thread.join()
        for fd in (self._fd, self._wake, self._waker):
            os.close(fd)
        self._fd = -1
