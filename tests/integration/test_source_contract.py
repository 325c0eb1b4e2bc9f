"""What every source promises, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

import pytest

from standins.github_server import REPOSITORY, github
from testwarden.control.directory import DirectorySource
from testwarden.control.github import GitHubSource
from testwarden.control.memory import MemorySource
from testwarden.control.source import CONTROL_FILE, DOWNLOAD_CATALOGUE, UPLOAD_CATALOGUE, Source
from testwarden.errors import SourceError, SourceNotFound, SourceUnavailable
from testwarden.safety.kill_switch import SwitchIssue

FILES = {CONTROL_FILE: b"<Schedule>\xc3\xbc</Schedule>\r\n", DOWNLOAD_CATALOGUE: b"\xef\xbb\xbftiny,a,b,0\n"}


@dataclass(frozen=True)
class Rig:
    """A source and the handles on what is behind it."""

    source: Source
    set_files: Callable[[Mapping[str, bytes]], object]
    open_switch: Callable[[str], Callable[[], object]]
    """Opens a kill switch of this title and returns what closes it."""
    break_down: Callable[[], object]


@contextmanager
def memory_rig(_folder: Path) -> Iterator[Rig]:
    source = MemorySource()
    opened = datetime(2026, 11, 21, tzinfo=timezone.utc)
    numbers = count(1)

    def open_switch(title: str) -> Callable[[], object]:
        issue = SwitchIssue(next(numbers), title, "somebody", opened, "https://github.com/o/r/issues/1")
        source.open_issue(issue)
        return lambda: source.close_issue(issue.number)

    def set_files(files: Mapping[str, bytes]) -> None:
        source.set_files(files, "1" * 40)

    yield Rig(source, set_files, open_switch, lambda: source.fail(SourceUnavailable()))


@contextmanager
def github_rig(folder: Path) -> Iterator[Rig]:
    with github() as hub:
        source = GitHubSource(
            repository=REPOSITORY, branch="main", api_url=hub.url, token="", user_agent="us", cache_dir=folder
        )

        def open_switch(title: str) -> Callable[[], object]:
            number = hub.open_issue(title, author="somebody")
            return lambda: hub.close_issue(number)

        yield Rig(source, lambda files: hub.set_files(dict(files)), open_switch, lambda: hub.trouble("500"))


@contextmanager
def directory_rig(folder: Path) -> Iterator[Rig]:
    files_of = folder / "test-files"

    def set_files(files: Mapping[str, bytes]) -> None:
        files_of.mkdir(exist_ok=True)
        for path in files_of.iterdir():
            path.unlink()
        for name, content in files.items():
            (files_of / name).write_bytes(content)

    source = DirectorySource(files_of, lambda: datetime.now(timezone.utc))

    def open_switch(title: str) -> Callable[[], object]:
        (files_of / title).touch()
        return (files_of / title).unlink

    yield Rig(source, set_files, open_switch, lambda: files_of.rename(folder / "gone"))


@pytest.fixture(params=[memory_rig, github_rig, directory_rig], ids=["memory", "github", "directory"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path) as rig:
        yield rig
        rig.source.close()


def test_a_source_says_where_it_is_and_how_often_it_may_be_asked(rig: Rig) -> None:
    assert rig.source.description
    assert rig.source.poll_seconds > 0


def test_a_fetch_brings_the_files_that_are_there_byte_for_byte(rig: Rig) -> None:
    rig.set_files(FILES)
    assert rig.source.fetch().files == FILES
    assert rig.source.fetch().files == FILES


def test_a_fetch_brings_what_is_newest(rig: Rig) -> None:
    rig.set_files(FILES)
    rig.source.fetch()
    changed = {CONTROL_FILE: b"<Schedule/>", UPLOAD_CATALOGUE: b"tiny,1,2,0\n"}
    rig.set_files(changed)
    assert rig.source.fetch().files == changed


def test_a_missing_control_file_is_not_found(rig: Rig) -> None:
    rig.set_files({DOWNLOAD_CATALOGUE: b""})
    with pytest.raises(SourceNotFound):
        rig.source.fetch()


@pytest.mark.parametrize("thorough", [True, False])
def test_no_issue_means_clear(rig: Rig, thorough: bool) -> None:
    rig.set_files(FILES)
    assert rig.source.look(thorough=thorough).issues == ()


def test_issues_show_when_they_open_and_go_when_they_are_closed(rig: Rig) -> None:
    rig.set_files(FILES)
    rig.source.look(thorough=True)
    close_one = rig.open_switch("kill-switch one")
    rig.open_switch("Kill-Switch two")
    issues = rig.source.look(thorough=False).issues
    assert {issue.title for issue in issues} == {"kill-switch one", "Kill-Switch two"}
    assert all(issue.author and issue.url and issue.opened.tzinfo for issue in issues)
    close_one()
    assert [issue.title for issue in rig.source.look(thorough=True).issues] == ["Kill-Switch two"]


@pytest.mark.parametrize("call", ["fetch", "look"])
def test_what_goes_wrong_is_a_source_error(rig: Rig, call: str) -> None:
    rig.set_files(FILES)
    rig.source.fetch()
    rig.break_down()
    with pytest.raises(SourceError):
        rig.source.fetch() if call == "fetch" else rig.source.look(thorough=False)
