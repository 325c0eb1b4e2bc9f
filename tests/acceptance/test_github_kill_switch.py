"""A fleet is steered and stopped from GitHub: fetches by commit, and every form that the kill switch can have."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from acceptance.steered import NewSteered, Steered
from standins.agent_process import Agent
from standins.control_folder import task
from standins.watching import still_alive, wait_until
from testwarden.metrics.line_protocol import parse

WORKERS = 3
POLL = 15.0
"""Seconds between two looks with a token; the issue allows 20 until no child process is left."""


@pytest.fixture
def steered(new_steered: NewSteered) -> Steered:
    steered = new_steered("kill-switch")
    steered.place.install_ant()
    return steered


@pytest.fixture
def agent(steered: Steered) -> Iterator[Agent]:
    commit = steered.from_github(
        task("001", "Download", workers=WORKERS, timeout=600), task("002", "Quote"), task("003", "Quote")
    )
    with steered.place.start("run", terminal=True) as agent:
        agent.wait_for(f"tasks of commit {commit[:12]}")
        yield agent


def hang(steered: Steered, agent: Agent) -> dict[str, int]:
    steered.place.plays("misbehave:everything")
    agent.start_task("001")
    pids = agent.clients(WORKERS)
    steered.place.plays("fine")
    return {str(pid): pid for pid in pids}


def look_again(agent: Agent) -> None:
    """Have it look and fetch now, and wait until it has."""
    said = agent.said()
    agent.type("f")
    agent.wait_for("tasks of commit", said)


def is_refused(steered: Steered, agent: Agent, ref: str, reason: str) -> None:
    calls = (steered.place.bin / "calls").read_text()
    said = agent.said()
    agent.start_task(ref)
    # Either the gate refuses its first attempt, or the agent, which looks every few seconds, was there before.
    agent.wait_for(f"(?:task {ref} worker 1: refused|1 worker stopped): .*{reason}", said)
    assert (steered.place.bin / "calls").read_text() == calls


def runs_well(agent: Agent, ref: str) -> None:
    said = agent.said()
    agent.start_task(ref)
    agent.wait_for(f"task {ref} worker 1: quote tiny: ok", said)


def reach(steered: Steered, agent: Agent, name: str) -> datetime:
    """Set the clock to shortly before something that is on the timetable; return when that is due."""

    def dues() -> list[datetime]:
        return [datetime.fromisoformat(due["at"]) for due in steered.place.status()["next"] if due["name"] == name]

    wait_until(lambda: bool(dues()), f"{name} is on the timetable")
    due, said = dues()[0], agent.said()
    # The agent looks every five seconds whether its clock was set; what is due must still lie ahead of it then.
    steered.set_clock(f"{due - timedelta(seconds=9):%H:%M:%S}")
    agent.wait_for("the clock was set by .* the timetable is made anew", said)
    return due


def test_an_issue_stops_everything_until_the_fetch_after_it_was_closed(steered: Steered, agent: Agent) -> None:
    hub = steered.hub
    runs_well(agent, "002")
    pids = hang(steered, agent)
    number = hub.open_issue("kill-switch: too much traffic", author="somebody")
    agent.wait_for(f"WARNING - the kill switch is active: issue {number} .*by somebody", seconds=POLL + 10)
    wait_until(lambda: not still_alive(pids), "the clients have ended", 10)
    is_refused(steered, agent, "003", f"issue {number}")

    hub.close_issue(number)
    look_again(agent)
    told = steered.place.status_when(lambda now: "next fetch at :00" in now["kill_switch"]["reason"])
    assert told["kill_switch"]["state"] == "active"
    is_refused(steered, agent, "003", "next fetch at :00")

    said = agent.said()
    reach(steered, agent, "fetch")
    agent.wait_for("tasks of commit", said)
    steered.place.status_when(lambda now: bool(now["kill_switch"]["state"] == "clear"))
    said = agent.said()
    due = reach(steered, agent, "task 003")
    # TZ is no hour in which 13:33 UTC is the 33rd minute.
    assert (due.hour, due.minute, due.utcoffset()) == (13, 33, timedelta(0))
    agent.wait_for("task 003 worker 1: quote tiny: ok", said)

    ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    samples = [parse(line) for line in steered.place.lines()]
    assert {sample.fields["commit"] for sample in samples} == {hub.commit}
    # Of the end of the attempt, in UTC, by the clock that the agent has.
    assert timedelta(0) <= datetime.fromtimestamp(samples[-1].stamp / 1e9, timezone.utc) - due < timedelta(seconds=10)
    killed = [sample for sample in samples if sample.tags["task"] == "001"]
    assert [sample.fields["client_killed"] for sample in killed] == [True] * WORKERS
    assert all(f"issue {number}" in str(sample.fields["reason"]) for sample in killed)


def test_a_label_in_capitals_counts_and_a_pull_request_does_not(steered: Steered, agent: Agent) -> None:
    steered.hub.add_pull_request("kill-switch: a change of how it is shown", labels=["kill-switch"])
    look_again(agent)
    assert steered.place.status()["kill_switch"]["state"] == "clear"
    runs_well(agent, "002")

    pids = hang(steered, agent)
    number = steered.hub.open_issue("Please stop for a while", labels=["bug", "KILL-SWITCH"])
    agent.type("f")
    agent.wait_for(f"the kill switch is active: issue {number}")
    wait_until(lambda: not still_alive(pids), "the clients have ended", 10)
    is_refused(steered, agent, "002", f"issue {number}")

    # A restart does not end it.
    assert agent.end(signal.SIGTERM).left == []
    steered.hub.close_issue(number)
    with steered.place.start("run", terminal=True) as again:
        again.wait_for("tasks of commit")
        is_refused(steered, again, "003", "next fetch at :00")
        assert again.end(signal.SIGTERM).code == 0
