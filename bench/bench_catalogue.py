"""How fast a catalogue of a million rows is indexed, how fast a row is picked, and what the index weighs."""

from __future__ import annotations

import random
import time
import tracemalloc

from testwarden.control.catalogue import read_downloads, read_seeds
from testwarden.model import FileSize

ROWS = 1_000_000
PICKS = 100_000


def measure() -> list[tuple[str, float, str]]:
    """Return name, value and unit of each figure."""
    rng = random.Random(1)
    downloads, seeds = _downloads(rng), _seeds(rng)
    began = time.perf_counter()
    catalogue, findings = read_downloads(downloads, "downloads.csv")
    indexed = time.perf_counter()
    _, findings_of_seeds = read_seeds(seeds, "seeds.csv")
    indexed_seeds = time.perf_counter()
    assert not findings
    assert not findings_of_seeds
    sizes = list(FileSize)
    began_picking = time.perf_counter()
    for count in range(PICKS):
        catalogue.pick(sizes[count % len(sizes)], rng)
    picked = time.perf_counter()
    return [
        ("download catalogue of 1,000,000 rows indexed", indexed - began, "s"),
        ("seed catalogue of 1,000,000 rows indexed", indexed_seeds - indexed, "s"),
        ("a pick", (picked - began_picking) / PICKS * 1e6, "µs"),
        ("index beside the file's own bytes", _index_bytes(downloads) / 1e6, "MB"),
    ]


def _downloads(rng: random.Random) -> bytes:
    labels = [size.label for size in FileSize]
    rows = (
        f"{labels[n % len(labels)]},file-{n:07}.bin,{rng.getrandbits(256):064x},{rng.getrandbits(128):032x}\n"
        for n in range(ROWS)
    )
    return "".join(("fileSize,name,address,md5\n", *rows)).encode()


def _seeds(rng: random.Random) -> bytes:
    most = FileSize.TINY.most
    rows = (f"tiny,{n},{1 + n % most},{rng.getrandbits(128):032x}\n" for n in range(ROWS))
    return "".join(("fileSize,seed,size,md5\n", *rows)).encode()


def _index_bytes(downloads: bytes) -> int:
    """Measured in a run of its own: watching every allocation takes time."""
    tracemalloc.start()
    kept = read_downloads(downloads, "downloads.csv")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return held


if __name__ == "__main__":
    for name, value, unit in measure():
        print(f"{name}: {value:,.2f} {unit}")
