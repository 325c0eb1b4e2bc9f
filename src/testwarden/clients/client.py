"""What every client can be asked to do. Workloads know this protocol and nothing else of a client."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueFile


@dataclass(frozen=True)
class Order:
    """The circumstances of one attempt: where it may write, how long and how much it may take."""

    folder: Path
    """An empty folder of its own, deleted after the attempt."""
    timeout: float
    """Seconds after which the client is stopped by us."""
    most_bytes: int
    """A file larger than this is not what was asked for: the client is stopped when it passes it."""
    home: Path | None = None
    """Another empty folder, for what the client keeps for itself; who gave it empties it. None: the client sees to it."""
    window_left: float = math.inf
    """Seconds until the window ends; infinite for what is not bound to it."""


class Client(Protocol):
    """Carries out one attempt and says how it ended.

    No method raises for what a client, a server or a network does: that is an outcome. They return within
    `order.timeout` plus the grace of the stop, and leave no process, socket or thread behind. When `stop` is requested
    they stop at once and return `CLIENT_KILLED` with the stop's reason; the time limit is `CLIENT_KILLED`, too, mendable.
    `exec_time` and `bytes` of the result are filled in.
    """

    @property
    def name(self) -> str:
        """The tag in the metrics: name and generation. `ant` where the program was not found yet."""
        ...

    @property
    def paying(self) -> bool:
        """Whether an upload spends the operator's funds."""
        ...

    def download(self, file: CatalogueFile, order: Order, stop: Stop) -> AttemptResult:
        """Fetch the file and leave it as the only entry of `order.folder`. Content is checked by the caller."""
        ...

    def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """Ask what storing the file would cost; `cost` of an OK result is the price in ANT."""
        ...

    def upload(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """Store the file; `cost` of an OK result is what was paid in ANT. What is stored already is a success."""
        ...
