"""The k6 load tester, v1 and v2: found, asked what a script would do, held to what is allowed, run, understood."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testwarden.clients.cage import Inside
from testwarden.clients.k6_arguments import (
    DATA_VARIABLE,
    ENVIRONMENT,
    HTTP_1,
    SUMMARY,
    ParamRefused,
    Wanted,
    inspect_argv,
    inspect_environment,
    run_argv,
    wanted_of,
)
from testwarden.clients.k6_load import (
    K6Bounds,
    Load,
    Plan,
    Refusal,
    Requirements,
    decide,
    is_within,
    lacks_users,
    read_requirements,
    settled,
    shown,
    with_users,
)
from testwarden.clients.k6_numbers import Connect, K6Numbers
from testwarden.clients.k6_outcomes import MOST_SUMMARY, figures, meaning_of, moved, read_summary, said
from testwarden.clients.k6_watch import Watch
from testwarden.clients.process import Command, Ended, Processes, Why, clean_environment
from testwarden.clients.stop import Stop
from testwarden.errors import ClientMissing, ClientUnsupported, ProcessError
from testwarden.model import AttemptResult, K6Options, Outcome

LOOK_PATIENCE = 10.0
"""Seconds that `k6 version` may take."""
INSPECT_PATIENCE = 10.0
"""Seconds that `k6 inspect` may take: it executes the beginning of the script."""
GRACE = 10.0
"""Seconds between TERM and KILL at the time limit; half-way k6 gets a second TERM, after which teardown and summary are
given up. A stop has a patience of its own."""
PLANNING = 2
"""Runs of a kind that are asked at the same time what they would do: it costs a processor, and fifty at once would keep
each other, and whoever starts one through the API, waiting."""
TURN_LOOK = 0.1
"""Seconds between two looks at whether to go on waiting for that."""
MAJORS = (1, 2)
"""Versions that are known here."""

_VERSION = re.compile(r"k6 v((\d{1,6})\.\d{1,6}\.\d{1,6})\b", re.ASCII)


@dataclass(frozen=True)
class K6Program:
    """A k6 that was looked at."""

    path: Path
    """Of the program itself, no link."""
    version: str
    """For example `2.2.0`."""
    major: int


@dataclass(frozen=True)
class K6Run:
    """One run: what, where, and how much of it."""

    script: str
    """Path as it is inside."""
    options: K6Options
    bounds: K6Bounds
    inside: Inside
    folder: Path
    """The scratch folder, as it is outside."""
    port: int
    """Loopback port for its REST API."""
    timeout: float
    """Seconds for everything: asking what it would do, and doing it."""
    data: str | None = None
    """Path as it is inside."""
    progress: Callable[[K6Numbers], None] = lambda _: None
    """Gets its numbers while it runs, in a thread of the client's."""
    started: Callable[[Connect], None] = lambda _: None
    """Gets the way to its REST API when it is about to begin."""
    hear: Callable[[bytes], None] | None = None
    """Gets what it prints, as it comes."""


class _OverError(Exception):
    """The attempt is over before k6 ran."""

    def __init__(self, result: AttemptResult) -> None:
        super().__init__(result.reason)
        self.result = result


