"""What three agents measured in two hours, written by the real recorder: all outcomes, all types, k6 with its figures, and
the lines about the agents themselves. The same bytes at every call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from standins.samples import MINUTE, NOON, SECOND
from testwarden.clients.k6_outcomes import figures, meaning_of, read_summary
from testwarden.clients.process import Ended, Why
from testwarden.metrics.agent_file import AgentFile
from testwarden.metrics.agent_line import AgentState, agent_line
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.model import Figure, FileSize, Outcome, Sample, TestType
from testwarden.safety.budget import Usage
from testwarden.safety.kill_switch import Standing, SwitchState
from testwarden.safety.limits import Limits

MINUTES = 120
START = datetime(2026, 10, 27, 12, tzinfo=timezone.utc)
"""The same instant as NOON."""
AGENTS = (
    Identity("attic", "de", "home", "fibre"),
    Identity("barn", "nl", "home", "mobile"),
    Identity("cellar rack 7", "de", "cloud", "xx"),
)
_LIMITS = Limits(spend_per_day=Decimal("0.5"))
_SIZES = {
    TestType.DOWNLOAD: (FileSize.TINY, FileSize.SMALL, FileSize.MEDIUM),
    TestType.QUOTE: (FileSize.TINY, FileSize.SMALL),
    TestType.UPLOAD: (FileSize.TINY,),
}
_MANY = [kind for kind in Outcome if kind is not Outcome.THRESHOLDS_FAILED]
_K6_CODES = (0, 0, 0, 99, 107, 0)
_SUMMARY = (
    b'{"metrics":{"http_reqs":{"count":%d,"rate":%.3f},"http_req_failed":{"value":%.3f},"vus_max":{"max":10},'
    b'"http_req_duration":{"p(50)":80.5,"p(90)":150,"p(95)":%.1f,"p(99)":400,"max":900.25},'
    b'"data_received":{"count":90000},"data_sent":{"count":7000},"checks":{"passes":%d,"fails":2}}}'
)


@dataclass(frozen=True)
class Measured:
    """The three files of each agent, as one."""

    metrics: bytes
    summary: bytes
    agent: bytes

    @property
    def all(self) -> bytes:
        """Every line."""
        return self.metrics + self.summary + self.agent


def measured(folder: Path) -> Measured:
    """Given an empty folder, have the agents measure into it."""
    for number, identity in enumerate(AGENTS):
        _one_agent(folder / str(number), identity, random.Random(number))
    read = [b"".join((folder / str(n) / name).read_bytes() for n in range(len(AGENTS))) for name in _NAMES]
    return Measured(*read)


_NAMES = ("metrics.csv", "summary.csv", "agent.csv")


def _one_agent(folder: Path, identity: Identity, rng: random.Random) -> None:
    recorder, file = Recorder(folder, identity), AgentFile(folder)
    for minute in range(MINUTES):
        for sample in _samples(minute, rng):
            recorder.record(sample)
        now = START + timedelta(minutes=minute + 1, seconds=1)
        if minute % 30 == 29:
            recorder.fold(now)
        file.append(agent_line(identity, _state(minute), NOON + (minute + 1) * MINUTE + SECOND), now)
    recorder.close(START + timedelta(minutes=MINUTES + 1))


def _samples(minute: int, rng: random.Random) -> Iterator[Sample]:
    if not 5 <= minute % 60 < 55:
        return
    for number in range(rng.randint(1, 4)):
        kind = rng.choice(tuple(_SIZES))
        outcome = rng.choice(_MANY) if rng.random() < 0.3 else Outcome.OK
        if outcome is Outcome.MD5_INVALID and kind is not TestType.DOWNLOAD:
            outcome = Outcome.DATA_LOSS
        yield _sample(minute, number, kind, outcome, rng)
    if minute % 10 == 5:
        yield _k6_sample(minute, rng)


def _sample(minute: int, number: int, kind: TestType, outcome: Outcome, rng: random.Random) -> Sample:
    good = outcome is Outcome.OK
    size = rng.choice(_SIZES[kind])
    checked = kind is TestType.DOWNLOAD and outcome in (Outcome.OK, Outcome.MD5_INVALID)
    return Sample(
        ended_ns=NOON + minute * MINUTE + rng.randrange(MINUTE),
        type=kind,
        filesize=size,
        task=f"00{1 + tuple(_SIZES).index(kind)}",
        worker=1 + number,
        client="ant-2",
        outcome=outcome,
        exec_time=rng.lognormvariate(0.5, 0.8),
        bytes=rng.randrange(size.least, min(size.most, 10**6)) if good and kind is not TestType.QUOTE else 0,
        cost=Decimal(rng.randrange(1, 10**6)).scaleb(-9) if good and kind is not TestType.DOWNLOAD else None,
        md5_valid=good if checked else None,
        attempt=1 if good else rng.randint(1, 3),
        reason="" if good else f"what came was {outcome.value.replace('_', ' ')}",
        commit="c0ffee123456",
    )


def _k6_sample(minute: int, rng: random.Random) -> Sample:
    code = rng.choice(_K6_CODES)
    ended = Ended(Why.FINISHED, code)
    numbers = (rng.randrange(100, 2000), rng.uniform(1, 20), rng.uniform(0, 0.1), rng.uniform(200, 400), 300)
    summary = read_summary(_SUMMARY % numbers) if code != 107 else None
    measured_: tuple[tuple[str, Figure], ...] = figures(ended, summary, None, rng.randrange(3))
    return Sample(
        ended_ns=NOON + minute * MINUTE + rng.randrange(MINUTE),
        type=TestType.K6,
        filesize=None,
        task="020",
        worker=1,
        client="k6-2",
        outcome=meaning_of(ended).outcome,
        exec_time=rng.uniform(20, 60),
        bytes=97_000 if summary else 0,
        reason="" if code == 0 else meaning_of(ended).sentence,
        commit="c0ffee123456",
        figures=measured_,
    )


def _state(minute: int) -> AgentState:
    """The kill switch is active from minute 70 to 89, and GitHub silent from 100 to 104."""
    standing = Standing(SwitchState.CLEAR, True, False, "the kill switch is clear")
    if 70 <= minute < 90:
        standing = Standing(SwitchState.ACTIVE, False, True, "the kill switch is active: issue 7 “kill-switch: stop”")
    elif 100 <= minute < 105:
        standing = Standing(SwitchState.UNKNOWN, False, False, "the last answer about the kill switch is 312 s old")
    hour = min(minute, 60)
    usage = Usage({TestType.DOWNLOAD: hour, TestType.QUOTE: hour // 2}, {}, minute * 10**8, Decimal(minute) / 1000)
    refusals = {standing.reason: 5, "outside the window, which opens at 14:05:00 UTC": 2} if minute >= 70 else {}
    return AgentState(
        standing, usage, _LIMITS, minute in (110, 111), 0 if minute >= 70 else 6, refusals, "c0ffee123456"
    )
