"""The lines about the agent itself, and the file that holds them."""

from __future__ import annotations

import gzip
import logging
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from standins.breaking_disk import BreakingDisk
from standins.samples import NOON, a_sample
from testwarden.metrics.agent_file import AgentFile
from testwarden.metrics.agent_line import AgentState, Refusals, agent_line
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.metrics.rotation import Rules
from testwarden.model import TestType
from testwarden.safety.budget import Usage
from testwarden.safety.kill_switch import Standing, SwitchState
from testwarden.safety.limits import Limits

CLEAR = Standing(SwitchState.CLEAR, True, False, "the kill switch is clear")
USAGE = Usage({TestType.DOWNLOAD: 3}, {TestType.K6: 2, TestType.QUOTE: 1}, 1000, Decimal("0.25"))
STATE = AgentState(CLEAR, USAGE, Limits(spend_per_day=Decimal("0.5")), running=4, commit="c0ffee")
DAY = datetime(2026, 11, 20, 23, 58, 1, tzinfo=timezone.utc)


def line(state: AgentState, identity: Identity = Identity("host", "de", "home", "fibre")) -> str:  # noqa: B008 - frozen
    return agent_line(identity, state, NOON).decode()


def test_a_quiet_minute_is_this_line() -> None:
    assert line(STATE) == (
        "testwarden_agent,agent=host,country=de,provision=home,connection=fibre "
        'kill_switch=0i,kill_switch_reason="",paused=false,running=4i,refused=0i,refused_reasons="",commit="c0ffee",'
        "download_used=3i,download_limit=360i,quote_used=0i,quote_limit=240i,upload_used=0i,upload_limit=120i,"
        "k6_used=0i,k6_limit=12i,own_used=3i,bytes_used=1000i,bytes_limit=200000000000i,ant_used=0.25,ant_limit=0.5 "
        f"{NOON}\n"
    )


@pytest.mark.parametrize(("state", "number"), [(SwitchState.ACTIVE, 1), (SwitchState.UNKNOWN, 2)])
def test_a_kill_switch_that_is_not_clear_says_why(state: SwitchState, number: int) -> None:
    said = line(replace(STATE, standing=Standing(state, False, True, 'issue 7 "stop"\nby someone')))
    assert f'kill_switch={number}i,kill_switch_reason="issue 7 \\"stop\\" by someone",' in said


def test_a_ledger_that_cannot_be_read_leaves_the_budgets_out() -> None:
    said = line(replace(STATE, usage=None))
    assert "_used" not in said
    assert "_limit" not in said
    assert 'commit="c0ffee" ' in said


def test_no_cap_is_a_limit_of_zero_and_still_a_float() -> None:
    assert "ant_limit=0.0 " in line(replace(STATE, limits=Limits()))


def test_refusals_are_told_most_frequent_first() -> None:
    said = line(replace(STATE, paused=True, refusals={"b": 2, "paused": 7, "a": 2}))
    assert 'paused=true,running=4i,refused=11i,refused_reasons="7 × paused; 2 × a; 2 × b",' in said


def test_tags_are_escaped_and_never_empty() -> None:
    assert line(STATE, Identity("a b,c", "", "", "")).startswith(
        "testwarden_agent,agent=a\\ b\\,c,country=xx,provision=xx,connection=xx "
    )


def test_refusals_are_counted_from_one_line_to_the_next_by_many_threads() -> None:
    refusals = Refusals()
    threads = [threading.Thread(target=lambda: [refusals.note("paused") for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals.take() == {"paused": 8000}
    assert refusals.take() == {}


def append(file: AgentFile, now: datetime) -> bytes:
    written = agent_line(Identity("host"), STATE, int(now.timestamp()) * 10**9)
    file.append(written, now)
    return written


def test_a_new_day_begins_a_new_file_and_the_recorder_packs_the_old_one(tmp_path: Path) -> None:
    file = AgentFile(tmp_path)
    old = append(file, DAY) + append(file, DAY + timedelta(minutes=1))
    new = append(file, DAY + timedelta(minutes=2))
    assert (tmp_path / "agent.csv").read_bytes() == new
    assert (tmp_path / "agent-2026-11-20.csv").read_bytes() == old
    Recorder(tmp_path, Identity("host")).close(DAY + timedelta(minutes=3))
    assert gzip.decompress((tmp_path / "agent-2026-11-20.csv.gz").read_bytes()) == old
    assert not (tmp_path / "agent-2026-11-20.csv").exists()
    assert (tmp_path / "agent.csv").read_bytes() == new


def test_a_clock_set_back_over_midnight_overwrites_no_archive(tmp_path: Path) -> None:
    file = AgentFile(tmp_path)
    first = append(file, DAY)
    append(file, DAY + timedelta(days=1))
    second = append(file, DAY)
    append(file, DAY + timedelta(days=1))
    assert (tmp_path / "agent-2026-11-20.csv").read_bytes() == first
    assert (tmp_path / "agent-2026-11-20-2.csv").read_bytes() == second


def test_old_archives_are_dropped_with_the_others(tmp_path: Path) -> None:
    file = AgentFile(tmp_path)
    append(file, DAY)
    append(file, DAY + timedelta(days=1))
    Recorder(tmp_path, Identity("host"), Rules(keep_days=5)).close(DAY + timedelta(days=5))
    assert (tmp_path / "agent-2026-11-20.csv.gz").exists()
    Recorder(tmp_path, Identity("host"), Rules(keep_days=5)).close(DAY + timedelta(days=6))
    assert not (tmp_path / "agent-2026-11-20.csv.gz").exists()


def test_the_samples_are_folded_and_rotated_as_without_it(tmp_path: Path) -> None:
    recorder, file = Recorder(tmp_path, Identity("host")), AgentFile(tmp_path)
    for number in range(3):
        now = DAY + timedelta(days=number)
        recorder.record(a_sample(ended_ns=int(now.timestamp()) * 10**9))
        recorder.fold(now)
        append(file, now)
    recorder.close(DAY + timedelta(days=3))
    assert recorder.counts.lost == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"agent-2026-11-{day}.csv.gz" for day in (20, 21)),
        "agent.csv",
        "journal.lp",
        *(f"metrics-2026-11-{day}.csv.gz" for day in (20, 21)),
        "metrics.csv",
        *(f"summary-2026-11-{day}.csv.gz" for day in (20, 21)),
        "summary.csv",
    ]


def test_a_torn_line_is_cut_off_before_the_next_one(tmp_path: Path) -> None:
    file = AgentFile(tmp_path)
    first = append(file, DAY)
    with (tmp_path / "agent.csv").open("ab") as torn:
        torn.write(first[:20])
    assert first + append(file, DAY) == (tmp_path / "agent.csv").read_bytes()


def test_a_full_disk_is_said_once_and_costs_only_what_was_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half_a_line = 5  # each line is three changes: the folder, the file, the write
    disk = BreakingDisk(half_a_line, OSError("no space"))
    file = AgentFile(tmp_path, disk)
    first = append(file, DAY)
    with caplog.at_level(logging.WARNING):
        append(file, DAY)
        disk.full = True
        append(file, DAY)
        append(file, DAY)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "no space",
        "[Errno 28] No space left on device",
    ]
    assert len((tmp_path / "agent.csv").read_bytes()) > len(first)
    disk.full = False
    assert first + append(file, DAY) == (tmp_path / "agent.csv").read_bytes()
