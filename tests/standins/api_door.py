"""An agent for tests of the API: implements Door on plain data."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from testwarden.api.config import ApiConfig
from testwarden.api.metrics import AgentMetrics
from testwarden.api.server import ApiServer
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.errors import ProcessError
from testwarden.model import Decision, Outcome, Verdict
from testwarden.running.own_runs import OwnRun, OwnTest

NOW = datetime(2026, 11, 20, 12, 10, tzinfo=timezone.utc)
TOKEN = "a-token-of-tests"


class MemoryDoor:
    """What is asked of it is kept, and what it says can be set."""

    def __init__(self, folder: Path) -> None:
        """Given a folder for logs."""
        self.folder = folder
        self.refuse = ""
        """Why every start is refused; empty: none is."""
        self.why_not = ""
        self.broken: Exception | None = None
        """What every look at the agent raises."""
        self.paused = False
        self.measured: dict[int, K6Numbers] = {}
        self.asked: list[int] = []
        """Runs whose k6 was asked for its numbers."""
        self.runs: dict[int, OwnRun] = {}
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.lent: list[int] = []
        self.ports = 1000
        self.lines: list[str] = []
        self.lock = threading.Lock()

    def snapshot(self) -> Mapping[str, Any]:
        if self.broken is not None:
            raise self.broken
        return {
            "phase": "window",
            "paused": self.paused,
            "stopping": "",
            "kill_switch": {"state": "clear", "reason": "the kill switch is clear"},
            "budgets": {
                "attempts": {"download": {"used": 3, "limit": 360}},
                "bytes": {"used": 1000, "limit": 5000},
                "spent": {"used": "0.25", "limit": None},
            },
            "running": [],
            "recent": [{"task": "001", "outcome": "ok"}],
            "next": [],
        }

    def tasks(self) -> tuple[Mapping[str, Any], ...]:
        return ({"ref": "001", "description": "a tiny file", "decision": "allowed", "running": False},)

    def start_task(self, ref: str) -> Verdict:
        self.started.append(ref)
        return self._verdict() or Verdict(Decision.ALLOWED, "within the limits")

    def start_own(self, test: OwnTest) -> OwnRun | Verdict:
        refusal = self._verdict()
        if refusal is not None:
            return refusal
        with self.lock:
            number = len(self.runs) + 1
            log = self.folder / f"log-{number}"
            run = OwnRun(number, f"own-{number}", test, NOW, log, 6600 + number)
            self.runs[number] = run
        return run

    def cancel(self, ref: str) -> bool:
        self.cancelled.append(ref)
        run = next((run for run in self.runs.values() if run.ref == ref and run.ended is None), None)
        if run is not None:
            self.end(run.number, Outcome.CLIENT_KILLED, "the operator stopped it")
        return run is not None or ref == "001"

    def end(self, number: int, outcome: Outcome = Outcome.OK, reason: str = "") -> None:
        """Let a run have ended."""
        self.runs[number] = replace(self.runs[number], ended=NOW, outcome=outcome, reason=reason)

    def pause(self, paused: bool) -> None:
        self.paused = paused

    def own_runs(self) -> tuple[OwnRun, ...]:
        return tuple(self.runs.values())

    def own_run(self, number: int) -> OwnRun | None:
        return self.runs.get(number)

    def numbers(self, number: int) -> K6Numbers | None:
        self.asked.append(number)
        return self.measured.get(number)

    def last_numbers(self, number: int) -> K6Numbers | None:
        return self.measured.get(number)

    def limits(self) -> Mapping[str, Any]:
        return {"own.at_once": 100}

    def log_lines(self, after: int) -> tuple[int, tuple[str, ...]]:
        with self.lock:
            return len(self.lines), tuple(self.lines[after:])

    def say(self, *lines: str) -> None:
        """Log something."""
        with self.lock:
            self.lines.extend(lines)

    def why_nothing_starts(self) -> str:
        return self.why_not

    def take_port(self) -> int:
        with self.lock:
            if len(self.lent) >= self.ports:
                raise ProcessError("no free port on 127.0.0.1 between 1 and 2")
            port = next(port for port in range(7000, 9000) if port not in self.lent)
            self.lent.append(port)
            return port

    def give_port_back(self, port: int) -> None:
        with self.lock:
            self.lent.remove(port)

    def ports_used(self) -> int:
        return len(self.lent) * 100 // self.ports

    def _verdict(self) -> Verdict | None:
        return Verdict(Decision.REFUSED, self.refuse) if self.refuse else None


def config_for(folder: Path, **values: Any) -> ApiConfig:
    """Return settings for a test, with a free loopback port unless said otherwise."""
    given: dict[str, Any] = {"listen": "127.0.0.1:0", "scripts": folder / "scripts", "agent": "testwarden/test"}
    return ApiConfig(**{**given, **values})


@contextmanager
def served(door: MemoryDoor, metrics: AgentMetrics | None = None, **values: Any) -> Iterator[ApiServer]:
    """While inside, the API answers for this agent. A server that dies fails the test."""
    deaths: list[BaseException] = []
    server = ApiServer(config_for(door.folder, **values), door, deaths.append, metrics)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not deaths
