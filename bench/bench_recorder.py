"""How many samples a second come into the files: recorded by one thread, folded, summarised and synced, all included."""

from __future__ import annotations

import random
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.model import FileSize, Outcome, Sample, TestType

SAMPLES = 400_000


_TYPES = (TestType.DOWNLOAD, TestType.QUOTE, TestType.UPLOAD)


def _sample(number: int) -> Sample:
    return Sample(
        ended_ns=1_763_683_200_000_000_000 + number * 150_000,
        type=_TYPES[number % 3],
        filesize=FileSize.TINY,
        task=f"{number % 3 + 1:03d}",
        worker=number % 10 + 1,
        client="ant-2",
        outcome=Outcome.NETWORK_ERROR if number % 50 == 0 else Outcome.OK,
        exec_time=random.random() * 10,
        bytes=random.randrange(10_000_000),
        md5_valid=None if number % 50 == 0 else True,
        reason="failed to fetch data from address" if number % 50 == 0 else "",
        commit="0123456789abcdef0123456789abcdef01234567",
    )


def _run() -> tuple[float, float]:
    """Return the seconds that recording took and those that folding took.

    The samples are made a few at a time, outside of what is measured: in the agent, too, a sample is fresh when it comes.
    """
    recording = 0.0
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), Identity("bench"))
        for start in range(0, SAMPLES, 100):
            samples = [_sample(number) for number in range(start, start + 100)]
            begin = time.perf_counter()
            for sample in samples:
                recorder.record(sample)
            recording += time.perf_counter() - begin
        begin = time.perf_counter()
        recorder.close(datetime.now(timezone.utc))
        folding = time.perf_counter() - begin
        assert recorder.counts.folded == SAMPLES
    return recording, folding


def measure() -> list[tuple[str, float, str]]:
    """Return what was measured as (name, value, unit): of three runs the best, because other work only makes it slower."""
    recording, folding = min((_run() for _ in range(3)), key=sum)
    return [
        ("recording, into the files", SAMPLES / (recording + folding), "samples/s"),
        ("recording, what a worker waits", recording / SAMPLES * 1e6, "µs"),
        ("folding of all of them", folding, "s"),
    ]


if __name__ == "__main__":
    for name, value, unit in measure():
        print(f"{name}: {value:,.2f} {unit}")
