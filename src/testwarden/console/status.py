"""The status file: what the running agent says of itself, for `testwarden status` in another terminal."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil


class StatusFile:
    """Keeps one JSON object up to date. It is replaced as a whole, so a reader never sees half of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._writing = threading.Lock()

    def write(self, status: Mapping[str, Any]) -> None:
        """Replace what the file says. A full disk leaves the old state: the agent goes on."""
        process = {"pid": os.getpid(), "process_started": psutil.Process().create_time()}
        with self._writing:
            self._replace({**process, **status})

    def _replace(self, status: dict[str, Any]) -> None:
        try:
            with open(self._new, "w", encoding="utf-8", opener=_private) as file:
                json.dump(status, file)
            self._new.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                self._new.unlink()

    def read(self) -> dict[str, Any] | None:
        """Return what the file says, with `alive`: whether the agent that wrote it runs. None without a usable file."""
        try:
            status = json.loads(self._path.read_text(encoding="utf-8"))
            return {**status, "alive": _alive(int(status["pid"]), float(status["process_started"]))}
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
