from __future__ import annotations

import gzip
import logging
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from standins.breaking_disk import BreakingDisk, contents
from standins.samples import MINUTE, NOON, SECOND, a_sample
from testwarden.metrics.disk import Disk
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.metrics.rotation import Archive, Archives, Rules, archive_of, is_due, next_number, to_drop

AT_NOON = datetime(2026, 10, 27, 12, tzinfo=timezone.utc)
DAY = date(2026, 10, 27)
RULES = Rules(most_bytes=100, keep_days=30, keep_bytes=1000)


def packed(days: int, number: int = 1, size: int = 10, kind: str = "metrics") -> Archive:
    return Archive(DAY + timedelta(days=days), number, kind, packed=True, size=size)


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("metrics-2026-11-20.csv.gz", Archive(date(2026, 11, 20), 1, "metrics", packed=True)),
        ("summary-2026-11-20-2.csv.gz", Archive(date(2026, 11, 20), 2, "summary", packed=True)),
        ("metrics-2026-11-20-12.csv", Archive(date(2026, 11, 20), 12, "metrics", packed=False)),
        ("metrics.csv", None),
        ("summary.csv", None),
        ("metrics-2026-11-31.csv.gz", None),
        ("metrics-2026-11-20.csv.gz.tmp", None),
        ("notes-2026-11-20.csv.gz", None),
    ],
)
def test_a_name_says_which_archive_it_is_and_the_other_way_round(name: str, archive: Archive | None) -> None:
    assert archive_of(name, 0) == archive
    assert archive is None or archive.name == name


@pytest.mark.parametrize(
    ("size", "began", "batch", "due"),
    [
        (99, DAY, DAY, False),
        (100, DAY, DAY, True),
        (1, DAY, DAY + timedelta(days=1), True),
        (1, DAY, DAY - timedelta(days=1), True),
        (0, None, DAY, False),
    ],
)
def test_files_rotate_at_a_size_and_when_the_day_changes(size: int, began: date | None, batch: date, due: bool) -> None:
    assert is_due(size, began, batch, RULES) is due


def test_numbers_count_up_within_a_day_and_never_down_again() -> None:
    assert next_number([], DAY) == 1
    assert next_number([packed(0), packed(0, 5), packed(1, 9)], DAY) == 6


def test_what_is_older_than_the_days_is_dropped() -> None:
    archives = [packed(-1), packed(-31), packed(-30), packed(-31, kind="summary"), packed(-300)]
    dropped = [archive for archive, reason in to_drop(archives, 0, DAY, RULES) if "30 days" in reason]
    assert dropped == [packed(-300), packed(-31), packed(-31, kind="summary")]


def test_the_oldest_go_until_all_together_fit() -> None:
    archives = [packed(-1, 2, 400), packed(-1, 10, 300), packed(-2, 1, 300), packed(-2, 1, 50, "summary")]
    assert to_drop(archives, 0, DAY, Rules(keep_bytes=1050)) == []
    dropped = to_drop(archives, 1, DAY, Rules(keep_bytes=1050))
    assert dropped == [(packed(-2, 1, 300), "more than 1050 bytes in all")]
    assert len(to_drop(archives, 2000, DAY, Rules(keep_bytes=1050))) == 4


