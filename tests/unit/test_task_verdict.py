"""The verdict on a task: what is clamped, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testwarden.model import Decision, FileSize, K6Options, Origin, ScriptFile, Task, TestType
from testwarden.safety.limits import Limits, OwnLimits
from testwarden.safety.task_verdict import judge_task

TASK = Task("001", "a task", 5, 0, TestType.DOWNLOAD)
LOAD = K6Options(ScriptFile("k6/a.js", "0" * 64), targets=("files.example.org",))
K6 = replace(TASK, type=TestType.K6, k6=LOAD)
OPEN = Limits(targets=("*.example.org",))


def test_a_task_inside_the_limits_is_allowed_unchanged() -> None:
    judged = judge_task(TASK, Limits())
    assert judged.verdict.decision is Decision.ALLOWED
    assert judged.task == TASK


def test_values_above_a_limit_are_clamped_and_shown() -> None:
    wild = replace(TASK, workers=5000, retry=9, offset=6, time_offset=7, timeout=99999)
    judged = judge_task(wild, Limits())
    assert judged.verdict.decision is Decision.CLAMPED
    assert (judged.task.workers, judged.task.retry, judged.task.offset) == (10, 5, 5)
    assert (judged.task.time_offset, judged.task.timeout) == (5, 3000)
    assert judged.clamps["workers"] == "5000→10"
    assert "workers 5000→10" in judged.verdict.reason


def test_a_quote_may_take_ten_minutes() -> None:
    assert judge_task(replace(TASK, type=TestType.QUOTE, timeout=3000), Limits()).task.timeout == 600


@pytest.mark.parametrize("size", list(FileSize))
def test_sizes_above_the_largest_that_the_operator_allows_are_refused(size: FileSize) -> None:
    judged = judge_task(replace(TASK, filesize=size), Limits())
    assert judged.verdict.refused == (size in {FileSize.HUGE, FileSize.GIGA, FileSize.TERA})


def test_the_operator_may_allow_every_size() -> None:
    everything = Limits(largest_filesize=FileSize.TERA)
    assert not any(judge_task(replace(TASK, filesize=size), everything).verdict.refused for size in FileSize)


def test_a_type_without_limits_or_that_the_client_cannot_do_is_refused() -> None:
    assert "no iperf tests" in judge_task(replace(TASK, type=TestType.IPERF), Limits()).verdict.reason
    assert judge_task(TASK, Limits(), "no gateway").verdict.reason == "no gateway"


def test_a_k6_task_within_the_limits_is_allowed() -> None:
    gentle = replace(K6, k6=replace(LOAD, vus=20, rate=20, duration=600.0), timeout=600, workers=2)
    assert judge_task(gentle, OPEN).verdict.decision is Decision.ALLOWED


def test_the_load_of_a_k6_task_is_clamped_and_shown() -> None:
    wild = replace(K6, k6=replace(LOAD, vus=5000, rate=1000, duration=7200.0), workers=3, timeout=601)
    judged = judge_task(wild, OPEN)
    assert judged.verdict.reason == "workers 3→2, timeout 601→600, vus 5000→20, rate 1000→20, duration 7200→600"
    assert judged.task.k6 == replace(LOAD, vus=20, rate=20, duration=600)
    assert (judged.task.workers, judged.task.timeout) == (2, 600)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (replace(LOAD, targets=()), "names no targets"),
        (replace(LOAD, targets=None), "names no targets"),
        (replace(LOAD, targets=("files.example.org", "other.net")), "other.net is not among k6.allowed_targets"),
        (replace(LOAD, params=("--http-debug",)), "cannot give arguments to k6"),
    ],
)
def test_a_public_k6_task_names_targets_that_the_operator_allows_and_nothing_else(load: K6Options, words: str) -> None:
    assert words in judge_task(replace(K6, k6=load), OPEN).verdict.reason


def test_without_allowed_targets_the_reason_says_what_to_set() -> None:
    reason = judge_task(K6, Limits()).verdict.reason
    assert "files.example.org is not among k6.allowed_targets, which the operator sets: it is empty" in reason


def test_an_own_test_has_the_operator_s_numbers() -> None:
    load = replace(LOAD, vus=501, rate=100_000, duration=90_000.0, targets=None, params=("--http-debug",))
    judged = judge_task(replace(K6, origin=Origin.OWN, timeout=90_000, k6=load), Limits())
    assert judged.verdict.reason == "timeout 90000→86400, vus 501→500"
    assert (
        judge_task(replace(K6, origin=Origin.OWN, k6=load), Limits(own=OwnLimits(vus=1000))).verdict.decision
        is Decision.ALLOWED
    )


def test_a_public_task_never_has_the_operator_s_numbers() -> None:
    wild = replace(K6, k6=replace(LOAD, vus=400))
    assert judge_task(wild, replace(OPEN, own=OwnLimits(vus=1000))).clamps == {"vus": "400→20"}
