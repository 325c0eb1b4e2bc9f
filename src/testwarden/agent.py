"""The agent: builds the objects, wires them, starts and stops them in a fixed order, and says what it is doing.

Start and stop are one exit stack: what was started last is stopped first, also after a start that failed halfway.
"""

from __future__ import annotations

import collections
import logging
import os
import queue
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import psutil

from testwarden import __version__, assembly, cache_folder
from testwarden.api.server import ApiServer
from testwarden.assembly_k6 import K6Parts
from testwarden.clients.process import Keeper
from testwarden.clients.stop import Stop
from testwarden.clock import Clock
from testwarden.console.log_ring import LogRing
from testwarden.console.status import StatusFile
from testwarden.control.fetch import Reading
from testwarden.control.fetching import Fetching
from testwarden.control.kept_files import KeptFiles
from testwarden.control.source import Source
from testwarden.control.watch import Watch
from testwarden.desk import Desk, Parts
from testwarden.embedded.store import EmbeddedStore
from testwarden.errors import HelperDied
from testwarden.model import Decision, Sample, Verdict
from testwarden.outlets import Outlets
from testwarden.running.cycle_count import CycleCount
from testwarden.running.hour import Hour, Plan
from testwarden.running.own_runs import OwnRun, OwnRuns, OwnTest, Watched
from testwarden.running.runner import Runner, counted
from testwarden.running.scheduler import Scheduler
from testwarden.running.worker import Bench
from testwarden.safety.budget import Ledger
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions, Gate
from testwarden.safety.kill_switch import KillSwitch
from testwarden.safety.situation import Situation
from testwarden.safety.switch_memory import SwitchMemory
from testwarden.safety.task_verdict import Judged
from testwarden.settings import secrets, to_limits
from testwarden.settings_schema import Settings
from testwarden.workloads.workload import Workload

TICK = 5.0
"""Seconds between two looks of the main thread at everything that must hold whatever else happens."""
KILL_SWITCH_GRACE = 2.0
"""Seconds between TERM and KILL when the kill switch stops what runs."""
STOP_GRACE = 4.0
"""The same when the agent stops; it has to be gone within ten seconds."""
CLOCK_JUMP = 2.0
"""Seconds by which the wall clock may differ from the steady one between two ticks before the timetable is rebuilt."""

