"""The k6 workload on processes that are not started."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testwarden.clients.cage import Confinement, Inside, Reach
from testwarden.clients.client import Order
from testwarden.clients.k6 import K6Client
from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.k6_log import FULL, MOST_BYTES, K6Log
from testwarden.clients.open_cage import OpenCage, OpenInside
from testwarden.clients.ports import PortPool
from testwarden.clients.process import Command, Ended, FakeProcesses, Why
from testwarden.clients.stop import Stop
from testwarden.errors import ProcessError
from testwarden.model import GIB, AttemptResult, K6Options, Origin, Outcome, ScriptFile, Task, TestType
from testwarden.workloads.k6 import K6Workload, public_bounds

SCRIPT, DATA = b"export default function () {}", b"fileSize,name,address,md5\n"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


FILES: dict[str, bytes] = {digest(SCRIPT): SCRIPT, digest(DATA): DATA}
OPTIONS = K6Options(ScriptFile("k6/load.js", digest(SCRIPT)), targets=("gateway.example",))
WITH_DATA = replace(OPTIONS, data=ScriptFile("files/01.csv", digest(DATA)))
BOUNDS = {Origin.PUBLIC: public_bounds(20, 600.0, 20), Origin.OWN: K6Bounds(500, 86400.0)}


class WatchedCage(OpenCage):
    """Remembers what it was asked for, and what lay there."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.asked: list[Confinement] = []
        self.contents: dict[str, bytes] = {}
        self.standing = 0

    @contextmanager
    def enter(self, confinement: Confinement) -> Iterator[Inside]:
        self.asked.append(confinement)
        self.contents = {name: path.read_bytes() for name, path in confinement.files.items()}
        self.standing += 1
        yield OpenInside(confinement)
        self.standing -= 1


class Bench:
    """A workload and what it works with."""

    def __init__(self, folder: Path, problem: str = "", files: Mapping[str, bytes] = FILES, **more: Any) -> None:
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / "k6").write_text("")
        (folder / "bin" / "k6").chmod(0o755)
        self.folder = folder
        self.cage = WatchedCage(problem)
        self.processes = FakeProcesses(self._answer)
        self.ports = PortPool(7000, 7009)
        self.needs: dict[str, Any] = {"maxVUs": 5, "totalDuration": "40s", "duration": "10s"}
        client = K6Client(self.processes, bin_dir=folder / "bin", search_path="")
        self.workload = K6Workload(client, self.cage, files, BOUNDS, self.ports.lend, **more)

    def _answer(self, command: Command) -> Ended:
        if command.argv[1] == "version":
            return Ended(Why.FINISHED, 0, stdout="k6 v2.2.0\n")
        return Ended(Why.FINISHED, 0, stdout=json.dumps(self.needs) if command.argv[1] == "inspect" else "")

    def attempt(self, task: Task, stop: Stop | None = None, **order: Any) -> AttemptResult:
        item = self.workload.pick(task, random.Random(1))
        (self.folder / "attempt").mkdir(exist_ok=True)
        return self.workload.attempt(item, Order(self.folder / "attempt", 600.0, 0, **order), stop or Stop())

    @property
    def ran(self) -> bool:
        return any(command.argv[1] == "run" for command in self.processes.commands)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testwarden.clients.ports._is_free", lambda _port: True)


def task(options: K6Options | None = OPTIONS, origin: Origin = Origin.PUBLIC) -> Task:
    return Task("001", "", 5, 0, TestType.K6, timeout=600, k6=options, origin=origin)


def test_a_pick_names_the_script_by_path_and_digest_and_reserves_the_most_that_may_be_moved(bench: Bench) -> None:
    item = bench.workload.pick(task(WITH_DATA), random.Random(1))
    assert item.target == f"k6/load.js {digest(SCRIPT)}"
    assert item.bytes == GIB
    assert item.disk > len(SCRIPT) + len(DATA)
    own = bench.workload.pick(task(WITH_DATA, Origin.OWN), random.Random(1))
    assert (own.bytes, own.disk) == (0, len(SCRIPT) + len(DATA))


