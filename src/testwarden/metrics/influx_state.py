"""How far each file of a folder was sent to a server: a small file beside the metrics.

A file is known by its first line, whatever it is called and whether it is packed: an archive is the file that it was made
from. How far it was sent is a number of bytes and the SHA-256 of these bytes. If they are others by now, as those of
summary.csv are when a late sample came, the file is sent again from its beginning; the points of the lines that were sent
before are overwritten by the same points.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from testwarden.errors import MetricsError
from testwarden.metrics.disk import BLOCK
from testwarden.metrics.files import read

MOST_FILES = 4096
"""Beyond so many, the file that was not touched for longest is forgotten, and would be sent again."""

Look = tuple[str, int, int]
"""A file as a look at its folder shows it: name, bytes and time of its last change."""


@dataclass(frozen=True)
class Place:
    """How far a file was sent: to the end of a line."""

    bytes: int = 0
    """Of what was written, before it was packed."""
    lines: int = 0
    digest: str = ""
    """SHA-256 of these bytes, in hex."""


class SentFiles:
    """What was sent from one folder to one server. Not thread-safe.

    Two processes that send from one folder to one server forget some of what the other noted, and send it again.
    """

    def __init__(self, folder: Path, key: str, *, keep: bool = True) -> None:
        """Given the folder, the key of the server, and whether `save` writes; go on with what was saved there."""
        self._path = folder / f".imported-{key}.json"
        self._keep = keep
        self._places: dict[str, Place] = {}
        self._ended: dict[Look, str] = {}
        """Files that were read to their end when they looked like this, by what they are known by."""
        self._changed = False
        self._read()

    def forget(self) -> None:
        """Begin anew: every file is to be sent from its beginning."""
        self._places.clear()
        self._ended.clear()
        self._changed = True

    def ended(self, look: Look) -> bool:
        """Return whether a file that looks like this was read to its end: then it need not be opened."""
        return look in self._ended

    def place(self, name: str) -> Place:
        """Given what a file is known by, return how far it was sent."""
        return self._places.get(name, Place())

    def note(self, name: str, place: Place, ended: Look | None = None) -> None:
        """Note how far a file was sent; `ended` is how it looked before it was read to its end."""
        self._places.pop(name, None)
        self._places[name] = place
        if ended is not None:
            self._ended = {look: known for look, known in self._ended.items() if known != name and look[0] != ended[0]}
            self._ended[ended] = name
        while len(self._places) > MOST_FILES:
            forgotten = next(iter(self._places))
            del self._places[forgotten]
            self._ended = {look: known for look, known in self._ended.items() if known != forgotten}
        self._changed = True

    def save(self) -> None:
        """Write what was noted. Raise MetricsError if that cannot be done.

        It is not synced: what a power cut takes is sent again.
        """
        if not self._keep or not self._changed:
            return
        looks = {known: look for look, known in self._ended.items()}
        content = {name: [p.bytes, p.lines, p.digest, looks.get(name)] for name, p in self._places.items()}
        unfinished = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            unfinished.write_text(json.dumps(content), encoding="ascii")
            unfinished.replace(self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise MetricsError(
                f"{self._path}: how far the files were sent cannot be noted: {error.strerror}"
            ) from error
        self._changed = False

    def _read(self) -> None:
        """A file that is not there, cannot be read or is none of ours: nothing was sent."""
        try:
            content = json.loads(self._path.read_bytes())
            for name, entry in content.items():
                self._places[name], look = _entry(entry)
                if look is not None:
                    self._ended[look] = name
        except (OSError, ValueError, TypeError, AttributeError):
            self._places.clear()
            self._ended.clear()


def known_by(first: bytes) -> str:
    """Given the first line of a file, return what the file is known by."""
    return hashlib.sha256(first).hexdigest()[:24]


def look_at(path: Path) -> Look | None:
    """Return how a file looks; None if it is not there."""
    try:
        said = path.stat()
    except OSError:
        return None
    return path.name, said.st_size, said.st_mtime_ns


def sent_so_far(path: Path, file: BinaryIO, place: Place) -> hashlib._Hash | None:
    """Given a file that was just opened, read what was sent of it, and return its hash; None if it is not that any more."""
    digest, missing = hashlib.sha256(), place.bytes
    while missing:
        block = read(path, file, min(BLOCK, missing))
        if not block:
            return None
        digest.update(block)
        missing -= len(block)
    return digest if not place.bytes or digest.hexdigest() == place.digest else None


def _entry(entry: Any) -> tuple[Place, Look | None]:
    size, lines, digest, look = entry
    name, length, changed = look or ("", 0, 0)
    return Place(int(size), int(lines), str(digest)), (str(name), int(length), int(changed)) if look else None
