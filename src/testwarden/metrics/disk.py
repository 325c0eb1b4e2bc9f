"""The one door of this room to the disk: what it changes, and how it reads long files of lines without holding them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 128 * 1024
"""Bytes read at once: what fits a processor's cache reads faster than a megabyte."""


class Disk:
    """Every change of a file goes through one of these. All raise OSError and nothing else."""

    write = staticmethod(os.write)
    """Given a descriptor and bytes, write them or a part; return how many. The bare call, because each sample makes it."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder that only its owner may enter, with its parents."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)

    def open_append(self, path: Path) -> int:
        """Given a file that need not exist, return a descriptor that every write appends to."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Return when what was written is on the disk."""
        os.fsync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def truncate(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file a new name, in place of what has that name already."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def write_all(self, descriptor: int, data: bytes) -> None:
        """Write all of it, in as many writes as it takes."""
        while data:
            data = data[self.write(descriptor, data) :]


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def end_of_lines(path: Path) -> int:
    """Return where the last whole line of a file ends, 0 if it has none or does not exist."""
    for offset, block in lines_backward(path):
        end = block.rfind(b"\n") + 1
        if end:
            return offset + end
    return 0


def blocks_forward(path: Path, start: int = 0) -> Iterator[bytes]:
    """Given a file that need not exist and an offset in it, return what follows in blocks."""
    if not path.exists():
        return
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while block := file.read(BLOCK):
            yield block


def lines_forward(path: Path, start: int = 0) -> Iterator[bytes]:
    """Given a file that need not exist and where a line starts in it, return its whole lines from there on in blocks."""
    begun: list[bytes] = []
    for block in blocks_forward(path, start):
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            yield b"".join((*begun, whole, newline))
            begun.clear()
        begun.append(rest)


def lines_backward(path: Path) -> Iterator[tuple[int, bytes]]:
    """Given a file that need not exist, return its lines in blocks, last to first, each with its offset.

    What follows the last newline belongs to the first block returned.
    """
    if not path.exists():
        return
    with path.open("rb", buffering=0) as file:
        end, rest = file.seek(0, os.SEEK_END), b""
        while end > 0:
            start = max(0, end - BLOCK)
            block = _read_exactly(file, start, end - start) + rest
            cut = block.find(b"\n") + 1 if start else 0
            rest = block[:cut] if cut or not start else block
            if len(rest) < len(block):
                yield start + cut, block[cut:]
            end = start


def _read_exactly(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    data = b""
    while len(data) < length:
        more = file.read(length - len(data))
        if not more:
            raise OSError(f"{file.name} became shorter while it was read")
        data += more
    return data
