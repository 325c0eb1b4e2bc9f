"""The agent is killed with SIGKILL while its clients hang: nothing of it lives on, and nothing that it recorded is lost."""

from __future__ import annotations

import signal

import psutil

from acceptance.steered import NewSteered, hanging
from standins.control_folder import task
from standins.watching import wait_until
from testwarden.metrics.line_protocol import parse

DONE, HANGING = 8, 4
MOST_SECONDS = 5.0


def test_an_agent_that_is_killed_leaves_its_samples_its_budget_and_no_process(new_steered: NewSteered) -> None:
    steered = new_steered("killed")
    place = steered.place
    steered.from_folder(
        task("001", "Download", workers=DONE), task("002", "Quote", workers=HANGING, timeout=600), task("003", "Quote")
    )
    place.install_ant()
    with place.start("run", terminal=True) as agent:
        agent.wait_for("tasks of this hour")
        agent.start_task("001")
        for worker in range(1, DONE + 1):
            agent.wait_for(f"task 001 worker {worker}: download tiny: ok")
        place.plays("misbehave:everything")
        agent.start_task("002")
        agent.clients(HANGING)
        killed = agent.end(signal.SIGKILL)
        assert killed.code == -signal.SIGKILL
        wait_until(lambda: not agent.left(), "everything that the agent had started has ended", MOST_SECONDS)
    assert not place.status()["alive"]
    assert place.lines() == [], "nothing was folded yet: this is about what only the journal has"
    place.plays("fine")
    with place.start("run", terminal=True) as agent:
        agent.wait_for("tasks of this hour")
        used = {"download": DONE, "quote": HANGING, "upload": 0}
        place.status_when(lambda now: {name: now["budgets"]["attempts"][name]["used"] for name in used} == used)
        agent.start_task("003")
        agent.wait_for("task 003 worker 1: quote tiny: ok")
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    samples = [parse(line) for line in place.lines()]
    expected = [("001", str(worker)) for worker in range(1, DONE + 1)] + [("003", "1")]
    assert sorted((sample.tags["task"], sample.tags["worker"]) for sample in samples) == expected
    assert all(sample.fields["ok"] is True for sample in samples)
    assert len({sample.stamp for sample in samples}) == len(samples)
    counted = [int(parse(line).fields["count"]) for line in place.lines("summary.csv")]
    assert sum(counted) == len(samples)
    assert not list((place.cache / "work").iterdir())


def test_an_agent_that_lost_its_keeper_ends_and_leaves_nothing(new_steered: NewSteered) -> None:
    steered = new_steered("keeperless")
    hanging(steered, HANGING)
    with steered.place.start("run", terminal=True) as agent:
        agent.wait_for("tasks of this hour")
        agent.start_task("001")
        agent.clients(HANGING)
        (keeper,) = psutil.Process(agent.pid).children()
        keeper.kill()
        ending = agent.end()
    assert (ending.code, ending.left) == (1, []), ending.output
    assert "ERROR - a part that the agent cannot do without has ended" in ending.output
    assert [parse(line).fields["ok"] for line in steered.place.lines()] == [False] * HANGING
