"""The console as people use it over ssh: in tmux, with single keys."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from standins.agent_process import Place
from standins.control_folder import task
from standins.watching import wait_until


class Tmux:
    """A tmux server of its own, with one window."""

    def __init__(self, place: Place) -> None:
        self._socket = str(place.folder / "tmux")
        self._place = place
        self._run("-f", os.devnull, "new-session", "-d", "-x", "160", "-y", "60", "sh")

    def _run(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        env = {**self._place.environment(), "SHELL": "/bin/sh"}
        done = subprocess.run(command, cwd=self._place.folder, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, keys: str) -> None:
        self._run("send-keys", "-l", keys)

    def enter(self) -> None:
        self._run("send-keys", "Enter")

    def screen(self) -> str:
        """Return what is on the screen, and what has left it at the top."""
        return self._run("capture-pane", "-p", "-S", "-")

    def wait_for(self, pattern: str) -> str:
        """Wait until the screen shows this; return all of it."""
        wait_until(lambda: bool(re.search(pattern, self.screen(), re.MULTILINE)), f"{pattern!r} on the screen", 30)
        return self.screen()

    def end(self) -> None:
        self._run("kill-server")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    # The hour of the demo, so that the window is open but for five seconds in each minute.
    place.write(task("001", "Download", filesize="small", minute=54), task("002", "Quote", minute=53))
    return place


@pytest.fixture
def tmux(place: Place) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("tmux is missing (Debian: apt install tmux)")
    tmux = Tmux(place)
    try:
        yield tmux
    finally:
        tmux.end()


def test_every_key_acts_in_tmux_and_the_shell_is_as_before(tmux: Tmux) -> None:
    tmux.type(f"stty -a | cksum; {sys.executable} -m testwarden run --demo; echo ended with $?; stty -a | cksum")
    tmux.enter()
    tmux.wait_for(r"\| 001 ")
    tmux.type("?")
    tmux.wait_for(r"^p +pause, and resume")
    tmux.type("f")
    tmux.wait_for("tasks of .*: the same as before")
    tmux.type("s")
    tmux.wait_for(r"^kill switch +clear")
    tmux.type("p")
    tmux.wait_for("paused by the operator: nothing starts")
    tmux.type("p")
    tmux.wait_for("resumed by the operator")
    tmux.type("r1")
    tmux.enter()
    tmux.wait_for("task 001( worker 1: download small: ok|: refused: outside the window)")
    tmux.type("q")
    screen = tmux.wait_for(r"^ended with \d+\n(.*\n)*\d+ \d+$")
    assert "ended with 0" in screen
    before, after = re.findall(r"^\d+ \d+$", screen, re.MULTILINE)
    assert before == after
