"""The files of tasks: from the commit of the control file, with the right digest, and asked for no more than needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from testwarden.control import task_files
from testwarden.control.fetch import Reading, read
from testwarden.control.kept_files import KeptFiles, digest_of
from testwarden.control.memory import MemorySource
from testwarden.control.source import CONTROL_FILE
from testwarden.control.task_files import MOST_DATA, MOST_FILES, MOST_SCRIPT
from testwarden.errors import SourceBadAnswer, SourceError, SourceNotFound, SourceRateLimited, SourceUnavailable
from testwarden.model import Level

SCRIPT, DATA = b"export default () => {};\n", b"user,password\r\n"
COMMIT = "c" * 40


def k6_task(number: int, script: str, sha256: str, **more: str) -> str:
    pairs = {"script": script, "sha256": sha256, "targets": "example.org", **more}
    options = "".join(f'<Option key="{key}" value="{value}"/>' for key, value in pairs.items())
    head = f"<TaskRef>{number:03}</TaskRef><TimePeriod>{number}</TimePeriod><TestType>K6</TestType>"
    return f"<Task>{head}<TestOptions>{options}</TestOptions></Task>"


def files_of(*tasks: str, **others: bytes) -> dict[str, bytes]:
    control = "\n".join(["<Schedule>", *tasks, "</Schedule>"]).encode()
    return {
        CONTROL_FILE: control,
        **{name.replace("__", "/").replace("_js", ".js"): held for name, held in others.items()},
    }


def source_of(files: Mapping[str, bytes]) -> MemorySource:
    return MemorySource(files, COMMIT)


def refs(reading: Reading) -> list[str]:
    return [task.ref for task in reading.control.tasks]


def errors(reading: Reading) -> list[tuple[int, str | None, str]]:
    return [(found.line, found.task, found.message) for found in reading.findings if found.level is Level.ERROR]


GOOD = k6_task(5, "k6/x.js", digest_of(SCRIPT), data="d.csv", data_sha256=digest_of(DATA))
GOOD_FILES = {"k6/x.js": SCRIPT, "d.csv": DATA}


def test_script_and_data_come_with_the_reading_by_their_digests() -> None:
    source = source_of({**files_of(GOOD), **GOOD_FILES})
    reading = read(source)
    assert (refs(reading), errors(reading)) == (["005"], [])
    assert reading.files == {digest_of(SCRIPT): SCRIPT, digest_of(DATA): DATA}
    assert source.calls == ["fetch", "file k6/x.js", "file d.csv"]


def test_tasks_without_files_cost_nothing() -> None:
    source = source_of({CONTROL_FILE: b"<Schedule/>"})
    assert read(source).files == {}
    assert source.calls == ["fetch"]


@pytest.mark.parametrize(
    ("bad", "holds", "said"),
    [
        ("x.js", {}, "script x.js is not there; its place is beside the control file"),
        ("x.js", {"x.js": bytes(MOST_SCRIPT + 1)}, "script x.js cannot be used: x.js is too large; at most 1,048,576"),
        (
            "x.js",
            {"x.js": b"other"},
            f"script x.js has sha256 {digest_of(b'other')}, the control file says {'a' * 64}; if the change is meant",
        ),
    ],
    ids=["missing", "too large", "wrong digest"],
)
def test_a_file_that_cannot_be_used_refuses_its_task_and_no_other(bad: str, holds: dict[str, bytes], said: str) -> None:
    reading = read(source_of({**files_of(k6_task(9, bad, "a" * 64), "<Tsk/>", GOOD), **GOOD_FILES, **holds}))
    assert refs(reading) == ["005"]
    [(line, ref, message), (other, _, _)] = errors(reading)
    assert (line, ref, other) == (2, "009", 3)
    assert message.startswith(said)
    assert set(reading.files) == {digest_of(SCRIPT), digest_of(DATA)}
    assert reading.control.findings == tuple(found for found in reading.findings if found.file == CONTROL_FILE)


def test_data_that_cannot_be_used_refuses_the_task_with_its_script() -> None:
    reading = read(source_of({**files_of(GOOD), "k6/x.js": SCRIPT, "d.csv": DATA + b"x"}))
    assert (refs(reading), reading.files) == ([], {})
    assert errors(reading)[0][2].startswith("data d.csv has sha256")


def test_data_may_be_larger_than_a_script() -> None:
    data = bytes(MOST_DATA)
    needs = k6_task(5, "x.js", digest_of(SCRIPT), data="d", data_sha256=digest_of(data))
    assert refs(read(source_of({**files_of(needs), "x.js": SCRIPT, "d": data}))) == ["005"]
    assert refs(read(source_of({**files_of(needs), "x.js": SCRIPT, "d": data + b"x"}))) == []


def test_an_empty_file_is_a_file() -> None:
    needs = k6_task(5, "x.js", digest_of(SCRIPT), data="d", data_sha256=digest_of(b""))
    assert refs(read(source_of({**files_of(needs), "x.js": SCRIPT, "d": b""}))) == ["005"]


@pytest.mark.parametrize("trouble", [SourceUnavailable("down"), SourceRateLimited("used up")])
def test_a_network_in_trouble_fails_the_fetch_so_that_it_is_tried_again(trouble: SourceError) -> None:
    class Troubled(MemorySource):
        def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:
            raise trouble

    with pytest.raises(type(trouble)):
        read(Troubled({**files_of(GOOD), **GOOD_FILES}))


@pytest.mark.parametrize("trouble", [SourceNotFound("gone"), SourceBadAnswer("a web page")])
def test_an_answer_that_asking_again_would_not_mend_refuses_the_task(trouble: SourceError) -> None:
    class Odd(MemorySource):
        def fetch_file(self, commit: str, path: str, most_bytes: int) -> bytes:
            raise trouble

    assert refs(read(Odd({**files_of(GOOD), **GOOD_FILES}))) == []


# How often is asked.


def test_a_file_of_several_tasks_is_asked_for_once_also_where_it_is_bad() -> None:
    tasks = [k6_task(n, path, digest_of(SCRIPT)) for n, path in ((5, "x.js"), (6, "x.js"), (7, "y.js"), (8, "y.js"))]
    source = source_of(files_of(*tasks, x_js=SCRIPT, y_js=b"?"))
    reading = read(source)
    assert (refs(reading), [ref for _, ref, _ in errors(reading)]) == (["005", "006"], ["007", "008"])
    assert source.calls == ["fetch", "file x.js", "file y.js"]


def test_what_is_kept_is_not_asked_for_again_whatever_the_commit(tmp_path: Path) -> None:
    source = source_of({**files_of(GOOD), **GOOD_FILES})
    first = read(source, KeptFiles(tmp_path / "files"))
    source.set_files({**files_of(GOOD, "<!-- new -->"), **GOOD_FILES}, "d" * 40)
    again = read(source, KeptFiles(tmp_path / "files"))
    assert (again.commit, again.files, refs(again)) == ("d" * 40, first.files, ["005"])
    assert source.calls == ["fetch", "file k6/x.js", "file d.csv", "fetch"]


def test_what_came_before_a_failure_is_not_asked_for_again(tmp_path: Path) -> None:
    source = source_of({**files_of(GOOD), "k6/x.js": SCRIPT, "d.csv": DATA})
    fetch_file = source.fetch_file

    def failing(commit: str, path: str, most_bytes: int) -> bytes:
        if path == "d.csv":
            source.fail(SourceUnavailable("down"))
        return fetch_file(commit, path, most_bytes)

    source.fetch_file = failing  # type: ignore[method-assign]  # one call of a twin goes wrong
    with pytest.raises(SourceUnavailable):
        read(source, KeptFiles(tmp_path))
    source.fetch_file = fetch_file  # type: ignore[method-assign]  # and the next one does not
    source.calls.clear()
    assert refs(read(source, KeptFiles(tmp_path))) == ["005"]
    assert source.calls == ["fetch", "file d.csv"]


@pytest.mark.parametrize("damage", [b"", b"evil", None])
def test_what_was_changed_on_disk_is_asked_for_again(tmp_path: Path, damage: bytes | None) -> None:
    source = source_of({**files_of(GOOD), **GOOD_FILES})
    read(source, KeptFiles(tmp_path))
    kept = tmp_path / digest_of(SCRIPT)
    kept.unlink() if damage is None else kept.write_bytes(damage)
    source.calls.clear()
    assert read(source, KeptFiles(tmp_path)).files[digest_of(SCRIPT)] == SCRIPT
    assert source.calls == ["fetch", "file k6/x.js"]
    assert kept.read_bytes() == SCRIPT


def test_only_what_the_newest_control_file_needs_is_kept_and_nothing_with_a_wrong_digest(tmp_path: Path) -> None:
    source = source_of({**files_of(GOOD, k6_task(6, "y.js", "b" * 64)), **GOOD_FILES, "y.js": b"?"})
    (tmp_path / "left.part").write_bytes(b"torn")
    read(source, KeptFiles(tmp_path))
    assert {entry.name for entry in tmp_path.iterdir()} == {digest_of(SCRIPT), digest_of(DATA)}
    source.set_files(files_of(k6_task(5, "k6/x.js", digest_of(SCRIPT))), "d" * 40)
    read(source, KeptFiles(tmp_path))
    assert {entry.name for entry in tmp_path.iterdir()} == {digest_of(SCRIPT)}


def test_a_disk_that_does_not_play_along_costs_requests_only(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file where the folder should be")
    source = source_of({**files_of(GOOD), **GOOD_FILES})
    kept = KeptFiles(tmp_path / "files")
    assert read(source, kept).files == read(source, kept).files
    assert len(source.calls) == 6


def test_content_kept_as_data_is_no_script_if_it_is_too_large_for_one(tmp_path: Path) -> None:
    large = bytes(MOST_SCRIPT + 1)
    KeptFiles(tmp_path).store(large)
    reading = read(source_of(files_of(k6_task(5, "x.js", digest_of(large)), x_js=large)), KeptFiles(tmp_path))
    assert "is too large" in errors(reading)[0][2]


def test_a_source_without_commits_is_asked_each_time(tmp_path: Path) -> None:
    source = MemorySource({**files_of(GOOD), **GOOD_FILES}, "")
    assert refs(read(source, KeptFiles(tmp_path))) == ["005"]
    source.set_files({**files_of(GOOD), **GOOD_FILES, "k6/x.js": b"changed"}, "")
    assert refs(read(source, KeptFiles(tmp_path))) == []


# Bounds.


def test_of_more_different_files_than_allowed_the_first_are_fetched_and_the_other_tasks_refused() -> None:
    held = {f"{n}.js": b"%d" % n for n in range(5, 5 + MOST_FILES + 2)}
    tasks = [k6_task(n, f"{n}.js", digest_of(held[f"{n}.js"])) for n in reversed(range(5, 5 + MOST_FILES + 2))]
    again = k6_task(54, "5.js", digest_of(held["5.js"]))
    source = source_of({**files_of(*tasks, again), **held})
    reading = read(source)
    assert refs(reading) == [f"{n:03}" for n in (*range(5, 5 + MOST_FILES), 54)]
    assert len(source.calls) == 1 + MOST_FILES
    assert [(ref, message) for _, ref, message in errors(reading)] == [
        (f"{n:03}", "the tasks before this one need 20 files already, and no more are fetched") for n in (26, 25)
    ]


def test_all_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_files, "MOST_TOGETHER", 10)
    tasks = [k6_task(n, f"{n}.js", digest_of(held)) for n, held in ((5, b"12345"), (6, b"123456"), (7, b"54321"))]
    reading = read(source_of({**files_of(*tasks), "5.js": b"12345", "6.js": b"123456", "7.js": b"54321"}))
    assert refs(reading) == ["005", "007"]
    assert errors(reading)[0][2] == (
        "script 6.js is too large beside those of the tasks before this one; 10 bytes are allowed for all"
    )


def test_a_file_that_is_not_xml_forgets_nothing_that_would_have_to_be_asked_for_again(tmp_path: Path) -> None:
    source = source_of({**files_of(GOOD), **GOOD_FILES})
    read(source, KeptFiles(tmp_path))
    source.set_files({CONTROL_FILE: b"<Sched", **GOOD_FILES}, "d" * 40)
    read(source, KeptFiles(tmp_path))
    source.set_files({**files_of(GOOD), **GOOD_FILES}, "e" * 40)
    source.calls.clear()
    assert refs(read(source, KeptFiles(tmp_path))) == ["005"]
    assert source.calls == ["fetch"]
