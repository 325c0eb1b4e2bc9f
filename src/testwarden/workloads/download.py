"""A download: fetch a file of the catalogue and look whether it is the right one."""

from __future__ import annotations

import hashlib
import random
import stat
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from testwarden.clients.client import Client, Order
from testwarden.clients.stop import Stop
from testwarden.model import MIB, AttemptResult, CatalogueFile, Outcome, Task, TestType
from testwarden.workloads.workload import Item, Pick, Purse, disk_problem, part_of, row_of

_MOST_NAMED = 3
"""So many entries of a folder are named in a reason."""


class DownloadWorkload:
    """Implements Workload for downloads."""

    type: ClassVar[TestType] = TestType.DOWNLOAD

    def __init__(self, client: Client, pick: Pick[CatalogueFile]) -> None:
        """Given the client and the `pick` of the download catalogue."""
        self._client = client
        self._pick = pick

    @property
    def client(self) -> str:
        """See Workload."""
        return self._client.name

    def pick(self, task: Task, rng: random.Random) -> Item:
        """See Workload. How large the file is shows only while it comes, so the most of its size is reserved."""
        row = self._pick(task.filesize, rng)
        return Item(row.address, bytes=row.filesize.most, disk=row.filesize.most, row=row)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse | None = None) -> AttemptResult:
        """See Workload. What the client calls a success is one only if it left exactly the file that was asked for."""
        del purse  # downloads are free
        file = row_of(item, CatalogueFile)
        try:
            own = part_of(order, "download")
            result = self._client.download(file, own, stop)
            return _checked(result, file, own, stop) if result.outcome is Outcome.OK else result
        except OSError as problem:
            return AttemptResult(Outcome.CLIENT_ERROR, f"the download cannot be kept or read: {disk_problem(problem)}")


def _checked(result: AttemptResult, file: CatalogueFile, order: Order, stop: Stop) -> AttemptResult:
    """Given a client's success, return it with what the file is really like."""
    entries = sorted(order.folder.iterdir())
    wrong = _wrong_entries(entries)
    if wrong:
        return replace(result, outcome=Outcome.CLIENT_ERROR, reason=f"the client left {wrong} instead of one file")
    size = entries[0].lstat().st_size
    result = replace(result, bytes=size)
    if size > order.most_bytes:
        reason = f"the file has {size:,} bytes, and {file.filesize.label} means at most {order.most_bytes:,}"
        return replace(result, outcome=Outcome.CLIENT_ERROR, reason=reason)
    return _md5_checked(result, file.md5, entries[0], stop) if file.md5 else result


def _wrong_entries(entries: list[Path]) -> str:
    """Say what there is, if it is not exactly one regular file; else return an empty text."""
    if not entries:
        return "nothing"
    if len(entries) > 1:
        # ascii(): the names are the client's, and need not be text.
        named = ", ".join(ascii(entry.name)[:60] for entry in entries[:_MOST_NAMED])
        return f"{len(entries)} entries ({named}{', …' if len(entries) > _MOST_NAMED else ''})"
    mode = entries[0].lstat().st_mode
    if stat.S_ISREG(mode):
        return ""
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"))
    return next((name for is_kind, name in kinds if is_kind(mode)), "something that is no file")


def _md5_checked(result: AttemptResult, expected: str, path: Path, stop: Stop) -> AttemptResult:
    actual = _md5(path, stop)
    if actual is None:
        return replace(result, outcome=Outcome.CLIENT_KILLED, reason=stop.reason)
    if actual != expected:
        reason = f"md5 is {actual} instead of {expected}"
        return replace(result, outcome=Outcome.MD5_INVALID, reason=reason, md5_valid=False)
    return replace(result, md5_valid=True)


def _md5(path: Path, stop: Stop) -> str | None:
    """Return the md5 of a file in hex, or None if a stop was requested before its end was reached."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        while block := file.read(MIB):
            if stop.requested:
                return None
            digest.update(block)
    return digest.hexdigest()
