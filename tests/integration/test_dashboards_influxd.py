"""Every query of the dashboards against the real InfluxDB, with what agents wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from standins.dashboards import DASHBOARDS, Query, panel_queries, read, variable_queries
from standins.influxd import Influxd, running_influxd
from standins.measured import MINUTES, Measured, measured
from standins.samples import MINUTE, NOON
from testwarden.metrics.line_protocol import parse
from testwarden.model import Outcome

ALL = {"agent": None, "country": None, "type": None, "size": None}
END = NOON + (MINUTES + 1) * MINUTE


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measured(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory, written: Measured) -> Iterator[Influxd]:
    with running_influxd(tmp_path_factory.mktemp("influxd")) as server:
        server.empty()
        assert server.write(written.all) == ""
        yield server


def rows(influxd: Influxd, query: Query, **chosen: list[str]) -> list[dict[str, Any]]:
    """What a panel gets; a row in which nothing is known is none."""
    found = influxd.query(query.filled({**ALL, **chosen}, NOON, END))
    tags = set(re.findall(r'"(\w+)"', query.text.partition("GROUP BY")[2]))
    return [
        row for row in found if any(value is not None for name, value in row.items() if name not in {"time", *tags})
    ]


def panel(name: str, title: str) -> Query:
    return next(query for query in panel_queries(read(name)) if query.title == title)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        pytest.param(name, query, id=f"{name}: {query.title}")
        for name in DASHBOARDS
        for query in panel_queries(read(name))
    ],
)
def test_every_panel_gets_rows(influxd: Influxd, name: str, query: Query) -> None:
    chosen = {"agent": ["cellar rack 7"]} if name == "agent.json" else {}
    found = rows(influxd, query, **chosen)
    assert found
    # A column that is empty in every row is a field of another name.
    columns = {column for row in found for column, value in row.items() if value is not None}
    assert columns == set(found[0])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_variables_list_what_was_measured(influxd: Influxd, name: str) -> None:
    listed = {
        query.title: {row["value"] for row in influxd.query(query.text)} for query in variable_queries(read(name))
    }
    assert listed == {
        "agent": {"attic", "barn", "cellar rack 7"},
        "country": {"de", "nl"},
        "type": {"download", "quote", "upload", "k6"},
        "size": {"tiny", "small", "medium", "xx"},
    }


def test_the_numbers_are_those_of_the_lines(influxd: Influxd, written: Measured) -> None:
    lines = [parse(line.decode()) for line in written.metrics.splitlines()]
    (tests,) = rows(influxd, panel("overview.json", "Tests"))
    assert tests["tests"] == len(lines)
    (success,) = rows(influxd, panel("overview.json", "Success rate"))
    assert success["ok"] == pytest.approx(100 * sum(line.fields["ok"] is True for line in lines) / len(lines))
    (agents,) = rows(influxd, panel("overview.json", "Agents seen"))
    assert agents["agents"] == 3
    errors = rows(influxd, panel("overview.json", "Errors per hour, by kind"))
    for kind in set(Outcome) - {Outcome.OK, Outcome.MD5_INVALID}:
        counted = sum(line.fields.get(kind.value) is True for line in lines)
        assert sum(row[kind.value] for row in errors) == counted > 0


def test_variables_choose(influxd: Influxd, written: Measured) -> None:
    lines = [parse(line.decode()) for line in written.metrics.splitlines()]
    wanted = [
        line
        for line in lines
        if line.tags["agent"] in ("attic", "cellar rack 7")
        and line.tags["type"] == "quote"
        and line.tags["filesize"] == "tiny"
    ]
    query = panel("overview.json", "Tests")
    (found,) = rows(influxd, query, agent=["attic", "cellar rack 7"], type=["quote"], size=["tiny"], country=["de"])
    assert found["tests"] == len(wanted) > 0
    assert rows(influxd, query, agent=["a.tic"]) == []


def test_kill_switch_periods_and_reasons_are_shown(influxd: Influxd) -> None:
    periods = rows(influxd, panel("agent.json", "Kill-switch periods"), agent=["barn"])
    assert [row["state"] for row in periods].count(1) == 20
    assert [row["state"] for row in periods].count(2) == 5
    assert {row["reason"] for row in periods if row["state"] == 1} == {
        "the kill switch is active: issue 7 “kill-switch: stop”"
    }
    refusals = rows(influxd, panel("agent.json", "Reasons for refusals"), agent=["barn"])
    assert refusals[0]["reasons"].endswith("2 × outside the window, which opens at 14:05:00 UTC")
