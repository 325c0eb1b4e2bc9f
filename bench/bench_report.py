"""How long a report takes, and how much memory: the page and the text, each made by a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from standins.report_files import end_of, write_folder
from testwarden.report_command import Asked, report

SAMPLES = (100_000, 1_000_000)
HOURS = 30 * 24
_TESTS = Path(__file__).parents[1] / "tests"


def _make(folder: Path, *, as_text: bool) -> tuple[float, float]:
    """Return the seconds that it took, the start of Python included, and the process' largest size in MB."""
    environment = {**os.environ, "PYTHONPATH": str(_TESTS)}
    begin = time.perf_counter()
    made = subprocess.run(
        [sys.executable, __file__, str(folder), "text" if as_text else "page"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return time.perf_counter() - begin, float(made.stdout)


def _child(folder: Path, *, as_text: bool) -> None:
    said: list[str] = []
    asked = Asked((folder,), folder / "report.html", as_text=as_text)
    assert report(asked, end_of(HOURS), "bench", said.append) == 0, said
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def measure() -> list[tuple[str, float, str]]:
    """Return what was measured as (name, value, unit)."""
    found = []
    for samples in SAMPLES:
        with tempfile.TemporaryDirectory() as place:
            folder = write_folder(Path(place), "bench", hours=HOURS, samples=samples)
            for as_text in (False, True):
                seconds, megabytes = _make(folder, as_text=as_text)
                what = f"{'text' if as_text else 'page'} of {samples:,} samples in 30 days"
                found += [(what, seconds, "s"), (f"{what}, memory", megabytes, "MB")]
            found.append((f"page of {samples:,} samples, size", (folder / "report.html").stat().st_size / 1e6, "MB"))
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _child(Path(sys.argv[1]), as_text=sys.argv[2] == "text")
    else:
        for name, value, unit in measure():
            print(f"{name}: {value:,.2f} {unit}")
