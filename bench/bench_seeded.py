"""How fast seeded content is generated, hashed and on disk, and how much memory that takes."""

from __future__ import annotations

import hashlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from testwarden.model import GIB, MIB
from testwarden.seeded import write

SIZE = 2 * GIB
ROUNDS = 5


def measure() -> list[tuple[str, float, str]]:
    """Return the speed for 2 GiB, best and median of five because disks vary, md5 alone beside it, and the memory.

    Memory is what the peak of the process grew by over content of 16 MiB: flat means next to nothing.
    """
    with tempfile.TemporaryDirectory(prefix="bench-seeded-", dir=Path.cwd()) as folder:
        path = Path(folder) / "content"
        _write(path, 16 * MIB)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        speeds = [_speed(lambda: _write(path, SIZE)) for _ in range(ROUNDS)]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return [
        ("seeded content, 2 GiB, best", max(speeds), "MB/s"),
        ("seeded content, 2 GiB, median", statistics.median(speeds), "MB/s"),
        ("md5 alone, the ceiling, best", max(_speed(_md5) for _ in range(ROUNDS)), "MB/s"),
        ("seeded content, peak memory of 2 GiB over that of 16 MiB", grown / 1024, "MiB"),
    ]


def _speed(job: Callable[[], None]) -> float:
    """Given something that works through SIZE bytes, return the MB a second."""
    started = time.perf_counter()
    job()
    return SIZE / 1e6 / (time.perf_counter() - started)


def _write(path: Path, size: int) -> None:
    write(42, size, path)
    path.unlink()


def _md5() -> None:
    digest, block = hashlib.md5(usedforsecurity=False), bytes(MIB)
    for _ in range(SIZE // MIB):
        digest.update(block)


if __name__ == "__main__":
    for name, value, unit in measure():
        print(f"{name}: {value:.1f} {unit}")
