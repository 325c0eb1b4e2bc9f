"""GitHub is in trouble when the agent starts: it stays alive, says what it does next, runs nothing, and recovers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from acceptance.long_runs import LongRuns
from acceptance.troubled_runs import TOKEN, TROUBLES, settle, write
from standins.agent_process import Place
from standins.github_server import github
from standins.watching import wait_until


@pytest.mark.parametrize("trouble", TROUBLES)
def test_it_stays_alive_runs_nothing_and_recovers_by_itself(long_runs: LongRuns, trouble: str) -> None:
    ending = long_runs.troubled[trouble]
    assert (ending.code, ending.left) == (0, []), ending.output
    recovered = ending.output.index("the kill switch can be looked at again")
    assert "worker 1: quote" not in ending.output[:recovered]
    assert TOKEN not in ending.output


def test_it_ends_at_once_during_a_call_that_is_never_answered(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with github(token=TOKEN) as hub:
        hub.load(str(write(place)))
        hub.trouble("silence")
        settle(place, hub.url)
        with place.start("run", "--demo") as agent:
            wait_until(lambda: bool(hub.requests), "it asks", 30)
            ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    assert ending.seconds < 10
