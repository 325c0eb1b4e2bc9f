"""A client without a network: the twin of the real ones, for tests."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from testwarden import seeded
from testwarden.clients.client import Order
from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueFile, Outcome

EXEC_TIME = 0.25
"""Seconds that a call claims to have taken."""

Leave = Callable[[CatalogueFile, Path], None]
"""Given the file that was asked for and the client's folder: what a download leaves there."""


@dataclass(frozen=True)
class Call:
    """One thing that the client was asked to do."""

    method: str
    subject: CatalogueFile | bytes
    """The file to download, or the content to quote or upload."""
    order: Order


class MemoryClient:
    """Implements Client on a network that is a dictionary: it has all seeded content, and what was uploaded.

    Results that are handed in are returned first, in their order, whatever is asked for. A scripted success of a
    download still leaves its file.
    """

    def __init__(
        self, *results: AttemptResult, name: str = "memory", paying: bool = False, leave: Leave | None = None
    ) -> None:
        """Given scripted results, the tag, whether uploads pay, and what a download leaves (else the right file)."""
        self.name = name
        self.paying = paying
        self.price = Decimal("0.000000000000012345")
        self.calls: list[Call] = []
        self.stored: dict[str, bytes] = {}
        self._results = deque(results)
        self._leave = leave or self._leave_right_file

    def download(self, file: CatalogueFile, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        result = self._ordered("download", file, order, stop) or AttemptResult(Outcome.OK, exec_time=EXEC_TIME)
        if result.outcome is not Outcome.OK:
            return result
        try:
            self._leave(file, order.folder)
        except KeyError:
            return AttemptResult(Outcome.DATA_LOSS, f"nothing is stored at {file.address}")
        return result

    def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        ordered = self._ordered("quote", content.read_bytes(), order, stop)
        return ordered or AttemptResult(Outcome.OK, exec_time=EXEC_TIME, cost=self.price)

    def upload(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client."""
        data = content.read_bytes()
        ordered = self._ordered("upload", data, order, stop)
        if ordered:
            return ordered
        address, cost = hashlib.sha256(data).hexdigest(), self.price if self.paying else None
        self.stored[address] = data
        return AttemptResult(Outcome.OK, exec_time=EXEC_TIME, bytes=len(data), cost=cost, address=address)

    def _ordered(self, method: str, subject: CatalogueFile | bytes, order: Order, stop: Stop) -> AttemptResult | None:
        """Note the call; return the result that a stop or the script demands, or None."""
        self.calls.append(Call(method, subject, order))
        if stop.requested:
            return AttemptResult(Outcome.CLIENT_KILLED, stop.reason)
        return self._results.popleft() if self._results else None

    def _leave_right_file(self, file: CatalogueFile, folder: Path) -> None:
        made = seeded.parse_address(file.address)
        data = b"".join(seeded.chunks(*made)) if made else self.stored[file.address]
        (folder / file.name).write_bytes(data)
