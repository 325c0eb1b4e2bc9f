"""One worker of a task: wait, attempt, retry, yield, repeat. Deciding is pure; all waiting is on one Stop."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

from testwarden.clients.client import Order
from testwarden.clients.stop import Stop
from testwarden.clock import Clock
from testwarden.model import AttemptResult, Decision, Outcome, Sample, Task, Verdict
from testwarden.running.workplace import Workplace
from testwarden.safety.budget import Entry
from testwarden.safety.gate import Gate
from testwarden.workloads.workload import Item, Workload

BACK_OFF = 5.0
"""Seconds before the first retry; each further one doubles it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """What a worker works with; all workers share it."""

    gate: Gate
    clock: Clock
    work: Path
    """Folder below which each worker gets one of its own."""
    record: Callable[[Sample], None]
    rng: random.Random
    on_refusal: Callable[[str], None] = lambda _reason: None
    """Hears why an attempt was not allowed."""


@dataclass(frozen=True)
class Job:
    """What a worker is to do."""

    task: Task
    workload: Workload
    commit: str
    on_refusal: Callable[[str], None] = lambda _reason: None
    """Hears why an attempt was not allowed."""
    on_end: Callable[[], None] = lambda: None
    """Is called when the last worker has ended."""


def retry_pause(task: Task, tries: int, result: AttemptResult) -> float | None:
    """Given the tries so far and how the last one ended, return the seconds before the next retry, or None for none."""
    if result.outcome is Outcome.OK or not result.mendable or tries > task.retry:
        return None
    return BACK_OFF * float(2 ** (tries - 1))


def refusal_pause(task: Task, verdict: Verdict, now: datetime, window_ends: datetime, least: float) -> float | None:
    """Given a refusal, return the seconds until a repeating worker asks again, or None where it gives up.

    It gives up when time does not mend the refusal within this window. A worker that runs once gives up at once.
    """
    if not task.repeat or verdict.next_try is None or verdict.next_try >= window_ends:
        return None
    return max(least, (verdict.next_try - now).total_seconds())


