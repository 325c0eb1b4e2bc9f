"""The metrics files of a folder, and their lines, packed or not: for everybody who reads them beside the agent.

An agent may be writing and rotating meanwhile. Its files are given so that no sample comes twice when they are read in
the order given: what is in the journal when that is opened was not in metrics.csv when that was. A batch that is on its
way from one to the other (`unfolded`) can be in both, and is left out.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import BinaryIO, cast

from testwarden.errors import MetricsError
from testwarden.metrics.agent_file import AGENT
from testwarden.metrics.disk import BLOCK
from testwarden.metrics.journal import BATCH, JOURNAL
from testwarden.metrics.rotation import METRICS, SUMMARY, archive_of

KINDS = ("metrics", "summary", "agent")
_CURRENT = dict(zip((METRICS, SUMMARY, AGENT), KINDS, strict=True))
_JOURNALS = (BATCH, JOURNAL)
_GROWING = frozenset((*_CURRENT, *_JOURNALS))
_GZIP = b"\x1f\x8b"

LONGEST_LINE = 1024 * 1024
"""Bytes. InfluxDB takes no longer ones, and ours are hardly a thousandth of it."""


def metric_files(paths: Sequence[Path], kind: str = "metrics") -> list[Path]:
    """Given files and folders, return those of a kind (one of KINDS), oldest first, each once.

    Of a folder: the archives, the current file, and for `metrics` the samples that are not in it yet. A file that is
    named counts as `metrics` unless its name says something else. Raise MetricsError for one that is not there.
    """
    found = [path for given in paths for path in (_of_folder(given) if given.is_dir() else [_named(given)])]
    return sorted(dict.fromkeys(path for path in found if kind_of(path) == kind), key=_age)


def unfolded(folder: Path) -> list[Path]:
    """Return the batches that are on their way into metrics.csv, or stayed on it when the agent died."""
    return sorted(folder.glob("journal-*.folding"))


def kind_of(path: Path) -> str:
    """Return what a file's name says that it holds, one of KINDS. A name that is none of ours: `metrics`."""
    archive = archive_of(path.name, 0)
    return archive.kind if archive is not None else _CURRENT.get(path.name, "metrics")


def unpacked_size(path: Path) -> int:
    """Return how many bytes a file has, or had before it was packed (modulo 4 GiB, as gzip notes it); 0 if it is gone."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            size = file.seek(0, os.SEEK_END)
            if not packed or size < len(_GZIP) + 4:
                return size
            file.seek(-4, os.SEEK_END)
            return int.from_bytes(file.read(4), "little")
    except OSError:
        return 0


def is_journal(path: Path) -> bool:
    """Return whether what is in a file will be in metrics.csv later."""
    return path.name in _JOURNALS or path.suffix == ".folding"


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Given a file, packed or not, yield the number of each line, from 1, and the line without its end.

    What follows the last newline of a file that the agent is writing is left out: the rest is still to come. Raise
    MetricsError, with the file, where it cannot be read or is torn; what could be read of it was given before.
    """
    number = 0
    with opened(path) as file:
        for block in line_blocks(path, file):
            for line in block.removesuffix(b"\n").split(b"\n"):
                number += 1
                yield number, line


def line_blocks(path: Path, file: BinaryIO, size: int = BLOCK) -> Iterator[bytes]:
    """Given a file that `opened` gave and how many bytes to read at once, yield what follows as blocks of whole lines.

    Only the last line of a file that nobody is writing may be without its newline. Raise MetricsError, with the file.
    """
    begun = b""
    while block := read(path, file, size):
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            yield begun + whole + newline
            begun = rest
        else:
            begun += rest
        if len(begun) > LONGEST_LINE:
            raise MetricsError(f"{path}: a line is longer than {LONGEST_LINE:,} bytes: this is no metrics file")
    if begun and path.name not in _GROWING:
        yield begun


def first_line(path: Path, file: BinaryIO) -> bytes:
    """Given a file that `opened` gave, return its first line without its end, empty if it has none yet; go back to its
    beginning. Raise MetricsError, with the file."""
    block = next(line_blocks(path, file), b"")
    file.seek(0)
    return block.partition(b"\n")[0]


def read(path: Path, file: BinaryIO, size: int) -> bytes:
    """Given a file that `opened` gave, read at most so many bytes, none at its end. Raise MetricsError, with the file."""
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MetricsError(f"{path}: the archive is torn: {error}") from error
    except OSError as error:
        raise MetricsError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """While inside, a file can be read as what was written, packed or not.

    Raise FileVanished where it is not there (any more), and MetricsError, with the file, where it cannot be opened.
    """
    try:
        raw = path.open("rb")
    except FileNotFoundError as error:
        raise FileVanished(f"{path}: there is no such file") from error
    except OSError as error:
        raise MetricsError(f"{path}: cannot be read: {error.strerror}") from error
    with raw:
        packed = read(path, raw, 2) == _GZIP
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            yield cast(BinaryIO, unpacked)


class FileVanished(MetricsError):
    """A metrics file has another name by now, or was dropped."""


def _named(path: Path) -> Path:
    """A file that was named; an archive that was packed since then has `.gz` in its name."""
    packed = path.with_name(f"{path.name}.gz")
    if not path.exists() and not packed.exists():
        raise MetricsError(f"{path}: there is no such file")
    return path if path.exists() else packed


def _of_folder(folder: Path) -> list[Path]:
    """The files of a folder that are there. Of an archive that was just packed, the plain file is about to go."""
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise MetricsError(f"{folder}: cannot be read: {error.strerror}") from error
    archives = {name for name in names if archive_of(name, 0) and f"{name}.gz" not in names}
    return [folder / name for name in sorted(archives | (names & _GROWING))]


def _age(path: Path) -> tuple[date, int, int]:
    """What files are in order by. Of the journals, `journal.batch` is the older."""
    archive = archive_of(path.name, 0)
    if archive is not None:
        return archive.day, archive.number, 0
    return date.max, 0, _JOURNALS.index(path.name) + 1 if path.name in _JOURNALS else 0
