"""The k6 client on processes that are not started: what it asks, what it makes of the answers."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testwarden.clients.cage import Confinement
from testwarden.clients.k6 import PLANNING, K6Client, K6Program, K6Run
from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.open_cage import OpenInside
from testwarden.clients.process import Command, Ended, FakeProcesses, Why
from testwarden.clients.stop import Stop
from testwarden.errors import ClientMissing, ClientUnsupported, ProcessError
from testwarden.model import AttemptResult, K6Options, Outcome, ScriptFile

PROGRAM = K6Program(Path("/opt/k6"), "2.2.0", 2)
OPTIONS = K6Options(ScriptFile("a.js", "0" * 64))
FITS: dict[str, Any] = {"maxVUs": 5, "totalDuration": "40s", "duration": "10s"}
TOO_MUCH: dict[str, Any] = {"maxVUs": 5000, "totalDuration": "1h0m30s", "duration": "1h"}
SUMMARY = {
    "metrics": {"http_reqs": {"count": 3, "rate": 1.5}, "data_received": {"count": 70}, "data_sent": {"count": 30}}
}


def inspected(found: object) -> Ended:
    return Ended(Why.FINISHED, 0, stdout=json.dumps(found))


class Script:
    """Answers `inspect` with one thing after the other, and `run` with its end, having left a summary."""

    def __init__(self, *inspections: Ended, run: Ended | None = None, summary: bytes | None = None) -> None:
        self.inspections = list(inspections)
        self.run = run or Ended(Why.FINISHED, 0, seconds=2.5)
        self.summary = json.dumps(SUMMARY).encode() if summary is None else summary
        self.processes = FakeProcesses(self._answer)

    def _answer(self, command: Command) -> Ended:
        if command.argv[1] == "inspect":
            return self.inspections.pop(0)
        if self.summary:
            (command.cwd / "summary.json").write_bytes(self.summary)
        return self.run

    @property
    def asked(self) -> list[dict[str, str]]:
        """What load each inspection was about."""
        names = ("K6_VUS", "K6_DURATION", "K6_ITERATIONS", "K6_RPS", "K6_STAGES")
        commands = [command for command in self.processes.commands if command.argv[1] == "inspect"]
        return [{name: command.env[name] for name in names if name in command.env} for command in commands]

    @property
    def told(self) -> tuple[str, ...]:
        """The command line of the run."""
        return self.processes.commands[-1].argv


class Walls(OpenInside):
    """A cage that has refused something."""

    refusals = 3
    refused = ("10.0.0.1:80: a private address", "x.example:443: not a target")
    moved = 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def attempt(script: Script, folder: Path, stop: Stop | None = None, **changes: Any) -> AttemptResult:
    run = K6Run(
        script="/files/a.js",
        options=OPTIONS,
        bounds=K6Bounds(20, 600.0, 20, most_memory=1 << 30, most_file_bytes=1 << 20),
        inside=OpenInside(Confinement(folder, {"a.js": Path("/x/a.js"), "d.csv": Path("/x/d.csv")})),
        folder=folder,
        port=7000,
        timeout=600.0,
    )
    client = K6Client(script.processes, bin_dir=folder, search_path="")
    return client.attempt(PROGRAM, replace(run, **changes), stop or Stop())


def test_a_run_that_fits_is_inspected_once_and_its_summary_becomes_figures(folder: Path) -> None:
    script = Script(inspected(FITS))
    result = attempt(script, folder)
    assert (result.outcome, result.reason, result.exec_time, result.bytes) == (Outcome.OK, "", 2.5, 100)
    assert dict(result.figures)["requests"] == 3
    assert script.asked == [{}]
    assert script.told[script.told.index("--rps") + 1] == "20"
    assert "--vus" not in script.told


def test_both_commands_get_a_clean_bounded_environment_and_no_load_from_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K6_VUS", "1000")
    monkeypatch.setenv("GITHUB_TOKEN", "the operator's")
    script = Script(inspected(FITS))
    attempt(script, folder)
    for command in script.processes.commands:
        assert set(command.env) - {"PATH", "HOME", "TMPDIR", "LANG"} == {
            "K6_NO_USAGE_REPORT",
            "K6_AUTO_EXTENSION_RESOLUTION",
            "K6_BROWSER_EXECUTABLE_PATH",
            "GODEBUG",
        }
        assert command.env["GODEBUG"] == "http2client=0"
        assert not Path(command.env["K6_BROWSER_EXECUTABLE_PATH"]).exists()
        assert command.env["K6_AUTO_EXTENSION_RESOLUTION"] == "false"
        assert (command.most_memory, command.most_file_bytes, command.cwd) == (1 << 30, 1 << 20, folder)
    assert [command.second_term for command in script.processes.commands] == [False, True]


def test_variables_and_data_are_the_same_for_the_question_and_the_run(folder: Path) -> None:
    script = Script(inspected(FITS))
    options = replace(OPTIONS, env=(("SIZE", "tiny"), ("AMMO_URL", "/etc/passwd")))
    attempt(script, folder, options=options, data="/files/d.csv")
    for command in script.processes.commands:
        flags = [command.argv[place + 1] for place, word in enumerate(command.argv) if word == "-e"]
        assert flags == ["SIZE=tiny", "AMMO_URL=/etc/passwd", "AMMO_URL=/x/d.csv"]
        assert command.argv[-1] == "/x/a.js"


def test_what_is_clamped_is_asked_for_again_before_it_runs(folder: Path) -> None:
    script = Script(inspected(TOO_MUCH), inspected({"maxVUs": 20, "totalDuration": "10m0s", "duration": "9m30s"}))
    result = attempt(script, folder)
    assert script.asked == [{}, {"K6_VUS": "20", "K6_DURATION": "570s", "K6_RPS": "20"}]
    assert " ".join(script.told).count("--vus 20 --duration 570s --rps 20") == 1
    assert (result.outcome, result.reason) == (Outcome.OK, "clamped: virtual users 5000→20, seconds 3630→600")


def test_a_k6_that_does_not_obey_is_not_run(folder: Path) -> None:
    script = Script(inspected(TOO_MUCH), inspected(TOO_MUCH))
    result = attempt(script, folder)
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "5000 virtual users and 20 are allowed" in result.reason
    assert "3630 seconds and 600 are allowed" in result.reason
    assert "does not obey" in result.reason
    assert script.inspections == []
    assert script.processes.commands[-1].argv[1] == "inspect"


def test_a_script_whose_scenarios_cannot_be_replaced_is_refused_with_both_numbers(folder: Path) -> None:
    no_default = Ended(
        Why.FINISHED, 104, stderr="level=error msg=\"executor default: function 'default' not found in exports\""
    )
    result = attempt(Script(inspected(TOO_MUCH), no_default), folder)
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "5000 virtual users and 20 are allowed" in result.reason
    assert "it cannot be clamped" in result.reason
    assert "function 'default' not found" in result.reason


def test_the_time_limit_of_the_task_bounds_the_run_too(folder: Path) -> None:
    script = Script(inspected(TOO_MUCH), inspected({"maxVUs": 20, "totalDuration": "1m40s"}))
    attempt(script, folder, timeout=100.0)
    assert script.asked[1]["K6_DURATION"] == "70s"
    result = attempt(Script(inspected(FITS)), folder, timeout=30.0)
    assert (result.outcome, result.exec_time) == (Outcome.CLIENT_ERROR, 0.0)
    assert "40 seconds and 30 are allowed" in result.reason


def test_virtual_users_alone_are_asked_for_in_a_way_that_k6_1_obeys(folder: Path) -> None:
    ignored = {"maxVUs": 1, "totalDuration": "40s", "vus": None}
    script = Script(inspected(ignored), inspected({"maxVUs": 5, "totalDuration": "40s", "iterations": 5}))
    attempt(script, folder, options=replace(OPTIONS, vus=5))
    assert script.asked == [{"K6_VUS": "5"}, {"K6_VUS": "5", "K6_ITERATIONS": "5"}]
    assert " ".join(script.told).count("--vus 5 --iterations 5 --rps 20") == 1


@pytest.mark.parametrize(
    ("end", "outcome", "words"),
    [
        (Ended(Why.TIMED_OUT, signal=signal.SIGTERM), Outcome.CLIENT_ERROR, "more than 10 s"),
        (Ended(Why.STOPPED), Outcome.CLIENT_KILLED, "the agent ends"),
        (
            Ended(Why.FINISHED, 107, stderr='level=error msg="Error: boo"'),
            Outcome.CLIENT_ERROR,
            "before it began (exit 107): Error: boo",
        ),
        (Ended(Why.FINISHED, 0, stdout="[bytes left out]"), Outcome.CLIENT_ERROR, "it is no JSON"),
        (Ended(Why.FINISHED, signal=9), Outcome.CLIENT_ERROR, "SIGKILL"),
    ],
)
def test_what_cannot_be_inspected_does_not_run(folder: Path, end: Ended, outcome: Outcome, words: str) -> None:
    script = Script(end)
    result = attempt(script, folder)
    assert result.outcome is outcome
    assert words in result.reason
    assert len(script.processes.commands) == 1


def test_an_exception_before_it_begins_has_its_exit_code_in_the_figures(folder: Path) -> None:
    result = attempt(Script(Ended(Why.FINISHED, 107)), folder)
    assert dict(result.figures)["exit_code"] == 107


def test_an_argument_that_is_refused_runs_nothing(folder: Path) -> None:
    script = Script()
    result = attempt(script, folder, options=replace(OPTIONS, params=("--address=0.0.0.0:1",)))
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "--address" in result.reason
    assert script.processes.commands == []


def test_a_cage_that_refused_something_is_heard(folder: Path) -> None:
    result = attempt(Script(inspected(FITS)), folder, inside=Walls(Confinement(folder)))
    assert result.outcome is Outcome.OK
    assert result.reason == "3 requests were refused, the first to 10.0.0.1:80: a private address"
    assert dict(result.figures)["targets_refused"] == 3
    assert result.bytes == 5000


def test_failed_thresholds_are_no_error_of_the_client(folder: Path) -> None:
    result = attempt(Script(inspected(FITS), run=Ended(Why.FINISHED, 99)), folder)
    assert (result.outcome, result.mendable) == (Outcome.THRESHOLDS_FAILED, False)
    assert result.reason == "thresholds failed (exit 99)"


@pytest.mark.parametrize("summary", [b"", b"{", b"[]"])
def test_without_a_summary_what_was_moved_is_not_known(folder: Path, summary: bytes) -> None:
    end = Ended(Why.TIMED_OUT, None, signal.SIGKILL, seconds=600.0)
    result = attempt(Script(inspected(FITS), run=end, summary=summary), folder)
    assert (result.outcome, result.reason, result.mendable) == (Outcome.CLIENT_KILLED, "time limit of 600 s", False)
    assert (result.bytes, result.bytes_known) == (0, False)
    assert dict(result.figures)["exit_code"] == -9


def test_a_summary_that_is_a_link_is_not_followed(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere.json"
    elsewhere.write_text(json.dumps(SUMMARY))
    (folder / "summary.json").symlink_to(elsewhere)
    result = attempt(Script(inspected(FITS), summary=b""), folder)
    assert "requests" not in dict(result.figures)


def test_a_stop_before_the_start_is_a_stop(folder: Path) -> None:
    stop = Stop()
    stop.request("kill switch", 5)
    result = attempt(Script(inspected(FITS)), folder, stop)
    assert (result.outcome, result.reason) == (Outcome.CLIENT_KILLED, "kill switch")


def test_a_reason_does_not_name_the_folder(folder: Path) -> None:
    said = f'level=error msg="Error: x at file://{folder.parent}/files/a.js:1"'
    result = attempt(Script(inspected(FITS), run=Ended(Why.FINISHED, 107, stderr=said)), folder)
    assert result.reason.endswith("Error: x at file:///files/a.js:1")


def test_a_run_without_a_rate_speaks_whatever_http_it_likes(folder: Path) -> None:
    script = Script(inspected(FITS))
    attempt(script, folder, bounds=K6Bounds(500, 86400.0))
    assert not [command for command in script.processes.commands if "GODEBUG" in command.env]


# --- its turn


PUBLIC, OWN = K6Bounds(20, 600.0, 20), K6Bounds(500, 86400.0)


class Turns:
    """A client all of whose turns of one kind are taken by scripts that hang."""

    def __init__(self, folder: Path, taken: K6Bounds) -> None:
        self.release = threading.Event()
        self.hanging = threading.Semaphore(0)
        self.client = K6Client(FakeProcesses(self._answer), bin_dir=folder, search_path="")
        self._folder = folder
        self.kind = taken
        self.threads = [threading.Thread(target=self.attempt, args=[taken, "hang.js"]) for _ in range(PLANNING)]
        for thread in self.threads:
            thread.start()
        for _ in self.threads:
            assert self.hanging.acquire(timeout=20)

    def _answer(self, command: Command) -> Ended:
        if command.argv[-1].endswith("hang.js"):
            self.hanging.release()
            assert self.release.wait(20)
        return inspected(FITS)

    def attempt(
        self, bounds: K6Bounds, name: str = "a.js", stop: Stop | None = None, timeout: float = 60.0
    ) -> AttemptResult:
        inside = OpenInside(Confinement(self._folder, {name: Path("/x", name)}))
        run = K6Run(f"/files/{name}", OPTIONS, bounds, inside, self._folder, 7000, timeout)
        return self.client.attempt(PROGRAM, run, stop or Stop())


@pytest.fixture(params=[PUBLIC, OWN], ids=["public", "own"])
def turns(request: pytest.FixtureRequest, folder: Path) -> Iterator[Turns]:
    made = Turns(folder, request.param)
    try:
        yield made
    finally:
        made.release.set()
        for thread in made.threads:
            thread.join(20)


def test_scripts_that_hang_keep_only_their_own_kind_waiting(turns: Turns) -> None:
    other = OWN if turns.kind is PUBLIC else PUBLIC
    assert turns.attempt(other).outcome is Outcome.OK


def test_a_stop_ends_who_waits_for_its_turn(turns: Turns) -> None:
    stop = Stop()
    stop.request("kill switch", 1.0)
    result = turns.attempt(turns.kind, stop=stop)
    assert (result.outcome, result.reason) == (Outcome.CLIENT_KILLED, "kill switch")


def test_who_waits_too_long_for_its_turn_is_told_so(turns: Turns) -> None:
    result = turns.attempt(turns.kind, timeout=0.0)
    assert (result.outcome, result.reason) == (Outcome.CLIENT_ERROR, "it waited too long for its turn")


def test_a_turn_is_given_back(turns: Turns) -> None:
    turns.release.set()
    for _ in range(PLANNING + 1):
        assert turns.attempt(turns.kind).outcome is Outcome.OK


# --- the program


def fake(folder: Path, printed: str) -> tuple[K6Client, FakeProcesses]:
    (folder / "k6").write_text("#!/bin/sh\n")
    (folder / "k6").chmod(0o755)
    processes = FakeProcesses(lambda _: Ended(Why.FINISHED, 0, stdout=printed))
    return K6Client(processes, bin_dir=folder, search_path=""), processes


@pytest.mark.parametrize(
    ("printed", "version", "major"),
    [("k6 v2.2.0 (go1.26.8, linux/amd64)\n", "2.2.0", 2), ("k6 v1.8.1 (x)\n", "1.8.1", 1)],
)
def test_a_program_is_asked_once_until_it_is_replaced(folder: Path, printed: str, version: str, major: int) -> None:
    client, processes = fake(folder, printed)
    assert client.name == "k6"
    for _ in range(2):
        assert client.describe(Stop()) == K6Program(folder / "k6", version, major)
    assert (len(processes.commands), client.name) == (1, f"k6-{major}")
    (folder / "k6").write_text("#!/bin/sh\n# another\n")
    client.describe(Stop())
    assert len(processes.commands) == 2


@pytest.mark.parametrize(
    ("printed", "words"),
    [("k6 v3.0.0\n", "k6 3.0.0; known here are v1 and v2"), ("k6 v0.57.0\n", "0.57.0"), ("ant 1\n", "does not say")],
)
def test_a_program_that_is_not_known_is_refused(folder: Path, printed: str, words: str) -> None:
    with pytest.raises(ClientUnsupported, match=words):
        fake(folder, printed)[0].describe(Stop())


def test_a_program_that_is_not_there_is_missing(folder: Path) -> None:
    client = K6Client(FakeProcesses(lambda _: Ended(Why.FINISHED, 0)), bin_dir=folder, search_path="")
    with pytest.raises(ClientMissing, match="no k6 in"):
        client.describe(Stop())
    (folder / "k6").write_text("")
    (folder / "k6").chmod(0o644)
    with pytest.raises(ClientMissing, match=r"chmod \+x"):
        client.describe(Stop())


def test_a_program_that_does_not_answer_is_a_problem_and_is_asked_again(folder: Path) -> None:
    client, processes = fake(folder, "k6 v2.2.0\n")
    slow: Callable[[Command], Ended] = lambda _: Ended(Why.TIMED_OUT, signal=9)  # noqa: E731 - it replaces a script
    good, processes._script = processes._script, slow
    with pytest.raises(ProcessError, match="did not end"):
        client.describe(Stop())
    processes._script = good
    assert client.describe(Stop()).major == 2


def test_a_machine_without_a_folder_for_temporary_files_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    with pytest.raises(ProcessError, match="cannot be asked for its version: No such file"):
        fake(folder, "k6 v2.2.0\n")[0].describe(Stop())


def test_the_folder_of_programs_comes_before_the_search_path(tmp_path: Path) -> None:
    ours, others = tmp_path / "bin", tmp_path / "others"
    for place in (ours, others):
        place.mkdir()
        (place / "k6").write_text("")
        (place / "k6").chmod(0o755)
    processes = FakeProcesses(lambda _: Ended(Why.FINISHED, 0, stdout="k6 v2.2.0\n"))
    client = K6Client(processes, bin_dir=ours, search_path=str(others))
    assert client.describe(Stop()).path == ours / "k6"
    (ours / "k6").unlink()
    assert client.describe(Stop()).path == others / "k6"
