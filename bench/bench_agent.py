"""The real agent from outside: how fast its table stands, and what it takes while it has nothing to do."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

STARTS = 9
IDLE_SECONDS = 60
TEST_FILES = Path(__file__).parents[1] / "test-files"
STANDIN = Path(__file__).parents[1] / "tests" / "standins" / "github_server.py"


def measure() -> list[tuple[str, float, str]]:
    """Return (what, value, unit)."""
    starts = sorted(_start_to_table() for _ in range(STARTS))
    resident, keeper, cpu = _idle()
    return [
        (f"start until the task table stands, median of {STARTS}", statistics.median(starts), "s"),
        ("start until the task table stands, fastest", starts[0], "s"),
        ("resident memory when idle, GitHub as source", resident / 2**20, "MiB"),
        ("resident memory of the keeper beside it", keeper / 2**20, "MiB"),
        (f"CPU when idle, over {IDLE_SECONDS} s, agent and keeper", cpu * 100, "% of a core"),
    ]


def _start_to_table() -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TESTWARDEN_CONTROL__PATH": str(TEST_FILES)}
        begun = time.perf_counter()
        with _running(["--demo"], folder, environment) as agent:
            _until(agent, "+====")
            return time.perf_counter() - begun


def _idle() -> tuple[int, int, float]:
    """Given nothing, return resident bytes of the agent and of its keeper, and the share of a core that both use.

    The client is one whose gateway nobody listens on: no task ever gets that far, since all of them are outside of what
    is left of the window, or refused.
    """
    with tempfile.TemporaryDirectory() as folder, _github() as url:
        settings = {
            "TESTWARDEN_GITHUB__REPOSITORY": "example/testwarden",
            "TESTWARDEN_GITHUB__API_URL": url,
            "TESTWARDEN_GITHUB__TOKEN": "X",
            "TESTWARDEN_NETWORK__CLIENT": "ant",
            "TESTWARDEN_LIMITS__DOWNLOAD_PER_HOUR": "0",
            "TESTWARDEN_LIMITS__QUOTE_PER_HOUR": "0",
            "TESTWARDEN_LIMITS__UPLOAD_PER_HOUR": "0",
        }
        with _running([], folder, {**os.environ, **settings}) as agent:
            _until(agent, "+====")
            time.sleep(5)
            process = psutil.Process(agent.pid)
            family = [process, *process.children()]
            before = sum(sum(one.cpu_times()[:2]) for one in family)
            time.sleep(IDLE_SECONDS)
            used = sum(sum(one.cpu_times()[:2]) for one in family) - before
            return process.memory_info().rss, family[1].memory_info().rss, used / IDLE_SECONDS


@contextmanager
def _running(arguments: list[str], folder: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "testwarden", "run", *arguments]
    agent = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield agent
    finally:
        agent.terminate()
        agent.communicate(timeout=20)


def _until(agent: subprocess.Popen[str], text: str) -> None:
    assert agent.stdout is not None
    for line in agent.stdout:
        if text in line:
            return
    raise SystemExit(f"the agent ended before it said {text!r}")


@contextmanager
def _github() -> Iterator[str]:
    command = [sys.executable, str(STANDIN), "--port", "0", "--directory", str(TEST_FILES), "--token", "X"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.communicate(timeout=20)


if __name__ == "__main__":
    for what, value, unit in measure():
        print(f"{what:66} {value:8.3f} {unit}")