_FOLD, _WAKE = "fold", "wake"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What one run is asked for beside the settings."""

    cycles: int | None = None
    """Whole cycles after which the agent ends by itself."""
    own: OwnTest | None = None
    """Run this own test and nothing else, and end with it."""


class Agent:
    """One agent. `run` returns the exit code; everything else may be called from any thread meanwhile."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        clock: Clock,
        show_plan: Callable[[tuple[Judged, ...], Reading], None],
    ) -> None:
        """Given the settings, what this run is asked for, the clock, and how to show a new plan to the operator."""
        self._settings = settings
        self._options = options
        self._clock = clock
        self._show_plan = show_plan
        self._cache = settings.agent.cache_dir
        self._cycle = Cycle(settings.cycle.seconds)
        self._stop = Stop()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._exit_code = 0
        self._fatal: BaseException | None = None
        self._recent: collections.deque[Sample] = collections.deque(maxlen=10)
        self._keeper: Keeper | None = None
        self.own_run: OwnRun | Verdict | None = None
        """The own test that was asked for: not there yet, running or over, or the verdict that refused it."""

    # ------------------------------------------------------------------ start, run, stop

    def run(self) -> int:
        """Start, go on until a stop is requested, stop; return the exit code. Raise AgentError if it cannot start."""
        with ExitStack() as stack:
            self._open(stack)
            self._log_start()
            self._begin()
            self._loop()
        if self._fatal is not None:
            raise HelperDied(f"a part that the agent cannot do without has ended: {self._fatal!r}") from self._fatal
        return self._exit_code

    def _open(self, stack: ExitStack) -> None:
        """Build and start everything. Leaving the stack stops it in the reverse order, which is:

        1. the API answers nobody any more; the status file says that the agent stops; the timetable and the looks at
           the kill switch end;
        2. no task starts any more, running clients get TERM and then KILL, workers leave their samples;
        3. the source and the embedded network close, the metrics are folded, the ledger closes;
        4. the keeper ends whatever should still be there, and then the folder is free for the next agent.
        """
        self._log = stack.enter_context(LogRing(secrets(self._settings)))
        keeper = self._keeper = cache_folder.take(self._cache, stack)
        self._open_books(stack)
        self._open_network(stack, keeper)
        self._open_running(stack)
        if self._options.own is None:
            self._open_api(stack)

    def _open_books(self, stack: ExitStack) -> None:
        """What is written down: the ledger and the metrics."""
        self._ledger = Ledger(self._cache / "ledger.db", self._clock.now())
        stack.callback(self._ledger.close)
        if self._ledger.lost:
            _log.error("the ledger was garbled and is now %s; nothing starts for 24 h", self._ledger.lost)
        self._outlets = Outlets(self._settings, self._clock, self._stop)
        stack.callback(self._outlets.close)

    def _open_network(self, stack: ExitStack, keeper: Keeper) -> None:
        settings, embedded = self._settings, None
        if settings.network.client == "embedded":
            embedded = stack.enter_context(EmbeddedStore(self._cache / "work"))
        self._client = assembly.build_client(settings, keeper, embedded.url if embedded else "")
        self._limits = to_limits(settings)
        self._k6 = K6Parts(settings, self._limits, keeper, embedded.address if embedded else None)
        self._source: Source = assembly.build_source(settings, self._clock)
        stack.callback(self._source.close)

    def _open_running(self, stack: ExitStack) -> None:
        settings, clock = self._settings, self._clock
        self._memory = SwitchMemory(self._ledger)
        self._situation = Situation(
            Conditions(KillSwitch(held=self._memory.held)), lambda: shutil.disk_usage(self._cache).free
        )
        impossible = assembly.impossible(settings, self._k6)
        self._gate = Gate(self._limits, self._cycle, self._ledger, self._situation.conditions, impossible)
        rng = random.Random()  # noqa: S311 - it spreads load, it keeps no secret
        bench = Bench(self._gate, clock, self._cache / "work", self._record, rng, self._outlets.refusals.note)
        self._runner = Runner(bench, self.fail)
        stack.callback(self._stop_workers)
        self._own = OwnRuns(
            self._gate, self._runner, clock, self._k6.ports, self._cache / "runs", self._workload_of_own
        )
        self._watch = Watch(self._source, self._situation, clock, self._memory.keep, self._enforce)
        kept = KeptFiles(self._cache / "control" / "files")
        self._fetching = Fetching(
            self._source, self._watch, self._situation, clock, self._cycle, self._stop, self._adopt, kept
        )
        self._scheduler = Scheduler(self._cycle, lambda name, problem: self.fail(problem, name))
        self._hour = Hour(
            self._cycle,
            clock,
            rng,
            self._scheduler,
            self._runner,
            children=self._children,
            on_cycle_end=self._count_cycle,
            windowed=self._gate.windowed,
        )
        self._status = StatusFile(self._cache / "status.json")
        self.desk = Desk(
            Parts(
                clock,
                self._gate,
                self._situation,
                self._hour,
                self._runner,
                self._scheduler,
                self._own,
                self._k6.ports,
                self._stop,
                self._log,
                recent=lambda: tuple(self._recent),
                agent=settings.agent.name,
                source=self._source.description,
                client=lambda: self._client.name,
            )
        )
        stack.callback(self._scheduler.stop)
        stack.callback(self._write_status)

    def _open_api(self, stack: ExitStack) -> None:
        self._outlets.open_metrics(self.desk, stack, lambda problem: self.fail(problem, "prometheus"))
        config = assembly.api_config(self._settings)
        if config is not None:
            server = ApiServer(config, self.desk, lambda problem: self.fail(problem, "api"), self._outlets.metrics)
            server.start()
            stack.callback(server.stop)
            self._helper("k6", self._k6.warm)

    def _log_start(self) -> None:
        settings = self._settings
        _log.info(
            "testwarden %s: agent %s, tasks from %s, client %s, a cycle of %d s",
            __version__, settings.agent.name, self._source.description, self._client.name, self._cycle.seconds,
        )  # fmt: skip
        if os.geteuid() == 0 and self._options.own is None:
            _log.warning("running as root, which is not needed: an ordinary user will do")

    def _begin(self) -> None:
        self._cycles = CycleCount(self._cycle, self._clock.now().utc)
        if self._options.own is None:
            self._put_on_timetable()
        self._scheduler.start()
        # Not in the main thread: a source that does not answer must not keep a signal waiting.
        self._helper("kill switch", self._look_out)

    def _put_on_timetable(self) -> None:
        self._hour.put_on(self._fetch_at_hour)
        # Right after a minute began: a minute that two folds share is summarised twice, and no file rotates in it.
        self._scheduler.every(_FOLD, 60, 1, self._fold)
        # APScheduler's waits do not advance in a suspend; this wakes it soon afterwards.
        self._scheduler.every(_WAKE, 30, 0, lambda: None)

    def _look_out(self) -> None:
        self._watch.look(thorough=True)
        if self._options.own is None:
            self._helper("first fetch", self._fetching.first)
        else:
            self._helper("own test", self._run_own)
        self._watch.run(self._stop)

    def _run_own(self) -> None:
        if self._options.own is None:
            return
        started = self.own_run = self.desk.start_own(self._options.own)
        while isinstance(started, OwnRun) and started.ended is None:
            started = self.own_run = self._own.wait(started.number, TICK) or started
        self.stop("the test is over")

    def _loop(self) -> None:
        ahead = self._wall_ahead()
        while not self._stop.requested:
            if abs(self._wall_ahead() - ahead) > CLOCK_JUMP:
                _log.warning("the clock was set by %.0f s: the timetable is made anew", self._wall_ahead() - ahead)
                ahead = self._wall_ahead()
                if self._options.own is None:
                    self._put_on_timetable()
                # What the source says of the clock is out of date with it.
                self._helper("look after the clock was set", self._look_again)
            self._tick()
            try:
                self._asked.get(timeout=TICK)()
            except queue.Empty:
                pass  # nobody asked for anything
        _log.info("stopping: %s", self._stop.reason)

    def _look_again(self) -> None:
        self._watch.look(thorough=False)

    def _tick(self) -> None:
        if self._keeper is not None and not self._keeper.alive:
            self.fail(RuntimeError("the keeper of child processes is gone"), "keeper")
            return
        self._enforce()
        self._hour.cool_down()
        self._memory.keep(self._situation.known().switch.held)
        self._write_status()

    def _wall_ahead(self) -> float:
        now = self._clock.now()
        return now.utc.timestamp() - now.steady

    def _stop_workers(self) -> None:
        self._runner.close("the agent is stopping")
        self._runner.stop_all(f"the agent is stopping ({self._stop.reason or 'it could not start'})", STOP_GRACE)
        if not self._runner.wait(STOP_GRACE + 3):
            _log.error("workers did not stop: %s", ", ".join(task.ref for task in self._runner.running()))

    def ask(self, call: Callable[[], None]) -> None:
        """Have the main thread make a call soon."""
        self._asked.put(call)

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """Ask the agent to stop; the first reason counts."""
        if not self._stop.requested:
            self._exit_code = exit_code
        self._stop.request(reason, STOP_GRACE)
        self._asked.put(lambda: None)  # wakes the main thread

    def suspend(self, stop_process: Callable[[], None]) -> None:
        """Stop what runs, then call what suspends the process: meanwhile nobody would enforce anything. Main thread."""
        self._runner.close("the agent is being suspended")
        if self._runner.stop_all("the agent is suspended (Ctrl-Z)", KILL_SWITCH_GRACE):
            self._runner.wait(KILL_SWITCH_GRACE + 3)
        _log.warning("suspended: nothing runs until the agent is continued")
        stop_process()
        self._runner.reopen()

    def kill(self) -> None:
        """End every child at once; for the second Ctrl-C. Waits until none is left, for a bounded time."""
        if self._keeper is not None:
            self._keeper.kill_all()

    def fail(self, problem: BaseException, name: str = "worker") -> None:
        """A part that the agent cannot do without has died of `problem`: stop, with exit code 1."""
        if self._stop.requested:
            _log.warning("%s has died while the agent stops: %r", name, problem)
            return
        self._fatal = problem
        self.stop(f"{name} has died: {problem!r}", 1)

    def _helper(self, name: str, work: Callable[[], None]) -> None:
        """Run in a thread; its death is the agent's."""

        def run() -> None:
            try:
                work()
            except BaseException as problem:
                self.fail(problem, name)
                raise

        threading.Thread(target=run, name=name, daemon=True).start()

    # ------------------------------------------------------------------ what happens in an hour

    def _fetch_at_hour(self) -> None:
        if not self._fetching.at_hour():
            self._hour.replan()  # the tasks of the last fetch, as long as the gate does not call it stale

    def fetch_now(self) -> None:
        """Fetch at once, as the operator asked. It does not end an active kill switch: that is for the hour's fetch."""
        self.ask(lambda: self._helper("fetch", self._fetching.now))

    def _adopt(self, reading: Reading) -> None:
        judged = tuple(self._gate.judge(task) for task in reading.control.tasks)
        workloads = assembly.build_workloads(self._client, reading, self._k6, self.desk.note_numbers)
        refused = {finding.task: finding.message for finding in reading.findings if finding.task is not None}
        self._hour.adopt(Plan(judged, reading.commit, workloads, refused))
        self._show_plan(judged, reading)
        due = self._hour.next_due()
        if due is not None:
            _log.info("next: %s at %s UTC", due.name, due.at.strftime("%H:%M:%S"))
        self._write_status()

    def _enforce(self) -> None:
        now = self._clock.now()
        standing = self._situation.known().switch.standing(now)
        if standing.must_stop:
            stopped = self._runner.stop_all(standing.reason, KILL_SWITCH_GRACE)
            if stopped:
                _log.warning("%s stopped: %s", counted(stopped), standing.reason)

    def _record(self, sample: Sample) -> None:
        self._outlets.record(sample)
        self._recent.append(sample)
        self._own.note(sample)

    def _fold(self) -> None:
        self._outlets.fold(self.desk.state(self._outlets.refusals.take()))
        if self._settings.influx.url is not None:
            self._helper("push", self._outlets.push)

    def _count_cycle(self) -> None:
        whole, most = self._cycles.ended(self._clock.now().utc), self._options.cycles
        if most is not None and whole >= most:
            self.stop(f"whole cycles: {whole} of {most}")

    def _children(self) -> int:
        """Count the test processes that live, by the process table: the keeper's descendants."""
        try:
            return len(psutil.Process(self._keeper.pid).children(recursive=True)) if self._keeper else 0
        except psutil.NoSuchProcess:
            return 0

    # ------------------------------------------------------------------ what the operator asks for

    def _workload_of_own(self, test: OwnTest, watched: Watched) -> Workload | Verdict:
        if test.k6 is not None:
            return self._k6.own_workload(test, watched)
        workload = self._hour.plan.workloads.get(test.type)
        if workload is None:
            return Verdict(Decision.REFUSED, f"nothing carries out {test.type.value} tests before the first fetch")
        return workload

    def _write_status(self) -> None:
        self._status.write(self.desk.snapshot())
