from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from standins.breaking_disk import BreakingDisk, Crash, contents
from standins.samples import MINUTE, NOON, SECOND, a_sample
from testwarden.errors import MetricsError
from testwarden.metrics.disk import Disk
from testwarden.metrics.line_protocol import Identity, Line, parse
from testwarden.metrics.recorder import Counts, Recorder
from testwarden.model import Outcome, Sample, TestType

AT_NOON = datetime(2026, 10, 27, 12, tzinfo=timezone.utc)
DAY = 24 * 60 * MINUTE


def at(seconds: float) -> Sample:
    return a_sample(ended_ns=NOON + round(seconds * SECOND), exec_time=seconds % 7)


def lines_in(path: Path) -> list[Line]:
    return [parse(line) for line in path.read_text().splitlines()]


def open_recorder(folder: Path, **options: object) -> Recorder:
    return Recorder(folder, Identity("host"), **options)  # type: ignore[arg-type]


def summary_counts(folder: Path) -> dict[int, int]:
    """The count of each minute after noon; a minute that stands there twice is an error."""
    lines = lines_in(folder / "summary.csv")
    counts = {(line.stamp - NOON) // MINUTE: int(line.fields["count"]) for line in lines}
    assert len(counts) == len(lines)
    return counts


def test_a_sample_is_in_the_journal_when_record_returns(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path / "metrics")
    for second in range(3):
        recorder.record(at(second))
        assert len(lines_in(tmp_path / "metrics" / "journal.lp")) == second + 1


def test_fold_moves_the_lines_into_the_files_and_counts_them(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    for second in (1, 2, 61):
        recorder.record(at(second))
    written = (tmp_path / "journal.lp").read_bytes()
    assert recorder.counts == Counts(recorded=3, folded=0, lost=0, archives_dropped=0)
    recorder.fold(AT_NOON)
    assert recorder.counts == Counts(recorded=3, folded=3, lost=0, archives_dropped=0)
    assert contents(tmp_path).keys() == {"metrics.csv", "summary.csv"}
    assert (tmp_path / "metrics.csv").read_bytes() == written
    assert summary_counts(tmp_path) == {0: 2, 1: 1}


def test_a_fold_of_nothing_changes_nothing(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    recorder.record(at(1))
    recorder.fold(AT_NOON)
    before = contents(tmp_path)
    recorder.fold(AT_NOON)
    recorder.close(AT_NOON)
    assert contents(tmp_path) == before


def test_a_naive_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="aware"):
        open_recorder(tmp_path).fold(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test


def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir(0o755)
    recorder = open_recorder(folder)
    recorder.record(at(1))
    recorder.fold(AT_NOON)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_folder_that_cannot_be_used_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MetricsError, match="file"):
        open_recorder(tmp_path / "file" / "metrics")


def test_no_two_samples_get_the_same_timestamp_also_after_a_restart_and_a_clock_set_back(tmp_path: Path) -> None:
    for _ in range(3):
        recorder = open_recorder(tmp_path)
        for second in (5, 5, 5, 4, 6, 5):
            recorder.record(at(second))
        recorder.fold(AT_NOON)
        recorder.record(at(5))  # Left in the journal by a killed agent.
    open_recorder(tmp_path).close(AT_NOON)
    stamps = [line.stamp for line in lines_in(tmp_path / "metrics.csv")]
    assert len(stamps) == 21
    assert sorted(set(stamps)) == sorted(stamps)
    assert max(stamps) < NOON + 7 * SECOND


def test_a_minute_that_folds_share_has_one_line_for_all_its_samples(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    for step, second in enumerate([1, 30, 59, 60, 61, 119, 118, 300]):
        recorder.record(at(second))
        recorder.fold(AT_NOON)
        if step % 3 == 2:
            recorder = open_recorder(tmp_path)
    assert summary_counts(tmp_path) == {0: 3, 1: 4, 5: 1}
    assert [line.stamp for line in lines_in(tmp_path / "summary.csv")] == [NOON, NOON + MINUTE, NOON + 5 * MINUTE]


def test_samples_of_minutes_long_folded_are_added_to_their_lines(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    for batch in ([1, 61], [601], [2, 602], [1000], [62, 3]):
        for second in batch:
            recorder.record(at(second))
        recorder.fold(AT_NOON)
    assert summary_counts(tmp_path) == {0: 3, 1: 2, 10: 2, 16: 1}


def test_however_it_is_folded_the_files_say_the_same(tmp_path: Path) -> None:
    chance = random.Random(4711)
    samples = [
        a_sample(
            ended_ns=NOON + chance.randrange(20 * MINUTE),
            type=chance.choice(list(TestType)),
            outcome=chance.choice(list(Outcome)),
            exec_time=chance.random() * 10,
            bytes=chance.randrange(10**6),
        )
        for _ in range(400)
    ]
    at_once, often = open_recorder(tmp_path / "once"), open_recorder(tmp_path / "often")
    for sample in samples:
        at_once.record(sample)
        often.record(sample)
        if chance.random() < 0.1:
            often.fold(AT_NOON)
        if chance.random() < 0.03:
            often = open_recorder(tmp_path / "often")
    at_once.close(AT_NOON)
    often.close(AT_NOON)
    assert contents(tmp_path / "often") == contents(tmp_path / "once")


# --- dying and failing at every single change of a file ---------------------------------------------------------------

STEPS: list[Sample | timedelta] = [
    *(at(1), at(2), at(61), timedelta(0)),
    *(at(62), at(63), timedelta(minutes=1)),
    *(at(121), timedelta(minutes=2)),
    a_sample(ended_ns=NOON + DAY),  # The next day: this fold puts the files away first.
    timedelta(days=1),
    *(a_sample(ended_ns=NOON + DAY + 1), timedelta(days=1)),
    *(a_sample(ended_ns=NOON + 31 * DAY), timedelta(days=31)),  # And this one drops the archive of the first day.
]


def go(recorder: Recorder, step: Sample | timedelta) -> None:
    if isinstance(step, Sample):
        recorder.record(step)
    else:
        recorder.fold(AT_NOON + step)


def undisturbed(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    disk = BreakingDisk()
    recorder = open_recorder(folder, disk=disk)
    for step in STEPS:
        go(recorder, step)
    return contents(folder), disk.changes


def test_the_undisturbed_run_does_all_there_is(tmp_path: Path) -> None:
    found, changes = undisturbed(tmp_path)
    day, last = "2026-10-28", "metrics.csv"
    assert found.keys() == {f"metrics-{day}.csv.gz", f"summary-{day}.csv.gz", last, "summary.csv"}
    assert {change.split()[0] for change in changes} == {
        *("make_folder", "open_append", "write", "sync", "sync_folder", "rename", "unlink", "truncate")
    }


def test_an_agent_that_dies_at_any_change_of_a_file_leaves_what_the_next_one_finishes(tmp_path: Path) -> None:
    expected, changes = undisturbed(tmp_path / "undisturbed")
    for number in range(len(changes)):
        folder = tmp_path / str(number)
        recorder = None
        disk, deaths = BreakingDisk(number), [number % 13]
        for step in STEPS:
            while True:
                try:
                    recorder = recorder or open_recorder(folder, disk=disk)
                    go(recorder, step)
                    break
                except Crash:  # A new agent does the step again; the first of them dies early, too.
                    recorder, disk = None, BreakingDisk(deaths.pop() if deaths else -1)
        assert contents(folder) == expected, f"died at change {number}: {changes[number]}"


def test_a_disk_that_fails_at_any_change_of_a_file_costs_nothing(tmp_path: Path) -> None:
    expected, changes = undisturbed(tmp_path / "undisturbed")
    for number in range(2, len(changes)):  # The first two are those without which there is no recorder.
        folder = tmp_path / str(number)
        disk = BreakingDisk(number, OSError(errno.EIO, "broken"))
        recorder = open_recorder(folder, disk=disk)
        for step in STEPS:
            go(recorder, step)
            if isinstance(step, timedelta):
                go(recorder, step)  # The next minute's: it goes on where the first could not.
        assert contents(folder) == expected, f"failed at change {number}: {disk.changes[number]}"
        assert recorder.counts.lost == 0


def test_while_the_disk_is_full_samples_wait_and_come_in_order_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = BreakingDisk()
    recorder = open_recorder(tmp_path, disk=disk)
    recorder.record(at(1))
    disk.full = True
    for second in (2, 3, 4):
        recorder.record(at(second))
    recorder.fold(AT_NOON)
    recorder.record(at(5))
    disk.full = False
    recorder.record(at(6))
    recorder.fold(AT_NOON)
    assert [line.stamp - NOON for line in lines_in(tmp_path / "metrics.csv")] == [n * SECOND for n in range(1, 7)]
    assert summary_counts(tmp_path) == {0: 6}
    assert recorder.counts == Counts(recorded=6, folded=6, lost=0, archives_dropped=0)
    assert "No space left" in caplog.text


class FullDisk(Disk):
    """While it is full, all goes well but writing."""

    full = False

    def write(self, descriptor: int, data: bytes) -> int:  # type: ignore[override]  # the real one is a bare function
        if not self.full:
            return os.write(descriptor, data)
        with open("/dev/full", "wb", buffering=0) as device:  # noqa: PTH123 - a device
            return device.write(data)


def test_samples_that_waited_over_a_fold_are_in_order_and_in_the_summary(tmp_path: Path) -> None:
    disk = FullDisk()
    recorder = open_recorder(tmp_path, disk=disk)
    recorder.record(at(1))
    disk.full = True
    for second in (2, 3):
        recorder.record(at(second))
    recorder.fold(AT_NOON)
    assert recorder.counts.folded == 0
    disk.full = False
    recorder.record(at(4))
    recorder.fold(AT_NOON)
    assert [line.stamp - NOON for line in lines_in(tmp_path / "metrics.csv")] == [n * SECOND for n in range(1, 5)]
    assert summary_counts(tmp_path) == {0: 4}


def test_beyond_a_bound_what_waits_is_dropped_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = BreakingDisk()
    recorder = open_recorder(tmp_path, disk=disk, most_waiting=10)
    disk.full = True
    for second in range(15):
        recorder.record(at(second))
    recorder.fold(AT_NOON)
    assert recorder.counts.lost == 5
    assert "5 samples are lost" in caplog.text
    disk.full = False
    recorder.close(AT_NOON)
    assert len(lines_in(tmp_path / "metrics.csv")) == 10


def test_what_still_waits_at_the_end_is_counted_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = BreakingDisk()
    recorder = open_recorder(tmp_path, disk=disk)
    disk.full = True
    recorder.record(at(1))
    recorder.close(AT_NOON)
    assert recorder.counts.lost == 1
    assert "1 samples are lost" in caplog.text


def test_a_sample_that_comes_after_the_end_is_found_by_the_next_start(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    recorder.record(at(1))
    recorder.close(AT_NOON)
    recorder.record(at(2))
    assert len(lines_in(tmp_path / "journal.lp")) == 1
    open_recorder(tmp_path).close(AT_NOON)
    assert summary_counts(tmp_path) == {0: 2}


def spoil_nothing(path: Path) -> None:
    pass


def tear(path: Path) -> None:
    with path.open("ab") as file:
        file.write(path.read_bytes()[:100])


def leave_nul_bytes(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 4096)


def leave_a_line_of_nuls(path: Path) -> None:
    path.write_bytes(b"\0" * 300 + b"\n" + path.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "lost"), [(spoil_nothing, 0), (tear, 1), (leave_nul_bytes, 1), (leave_a_line_of_nuls, 1)]
)
@pytest.mark.parametrize("name", ["journal.lp", "journal.batch"])
def test_a_spoiled_journal_costs_the_spoiled_line_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, spoil: Callable[[Path], None], lost: int
) -> None:
    recorder = open_recorder(tmp_path)
    for second in (1, 2):
        recorder.record(at(second))
    (tmp_path / "journal.lp").rename(tmp_path / name)
    spoil(tmp_path / name)
    recorder = open_recorder(tmp_path)
    recorder.record(at(3))
    recorder.close(AT_NOON)
    assert len(lines_in(tmp_path / "metrics.csv")) == 3
    assert summary_counts(tmp_path) == {0: 3}
    assert recorder.counts == Counts(recorded=1, folded=3, lost=lost, archives_dropped=0)
    assert ("were dropped" in caplog.text or "was dropped" in caplog.text) == bool(lost)


@pytest.mark.parametrize("name", ["metrics.csv", "summary.csv"])
def test_a_torn_end_of_a_file_is_repaired_at_start(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    recorder = open_recorder(tmp_path)
    recorder.record(at(1))
    recorder.close(AT_NOON)
    before = contents(tmp_path)
    tear(tmp_path / name)
    recorder = open_recorder(tmp_path)
    assert contents(tmp_path) == before
    assert recorder.counts.lost == (name == "metrics.csv")
    assert f"{name} ended in a torn line" in caplog.text


def test_a_journal_that_somebody_deletes_is_counted_and_the_agent_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    recorder = open_recorder(folder)
    recorder.record(at(1))
    for path in [*folder.iterdir(), folder]:
        path.rmdir() if path.is_dir() else path.unlink()
    recorder.fold(AT_NOON)
    recorder.record(at(2))
    recorder.fold(AT_NOON)
    assert recorder.counts == Counts(recorded=2, folded=1, lost=1, archives_dropped=0)


@pytest.mark.parametrize("change", [{"bytes": -1}, {"ended_ns": 2**70}, {"ended_ns": -1}, {"exec_time": "soon"}])
def test_a_sample_that_no_line_can_hold_never_raises_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, object]
) -> None:
    recorder = open_recorder(tmp_path)
    recorder.record(a_sample(**change))
    recorder.record(at(1))
    recorder.close(AT_NOON)
    assert recorder.counts == Counts(recorded=2, folded=1, lost=1, archives_dropped=0)
    assert "a sample is lost" in caplog.text


def test_many_threads_record_while_others_fold_and_each_sample_is_there_once(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    finished = threading.Event()

    def work(worker: int) -> None:
        for number in range(300):
            recorder.record(a_sample(ended_ns=NOON + number * SECOND, worker=worker, reason=str(number)))

    def fold() -> None:
        while not finished.is_set():
            recorder.fold(AT_NOON)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    folders = [threading.Thread(target=fold) for _ in range(2)]
    for thread in workers + folders:
        thread.start()
    for thread in workers:
        thread.join()
    finished.set()
    for thread in folders:
        thread.join()
    recorder.close(AT_NOON)
    lines = lines_in(tmp_path / "metrics.csv")
    assert sorted((int(line.tags["worker"]), int(str(line.fields["reason"]))) for line in lines) == [
        (worker, number) for worker in range(8) for number in range(300)
    ]
    assert len({line.stamp for line in lines}) == 2400
    assert summary_counts(tmp_path) == dict.fromkeys(range(5), 480)
