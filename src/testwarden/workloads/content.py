"""The seeded content that quotes and uploads are about: generate it, check it, use it, delete it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from testwarden import seeded
from testwarden.clients.client import Order
from testwarden.clients.stop import Stop
from testwarden.errors import SeedMismatch
from testwarden.model import AttemptResult, CatalogueSeed, Outcome, Task
from testwarden.workloads.workload import Item, Pick, disk_problem, part_of, row_of


def pick_seed(pick: Pick[CatalogueSeed], task: Task, rng: random.Random, *, moves: bool) -> Item:
    """Given whether the content itself is moved over the network, choose a row and say what it needs."""
    row = pick(task.filesize, rng)
    return Item(f"seed {row.seed}", bytes=row.size if moves else 0, disk=row.size, row=row)


def with_content(item: Item, order: Order, stop: Stop, use: Callable[[Path], AttemptResult]) -> AttemptResult:
    """Generate the item's content, check it, hand its path to `use` and delete it; return what `use` returned.

    Preparing takes nothing from the time limit: that is the client's, and a slow disk is not the network's fault.
    Content that is not what the catalogue says is never used: the row is wrong.
    """
    row = row_of(item, CatalogueSeed)
    try:
        path = part_of(order, "content").folder / seeded.address(row.seed, row.size)
        try:
            _prepare(row, path, stop)
            return use(path)
        finally:
            _delete(path)
    except SeedMismatch as wrong:
        return AttemptResult(Outcome.CLIENT_ERROR, str(wrong))
    except seeded.SeedingStopped:
        return AttemptResult(Outcome.CLIENT_KILLED, stop.reason)
    except OSError as problem:
        return AttemptResult(Outcome.CLIENT_ERROR, f"the content cannot be kept: {disk_problem(problem)}")


def _prepare(row: CatalogueSeed, path: Path, stop: Stop) -> None:
    actual = seeded.write(row.seed, row.size, path, lambda: stop.requested)
    if row.md5 is not None and actual != row.md5:
        raise SeedMismatch(
            f"the catalogue is wrong: {row.filesize.label},{row.seed},{row.size} has the md5 {actual}, not {row.md5}"
        )


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # The caller deletes the whole folder; what became of the attempt must not be lost over this.
