"""Metrics files of any length for tests of the report: what agents could have measured in some days, the same at every call."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from standins.samples import MINUTE, SECOND, a_sample
from testwarden.metrics.agent_line import AgentState, agent_line
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.model import Figure, FileSize, Outcome, Sample, TestType
from testwarden.safety.budget import Usage
from testwarden.safety.kill_switch import Standing, SwitchState
from testwarden.safety.limits import Limits

BEGIN = datetime(2026, 11, 14, tzinfo=timezone.utc)
_HOUR = 3600 * SECOND
_START = int(BEGIN.timestamp()) * SECOND
_WINDOW = (5 * MINUTE, 55 * MINUTE)
_WHAT = (
    (TestType.DOWNLOAD, FileSize.TINY, 0.4, 90_000),
    (TestType.DOWNLOAD, FileSize.SMALL, 1.5, 3_900_000),
    (TestType.DOWNLOAD, FileSize.MEDIUM, 7.0, 30_000_000),
    (TestType.QUOTE, FileSize.TINY, 2.5, 0),
    (TestType.QUOTE, FileSize.MEDIUM, 6.0, 0),
    (TestType.UPLOAD, FileSize.TINY, 12.0, 90_000),
)
"""What, the seconds that it takes as a rule, and the bytes."""
_WRONG = (Outcome.NETWORK_ERROR,) * 6 + (
    Outcome.CLIENT_ERROR,
    Outcome.CLIENT_KILLED,
    Outcome.DATA_LOSS,
    Outcome.UNKNOWN_ERROR,
)
STOPPED = range(66, 71)
"""The hours, from the first, in which the kill switch is active and nothing runs."""
_BROKEN = range(100, 108)
"""Those in which most attempts fail."""
_LIMITS = Limits(spend_per_day=Decimal(2))


def write_metrics(path: Path, agent: str, *, hours: int, samples: int) -> int:
    """Given a file, whose it is, so many hours and about so many samples, write them; return how many they were."""
    writer, rng = LineWriter(Identity(agent, "de", "home", "fibre")), random.Random(agent)
    written = 0
    with path.open("wb") as file:
        for number in range(hours):
            for sample in _hour(number, samples // hours, rng):
                file.write(writer.line(sample, sample.ended_ns)[0])
                written += 1
    return written


def write_states(path: Path, agent: str, *, hours: int) -> None:
    """Given a file, whose it is, and so many hours, write the lines about the agent itself, one a minute."""
    identity = Identity(agent, "de", "home", "fibre")
    with path.open("wb") as file:
        for minute in range(1, hours * 60 + 1):
            file.write(agent_line(identity, _state(minute), _START + minute * MINUTE + SECOND))


def write_folder(folder: Path, agent: str, *, hours: int, samples: int) -> Path:
    """Given a folder that need not exist, write both files an agent would have; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder / "metrics.csv", agent, hours=hours, samples=samples)
    write_states(folder / "agent.csv", agent, hours=hours)
    return folder


def end_of(hours: int) -> datetime:
    """Return when so many hours are over."""
    return BEGIN + timedelta(hours=hours)


def _hour(number: int, many: int, rng: random.Random) -> Iterator[Sample]:
    if number in STOPPED:
        return
    begin, end = (number * _HOUR + edge for edge in _WINDOW)
    step = (end - begin) // max(1, many)
    for at in range(many):
        yield _sample(number, _START + begin + at * step + rng.randrange(step), rng)
    for run in range(2):
        yield _k6(number, _START + end + run, rng)


def _sample(number: int, ended: int, rng: random.Random) -> Sample:
    kind, size, seconds, moved = rng.choice(_WHAT)
    slow = 1.3 + math.sin(number / 24 * math.tau) * 0.5
    taken = rng.lognormvariate(math.log(seconds * slow), 0.45)
    good = rng.random() > (0.7 if number in _BROKEN else 0.025)
    sample = a_sample(ended_ns=ended, type=kind, filesize=size, worker=1 + number % 5, exec_time=taken, bytes=moved)
    if not good:
        kept = replace(sample, outcome=rng.choice(_WRONG), bytes=0, md5_valid=None, attempt=rng.randint(1, 3))
        return replace(kept, reason=f"what came was {kept.outcome.value.replace('_', ' ')}")
    if kind is TestType.DOWNLOAD:
        return sample
    cost = Decimal(str(round((0.002 + number * 2e-5) * (1 + moved / 1e6) * rng.uniform(0.8, 1.3), 9)))
    return replace(sample, md5_valid=None, cost=cost)


def _k6(number: int, ended: int, rng: random.Random) -> Sample:
    slow = rng.uniform(0.05, 0.08) * (4 if number in _BROKEN else 1)
    passed = rng.random() > 0.1
    figures: tuple[tuple[str, Figure], ...] = (
        ("vus_max", 10),
        ("requests", rng.randrange(900, 1200)),
        ("rps", rng.uniform(18, 20)),
        ("requests_failed_rate", rng.uniform(0, 0.02)),
        ("duration_p50", slow),
        ("duration_p95", slow * rng.uniform(3, 4)),
        ("duration_max", slow * rng.uniform(8, 20)),
        ("checks_failed", 0 if passed else 7),
        ("thresholds_ok", passed),
    )
    return a_sample(ended_ns=ended, type=TestType.K6, filesize=None, task="020", worker=1, client="k6-2", exec_time=60.2,
                    bytes=400_000, md5_valid=None, figures=figures,
                    outcome=Outcome.OK if passed else Outcome.THRESHOLDS_FAILED,
                    reason="" if passed else "thresholds failed")  # fmt: skip


def _state(minute: int) -> AgentState:
    standing = Standing(SwitchState.CLEAR, True, False, "the kill switch is clear")
    stopped = (minute - 1) // 60 in STOPPED
    if stopped:
        standing = Standing(SwitchState.ACTIVE, False, True, "the kill switch is active: issue 7")
    elif (minute - 1) // 10 == 330:
        standing = Standing(SwitchState.UNKNOWN, False, False, "the last answer about the kill switch is 312 s old")
    part = 0.0 if stopped else 0.5 + 0.4 * math.sin(minute / 60 / 24 * math.tau)
    attempts = {TestType.DOWNLOAD: int(360 * part), TestType.QUOTE: int(240 * min(1.0, part * 1.2))}
    attempts |= {TestType.UPLOAD: int(80 * part), TestType.K6: 0 if stopped else 4}
    usage = Usage(attempts, {}, int(part * 6e10), Decimal(str(round(part, 4))))
    return AgentState(standing, usage, _LIMITS)
