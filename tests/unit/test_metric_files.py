"""The metrics files of a folder and their lines: order, what belongs to them, and what is torn."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from testwarden.errors import MetricsError
from testwarden.metrics.files import KINDS, FileVanished, lines, metric_files, opened, unfolded, unpacked_size


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(b"x\n")
    return paths


def test_files_come_oldest_first_and_the_journal_last(tmp_path: Path) -> None:
    oldest_first = (
        "metrics-2026-11-19.csv.gz",
        "metrics-2026-11-19-2.csv.gz",
        "metrics-2026-11-19-10.csv.gz",
        "metrics-2026-11-20.csv",
        "metrics.csv",
        "journal.batch",
        "journal.lp",
    )
    touch(tmp_path, *reversed(oldest_first), "summary.csv", "agent.csv", "notes.txt", "metrics-2026-11-20.csv.gz.tmp")
    assert [path.name for path in metric_files([tmp_path])] == list(oldest_first)


def test_each_kind_has_its_files(tmp_path: Path) -> None:
    touch(tmp_path, "metrics.csv", "summary.csv", "agent.csv", "summary-2026-11-19.csv.gz", "agent-2026-11-19.csv.gz")
    found = {kind: [path.name for path in metric_files([tmp_path], kind)] for kind in KINDS}
    assert found == {
        "metrics": ["metrics.csv"],
        "summary": ["summary-2026-11-19.csv.gz", "summary.csv"],
        "agent": ["agent-2026-11-19.csv.gz", "agent.csv"],
    }


def test_a_batch_that_is_being_folded_is_apart_because_it_can_be_in_metrics_csv_already(tmp_path: Path) -> None:
    touch(tmp_path, "metrics.csv", "journal-10-20.folding")
    assert metric_files([tmp_path]) == [tmp_path / "metrics.csv"]
    assert unfolded(tmp_path) == [tmp_path / "journal-10-20.folding"]


def test_an_archive_that_was_just_packed_comes_once(tmp_path: Path) -> None:
    touch(tmp_path, "metrics-2026-11-19.csv", "metrics-2026-11-19.csv.gz")
    assert metric_files([tmp_path]) == [tmp_path / "metrics-2026-11-19.csv.gz"]


def test_a_named_file_counts_by_its_name_and_comes_once(tmp_path: Path) -> None:
    odd, summary, current = touch(tmp_path, "from-a-friend.lp", "summary.csv", "metrics.csv")
    assert set(metric_files([odd, summary, current, tmp_path])) == {odd, current}
    assert metric_files([odd, summary], "summary") == [summary]


def test_a_named_archive_that_was_packed_meanwhile_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "metrics-2026-11-19.csv.gz")
    assert metric_files([tmp_path / "metrics-2026-11-19.csv"]) == [tmp_path / "metrics-2026-11-19.csv.gz"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match=r"nothing\.csv: there is no such file"):
        metric_files([tmp_path / "nothing.csv"])
    with pytest.raises(FileVanished), opened(tmp_path / "metrics.csv"):
        pass


def test_lines_are_numbered_whether_the_file_is_packed_or_not(tmp_path: Path) -> None:
    content = b"one\n\nthree \xff\n"
    plain, packed = tmp_path / "metrics.csv", tmp_path / "packed"  # Packed is what is packed, not what is called so.
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    expected = [(1, b"one"), (2, b""), (3, b"three \xff")]
    assert list(lines(plain)) == list(lines(packed)) == expected
    assert unpacked_size(plain) == unpacked_size(packed) == len(content)


def test_many_lines_over_many_blocks_stay_whole(tmp_path: Path) -> None:
    content = [b"%d" % number * (number % 97) for number in range(20_000)]
    path = tmp_path / "metrics-2026-11-19.csv.gz"
    path.write_bytes(gzip.compress(b"\n".join(content) + b"\n"))
    assert [line for _, line in lines(path)] == content


@pytest.mark.parametrize("name", ["metrics.csv", "summary.csv", "agent.csv", "journal.lp", "journal.batch"])
def test_an_unfinished_last_line_of_a_growing_file_is_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"whole\nhalf")
    assert list(lines(tmp_path / name)) == [(1, b"whole")]


def test_a_last_line_without_its_end_counts_where_nobody_is_writing(tmp_path: Path) -> None:
    (tmp_path / "metrics-2026-11-19.csv").write_bytes(b"whole\nlast")
    assert list(lines(tmp_path / "metrics-2026-11-19.csv")) == [(1, b"whole"), (2, b"last")]


def test_of_a_torn_archive_what_can_be_read_is_given_before_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics-2026-11-19.csv.gz"
    whole = gzip.compress(b"".join(b"line %d\n" % (number * 7919) for number in range(100_000)))
    path.write_bytes(whole[: len(whole) // 2])
    given: list[tuple[int, bytes]] = []
    with pytest.raises(MetricsError, match=r"metrics-2026-11-19\.csv\.gz: the archive is torn"):
        given.extend(lines(path))
    assert given
    assert given == [(number + 1, b"line %d" % (number * 7919)) for number in range(len(given))]


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "metrics-2026-11-19.csv.gz"
    content = bytearray(gzip.compress(b"line\n" * 1000))
    content[-6] ^= 1  # The check sum.
    path.write_bytes(content)
    with pytest.raises(MetricsError, match="torn"):
        list(lines(path))


def test_what_is_no_file_of_lines_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    with pytest.raises(MetricsError, match="this is no metrics file"):
        list(lines(path))
