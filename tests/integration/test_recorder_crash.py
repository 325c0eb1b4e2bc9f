"""A real agent's end: SIGKILL while threads record and fold; and a disk that is really full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from standins.samples import NOON, SECOND, a_sample
from testwarden.metrics.line_protocol import Identity, Line, parse
from testwarden.metrics.recorder import Counts, Recorder

AT_NOON = datetime(2026, 10, 27, 12, tzinfo=timezone.utc)

CHILD = """
import os, sys, threading, time
from datetime import datetime, timezone
from pathlib import Path
sys.path.insert(0, {tests!r})
from standins.samples import a_sample
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder

recorder = Recorder(Path({folder!r}), Identity("child"))

def work(worker):
    number = 0
    while True:
        recorder.record(a_sample(ended_ns=time.time_ns(), worker=worker, reason=f"{{os.getpid()}}-{{number}}"))
        os.write(1, b"%d-%d %d\\n" % (os.getpid(), number, worker))
        number += 1

for worker in range(4):
    threading.Thread(target=work, args=(worker,), daemon=True).start()
while True:
    recorder.fold(datetime.now(timezone.utc))
"""


def lines_in(path: Path) -> list[Line]:
    return [parse(line) for line in path.read_text().splitlines()]


def test_every_acknowledged_sample_survives_sigkill_exactly_once(tmp_path: Path) -> None:
    child = CHILD.format(tests=str(Path(__file__).parent.parent), folder=str(tmp_path))
    acknowledged: list[str] = []
    for round_number in range(6):
        process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            for _ in range(400 * (round_number + 1) + 37):
                acknowledged.append(process.stdout.readline())
            process.kill()
            acknowledged.extend(process.stdout.readlines())
        process.wait()
    Recorder(tmp_path, Identity("parent")).close(datetime.now(timezone.utc))

    lines = lines_in(tmp_path / "metrics.csv")
    recorded = [f"{line.fields['reason']} {line.tags['worker']}\n" for line in lines]
    assert len(recorded) == len(set(recorded))
    assert {line for line in acknowledged if line.endswith("\n")} <= set(recorded)
    assert len({line.stamp for line in lines}) == len(lines)
    assert not list(tmp_path.glob("*.folding"))
    summaries = lines_in(tmp_path / "summary.csv")
    assert sum(int(line.fields["count"]) for line in summaries) == len(lines)
    assert len({line.stamp for line in summaries}) == len(summaries)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def skip_or_fail(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        skip_or_fail("a small disk needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_costs_nothing_once_there_is_room(small_disk: Path) -> None:
    folder = small_disk / "metrics"
    recorder = Recorder(folder, Identity("host"))
    for number in range(200):
        recorder.record(a_sample(ended_ns=NOON + number * SECOND))
    recorder.fold(AT_NOON)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        fill(ballast)
    for number in range(200, 400):
        recorder.record(a_sample(ended_ns=NOON + number * SECOND))
        if number % 50 == 0:
            recorder.fold(AT_NOON)
    assert recorder.counts.folded < 400
    ballast.unlink()
    recorder.fold(AT_NOON)
    recorder.fold(AT_NOON)
    assert recorder.counts == Counts(recorded=400, folded=400, lost=0, archives_dropped=0)
    assert [line.stamp for line in lines_in(folder / "metrics.csv")] == [NOON + n * SECOND for n in range(400)]
    assert [line.fields["count"] for line in lines_in(folder / "summary.csv")] == [60] * 6 + [40]
