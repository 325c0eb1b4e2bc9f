"""Whole cycles of the first run, with and without what a console has: how the agents are started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from standins.agent_process import READY, Agent, Ending, Place
from standins.control_folder import task

CYCLE = 20
NOBODY = 65534
TASKS = (
    task("001", "Download", minute=6, filesize="small", workers=2, repeat=True),
    task("002", "Quote", minute=12, filesize="tiny"),
    task("003", "Upload", minute=18, filesize="tiny", workers=5000),
    task("004", "Download", minute=24, filesize="large"),
)
RUN = ("run", "--demo", "--cycles", "1")


def plain(place: Place) -> Agent:
    return place.start(*RUN)


def without_any_stream(place: Place) -> Agent:
    return place.start(*RUN, options=["close=0", "close=1", "close=2"])


def with_nohup(place: Place) -> Agent:
    return place.start(*RUN, "--log-format", "json", options=["nohup"])


def unread(place: Place) -> Agent:
    """Nobody reads its output, and its stdin is a pipe in which nothing ever comes."""
    stdin, _ = os.pipe()  # its other end stays open as long as the tests run
    agent = place.start(*RUN, stdin=stdin)
    os.close(stdin)
    agent.wait_for("testwarden")
    agent.hang_up()
    return agent


def unprivileged(place: Place) -> Agent:
    """As an ordinary user, in a folder of theirs."""
    if os.geteuid() != 0:
        return place.start(*RUN)
    for path in (place.folder, *place.folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return place.start(*RUN, python=python_of_nobody() or [sys.executable])


def python_of_nobody() -> list[str]:
    """Return a command that runs a Python with our packages as an ordinary user; nothing where there is none."""
    packages = os.pathsep.join(path for path in sys.path if path.endswith(("site-packages", "src")))
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", f"PYTHONPATH={packages}"]
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        command = [*user, python]
        if subprocess.run([*command, "-c", "import testwarden.cli"], capture_output=True, check=False).returncode == 0:
            return command
    return []


WAYS: dict[str, Callable[[Place], Agent]] = {
    "plain": plain,
    "without any stream": without_any_stream,
    "with nohup": with_nohup,
    "unread": unread,
    "unprivileged": unprivileged,
}
Running = dict[str, tuple[Place, Agent]]
Finished = dict[str, tuple[Place, Ending]]


def start(stack: ExitStack) -> Running:
    """Start an agent in each way. Each takes up to two cycles."""
    agents: Running = {}
    for way, start_one in WAYS.items():
        # Not where pytest keeps its folders: an ordinary user cannot get there when root has made them.
        place = Place(Path(stack.enter_context(TemporaryDirectory(prefix="testwarden-"))))
        place.write(*TASKS)
        place.settings["CYCLE__SECONDS"] = str(CYCLE)
        agents[way] = place, stack.enter_context(start_one(place))
    return agents


def disturb(agents: Running) -> None:
    """Do what must not disturb them: start a second agent in the folder of one, hang up on the one with nohup."""
    place, agent = agents["plain"]
    agent.wait_for(READY)
    refused = place.call(*RUN)
    assert (refused.returncode, refused.stderr) == (1, ""), refused
    assert re.fullmatch(r".* - ERROR - another agent \(pid \d+\) uses .*/cache: .*\n", refused.stdout)
    _, agent = agents["with nohup"]
    agent.wait_for(READY)
    os.kill(agent.pid, signal.SIGHUP)


def finish(agents: Running) -> Finished:
    """Wait for their end."""
    return {way: (place, agent.end(seconds=4 * CYCLE)) for way, (place, agent) in agents.items()}