def test_a_public_task_runs_in_the_cage_with_its_files_and_its_targets_only(bench: Bench) -> None:
    assert bench.attempt(task(WITH_DATA)).outcome is Outcome.OK
    (asked,) = bench.cage.asked
    assert asked.reach == Reach(("gateway.example",), private=False, rate=20, most_bytes=GIB)
    assert bench.cage.contents == {"load.js": SCRIPT, "data-01.csv": DATA}
    assert asked.programs == ((bench.folder / "bin" / "k6").resolve(),)
    assert list(asked.folder.iterdir()) == []
    assert not any(path.is_relative_to(asked.folder) for path in asked.files.values())
    assert {path.stat().st_mode & 0o777 for path in asked.files.values()} == {0o444}
    argv = bench.processes.commands[-1].argv
    assert argv[-1] == str(asked.files["load.js"])
    assert f"AMMO_URL={asked.files['data-01.csv']}" in argv
    assert bench.cage.standing == 0


def test_the_same_folder_serves_the_next_attempt(bench: Bench) -> None:
    assert [bench.attempt(task(WITH_DATA)).outcome for _ in range(2)] == [Outcome.OK, Outcome.OK]


@pytest.mark.parametrize(
    ("options", "reach"),
    [
        (replace(OPTIONS, rate=5), Reach(("gateway.example",), rate=5, most_bytes=GIB)),
        (replace(OPTIONS, rate=50), Reach(("gateway.example",), rate=20, most_bytes=GIB)),
        (replace(OPTIONS, targets=None), Reach((), rate=20, most_bytes=GIB)),
    ],
)
def test_a_public_task_reaches_what_it_names_at_its_rate_and_no_private_address(
    bench: Bench, options: K6Options, reach: Reach
) -> None:
    bench.attempt(task(options))
    assert bench.cage.asked[0].reach == reach


def test_an_own_task_reaches_anything_or_what_it_names(bench: Bench) -> None:
    bench.attempt(task(replace(OPTIONS, targets=None), Origin.OWN))
    bench.attempt(task(OPTIONS, Origin.OWN))
    assert [asked.reach for asked in bench.cage.asked] == [None, Reach(("gateway.example",), private=True)]


def test_without_a_cage_a_public_task_does_not_run_and_the_reason_says_what_to_install(tmp_path: Path) -> None:
    bench = Bench(tmp_path, problem="install bubblewrap")
    result = bench.attempt(task())
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert "install bubblewrap" in result.reason
    assert bench.processes.commands == []


def test_without_a_cage_an_own_task_runs_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, problem="install bubblewrap")
    with caplog.at_level(logging.WARNING):
        assert bench.attempt(task(OPTIONS, Origin.OWN)).outcome is Outcome.OK
    assert "unconfined, it can read files and reach anything, also beside its targets: install" in caplog.text
    assert "install bubblewrap" in caplog.text
    assert bench.cage.asked == []


def test_a_public_task_has_no_arguments_of_its_own(bench: Bench) -> None:
    result = bench.attempt(task(replace(OPTIONS, params=("--no-setup",))))
    assert result.outcome is Outcome.CLIENT_ERROR
    assert not bench.ran
    assert bench.attempt(task(replace(OPTIONS, params=("--no-setup",)), Origin.OWN)).outcome is Outcome.OK
    assert "--no-setup" in bench.processes.commands[-1].argv


@pytest.mark.parametrize("which", ["script", "data"])
def test_content_of_another_digest_never_runs(tmp_path: Path, which: str) -> None:
    wrong = digest(SCRIPT if which == "script" else DATA)
    bench = Bench(tmp_path, files={**FILES, wrong: b"something else"})
    result = bench.attempt(task(WITH_DATA))
    assert result.outcome is Outcome.CLIENT_ERROR
    assert f"has the SHA-256 {digest(b'something else')}, not {wrong}" in result.reason
    assert bench.processes.commands == []


def test_content_that_was_not_fetched_is_an_error(tmp_path: Path) -> None:
    result = Bench(tmp_path, files={}).attempt(task())
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "k6/load.js of the SHA-256" in result.reason


