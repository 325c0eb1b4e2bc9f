"""Agents that GitHub fails when they start: how it fails, and what each is seen through.

On the embedded network, so that no clock has to be set; tasks and kill switch are GitHub's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from standins.agent_process import READY, Agent, Place
from standins.control_folder import task
from standins.github_server import REPOSITORY, github

TOKEN = "ghp_0123456789abcdefSECRET"
CYCLE = 20
RESETS_IN = 12.0
NEXT_LOOK = r"WARNING - the kill switch could not be looked at: .*{}.*; next look in \d+ s"
NEXT_TRY = r"WARNING - the control file could not be fetched: .*; next try in \d+ s"
TROUBLES = {
    "500": "500",
    "silence": "did not answer within 15 s",
    "html": "not JSON|no JSON|HTML",
    "forbidden": "403",
    "rate limited": "API rate limit",
    "gone": "404|not found|Not Found",
    "redirect away": "redirects to http://localhost",
    "refused": "refused",
}


def write(place: Place) -> Path:
    # All through the window, so that after a recovery the next start is near.
    place.write(*(task(f"{n:03}", "Quote", minute=minute) for n, minute in enumerate(range(5, 54, 5), 1)))
    return place.folder / "test-files"


def settle(place: Place, api_url: str) -> None:
    place.settings |= {
        "CYCLE__SECONDS": str(CYCLE),
        "CONTROL__SOURCE": "github",
        "GITHUB__REPOSITORY": REPOSITORY,
        "GITHUB__API_URL": api_url,
        "GITHUB__TOKEN": TOKEN,
    }


@dataclass
class Troubled:
    """An agent, and what ends its trouble."""

    agent: Agent
    end: Callable[[], object]


def troubled(stack: ExitStack, trouble: str) -> Troubled:
    place = Place(Path(stack.enter_context(TemporaryDirectory(prefix="testwarden-"))))
    files = str(write(place))
    if trouble == "refused":
        return refused(stack, place, files)
    hub = stack.enter_context(github(token=TOKEN))
    hub.load(files)
    settle(place, hub.url)
    if trouble == "rate limited":
        hub.set_allowance(0, RESETS_IN)
        return Troubled(start_one(stack, place), lambda: hub.set_allowance(5000))
    hub.trouble(trouble)
    return Troubled(start_one(stack, place), lambda: hub.trouble(None))


def refused(stack: ExitStack, place: Place, files: str) -> Troubled:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # without listen: a connection is refused
    port = taken.getsockname()[1]
    settle(place, f"http://127.0.0.1:{port}")

    def end() -> None:
        taken.close()
        stack.enter_context(github(port, token=TOKEN)).load(files)

    return Troubled(start_one(stack, place), end)


def start_one(stack: ExitStack, place: Place) -> Agent:
    return stack.enter_context(place.start("run", "--demo"))


def start(stack: ExitStack) -> dict[str, Troubled]:
    """Start an agent for each trouble."""
    return {trouble: troubled(stack, trouble) for trouble in TROUBLES}


def see_through(agents: dict[str, Troubled]) -> None:
    """Wait until each has met its trouble, end that, and wait until each runs tests."""
    for trouble, one in agents.items():
        one.agent.wait_for(NEXT_LOOK.format(f"(?:{TROUBLES[trouble]})"))
        if trouble != "silence":  # there the fetch takes another 15 s to find out
            one.agent.wait_for(NEXT_TRY)
        one.end()
    for one in agents.values():
        one.agent.wait_for("INFO - the kill switch can be looked at again")
        one.agent.wait_for(READY)
        one.agent.wait_for(r"worker 1: quote tiny: ok")
