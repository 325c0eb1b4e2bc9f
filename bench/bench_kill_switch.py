"""From opening the kill-switch issue to the last child process gone: the real agent, a GitHub stand-in, hanging clients.

The wall clock of both is put into a window by libfaketime (Debian's `faketime`), because an ant client runs only in a
real hour. Takes up to 75 s without a token and 15 s with one, for each run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

STANDINS = Path(__file__).parents[1] / "tests" / "standins"
WINDOW = "2026-11-21 12:10:00"
CONTROL = """<Schedule><Task><TaskRef>001</TaskRef><TimePeriod>10</TimePeriod><TestType>Download</TestType>
<TestOptions><Option key="workers" value="10"/><Option key="timeout" value="2000"/></TestOptions></Task></Schedule>"""
CATALOGUE = "fileSize,name,address,md5\ntiny,a,aaaa,0\n"


def measure() -> list[tuple[str, float, str]]:
    """Return (what, value, unit); nothing where faketime is missing."""
    if shutil.which("faketime") is None:
        return []
    return [
        ("kill switch opened → no child left, with a token", _stop_time("X"), "s"),
        ("kill switch opened → no child left, without a token", _stop_time(""), "s"),
    ]


def _stop_time(token: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = folder / "test-files"
        files.mkdir()
        (files / "00-control.xml").write_text(CONTROL)
        (files / "01-download-files.csv").write_text(CATALOGUE)
        shutil.copytree(STANDINS, folder / "bin")
        (folder / "bin" / "ant_2").rename(folder / "bin" / "ant")
        (folder / "bin" / "scenario").write_text("sleep\n")
        standin = [str(STANDINS / "github_server.py"), "--port", "0", "--directory", str(files)]
        with _faked(standin, folder, {}) as hub:
            url = _wait_for(lambda: hub.read_text().partition("\n")[0] or None)
            settings = {
                "TESTWARDEN_GITHUB__REPOSITORY": "example/testwarden",
                "TESTWARDEN_GITHUB__API_URL": url,
                "TESTWARDEN_NETWORK__CLIENT": "ant",
                "TESTWARDEN_GITHUB__TOKEN": token,
            }
            with _faked(["-m", "testwarden", "run"], folder, settings):
                return _open_and_wait(url)


def _open_and_wait(url: str) -> float:
    keeper = _wait_for(_keeper)
    _wait_for(lambda: len(_children(keeper)) >= 10 or None, seconds=90)
    opened = time.perf_counter()
    body = json.dumps({"do": "open_issue", "title": "kill-switch: please"}).encode()
    urllib.request.urlopen(f"{url}/_standin", data=body, timeout=10).close()
    _wait_for(lambda: not _children(keeper) or None, seconds=120)
    return time.perf_counter() - opened


def _keeper() -> psutil.Process | None:
    for process in psutil.Process().children(recursive=True):
        if any("clients.keeper" in part for part in process.cmdline()):
            return process
    return None


def _children(keeper: psutil.Process) -> list[psutil.Process]:
    return keeper.children(recursive=True)


def _wait_for(look: Callable[[], T | None], seconds: float = 30) -> T:
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise SystemExit("nothing happened in time")


@contextmanager
def _faked(arguments: list[str], folder: Path, settings: dict[str, str]) -> Iterator[Path]:
    # Without DONT_FAKE_MONOTONIC Python's waits hang for ever.
    environment = {**os.environ, **settings, "DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}
    command = ["faketime", WINDOW, sys.executable, *arguments]
    log = folder / f"{Path(arguments[0]).stem}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            yield log
        finally:
            children = psutil.Process(process.pid).children()  # faketime itself does not pass signals on
            for child in children:
                child.terminate()
            psutil.wait_procs(children, timeout=20)
            process.wait(timeout=20)


if __name__ == "__main__":
    for what, value, unit in measure():
        print(f"{what:66} {value:8.3f} {unit}")
