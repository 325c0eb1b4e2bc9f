"""`testwarden check`: what a maintainer is told before an edit goes to the fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from standins.control_folder import control_files, task
from testwarden.checking import check_folder
from testwarden.control.kept_files import digest_of

SCRIPT = b"export default () => {};\n"


def folder_of(path: Path, script: bytes | None, **options: object) -> Path:
    asked = {"script": "k6/load.js", "sha256": digest_of(SCRIPT), "targets": "example.org", **options}
    for name, text in control_files(task("001", "K6", **asked), task("002", "Quote")).items():
        (path / name).write_text(text)
    if script is not None:
        (path / "k6").mkdir()
        (path / "k6" / "load.js").write_bytes(script)
    return path


def test_a_k6_task_with_the_right_digest_is_fine_whatever_targets_operators_will_allow(tmp_path: Path) -> None:
    report = check_folder(folder_of(tmp_path, SCRIPT))
    assert (report.lines, report.refused) == (["2 tasks will run, 0 findings"], False)


def test_the_right_digest_is_told_where_the_control_file_has_another_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, SCRIPT + b"\n")
    right = digest_of(SCRIPT + b"\n")
    report = check_folder(folder)
    said = f"script k6/load.js has sha256 {right}, the control file says {digest_of(SCRIPT)}; if"
    assert report.lines[0].startswith(f"{folder}/00-control.xml:2: error: {said} the change is meant")
    assert (report.lines[1:], report.refused) == (["1 tasks will run, 1 findings"], True)


@pytest.mark.parametrize("data", [{}, {"data": "users.csv", "data_sha256": "0" * 64}])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, data: dict[str, str]) -> None:
    report = check_folder(folder_of(tmp_path, SCRIPT if data else None, **data))
    assert f"error: {'data users.csv' if data else 'script k6/load.js'} is not there" in report.lines[0]
    assert report.refused


def test_load_above_the_limits_is_told_as_it_will_be_clamped(tmp_path: Path) -> None:
    report = check_folder(folder_of(tmp_path, SCRIPT, vus=5000))
    assert "warning: task 001 is clamped: vus 5000→20" in report.lines[0]
    assert (report.lines[1:], report.refused) == (["2 tasks will run, 1 findings"], False)
