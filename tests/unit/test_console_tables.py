from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.console.tables import HELP, TaskRow, judged_row, refused_row, status_table, task_table
from testwarden.console.text import cut, safe_line, safe_lines
from testwarden.model import FileSize, Finding, K6Options, Level, ScriptFile, Task, TestType
from testwarden.safety.limits import Limits
from testwarden.safety.task_verdict import judge_task

TINY = Task("001", "Download a tiny file once an hour", 5, 0, TestType.DOWNLOAD, workers=5, repeat=True)
WILD = Task("002", "A typo", 6, 0, TestType.QUOTE, FileSize.SMALL, workers=5000, offset=90)
NO_SUCH = Task("003", "Too early", 7, 0, TestType.K6)
TORN = Finding("00-control.xml", 31, Level.ERROR, "TimePeriod 70 is not one of 5–54", "004")


def rows() -> list[TaskRow]:
    return [*(judged_row(judge_task(task, Limits())) for task in (TINY, WILD, NO_SUCH)), refused_row(TORN)]


def cells(table: str, ref: str) -> list[str]:
    line = next(line for line in table.split("\n") if line.startswith(f"| {ref} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_task_table_is_a_grid_with_every_column() -> None:
    table = task_table(rows())
    assert cells(table, "task") == list(vars(TaskRow("")))
    assert cells(table, "001") == ["001", "5", "5", "yes", "no", "download", "tiny", "allowed", TINY.description]
    assert table.startswith("+--")


def test_what_was_clamped_shows_before_and_after() -> None:
    ref, _, workers, _, offset, _, _, verdict, _ = cells(task_table(rows()), "002")
    assert (ref, workers, offset) == ("002", "5000→10", "90→5 min")
    assert verdict == "clamped: workers 5000→10, offset 90→5"


def test_a_load_shows_instead_of_a_size() -> None:
    load = K6Options(ScriptFile("k6/a.js", "0" * 64), vus=5000, duration=60.0, rate=5, targets=("a.example.org",))
    wild = Task("005", "load", 8, 0, TestType.K6, k6=load)
    silent = replace(wild, ref="006", k6=replace(load, vus=None, duration=None, rate=None))
    limits = Limits(targets=("a.example.org",))
    table = task_table([judged_row(judge_task(task, limits)) for task in (wild, silent)])
    assert cells(table, "005")[6] == "5000→20 VUs, 60 s, 5/s"
    assert cells(table, "006")[6] == "by its script"


def test_what_is_refused_shows_why_and_where() -> None:
    table = task_table(rows())
    assert cells(table, "003")[7].startswith("refused: ")
    assert cells(table, "004")[7] == "refused: TimePeriod 70 is not one of 5–54 (00-control.xml:31)"


def test_a_description_is_cut_to_a_hundred_characters() -> None:
    (description,) = cells(task_table([TaskRow("001", description="x" * 101)]), "001")[8:]
    assert description == "x" * 99 + "…"
    assert cells(task_table([TaskRow("001", description="x" * 100)]), "001")[8] == "x" * 100


@pytest.mark.parametrize("width", [60, 80, 100, 125, 140, 200])
def test_a_narrow_terminal_gets_all_of_it_in_lines_that_fit(width: int) -> None:
    table = task_table(rows(), width)
    assert max(len(line) for line in table.split("\n")) <= width
    words = " ".join(table.replace("|", " ").split())
    for part in ("001", "5000→10", "90→5 min", "allowed", "quote", "hour", "TimePeriod 70", "A typo"):
        assert part in words


@given(st.text(max_size=60), st.text(max_size=60), st.integers(min_value=1, max_value=250))
def test_no_text_from_elsewhere_breaks_a_table(description: str, reason: str, width: int) -> None:
    table = task_table([TaskRow("001", verdict=reason, description=description), TaskRow("002")], width)
    assert {char for char in table if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}} <= {"\n"}
    assert all(line[:1] in "+|" for line in table.split("\n"))


def test_no_tasks_is_said_in_words() -> None:
    assert task_table([], 80) == "no tasks"


STATUS: dict[str, Any] = {
    "agent": "home",
    "version": "0.1.0",
    "source": "github.com/o/n@main",
    "commit": "abc123",
    "client": "ant-2",
    "phase": "window",
    "paused": True,
    "kill_switch": {"state": "active", "reason": "issue 7 by mallory\x1b[2J"},
    "clock_skew": -1.25,
    "budgets": {
        "attempts": {"download": {"used": 3, "limit": 360}},
        "bytes": {"used": 1_500_000, "limit": 200 * 10**9},
        "spent": {"used": "0.000000000000000001", "limit": "0.5"},
    },
    "running": [
        {"task": "001", "type": "download", "filesize": "tiny", "workers": 2, "since": "2026-11-21T12:05:00+00:00"},
        {"task": "own-1", "type": "k6", "workers": 1, "k6": {"vus": 2, "requests": 74, "rps": 19.03}},
    ],
    "recent": [{"ended": "12:05:07", "task": "001", "worker": 1, "outcome": "ok", "exec_time": 1.23456}],
    "next": [{"name": "fetch", "at": "13:00:20"}],
}


def test_the_status_shows_phase_switch_budgets_workers_outcomes_and_what_comes_next() -> None:
    text = status_table(STATUS)
    lines = [" ".join(line.replace("|", " ").split()) for line in text.split("\n")]
    for line in (
        "agent home · 0.1.0",
        "state paused by the operator",
        "phase window",
        "kill switch active · issue 7 by mallory\\x1b[2J",
        "tasks from github.com/o/n@main · abc123",
        "clock -1.2 s against the source",
        "download attempts 3 360 357",
        "MB moved 1.5 200,000.0 199,998.5",
        "ANT spent 0.000000000000000001 0.5 0.499999999999999999",
        "001 download tiny 2 12:05:00",
        "own-1 k6 1 2 VUs, 74 requests, 19.0/s",
        "12:05:07 001 1 ok 1.235 s",
        "13:00:20 fetch",
    ):
        assert line in lines


def test_the_status_of_an_agent_that_is_gone_or_knows_little_says_so() -> None:
    assert "not running" in status_table({**STATUS, "alive": False})
    assert status_table({}) == "state        running"
    assert "kill switch  clear\n" in status_table({"kill_switch": {"state": "clear", "reason": "it is clear"}}) + "\n"
    assert "the ledger is locked" in status_table({"budgets": {"problem": "the ledger is locked"}})
    no_cap = status_table({"budgets": {"spent": {"used": "0", "limit": None}}})
    assert "none set" in no_cap


def test_the_status_fits_into_the_terminal() -> None:
    assert max(len(line) for line in status_table(STATUS, 40).split("\n")) == 40


def test_the_help_names_every_key() -> None:
    assert [line[:2] for line in HELP.splitlines()] == ["q ", "f ", "r ", "s ", "p ", "? "]


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert safe_lines("a\tb\r\nc\rd\x1b]0;x\x07\x9b2J\u202ee\x7f") == "a\tb\nc\\rd\\x1b]0;x\\x07\\x9b2J\\u202ee\\x7f"
    assert safe_lines("\ud800") == "\\ud800"
    assert safe_lines("grün 5000→10 漢") == "grün 5000→10 漢"
    assert safe_line(" a\n\tb\x1b") == "a b\\x1b"


def test_a_cut_text_is_never_longer_than_asked() -> None:
    assert [cut("abcd", most) for most in (4, 3, 1)] == ["abcd", "ab…", "…"]
