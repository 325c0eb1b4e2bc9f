"""Agents that are steered by a stand-in for GitHub, at a time of day that the test sets."""

from __future__ import annotations

from collections.abc import Callable

from standins.agent_process import Place
from standins.control_folder import task
from standins.fake_clock import Clock
from standins.github_server import REPOSITORY, Hub

TOKEN = "ghp_0123456789abcdefSECRET"
IN_THE_WINDOW = "12:10:00"


class Steered:
    """A working folder whose agents are steered by a stand-in for GitHub, at a time of day that the test sets."""

    def __init__(self, place: Place, hub: Hub, library: str, time_of_day: str) -> None:
        self.place = place
        self.hub = hub
        self.place.clock = self.clock = Clock(place.folder, library, time_of_day)
        place.settings |= {"GITHUB__REPOSITORY": REPOSITORY, "GITHUB__API_URL": hub.url, "GITHUB__TOKEN": TOKEN}
        self._align()

    def set_clock(self, time_of_day: str) -> None:
        """Set the clocks of the agents and of GitHub."""
        self.clock.set(time_of_day)
        self._align()

    def _align(self) -> None:
        self.hub.set_clock(self.clock.ahead)
        self.hub.set_allowance(5000, resets_in=self.clock.ahead + 3600)

    def from_folder(self, *tasks: str) -> None:
        """Let tasks come from the folder; the kill switch is still GitHub's."""
        self.place.write(*tasks)
        self.place.settings["CONTROL__SOURCE"] = "directory"

    def from_github(self, *tasks: str) -> str:
        """Let tasks come from GitHub; return the commit."""
        self.place.write(*tasks)
        return self.hub.load(str(self.place.folder / "test-files"))


NewSteered = Callable[..., Steered]
"""Given a name and a time of day (left out: in the window), make one."""


def hanging(steered: Steered, workers: int = 3, mode: str = "everything", standin: str = "ant_2") -> None:
    """Let task 001 of the folder be downloads by stand-ins that hang."""
    steered.from_folder(task("001", "Download", workers=workers, timeout=600))
    steered.place.install_ant(standin, f"misbehave:{mode}")
