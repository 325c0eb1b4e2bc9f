"""The agent's log as server-sent events."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator

from testwarden.api.door import Door

MOST = 16
"""Callers that may follow the log at one moment."""
HEARTBEAT = 15.0
"""Seconds without a line after which a comment says that the stream lives."""
LOOK = 0.25
"""Seconds between two looks for new lines. Waiting in a thread for each caller would cost more."""
_LINE_END = re.compile(r"\r\n|\r|\n")


class LogStreams:
    """All streams of one API."""

    def __init__(self, door: Door, closing: threading.Event) -> None:
        """Given the agent, and what ends every stream once it is set."""
        self._door = door
        self._closing = closing
        self._open = 0

    @property
    def free(self) -> bool:
        """Whether one more caller can follow."""
        return self._open < MOST

    async def events(self, after: int) -> AsyncIterator[str]:
        """Yield events from the line behind `after` on, until the API is closed or the caller goes away."""
        self._open += 1
        try:
            async for event in self._events(after):
                yield event
        finally:
            self._open -= 1

    async def _events(self, after: int) -> AsyncIterator[str]:
        yield ": testwarden\n\n"  # the caller's side sees at once that the stream stands
        said = time.monotonic()
        while True:
            last, lines = self._door.log_lines(after)
            if after > last:
                after = 0  # the caller knows lines of an earlier run of the agent
                continue
            for number, line in enumerate(lines, last - len(lines) + 1):
                yield event_of(number, line)
            after = last
            if self._closing.is_set():
                return
            now = time.monotonic()
            if lines:
                said = now
            elif now - said >= HEARTBEAT:
                said = now
                yield ": alive\n\n"
            await asyncio.sleep(LOOK)


def event_of(number: int, line: str) -> str:
    """Given the number of a log line and the line, which may have several, return the event."""
    data = "".join(f"data: {part}\n" for part in _LINE_END.split(line))
    return f"id: {number}\n{data}\n"
