"""For tests with real processes: see who lives, wait for what has to happen, never longer than bounded."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

MISBEHAVE = Path(__file__).with_name("misbehave.py")


def lives(pid: int) -> bool:
    """Whether a process runs. One that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return when the condition holds; fail with what it is when that takes too long."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"in vain waited for: {what}"
        time.sleep(0.005)


def pid_in(path: Path) -> int:
    """Wait for a pid file and return what it holds."""
    wait_until(path.exists, f"{path.name} written")
    return int(path.read_text())


def pids_in(folder: Path) -> dict[str, int]:
    """Return what the pid files in a folder hold, by name."""
    return {path.stem: int(path.read_text()) for path in folder.glob("*.pid")}


def still_alive(pids: dict[str, int]) -> dict[str, int]:
    return {name: pid for name, pid in pids.items() if lives(pid)}


def open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
