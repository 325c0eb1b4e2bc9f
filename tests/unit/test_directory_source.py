"""A folder as a source: what it holds is fetched, what is odd in it never hangs the agent, and a file stops it."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from testwarden.control import directory as module
from testwarden.control.directory import DirectorySource
from testwarden.control.source import CONTROL_FILE, DOWNLOAD_CATALOGUE, QUOTE_CATALOGUE, Source
from testwarden.errors import SourceBadAnswer, SourceNotFound, SourceUnavailable

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


def source(path: Path) -> Source:
    return DirectorySource(path, lambda: NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / CONTROL_FILE).write_bytes(b"<Schedule/>")
    return tmp_path


def test_it_fetches_the_control_file_and_the_catalogues_that_exist(folder: Path) -> None:
    (folder / QUOTE_CATALOGUE).write_bytes(b"q")
    (folder / "notes.txt").write_bytes(b"x")
    fetched = source(folder).fetch()
    assert fetched.files == {CONTROL_FILE: b"<Schedule/>", QUOTE_CATALOGUE: b"q"}
    assert fetched.commit == ""


@pytest.mark.parametrize("where", ["empty", "missing", CONTROL_FILE], ids=["no file", "no folder", "folder is a file"])
def test_without_a_control_file_nothing_is_found(folder: Path, where: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(SourceNotFound):
        source(folder / where).fetch()


@pytest.mark.parametrize("name", [CONTROL_FILE, DOWNLOAD_CATALOGUE])
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_fifo_is_refused_and_does_not_hang(folder: Path, name: str, through_a_link: bool) -> None:
    (folder / name).unlink(missing_ok=True)
    fifo = folder / ("fifo" if through_a_link else name)
    os.mkfifo(fifo)
    if through_a_link:
        (folder / name).symlink_to(fifo)
    with pytest.raises(SourceBadAnswer, match="not a regular file"):
        source(folder).fetch()


def test_a_link_to_a_device_without_end_is_refused(folder: Path) -> None:
    (folder / DOWNLOAD_CATALOGUE).symlink_to("/dev/zero")
    with pytest.raises(SourceBadAnswer, match="not a regular file"):
        source(folder).fetch()


def test_a_folder_in_the_place_of_a_file_and_a_link_to_itself_cannot_be_read(folder: Path) -> None:
    (folder / DOWNLOAD_CATALOGUE).mkdir()
    with pytest.raises(SourceUnavailable, match=DOWNLOAD_CATALOGUE):
        source(folder).fetch()
    (folder / DOWNLOAD_CATALOGUE).rmdir()
    (folder / DOWNLOAD_CATALOGUE).symlink_to(folder / DOWNLOAD_CATALOGUE)
    with pytest.raises(SourceUnavailable, match=DOWNLOAD_CATALOGUE):
        source(folder).fetch()


def test_a_link_to_a_regular_file_is_read(folder: Path) -> None:
    (folder / "real").write_bytes(b"x")
    (folder / DOWNLOAD_CATALOGUE).symlink_to(folder / "real")
    assert source(folder).fetch().files[DOWNLOAD_CATALOGUE] == b"x"


def test_of_a_file_that_is_too_big_one_byte_more_than_allowed_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.control_file, "MOST_BYTES", 10)
    monkeypatch.setattr(module.catalogue, "MOST_BYTES", 20)
    (folder / CONTROL_FILE).write_bytes(b"x" * 1000)
    (folder / QUOTE_CATALOGUE).write_bytes(b"x" * 1000)
    assert [len(data) for data in source(folder).fetch().files.values()] == [11, 21]


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_leads_to_a_further_file_only_within_the_folder(tmp_path: Path, link: str) -> None:
    folder, outside = tmp_path / "files", tmp_path / "files-of-the-operator"
    for place in (folder / "k6", outside):
        place.mkdir(parents=True)
        (place / "x.js").write_bytes(b"x")
    for name, place in (("in", folder / "k6"), ("out", outside)):
        (folder / name).symlink_to(place / "x.js" if link == "file" else place)
    below = "" if link == "file" else "/x.js"
    assert source(folder).fetch_file("", f"in{below}", 9) == b"x"
    with pytest.raises(SourceBadAnswer, match="leads out of"):
        source(folder).fetch_file("", f"out{below}", 9)


def test_a_folder_that_is_a_link_itself_has_further_files(folder: Path, tmp_path: Path) -> None:
    (folder / "x.js").write_bytes(b"x")
    (tmp_path / "link").symlink_to(folder)
    assert source(tmp_path / "link").fetch_file("", "x.js", 9) == b"x"


@pytest.mark.parametrize("kind", ["folder", "fifo", "round"])
def test_what_is_no_regular_file_is_no_further_file_and_does_not_hang(folder: Path, kind: str) -> None:
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "round").symlink_to(folder / "round")
    with pytest.raises(SourceBadAnswer):
        source(folder).fetch_file("", kind, 9)


def test_a_further_file_that_may_not_be_read_refuses_what_needs_it_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (folder / "x.js").touch()
    monkeypatch.setattr(module, "open", refuse, raising=False)
    with pytest.raises(SourceBadAnswer, match="Permission denied"):
        source(folder).fetch_file("", "x.js", 9)


def test_without_a_switch_the_look_is_clear(folder: Path) -> None:
    (folder / "my-kill-switch").touch()
    assert source(folder).look(thorough=True).issues == ()


@pytest.mark.parametrize("name", ["kill-switch", "KILL-SWITCH.txt", "Kill-Switch because of X"])
def test_an_entry_with_that_name_is_a_kill_switch(folder: Path, name: str) -> None:
    (folder / name).touch()
    os.utime(folder / name, (0, 1_700_000_000))
    (issue,) = source(folder).look(thorough=False).issues
    assert (issue.number, issue.title, issue.url) == (0, name, str(folder / name))
    assert issue.opened == datetime.fromtimestamp(1_700_000_000, timezone.utc)
    assert issue.author == folder.owner()


def test_a_switch_can_be_anything_and_there_can_be_several(folder: Path) -> None:
    # In an order that neither a file system's listing nor its reverse puts right by chance.
    os.mkfifo(folder / "kill-switch-c")
    (folder / "kill-switch-a").mkdir()
    (folder / "kill-switch-b").symlink_to(folder / "nowhere")
    titles = [issue.title for issue in source(folder).look(thorough=True).issues]
    assert titles == ["kill-switch-a", "kill-switch-b", "kill-switch-c"]


def test_a_name_that_is_no_text_is_still_a_switch(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/kill-switch\xff")).touch()
    (issue,) = source(folder).look(thorough=True).issues
    assert issue.title == "kill-switch\ufffd"


def test_a_switch_of_which_nothing_can_be_learned_is_still_a_switch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> os.stat_result:
        raise PermissionError("not for you")

    (folder / "kill-switch").touch()
    monkeypatch.setattr(Path, "lstat", refuse)
    (issue,) = source(folder).look(thorough=True).issues
    assert (issue.author, issue.opened) == ("unknown", NOW)


def test_an_owner_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def nobody(_: int) -> object:
        raise KeyError("no such user")

    (folder / "kill-switch").touch()
    monkeypatch.setattr(module.pwd, "getpwuid", nobody)
    (issue,) = source(folder).look(thorough=True).issues
    assert issue.author == str(folder.stat().st_uid)


def test_a_switch_that_is_removed_during_the_look_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Path) -> os.stat_result:
        raise FileNotFoundError("gone")

    (folder / "kill-switch").touch()
    monkeypatch.setattr(Path, "lstat", gone)
    assert source(folder).look(thorough=True).issues == ()


@pytest.mark.parametrize("where", ["missing", CONTROL_FILE])
def test_a_folder_that_is_not_there_cannot_say_that_all_is_clear(folder: Path, where: str) -> None:
    with pytest.raises(SourceNotFound):
        source(folder / where).look(thorough=True)


def test_a_folder_that_may_not_be_listed_cannot_say_that_all_is_clear(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SourceUnavailable, match="Permission denied"):
        source(folder).look(thorough=True)


def test_what_it_says_of_itself(folder: Path) -> None:
    ours = source(folder)
    ours.close()
    assert (ours.description, ours.poll_seconds, ours.last_answer) == (str(folder), 1.0, None)
