"""The files of the last commit on disk, so that a fetch that finds nothing new moves nothing."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

COMMIT_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
"""SHA-1 or SHA-256, as Git writes them."""


class CommitCache:
    """Keeps files below a folder, one folder per commit. What is there is believed only with its digest.

    It saves work and nothing else: where the disk does not play along, files are fetched again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, commit: str, name: str) -> bytes | None:
        """Return the content as it was stored, or None."""
        path = self._folder / commit / name
        try:
            content = path.read_bytes()
            wanted = _digest_of(path).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None
        return content if hashlib.sha256(content).hexdigest() == wanted else None

    def store(self, commit: str, name: str, content: bytes) -> None:
        """Keep a file of a commit. Without its digest it does not count, so a crash between the two does no harm."""
        path = self._folder / commit / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
            write_whole(_digest_of(path), hashlib.sha256(content).hexdigest().encode("ascii"))
        except OSError:
            pass  # The next fetch asks for it again.

    def keep_only(self, commit: str) -> None:
        """Forget every other commit. What has no commit's name is not ours."""
        try:
            others = [entry for entry in self._folder.iterdir() if entry.name != commit and not entry.is_symlink()]
        except OSError:
            return  # There is nothing, or nothing that can be looked at.
        for entry in others:
            if COMMIT_ID.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees a half of it. Raise OSError where it cannot be written."""
    half = path.with_name(f"{path.name}.part")
    half.write_bytes(content)
    half.replace(path)