def recorder_in(folder: Path, rules: Rules | None = None, disk: Disk | None = None) -> Recorder:
    return Recorder(folder, Identity("host"), rules, disk or BreakingDisk())


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def test_the_files_of_a_day_are_put_away_before_the_first_batch_of_the_next(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.record(a_sample())
    recorder.fold(AT_NOON)
    first = contents(tmp_path)
    recorder.fold(AT_NOON + timedelta(days=1))
    assert contents(tmp_path) == first
    recorder.record(a_sample(ended_ns=NOON + 1440 * MINUTE))
    recorder.fold(AT_NOON + timedelta(days=1))
    names = {"metrics-2026-10-27.csv.gz", "summary-2026-10-27.csv.gz", "metrics.csv", "summary.csv"}
    assert contents(tmp_path).keys() == names
    for name in ("metrics", "summary"):
        assert unpacked(tmp_path / f"{name}-2026-10-27.csv.gz") == first[f"{name}.csv"]
        assert (tmp_path / f"{name}-2026-10-27.csv.gz").stat().st_mode & 0o777 == 0o600


def test_files_that_are_full_are_put_away_with_a_number(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path, Rules(most_bytes=500))
    for minute in range(6):
        recorder.record(a_sample(ended_ns=NOON + minute * MINUTE))
        recorder.fold(AT_NOON)
    lines = [(tmp_path / "metrics.csv").read_bytes().count(b"\n")]
    for name in ("metrics-2026-10-27.csv.gz", "metrics-2026-10-27-2.csv.gz"):
        lines.append(unpacked(tmp_path / name).count(b"\n"))
    assert lines == [2, 2, 2]


def test_a_minute_is_never_divided_between_two_files(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path, Rules(most_bytes=1))
    for second in (50, 59, 61, 70, 130):  # 61 and 70 come with a late sample of the minute before each.
        recorder.record(a_sample(ended_ns=NOON + second * SECOND))
        if second in (61, 70):
            recorder.record(a_sample(ended_ns=NOON + (second - 60) * SECOND))
        recorder.fold(AT_NOON)
    assert len(contents(tmp_path)) == 4
    assert unpacked(tmp_path / "metrics-2026-10-27.csv.gz").count(b"\n") == 6
    assert (tmp_path / "metrics.csv").read_bytes().count(b"\n") == 1


def test_one_sample_of_a_wrong_clock_does_not_stop_the_rotation(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path, Rules(most_bytes=1))
    for minute in (0, 1000, 1, 2):
        recorder.record(a_sample(ended_ns=NOON + minute * MINUTE))
        recorder.fold(AT_NOON)
    assert sum(name.startswith("metrics-") for name in contents(tmp_path)) == 3


def test_after_a_rotation_a_shared_minute_is_read_back_from_the_new_file(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path, Rules(most_bytes=1000))
    for second in (1, 2, 3, 61, 62):
        recorder.record(a_sample(ended_ns=NOON + second * SECOND))
        recorder.fold(AT_NOON)
    assert b"count=2i" in (tmp_path / "summary.csv").read_bytes()
    assert b"count=3i" in unpacked(tmp_path / "summary-2026-10-27.csv.gz")


def test_what_is_dropped_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = recorder_in(tmp_path, Rules(most_bytes=1, keep_bytes=1300))
    for minute in range(5):
        recorder.record(a_sample(ended_ns=NOON + minute * MINUTE))
        recorder.fold(AT_NOON)
    assert sum(len(data) for data in contents(tmp_path).values()) <= 1300
    dropped = [message for message in caplog.messages if message.startswith("dropped ")]
    assert recorder.counts.archives_dropped == len(dropped) > 0
    assert dropped[0].startswith("dropped metrics-2026-10-27.csv.gz (")
    assert all(record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize(
    "left",
    [
        {"metrics-2026-10-27.csv": b"m\n", "summary.csv": b"s\n"},
        {"metrics-2026-10-27.csv": b"m\n", "summary-2026-10-27.csv": b"s\n"},
        {"metrics-2026-10-27.csv": b"m\n", "summary-2026-10-27.csv": b"s\n", "metrics-2026-10-27.csv.gz.tmp": b"half"},
        {"metrics-2026-10-27.csv": b"m\n", "metrics-2026-10-27.csv.gz": b"?", "summary-2026-10-27.csv": b"s\n"},
    ],
)
def test_a_rotation_that_was_interrupted_is_finished_at_start(tmp_path: Path, left: dict[str, bytes]) -> None:
    for name, data in left.items():
        (tmp_path / name).write_bytes(data)
    recorder_in(tmp_path)
    assert contents(tmp_path).keys() == {"metrics-2026-10-27.csv.gz", "summary-2026-10-27.csv.gz"}
    assert unpacked(tmp_path / "metrics-2026-10-27.csv.gz") == b"m\n"
    assert unpacked(tmp_path / "summary-2026-10-27.csv.gz") == b"s\n"


def test_a_summary_that_belongs_to_the_current_samples_is_not_put_away_with_old_ones(tmp_path: Path) -> None:
    names = ["metrics-2026-10-27.csv", "metrics.csv", "summary.csv"]
    for name in names:
        (tmp_path / name).write_bytes(b"x\n")
    Archives(tmp_path, RULES, BreakingDisk()).finish()
    assert contents(tmp_path).keys() == {"metrics-2026-10-27.csv.gz", "metrics.csv", "summary.csv"}
