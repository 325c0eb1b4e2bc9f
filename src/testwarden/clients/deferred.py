"""A client that is built at its first attempt: `requests` takes 0.1 s to import, and the task table should not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from testwarden.clients.client import Client, Order
from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueFile


class DeferredClient:
    """Implements Client by one that is built when it is first needed, once."""

    paying = False

    def __init__(self, name: str, build: Callable[[], Client]) -> None:
        """Given the name of the client, which must not be a paying one, and what builds it."""
        self.name = name
        self._build = build
        self._lock = threading.Lock()
        self._built: Client | None = None

    def _client(self) -> Client:
        with self._lock:
            if self._built is None:
                self._built = self._build()
            return self._built

    def download(self, file: CatalogueFile, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        return self._client().download(file, order, stop)

    def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        return self._client().quote(content, order, stop)

    def upload(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        return self._client().upload(content, order, stop)
