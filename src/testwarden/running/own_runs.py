"""Own tests: what the operator starts, by the command line or the API, and how it went."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from testwarden.clients.k6_numbers import Connect, K6Numbers, K6Silent, numbers_of
from testwarden.clients.ports import PortPool
from testwarden.clock import Clock
from testwarden.errors import ProcessError
from testwarden.model import (
    Decision,
    Figure,
    FileSize,
    K6Options,
    Origin,
    Outcome,
    Sample,
    Task,
    TestType,
    Verdict,
)
from testwarden.running.runner import Runner
from testwarden.running.worker import Job
from testwarden.safety.gate import Gate
from testwarden.safety.task_verdict import Judged
from testwarden.workloads.workload import Workload

FILE_TIMEOUT = 30
"""Seconds, as a task of a control file has where it says nothing."""
REMEMBERED = 1000
"""Runs that ended; beyond it the oldest is forgotten, and its log deleted."""


@dataclass(frozen=True)
class OwnTest:
    """What the operator asks for."""

    type: TestType
    title: str = ""
    """For a person."""
    filesize: FileSize = FileSize.TINY
    timeout: int | None = None
    """Seconds. None: as long as own tests may take for k6, whose script says how long it is; FILE_TIMEOUT for the others."""
    k6: K6Options | None = None
    """For k6, and only there; its digests name entries of `files`."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Script and data of a k6 test: SHA-256 → content."""
    port: int | None = None
    """Loopback port of k6's REST API; None: the agent takes a free one."""


@dataclass(frozen=True)
class OwnRun:
    """One own test that was started."""

    number: int
    """1, 2, 3 … since the agent was started; never twice. The API's `pid`."""
    ref: str
    """How the ledger, the log and the metrics call it: `own-1` …"""
    test: OwnTest
    """Without its files."""
    started: datetime
    log: Path | None = None
    """What the client prints, as it comes; for k6 only."""
    port: int | None = None
    """Loopback port at which k6's REST API answers; None where it is inside a cage, or for other types."""
    clamped: str = ""
    """What was brought inside the operator's limits: `vus 9999→500`."""
    ended: datetime | None = None
    outcome: Outcome | None = None
    """None as long as it runs."""
    reason: str = ""
    figures: tuple[tuple[str, Figure], ...] = ()


@dataclass(frozen=True)
class Watched:
    """What the workload of an own run gets, so that the run can be watched."""

    port: int | None
    """For k6's REST API."""
    log: Path
    progress: Callable[[Task, K6Numbers], None]
    started: Callable[[Task, Connect], None]


WorkloadFor = Callable[[OwnTest, Watched], "Workload | Verdict"]
"""Returns what carries out an own test, or why nothing does."""


class _Kept:
    """The mutable side of one run; only OwnRuns touches it, under its lock."""

    def __init__(self, run: OwnRun, port: int | None) -> None:
        self.run = run
        self.port = port
        self.connect: Connect | None = None
        self.numbers: K6Numbers | None = None


