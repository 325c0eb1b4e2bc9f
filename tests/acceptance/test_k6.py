"""The real k6, in its cage, started by the real command: from the command line, and by a control file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acceptance.steered import NewSteered
from standins.agent_process import READY, Place
from standins.control_folder import task
from standins.k6_binary import need_k6
from standins.watching import wait_until
from testwarden.metrics.line_protocol import parse

NAME = "embedded.testwarden"
"""The embedded network, as scripts in a cage call it."""
SHIPPED = Path(__file__).parents[2] / "test-files" / "k6" / "gateway-download.js"
SIMPLE = """
import http from "k6/http";
import { sleep } from "k6";
export const options = { thresholds: { http_reqs: ["count>%d"] } };
export default function () {
  http.get(`http://${__ENV.HOST}/seed-7-50000/x`);
  sleep(0.05);
}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (binary, *_) = need_k6()
    if shutil.which("bwrap") is None:
        why = "bubblewrap is missing (Debian: apt install bubblewrap)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    made = Place(tmp_path)
    made.bin.mkdir()
    shutil.copy(binary, made.bin / "k6")
    made.write(task("001", "Download", filesize="small"))
    (tmp_path / "script.js").write_text(SIMPLE % 1)
    return made


def k6_run(*options: str) -> tuple[str, ...]:
    host = ("--target", NAME, "-e", f"HOST={NAME}")
    return ("k6", "run", "script.js", "--demo", "--vus", "2", *host, *options)


def attempts(place: Place) -> list[tuple[str, str, str]]:
    db = sqlite3.connect(place.cache / "ledger.db")
    rows = db.execute("SELECT origin, task, outcome FROM attempts ORDER BY id").fetchall()
    db.close()
    return rows


def test_a_run_shows_its_summary_and_leaves_a_sample_and_an_entry_in_the_ledger(place: Place) -> None:
    done = place.call(*k6_run("--duration", "2"))
    assert done.returncode == 0, done.stderr
    shown = {
        cells[1].strip(): cells[2].strip() for line in done.stdout.splitlines() if len(cells := line.split("|")) > 3
    }
    assert int(shown["requests"]) > 2
    assert (shown["exit code"], shown["thresholds ok"], shown["requests failed rate"]) == ("0", "yes", "0.00")
    (line,) = place.lines()
    sample = parse(line)
    assert (sample.tags["type"], sample.tags["task"], sample.tags["client"][:3]) == ("k6", "own-1", "k6-")
    assert sample.fields["ok"] is True
    assert sample.fields["requests"] == int(shown["requests"])
    assert attempts(place) == [("own", "own-1", "ok")]


def test_thresholds_that_fail_end_with_k6_s_own_code(place: Place) -> None:
    (place.folder / "script.js").write_text(SIMPLE % 1_000_000)
    done = place.call(*k6_run("--duration", "1"))
    assert done.returncode == 99
    sample = parse(place.lines()[0])
    assert (sample.fields["ok"], sample.fields["client_error"], sample.fields["thresholds_ok"]) == (False, False, False)


def test_what_is_no_target_is_refused_and_the_sample_says_so(place: Place) -> None:
    done = place.call(*k6_run("--duration", "1", "-e", "HOST=elsewhere.example"))
    assert "the first to elsewhere.example:80: it is not one of the targets" in done.stderr
    sample = parse(place.lines()[0])
    assert sample.fields["targets_refused"] == sample.fields["requests"]
    assert "elsewhere.example" in str(sample.fields["reason"])


def test_ctrl_c_keeps_the_summary_and_leaves_no_process(place: Place) -> None:
    with place.start(*k6_run("--duration", "100")) as agent:
        wait_until(lambda: bool(list(place.cache.glob("runs/own-1.log"))) or bool(agent.family()), "k6 runs", 30)
        agent.wait_for(r"\d+ s: 2 VUs, [1-9]\d* requests", seconds=40)
        ending = agent.end(signal.SIGINT)
    assert (ending.code, ending.left) == (105, []), ending.output
    assert "| requests " in ending.output
    sample = parse(place.lines()[0])
    assert sample.fields["client_killed"] is True
    assert int(sample.fields["requests"]) > 0


