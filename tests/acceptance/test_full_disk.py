"""The cache folder's disk is small, then full, then large again, while the agent runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from standins.agent_process import READY, Place
from standins.control_folder import task
from testwarden.metrics.line_protocol import parse


def mount(options: str, folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mount("size=8m", folder):
        pytest.skip("only root can mount a disk, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_nothing_starts_on_a_full_disk_and_the_agent_goes_on(tmp_path: Path, disk: Path) -> None:
    place = Place(tmp_path)
    place.cache = disk / "cache"
    place.settings |= {"CYCLE__SECONDS": "20", "AGENT__CACHE_DIR": str(place.cache)}
    place.write(*(task(f"{n:03}", "Upload", minute=minute) for n, minute in enumerate(range(5, 55, 5), 1)))
    with place.start("run", "--demo") as agent:
        agent.wait_for(READY)
        agent.wait_for(r"worker 1: refused: \d+ bytes of disk are free, 3000 are needed and 10000000000 must stay free")
        fill(disk / "filler")
        said = agent.said()
        agent.wait_for(r"worker 1: refused: 0 bytes of disk are free", said)
        assert mount("remount,size=30g", disk)
        agent.wait_for(r"worker 1: upload tiny: ok")
        said = agent.said()
        assert place.status()["alive"]
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    samples = [parse(line) for line in place.lines()]
    assert samples
    assert all(sample.fields["ok"] is True for sample in samples)


def test_an_agent_that_finds_a_full_disk_ends_with_one_line(tmp_path: Path, disk: Path) -> None:
    place = Place(tmp_path)
    place.write(task("001", "Quote"))
    fill(disk / "filler")
    done = place.call("run", "--demo", AGENT__CACHE_DIR=str(disk / "cache"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "No space left on device" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
