"""What the agent adds to one attempt, everything included: gate, ledger, folder, process control, outcome, sample.

The client is a few lines of shell that do what `ant … file download` does, so that both sides run the same program.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench_process import medians
from testwarden.clients.ant import AntClient
from testwarden.clients.process import Keeper
from testwarden.clients.stop import Stop
from testwarden.clock import SystemClock
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.model import CatalogueFile, FileSize, Moment, Task, TestType
from testwarden.running.worker import Bench, Job, Worker
from testwarden.safety.budget import Caps, Entry, Ledger
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions, Confirmed, Gate
from testwarden.safety.kill_switch import KillSwitch
from testwarden.safety.limits import GB, Limits
from testwarden.workloads.download import DownloadWorkload

RUNS = 300
ROW = CatalogueFile(FileSize.TINY, "name", "a" * 64, "0cc175b9c0f1b6a831c399e269772661")
ANT = """#!/bin/sh
case "$1" in --help) echo '--devnet-manifest --json'; exit 0;; esac
for last; do :; done
printf a > "$last"
echo '{"file":"x","size":1,"elapsed_secs":0.1}'
"""


@dataclass
class InTheWindow:
    """The machine's clocks, with the wall put into a window: the benchmark runs at any time of day."""

    clock: SystemClock

    def now(self) -> Moment:
        now = self.clock.now()
        return Moment(now.utc.replace(minute=30), now.steady, now.boot)


def measure() -> list[tuple[str, float, str]]:
    """Return (what, value, unit); the two sides take turns, so that both meet the same noise."""
    with tempfile.TemporaryDirectory() as name, Keeper(Path(name) / "processes") as keeper:
        folder = Path(name)
        attempt, spend = _attempts(folder, keeper)
        argv = [str(folder / "bin" / "ant"), "--json", "file", "download", ROW.address, "-o", str(folder / "out")]
        bare_run = partial(subprocess.run, argv, check=True, capture_output=True)
        ours, bare, budget = medians(RUNS, attempt, bare_run, spend)
    return [
        ("an attempt over a bare subprocess.run of the same client", (ours - bare) * 1e3, "ms"),
        ("… of which the ledger, which is in its file before the client starts", budget * 1e3, "ms"),
        ("an attempt", ours * 1e3, "ms"),
        ("a bare subprocess.run", bare * 1e3, "ms"),
    ]


def _attempts(folder: Path, keeper: Keeper) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return an attempt, and only the taking of its budget."""
    (folder / "bin").mkdir()
    (folder / "work").mkdir()
    (folder / "bin" / "ant").write_text(ANT)
    (folder / "bin" / "ant").chmod(0o755)
    clock = InTheWindow(SystemClock())
    ledger = Ledger(folder / "ledger.db", clock.now())

    def conditions() -> Conditions:
        switch = KillSwitch().after_look((), clock.now(), at_fetch=False)
        return Conditions(switch, 0.0, Confirmed(clock.now()), paused=False, disk_free=100 * GB)

    gate = Gate(Limits(), Cycle(), ledger, conditions, lambda _task: "")
    recorder = Recorder(folder / "metrics", Identity("bench"))
    client = AntClient(keeper, bin_dir=folder / "bin", search_path="")
    workload = DownloadWorkload(client, lambda _size, _rng: ROW)
    bench = Bench(gate, clock, folder / "work", recorder.record, random.Random(1))
    job = Job(Task("001", "", 5, 0, TestType.DOWNLOAD), workload, "c0ffee")
    worker = Worker(1, job, bench, Stop())
    entry = Entry(TestType.QUOTE, FileSize.TINY, "001", 1, ROW.address, "c0ffee", 0)
    caps = Caps(10**6, 10**15)
    return (
        lambda: worker._attempt(1),  # what a worker that repeats does each time
        lambda: ledger.spend(entry, caps, clock.now()),
    )


if __name__ == "__main__":
    for what, value, unit in measure():
        print(f"{what:66} {value:8.3f} {unit}")
