"""What the agents' own lines say: periods of the kill switch, and what was used of the budgets."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from standins.samples import MINUTE, NOON, SECOND
from testwarden.metrics.agent_line import AgentState, agent_line
from testwarden.metrics.line_protocol import Identity
from testwarden.model import TestType
from testwarden.report.states import Period, States, Use
from testwarden.report.tables import shades
from testwarden.safety.budget import Usage
from testwarden.safety.kill_switch import Standing, SwitchState
from testwarden.safety.limits import BUILT_IN

CLEAR, ACTIVE, UNKNOWN = SwitchState.CLEAR, SwitchState.ACTIVE, SwitchState.UNKNOWN
HOUR = NOON // 3600 // SECOND
FOREVER = 2**62


def line(
    minute: int, switch: SwitchState = CLEAR, reason: str = "why", downloads: int = 0, agent: str = "attic"
) -> bytes:
    usage = Usage({TestType.DOWNLOAD: downloads}, {}, 10**9, Decimal("1e-15"))
    state = AgentState(Standing(switch, False, False, reason), usage, BUILT_IN)
    return agent_line(Identity(agent), state, NOON + minute * MINUTE).removesuffix(b"\n")


def states_of(lines: Iterable[bytes]) -> States:
    states = States()
    for one in lines:
        assert states.add(one, 0, FOREVER) is not None
    return states


def minutes(states: States) -> list[tuple[str, float, float]]:
    return [(one.state, (one.begin - NOON) / MINUTE, (one.end - NOON) / MINUTE) for one in states.periods]


def test_a_period_lasts_as_long_as_line_after_line_says_so() -> None:
    switches = [CLEAR, ACTIVE, ACTIVE, ACTIVE, UNKNOWN, CLEAR, ACTIVE]
    states = states_of(line(minute, switch) for minute, switch in enumerate(switches))
    assert minutes(states) == [("active", 0, 3), ("unknown", 3, 4), ("active", 5, 6)]
    assert states.periods[0] == Period("attic", "active", NOON, NOON + 3 * MINUTE)


def test_where_the_agent_did_not_run_nothing_is_known() -> None:
    states = states_of([line(1, ACTIVE), line(2, ACTIVE), line(60, ACTIVE), line(61, CLEAR)])
    assert minutes(states) == [("active", 0, 2), ("active", 59, 60)]


def test_lines_out_of_order_make_the_same_periods() -> None:
    assert minutes(states_of([line(3, CLEAR), line(2, ACTIVE), line(1, ACTIVE)])) == [("active", 0, 2)]


def test_charts_shade_what_any_agent_saw_as_active() -> None:
    lines = [line(1, ACTIVE), line(2, ACTIVE, agent="barn"), line(30, UNKNOWN), line(50, ACTIVE, agent="barn")]
    hour = NOON / 3600 / SECOND
    assert shades(states_of(lines)) == [(hour, hour + 2 / 60), (hour + 49 / 60, hour + 50 / 60)]


def test_of_an_hour_the_most_that_was_used_counts() -> None:
    states = states_of([line(1, downloads=9), line(60, downloads=36), line(61, downloads=1)])
    uses = states.uses["attic"]["download"]
    assert uses == {HOUR: Use(36.0, 360.0), HOUR + 1: Use(1.0, 360.0)}
    assert uses[HOUR].share == 0.1
    assert states.uses["attic"]["bytes"][HOUR].used == 1e9
    assert states.uses["attic"]["ant"][HOUR] == Use(1e-15, 0.0)
    assert states.uses["attic"]["ant"][HOUR].share == 0.0, "no cap is set: nothing to hold it against"


def test_a_reason_cannot_pretend_to_be_a_field() -> None:
    evil = 'x" y,kill_switch=0i,warp_used=9i,warp_limit=1i \\'
    states = states_of([line(1, ACTIVE, reason=evil, downloads=4)])
    assert minutes(states) == [("active", 0, 1)]
    assert "download" in states.uses["attic"]
    assert "warp" not in states.uses["attic"]


def test_lines_outside_the_time_asked_for_do_not_count_and_foreign_ones_are_said() -> None:
    states = States()
    assert states.add(line(1, ACTIVE), NOON + 2 * MINUTE, FOREVER) == NOON + MINUTE
    assert states.periods == []
    for foreign in (b"testwarden_agent,agent=x paused=true 17", b"testwarden_agent,agent=x kill_switch=0i", b""):
        assert states.add(foreign, 0, FOREVER) is None


def test_a_state_of_a_newer_version_is_unknown() -> None:
    assert minutes(states_of([line(1).replace(b"kill_switch=0i", b"kill_switch=7i")])) == [("unknown", 0, 1)]
