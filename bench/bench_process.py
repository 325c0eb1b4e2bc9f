"""What one attempt costs over a bare `subprocess` of the same client, and what the keeper weighs."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from testwarden.clients.process import Command, Keeper, clean_environment
from testwarden.clients.stop import Stop

RUNS = 400
CLIENT = "/bin/true"


def measure() -> list[tuple[str, float, str]]:
    """Return (what, value, unit): medians over runs of each kind in turn, so that all meet the same noise."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with Keeper(Path(folder) / "processes") as keeper:
            command = Command((CLIENT,), clean_environment(Path(folder)), Path(folder))
            keeper.run(command, Stop(), 60)
            first = time.perf_counter() - begun
            ours, bare, captured = medians(
                RUNS,
                lambda: keeper.run(command, Stop(), 60),
                lambda: subprocess.run([CLIENT], check=True),
                lambda: subprocess.run([CLIENT], check=True, capture_output=True),
            )
            resident = _resident(keeper.pid)
            begun = time.perf_counter()
        stopped = time.perf_counter() - begun
    return [
        ("run() over bare subprocess.run", (ours - bare) * 1e3, "ms"),
        ("run() over subprocess.run that captures output, as run() does", (ours - captured) * 1e3, "ms"),
        ("run()", ours * 1e3, "ms"),
        ("bare subprocess.run", bare * 1e3, "ms"),
        ("keeper started and first client ended", first * 1e3, "ms"),
        ("keeper stopped", stopped * 1e3, "ms"),
        ("keeper's resident memory", resident / 2**20, "MiB"),
    ]


def medians(runs: int, *actions: Callable[[], object]) -> list[float]:
    """Given how often and what to time, return the median seconds of each; they take turns, after one that warms up."""
    times: list[list[float]] = [[] for _ in actions]
    for action in actions:
        action()
    for _ in range(runs):
        for action, seconds in zip(actions, times, strict=True):
            begun = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - begun)
    return [statistics.median(seconds) for seconds in times]


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    for name, value, unit in measure():
        print(f"{name:64} {value:8.2f} {unit}")
