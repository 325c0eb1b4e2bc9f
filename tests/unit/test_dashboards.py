"""The dashboards as files: as their script writes them, and whole."""

from __future__ import annotations

import importlib.util
from itertools import combinations
from typing import Any

import pytest

from standins.dashboards import DASHBOARDS, FOLDER, panel_queries, read


def test_the_committed_dashboards_are_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_dashboards", FOLDER / "make_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert sorted(script.files()) == sorted(DASHBOARDS)
    assert sorted(path.name for path in (FOLDER / "dashboards").iterdir()) == sorted(DASHBOARDS)
    for name, text in script.files().items():
        assert (FOLDER / "dashboards" / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = read(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] >= 0 and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_shows_and_asks_the_provisioned_source(name: str) -> None:
    board = read(name)
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} == {
            "testwarden"
        }
        assert all(target["rawQuery"] for target in panel["targets"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_four_variables_are_there_and_used(name: str) -> None:
    board = read(name)
    variables: dict[str, Any] = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["agent", "country", "type", "size"]
    used = "".join(query.text for query in panel_queries(board))
    assert all(f"${{{variable}:regex}}" in used for variable in variables)
    assert variables["agent"].get("multi", False) is (name == "overview.json")


def test_every_panel_keeps_to_the_time_and_the_agents_that_were_chosen() -> None:
    for name in DASHBOARDS:
        for query in panel_queries(read(name)):
            assert "$timeFilter" in query.text, query.title
            assert '"agent" =~ /^${agent:regex}$/' in query.text, query.title
