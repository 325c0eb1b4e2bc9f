"""Fetching patiently, and a source that is two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

import pytest

from testwarden.clients.stop import Stop
from testwarden.control.fetch import read, try_patiently
from testwarden.control.memory import MemorySource
from testwarden.control.source import CONTROL_FILE, DOWNLOAD_CATALOGUE
from testwarden.control.split import SplitSource
from testwarden.errors import SourceError, SourceRateLimited, SourceUnavailable
from testwarden.safety.kill_switch import SwitchIssue

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
CONTROL = (
    b"<Schedule><Task><TaskRef>001</TaskRef><TimePeriod>5</TimePeriod><TestType>Download</TestType></Task></Schedule>"
)
CATALOGUE = b"fileSize,name,address,md5\ntiny,a,seed-1-100,0\n"


class Pauses(Stop):
    """Waits for nothing and writes down how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return self.requested


def source() -> MemorySource:
    return MemorySource({CONTROL_FILE: CONTROL, DOWNLOAD_CATALOGUE: CATALOGUE}, "c0ffee")


def attempt_of(script: Sequence[SourceError | None]) -> tuple[list[int], Callable[[], None]]:
    done: list[int] = []

    def attempt() -> None:
        done.append(1)
        problem = script[len(done) - 1]
        if problem is not None:
            raise problem

    return done, attempt


def test_a_fetch_is_read_with_its_commit_and_findings() -> None:
    reading = read(source())
    assert reading.commit == "c0ffee"
    assert [task.ref for task in reading.control.tasks] == ["001"]
    assert {finding.file for finding in reading.findings} == {"02-quote-files.csv", "03-upload-files.csv"}


def test_it_tries_again_with_growing_pauses_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    done, attempt = attempt_of([SourceUnavailable("no route"), SourceUnavailable("no route"), None])
    stop = Pauses()
    assert try_patiently(attempt, stop, lambda: 300, lambda: NOW)
    assert (len(done), stop.waited) == (3, [5, 10])
    assert "no route; next try in 5 s" in caplog.text


def test_it_gives_up_when_the_next_pause_is_longer_than_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    done, attempt = attempt_of([SourceUnavailable("no route")] * 9)
    stop = Pauses()
    with caplog.at_level(logging.WARNING):
        assert not try_patiently(attempt, stop, lambda: 12, lambda: NOW)
    assert (len(done), stop.waited) == (3, [5, 10])
    assert "giving up until the next fetch" in caplog.text


def test_it_ends_when_the_agent_stops() -> None:
    done, attempt = attempt_of([SourceUnavailable("no route")] * 9)
    stop = Pauses()
    stop.request("the agent is stopping", 0)
    assert not try_patiently(attempt, stop, lambda: 300, lambda: NOW)
    assert len(done) == 1


@pytest.mark.parametrize(
    ("resets", "waited"), [(NOW + timedelta(seconds=90), 90), (NOW - timedelta(days=1), 5), (NOW, 5), (None, 5)]
)
def test_an_allowance_that_is_used_up_is_waited_for_and_never_less_than_the_pause(
    resets: datetime | None, waited: float, caplog: pytest.LogCaptureFixture
) -> None:
    done, attempt = attempt_of([SourceRateLimited("used up", resets), None])
    stop = Pauses()
    assert try_patiently(attempt, stop, lambda: 300, lambda: NOW)
    assert (len(done), stop.waited) == (2, [waited])
    assert f"next try in {waited:.0f} s" in caplog.text


def test_an_allowance_that_is_renewed_too_late_ends_the_tries_and_it_says_when(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done, attempt = attempt_of([SourceRateLimited("used up", NOW + timedelta(seconds=301))] * 9)
    stop = Pauses()
    assert not try_patiently(attempt, stop, lambda: 300, lambda: NOW)
    assert (len(done), stop.waited) == (1, [])
    assert "renewed at 2026-11-21 12:05:01 UTC; giving up until the next fetch" in caplog.text


def test_an_allowance_is_never_waited_for_longer_than_its_hour() -> None:
    _, attempt = attempt_of([SourceRateLimited("used up", NOW + timedelta(days=9)), None])
    stop = Pauses()
    assert try_patiently(attempt, stop, lambda: float("inf"), lambda: NOW)
    assert stop.waited == [3600]


def test_either_place_of_a_split_source_can_hold_the_kill_switch() -> None:
    folder, hub = source(), source()
    split = SplitSource(folder, hub)
    assert split.look(thorough=True).issues == ()
    folder.open_issue(SwitchIssue(0, "kill-switch", "operator", NOW, "file"))
    hub.open_issue(SwitchIssue(7, "kill-switch: please", "reporter", NOW, "url"))
    assert [issue.author for issue in split.look(thorough=True).issues] == ["reporter", "operator"]


@pytest.mark.parametrize("broken", [0, 1])
def test_a_place_that_fails_does_not_hide_the_switch_in_the_other(broken: int) -> None:
    places = source(), source()
    places[1 - broken].open_issue(SwitchIssue(7, "kill-switch", "somebody", NOW, "url"))
    places[broken].fail(SourceUnavailable("down"))
    assert len(SplitSource(*places).look(thorough=True).issues) == 1


def test_a_place_that_fails_is_no_clear_answer() -> None:
    places = source(), source()
    places[1].fail(SourceUnavailable("down"))
    with pytest.raises(SourceUnavailable, match="down"):
        SplitSource(*places).look(thorough=True)
