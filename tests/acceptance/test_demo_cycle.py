"""One whole cycle of the first run: the embedded network, a cycle of 20 seconds, with and without what a console has."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from datetime import datetime, timezone

import pytest

from acceptance.demo_runs import CYCLE, WAYS, python_of_nobody
from acceptance.long_runs import LongRuns
from standins.agent_process import Ending, Place
from testwarden.metrics.line_protocol import Line, parse

PROOF = r"cool-down: (2) workers stopped, none needed KILL, the slowest in [\d.]+ s; no test process is left"


@pytest.fixture(params=WAYS)
def one(request: pytest.FixtureRequest, long_runs: LongRuns) -> tuple[Place, Ending]:
    if request.param == "unprivileged" and os.geteuid() == 0 and not python_of_nobody():
        pytest.skip("no Python here that an ordinary user may run has our packages")
    return long_runs.demo[request.param]


def samples(place: Place) -> list[Line]:
    return [parse(line) for line in place.lines()]


def test_it_ends_by_itself_and_leaves_no_process(one: tuple[Place, Ending]) -> None:
    _, ending = one
    assert (ending.code, ending.left) == (0, []), ending.output


def test_all_three_types_of_tests_have_run_well(one: tuple[Place, Ending]) -> None:
    place, ending = one
    found = samples(place)
    wrong = [sample.fields["reason"] for sample in found if sample.fields["ok"] is not True]
    assert not wrong, ending.output
    counts = Counter(sample.tags["type"] for sample in found)
    # A window of 16.7 s has room for a second round of the repeating task, after its pause of 10 s. Of 5000 workers of
    # an upload the gate lets 10 run, of which those beyond the 20 of all tasks together wait for nobody.
    assert counts["download"] >= 4
    assert counts["quote"] >= 1
    assert counts["upload"] >= 10
    assert all(sample.fields["md5_valid"] is True for sample in found if sample.tags["type"] == "download")
    assert len({sample.stamp for sample in found}) == len(found)


def test_the_timestamps_are_of_this_window_in_utc(long_runs: LongRuns) -> None:
    now = datetime.now(timezone.utc).timestamp()
    for sample in samples(long_runs.demo["plain"][0]):
        seconds = sample.stamp / 1e9
        assert now - 6 * CYCLE < seconds < now
        assert 5 / 60 <= seconds % CYCLE / CYCLE <= 56 / 60


def test_the_summary_counts_what_the_samples_say(long_runs: LongRuns) -> None:
    place, _ = long_runs.demo["plain"]
    counted: Counter[tuple[str, str]] = Counter()
    for line in map(parse, place.lines("summary.csv")):
        counted[line.tags["type"], line.tags["filesize"]] += int(line.fields["count"])
    assert counted == Counter((sample.tags["type"], sample.tags["filesize"]) for sample in samples(place))


def test_the_table_shows_every_task_with_its_verdict(long_runs: LongRuns) -> None:
    output = long_runs.demo["plain"][1].output
    assert re.search(r"^\| 001 +\| 6 +\| 2 +\| yes +\| no +\| download +\| small +\| allowed +\|", output, re.MULTILINE)
    assert re.search(r"^\| 003 +\| 18 +\| 5000→10 .*\| clamped: workers 5000→10", output, re.MULTILINE)
    assert re.search(r"^\| 004 .*\| refused: .*large", output, re.MULTILINE)


def test_the_end_of_the_cycle_is_proven(long_runs: LongRuns) -> None:
    said = re.search(rf"^(\S+) (\S+) - INFO - {PROOF}$", long_runs.demo["plain"][1].output, re.MULTILINE)
    assert said
    assert int(said[2][-2:]) % CYCLE in (0, 1)


def test_json_log_lines_can_be_parsed_and_ignored_hangups_stop_nothing(long_runs: LongRuns) -> None:
    events = [json.loads(line) for line in long_runs.demo["with nohup"][1].output.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, events))
    tables = [event["tasks"] for event in events if "tasks" in event]
    assert [row["task"] for row in tables[0]] == ["001", "002", "003", "004"]
    assert re.search(PROOF, "\n".join(event["message"] for event in events))


def test_only_root_hears_that_root_is_not_needed(long_runs: LongRuns) -> None:
    told = {way: "running as root" in ending.output for way, (_, ending) in long_runs.demo.items()}
    is_root = os.geteuid() == 0
    assert told["plain"] == is_root
    assert told["unprivileged"] == (is_root and not python_of_nobody())
