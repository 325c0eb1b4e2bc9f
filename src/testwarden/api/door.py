"""What the API may ask of a running agent, and nothing else. The agent is the implementation; tests have a twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import Verdict
from testwarden.running.own_runs import OwnRun, OwnTest


class Door(Protocol):
    """All calls are safe from any thread and return at once."""

    def snapshot(self) -> Mapping[str, Any]:
        """What `testwarden status --json` shows (snapshot.py): phase, kill switch, budgets, what runs, what is next."""
        ...

    def tasks(self) -> tuple[Mapping[str, Any], ...]:
        """The tasks of the control file, each with its verdict: ref, description, minute, type, filesize, workers,
        repeat, offset, timeout, decision, reason, starts (RFC 3339 or None), running."""
        ...

    def start_task(self, ref: str) -> Verdict:
        """Run a task of the control file now; every attempt still passes the gate."""
        ...

    def start_own(self, test: OwnTest) -> OwnRun | Verdict:
        """Start an own test; the verdict that refused it where it was refused."""
        ...

    def cancel(self, ref: str) -> bool:
        """Stop a task or an own test that runs: TERM, then KILL. False: nothing of that name runs."""
        ...

    def pause(self, paused: bool) -> None:
        """Nothing new starts while paused; what runs goes on."""
        ...

    def own_runs(self) -> tuple[OwnRun, ...]:
        """The own tests since the agent was started, oldest first; the oldest ended ones are forgotten beyond 1000."""
        ...

    def own_run(self, number: int) -> OwnRun | None: ...

    def numbers(self, number: int) -> K6Numbers | None:
        """What k6 measures at this moment, by its REST API; the last that is known once it ended; None: nothing yet."""
        ...

    def last_numbers(self, number: int) -> K6Numbers | None:
        """The last of them that is known, without asking k6: it never waits."""
        ...

    def limits(self) -> Mapping[str, Any]:
        """Every limit in force, by its name."""
        ...

    def log_lines(self, after: int) -> tuple[int, tuple[str, ...]]:
        """The agent's newest log lines (at most 1000 are kept) behind the line of number `after` (0: all), and the
        number of the last one."""
        ...

    def why_nothing_starts(self) -> str:
        """Why no test at all could start at this moment (kill switch, stale control file, clock, stopping), for a
        person; empty where one could."""
        ...

    def take_port(self) -> int:
        """Return a loopback port of the agent's pool, for something that an own test listens on beside k6's REST API.
        Raise ProcessError if there is none left."""
        ...

    def give_port_back(self, port: int) -> None:
        """Let others have a port that was taken."""
        ...

    def ports_used(self) -> int:
        """How much of the pool is lent, in percent."""
        ...
