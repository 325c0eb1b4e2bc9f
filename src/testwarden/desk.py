"""What may be asked of a running agent: by its own console and status file, and by the API. Safe from any thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testwarden import __version__, snapshot
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.clients.ports import PortPool
from testwarden.clients.stop import Stop
from testwarden.clock import Clock
from testwarden.console.log_ring import LogRing
from testwarden.errors import LedgerError
from testwarden.metrics.agent_line import AgentState
from testwarden.model import Decision, Moment, Sample, Task, Verdict
from testwarden.running.hour import Hour
from testwarden.running.own_runs import OwnRun, OwnRuns, OwnTest
from testwarden.running.runner import Runner
from testwarden.running.scheduler import Scheduler
from testwarden.safety.gate import Gate
from testwarden.safety.situation import Situation

CANCEL_GRACE = 10.0
"""Seconds between TERM and KILL when the operator stops one task."""
HOUSEKEEPING = {"fold", "wake"}
"""Periodic jobs that no operator waits for."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the desk looks at, and passes requests on to."""

    clock: Clock
    gate: Gate
    situation: Situation
    hour: Hour
    runner: Runner
    scheduler: Scheduler
    own: OwnRuns
    ports: PortPool
    stop: Stop
    log: LogRing
    recent: Callable[[], Iterable[Sample]]
    """The last samples, oldest first."""
    agent: str
    source: str
    client: Callable[[], str]


class Desk:
    """Implements the API's Door."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._started: Moment = parts.clock.now()
        self._lock = threading.Lock()
        self._numbers: dict[str, K6Numbers] = {}

    def snapshot(self) -> Mapping[str, Any]:
        """Return what the agent is doing, as plain data."""
        parts = self._parts
        now = parts.clock.now()
        try:
            budgets = snapshot.budgets_view(parts.gate.usage(now), parts.gate.limits)
        except LedgerError as problem:
            budgets = {"problem": str(problem)}
        running = parts.runner.running()
        return {
            "version": __version__,
            "started": snapshot.text(self._started.utc),
            "agent": parts.agent,
            "source": parts.source,
            "client": parts.client(),
            "commit": parts.hour.plan.commit,
            "stopping": parts.stop.reason,
            **snapshot.moment_view(now, parts.gate.cycle, parts.situation.known()),
            "budgets": budgets,
            "running": snapshot.running_view(running, self._known_numbers({task.ref for task in running})),
            "recent": [snapshot.outcome_view(sample) for sample in parts.recent()],
            "next": snapshot.next_view(due for due in parts.scheduler.upcoming() if due.name not in HOUSEKEEPING),
        }

    def state(self, refusals: Mapping[str, int]) -> AgentState:
        """Given what was refused, return what the minute's line about the agent says."""
        parts = self._parts
        now, conditions = parts.clock.now(), parts.situation.known()
        try:
            usage = parts.gate.usage(now)
        except LedgerError:
            usage = None
        return AgentState(
            conditions.switch.standing(now),
            usage,
            parts.gate.limits,
            paused=conditions.paused,
            running=sum(running.workers for running in parts.runner.running()),
            refusals=refusals,
            commit=parts.hour.plan.commit,
        )

    def note_numbers(self, task: Task, numbers: K6Numbers) -> None:
        """Remember what k6 measures in a task of the control file, for the status."""
        with self._lock:
            self._numbers[task.ref] = numbers

    def _known_numbers(self, refs: set[str]) -> Mapping[str, K6Numbers]:
        own = {run.ref: run.number for run in self._parts.own.runs() if run.ref in refs}
        with self._lock:
            self._numbers = {ref: numbers for ref, numbers in self._numbers.items() if ref in refs}
            known = dict(self._numbers)
        known.update({ref: last for ref, number in own.items() if (last := self._parts.own.last_numbers(number))})
        return known

    def tasks(self) -> tuple[Mapping[str, Any], ...]:
        """Return the tasks of the control file, each with its verdict."""
        running = {task.ref for task in self._parts.runner.running()}
        starts = self._parts.hour.starts()
        plan = self._parts.hour.plan
        judged = [snapshot.task_view(one, starts.get(one.task.ref), one.task.ref in running) for one in plan.judged]
        return (*judged, *(snapshot.refused_view(ref, why) for ref, why in plan.refused.items()))

    def start_task(self, ref: str) -> Verdict:
        """Run a task of the control file now; every attempt still passes the gate."""
        return self._parts.hour.start(ref)

    def start_own(self, test: OwnTest) -> OwnRun | Verdict:
        """Start an own test; return the verdict that refused it where it was refused."""
        started = self._parts.own.start(test)
        title = " ".join(test.title.split())  # one line: a title must not look like a line of the log
        what = f"own {test.type.value} test" + (f" ({title})" if title else "")
        if isinstance(started, Verdict):
            _log.warning("%s: %s: %s", what, Decision.REFUSED.value, started.reason)
        else:
            _log.info("%s: started as %s", what, started.ref)
        if isinstance(started, OwnRun) and started.clamped:
            _log.warning("%s: clamped to limits.own: %s", started.ref, started.clamped)
        return started

    def cancel(self, ref: str) -> bool:
        """Stop a task or an own test that runs; return whether anything of that name runs."""
        stopped = self._parts.runner.stop(ref, "stopped by the operator", CANCEL_GRACE)
        if stopped:
            _log.info("task %s: asked to stop by the operator", ref)
        return stopped

    def pause(self, paused: bool) -> None:
        """Nothing new starts while paused; what runs goes on."""
        self._parts.situation.update(paused=paused)
        _log.info("paused by the operator: nothing starts" if paused else "resumed by the operator")

    def toggle_pause(self) -> None:
        """Pause, or go on."""
        self.pause(not self._parts.situation.known().paused)

    def own_runs(self) -> tuple[OwnRun, ...]:
        """Return the own tests since the agent was started, oldest first."""
        return self._parts.own.runs()

    def own_run(self, number: int) -> OwnRun | None:
        """Return one of them."""
        return self._parts.own.run(number)

    def numbers(self, number: int) -> K6Numbers | None:
        """Return what k6 measures in an own test."""
        return self._parts.own.numbers(number)

    def last_numbers(self, number: int) -> K6Numbers | None:
        """Return what is known of that without asking k6."""
        return self._parts.own.last_numbers(number)

    def limits(self) -> Mapping[str, Any]:
        """Return every limit in force, by its name."""
        return snapshot.limits_view(self._parts.gate.limits)

    def log_lines(self, after: int) -> tuple[int, tuple[str, ...]]:
        """Return the agent's newest log lines behind a number, and the number of the last one."""
        return self._parts.log.lines(after)

    def why_nothing_starts(self) -> str:
        """Return why no test could start at this moment, were the window open; empty where one could."""
        if self._parts.stop.requested:
            return f"the agent is stopping: {self._parts.stop.reason}"
        verdict = self._parts.gate.ready(self._parts.clock.now())
        return verdict.reason if verdict.refused else ""

    def take_port(self) -> int:
        """Return a loopback port that is nobody else's. Raise ProcessError if there is none left."""
        return self._parts.ports.take()

    def give_port_back(self, port: int) -> None:
        """Let others have a port that was taken."""
        self._parts.ports.give_back(port)

    def ports_used(self) -> int:
        """Return how much of the pool is lent, in percent."""
        return self._parts.ports.percent
