"""A quote: ask what storing seeded content would cost."""

from __future__ import annotations

import random
from typing import ClassVar

from testwarden.clients.client import Client, Order
from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueSeed, Task, TestType
from testwarden.workloads.content import pick_seed, with_content
from testwarden.workloads.workload import Item, Pick, Purse, part_of


class QuoteWorkload:
    """Implements Workload for quotes."""

    type: ClassVar[TestType] = TestType.QUOTE

    def __init__(self, client: Client, pick: Pick[CatalogueSeed]) -> None:
        """Given the client and the `pick` of the quote catalogue."""
        self._client = client
        self._pick = pick

    @property
    def client(self) -> str:
        """See Workload."""
        return self._client.name

    def pick(self, task: Task, rng: random.Random) -> Item:
        """See Workload. The content stays here, so no bytes are reserved."""
        return pick_seed(self._pick, task, rng, moves=False)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse | None = None) -> AttemptResult:
        """See Workload."""
        del purse  # asking costs nothing
        return with_content(
            item, order, stop, lambda content: self._client.quote(content, part_of(order, "quote"), stop)
        )
