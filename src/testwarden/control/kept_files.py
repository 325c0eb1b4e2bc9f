"""Files by what they contain, on disk: a script that has not changed is not asked for again, whatever the commit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from testwarden.control.commit_cache import write_whole


def digest_of(content: bytes) -> str:
    """Given bytes, return their SHA-256 in lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


class KeptFiles:
    """Keeps files in a folder that it owns, each under its SHA-256, which is held against it when it is loaded.

    It saves requests and nothing else: where the disk does not play along, files are fetched again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, sha256: str) -> bytes | None:
        """Given 64 lower-case hex digits, return the content that has this digest, or None."""
        try:
            content = (self._folder / sha256).read_bytes()
        except OSError:
            return None
        return content if digest_of(content) == sha256 else None

    def store(self, content: bytes) -> None:
        """Keep a content."""
        with suppress(OSError):  # The next fetch asks for it again.
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / digest_of(content), content)

    def keep_only(self, digests: Collection[str]) -> None:
        """Forget everything else."""
        with suppress(OSError):  # There is nothing, or nothing that can be looked at.
            for entry in list(self._folder.iterdir()):
                if entry.name not in digests:
                    with suppress(OSError):
                        entry.unlink()
