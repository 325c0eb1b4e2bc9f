"""The source on GitHub: the real PyGithub against a server that speaks GitHub's JSON, in good times and in bad."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from standins import github_server
from standins.control_folder import control_files, task
from standins.github_server import Hub, github
from testwarden.control import github_issues
from testwarden.control.fetch import read
from testwarden.control.github import MOST_CATALOGUE, MOST_CONTROL_FILE, POLITE_CALLS, GitHubSource
from testwarden.control.github_door import Reply
from testwarden.control.kept_files import KeptFiles, digest_of
from testwarden.errors import (
    SettingsError,
    SourceBadAnswer,
    SourceError,
    SourceNotFound,
    SourceRateLimited,
    SourceUnavailable,
)

FILES = {
    "00-control.xml": b'<?xml version="1.0" encoding="ISO-8859-1"?><Schedule>\xfc\r\n</Schedule>',
    "01-download-files.csv": b"tiny,a,b,0\n",
    "02-quote-files.csv": b"tiny,1,2,0\n",
    "03-upload-files.csv": b"tiny,3,4,0\n",
}
TOKEN = "ghp_0123456789abcdef"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with github(token=TOKEN) as hub:
        hub.set_files(dict(FILES))
        yield hub


def source_of(hub: Hub, folder: Path, **more: Any) -> GitHubSource:
    given: dict[str, Any] = {
        "repository": github_server.REPOSITORY,
        "branch": "main",
        "api_url": hub.url,
        "token": "",
        "user_agent": "testwarden/test",
        "cache_dir": folder,
        **more,
    }
    return GitHubSource(**given)


@pytest.fixture
def source(hub: Hub, tmp_path: Path) -> Iterator[GitHubSource]:
    source = source_of(hub, tmp_path)
    yield source
    source.close()


def numbers(source: GitHubSource, *, thorough: bool = False) -> list[int]:
    return [issue.number for issue in source.look(thorough=thorough).issues]


# fetch


def test_a_fetch_brings_every_file_byte_for_byte_from_one_commit(hub: Hub, source: GitHubSource) -> None:
    fetched = source.fetch()
    assert (fetched.commit, fetched.files) == (hub.commit, FILES)
    assert all(request["path"].endswith(f"?ref={hub.commit}") for request in hub.requests[1:])
    assert {request["headers"]["User-Agent"] for request in hub.requests} == {"testwarden/test"}


def test_an_unchanged_fetch_costs_one_request_and_a_changed_one_five(hub: Hub, source: GitHubSource) -> None:
    source.fetch()
    hub.forget_requests()
    assert source.fetch().files == FILES
    assert [(request["status"]) for request in hub.requests] == [304]
    changed = {**FILES, "00-control.xml": b"<Schedule/>"}
    hub.set_files(changed)
    hub.forget_requests()
    assert source.fetch().files == changed
    assert len(hub.requests) == 5


def test_the_cache_outlives_the_agent_and_holds_one_commit(hub: Hub, tmp_path: Path) -> None:
    source = source_of(hub, tmp_path)
    source.fetch()
    source.close()
    hub.forget_requests()
    after = source_of(hub, tmp_path)
    assert after.fetch().files == FILES
    assert len(hub.requests) == 1
    hub.set_files({**FILES, "02-quote-files.csv": b""})
    after.fetch()
    after.close()
    assert [entry.name for entry in (tmp_path / "control").iterdir()] == [hub.commit]


@pytest.mark.parametrize("damage", [b"", b"tiny,a,b,1\n", None])
def test_garbage_in_the_cache_is_fetched_again(hub: Hub, source: GitHubSource, tmp_path: Path, damage: Any) -> None:
    source.fetch()
    [path] = tmp_path.glob("control/*/01-download-files.csv")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    hub.forget_requests()
    assert source.fetch().files == FILES
    assert len(hub.requests) == 2


def test_a_cache_that_cannot_be_written_costs_requests_only(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "control").write_text("a file where the folder should be")
    source = source_of(hub, tmp_path)
    assert source.fetch().files == source.fetch().files == FILES
    source.close()


def test_what_was_fetched_before_a_failure_is_not_fetched_again(hub: Hub, source: GitHubSource) -> None:
    hub.trouble("500", only="03-upload")
    with pytest.raises(SourceUnavailable):
        source.fetch()
    hub.trouble(None)
    hub.forget_requests()
    assert source.fetch().files == FILES
    assert len(hub.requests) == 2


def test_a_missing_catalogue_is_left_out_and_comes_with_the_next_commit(hub: Hub, source: GitHubSource) -> None:
    hub.set_files({"00-control.xml": b"<Schedule/>"})
    assert source.fetch().files == {"00-control.xml": b"<Schedule/>"}


def test_a_missing_control_file_is_not_found(hub: Hub, source: GitHubSource) -> None:
    hub.set_files({"01-download-files.csv": b""})
    with pytest.raises(SourceNotFound, match=r"00-control\.xml"):
        source.fetch()


def test_a_control_file_that_is_too_large_is_cut_for_the_parser_to_complain(hub: Hub, source: GitHubSource) -> None:
    hub.set_files({**FILES, "00-control.xml": b"x" * 10_000_000})
    assert len(source.fetch().files["00-control.xml"]) == MOST_CONTROL_FILE


def test_a_catalogue_that_is_too_large_is_left_out_with_a_warning(
    hub: Hub, source: GitHubSource, caplog: pytest.LogCaptureFixture
) -> None:
    hub.set_files({**FILES, "02-quote-files.csv": bytes(MOST_CATALOGUE + 1)})
    with caplog.at_level(logging.WARNING):
        fetched = source.fetch()
    assert "02-quote-files.csv" not in fetched.files
    assert len(fetched.files) == 3
    assert "02-quote-files.csv is left out" in caplog.text


def test_a_server_that_knows_no_raw_content_is_understood(hub: Hub, source: GitHubSource, monkeypatch: Any) -> None:
    monkeypatch.setattr("testwarden.control.github.RAW", "application/json")
    assert source.fetch().files == FILES


@pytest.mark.parametrize("sha", ["", "../../../etc", "main", 7, None, "A" * 40])
def test_a_commit_that_is_no_commit_is_a_bad_answer(hub: Hub, source: GitHubSource, tmp_path: Path, sha: Any) -> None:
    hub.commits[sha] = dict(FILES)
    hub.commit = sha
    with pytest.raises(SourceBadAnswer, match="names no commit"):
        source.fetch()
    assert not (tmp_path / "control").exists()


# further files

SCRIPT = b"export default () => {};\n"
DATA = b"user;password\r\n"
K6_OPTIONS = {
    "script": "k6/load test.js",
    "sha256": digest_of(SCRIPT),
    "data": "k6/d.csv",
    "data_sha256": digest_of(DATA),
}


def k6_files(description: str = "x", script: bytes = SCRIPT) -> dict[str, bytes]:
    control = control_files(task("001", "K6", targets="example.org", **K6_OPTIONS))
    files = {name: text.replace("K6 for a test", description).encode() for name, text in control.items()}
    return {**files, "k6/load test.js": script, "k6/d.csv": DATA}


def test_the_files_of_a_task_come_from_the_commit_of_the_control_file(
    hub: Hub, source: GitHubSource, tmp_path: Path
) -> None:
    commit = hub.set_files(k6_files())
    fetched = source.fetch
    # Somebody pushes while the agent is between the control file and the script.
    source.fetch = lambda: (fetched(), hub.set_files(k6_files(script=b"while(true){}")))[0]  # type: ignore[method-assign]  # the moment is the point
    reading = read(source, KeptFiles(tmp_path / "control" / "files"))
    assert (reading.commit, [found.ref for found in reading.control.tasks]) == (commit, ["001"])
    assert reading.files == {digest_of(SCRIPT): SCRIPT, digest_of(DATA): DATA}
    assert all(request["path"].endswith(f"?ref={commit}") for request in hub.requests[1:])


def test_an_unchanged_script_costs_no_request_neither_in_the_next_hour_nor_with_the_next_commit(
    hub: Hub, tmp_path: Path
) -> None:
    def fetch_and_count() -> int:
        hub.forget_requests()
        source = source_of(hub, tmp_path)  # a new one: the agent was started again
        reading = read(source, KeptFiles(tmp_path / "control" / "files"))
        source.close()
        assert (len(reading.control.tasks), reading.files[digest_of(SCRIPT)]) == (1, SCRIPT)
        return len(hub.requests)

    hub.set_files(k6_files())
    assert fetch_and_count() == 1 + 4 + 2
    assert fetch_and_count() == 1
    hub.set_files(k6_files("changed"))
    assert fetch_and_count() == 1 + 4
    assert fetch_and_count() == 1


def test_a_script_that_is_missing_changed_or_a_folder_is_a_finding_with_the_right_digest(
    hub: Hub, source: GitHubSource
) -> None:
    changed = b"// another one"
    hub.set_files(k6_files(script=changed))
    [finding] = [found for found in read(source).findings if found.task]
    assert f"has sha256 {digest_of(changed)}, the control file says {digest_of(SCRIPT)}" in finding.message
    for files in (FILES, {"k6/load test.js/x": b""}):
        hub.set_files({**{name: held for name, held in k6_files().items() if name != "k6/load test.js"}, **files,
                       "00-control.xml": k6_files()["00-control.xml"]})  # fmt: skip
        reading = read(source)
        assert (reading.control.tasks, len([found for found in reading.findings if found.task])) == ((), 1)


@pytest.mark.parametrize(
    ("kind", "error"), [("500", SourceUnavailable), ("rate limited", SourceRateLimited), ("half", SourceUnavailable)]
)
def test_a_script_that_cannot_be_asked_for_fails_the_fetch_and_the_next_one_mends_it(
    hub: Hub, source: GitHubSource, tmp_path: Path, kind: str, error: type[SourceError]
) -> None:
    hub.set_files(k6_files())
    hub.trouble(kind, only="d.csv")
    with pytest.raises(error):
        read(source, KeptFiles(tmp_path / "files"))
    hub.trouble(None)
    hub.forget_requests()
    assert len(read(source, KeptFiles(tmp_path / "files")).control.tasks) == 1
    assert len(hub.requests) == 2


@pytest.mark.parametrize("length", ["told", "not told"])
def test_a_script_without_end_is_refused_in_time(hub: Hub, source: GitHubSource, length: str) -> None:
    commit = hub.set_files({**FILES, "x.js": bytes(5_000_000)})
    if length == "told":
        hub.trouble("huge", only="x.js")
    with pytest.raises(SourceBadAnswer, match=r"x\.js is too large; at most 1,000 bytes"):
        source.fetch_file(commit, "x.js", 1000)


def test_a_script_that_trickles_is_given_up_within_the_call(hub: Hub, tmp_path: Path) -> None:
    source = source_of(hub, tmp_path, call_seconds=1)
    hub.trouble("slow body", only="x.js")
    with pytest.raises(SourceUnavailable, match="did not answer within 1 s"):
        source.fetch_file(hub.commit, "x.js", 1_000_000)
    source.close()


# look


def test_a_look_costs_one_request_and_is_conditional(hub: Hub, source: GitHubSource) -> None:
    hub.open_issue("kill-switch")
    for _ in range(3):
        assert numbers(source) == [1]
    assert numbers(source, thorough=True) == [1]
    assert [request["status"] for request in hub.requests] == [200, 304, 304, 304]


@pytest.mark.parametrize("title", ["kill-switch", "Kill-Switch: too much", "  KILL-SWITCH", "\tkill-switches"])
def test_an_issue_counts_by_the_beginning_of_its_title(hub: Hub, source: GitHubSource, title: str) -> None:
    hub.open_issue("before")
    hub.open_issue(title, author="somebody")
    [issue] = source.look(thorough=False).issues
    assert (issue.number, issue.author, issue.title) == (2, "somebody", title.strip())
    assert issue.url.endswith("/issues/2")
    assert issue.opened.tzinfo is not None


@pytest.mark.parametrize("label", ["kill-switch", "Kill-Switch", "KILL-SWITCH"])
def test_an_issue_counts_by_its_label(hub: Hub, source: GitHubSource, label: str) -> None:
    hub.open_issue("stop it", ["bug", label])
    assert numbers(source) == [1]


def test_what_is_not_an_open_kill_switch_issue_does_not_count(hub: Hub, source: GitHubSource) -> None:
    hub.open_issue("about the kill-switch", ["kill-switch-docs"])
    hub.open_issue("killswitch")
    hub.add_pull_request("kill-switch: fix", ["kill-switch"])
    hub.close_issue(hub.open_issue("kill-switch"))
    assert numbers(source) == numbers(source, thorough=True) == []


def test_a_change_shows_at_the_next_look(hub: Hub, source: GitHubSource) -> None:
    number = hub.open_issue("nothing")
    assert numbers(source) == []
    hub.relabel(number, ["kill-switch"])
    assert numbers(source) == [number]
    hub.relabel(number, [])
    assert numbers(source) == []
    hub.retitle(number, "kill-switch now")
    assert numbers(source) == [number]
    hub.close_issue(number)
    assert numbers(source) == []
    hub.reopen_issue(number)
    assert numbers(source) == [number]


def crowd(hub: Hub, count: int) -> None:
    for number in range(count):
        hub.open_issue(f"issue {number}")


def test_the_first_look_walks_all_pages(hub: Hub, source: GitHubSource) -> None:
    number = hub.open_issue("kill-switch")
    crowd(hub, 250)
    assert numbers(source) == [number]
    assert len(hub.requests) == 3


def test_a_later_look_sees_page_one_and_keeps_what_it_knows_until_a_thorough_one(
    hub: Hub, source: GitHubSource
) -> None:
    number = hub.open_issue("kill-switch")
    crowd(hub, 150)
    assert numbers(source) == [number]
    hub.forget_requests()
    hub.close_issue(number)
    hub.open_issue("one more")
    assert numbers(source) == [number]
    assert len(hub.requests) == 1
    assert numbers(source, thorough=True) == []


def test_a_thorough_look_walks_on_even_if_page_one_is_unchanged(hub: Hub, source: GitHubSource) -> None:
    number = hub.open_issue("kill-switch")
    crowd(hub, 150)
    assert numbers(source) == [number]
    hub.close_issue(number)
    hub.forget_requests()
    assert numbers(source, thorough=True) == []
    assert [request["status"] for request in hub.requests][:2] == [304, 200]


def test_a_flood_of_updates_does_not_hide_a_kill_switch_behind_page_one(hub: Hub, source: GitHubSource) -> None:
    crowd(hub, 50)
    assert numbers(source) == []
    number = hub.open_issue("kill-switch")
    crowd(hub, 300)
    hub.forget_requests()
    assert numbers(source) == [number]
    assert len(hub.requests) == 4


def test_an_issue_of_the_same_second_as_the_look_before_is_not_overlooked(
    hub: Hub, source: GitHubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(hub, 120)
    same = hub._tick()
    monkeypatch.setattr(hub, "_tick", lambda: same)
    hub.open_issue("seen")
    assert numbers(source) == []
    number = hub.open_issue("kill-switch")
    crowd(hub, 100)
    # The newest hundred are all of that second; the order among them is the server's.
    listed = hub.open_issues
    monkeypatch.setattr(hub, "open_issues", lambda query: _last_of_its_second(listed(query), number))
    assert numbers(source) == [number]


def _last_of_its_second(issues: list[Any], number: int) -> list[Any]:
    return sorted(issues, key=lambda issue: (issue["updated_at"], issue["number"] != number), reverse=True)


def test_a_look_that_fails_on_page_two_hides_nothing_from_the_next(hub: Hub, source: GitHubSource) -> None:
    crowd(hub, 50)
    assert numbers(source) == []
    number = hub.open_issue("kill-switch")
    crowd(hub, 150)
    hub.trouble("500", only="page=2")
    with pytest.raises(SourceUnavailable):
        source.look(thorough=False)
    hub.trouble(None)
    assert numbers(source) == [number]


def test_an_issue_that_slips_between_pages_during_a_walk_is_asked_for_before_it_is_forgotten(
    hub: Hub, source: GitHubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While page 1 is read, one of its issues is closed: the first of page 2 moves to page 1 behind our back."""
    crowd(hub, 49)
    number = hub.open_issue("kill-switch")
    crowd(hub, 100)
    assert numbers(source) == [number]
    listed = hub.open_issues

    def slipping(query: dict[str, str]) -> list[Any]:
        issues = listed(query)
        return [issue for issue in issues if issue["number"] != 150] if "page" in query else issues

    monkeypatch.setattr(hub, "open_issues", slipping)
    hub.touch(149)
    assert numbers(source, thorough=True) == [number]
    hub.close_issue(number)
    assert numbers(source, thorough=True) == []


