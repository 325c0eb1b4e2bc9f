"""The agent is stopped in every way there is while its clients hang, ignore TERM, fork and daemonise."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from acceptance.steered import NewSteered, hanging
from standins.agent_process import Agent, Ending, Place
from testwarden.agent import STOP_GRACE
from testwarden.metrics.line_protocol import parse

WORKERS = 3
MOST_SECONDS = 10.0


def send(number: int) -> Callable[[Agent], None]:
    return lambda agent: os.kill(agent.pid, number)


def interrupt_twice(agent: Agent) -> None:
    said = agent.said()
    agent.type("\x03")
    agent.wait_for("stopping: SIGINT", said)
    agent.type("\x03")


WAYS: dict[str, tuple[Callable[[Agent], None], int]] = {
    "TERM": (send(signal.SIGTERM), 0),
    "HUP": (send(signal.SIGHUP), 0),
    "INT": (send(signal.SIGINT), 130),
    "q": (lambda agent: agent.type("q"), 0),
    "Ctrl-C": (lambda agent: agent.type("\x03"), 130),
    "terminal taken away": (lambda agent: agent.hang_up(), 0),
    "Ctrl-C twice": (interrupt_twice, 130),
}
POLITE = [way for way in WAYS if way != "Ctrl-C twice"]


@pytest.fixture(scope="module")
def stopped(new_steered: NewSteered) -> Iterator[dict[str, tuple[Place, Ending]]]:
    """One agent for each way, all at the same time, because each takes seconds."""
    with ExitStack() as stack:
        agents: dict[str, tuple[Place, Agent]] = {}
        for way in WAYS:
            steered = new_steered("stopping")
            hanging(steered, WORKERS, standin="ant_legacy" if way == "HUP" else "ant_2")
            agents[way] = steered.place, stack.enter_context(steered.place.start("run", terminal=True))
        for _, agent in agents.values():
            agent.wait_for("tasks of this hour")
            agent.start_task("001")
        for _, agent in agents.values():
            agent.clients(WORKERS)
        began = {}
        for way, (_, agent) in agents.items():
            began[way] = time.monotonic()
            WAYS[way][0](agent)
        yield {way: (place, agent.ended(began[way])) for way, (place, agent) in agents.items()}


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_within_ten_seconds_with_the_right_code(stopped: dict[str, tuple[Place, Ending]], way: str) -> None:
    _, ending = stopped[way]
    assert ending.code == WAYS[way][1], ending.output
    assert ending.seconds < MOST_SECONDS


@pytest.mark.parametrize("way", WAYS)
def test_no_process_is_left(stopped: dict[str, tuple[Place, Ending]], way: str) -> None:
    assert stopped[way][1].left == []


@pytest.mark.parametrize("way", WAYS)
def test_the_terminal_is_as_it_was(stopped: dict[str, tuple[Place, Ending]], way: str) -> None:
    assert stopped[way][1].terminal_is_back


@pytest.mark.parametrize("way", POLITE)
def test_each_stopped_attempt_leaves_its_sample(stopped: dict[str, tuple[Place, Ending]], way: str) -> None:
    place, ending = stopped[way]
    samples = [parse(line) for line in place.lines()]
    assert len(samples) == WORKERS, ending.output
    for sample in samples:
        assert (sample.fields["ok"], sample.fields["client_killed"]) == (False, True)
        assert "the agent is stopping" in str(sample.fields["reason"])
        assert float(sample.fields["exec_time"]) > 0
    assert not list((place.cache / "work").iterdir())


def test_a_second_interrupt_does_not_wait_for_anybody(stopped: dict[str, tuple[Place, Ending]]) -> None:
    # The clients ignore TERM, so all others have waited for this long.
    assert stopped["Ctrl-C twice"][1].seconds < STOP_GRACE <= stopped["Ctrl-C"][1].seconds