class OwnRuns:
    """Starts own tests through the same gate and runner as every task, and remembers them. Safe from any thread."""

    def __init__(
        self, gate: Gate, runner: Runner, clock: Clock, ports: PortPool, logs: Path, workload_for: WorkloadFor
    ) -> None:
        """Given the gate, the runner, the clock, the ports for k6's REST API, the folder for what clients print, and
        what makes a workload."""
        self._gate = gate
        self._runner = runner
        self._clock = clock
        self._ports = ports
        self._logs = logs
        self._workload_for = workload_for
        self._changed = threading.Condition()
        self._count = 0
        self._kept: dict[str, _Kept] = {}

    def start(self, test: OwnTest) -> OwnRun | Verdict:
        """Given what the operator asks for, start it; return the run, or the verdict that refused it."""
        with self._changed:
            self._count += 1
            number = self._count
        task = Task(
            f"own-{number}",
            test.title,
            minute=0,
            time_offset=0,
            type=test.type,
            filesize=test.filesize,
            timeout=test.timeout or (self._gate.limits.own.seconds if test.k6 is not None else FILE_TIMEOUT),
            retry=0,
            k6=test.k6,
            origin=Origin.OWN,
        )
        judged = self._gate.judge(task)
        refused = next((one for one in (judged.verdict, self._may_start()) if one.refused), None)
        return refused or self._start(number, judged, test)

    def _may_start(self) -> Verdict:
        return self._gate.may_start(Origin.OWN, self._clock.now())

    def _start(self, number: int, judged: Judged, test: OwnTest) -> OwnRun | Verdict:
        task = judged.task
        try:
            port = self._port(test)
        except ProcessError as problem:
            return Verdict(Decision.REFUSED, str(problem))
        watched = Watched(test.port or port, self._logs / f"{task.ref}.log", self._progress, self._connected)
        try:
            workload = self._workload_for(test, watched)
        except BaseException:
            self._give_back(port)
            raise
        if isinstance(workload, Verdict):
            self._give_back(port)
            return workload
        caged = test.k6 is not None and test.k6.targets is not None
        log = watched.log if test.k6 is not None else None
        clamped = ", ".join(f"{name} {change}" for name, change in judged.clamps.items())
        # Without its files: the workload has them, and a thousand remembered runs would hold a thousand scripts.
        kept = replace(test, files=())
        run = OwnRun(number, task.ref, kept, self._clock.now().utc, log, None if caged else watched.port, clamped)
        with self._changed:
            self._kept[task.ref] = _Kept(run, port)
        job = Job(
            task,
            workload,
            commit="",
            on_refusal=lambda reason: self._settle(task.ref, None, reason),
            on_end=lambda: self._ended(task.ref),
        )
        verdict = self._runner.start(job)
        if verdict.refused:
            self._ended(task.ref)
            with self._changed:
                del self._kept[task.ref]
            return verdict
        return run

    def _port(self, test: OwnTest) -> int | None:
        """Return a port of the pool; None where the test needs none, or brings one."""
        return self._ports.take() if test.k6 is not None and test.port is None else None

    def _give_back(self, port: int | None) -> None:
        if port is not None:
            self._ports.give_back(port)

    def note(self, sample: Sample) -> None:
        """Given a sample that was recorded, remember it if it is of an own run."""
        self._settle(sample.task, sample.outcome, sample.reason, sample.figures)

    def _settle(
        self, ref: str, outcome: Outcome | None, reason: str, figures: tuple[tuple[str, Figure], ...] = ()
    ) -> None:
        with self._changed:
            kept = self._kept.get(ref)
            if kept is not None:
                kept.run = replace(kept.run, outcome=outcome, reason=reason, figures=figures)

    def _ended(self, ref: str) -> None:
        with self._changed:
            kept = self._kept[ref]
            reason = kept.run.reason or ("" if kept.run.outcome else "it was stopped before it began")
            kept.run = replace(kept.run, ended=self._clock.now().utc, reason=reason)
            kept.connect = None
            self._give_back(kept.port)
            kept.port = None  # it may be lent to another run by now
            self._forget()
            self._changed.notify_all()

    def _forget(self) -> None:
        ended = [ref for ref, kept in self._kept.items() if kept.run.ended is not None]
        for ref in ended[: max(0, len(ended) - REMEMBERED)]:
            log = self._kept.pop(ref).run.log
            if log is not None:
                with contextlib.suppress(OSError):
                    log.unlink(missing_ok=True)

    def _progress(self, task: Task, numbers: K6Numbers) -> None:
        with self._changed:
            if task.ref in self._kept:
                self._kept[task.ref].numbers = numbers

    def _connected(self, task: Task, connect: Connect) -> None:
        with self._changed:
            if task.ref in self._kept:
                self._kept[task.ref].connect = connect

    def numbers(self, number: int) -> K6Numbers | None:
        """Ask k6 for what it measures at this moment; the last that is known where it does not answer; None: nothing
        yet."""
        ref = f"own-{number}"
        with self._changed:
            kept = self._kept.get(ref)
            connect, known = (kept.connect, kept.numbers) if kept is not None else (None, None)
        if kept is None or connect is None:
            return known
        try:
            numbers = numbers_of(connect)
        except K6Silent:
            return known
        with self._changed:
            kept.numbers = numbers
        return numbers

    def last_numbers(self, number: int) -> K6Numbers | None:
        """Return what is known of a run's numbers without asking k6."""
        with self._changed:
            kept = self._kept.get(f"own-{number}")
            return None if kept is None else kept.numbers

    def run(self, number: int) -> OwnRun | None:
        """Return one run; None where there is, or is remembered, none of that number."""
        with self._changed:
            kept = self._kept.get(f"own-{number}")
            return None if kept is None else kept.run

    def runs(self) -> tuple[OwnRun, ...]:
        """Return all that run and the last that ended, oldest first."""
        with self._changed:
            return tuple(kept.run for kept in self._kept.values())

    def wait(self, number: int, seconds: float) -> OwnRun | None:
        """Wait for the end of a run, at most so many seconds; return it as it is then."""

        def ended() -> bool:
            kept = self._kept.get(f"own-{number}")
            return kept is None or kept.run.ended is not None

        with self._changed:
            self._changed.wait_for(ended, timeout=seconds)
        return self.run(number)
