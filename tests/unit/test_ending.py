"""When a client is asked to end, asked again, and killed."""

from __future__ import annotations

import signal

import pytest

from testwarden.clients.ending import Ending, Why
from testwarden.clients.stop import Stop
from testwarden.errors import ProcessError

TERM, KILL = signal.SIGTERM, signal.SIGKILL


def sent(ending: Ending, stop: Stop) -> list[tuple[float, signal.Signals]]:
    """Follow an ending from due to due until KILL; return what was sent when."""
    signals = []
    while (now := ending.next_due(stop)) < 1000 and KILL not in [which for _, which in signals]:
        which = ending.due(now, stop)
        assert which is not None, f"woken at {now} for nothing"
        signals.append((now, which))
        assert len(signals) <= 3, f"no end of it: {signals}"
    return signals


def test_the_time_limit_sends_term_and_after_the_grace_kill() -> None:
    ending = Ending(100.0, 8.0)
    assert ending.due(99.9, Stop()) is None
    assert sent(ending, Stop()) == [(100.0, TERM), (108.0, KILL)]
    assert ending.why is Why.TIMED_OUT


def test_a_second_term_comes_half_way_to_kill() -> None:
    assert sent(Ending(100.0, 8.0, second_term=True), Stop()) == [(100.0, TERM), (104.0, TERM), (108.0, KILL)]


def test_a_stop_has_its_own_patience_and_its_second_term_is_half_way_through_that() -> None:
    stop, ending = Stop(lambda: 50.0), Ending(100.0, 8.0, second_term=True)
    stop.request("cool-down", 20.0)
    assert ending.due(50.0, stop) is TERM
    assert sent(ending, stop) == [(60.0, TERM), (70.0, KILL)]
    assert ending.why is Why.STOPPED


def test_a_stop_with_less_patience_moves_the_second_term_forward() -> None:
    stop, ending = Stop(lambda: 101.0), Ending(100.0, 8.0, second_term=True)
    assert ending.due(100.0, stop) is TERM
    stop.request("kill switch", 2.0)
    assert sent(ending, stop) == [(101.5, TERM), (103.0, KILL)]
    assert ending.why is Why.TIMED_OUT


def test_who_wakes_after_kill_is_due_sends_kill_and_no_second_term() -> None:
    ending = Ending(100.0, 8.0, second_term=True)
    assert ending.due(100.0, Stop()) is TERM
    assert ending.due(200.0, Stop()) is KILL
    assert ending.due(201.0, Stop()) is None
    with pytest.raises(ProcessError, match="does not answer"):
        ending.due(300.0, Stop())
