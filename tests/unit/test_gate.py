"""The gate: verdicts on tasks and attempts, each reason once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from testwarden.model import AttemptResult, Decision, FileSize, Moment, Origin, Outcome, TestType
from testwarden.safety.budget import Entry, Ledger
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions, Confirmed, Gate, Needs, judge_now
from testwarden.safety.kill_switch import KillSwitch, SwitchIssue
from testwarden.safety.limits import GB, Limits, OwnLimits

START = datetime(2026, 11, 21, 12, 5, tzinfo=timezone.utc)


def at(seconds: float) -> Moment:
    return Moment(START + timedelta(seconds=seconds), 100.0 + seconds, "boot")


GOOD = Conditions(
    switch=KillSwitch().after_look((), at(0), at_fetch=False), skew=0.4, control=Confirmed(at(0)), disk_free=20 * GB
)
HOUR = Cycle()


def refusal(conditions: Conditions, seconds: float = 1, disk: int = 0) -> str:
    verdict = judge_now(conditions, HOUR, Needs(10 * GB, disk), at(seconds))
    return verdict.reason if verdict.refused else ""


def test_in_the_window_with_everything_good_an_attempt_is_allowed() -> None:
    assert judge_now(GOOD, HOUR, Needs(10 * GB), at(1)).decision is Decision.ALLOWED


@pytest.mark.parametrize("seconds", [-0.001, 3000.0, 3100.0, 3300.0])
def test_outside_the_window_nothing_starts(seconds: float) -> None:
    fresh = replace(GOOD, switch=KillSwitch().after_look((), at(seconds), at_fetch=False))
    assert "outside the window" in refusal(fresh, seconds)


def test_the_last_instant_of_the_window_still_starts() -> None:
    fresh = replace(GOOD, switch=KillSwitch().after_look((), at(2999), at_fetch=False))
    assert not refusal(fresh, 2999.999)


def test_the_window_of_the_day_s_last_hour_ends_and_the_next_opens_after_midnight() -> None:
    late = Moment(datetime(2026, 11, 21, 23, 56, tzinfo=timezone.utc), 0.0, "boot")
    verdict = judge_now(GOOD, HOUR, Needs(0), late)
    assert verdict.next_try == datetime(2026, 11, 22, 0, 5, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"switch": KillSwitch()}, "no answer about the kill switch"),
        (
            {
                "switch": GOOD.switch.after_look(
                    (SwitchIssue(3, "kill-switch", "x", START, "u"),), at(0), at_fetch=False
                )
            },
            "kill switch is active: issue 3",
        ),
        ({"paused": True}, "paused by the operator"),
        ({"skew": 60.5}, "60 s ahead of"),
        ({"skew": -61.0}, "61 s behind"),
        ({"control": None}, "no control file"),
        ({"control": Confirmed(at(0), START)}, "notAfter"),
        ({"control": Confirmed(at(-7200))}, "last confirmed 7201 s ago"),
        ({"disk_free": 10 * GB - 1}, "must stay free"),
    ],
)
def test_each_condition_refuses_with_its_reason(change: dict[str, object], words: str) -> None:
    assert words in refusal(replace(GOOD, **change))  # type: ignore[arg-type]  # the parameters name real fields


def test_edges_that_are_still_good() -> None:
    assert not refusal(replace(GOOD, skew=60.0))
    assert not refusal(replace(GOOD, skew=None))
    assert not refusal(replace(GOOD, control=Confirmed(at(-7199))))
    assert not refusal(GOOD, disk=10 * GB)
    assert "must stay free" in refusal(GOOD, disk=10 * GB + 1)


def test_an_own_test_needs_no_control_file_and_no_window() -> None:
    bare = replace(GOOD, control=None)
    own = Needs(10 * GB, window=False, control=False)
    assert not judge_now(bare, HOUR, own, at(1)).refused
    assert not judge_now(bare, HOUR, own, at(-200)).refused
    assert "outside the window" in judge_now(bare, HOUR, replace(own, window=True), at(-200)).reason


@pytest.mark.parametrize(
    "change", [{"switch": KillSwitch()}, {"paused": True}, {"skew": 61.0}, {"disk_free": 0}], ids=str
)
def test_an_own_test_is_held_by_everything_else(change: dict[str, object]) -> None:
    conditions = replace(GOOD, **change)  # type: ignore[arg-type]  # the parameters name real fields
    assert judge_now(conditions, HOUR, Needs(10 * GB, window=False, control=False), at(1)).refused


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.db", at(0))
    yield made
    made.close()


ENTRY = Entry(TestType.DOWNLOAD, FileSize.TINY, "001", 1, "seed-1-1", "c", 1000)


def gate(ledger: Ledger, conditions: Conditions = GOOD, **limits: object) -> Gate:
    return Gate(Limits(**limits), HOUR, ledger, lambda: conditions, lambda _task: "")  # type: ignore[arg-type]  # named in the tests


def test_what_is_allowed_is_in_the_ledger_before_it_runs(ledger: Ledger) -> None:
    admission = gate(ledger).admit(ENTRY, 0, at(1))
    assert not admission.verdict.refused
    assert ledger.usage(at(1)).attempts == {TestType.DOWNLOAD: 1}


def test_what_is_refused_uses_no_budget(ledger: Ledger) -> None:
    assert gate(ledger, replace(GOOD, paused=True)).admit(ENTRY, 0, at(1)).verdict.refused
    assert ledger.usage(at(1)).attempts == {}


def test_the_built_in_hour_holds_360_downloads_and_not_one_more(ledger: Ledger) -> None:
    door = gate(ledger)
    verdicts = [door.admit(ENTRY, 0, at(1 + number / 100)).verdict for number in range(361)]
    assert [verdict.refused for verdict in verdicts] == [False] * 360 + [True]
    assert verdicts[-1].next_try is not None


def test_the_byte_cap_refuses_with_the_numbers(ledger: Ledger) -> None:
    verdict = gate(ledger, bytes_per_day=999).admit(ENTRY, 0, at(1)).verdict
    assert verdict.refused
    assert "999 bytes a day" in verdict.reason


def test_a_ledger_that_cannot_be_written_lets_nothing_start(ledger: Ledger, tmp_path: Path) -> None:
    blocker = sqlite3.connect(tmp_path / "ledger.db")
    blocker.execute("DROP TABLE attempts")
    blocker.close()
    verdict = gate(ledger).admit(ENTRY, 0, at(1)).verdict
    assert verdict.refused
    assert "ledger cannot be written" in verdict.reason


def test_funds_need_a_cap_and_are_reserved_with_a_margin(ledger: Ledger) -> None:
    permit = gate(ledger).admit(ENTRY, 0, at(1)).permit
    assert "spend_per_day is not set" in gate(ledger).reserve_funds(permit, Decimal(1), at(1)).reason
    capped = gate(ledger, spend_per_day=Decimal("1.4"))
    assert capped.reserve_funds(permit, Decimal(1), at(1)).refused
    assert not capped.reserve_funds(permit, Decimal("0.9"), at(1)).refused
    assert ledger.usage(at(1)).spent == Decimal("1.35")
    capped.settle_funds(permit, Decimal("0.8"))
    assert ledger.usage(at(1)).spent == Decimal("0.8")


def test_settling_replaces_the_reserved_bytes(ledger: Ledger) -> None:
    door = gate(ledger)
    permit = door.admit(ENTRY, 0, at(1)).permit
    door.settle(permit, AttemptResult(Outcome.OK, bytes=7), at(2))
    assert door.usage(at(2)).bytes == 7


def test_all_tasks_together_have_twenty_workers(ledger: Ledger) -> None:
    door = gate(ledger)
    assert door.workers(Origin.PUBLIC, 10, 0) == 10
    assert door.workers(Origin.PUBLIC, 10, 15) == 5
    assert door.workers(Origin.PUBLIC, 10, 20) == 0


OWN = replace(ENTRY, origin=Origin.OWN, task="own-1")


def test_own_attempts_have_a_budget_of_their_own(ledger: Ledger) -> None:
    door = gate(ledger, own=OwnLimits(attempts=2))
    verdicts = [door.admit(OWN, 0, at(number)).verdict for number in (1, 2, 3)]
    assert [verdict.refused for verdict in verdicts] == [False, False, True]
    assert "2 own download attempts" in verdicts[2].reason
    assert not door.admit(ENTRY, 0, at(4)).verdict.refused
    assert (door.usage(at(4)).attempts, door.usage(at(4)).own) == ({TestType.DOWNLOAD: 1}, {TestType.DOWNLOAD: 2})


def test_the_byte_cap_holds_for_own_and_public_attempts_together(ledger: Ledger) -> None:
    door = gate(ledger, bytes_per_day=1999)
    assert not door.admit(OWN, 0, at(1)).verdict.refused
    assert "bytes a day" in door.admit(ENTRY, 0, at(2)).verdict.reason


def test_own_tests_are_bound_to_the_window_where_the_operator_says_so(ledger: Ledger) -> None:
    assert not gate(ledger).admit(OWN, 0, at(-200)).verdict.refused
    assert not gate(ledger).may_start(Origin.OWN, at(-200)).refused
    bound = gate(ledger, own=OwnLimits(window=True))
    assert "outside the window" in bound.admit(OWN, 0, at(-200)).verdict.reason
    assert "outside the window" in bound.may_start(Origin.OWN, at(-200)).reason
    assert (bound.windowed(Origin.OWN), gate(ledger).windowed(Origin.OWN)) == (True, False)
    assert gate(ledger).windowed(Origin.PUBLIC)


def test_own_tests_run_beside_the_twenty_workers_and_have_their_own_number(ledger: Ledger) -> None:
    assert gate(ledger).workers(Origin.OWN, 1, 99) == 1
    assert gate(ledger).workers(Origin.OWN, 1, 100) == 0