class K6Client:
    """Runs k6. The program is looked for at each attempt: it may come, go and be replaced while the agent runs.

    Like every client, it raises nothing for what k6, a script or a network does: that is an outcome.
    """

    def __init__(self, processes: Processes, *, bin_dir: Path, search_path: str) -> None:
        """Given where to look: `bin_dir` first, then `search_path`, written like PATH."""
        self._processes = processes
        self._bin_dir = bin_dir.absolute()
        self._search_path = search_path
        self._looked_at: dict[tuple[Path, int, int, int], K6Program] = {}
        self._name = "k6"
        # One for runs of public control files and one for the operator's: scripts that hang hold up their own kind only.
        self._planning = {public: threading.BoundedSemaphore(PLANNING) for public in (False, True)}

    @property
    def name(self) -> str:
        """The tag in the metrics: `k6-1` or `k6-2`; `k6` where the program was not found yet."""
        return self._name

    def describe(self, stop: Stop) -> K6Program:
        """Return which program there is, asking it unless this very file was asked before.

        Raise ClientMissing, ClientUnsupported or ProcessError.
        """
        path = self._find()
        try:
            stat = path.stat()
        except OSError as error:
            raise ClientMissing(f"{path} has just gone") from error
        identity = (path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if identity not in self._looked_at:
            self._looked_at[identity] = self._look(path, stop)
        program = self._looked_at[identity]
        self._name = f"k6-{program.major}"
        return program

    def attempt(self, program: K6Program, run: K6Run, stop: Stop) -> AttemptResult:
        """Ask what the script would do, decide, run it, and return how it went, with `figures`."""
        until = time.monotonic() + run.timeout
        try:
            wanted = _wanted(run)
            with self._turn(run, stop, until):
                plan = self._plan(program, run, wanted, stop, until)
            return self._run(program, run, wanted, plan, stop, until)
        except _OverError as over:
            return over.result
        except (ParamRefused, ProcessError) as error:
            return AttemptResult(Outcome.CLIENT_ERROR, str(error))

    @contextmanager
    def _turn(self, run: K6Run, stop: Stop, until: float) -> Iterator[None]:
        """While inside, it is this run's turn to be asked. Raise _OverError where that does not come in time."""
        turns = self._planning[run.bounds.most_rate is not None]
        while not turns.acquire(timeout=TURN_LOOK):
            if stop.requested:
                raise _OverError(AttemptResult(Outcome.CLIENT_KILLED, stop.reason or "the agent ends"))
            if time.monotonic() >= until:
                raise _OverError(AttemptResult(Outcome.CLIENT_ERROR, "it waited too long for its turn"))
        try:
            yield
        finally:
            turns.release()

    def _find(self) -> Path:
        """Return the program's path. Raise ClientMissing."""
        ours = self._bin_dir / "k6"
        if ours.is_file():
            if not os.access(ours, os.X_OK):
                raise ClientMissing(f"{ours} is not executable: chmod +x {ours}")
            return ours.resolve()
        found = shutil.which("k6", path=self._search_path)
        if found is None:
            raise ClientMissing(
                f"no k6 in {self._bin_dir} or on PATH: https://grafana.com/docs/k6/latest/set-up/install-k6/"
            )
        return Path(found).resolve()

    def _look(self, path: Path, stop: Stop) -> K6Program:
        try:
            with tempfile.TemporaryDirectory(prefix="k6-") as home:
                env = clean_environment(Path(home), ENVIRONMENT)
                ended = self._processes.run(Command((str(path), "version"), env, Path(home)), stop, LOOK_PATIENCE)
        except OSError as error:
            raise ProcessError(f"{path} cannot be asked for its version: {error.strerror or error}") from error
        if ended.why is not Why.FINISHED:
            raise ProcessError(f"{path} version did not end within {LOOK_PATIENCE:g} s")
        found = _VERSION.match(ended.stdout)
        if found is None:
            raise ClientUnsupported(f"{path} does not say that it is k6")
        if int(found[2]) not in MAJORS:
            raise ClientUnsupported(
                f"{path} is k6 {found[1]}; known here are {' and '.join(f'v{one}' for one in MAJORS)}"
            )
        return K6Program(path, found[1], int(found[2]))

    def _plan(self, program: K6Program, run: K6Run, wanted: Wanted, stop: Stop, until: float) -> Plan:
        """Return the load to make. What is clamped is asked for once more, so that k6 itself says that it obeys."""
        asked = wanted.load
        if lacks_users(asked):
            asked = with_users(self._needs(program, run, wanted, Load(), stop, until), asked)
        needs = self._needs(program, run, wanted, asked, stop, until)
        load = settled(needs, asked)
        if load != asked:
            needs = self._needs(program, run, wanted, load, stop, until)
        bounds = replace(run.bounds, most_seconds=min(run.bounds.most_seconds, run.timeout))
        plan = decide(needs, load, bounds)
        if isinstance(plan, Refusal):
            raise _OverError(AttemptResult(Outcome.CLIENT_ERROR, plan.reason))
        if not is_within(needs, bounds):
            self._verify(program, run, replace(wanted, load=plan.load), shown(needs, bounds), bounds, stop, until)
        return plan

    def _verify(
        self, program: K6Program, run: K6Run, wanted: Wanted, asked: str, bounds: K6Bounds, stop: Stop, until: float
    ) -> None:
        """Raise _OverError unless k6 says of the clamped run that it is within the bounds."""
        try:
            needs = self._needs(program, run, wanted, wanted.load, stop, until)
        except _OverError as over:
            if over.result.outcome is not Outcome.CLIENT_ERROR:
                raise
            reason = f"{asked}, and it cannot be clamped: {over.result.reason}"
            raise _OverError(replace(over.result, reason=reason)) from None
        if not is_within(needs, bounds):
            again = f"{needs.vus} virtual users, {needs.seconds:g} s"
            reason = f"{asked}, and k6 does not obey: told to do less, it would use {again}"
            raise _OverError(AttemptResult(Outcome.CLIENT_ERROR, reason))

    def _needs(
        self, program: K6Program, run: K6Run, wanted: Wanted, load: Load, stop: Stop, until: float
    ) -> Requirements:
        """Return what k6 says that it would do with this load. Raise _OverError when it does not say."""
        argv = inspect_argv(str(program.path), run.script, wanted.env)
        patience = max(0.0, min(INSPECT_PATIENCE, until - time.monotonic()))
        ended = self._processes.run(_command(run, argv, inspect_environment(load)), stop, patience)
        if ended.why is Why.STOPPED:
            raise _OverError(AttemptResult(Outcome.CLIENT_KILLED, stop.reason or "the agent ends"))
        if ended.why is Why.TIMED_OUT:
            reason = f"what the script does would take more than {patience:.0f} s to find out: k6 inspect did not end"
            raise _OverError(AttemptResult(Outcome.CLIENT_ERROR, reason))
        if ended.exit_code != 0:
            raise _OverError(_never_ran(run, ended))
        try:
            return read_requirements(ended.stdout)
        except ValueError as error:
            reason = f"k6 inspect says nothing that is understood here: {error}"
            raise _OverError(AttemptResult(Outcome.CLIENT_ERROR, reason)) from error

    def _run(
        self, program: K6Program, run: K6Run, wanted: Wanted, plan: Plan, stop: Stop, until: float
    ) -> AttemptResult:
        argv = run_argv(str(program.path), run.script, run.port, plan.load, wanted)
        command = replace(_command(run, argv, ENVIRONMENT), grace=GRACE, second_term=True, hear=run.hear)

        def connect() -> socket.socket:
            return run.inside.connect(run.port)

        run.started(connect)
        with Watch(connect, run.bounds, run.progress, stop) as watch:
            ended = self._processes.run(command, watch.stop, max(0.0, until - time.monotonic()))
        return _result(run, plan, ended, watch.stop.reason, watch.last)


def _wanted(run: K6Run) -> Wanted:
    wanted = wanted_of(run.options)
    if run.data is None:
        return wanted
    return replace(wanted, env=(*wanted.env, (DATA_VARIABLE, run.data)))


def _command(run: K6Run, argv: tuple[str, ...], env: Mapping[str, str]) -> Command:
    protocol = HTTP_1 if run.bounds.most_rate is not None else {}
    return Command(
        run.inside.wrap(argv),
        {**clean_environment(run.folder, {**env, **protocol}), **run.inside.env},
        run.folder,
        most_file_bytes=run.bounds.most_file_bytes,
        most_memory=run.bounds.most_memory,
    )


def _never_ran(run: K6Run, ended: Ended) -> AttemptResult:
    meaning = meaning_of(ended)
    reason = f"{meaning.sentence} (exit {ended.exit_code}){_words(run, ended)}"
    return AttemptResult(meaning.outcome, reason, figures=figures(ended, None, None, run.inside.refusals))


def _result(run: K6Run, plan: Plan, ended: Ended, stop_reason: str, last: K6Numbers | None) -> AttemptResult:
    """Given a run that is over, why it was stopped if it was, and what was last known of it, return the result."""
    if ended.exit_code is None and ended.signal is None:
        return AttemptResult(Outcome.CLIENT_KILLED, stop_reason or "the agent ends")
    metrics, meaning = _summary(run.folder / SUMMARY), meaning_of(ended)
    by_k6 = moved(metrics, last)
    return AttemptResult(
        outcome=meaning.outcome,
        reason="; ".join(_reasons(run, plan, ended, stop_reason)),
        exec_time=ended.seconds,
        bytes=max(run.inside.moved, by_k6 or 0),
        bytes_known=metrics is not None or run.inside.moved > 0,
        mendable=meaning.mendable,
        figures=figures(ended, metrics, last, run.inside.refusals, plan.vus),
    )


def _reasons(run: K6Run, plan: Plan, ended: Ended, stop_reason: str) -> list[str]:
    """Return what a person should know: why it is not ok, what was refused first, what was clamped."""
    meaning, reasons = meaning_of(ended), list[str]()
    if meaning.outcome is Outcome.CLIENT_KILLED and ended.why is Why.STOPPED:
        reasons.append(stop_reason or "the agent ends")
    elif meaning.outcome is Outcome.CLIENT_KILLED and ended.why is Why.TIMED_OUT:
        reasons.append(f"time limit of {run.timeout:g} s")
    elif meaning.outcome is not Outcome.OK:
        code = "" if ended.exit_code is None else f" (exit {ended.exit_code})"
        reasons.append(f"{meaning.sentence}{code}{_words(run, ended)}")
    if run.inside.refusals:
        first = "".join(run.inside.refused[:1])
        reasons.append(f"{run.inside.refusals} requests were refused, the first to {first}")
    if plan.changes:
        reasons.append(f"clamped: {', '.join(plan.changes)}")
    return reasons


def _words(run: K6Run, ended: Ended) -> str:
    """Return k6's own words, without the folder they lie in: reasons leave this machine with the metrics."""
    words = said(ended).replace(str(run.folder.absolute().parent), "")
    return f": {words}" if words else ""


def _summary(path: Path) -> Mapping[str, Any] | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_SUMMARY:
            return None
        return read_summary(path.read_bytes())
    except OSError:
        return None
