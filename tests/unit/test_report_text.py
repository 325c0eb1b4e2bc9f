"""The report for a terminal: 80 columns, whatever the files hold."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.cells import cell_len

from standins.report_files import end_of, write_folder
from standins.samples import NOON, a_sample
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.model import Outcome, Sample
from testwarden.report.facts import Facts
from testwarden.report.reading import Reading
from testwarden.report.text import bar, grid, text
from testwarden.report_command import read

NOW = datetime(2026, 10, 27, 18, tzinfo=timezone.utc)


def facts_of(*samples: Sample, agent: str = "host", since: datetime | None = None) -> Facts:
    writer, reading = LineWriter(Identity(agent)), Reading(NOW, since)
    lines = (writer.line(sample, sample.ended_ns)[0].removesuffix(b"\n") for sample in samples)
    reading.read(Path("metrics.csv"), enumerate(lines, start=1))
    return Facts(reading.samples, reading.states, reading.account, 1, (), NOW, since)


def test_a_week_of_two_agents_fits_80_columns_and_says_everything(tmp_path: Path) -> None:
    folders = (
        write_folder(tmp_path / "a", "attic", hours=168, samples=2000),
        write_folder(tmp_path / "b", "very long name of an agent, 測試機器 🜚", hours=30, samples=900),
    )
    said = text(read(folders, end_of(168)))
    assert max(cell_len(line) for line in said.splitlines()) <= 80
    for part in ("Agents", "Tests", "download medium", "Outcomes by the hour, UTC", "Kinds of errors", "network error",
                 "Throughput", "quote tiny", " ANT", "k6, HTTP requests", "Budgets", "240     240   100 %",
                 "Kill switch not clear", "active       2026-11-16 18:00  2026-11-16 23:00", "All times are UTC"):  # fmt: skip
        assert part in said, part


def test_one_sample_is_enough() -> None:
    said = text(facts_of(a_sample()))
    assert "1 attempt, 100 % of them ok, 7 B moved." in said
    assert "27 Oct ············█···········" in said
    assert "Kinds of errors" not in said


def test_only_failures_are_shown_as_such() -> None:
    said = text(facts_of(*(a_sample(ended_ns=NOON + n, outcome=Outcome.DATA_LOSS, reason="gone") for n in range(3))))
    assert "3 attempts, 0 % of them ok" in said
    assert "data loss               3  100 %  ████████████████████" in said
    assert "············×···········" in said
    assert "3         download  data loss  gone" in said


def test_without_samples_it_says_why() -> None:
    assert "The files hold no samples" in text(facts_of())
    late = facts_of(a_sample(), since=NOW - timedelta(minutes=5))
    assert "the newest is of 2026-10-27 12:00 UTC" in text(late).replace("\n", " ")


def test_what_was_left_out_is_said() -> None:
    facts = facts_of(a_sample(), a_sample(), a_sample(ended_ns=17))
    facts.account.bad = 1
    said = text(facts).replace("\n", " ")
    assert "1 sample was in the files twice" in said
    assert "1 sample was left out, with a time before 2020 or after now" in said
    assert "1 line could not be understood" in said


def test_nothing_from_a_file_reaches_the_terminal_as_a_command() -> None:
    evil = facts_of(a_sample(outcome=Outcome.CLIENT_ERROR, reason="a\x1b]0;owned\x07b"), agent="x\x1b[31m")
    assert "\x1b" not in text(evil)


@pytest.mark.parametrize(("share", "drawn"), [(0, ""), (1, "████"), (2, "████"), (0.5, "██"), (0.28, "█▏")])
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share, 4) == f"{drawn:4}"


def test_the_widest_words_are_cut_first() -> None:
    lines = grid(("name", "what", "number"), [("x" * 60, "y" * 30, "12 MB")], texts=2)
    assert [len(line) for line in lines] == [80, 80]
    assert lines[1].endswith("  12 MB")
    assert "…  yyy" in lines[1]
