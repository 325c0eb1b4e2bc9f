"""Threads for calls that may wait, so that the event loop never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

T = TypeVar("T")


class Pool:
    """Runs calls in threads, many at once."""

    def __init__(self, most: int) -> None:
        """Given how many calls may run at one moment; further ones wait for their turn."""
        self._limiter = anyio.CapacityLimiter(most)

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns; raise what it raises."""
        return await run_sync(call, limiter=self._limiter)
