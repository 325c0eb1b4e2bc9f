"""What an agent measured reaches a database and Prometheus while it runs, and the commands of analysts read its files."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import requests

from standins.agent_process import READY, Place
from standins.control_folder import task
from standins.free_port import free_port
from standins.influxd import Influxd, running_influxd
from standins.watching import wait_until
from testwarden.metrics.line_protocol import parse


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.write(task("001", "Quote", minute=6, repeat=True), task("002", "Download", minute=8, filesize="small"))
    made.settings["PROMETHEUS__LISTEN"] = f"127.0.0.1:{free_port()}"
    return made


def has_points(server: Influxd, measurement: str) -> bool:
    return bool(server.query(f"SELECT * FROM {measurement}"))  # noqa: S608 - of a test


def test_an_agent_feeds_a_database_and_prometheus_and_its_files_are_the_same(place: Place, tmp_path: Path) -> None:
    (tmp_path / "influxd").mkdir()
    with running_influxd(tmp_path / "influxd") as server:
        place.settings |= {"INFLUX__URL": server.url, "INFLUX__DATABASE": "t"}
        with place.start("run", "--demo") as agent:
            agent.wait_for(READY)
            agent.wait_for(r"task 002 worker 1: download small: ok", seconds=75)
            wait_until(lambda: has_points(server, "testwarden"), "samples reach the database", 70)
            wait_until(lambda: has_points(server, "testwarden_agent"), "the line about the agent does", 70)
            scraped = requests.get(f"http://{place.settings['PROMETHEUS__LISTEN']}/metrics", timeout=10).text
            assert "testwarden_attempts_total{" in scraped
            ending = agent.end(signal.SIGTERM)
        assert (ending.code, ending.left) == (0, []), ending.output
        done = place.call("metrics", "import", "--url", server.url, "--database", "t")
        assert done.returncode == 0, done.stderr
        stamps = {parse(line).stamp for line in place.lines()}
        points = server.query("SELECT ok FROM testwarden")
        assert len(points) == len(stamps) == len(place.lines())
        assert "0 errors" in place.call("metrics", "check").stdout
        report = place.call("report", "-o", "page.html")
        assert (report.returncode, (tmp_path / "page.html").stat().st_size > 10_000) == (0, True), report.stderr
        assert "Outcomes by the hour" in place.call("report", "--text").stdout


def test_what_an_analyst_mistypes_is_said_in_one_sentence(place: Place) -> None:
    nothing = place.call("report")
    assert nothing.returncode == 1
    assert "there is no such file" in nothing.stdout + nothing.stderr
    for command in (
        ("report", "--since", "soon"),
        ("metrics", "import", "--url", "http://127.0.0.1:1", "--since", "7x"),
    ):
        wrong = place.call(*command)
        assert wrong.returncode == 2
        assert "--since" in wrong.stderr