class Worker:
    """Carries out the attempts of one thread."""

    def __init__(self, number: int, job: Job, bench: Bench, stop: Stop) -> None:
        self._number = number
        self._job = job
        self._bench = bench
        self._stop = stop
        self._place = Workplace(bench.work, f"{job.task.ref}-{number}")
        self._label = f"task {job.task.ref} worker {number}"

    def run(self) -> None:
        """Work until the task is done or a stop is requested. Raises nothing that a test can cause."""
        gate, task = self._bench.gate, self._job.task
        minute = gate.cycle.minute.total_seconds()
        pause: float | None = self._bench.rng.uniform(0, task.offset * minute) if task.offset else 0.0
        try:
            while pause is not None and not self._stop.wait(pause):
                pause = self._attempt_with_retries()
        finally:
            self._place.delete()

    def _attempt_with_retries(self) -> float | None:
        """Make one attempt and its retries; return the seconds until the next one, or None when there is none."""
        task, gate = self._job.task, self._bench.gate
        tries = 0
        while True:
            tries += 1
            answer = self._attempt(tries)
            if isinstance(answer, Verdict):
                return self._after_refusal(answer)
            pause = retry_pause(task, tries, answer)
            if pause is None:
                return float(gate.limits.pause) if task.repeat else None
            if self._stop.wait(pause):
                return None

    def _after_refusal(self, verdict: Verdict) -> float | None:
        gate, now = self._bench.gate, self._bench.clock.now().utc
        ends = gate.cycle.at(now, 55)
        pause = refusal_pause(self._job.task, verdict, now, ends, float(gate.limits.pause))
        then = "this worker is done" if pause is None else f"asks again in {pause:.0f} s"
        _log.info("%s: refused: %s; %s", self._label, verdict.reason, then)
        self._job.on_refusal(verdict.reason)
        self._bench.on_refusal(verdict.reason)
        return pause

    def _attempt(self, tries: int) -> AttemptResult | Verdict:
        """Return how one attempt ended, or the verdict that refused it."""
        bench, job = self._bench, self._job
        try:
            item = job.workload.pick(job.task, bench.rng)
        except KeyError:
            return Verdict(Decision.REFUSED, f"the catalogue has no {job.task.filesize.label} entry any more")
        admission = bench.gate.admit(self._entry(item), item.disk, bench.clock.now())
        if admission.verdict.refused:
            return admission.verdict
        result = self._carry_out(item, admission.permit)
        now = bench.clock.now()
        # The ledger first: it returns when the attempt is on the disk, so no power cut leaves a sample without its attempt.
        bench.gate.settle(admission.permit, result, now)
        bench.record(self._sample(result, tries, now.utc))
        _log.log(*self._line(result, tries))
        return result

    def _carry_out(self, item: Item, permit: int) -> AttemptResult:
        bench, job = self._bench, self._job
        try:
            folder, home = self._place.folder(), self._place.home
        except OSError as problem:
            return AttemptResult(Outcome.CLIENT_ERROR, f"no working folder: {problem.strerror}")
        try:
            order = self._order(folder, home)
            return job.workload.attempt(item, order, self._stop, _AttemptPurse(bench, permit))
        except Exception as problem:  # noqa: BLE001 - the one edge: a fault in a test must never end the agent
            _log.exception("%s: a fault of ours", self._label)
            return AttemptResult(Outcome.UNKNOWN_ERROR, f"a fault of ours: {problem!r}")
        finally:
            self._place.sweep()

    def _order(self, folder: Path, home: Path) -> Order:
        task, gate, now = self._job.task, self._bench.gate, self._bench.clock.now().utc
        timeout, window_left = float(task.timeout), math.inf
        if gate.windowed(task.origin):
            # The keeper holds this time limit whatever becomes of the agent: nothing lives on behind :58.
            timeout = min(timeout, gate.cycle.seconds_to_kill(now))
            window_left = gate.cycle.seconds_to_window_end(now)
        return Order(folder, timeout, task.filesize.most, home, window_left)

    def _entry(self, item: Item) -> Entry:
        task, commit = self._job.task, self._job.commit
        return Entry(task.type, task.size, task.ref, self._number, item.target, commit, item.bytes, task.origin)

    def _sample(self, result: AttemptResult, tries: int, ended: datetime) -> Sample:
        task = self._job.task
        return Sample(
            ended_ns=(ended - _EPOCH) // _EPOCH.resolution * 1000,
            type=task.type,
            filesize=task.size,
            task=task.ref,
            worker=self._number,
            client=self._job.workload.client,
            outcome=result.outcome,
            exec_time=result.exec_time,
            bytes=result.bytes,
            cost=result.cost,
            md5_valid=result.md5_valid,
            attempt=tries,
            reason=result.reason,
            commit=self._job.commit,
            figures=result.figures,
        )

    def _line(self, result: AttemptResult, tries: int) -> tuple[int, str]:
        task = self._job.task
        what = f"{self._label}: {task.type.value}" + (f" {task.size.label}" if task.size else "")
        again = f", try {tries}" if tries > 1 else ""
        if result.outcome is Outcome.OK:
            moved = f", {result.bytes} bytes" if result.bytes else ""
            cost = f", {result.cost:f} ANT" if result.cost is not None else ""
            return logging.INFO, f"{what}: ok{moved} in {result.exec_time:.3f} s{cost}{again}"
        return logging.WARNING, f"{what}: {result.outcome.value}: {result.reason}{again}"


class _AttemptPurse:
    """The operator's funds, as one attempt may use them."""

    def __init__(self, bench: Bench, permit: int) -> None:
        self._bench = bench
        self._permit = permit

    def reserve(self, cost: Decimal) -> Verdict:
        return self._bench.gate.reserve_funds(self._permit, cost, self._bench.clock.now())

    def settle(self, actual: Decimal | None) -> None:
        if actual is not None:
            self._bench.gate.settle_funds(self._permit, actual)
