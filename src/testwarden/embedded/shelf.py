"""What was uploaded to the embedded network, so that it can be downloaded again."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from testwarden.model import GIB, KIB

MOST_BYTES = 2 * GIB
"""Bytes that are kept and on their way in, all together."""
MOST_FILES = 64
"""Each holds a file descriptor open, of which a process has 256 on some systems."""

BLOCK = 64 * KIB


class ShelfFullError(Exception):
    """So much is on its way in that this does not fit beside it."""


@dataclass(frozen=True)
class Stored:
    """Where content can be found."""

    address: str
    """SHA-256 of the content in hex."""
    existed: bool
    """Whether it was there already."""


@dataclass(frozen=True)
class Content:
    """Content on its way out."""

    size: int
    blocks: Iterator[bytes]


class Shelf:
    """A bounded store; what came first goes first. Threads may share it.

    Content lies in files without a name: nothing of it is left when the process ends, even by SIGKILL, and no name that
    a peer sends ever reaches the file system.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
        """Given the folder on whose disk the content shall lie (None: that of the system for temporary files)."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[IO[bytes], int]] = {}
        self._incoming = 0

    def put(self, size: int, body: Iterable[bytes]) -> Stored:
        """Given content and its size in bytes, keep it.

        Raise ShelfFullError, OSError as the disk does, and whatever `body` raises; then nothing is kept.
        """
        with self._room_for(size):
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - it is kept open
            try:
                digest = hashlib.sha256()
                for block in body:
                    file.write(block)
                    digest.update(block)
                file.flush()
                return self._keep(digest.hexdigest(), file, size)
            except BaseException:
                file.close()
                raise

    @contextmanager
    def reading(self, address: str) -> Iterator[Content | None]:
        """While inside, the content at this address can be read, even if it is dropped; None if there is none."""
        with self._lock:
            kept = self._kept.get(address)
            copy = os.dup(kept[0].fileno()) if kept else -1
        if kept is None:
            yield None
            return
        try:
            yield Content(kept[1], _blocks(copy))
        finally:
            os.close(copy)

    def close(self) -> None:
        """Drop everything."""
        with self._lock:
            while self._kept:
                self._drop_oldest()

    @contextmanager
    def _room_for(self, size: int) -> Iterator[None]:
        with self._lock:
            if self._incoming + size > self._most_bytes:
                raise ShelfFullError
            self._incoming += size
            while self._kept and (self._size() > self._most_bytes or len(self._kept) >= self._most_files):
                self._drop_oldest()
        try:
            yield
        finally:
            with self._lock:
                self._incoming -= size

    def _keep(self, address: str, file: IO[bytes], size: int) -> Stored:
        with self._lock:
            if address in self._kept:
                file.close()
                return Stored(address, existed=True)
            self._kept[address] = (file, size)
            return Stored(address, existed=False)

    def _size(self) -> int:
        return self._incoming + sum(size for _, size in self._kept.values())

    def _drop_oldest(self) -> None:
        file, _ = self._kept.pop(next(iter(self._kept)))
        file.close()


def _blocks(descriptor: int) -> Iterator[bytes]:
    """Read by position: all copies of a descriptor share one offset."""
    position = 0
    while block := os.pread(descriptor, BLOCK, position):
        position += len(block)
        yield block
