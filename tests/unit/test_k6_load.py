"""How much a k6 run may do: durations, what k6 says, and what is decided about it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.clients.k6_load import (
    K6Bounds,
    Load,
    Plan,
    Refusal,
    Requirements,
    decide,
    go_duration,
    lacks_users,
    load_of,
    parse_duration,
    read_requirements,
    settled,
    with_users,
)
from testwarden.model import K6Options, ScriptFile

PUBLIC = K6Bounds(most_vus=20, most_seconds=600.0, most_rate=20)
OWN = K6Bounds(most_vus=500, most_seconds=86400.0)
FITS = Requirements(vus=20, seconds=600.0)


def inspected(**changes: object) -> str:
    return json.dumps({"totalDuration": "40s", "maxVUs": 5, "rps": None, "scenarios": {}, **changes})


# --- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1m3s", 63), ("48h0m30s", 172830), ("31.5s", 31.5), ("0s", 0), ("1h", 3600), ("10m30s", 630)),
        *(("1.5h", 5400), ("250ms", 0.25), ("3us", 3e-6), ("3µs", 3e-6), ("3μs", 3e-6), ("7ns", 7e-9), (".5s", 0.5)),
        *(("2d", 172800), ("1d1h", 90000), ("2000", 2), ("1500.5", 1.5005), ("2.s", 2)),
    ],
)
def test_durations_are_read_as_go_and_k6_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "s", "1x", "-1s", "1m 3s", "1s\n", "٣s", "1e3s", "inf", "nan", "None", "1m3", "3 s", "9" * 65, "+1s", "."],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@given(st.text(max_size=70) | st.text("0123456789.smhdnuµ", max_size=20))
def test_any_text_is_a_duration_that_is_not_negative_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < math.inf


@given(st.integers(0, 10**9), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_what_go_prints_comes_back(hours: int, minutes: int, seconds: int, millis: int) -> None:
    text = f"{hours}h{minutes}m{seconds}.{millis:03}s"
    assert parse_duration(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + millis / 1000)


@given(st.floats(0, 1e7))
def test_a_duration_that_we_write_is_never_longer_than_meant_and_less_than_a_millisecond_shorter(
    seconds: float,
) -> None:
    assert seconds - 0.001 <= parse_duration(go_duration(seconds)) <= seconds + 1e-6


# --- load


def test_a_load_is_the_same_as_flags_and_as_variables() -> None:
    load = Load(vus=4, duration=90.5, iterations=7, rate=20)
    assert load.flags() == ("--vus", "4", "--duration", "90500ms", "--iterations", "7", "--rps", "20")
    assert load.env() == {"K6_VUS": "4", "K6_DURATION": "90500ms", "K6_ITERATIONS": "7", "K6_RPS": "20"}
    stages = Load(stages=("5s:10", "1m:0"))
    assert stages.flags() == ("--stage", "5s:10", "--stage", "1m:0")
    assert stages.env() == {"K6_STAGES": "5s:10,1m:0"}
    assert (Load().flags(), Load().env()) == ((), {})


def test_the_load_of_a_task_is_what_its_options_say() -> None:
    options = K6Options(ScriptFile("a.js", "0" * 64), vus=1, duration=2.0, iterations=3, rate=4)
    assert load_of(options) == Load(vus=1, duration=2.0, iterations=3, rate=4)


# --- what k6 says


def test_what_inspect_says_is_read() -> None:
    assert read_requirements(inspected(rps=50)) == Requirements(vus=5, seconds=40.0, rate=50)
    assert read_requirements(inspected(duration="10s")).by_options
    assert read_requirements(inspected(rps=0)).rate is None


SHARED = {"executor": "shared-iterations", "vus": 10, "iterations": 30}
EACH = {"executor": "per-vu-iterations", "vus": 10, "iterations": 30}


@pytest.mark.parametrize(
    ("scenarios", "iterations"),
    [
        ({"a": SHARED}, 30),
        ({"a": EACH}, 300),
        ({"a": EACH, "b": SHARED}, 330),
        ({"a": {"executor": "per-vu-iterations", "vus": None, "iterations": None}}, 1),
        ({"a": SHARED, "b": {"executor": "constant-vus", "vus": 3, "duration": "2s"}}, None),
        ({"a": {"executor": "ramping-arrival-rate"}}, None),
        *(({}, None), (None, None), ([1], None), ({"a": 1}, None), ({"a": {"executor": []}}, None)),
    ],
)
def test_iterations_are_counted_where_every_scenario_has_a_number_of_them(scenarios: object, iterations: int) -> None:
    assert read_requirements(inspected(scenarios=scenarios)).iterations == iterations


@pytest.mark.parametrize(
    "printed",
    [
        *("", "null", "[]", "{}", "{", "[" * 100_000, "NaN"),
        *(inspected(maxVUs=value) for value in ("5", 5.0, None, True, -1)),
        *(inspected(totalDuration=value) for value in (None, 5, [], "forever", "-1s")),
    ],
)
def test_what_inspect_does_not_say_is_refused(printed: str) -> None:
    with pytest.raises(ValueError, match=r"it is no JSON|there is no (maxVUs|totalDuration)|is no duration"):
        read_requirements(printed)


# --- what every k6 does the same


@pytest.mark.parametrize(
    ("needs", "asked", "expected"),
    [
        (Requirements(1, 630.0), Load(vus=5), Load(vus=5, iterations=5)),
        (Requirements(5, 630.0, iterations=5, by_options=True), Load(vus=5), Load(vus=5)),
        (Requirements(1, 630.0), Load(), Load()),
        (Requirements(5, 40.0, by_options=True), Load(vus=5, duration=10.0), Load(vus=5, duration=10.0)),
        (Requirements(5, 40.0), Load(vus=5, stages=("1s:5",)), Load(vus=5, stages=("1s:5",))),
    ],
)
def test_virtual_users_alone_are_told_as_so_many_iterations_to_those_that_ignore_them(
    needs: Requirements, asked: Load, expected: Load
) -> None:
    assert settled(needs, asked) == expected


# --- the decision


def test_what_is_within_the_bounds_stays_as_it_is_but_for_the_rate() -> None:
    asked = Load(stages=("10s:20",))
    assert decide(FITS, asked, PUBLIC) == Plan(replace(asked, rate=20), 20)
    assert decide(FITS, asked, OWN) == Plan(asked, 20)


@pytest.mark.parametrize(
    ("of_script", "of_task", "rate", "changes"),
    [
        (None, None, 20, ()),
        (5, None, 5, ()),
        (50, None, 20, ("requests a second 50→20",)),
        (50, 10, 10, ()),
        (5, 50, 20, ("requests a second 50→20",)),
        (None, 20, 20, ()),
    ],
)
def test_a_rate_is_always_told_and_never_above_the_limit_nor_above_what_was_asked(
    of_script: int | None, of_task: int | None, rate: int, changes: tuple[str, ...]
) -> None:
    needs = replace(FITS, rate=of_script)
    assert decide(needs, Load(rate=of_task), PUBLIC) == Plan(Load(rate=rate), 20, changes)


def test_without_a_limit_of_the_rate_only_a_rate_that_was_asked_for_is_told() -> None:
    assert decide(replace(FITS, rate=7), Load(), OWN) == Plan(Load(), 20)
    assert decide(FITS, Load(rate=900), OWN) == Plan(Load(rate=900), 20)


def test_too_many_virtual_users_are_clamped_and_the_length_stays() -> None:
    plan = decide(Requirements(5000, 90.0), Load(), PUBLIC)
    assert plan == Plan(Load(vus=20, duration=60.0, rate=20), 20, ("virtual users 5000→20",))


def test_a_run_that_is_too_long_ends_in_time_with_the_seconds_that_iterations_get_to_end() -> None:
    plan = decide(Requirements(3, 3630.0), Load(), replace(PUBLIC, most_seconds=101.9))
    assert plan == Plan(Load(vus=3, duration=71.0, rate=20), 3, ("seconds 3630→101",))


def test_what_has_a_number_of_iterations_is_not_made_to_go_on_until_the_time_is_over() -> None:
    plan = decide(Requirements(50, 3630.0, iterations=150), Load(), PUBLIC)
    assert isinstance(plan, Plan)
    assert plan.load == Load(vus=20, duration=570.0, iterations=150, rate=20)
    plan = decide(Requirements(3, 630.0, iterations=1), Load(), PUBLIC)
    assert isinstance(plan, Plan)
    assert plan.load.iterations == 3  # k6 refuses fewer iterations than virtual users


def test_a_short_run_is_not_made_longer_by_being_clamped() -> None:
    plan = decide(Requirements(50, 5.0), Load(), PUBLIC)
    assert isinstance(plan, Plan)
    assert plan.load.duration == 1.0


@pytest.mark.parametrize("seconds", [0.0, -5.0, 30.9])
def test_where_no_run_is_short_enough_it_is_refused_with_both_numbers(seconds: float) -> None:
    refusal = decide(Requirements(50, 90.0), Load(), replace(PUBLIC, most_seconds=seconds))
    assert isinstance(refusal, Refusal)
    assert "50 virtual users and 20 are allowed" in refusal.reason
    assert f"90 seconds and {seconds:g} are allowed" in refusal.reason
    assert "at least 31 s" in refusal.reason


def test_no_virtual_users_at_all_are_refused() -> None:
    assert isinstance(decide(Requirements(1, 60.0), Load(), replace(PUBLIC, most_vus=0)), Refusal)


def test_bounds_without_an_end_clamp_virtual_users_all_the_same() -> None:
    plan = decide(Requirements(50, 90.0), Load(), replace(PUBLIC, most_seconds=math.inf))
    assert isinstance(plan, Plan)
    assert plan.load == Load(vus=20, duration=60.0, rate=20)


@given(
    st.builds(
        Requirements,
        st.integers(0, 10**9),
        st.floats(0, 1e9),
        st.none() | st.integers(1, 10**6),
        st.none() | st.integers(1, 10**9),
    ),
    st.integers(0, 30),
    st.floats(-10, 1000),
)
def test_no_plan_is_above_its_bounds_whatever_is_asked(needs: Requirements, vus: int, seconds: float) -> None:
    plan = decide(needs, Load(), K6Bounds(vus, seconds, 20))
    if isinstance(plan, Refusal):
        return
    assert plan.load.rate is not None
    assert plan.load.rate <= 20
    if plan.load.duration is None:
        assert (needs.vus <= vus, needs.seconds <= seconds) == (True, True)
    else:
        assert plan.load.vus is not None
        assert plan.load.vus <= vus
        assert plan.load.duration + 30 <= seconds


@pytest.mark.parametrize("asked", [Load(duration=2.0), Load(iterations=3), Load(duration=0.0)])
def test_a_load_that_lacks_users_gets_the_script_s_or_else_one(asked: Load) -> None:
    assert lacks_users(asked)
    assert with_users(Requirements(5, 40.0, users=5), asked) == asked
    assert with_users(Requirements(5, 40.0), asked).vus == 1


@pytest.mark.parametrize("asked", [Load(), Load(vus=2, duration=2.0), Load(stages=("1s:2",)), Load(rate=3)])
def test_a_load_that_says_its_users_or_leaves_all_to_the_script_lacks_none(asked: Load) -> None:
    assert not lacks_users(asked)


def test_the_users_that_stand_in_the_options_are_read() -> None:
    assert read_requirements('{"maxVUs": 5, "totalDuration": "40s", "vus": 5}').users == 5
    assert read_requirements('{"maxVUs": 5, "totalDuration": "40s", "vus": null}').users is None
