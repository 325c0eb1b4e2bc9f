"""The folder of a worker is empty at each attempt, whatever the one before left."""

from __future__ import annotations

from pathlib import Path

import pytest

from testwarden.running.workplace import Workplace


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, "001-2")


def left(place: Workplace) -> list[Path]:
    return [path for path in place.folder().rglob("*") if path.is_symlink() or not path.is_dir()]


def test_it_has_a_home_and_lies_in_the_work_folder(place: Workplace, tmp_path: Path) -> None:
    assert place.home.parent == place.folder()
    assert place.folder().parent == tmp_path
    assert place.folder().stat().st_mode & 0o777 == 0o700


def test_files_links_and_deep_folders_are_gone_after_a_sweep(place: Workplace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    folder = place.folder()
    (folder / "download" / "deep" / "deeper").mkdir(parents=True)
    (folder / "download" / "deep" / "file").touch()
    (folder / "download" / "link").symlink_to(outside)
    (folder / "link").symlink_to(outside)
    (place.home / "log").touch()
    place.sweep()
    assert left(place) == []
    assert not (folder / "download" / "deep").exists()
    assert (outside / "precious").exists()
    assert place.folder() == folder


def test_a_folder_that_became_a_link_does_not_lead_the_next_attempt_away(place: Workplace, tmp_path: Path) -> None:
    (place.folder() / "download").symlink_to(tmp_path)
    place.sweep()
    assert not (place.folder() / "download").is_symlink()


def test_permissions_that_were_taken_away_do_not_help(place: Workplace) -> None:
    locked = place.home / "locked"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0)
    place.sweep()
    assert not locked.exists()


def test_a_folder_that_a_client_deleted_is_made_anew(place: Workplace) -> None:
    first = place.folder()
    place.home.rmdir()
    first.rmdir()
    place.sweep()
    assert place.home.is_dir()


def test_nothing_is_left_at_the_end(place: Workplace, tmp_path: Path) -> None:
    (place.home / "log").touch()
    place.delete()
    assert list(tmp_path.iterdir()) == []
