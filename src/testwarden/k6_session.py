"""One k6 test from the command line: the same run as everywhere, with its progress and a summary for a person."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack

from tabulate import tabulate

from testwarden.agent import Agent, Options
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.clock import SystemClock
from testwarden.console.log import Log
from testwarden.errors import TestwardenError
from testwarden.model import Figure, Outcome, Verdict
from testwarden.running.own_runs import OwnRun, OwnTest
from testwarden.session import INTERRUPTED, descriptor, handlers
from testwarden.settings import secrets
from testwarden.settings_schema import Settings

EACH = 1.0
"""Seconds between two lines of progress on a terminal."""
EACH_LINE = 10.0
"""The same where every line stays: in a file, in CI."""
_UNITS = {"requests_failed_rate": "%", "rps": "/s", "data_received": "bytes", "data_sent": "bytes"}


def progress_line(seconds: float, numbers: K6Numbers | None) -> str:
    """Given how long a run takes so far and what k6 measures, return one line."""
    if numbers is None:
        return f"{seconds:.0f} s: starting"
    p95 = "" if numbers.rt95p is None else f", p95 {numbers.rt95p * 1000:.1f} ms"
    failed = "" if not numbers.failed else f", {numbers.failed:.1%} failed"
    return f"{seconds:.0f} s: {numbers.vus} VUs, {numbers.requests} requests, {numbers.rps:.1f}/s{p95}{failed}"


def summary(run: OwnRun) -> str:
    """Given a run that ended, return its figures as a table."""
    rows = [(name.replace("_", " "), *_shown(name, value)) for name, value in run.figures]
    return tabulate(rows, headers=("figure", "value", "unit"), tablefmt="grid", disable_numparse=True)


def _shown(name: str, value: Figure) -> tuple[str, str]:
    if isinstance(value, bool):
        return "yes" if value else "no", ""
    if name.startswith("duration_") and isinstance(value, float):
        return f"{value * 1000:.2f}", "ms"
    if name.endswith("_rate") and isinstance(value, float):
        return f"{value * 100:.2f}", "%"
    return (f"{value:.2f}" if isinstance(value, float) else str(value)), _UNITS.get(name, "")


class K6Session:
    """Runs one own k6 test in an agent that does nothing else."""

    def __init__(self, settings: Settings, test: OwnTest, *, log_level: str) -> None:
        """Given the settings, the test, and which log lines a person wants to see. Raise ValueError for an unknown
        level."""
        err = descriptor(sys.stderr)
        self._log = Log(err, level=log_level, secrets=secrets(settings))
        self._agent = Agent(settings, Options(own=test), SystemClock(), lambda _judged, _reading: None)
        self._over = threading.Event()
        self._live = err is not None and os.isatty(err)
        self._interrupts = 0

    def run(self) -> int:
        """Run the test; return k6's exit code, 1 where it did not run, 130 where Ctrl-C came before it."""
        with self._log:
            try:
                code = self._run()
            except TestwardenError as problem:
                self._log.echo(f"testwarden: {problem}\n")
                return 1
        started = self._agent.own_run
        if started is None:
            return code
        if isinstance(started, Verdict):
            return code or 1  # the log has said why
        return self._tell(self._agent.desk.own_run(started.number) or started, code)

    def _run(self) -> int:
        with ExitStack() as stack:
            watcher = threading.Thread(target=self._watch, name="progress", daemon=True)
            watcher.start()
            stack.callback(watcher.join)
            stack.callback(self._over.set)
            stack.enter_context(
                handlers(
                    {
                        signal.SIGTERM: lambda: self._agent.stop("SIGTERM"),
                        signal.SIGHUP: lambda: self._agent.stop("SIGHUP"),
                        signal.SIGINT: self._interrupt,
                    }
                )
            )
            return self._agent.run()

    def _interrupt(self) -> None:
        """The first Ctrl-C ends the test and keeps its summary, the second ends everything at once."""
        self._interrupts += 1
        if self._interrupts > 1:
            self._agent.kill()
            os._exit(INTERRUPTED)
        self._agent.stop("Ctrl-C", INTERRUPTED)

    def _watch(self) -> None:
        seconds, shown = 0.0, False
        while not self._over.wait(EACH):
            run = self._agent.own_run
            if not isinstance(run, OwnRun):
                continue
            seconds += EACH
            if self._live or math.isclose(seconds % EACH_LINE, 0):
                line = progress_line(seconds, self._agent.desk.numbers(run.number))
                self._log.echo(f"\r\x1b[K{line}" if self._live else f"{line}\n")
                shown = self._live
        if shown:
            self._log.echo("\r\x1b[K")

    def _tell(self, run: OwnRun, code: int) -> int:
        figures: Mapping[str, Figure] = dict(run.figures)
        if figures:
            _write(descriptor(sys.stdout), f"{summary(run)}\n")
        if run.outcome is Outcome.OK and run.reason:  # the log, closed by now, tells the reasons of all that is not ok
            _write(descriptor(sys.stderr), f"testwarden: {run.reason}\n")
        exit_code = figures.get("exit_code")
        if isinstance(exit_code, int) and exit_code >= 0:
            return exit_code
        return code or int(run.outcome is not Outcome.OK)


def _write(fd: int | None, text: str) -> None:
    """Write past Python's buffers: who closed the stream, or has no room for it, still gets the exit code."""
    left = text.encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):
        while left and fd is not None:
            left = left[os.write(fd, left) :]