def test_the_kill_switch_stops_a_run_from_the_command_line(place: Place) -> None:
    with place.start(*k6_run("--duration", "100")) as agent:
        agent.wait_for(r"\d+ s: 2 VUs, [1-9]\d* requests", seconds=40)
        (place.folder / "test-files" / "kill-switch").touch()
        ending = agent.ended(time.monotonic(), 30)
    assert ending.code != 0
    assert ending.left == []
    assert "the kill switch is active" in ending.output


@pytest.mark.parametrize("redirection", ["2>&-", ">/dev/full", "| true"])
def test_whoever_closes_the_streams_still_gets_the_exit_code(place: Place, redirection: str) -> None:
    (place.folder / "script.js").write_text("export default function () {}")
    command = (
        f"{sys.executable} -m testwarden k6 run script.js --demo --iterations 2 {redirection}; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert attempts(place) == [("own", "own-1", "ok")]


def test_it_does_not_open_the_api_of_the_agent_beside_it(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place.settings["API__LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        assert place.call(*k6_run("--duration", "1")).returncode == 0


def test_a_clock_that_is_set_does_not_make_it_follow_the_control_file(place: Place, new_steered: NewSteered) -> None:
    steered = new_steered("k6-clock")
    steered.from_folder(task("001", "Quote", repeat=True, timeout=30))
    steered.place.install_ant()
    shutil.copy(place.bin / "k6", steered.place.bin / "k6")
    (steered.place.folder / "script.js").write_text('import { sleep } from "k6"; export default () => sleep(0.1);')
    with steered.place.start("k6", "run", "script.js", "--duration", "60") as agent:
        agent.wait_for(r"\d+ s: 1 VUs", seconds=40)
        steered.set_clock("12:29:57")
        agent.wait_for("the clock was set by")
        steered.set_clock("12:31:30")  # task 001 is due at 12:31
        agent.wait_for("the clock was set by", agent.said())
        ending = agent.end(signal.SIGTERM)
    assert ending.left == []
    assert [row[:2] for row in attempts(steered.place)] == [("own", "own-1")]


def test_with_the_kill_switch_open_nothing_starts(place: Place) -> None:
    (place.folder / "test-files" / "kill-switch").touch()
    done = place.call(*k6_run("--duration", "1"))
    assert done.returncode == 1
    assert "the kill switch is active" in done.stderr
    assert attempts(place) == []


def test_a_control_file_s_k6_task_runs_in_its_cage_and_only_within_what_the_operator_allows(
    place: Place, new_steered: NewSteered
) -> None:
    steered = new_steered("k6-public")
    steered.from_folder()  # the catalogue is there then, and its digest can be taken
    binary, place = place.bin / "k6", steered.place
    place.bin.mkdir()
    shutil.copy(binary, place.bin / "k6")
    files = place.folder / "test-files"
    (files / "k6").mkdir()
    shutil.copy(SHIPPED, files / "k6" / "read.js")
    options = {
        "script": "k6/read.js",
        "sha256": hashlib.sha256(SHIPPED.read_bytes()).hexdigest(),
        "data": "01-download-files.csv",
        "data_sha256": hashlib.sha256((files / "01-download-files.csv").read_bytes()).hexdigest(),
        "vus": 5000,
        "duration": 5,
        "targets": NAME,
        "env.GATEWAY": f"http://{NAME}",
        "env.SIZE": "small",
    }
    steered.from_folder(task("001", "K6", **options), task("002", "K6", **{**options, "targets": "files.example.org"}))
    place.settings |= {"NETWORK__CLIENT": "embedded", "K6__ALLOWED_TARGETS": json.dumps([NAME])}
    with place.start("run", terminal=True) as agent:
        agent.wait_for(READY)
        agent.wait_for(r"\| 001 .*5000→20 VUs.*\| clamped: vus 5000→20")
        agent.wait_for(r"\| 002 .*refused: files.example.org is not among k6.allowed_targets")
        agent.start_task("001")
        agent.wait_for(r"task 001 worker 1: k6.*: ok", seconds=60)
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    (sample,) = (parse(line) for line in place.lines())
    assert (sample.fields["vus_max"], sample.fields["targets_refused"]) == (20, 0)
    assert sample.fields["rps"] <= 25, "twenty requests a second, and what was under way"
    assert sample.fields["checks_failed"] == 0
    assert int(sample.fields["checks_passed"]) > 0
    assert [row[:2] for row in attempts(place)] == [("public", "001")]
