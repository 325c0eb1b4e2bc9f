"""`testwarden metrics check`: what is right passes, each thing that is wrong is found, with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from standins.measured import measured
from standins.samples import MINUTE, NOON, a_sample
from testwarden.metrics.checking import gaps
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.metrics_command import OK, WRONG, run_check


def a_line(stamp: int = NOON + 5 * MINUTE, agent: str = "one", **changes: object) -> bytes:
    return LineWriter(Identity(agent)).line(a_sample(**changes), stamp)[0]


def check(folder: Path, content: bytes, name: str = "metrics.csv") -> tuple[int, list[str]]:
    (folder / name).write_bytes(content)
    said: list[str] = []
    return run_check([folder], said.append), [text.replace(f"{folder}/", "") for text in said]


def test_what_the_agent_writes_has_no_errors(tmp_path: Path) -> None:
    files = measured(tmp_path / "scratch")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "metrics-2026-10-27.csv.gz").write_bytes(gzip.compress(files.metrics))
    (folder / "summary.csv").write_bytes(files.summary)
    (folder / "agent.csv").write_bytes(files.agent)
    said: list[str] = []
    code = run_check([folder], said.append)
    assert [text for text in said if ": error: " in text or "not documented" in text] == []
    assert code == OK
    assert said[-1].startswith(f"{len(files.all.splitlines()):,} lines: 0 errors, 0 of them duplicates; ")


WRONGS = {
    "rubbish": (b"rubbish\n", "not a line of ours: 'rubbish'"),
    "not text": (b"\xff\xfe\n", "not UTF-8"),
    "half a line": (a_line()[:200] + b"\n", "not a line of ours"),
    "a tag too few": (a_line().replace(b",provision=xx", b""), "tag provision is missing"),
    "a tag too many": (a_line().replace(b" ok=", b",more=xx ok="), "tag more is none of ours"),
    "a field too few": (a_line().replace(b",md5_valid=true", b""), "field md5_valid is missing"),
    "another type": (
        a_line().replace(b",attempt=1i", b",attempt=1.0"),
        "field attempt is a float and must be an integer",
    ),
    "a number that no database holds": (
        a_line().replace(b",bytes=7i", b",bytes=9223372036854775808i"),
        "field bytes is too large",
    ),
    "a time that no database holds": (a_line()[:-1] + b"0\n", "the timestamp is too large"),
    "another type, seldom": (
        a_line().replace(b",bytes=7i", b',exit_code="3",bytes=7i'),
        "field exit_code is a string and must be an integer",
    ),
}


@pytest.mark.parametrize("what", WRONGS)
def test_each_wrong_line_is_named_with_its_file_and_line(tmp_path: Path, what: str) -> None:
    line, message = WRONGS[what]
    good = b"".join(a_line(NOON + (6 + number) * MINUTE) for number in range(3))
    code, said = check(tmp_path, a_line(NOON + 5 * MINUTE + 1) + line + good)
    assert code == WRONG
    assert [text for text in said[:-1] if text.startswith(f"metrics.csv:2: error: {message}")] == said[:-1]
    assert len(said) == 2
    assert said[-1].startswith("5 lines: 1 errors, 0 of them duplicates")


def test_an_undocumented_field_is_a_warning_until_its_type_changes(tmp_path: Path) -> None:
    lines = [
        a_line(NOON + n * MINUTE).replace(b",bytes=", b",new=%b,bytes=" % value)
        for n, value in ((5, b"1i"), (6, b"2i"))
    ]
    code, said = check(tmp_path, b"".join(lines))
    assert code == OK
    assert said[0] == "metrics.csv:1: warning: field new of testwarden is not documented"
    assert len(said) == 2

    lines.append(a_line(NOON + 7 * MINUTE).replace(b",bytes=", b",new=true,bytes="))
    code, said = check(tmp_path, b"".join(lines))
    assert code == WRONG
    assert said[1] == "metrics.csv:3: error: field new is a boolean; in an earlier line it was an integer"


def test_the_same_point_twice_is_found_across_files(tmp_path: Path) -> None:
    (tmp_path / "metrics-2026-10-26.csv.gz").write_bytes(gzip.compress(a_line(reason="first")))
    code, said = check(tmp_path, a_line(agent="two") + a_line(NOON + 6 * MINUTE) + a_line(reason="again"))
    assert code == WRONG
    assert said[0] == "metrics.csv:3: error: an earlier line has the same tags and time: one point only"
    assert said[-1].startswith("4 lines: 1 errors, 1 of them duplicates")


def test_a_gap_is_a_warning_with_its_minutes(tmp_path: Path) -> None:
    content = b"".join(a_line(NOON + minute * MINUTE) for minute in (5, 6, 7, 20, 21, 40))
    code, said = check(tmp_path, content)
    assert code == OK
    assert said == [
        "metrics.csv:1: warning: agent 'one' has no sample from 2026-10-27 12:08 to 12:19 UTC, in the hour of this line",
        "metrics.csv:1: warning: agent 'one' has no sample from 2026-10-27 12:22 to 12:39 UTC, in the hour of this line",
        "6 lines: 0 errors, 0 of them duplicates; 2 gaps, 30 minutes in all",
    ]


def test_a_torn_archive_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "metrics-2026-10-26.csv.gz").write_bytes(gzip.compress(a_line())[:-9])
    code, said = check(tmp_path, a_line(NOON))
    assert code == WRONG
    assert said[0].startswith("metrics-2026-10-26.csv.gz:0: error: the archive is torn")


@pytest.mark.parametrize(
    ("minutes", "found"),
    [
        ([], []),
        ([30], []),
        ([5, 54], [(6, 53)]),
        ([10, 11, 12], []),
        ([0, 7], [(5, 6)]),
        ([50, 58], [(51, 54)]),
        ([10, 12, 14, 15], [(11, 11), (13, 13)]),
    ],
)
def test_gaps_lie_in_the_window_between_the_first_and_the_last_sample(
    minutes: list[int], found: list[tuple[int, int]]
) -> None:
    assert gaps(sum(1 << minute for minute in minutes)) == found
