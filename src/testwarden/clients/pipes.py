"""Our ends of the pipes to one running client: its output, bounded, the keeper's report about it, and a bell."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
from collections.abc import Callable

from testwarden.clients import keeper

HALF = 32 * 1024
"""Bytes kept of the beginning and as many of the end of a client's output."""
AT_ONCE = 64 * 1024
"""Bytes of one read: what a pipe holds."""


class Pipes:
    """What one attempt is watched through, from its start to its end."""

    def __init__(self, stack: contextlib.ExitStack, hear: Callable[[bytes], None] | None = None) -> None:
        """Given what closes the pipes again, and what gets the output as it comes."""
        self._childs: list[int] = []
        stack.callback(self.close_childs_ends)
        self.stdout, self.stderr = Output(hear), Output(hear)
        self._outputs = {self._pipe(stack): self.stdout, self._pipe(stack): self.stderr}
        self._status = self._pipe(stack)
        self.bell = Bell()
        stack.callback(self.bell.close)
        self.failure: tuple[int, int] | None = None
        """errno and index into keeper.STEPS, where it could not be started."""
        self.report: tuple[int, int, bool, float] | None = None
        """Code, strays, whether by the hard deadline, seconds."""
        self.was_abandoned = False
        self._poll = select.poll()
        for fd in (*self._outputs, self._status, self.bell.fd):
            self._poll.register(fd, select.POLLIN)

    @property
    def childs_ends(self) -> list[int]:
        """For the keeper to pass on: stdout, stderr, status."""
        return self._childs

    @property
    def is_over(self) -> bool:
        return self.report is not None or self.failure is not None

    def close_childs_ends(self) -> None:
        """Close them here, so that only the client and the keeper hold them. A second time does nothing."""
        while self._childs:
            os.close(self._childs.pop())

    def wait(self, seconds: float) -> None:
        """Take in whatever arrives; return when something did, or when so many seconds are over."""
        for fd, _ in self._poll.poll(max(0, math.ceil(min(seconds, 3600.0) * 1000))):
            if fd == self._status:
                self._hear()
            elif fd == self.bell.fd:
                self.bell.hear()
            elif not self._outputs[fd].read_from(fd):
                self._poll.unregister(fd)
        if self.is_over or self.was_abandoned:
            self._drain()

    def _hear(self) -> None:
        data = os.read(self._status, keeper.REPORT.size)
        if not data:
            self.was_abandoned = True
            return
        kind, value, count, flag, seconds = keeper.REPORT.unpack(data)
        if kind == b"F":
            self.failure = (value, count)
        else:
            self.report = (value, count, flag, seconds)

    def _drain(self) -> None:
        """Read what the pipes still hold, without waiting for more: 1 MiB is the most that one can hold."""
        for fd, output in self._outputs.items():
            for _ in range(16):
                if not output.read_from(fd):
                    break

    def _pipe(self, stack: contextlib.ExitStack) -> int:
        ours, childs = os.pipe()
        stack.callback(os.close, ours)
        os.set_blocking(ours, False)
        self._childs.append(childs)
        return ours


class Output:
    """Beginning and end of a stream, however long it is."""

    def __init__(self, hear: Callable[[bytes], None] | None = None) -> None:
        self._hear = hear
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def read_from(self, fd: int) -> bool:
        """Read once; return False where there is nothing, now or ever."""
        try:
            data = os.read(fd, AT_ONCE)
        except BlockingIOError:
            return False
        if self._hear and data:
            self._hear(data)
        room = HALF - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        surplus = max(0, len(self._tail) - HALF)
        self._left_out += surplus
        del self._tail[:surplus]
        return bool(data)

    def text(self) -> str:
        note = f"\n[{self._left_out} bytes left out]\n".encode() if self._left_out else b""
        return (self._head + note + self._tail).decode("utf-8", errors="replace")


class Bell:
    """Wakes a thread that polls `fd`. May be rung by any thread, also after it was closed."""

    def __init__(self) -> None:
        self.fd, self._cord = os.pipe()
        os.set_blocking(self._cord, False)
        self._closed = False
        self._lock = threading.RLock()  # re-entrant: a signal handler may ring it in the middle of `close`

    def ring(self) -> None:
        with self._lock:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):  # it rings already
                    os.write(self._cord, b"!")

    def hear(self) -> None:
        os.read(self.fd, 4096)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.fd)
            os.close(self._cord)
