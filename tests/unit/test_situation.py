"""The conditions of the moment, and the status file."""

from __future__ import annotations

import threading
from pathlib import Path

from testwarden.console.status import StatusFile
from testwarden.safety.gate import Conditions
from testwarden.safety.situation import Situation


def test_a_disk_that_cannot_be_asked_has_no_room() -> None:
    def gone() -> int:
        raise FileNotFoundError

    assert Situation(Conditions(), gone).conditions().disk_free == 0


def test_what_is_known_is_told_without_asking_the_disk() -> None:
    def hangs() -> int:
        raise AssertionError("the disk was asked")

    situation = Situation(Conditions(), hangs)
    situation.update(paused=True)
    assert situation.known().paused


def test_the_status_is_read_back_as_that_of_a_living_agent(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "status.json")
    file.write({"phase": "window"})
    said = file.read()
    assert said is not None
    assert (said["phase"], said["alive"]) == ("window", True)
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o600


def test_an_agent_that_is_gone_is_not_alive(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text('{"pid": 1, "process_started": 5.0}')
    said = StatusFile(path).read()
    assert said is not None
    assert not said["alive"]


def test_garbage_and_nothing_are_no_status(tmp_path: Path) -> None:
    assert StatusFile(tmp_path / "none").read() is None
    (tmp_path / "garbage").write_text("[1, 2")
    assert StatusFile(tmp_path / "garbage").read() is None


def test_a_folder_that_is_gone_costs_the_status_and_nothing_else(tmp_path: Path) -> None:
    StatusFile(tmp_path / "gone" / "status.json").write({})


def test_two_writers_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "status.json")
    file.write({})
    torn: list[int] = []

    def write() -> None:
        for number in range(200):
            file.write({"text": "x" * (number * 50)})

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if file.read() is None:
            torn.append(1)
    assert not torn
