"""k6 on a network of others: stopped by an issue on GitHub, ended with the window, and never more often than allowed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import time

import pytest
import requests

from acceptance.steered import NewSteered, Steered
from standins.agent_process import Agent
from standins.control_folder import task
from standins.free_port import free_port
from standins.k6_binary import need_k6
from standins.watching import wait_until
from testwarden.metrics.line_protocol import parse

SLEEPS = 'import { sleep } from "k6"; export default () => sleep(0.1);'
LINGERS = f"{SLEEPS}\nexport function teardown() {{ sleep(55); }}"
TARGET = "files.example.org"
POLL = 15.0
"""Seconds between two looks at the kill switch with a token; 20 are allowed until no child process is left."""


@pytest.fixture
def new_k6(new_steered: NewSteered) -> NewSteered:
    (binary, *_) = need_k6()
    if shutil.which("bwrap") is None:
        why = "bubblewrap is missing (Debian: apt install bubblewrap)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)

    def make(name: str, time_of_day: str = "12:10:00") -> Steered:
        steered = new_steered(name, time_of_day)
        steered.place.install_ant()
        shutil.copy(binary, steered.place.bin / "k6")
        steered.place.settings["K6__ALLOWED_TARGETS"] = json.dumps([TARGET])
        folder = steered.place.folder / "test-files" / "k6"
        folder.mkdir(parents=True)
        (folder / "sleeps.js").write_text(SLEEPS)
        (folder / "lingers.js").write_text(LINGERS)
        return steered

    return make


def digest(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()


def k6_task(ref: str, **options: object) -> str:
    asked = {"script": "k6/sleeps.js", "sha256": digest(SLEEPS), "targets": TARGET, "vus": 1, "retry": 0, **options}
    return task(ref, "K6", **asked)


def started(agent: Agent, ref: str, workers: int) -> set[str]:
    """Start a task by its key; return the pids of k6 once so many of them run."""
    agent.start_task(ref)
    found: set[str] = set()

    def all_run() -> bool:
        found.clear()
        found.update(f"{one.pid}" for one in agent.family() if " run " in one.what and "k6" in one.what)
        return len(found) >= workers

    wait_until(all_run, f"{workers} k6 run", 60)
    return found


def test_an_issue_on_github_stops_two_workers_k6_within_twenty_seconds(new_k6: NewSteered) -> None:
    steered = new_k6("k6-switch")
    commit = steered.from_github(k6_task("001", workers=2, duration=500, timeout=600))
    with steered.place.start("run", terminal=True) as agent:
        agent.wait_for(f"tasks of commit {commit[:12]}")
        started(agent, "001", 2)
        steered.hub.open_issue("kill-switch: please stop")
        opened = time.monotonic()
        agent.wait_for(r"task 001 worker \d: k6: client_killed: the kill switch is active", seconds=40)
        wait_until(lambda: not [one for one in agent.family() if "bwrap" in one.what], "no cage is left", 30)
        assert time.monotonic() - opened < 2 * POLL
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    samples = [parse(line) for line in steered.place.lines()]
    assert [(sample.tags["type"], sample.fields["client_killed"]) for sample in samples] == [("k6", True)] * 2
    assert {sample.fields["commit"] for sample in samples} == {commit}


def test_what_does_not_end_by_55_is_asked_then_and_again_before_58_the_operator_s_too_with_api_window(
    new_k6: NewSteered,
) -> None:
    """What is left of the window bounds a run from its start; only a teardown, which k6 does not count, can pass it.

    The first TERM lets k6 tear down, the second, half-way to :58, ends it."""
    steered = new_k6("k6-window", "12:54:20")
    place = steered.place
    steered.from_folder(k6_task("002", script="k6/lingers.js", sha256=digest(LINGERS), duration=600, timeout=600))
    place.settings |= {"API__LISTEN": f"127.0.0.1:{free_port()}", "API__WINDOW": "true"}
    url = f"http://{place.settings['API__LISTEN']}/v1/runs"
    own = {"type": "k6", "k6": {"script": {"text": LINGERS}, "vus": 1, "duration": 600}}
    with place.start("run", terminal=True) as agent:
        agent.wait_for("tasks of this hour")
        assert requests.post(url, json=own, timeout=30).status_code == 201
        started(agent, "002", 2)
        agent.wait_for(r"12:55:0\d - INFO - cool-down: 2 workers asked to stop", seconds=60)
        refused = requests.post(url, json=own, timeout=30)
        assert (refused.status_code, "outside the window" in refused.text) == (409, True)
        steered.set_clock("12:57:52")
        for ref in ("own-1", "002"):
            agent.wait_for(
                rf"12:5[78]:\d\d - WARNING - task {ref} worker 1: k6: client_killed: the window is over", seconds=40
            )
        steered.set_clock("12:59:52")
        agent.wait_for(
            r"13:00:0[0-2] - INFO - cool-down: 2 workers stopped, none needed KILL, .*; no test process is left"
        )
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output


def test_the_thirteenth_run_of_an_hour_does_not_start(new_k6: NewSteered) -> None:
    steered = new_k6("k6-hour")
    refs = [f"{number:03}" for number in range(1, 8)]
    steered.from_folder(*(k6_task(ref, workers=2, iterations=1, timeout=60) for ref in refs))
    with steered.place.start("run", terminal=True) as agent:
        agent.wait_for("tasks of this hour")
        for ref in refs[:6]:
            agent.start_task(ref)
        for ref, worker in itertools.product(refs[:6], (1, 2)):
            agent.wait_for(f"task {ref} worker {worker}: k6: ok", seconds=60)
        agent.start_task(refs[6])
        agent.wait_for(f"task {refs[6]} worker 2: refused: the budget of 12 k6 attempts in 3600 s is used up")
        assert agent.end(signal.SIGTERM).left == []
    assert len(steered.place.lines()) == 12
