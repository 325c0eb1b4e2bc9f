"""An upload: store seeded content; on a paying network never without having quoted and reserved the price."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from testwarden.clients.client import Client, Order
from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueSeed, Outcome, Task, TestType
from testwarden.workloads.content import pick_seed, with_content
from testwarden.workloads.workload import Item, Pick, Purse, part_of


class UploadWorkload:
    """Implements Workload for uploads.

    An upload that the purse refuses is our own decision, and no outcome is made for that: nobody killed the client, and
    neither the network nor the data has failed. It becomes CLIENT_ERROR, because like the others of that kind it says
    something about this machine only, with the purse's reason, and not mendable, because the cap is the same in a
    minute.
    """

    type: ClassVar[TestType] = TestType.UPLOAD

    def __init__(
        self, client: Client, pick: Pick[CatalogueSeed], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Given the client, the `pick` of the upload catalogue and a clock of seconds."""
        self._client = client
        self._pick = pick
        self._monotonic = monotonic

    @property
    def client(self) -> str:
        """See Workload."""
        return self._client.name

    def pick(self, task: Task, rng: random.Random) -> Item:
        """See Workload."""
        return pick_seed(self._pick, task, rng, moves=True)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse | None = None) -> AttemptResult:
        """See Workload. Without a purse nothing is ever sent with a client that pays."""

        def use(content: Path) -> AttemptResult:
            if not self._client.paying:
                return self._client.upload(content, part_of(order, "upload"), stop)
            if purse is None:
                return AttemptResult(Outcome.CLIENT_ERROR, "uploads cost money here, and there is no purse")
            return self._pay_and_upload(content, order, stop, purse)

        return with_content(item, order, stop, use)

    def _pay_and_upload(self, content: Path, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
        """Quote, reserve, upload, settle. The time limit covers quote and upload together."""
        ends = self._monotonic() + order.timeout
        quote = self._client.quote(content, part_of(order, "quote"), stop)
        if quote.outcome is not Outcome.OK:
            return replace(quote, reason=f"no price, so nothing was sent: {quote.reason}", cost=None)
        if quote.cost is None or not quote.cost.is_finite() or quote.cost < 0:
            return AttemptResult(Outcome.CLIENT_ERROR, "the quote names no price, so nothing was sent")
        own = replace(part_of(order, "upload"), timeout=ends - self._monotonic())
        if own.timeout <= 0:
            return AttemptResult(Outcome.CLIENT_KILLED, "the quote took all the time that there was", mendable=True)
        if stop.requested:
            return AttemptResult(Outcome.CLIENT_KILLED, stop.reason)
        verdict = purse.reserve(quote.cost)
        if verdict.refused:
            return AttemptResult(Outcome.CLIENT_ERROR, verdict.reason)
        return self._upload_reserved(content, own, stop, purse)

    def _upload_reserved(self, content: Path, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
        """Upload what is paid for. What a failed or stopped upload has paid is not known: its reservation stands."""
        paid: Decimal | None = None
        try:
            result = self._client.upload(content, order, stop)
            paid = result.cost if result.outcome is Outcome.OK else None
            return result
        finally:
            purse.settle(paid)
