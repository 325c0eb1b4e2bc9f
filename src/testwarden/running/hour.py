"""The hour: which task starts when, and what happens at :55, :58 and :00."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from testwarden.clock import Clock
from testwarden.model import Decision, Origin, Task, TestType, Verdict
from testwarden.running.runner import Runner, counted
from testwarden.running.scheduler import Due, Scheduler
from testwarden.running.worker import Job
from testwarden.safety.cycle import KILL, WINDOW_ENDS, Cycle, Phase
from testwarden.safety.gate import outside_window
from testwarden.safety.task_verdict import Judged
from testwarden.workloads.workload import Workload

FETCH_SPREAD = 4.0
"""Minutes of the fetch period over which a fleet spreads its fetches; the last minute is for trying again."""

_SOON = timedelta(seconds=1)
_TASK = "task "
_FETCH = "fetch"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a fetch brought to run: judged tasks, their commit, and what carries each test type out."""

    judged: tuple[Judged, ...]
    commit: str
    workloads: Mapping[TestType, Workload]
    refused: Mapping[str, str] = field(default_factory=dict)
    """References of the tasks that never reached the gate, each with what is wrong with it."""


class Hour:
    """Puts tasks on the timetable and ends each window."""

    def __init__(
        self,
        cycle: Cycle,
        clock: Clock,
        rng: random.Random,
        scheduler: Scheduler,
        runner: Runner,
        children: Callable[[], int],
        on_cycle_end: Callable[[], None],
        windowed: Callable[[Origin], bool],
    ) -> None:
        """Given what it steers; `children` counts the test processes that are alive; `on_cycle_end` runs at :00;
        `windowed` says of which origin tests end with the window."""
        self._cycle = cycle
        self._clock = clock
        self._rng = rng
        self._scheduler = scheduler
        self._runner = runner
        self._children = children
        self._on_cycle_end = on_cycle_end
        self._windowed = windowed
        # The agent's own random phase: a fleet never starts as one.
        self._phase = rng.random() * 0.95
        self._lock = threading.Lock()
        self._plan = Plan((), "", {})
        self._started: dict[str, datetime] = {}
        """In which cycle, by its begin, a task started last."""
        self._delays: dict[str, tuple[datetime, float]] = {}
        """For which cycle a task's delay was drawn, and what it is."""
        self._waiting: dict[str, datetime] = {}
        """In which cycle a task was last put on the timetable."""
        self._replanning = threading.Lock()

    def put_on(self, fetch: Callable[[], None]) -> None:
        """Put the fixed points of every cycle, and the tasks of the plan, on the timetable."""
        self._scheduler.each_cycle(_FETCH, self._phase * FETCH_SPREAD, fetch)
        self._scheduler.each_cycle("cool-down", WINDOW_ENDS, self.cool_down)
        self._scheduler.each_cycle("kill", KILL, self.kill)
        self._scheduler.each_cycle("proof", 0, self.prove)
        self.replan()

    def adopt(self, plan: Plan) -> None:
        """Follow a new plan from now on; what runs already is not touched."""
        with self._lock:
            self._plan = plan
        self.replan()

    @property
    def plan(self) -> Plan:
        """The plan that is followed."""
        with self._lock:
            return self._plan

    def replan(self) -> None:
        """Put the tasks of the plan that are still ahead in this cycle on the timetable."""
        with self._replanning:
            self._scheduler.forget(_TASK)
            now = self._clock.now().utc
            for judged in self.plan.judged:
                task = judged.task
                # What has started in this cycle does not start again because of another fetch.
                if judged.verdict.refused or self._started.get(task.ref) == self._cycle.start(now):
                    continue
                begin, when = self._cycle.start(now), self._start_time(task, now)
                if when > now:
                    self._waiting[task.ref] = begin
                    self._put(task, when)
                elif self._waiting.get(task.ref) == begin and now - when <= self._cycle.minute:
                    # It came due while it was off the timetable. What a suspend made later than that is left out, as
                    # it is by the timetable itself: all of it would start at once.
                    self._put(task, now + _SOON)

    def _start_time(self, task: Task, now: datetime) -> datetime:
        """Return when a task starts in this cycle. Its delay is drawn once in a cycle: another fetch moves nothing."""
        begin = self._cycle.start(now)
        drawn_for, delay = self._delays.get(task.ref, (None, 0.0))
        if drawn_for != begin:
            delay = self._rng.uniform(0, task.time_offset)
            self._delays[task.ref] = begin, delay
        return self._cycle.task_start(now, task.minute, self._phase, delay)

    def _put(self, task: Task, when: datetime) -> None:
        def start() -> None:
            if self._begin(task.ref):
                self.start(task.ref)

        self._scheduler.at(_TASK + task.ref, when, self._cycle.minute, start)

    def _begin(self, ref: str) -> bool:
        """Note that a task starts in this cycle; return whether it is the first time."""
        begin = self._cycle.start(self._clock.now().utc)
        with self._lock:
            if self._started.get(ref) == begin:
                return False
            self._started[ref] = begin
            return True

    def next_due(self) -> Due | None:
        """Return the next start of a task in this cycle, else the next fetch; None before the timetable is made."""
        dues = self._scheduler.upcoming()
        tasks = [due for due in dues if due.name.startswith(_TASK)]
        return next(iter(tasks or [due for due in dues if due.name == _FETCH]), None)

    def starts(self) -> Mapping[str, datetime]:
        """Return when tasks start that are still ahead in this cycle, by their references."""
        dues = self._scheduler.upcoming()
        return {due.name.removeprefix(_TASK): due.at for due in dues if due.name.startswith(_TASK)}

    def start(self, ref: str) -> Verdict:
        """Start a task of the plan by its reference now; every attempt still passes the gate."""
        outside = outside_window(self._cycle, self._clock.now().utc)
        judged = next((judged for judged in self.plan.judged if judged.task.ref == ref), None)
        if judged is None:
            verdict = Verdict(Decision.REFUSED, self.plan.refused.get(ref, f"the control file has no task {ref}"))
        elif judged.verdict.refused:
            verdict = judged.verdict
        elif outside is not None:
            verdict = outside  # its workers would be refused, or stopped before they came to ask
        else:
            verdict = self._start(judged.task)
        level = logging.WARNING if verdict.refused else logging.INFO
        _log.log(level, "task %s: %s: %s", ref, verdict.decision.value, verdict.reason)
        return verdict

    def _start(self, task: Task) -> Verdict:
        self._begin(task.ref)
        plan = self.plan
        return self._runner.start(Job(task, plan.workloads[task.type], plan.commit))

    def cool_down(self) -> None:
        """End what runs outside its window: at :55 it is asked to stop, what is left at :58 is killed.

        Called at :55 and also every few seconds, so that it holds whatever a suspend or a clock that was set did to the
        timetable. In a window it ends only what is left of an earlier cycle.
        """
        now = self._clock.now().utc
        phase = self._cycle.phase(now)
        grace = self._cycle.seconds_to_kill(now) if phase is Phase.COOL_DOWN else 0.0
        begin = self._cycle.start(now) if phase is Phase.WINDOW else None
        asked = self._runner.stop_all("the window is over", grace, started_before=begin, which=self._windowed)
        if asked:
            _log.info("cool-down: %s asked to stop within %.0f s", counted(asked), grace)

    def kill(self) -> None:
        """At :58: what is left is killed."""
        self.cool_down()
        if any(self._windowed(running.origin) for running in self._runner.running()):
            _log.warning("cool-down: killing what did not stop")

    def prove(self) -> None:
        """At :00: say what the cool-down left."""
        own = sum(running.origin is Origin.OWN for running in self._runner.running())
        proof = self._runner.proof()
        # An own test that goes on has processes, too: then the workers alone are counted, each of which ends after its
        # client has.
        children = 0 if own else self._children()
        left = f"own tests that go on: {own}" if own else "no test process is left"
        if proof.left or children:
            _log.error("the cool-down failed: %s and %d test processes are left", counted(proof.left), children)
        elif proof.asked:
            text = "cool-down: %s stopped, %s, the slowest in %.2f s; %s"
            how = f"{proof.killed} needed KILL" if proof.killed else "none needed KILL"
            _log.info(text, counted(proof.asked), how, proof.slowest, left)
        else:
            _log.info("cool-down: nothing had to be stopped; %s", left)
        self._on_cycle_end()
