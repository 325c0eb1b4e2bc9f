"""Tasks become worker threads here; the registry of what runs, and its cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from testwarden.clients.stop import Stop
from testwarden.model import Decision, Task, Verdict
from testwarden.running.worker import Bench, Job, Worker


@dataclass(frozen=True)
class Running:
    """A task that runs, for the tables."""

    ref: str
    type: str
    filesize: str
    workers: int
    """Worker threads that are still at it."""
    since: datetime


@dataclass(frozen=True)
class Stopped:
    """The proof of a stop: how many workers were asked, how many are left, how long the slowest took."""

    asked: int
    left: int
    slowest: float
    """Seconds from being asked to the end of its thread."""


def counted(workers: int) -> str:
    """Return `1 worker`, `2 workers` …"""
    return f"{workers} worker{'' if workers == 1 else 's'}"


class _RunningTask:
    """The mutable side of a running task; only the runner touches it, under its lock."""

    def __init__(self, task: Task, since: datetime) -> None:
        self.task = task
        self.since = since
        self.stop = Stop()
        self.alive = 0


class Runner:
    """Starts tasks, knows what runs, stops it."""

    def __init__(self, bench: Bench, on_death: Callable[[BaseException], None]) -> None:
        """Given what workers work with and what to call when a worker thread dies of a fault that is not a test's."""
        self._bench = bench
        self._on_death = on_death
        self._changed = threading.Condition()
        self._tasks: list[_RunningTask] = []
        self._closed = ""
        """Why nothing may start; empty as a rule."""
        self._asked_at = 0.0
        self._asked = 0
        self._slowest = 0.0

    def start(self, job: Job) -> Verdict:
        """Given a task that the gate has judged, start its workers; return the verdict on that."""
        task, gate = job.task, self._bench.gate
        with self._changed:
            if self._closed:
                return Verdict(Decision.REFUSED, self._closed)
            if any(running.task.ref == task.ref for running in self._tasks):
                return Verdict(Decision.REFUSED, f"task {task.ref} is running already")
            count = gate.workers(task.workers, self._alive())
            if count == 0:
                return Verdict(Decision.REFUSED, f"{gate.limits.workers} workers are running, which is the limit")
            running = _RunningTask(task, self._bench.clock.now().utc)
            running.alive = count
            self._tasks.append(running)
        for number in range(1, count + 1):
            worker = Worker(number, job, self._bench, running.stop)
            name = f"task {task.ref} worker {number}"
            try:
                threading.Thread(target=self._run, args=(running, worker), name=name, daemon=True).start()
            except RuntimeError as problem:
                self._gone(running, count - number + 1)
                return Verdict(Decision.REFUSED, f"{counted(count - number + 1)} could not be started: {problem}")
        if count < task.workers:
            return Verdict(Decision.CLAMPED, f"workers {task.workers}→{count}, the limit for all tasks together")
        return Verdict(Decision.ALLOWED, f"{counted(count)} started")

    def _run(self, running: _RunningTask, worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as problem:
            self._on_death(problem)
            raise
        finally:
            self._gone(running, 1)

    def _gone(self, running: _RunningTask, workers: int) -> None:
        with self._changed:
            running.alive -= workers
            if running.stop.requested:
                self._slowest = max(self._slowest, time.monotonic() - self._asked_at)
            if not running.alive:
                self._tasks.remove(running)
            self._changed.notify_all()

    def stop_all(self, reason: str, grace: float, *, started_before: datetime | None = None) -> int:
        """Ask everything that runs to stop, or only what started before an instant; clients get `grace` seconds before
        they are killed. Return how many workers were asked for the first time."""
        with self._changed:
            tasks = [task for task in self._tasks if started_before is None or task.since < started_before]
            fresh = sum(running.alive for running in tasks if not running.stop.requested)
            if fresh:
                self._asked_at, self._asked, self._slowest = time.monotonic(), self._asked + fresh, 0.0
        for running in tasks:
            running.stop.request(reason, grace)
        return fresh

    def close(self, reason: str) -> None:
        """Start nothing any more."""
        with self._changed:
            self._closed = reason

    def reopen(self) -> None:
        """Let tasks start again."""
        self.close("")

    def wait(self, seconds: float) -> bool:
        """Wait until nothing runs, at most so many seconds; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._tasks, timeout=seconds)

    def proof(self) -> Stopped:
        """Return how the stop that was asked for last went, once: the next proof is of the next stop."""
        with self._changed:
            asked, self._asked = self._asked, 0
            return Stopped(asked, self._alive(), self._slowest)

    def running(self) -> tuple[Running, ...]:
        """Return what runs now."""
        with self._changed:
            return tuple(
                Running(r.task.ref, r.task.type.value, r.task.filesize.label, r.alive, r.since) for r in self._tasks
            )

    def _alive(self) -> int:
        return sum(running.alive for running in self._tasks)
