"""When is fetched: the start, the hour and the operator, against the twin of a source."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from testwarden.clients.stop import Stop
from testwarden.clock import ManualClock
from testwarden.control.fetch import Reading
from testwarden.control.fetching import Fetching
from testwarden.control.kept_files import KeptFiles, digest_of
from testwarden.control.memory import MemorySource
from testwarden.control.source import CONTROL_FILE
from testwarden.control.watch import Watch
from testwarden.errors import SourceRateLimited, SourceUnavailable
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions
from testwarden.safety.kill_switch import KillSwitch, SwitchIssue, SwitchState
from testwarden.safety.situation import Situation

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
ISSUE = SwitchIssue(7, "kill-switch", "reporter", NOON, "url")


class Moving(Stop):
    """Its waits move the clock and return at once."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, seconds: float) -> bool:
        self._clock.advance(seconds)
        return self.requested


class House:
    def __init__(self, held: str = "", kept: KeptFiles | None = None) -> None:
        self.clock = ManualClock(NOON)
        self.source = MemorySource({CONTROL_FILE: b"<Schedule/>"}, "c1")
        self.situation = Situation(Conditions(switch=KillSwitch(held=held)), lambda: 0)
        self.watch = Watch(self.source, self.situation, self.clock, lambda _: None, lambda: None)
        self.adopted: list[Reading] = []
        self.stop = Moving(self.clock)
        self.fetching = Fetching(
            self.source, self.watch, self.situation, self.clock, Cycle(), self.stop, self.adopted.append, kept
        )

    def state(self) -> SwitchState:
        return self.situation.known().switch.standing(self.clock.now()).state


def test_the_first_fetch_tries_until_it_works_and_confirms_as_of_when_it_asked() -> None:
    house = House()
    house.source.fail(SourceUnavailable("down"), SourceUnavailable("down"))
    house.fetching.first()
    assert [reading.commit for reading in house.adopted] == ["c1"]
    confirmed = house.situation.known().control
    assert confirmed is not None
    assert confirmed.at.utc == NOON + timedelta(seconds=15)


def test_the_first_fetch_ends_when_another_brought_a_control_file() -> None:
    house = House()
    house.fetching.now()
    house.fetching.first()
    assert len(house.adopted) == 1


def test_the_fetch_of_the_hour_ends_a_hold_and_the_operator_s_does_not() -> None:
    house = House(held="issue 7")
    house.fetching.now()
    assert house.state() is SwitchState.ACTIVE
    assert house.fetching.at_hour()
    assert house.state() is SwitchState.CLEAR


def test_an_issue_that_is_open_at_the_hour_goes_on_holding_and_the_files_are_fetched() -> None:
    house = House()
    house.source.open_issue(ISSUE)
    assert house.fetching.at_hour()
    assert house.state() is SwitchState.ACTIVE
    assert len(house.adopted) == 1


def test_a_look_that_fails_at_the_hour_is_tried_again_so_that_a_hold_does_not_last_another_hour() -> None:
    house = House(held="issue 7")
    house.source.fail(SourceUnavailable("down"))
    house.fetching.at_hour()
    assert house.state() is SwitchState.CLEAR


def test_the_hour_gives_up_with_the_fetch_period() -> None:
    house = House()
    house.source.fail(*[SourceUnavailable("down")] * 50)
    assert not house.fetching.at_hour()
    assert house.adopted == []
    assert house.clock.now().utc < NOON + timedelta(minutes=5)


def test_the_hour_waits_until_the_allowance_is_renewed_if_that_is_in_the_fetch_period() -> None:
    house = House()
    limited = SourceRateLimited("used up", NOON + timedelta(minutes=4))
    house.fetching.now()  # so that the look at the hour has nothing to catch up with
    house.watch.look = lambda **_: house.state()  # type: ignore[method-assign,assignment]  # only the fetch is limited
    house.source.fail(limited)
    assert house.fetching.at_hour()
    assert house.clock.now().utc == NOON + timedelta(minutes=4)
    house.source.fail(SourceRateLimited("used up", NOON + timedelta(minutes=6)))
    assert not house.fetching.at_hour()
    assert house.clock.now().utc == NOON + timedelta(minutes=4)


def test_files_are_kept_from_one_fetch_to_the_next(tmp_path: Path) -> None:
    house = House(kept=KeptFiles(tmp_path))
    script = b"export default () => {};"
    pairs = {"script": "x.js", "sha256": digest_of(script), "targets": "example.org"}
    options = "".join(f'<Option key="{key}" value="{value}"/>' for key, value in pairs.items())
    text = "<Schedule><Task><TaskRef>001</TaskRef><TimePeriod>5</TimePeriod><TestType>K6</TestType>"
    control = f"{text}<TestOptions>{options}</TestOptions></Task></Schedule>"
    house.source.set_files({CONTROL_FILE: control.encode(), "x.js": script}, "c2")
    house.fetching.now()
    house.fetching.now()
    assert [dict(reading.files) for reading in house.adopted] == [{digest_of(script): script}] * 2
    assert house.source.calls.count("file x.js") == 1