def test_a_walk_is_bounded_and_then_forgets_nothing(
    hub: Hub, source: GitHubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = hub.open_issue("kill-switch")
    assert numbers(source) == [number]
    crowd(hub, 350)
    monkeypatch.setattr(github_issues, "MOST_PAGES", 2)
    hub.forget_requests()
    assert numbers(source, thorough=True) == [number]
    assert len(hub.requests) == 2


def test_a_full_page_may_go_on_even_without_a_link(hub: Hub) -> None:
    crowd(hub, 100)
    listed = hub.open_issues({"sort": "updated"})
    assert github_issues.page_of(Reply(200, {}, json.dumps(listed).encode())).more
    assert not github_issues.page_of(Reply(200, {}, json.dumps(listed[:99]).encode())).more


def test_what_a_stranger_writes_cannot_drive_a_terminal(hub: Hub, source: GitHubSource) -> None:
    hub.open_issue("kill-switch \x1b[2J\x07\nnow" + "!" * 500, author="me\x1b[31m")
    [issue] = source.look(thorough=False).issues
    assert issue.title.startswith("kill-switch ?[2J? now!")
    assert issue.author == "me?[31m"
    assert len(issue.title) == 200


@pytest.mark.parametrize(
    "broken",
    [
        {"number": "7"},
        {"title": None},
        {"labels": None},
        {"labels": [7]},
        {"labels": [{}]},
        {"updated_at": "yesterday"},
        {"updated_at": "2026-11-21T00:00:00"},
        {"created_at": None},
        {"user": "me"},
    ],
)
def test_an_entry_that_is_no_issue_is_a_bad_answer_never_no_issue(
    hub: Hub, source: GitHubSource, broken: dict[str, Any]
) -> None:
    hub.issues[hub.open_issue("kill-switch")].update(broken)
    with pytest.raises(SourceBadAnswer, match="issue"):
        source.look(thorough=True)


def test_an_issue_of_a_deleted_account_counts(hub: Hub, source: GitHubSource) -> None:
    hub.issues[hub.open_issue("kill-switch")]["user"] = None
    assert source.look(thorough=True).issues[0].author == "ghost"


# trouble

TROUBLE = [
    ("500", SourceUnavailable, "HTTP 500, Server Error"),
    ("silence", SourceUnavailable, "did not answer within 1 s"),
    ("slow headers", SourceUnavailable, "did not answer within 1 s"),
    ("slow body", SourceUnavailable, "did not answer within 1 s"),
    ("rate limited", SourceRateLimited, "API rate limit exceeded"),
    ("secondary limit", SourceRateLimited, "secondary rate limit"),
    ("forbidden", SourceUnavailable, "HTTP 403, Repository access blocked"),
    ("html", SourceBadAnswer, "not JSON"),
    ("html error", SourceUnavailable, "HTTP 502"),
    ("not json", SourceBadAnswer, "not JSON"),
    ("object", SourceBadAnswer, ""),
    ("202", SourceUnavailable, "still preparing"),
    ("redirect away", SourceBadAnswer, "redirects to http://localhost"),
    ("redirect round", SourceBadAnswer, "redirects without end"),
    ("gone", SourceNotFound, "HTTP 404"),
    ("huge", SourceBadAnswer, "bytes"),
    ("half", SourceUnavailable, ""),
    ("odd headers", SourceError, ""),
]


@pytest.mark.parametrize(("kind", "error", "says"), TROUBLE, ids=[row[0] for row in TROUBLE])
def test_trouble_is_a_source_error_in_one_line_and_passes(
    hub: Hub, tmp_path: Path, kind: str, error: type[SourceError], says: str
) -> None:
    source = source_of(hub, tmp_path, call_seconds=1 if "within 1 s" in says else 15)
    hub.trouble(kind)
    for ask in (source.fetch, lambda: source.look(thorough=True)):
        with pytest.raises(SourceError) as caught:
            ask()
        assert isinstance(caught.value, error)
        assert says in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
    hub.trouble(None)
    assert source.fetch().files == FILES
    assert numbers(source) == []
    source.close()


def test_the_table_of_troubles_is_complete() -> None:
    assert {row[0] for row in TROUBLE} | {"redirect here"} == set(github_server.TROUBLES)


def test_a_web_page_instead_of_a_file_is_no_file(hub: Hub, source: GitHubSource) -> None:
    hub.trouble("html", only="01-download")
    with pytest.raises(SourceBadAnswer, match="web page"):
        source.fetch()
    hub.trouble(None)
    assert source.fetch().files == FILES


def test_nobody_there_is_unavailable(hub: Hub, tmp_path: Path) -> None:
    source = source_of(hub, tmp_path, api_url="http://127.0.0.1:1")
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1: .*refused"):
        source.fetch()
    assert source.last_answer is None
    source.close()


def test_a_resolver_that_hangs_does_not_outlive_the_call(hub: Hub, tmp_path: Path) -> None:
    over = threading.Event()
    hanging: dict[str, Any] = {"api_url": "http://api.example", "resolve": lambda *_, **__: over.wait(20)}
    source = source_of(hub, tmp_path, call_seconds=0.3, **hanging)
    with pytest.raises(SourceUnavailable, match="did not answer"):
        source.look(thorough=True)
    over.set()
    source.close()


def test_redirects_on_the_same_host_are_followed_with_the_whole_query(hub: Hub, source: GitHubSource) -> None:
    """PyGithub follows them without the query, which would list other issues in another order."""
    number = hub.open_issue("kill-switch")
    crowd(hub, 120)
    hub.trouble("redirect here")
    assert source.fetch().files == FILES
    assert numbers(source) == [number]
    hub.trouble(None)
    hub.rename("example/new-name")
    hub.set_files({**FILES, "02-quote-files.csv": b"new"})
    assert source.fetch().files["02-quote-files.csv"] == b"new"
    assert numbers(source, thorough=True) == [number]


def test_the_allowance_and_the_clock_are_learnt_from_every_answer(hub: Hub, source: GitHubSource) -> None:
    hub.set_allowance(41, resets_in=600)
    source.look(thorough=False)
    assert source.last_answer is not None
    allowance = source.last_answer.allowance
    assert allowance is not None
    assert (allowance.limit, allowance.remaining, allowance.resets) == (60, 40, hub.resets)
    assert source.last_answer.skew == pytest.approx(0, abs=2)
    hub.set_clock(-90)
    hub.trouble("500")
    with pytest.raises(SourceUnavailable):
        source.look(thorough=False)
    assert source.last_answer.skew == pytest.approx(90, abs=2)


def test_an_answer_without_sense_in_its_headers_teaches_nothing(hub: Hub, source: GitHubSource) -> None:
    hub.trouble("odd headers")
    with pytest.raises(SourceError):
        source.look(thorough=False)
    assert source.last_answer is not None
    assert (source.last_answer.allowance, source.last_answer.skew) == (None, None)


def test_an_allowance_that_is_used_up_says_until_when(hub: Hub, source: GitHubSource) -> None:
    hub.set_allowance(1, resets_in=900)
    assert numbers(source) == []
    with pytest.raises(SourceRateLimited) as caught:
        source.look(thorough=False)
    assert caught.value.resets == hub.resets


def test_a_secondary_limit_says_how_long_to_wait(hub: Hub, tmp_path: Path) -> None:
    moment = datetime(2026, 11, 21, tzinfo=timezone.utc)
    source = source_of(hub, tmp_path, now=lambda: moment)
    hub.trouble("secondary limit")
    with pytest.raises(SourceRateLimited) as caught:
        source.look(thorough=False)
    assert caught.value.resets == moment + timedelta(seconds=60)
    source.close()


def test_we_stay_polite_whatever_asks(hub: Hub, source: GitHubSource) -> None:
    hub.set_allowance(1000)
    for _ in range(POLITE_CALLS):
        source.look(thorough=False)
    with pytest.raises(SourceUnavailable, match="asked too often by us"):
        source.look(thorough=False)
    with pytest.raises(SourceUnavailable, match="asked too often by us"):
        source.fetch()
    assert len(hub.requests) == POLITE_CALLS


def test_a_token_is_sent_and_makes_unchanged_answers_free(hub: Hub, tmp_path: Path) -> None:
    source = source_of(hub, tmp_path, token=f" {TOKEN}\n")
    for _ in range(3):
        source.look(thorough=False)
    assert {request["headers"]["Authorization"] for request in hub.requests} == {f"token {TOKEN}"}
    assert hub.remaining[True] == 4999
    assert source.poll_seconds == 15
    source.close()


def test_a_token_shows_nowhere(hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = source_of(hub, tmp_path, token="ghp_wrong_and_secret")
    errors: list[SourceError] = []
    with caplog.at_level(logging.DEBUG):
        for kind in (None, "redirect away", "silence", "forbidden"):
            hub.trouble(kind)
            with pytest.raises(SourceError) as caught:
                source_of(hub, tmp_path, token="ghp_wrong_and_secret", call_seconds=2).look(thorough=False)
            errors.append(caught.value)
    assert "is the token right?" in str(errors[0])
    shown = [caplog.text, repr(source), source.description]
    for error in errors:
        cause: BaseException | None = error
        while cause is not None:
            shown.append(f"{cause!r} {cause}")
            cause = cause.__cause__ or cause.__context__
    assert "secret" not in "".join(shown)


@pytest.mark.parametrize("before", ["you sent token ", "x" * 190])
def test_a_token_that_the_server_sends_back_is_masked(hub: Hub, tmp_path: Path, monkeypatch: Any, before: str) -> None:
    source = source_of(hub, tmp_path, token=TOKEN)
    message = before + TOKEN
    monkeypatch.setattr(github_server, "_not_found", lambda: (404, json.dumps({"message": message}).encode(), {}))
    hub.trouble("gone")
    with pytest.raises(SourceNotFound) as caught:
        source.fetch()
    assert before + "***" in str(caught.value)
    assert TOKEN[:8] not in str(caught.value)
    source.close()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"api_url": "api.github.com"}, "github.api_url"),
        ({"api_url": "ftp://x"}, "github.api_url"),
        ({"api_url": "http://[::1"}, "github.api_url"),
        ({"token": "two words"}, "github.token"),
        ({"token": "schlüssel"}, "github.token"),
        ({"token": "a\nb"}, "github.token"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(hub: Hub, tmp_path: Path, wrong: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        source_of(hub, tmp_path, **wrong)
    assert wrong.get("token", "-") not in str(caught.value) or "token" not in wrong


def test_a_source_is_described_for_a_person(hub: Hub, tmp_path: Path) -> None:
    assert source_of(hub, tmp_path).description == "127.0.0.1/example/testwarden@main"
    on_github = source_of(hub, tmp_path, api_url="https://api.github.com")
    assert (on_github.description, on_github.poll_seconds) == ("github.com/example/testwarden@main", 75)


# threads


def test_a_fetch_that_hangs_does_not_keep_the_kill_switch_waiting(hub: Hub, source: GitHubSource) -> None:
    number = hub.open_issue("kill-switch")
    hub.trouble("silence", only="contents")
    failed: list[SourceError] = []

    def fetch() -> None:
        with pytest.raises(SourceError) as caught:
            source.fetch()
        failed.append(caught.value)

    thread = threading.Thread(target=fetch)
    thread.start()
    assert numbers(source) == [number]
    assert not failed
    source.close()
    thread.join(5)
    assert [str(error) for error in failed] == ["127.0.0.1 was closed"]
    with pytest.raises(SourceUnavailable, match="was closed"):
        source.look(thorough=False)


def test_waiting_for_ones_turn_counts_as_time_of_the_call(hub: Hub, tmp_path: Path) -> None:
    source = source_of(hub, tmp_path, call_seconds=0.5)
    hub.trouble("silence")
    errors: list[str] = []
    together = threading.Barrier(4)

    def look() -> None:
        together.wait(5)
        with pytest.raises(SourceUnavailable) as caught:
            source.look(thorough=False)
        errors.append(str(caught.value))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(errors) == 4
    assert len(hub.requests) <= 2
    source.close()


def test_calls_from_many_threads_get_the_right_answers_over_two_connections(hub: Hub, source: GitHubSource) -> None:
    number = hub.open_issue("kill-switch")
    source.fetch()
    right: list[bool] = []

    def work() -> None:
        for _ in range(5):
            right.append(numbers(source) == [number] and source.fetch().files == FILES)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 25
    assert hub.connections == 2


# weight


def test_pygithub_is_imported_at_the_first_request_only(hub: Hub, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from testwarden.control.github import GitHubSource;"
        "GitHubSource(repository='o/r', branch='main', api_url='http://127.0.0.1:1', token='', user_agent='x',"
        f"cache_dir=Path({str(tmp_path)!r}));"
        "print('github' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# the stand-in as a process


def test_the_stand_in_serves_as_a_process(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "00-control.xml").write_bytes(b"<Schedule/>")
    script = Path(github_server.__file__)
    with subprocess.Popen(
        [sys.executable, str(script), "--directory", str(folder)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()

        def door(**wanted: Any) -> Any:
            with urllib.request.urlopen(f"{url}/_standin", json.dumps(wanted).encode(), timeout=5) as answer:
                return json.load(answer)["result"]

        source = source_of(Hub(), tmp_path, api_url=url)
        assert source.fetch().files == {"00-control.xml": b"<Schedule/>"}
        number = door(do="open_issue", title="kill-switch")
        assert numbers(source) == [number]
        door(do="close_issue", number=number)
        door(do="set_files", files={"00-control.xml": "<Schedule> </Schedule>"})
        assert numbers(source) == []
        assert source.fetch().files == {"00-control.xml": b"<Schedule> </Schedule>"}
        with urllib.request.urlopen(f"{url}/_standin", timeout=5) as answer:
            assert len(json.load(answer)["requests"]) == 12
        source.close()
        child.terminate()
        assert child.wait(10) == 0
