"""A disk on which one change of a file, or every change for a while, does not happen."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from testwarden.metrics.disk import Disk


class Crash(BaseException):
    """The agent dies here: nothing catches it."""


class BreakingDisk(Disk):
    """Counts the changes; the one with the number `breaks_at` raises `error` instead, a write after half of its bytes."""

    def __init__(self, breaks_at: int = -1, error: BaseException | None = None) -> None:
        self.breaks_at = breaks_at
        self.error = error or Crash()
        self.full = False
        """While it is set, every change raises ENOSPC."""
        self.changes: list[str] = []

    def _change(self, name: str) -> None:
        self.changes.append(name)
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if len(self.changes) - 1 == self.breaks_at:
            raise self.error

    def write(self, descriptor: int, data: bytes) -> int:  # type: ignore[override]  # the real one is a bare function
        try:
            self._change("write")
        except BaseException:
            os.write(descriptor, data[: len(data) // 2])
            raise
        return os.write(descriptor, data)

    def make_folder(self, folder: Path) -> None:
        self._change("make_folder")
        super().make_folder(folder)

    def open_append(self, path: Path) -> int:
        self._change("open_append")
        return super().open_append(path)

    def sync(self, descriptor: int) -> None:
        self._change("sync")  # Dying here is what is tried, not the power cut that a real sync is for.

    def sync_folder(self, folder: Path) -> None:
        self._change("sync_folder")

    def truncate(self, path: Path, size: int) -> None:
        self._change("truncate")
        super().truncate(path, size)

    def rename(self, old: Path, new: Path) -> None:
        self._change(f"rename {old.name}")
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._change(f"unlink {path.name}")
        super().unlink(path)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder of metrics, by name, without an empty journal."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {name: data for name, data in found.items() if data or name != "journal.lp"}
