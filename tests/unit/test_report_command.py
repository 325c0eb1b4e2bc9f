"""What `testwarden report` does with its arguments, its files and its output."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from standins.report_files import end_of, write_folder, write_metrics
from testwarden import report_command
from testwarden.metrics.files import lines
from testwarden.report_command import MISSING, Asked, UsageError, read, report, span_of

NOW = end_of(24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "metrics", "attic", hours=24, samples=240)


def told(*paths: Path, output: Path, since: str | None = None, as_text: bool = False) -> tuple[int, str]:
    said: list[str] = []
    return report(Asked(paths, output, since, as_text=as_text), NOW, "testwarden 1.0", said.append), "\n".join(said)


def test_a_folder_becomes_a_page(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    code, said = told(folder, output=output)
    assert (code, said) == (0, f"{output}: 288 samples from 2 files")
    assert output.read_text().startswith("<!doctype html>")
    assert "Budgets used" in output.read_text()


def test_a_folder_becomes_text_without_the_library(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_command, "find_spec", lambda _: None)
    code, said = told(folder, output=tmp_path / "r.html", as_text=True)
    assert code == 0
    assert "288 attempts" in said
    with pytest.raises(UsageError, match="pip install") as wrong:
        told(folder, output=tmp_path / "r.html")
    assert str(wrong.value) == MISSING
    assert not (tmp_path / "r.html").exists()


def test_only_the_time_asked_for_is_shown(folder: Path, tmp_path: Path) -> None:
    _, said = told(folder, output=tmp_path / "r.html", since="6h", as_text=True)
    assert "72 attempts" in said
    assert "2026-11-14 18:00 to 2026-11-15 00:00 UTC" in said


@pytest.mark.parametrize(
    ("given", "meant"),
    [("7d", timedelta(days=7)), ("90m", timedelta(minutes=90)), (" 12 h", timedelta(hours=12)), ("2w", timedelta(weeks=2))],
)  # fmt: skip
def test_since_is_a_number_and_a_letter(given: str, meant: timedelta) -> None:
    assert span_of(given) == meant


@pytest.mark.parametrize("given", ["", "7", "d", "0d", "-1d", "1.5h", "7 days", "10000d", "７d"])
def test_any_other_since_is_refused_with_what_is_allowed(given: str) -> None:
    with pytest.raises(UsageError, match="allowed is a number with m, h, d or w"):
        span_of(given)


def test_a_span_before_all_times_means_everything(folder: Path, tmp_path: Path) -> None:
    assert "288 attempts" in told(folder, output=tmp_path / "r", since="9999w", as_text=True)[1]


def test_files_of_several_agents_and_packed_ones_are_compared(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "metrics-2026-11-14.csv"
    write_metrics(other, "barn", hours=24, samples=48)
    packed = other.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(other.read_bytes()))
    facts = read((folder, packed, folder / "metrics.csv"), NOW)
    assert facts.samples.agents == ["attic", "barn"]
    assert (facts.files, facts.account.twice, facts.account.counted) == (3, 0, 288 + 96)


def test_a_file_that_is_gone_or_torn_is_named_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(gzip.compress((folder / "metrics.csv").read_bytes())[:-500])
    code, said = told(folder, tmp_path / "gone.csv", torn, output=tmp_path / "r.html", as_text=True)
    assert code == 1
    assert "gone.csv" in said.replace("\n", "")
    assert "torn.csv.gz" in said.replace("\n", "")
    assert "288 attempts" in said


def test_without_any_file_there_is_no_report(tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    (tmp_path / "empty").mkdir()
    assert told(tmp_path / "empty", output=output) == (
        1,
        f"testwarden: {tmp_path / 'empty'}: no metrics files are there; has an agent run?",
    )
    code, said = told(tmp_path / "gone", output=output)
    assert code == 1
    assert "gone" in said
    assert not output.exists()


def test_empty_files_make_a_report_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").touch()
    output = tmp_path / "r.html"
    assert told(tmp_path, output=output)[0] == 0
    assert "The files hold no samples" in output.read_text()


def test_an_output_that_cannot_be_written_is_said_before_anything_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_command, "read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UsageError, match="is a folder"):
        told(folder, output=tmp_path)
    with pytest.raises(UsageError, match="its folder does not exist"):
        told(folder, output=tmp_path / "no" / "r.html")


def test_a_full_disk_is_one_sentence(folder: Path) -> None:
    with pytest.raises(UsageError, match="/dev/full: cannot be written: No space left on device"):
        told(folder, output=Path("/dev/full"))


def test_files_that_are_put_away_while_it_reads_are_still_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "metrics-2026-11-13.csv").write_bytes(b"")

    def rotating(path: Path) -> Iterator[tuple[int, bytes]]:
        if path.name == "metrics-2026-11-13.csv":
            (folder / "metrics.csv").rename(folder / "metrics-2026-11-14.csv")
        return lines(path)

    monkeypatch.setattr(report_command, "lines", rotating)
    facts = read((folder,), NOW)
    assert (facts.account.counted, facts.troubles) == (288, ())
