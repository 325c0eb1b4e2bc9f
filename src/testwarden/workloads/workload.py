"""What one attempt of each type of test is: the protocol that workers know."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol, TypeVar

from testwarden.clients.client import Order
from testwarden.clients.stop import Stop
from testwarden.model import AttemptResult, CatalogueFile, CatalogueSeed, FileSize, Task, TestType, Verdict

Row = TypeVar("Row", CatalogueFile, CatalogueSeed, Task)
RowOut = TypeVar("RowOut", CatalogueFile, CatalogueSeed, covariant=True)


class Pick(Protocol[RowOut]):
    """Given a file size and a source of chance, return a row of a catalogue. Raise KeyError if it has none."""

    def __call__(self, filesize: FileSize, rng: random.Random, /) -> RowOut: ...


@dataclass(frozen=True)
class Item:
    """What one attempt is about, and what to reserve for it before it starts."""

    target: str
    """For the audit: the address of a file, or `seed N`."""
    bytes: int
    """The most that the attempt can move over the network."""
    disk: int
    """Bytes that it needs on the disk."""
    row: CatalogueFile | CatalogueSeed | Task
    """A row of a catalogue; the task itself where its type has no catalogue."""


class Purse(Protocol):
    """The operator's funds, as one attempt may use them. Both calls may raise LedgerError."""

    def reserve(self, cost: Decimal) -> Verdict:
        """Given a price in ANT, take it out of the day's cap; a refusal takes nothing."""
        ...

    def settle(self, actual: Decimal | None) -> None:
        """Given what was paid in ANT, correct the reservation; None: that is not known, and the reservation stands."""
        ...


class Workload(Protocol):
    """One type of test. One object serves all workers: it keeps nothing from one attempt to the next."""

    @property
    def type(self) -> TestType: ...

    @property
    def client(self) -> str:
        """Name of the client that carries it out, for the metrics; known for sure only after an attempt."""
        ...

    def pick(self, task: Task, rng: random.Random) -> Item:
        """Choose what the next attempt is about. Raise KeyError if the catalogue lacks the task's file size."""
        ...

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
        """Carry out one attempt on what `pick` chose, in `order.folder`, which the caller deletes.

        What a client, a network or a disk does is an outcome and never raised. Raise LedgerError from the purse.
        """
        ...


def row_of(item: Item, kind: type[Row]) -> Row:
    """Return the item's row. Raise TypeError if the item was picked by another type of workload."""
    if not isinstance(item.row, kind):
        raise TypeError(f"{item.row!r} is no {kind.__name__}")
    return item.row


def part_of(order: Order, name: str) -> Order:
    """Given an order and a name, return the order for a folder of that name inside its own, which is empty.

    A client may leave in its folder what it likes; what the workload itself needs lies beside it.
    """
    folder = order.folder / name
    folder.mkdir(exist_ok=True)
    return replace(order, folder=folder)


def disk_problem(problem: OSError) -> str:
    """Say what the file system refused, without the path: reasons leave this machine with the metrics."""
    return problem.strerror or type(problem).__name__
