"""What k6 prints, in a file that others may read while it runs."""

from __future__ import annotations

import os
from pathlib import Path

MOST_BYTES = 16 * 1024 * 1024
"""Of one log: a script can print without end."""
FULL = b"\n[the log is full: what follows is left out]\n"


class K6Log:
    """Appends to a file, up to MOST_BYTES. A disk that takes no more ends the log and nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = MOST_BYTES

    def hear(self, data: bytes) -> None:
        """Given what was printed, append it."""
        if self._left <= 0:
            return
        part = data if len(data) <= self._left else data[: self._left] + FULL
        self._left -= len(data)
        try:
            # Opened each time: k6 prints seldom, and nobody has to close it.
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                os.write(descriptor, part)
            finally:
                os.close(descriptor)
        except OSError:
            self._left = 0