def test_the_rest_of_the_window_bounds_a_run(bench: Bench) -> None:
    bench.needs = {"maxVUs": 5, "totalDuration": "9m0s", "duration": "8m30s"}
    assert "540 seconds and 20 are allowed" in bench.attempt(task(), window_left=20.0).reason
    assert not bench.ran


def test_an_own_run_has_the_operators_bounds(bench: Bench) -> None:
    bench.needs = {"maxVUs": 400, "totalDuration": "9m0s", "duration": "8m30s"}
    assert bench.attempt(task(OPTIONS, Origin.OWN)).outcome is Outcome.OK
    assert "--rps" not in bench.processes.commands[-1].argv


def test_each_run_gets_a_port_of_its_own_and_gives_it_back(bench: Bench) -> None:
    for _ in range(2):
        bench.attempt(task())
    runs = [command.argv for command in bench.processes.commands if command.argv[1] == "run"]
    assert [word for argv in runs for word in argv if word.startswith("--address")] == [
        "--address=127.0.0.1:7000",
        "--address=127.0.0.1:7001",
    ]
    assert bench.ports.percent == 0


def test_a_port_can_be_chosen_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.workload._port = lambda: nullcontext(7777)
    bench.attempt(task())
    assert "--address=127.0.0.1:7777" in bench.processes.commands[-1].argv


def test_no_free_port_and_no_program_are_results(tmp_path: Path) -> None:
    def none_free() -> nullcontext[int]:
        raise ProcessError("no free port")

    bench = Bench(tmp_path)
    bench.workload._port = none_free
    assert bench.attempt(task()).reason == "no free port"
    (tmp_path / "bin" / "k6").unlink()
    result = bench.attempt(task())
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "no k6" in result.reason


def test_a_stop_before_anything_ran_is_a_stop(bench: Bench) -> None:
    stop = Stop()
    stop.request("kill switch", 5)
    result = bench.attempt(task(), stop)
    assert (result.outcome, result.reason) == (Outcome.CLIENT_KILLED, "kill switch")


def test_a_folder_that_cannot_be_written_is_a_result(bench: Bench, tmp_path: Path) -> None:
    item = bench.workload.pick(task(), random.Random(1))
    result = bench.workload.attempt(item, Order(tmp_path / "missing", 60.0, 0), Stop())
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "cannot be kept" in result.reason


def test_names_that_are_no_plain_names_do_not_get_inside(bench: Bench) -> None:
    odd = K6Options(ScriptFile("a/b c.js", digest(SCRIPT)), ScriptFile("-x", digest(DATA)), targets=("t.example",))
    bench.attempt(task(odd))
    assert set(bench.cage.asked[0].files) == {"script.js", "data"}


def test_who_wants_to_ask_for_numbers_gets_the_way_before_it_begins(tmp_path: Path) -> None:
    heard: list[str] = []

    def started(which: Task, connect: object) -> None:
        assert callable(connect)
        assert not bench.ran
        heard.append(which.ref)

    bench = Bench(tmp_path, started=started)
    bench.attempt(task())
    assert heard == ["001"]


def test_what_k6_prints_is_appended_to_the_log_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_BYTES >= 1 << 20
    monkeypatch.setattr("testwarden.clients.k6_log.MOST_BYTES", 10)
    log = K6Log(tmp_path / "log")
    for part in (b"abcdef", b"ghijkl", b"never"):
        log.hear(part)
    assert (tmp_path / "log").read_bytes() == b"abcdefghij" + FULL
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    K6Log(tmp_path / "missing" / "log").hear(b"x")  # a disk that takes nothing is no reason to fail


def test_an_open_cage_shows_the_files_where_they_are(tmp_path: Path) -> None:
    inside = OpenInside(Confinement(tmp_path / "w", {"a.js": tmp_path / "f" / "a.js"}))
    given = ("k6", "run", "-e", "AMMO_URL=/files/a.js", "--x=/work/s", "/work", "/files/a.json", "/files/a.js")
    assert inside.wrap(given) == (
        *("k6", "run", "-e", f"AMMO_URL={tmp_path}/f/a.js", f"--x={tmp_path}/w/s", f"{tmp_path}/w"),
        *("/files/a.json", f"{tmp_path}/f/a.js"),
    )
