"""One agent per cache folder: a lock that the kernel lets go of when the agent is gone, however it went."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from testwarden.errors import AlreadyRunning


class FolderLock:
    """Holds a folder for this process. A context manager; raise AlreadyRunning if another process holds it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1

    def __enter__(self) -> FolderLock:
        fd = os.open(self._folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise AlreadyRunning(
                f"another agent (pid {holder or 'unknown'}) uses {self._folder}: two would share one budget. Stop it, or "
                "give this one another agent.cache_dir"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
