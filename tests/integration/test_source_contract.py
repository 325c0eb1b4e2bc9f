"""What every source promises, whatever is behind it."""

from __future__ import annotations

import shutil
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
from testwarden.control.split import SplitSource
from testwarden.errors import SourceBadAnswer, SourceError, SourceNotFound, SourceUnavailable
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

    commits = count(1)

    def set_files(files: Mapping[str, bytes]) -> None:
        source.set_files(files, f"{next(commits):040}")

    yield Rig(source, set_files, open_switch, lambda: source.fail(SourceUnavailable()))


@contextmanager
def split_rig(folder: Path) -> Iterator[Rig]:
    with memory_rig(folder) as tasks, memory_rig(folder) as switch:

        def break_down() -> None:
            tasks.break_down()
            switch.break_down()

        yield Rig(SplitSource(tasks.source, switch.source), tasks.set_files, switch.open_switch, break_down)


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
        shutil.rmtree(files_of, ignore_errors=True)
        for name, content in files.items():
            (files_of / name).parent.mkdir(parents=True, exist_ok=True)
            (files_of / name).write_bytes(content)

    source = DirectorySource(files_of, lambda: datetime.now(timezone.utc))

    def open_switch(title: str) -> Callable[[], object]:
        (files_of / title).touch()
        return (files_of / title).unlink

    yield Rig(source, set_files, open_switch, lambda: files_of.rename(folder / "gone"))


@pytest.fixture(
    params=[memory_rig, github_rig, directory_rig, split_rig], ids=["memory", "github", "directory", "split"]
)
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


def file_of(rig: Rig, path: str, most_bytes: int = 1000) -> bytes:
    return rig.source.fetch_file(rig.source.fetch().commit, path, most_bytes)


@pytest.mark.parametrize("path", ["x.js", "k6/x.js", "k6/deep down/50% #1?.js", "k6/für.js", "..k6/...js", "-x"])
def test_a_further_file_comes_byte_for_byte_and_not_with_the_fetch(rig: Rig, path: str) -> None:
    rig.set_files({**FILES, path: b"\r\n\xff\x00"})
    assert file_of(rig, path) == b"\r\n\xff\x00"
    assert rig.source.fetch().files == FILES


def test_a_further_file_is_of_the_commit_that_was_fetched(rig: Rig) -> None:
    rig.set_files({**FILES, "x.js": b"old"})
    commit = rig.source.fetch().commit
    rig.set_files({**FILES, "x.js": b"new"})
    assert rig.source.fetch_file(commit, "x.js", 9) == (b"old" if commit else b"new")
    assert file_of(rig, "x.js") == b"new"


@pytest.mark.parametrize("path", ["y.js", "k6/y.js", "k6/x.js/y.js"])
def test_a_further_file_that_is_not_there_is_not_found(rig: Rig, path: str) -> None:
    rig.set_files({**FILES, "k6/x.js": b""})
    with pytest.raises(SourceNotFound):
        file_of(rig, path)


@pytest.mark.parametrize(
    "path",
    ["", "/x.js", "x.js/", "../x.js", "k6/../x.js", "k6/./x.js", "k6//x.js", ".", "k6\\x.js", "x\n.js", "x" * 201],
)
def test_a_path_that_does_not_lead_straight_down_is_refused(rig: Rig, path: str) -> None:
    rig.set_files({**FILES, "x.js": b"", "k6/x.js": b""})
    with pytest.raises(SourceBadAnswer):
        file_of(rig, path)


def test_a_folder_is_no_further_file(rig: Rig) -> None:
    rig.set_files({**FILES, "k6/x.js": b"x"})
    with pytest.raises((SourceBadAnswer, SourceNotFound)):
        file_of(rig, "k6")


def test_a_further_file_has_at_most_the_bytes_that_it_may_have(rig: Rig) -> None:
    rig.set_files({**FILES, "x.js": b"x" * 1000, "y.js": b"y" * 1001})
    assert len(file_of(rig, "x.js")) == 1000
    with pytest.raises(SourceBadAnswer, match=r"y\.js is too large; at most 1,000 bytes"):
        file_of(rig, "y.js")


@pytest.mark.parametrize("call", ["fetch", "fetch_file", "look"])
def test_what_goes_wrong_is_a_source_error(rig: Rig, call: str) -> None:
    rig.set_files({**FILES, "x.js": b""})
    commit = rig.source.fetch().commit
    rig.break_down()
    calls: dict[str, Callable[[], object]] = {
        "fetch": rig.source.fetch,
        "fetch_file": lambda: rig.source.fetch_file(commit, "x.js", 9),
        "look": lambda: rig.source.look(thorough=False),
    }
    with pytest.raises(SourceError):
        calls[call]()
