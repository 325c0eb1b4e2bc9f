"""What an agent needs on this machine: looked at one by one, each with what to do about it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from testwarden import assembly
from testwarden.assembly_k6 import K6Parts
from testwarden.clients.ant import AntClient
from testwarden.clients.process import Keeper
from testwarden.clients.stop import Stop
from testwarden.clock import SystemClock
from testwarden.control.source import Source
from testwarden.errors import SourceError, TestwardenError
from testwarden.safety.gate import MOST_SKEW
from testwarden.safety.limits import GB
from testwarden.settings import to_limits
from testwarden.settings_schema import Settings


class Mark(str, Enum):
    """How a look ended."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Checked:
    """One look: what it was at, how it ended, and what to do."""

    mark: Mark
    what: str
    found: str
    advice: str = ""

    @property
    def bad(self) -> bool:
        return self.mark is Mark.BAD

    def __str__(self) -> str:
        advice = f"\n      → {self.advice}" if self.advice else ""
        return f"{self.mark.value:<5} {self.what}: {self.found}{advice}"


_ADVICE = {
    "github": "no test runs without an answer; look at the network, github.repository and github.token",
    "directory": "no test runs without a control file; see control.path",
}


def examine(settings: Settings) -> list[Checked]:
    """Given the settings, look at everything; no look keeps another from being taken."""
    looks: tuple[Callable[[Settings], Iterator[Checked]], ...] = (_folders, _disk, _client, _k6, _wallet, _source)
    return [checked for look in looks for checked in look(settings)]


def _folders(settings: Settings) -> Iterator[Checked]:
    cache, parent = settings.agent.cache_dir, settings.agent.cache_dir
    while not parent.exists():
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            yield Checked(Mark.OK, "agent.cache_dir", f"{cache} is writable")
    except OSError as problem:
        advice = "give it to the user who runs the agent, or name another agent.cache_dir"
        yield Checked(Mark.BAD, "agent.cache_dir", f"{cache}: {problem.strerror}", advice)
    if settings.control.source == "directory" and not settings.control.path.is_dir():
        yield Checked(Mark.BAD, "control.path", f"{settings.control.path} is no folder", "name one with a control file")


def _disk(settings: Settings) -> Iterator[Checked]:
    place = settings.agent.cache_dir
    while not place.exists():
        place = place.parent
    free, keep = shutil.disk_usage(place).free, settings.limits.keep_disk_free
    found = f"{free / GB:.1f} GB free, {keep / GB:.1f} GB stay free"
    if free > keep:
        yield Checked(Mark.OK, "disk", found)
    else:
        yield Checked(
            Mark.BAD, "disk", found, "no test starts: free some space, or put agent.cache_dir on a larger disk"
        )


def _client(settings: Settings) -> Iterator[Checked]:
    name = settings.network.client
    if name != "ant":
        where = settings.network.gateway if name == "http" else "a content store in the agent itself"
        yield Checked(Mark.OK, "client", f"{name}: {where}")
        return
    with tempfile.TemporaryDirectory() as folder, Keeper(Path(folder) / "processes") as keeper:
        client = assembly.build_client(settings, keeper, "")
        if not isinstance(client, AntClient):
            return
        try:
            program = client.describe(Stop())
        except TestwardenError as problem:
            advice = f"put the ant program into {settings.agent.bin_dir} or on PATH; see bin/README.md"
            yield Checked(Mark.BAD, "client", str(problem), advice)
        else:
            found = f"{program.path}, generation {program.generation.value}, {program.version or 'no version'}"
            yield Checked(Mark.OK, "client", found)


def _k6(settings: Settings) -> Iterator[Checked]:
    """k6 is optional: nothing about it is bad but what keeps tasks that the operator allowed from running."""
    wanted = bool(settings.k6.allowed_targets)
    mark = Mark.BAD if wanted else Mark.NOTE
    with tempfile.TemporaryDirectory() as folder, Keeper(Path(folder) / "processes") as keeper:
        try:
            found, no_cage = K6Parts(settings, to_limits(settings), keeper, None).describe()
        except TestwardenError as problem:
            yield Checked(mark, "k6", str(problem), "only needed for k6 tests")
            return
    yield Checked(Mark.OK, "k6", found)
    if no_cage:
        yield Checked(mark, "cage", no_cage, "without it k6 tasks of a control file are refused")
    elif wanted:
        yield Checked(Mark.OK, "cage", f"bubblewrap; k6 tasks may reach {', '.join(settings.k6.allowed_targets)}")
    else:
        yield Checked(Mark.NOTE, "cage", "bubblewrap; no k6 tasks of a control file: k6.allowed_targets is empty")


def _wallet(settings: Settings) -> Iterator[Checked]:
    if settings.network.client == "ant":
        key, cap = settings.network.secret_key, settings.limits.spend_per_day
        if key is None or cap is None:
            yield Checked(Mark.NOTE, "uploads", "refused: network.secret_key and limits.spend_per_day are not both set")
        else:
            yield Checked(Mark.OK, "uploads", f"may spend {cap} ANT in 24 h")
    if os.geteuid() == 0:
        yield Checked(Mark.NOTE, "user", "root", "not needed: run the agent as an ordinary user")


def _source(settings: Settings) -> Iterator[Checked]:
    # What is fetched here is kept apart: who runs the doctor need not be who runs the agent.
    with tempfile.TemporaryDirectory() as folder:
        agent = settings.agent.model_copy(update={"cache_dir": Path(folder)})
        yield from _asked(assembly.build_source(settings.model_copy(update={"agent": agent}), SystemClock()), settings)


def _asked(source: Source, settings: Settings) -> Iterator[Checked]:
    try:
        issues = source.look(thorough=True).issues
        if issues:
            yield Checked(Mark.NOTE, "kill switch", f"active: {issues[0]}", "nothing runs until it is closed")
        else:
            yield Checked(Mark.OK, "kill switch", "clear")
        fetched = source.fetch()
        commit = f" at commit {fetched.commit[:12]}" if fetched.commit else ""
        yield Checked(Mark.OK, "tasks from", f"{source.description}{commit}")
    except SourceError as problem:
        yield Checked(Mark.BAD, "tasks from", str(problem), _ADVICE[settings.control.source])
    finally:
        source.close()
    answer = source.last_answer
    if answer is None:
        return
    if answer.allowance is not None:
        minutes = (answer.allowance.resets - datetime.now(timezone.utc)).total_seconds() / 60
        found = f"{answer.allowance.remaining} of {answer.allowance.limit} requests left for {minutes:.0f} minutes"
        scarce = answer.allowance.remaining < answer.allowance.limit / 4
        advice = "set a token (github.token or GITHUB_TOKEN): it has an allowance of its own"
        yield Checked(Mark.NOTE, "allowance", found, advice) if scarce else Checked(Mark.OK, "allowance", found)
    if answer.skew is not None:
        found = f"{answer.skew:+.1f} s against the source"
        if abs(answer.skew) > MOST_SKEW:
            yield Checked(Mark.BAD, "clock", found, f"set it: more than {MOST_SKEW:.0f} s, and nothing starts")
        else:
            yield Checked(Mark.OK, "clock", found)
