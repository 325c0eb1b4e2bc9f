"""Tasks become worker threads here; the registry of what runs, and its cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from testwarden.clients.stop import Stop
from testwarden.model import Decision, Origin, Verdict
from testwarden.running.worker import Bench, Job, Worker


@dataclass(frozen=True)
class Running:
    """A task that runs, for the tables."""

    ref: str
    type: str
    filesize: str | None
    workers: int
    """Worker threads that are still at it."""
    since: datetime
    origin: Origin


@dataclass(frozen=True)
class Stopped:
    """The proof of a stop: how many workers were asked to end, and how they did."""

    asked: int
    left: int
    """Workers of public tasks that still run."""
    killed: int
    """Clients that did not end when they were asked to (TERM), and got KILL."""
    slowest: float
    """Seconds from being asked to the end of the slowest worker's thread."""


def counted(workers: int) -> str:
    """Return `1 worker`, `2 workers` …"""
    return f"{workers} worker{'' if workers == 1 else 's'}"


class _RunningTask:
    """The mutable side of a running task; only the runner touches it, under its lock."""

    def __init__(self, job: Job, since: datetime) -> None:
        self.task = job.task
        self.on_end = job.on_end
        self.since = since
        self.stop = Stop()
        self.asked_at = 0.0
        """Monotonic second at which it was asked to stop."""
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
        self._asked = 0
        self._killed = 0
        self._slowest = 0.0

    def start(self, job: Job) -> Verdict:
        """Given a task that the gate has judged, start its workers; return the verdict on that."""
        task, gate = job.task, self._bench.gate
        with self._changed:
            if self._closed:
                return Verdict(Decision.REFUSED, self._closed)
            if any(running.task.ref == task.ref for running in self._tasks):
                return Verdict(Decision.REFUSED, f"task {task.ref} is running already")
            busy = self._alive(task.origin)
            count = gate.workers(task.origin, task.workers, busy)
            if count == 0:
                return Verdict(
                    Decision.REFUSED, f"{counted(busy)} of {task.origin.value} tasks run, which is the limit"
                )
            running = _RunningTask(job, self._bench.clock.now().utc)
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
                self._slowest = max(self._slowest, time.monotonic() - running.asked_at)
            over = not running.alive
            if over:
                self._killed += running.stop.kills
                self._tasks.remove(running)
            self._changed.notify_all()
        if over:
            running.on_end()

    def stop_all(
        self,
        reason: str,
        grace: float,
        *,
        started_before: datetime | None = None,
        which: Callable[[Origin], bool] = lambda _origin: True,
    ) -> int:
        """Ask everything that runs to stop, or only what started before an instant, or is of certain origins; clients
        get `grace` seconds before they are killed. Return how many workers were asked for the first time."""
        with self._changed:
            tasks = [
                task
                for task in self._tasks
                if which(task.task.origin) and (started_before is None or task.since < started_before)
            ]
            fresh = self._note_asked(tasks)
        for running in tasks:
            running.stop.request(reason, grace)
        return fresh

    def stop(self, ref: str, reason: str, grace: float) -> bool:
        """Ask one task to stop, by its reference; return whether it runs."""
        with self._changed:
            tasks = [task for task in self._tasks if task.task.ref == ref]
            self._note_asked(tasks)
        for running in tasks:
            running.stop.request(reason, grace)
        return bool(tasks)

    def _note_asked(self, tasks: list[_RunningTask]) -> int:
        fresh = [running for running in tasks if not running.stop.requested]
        for running in fresh:
            running.asked_at = time.monotonic()
            self._asked += running.alive
        return sum(running.alive for running in fresh)

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
        """Return how the stops since the last proof went."""
        with self._changed:
            proof = Stopped(self._asked, self._alive(Origin.PUBLIC), self._killed, self._slowest)
            self._asked, self._killed, self._slowest = 0, 0, 0.0
            return proof

    def running(self) -> tuple[Running, ...]:
        """Return what runs now."""
        with self._changed:
            return tuple(
                Running(
                    r.task.ref,
                    r.task.type.value,
                    r.task.size.label if r.task.size else None,
                    r.alive,
                    r.since,
                    r.task.origin,
                )
                for r in self._tasks
            )

    def _alive(self, origin: Origin) -> int:
        return sum(running.alive for running in self._tasks if running.task.origin is origin)
