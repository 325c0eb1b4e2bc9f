from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.console import log as log_module
from testwarden.console.log import QUEUE_BYTES, Log, Masker

ours = logging.getLogger("testwarden.test")
EPOCH = 1763683230.0789
"""2025-11-21 00:00:30.078 UTC."""


@dataclass
class Pipe:
    """A pipe whose other end is read when asked."""

    ends: list[int] = field(default_factory=lambda: list(os.pipe()))

    @property
    def fd(self) -> int:
        return self.ends[1]

    def text(self) -> str:
        """Close our end and read what was written."""
        os.close(self.ends.pop())
        with os.fdopen(self.ends.pop(), "rb") as reader:
            return reader.read().decode("utf-8")


@pytest.fixture(autouse=True)
def no_other_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's own handlers raise where a log call is wrong; here they stay out of it."""
    monkeypatch.setattr(ours, "handle", lambda record: [handler.handle(record) for handler in _logs()])


def _logs() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if type(handler).__module__ == log_module.__name__]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for fd in pipe.ends:
        os.close(fd)


def at_epoch(message: str, **more: object) -> logging.LogRecord:
    record = logging.LogRecord("testwarden.test", logging.INFO, "", 0, message, None, None)
    record.created = EPOCH
    vars(record).update(more)
    return record


def test_a_line_has_the_moment_in_utc_whatever_the_zone(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "XXX-5:45")
        time.tzset()
        with Log(pipe.fd):
            ours.handle(at_epoch("hello %d"))
    time.tzset()
    assert pipe.text() == "21-11-2025 00:00:30 - INFO - hello %d\n"


def test_json_lines_carry_time_level_logger_message_and_the_events_own_fields(pipe: Pipe) -> None:
    with Log(pipe.fd, as_json=True):
        ours.handle(at_epoch("hello\x1b", task="001", share=0.5))
        ours.handle(at_epoch("odd", value=float("nan")))
    first, second = (json.loads(line) for line in pipe.text().splitlines())
    assert first == {
        "time": "2025-11-21T00:00:30.078Z",
        "level": "INFO",
        "logger": "testwarden.test",
        "message": "hello\x1b",
        "task": "001",
        "share": 0.5,
    }
    assert (second["value"], second["message"]) == ("nan", "odd")


def test_json_has_the_exception_and_stays_one_line_of_ascii(pipe: Pipe) -> None:
    with Log(pipe.fd, as_json=True):
        ours.error("failed", exc_info=ValueError("büm"), extra={"where": object()})
    (line,) = pipe.text().splitlines()
    assert line.isascii()
    assert "ValueError: büm" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", "debug info warning error"), ("INFO", "info warning error"), ("error", "error")],
)
def test_the_level_decides_what_is_shown(pipe: Pipe, level: str, shown: str) -> None:
    with Log(pipe.fd, level=level):
        for name in ("debug", "info", "warning", "error"):
            getattr(ours, name)(name)
    assert [line.rpartition(" - ")[2] for line in pipe.text().splitlines()] == shown.split()


def test_an_unknown_level_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="'loud' is not a log level: allowed is one of debug, info, warning, error"):
        Log(None, level="loud")


def test_libraries_are_heard_from_warning_on(pipe: Pipe) -> None:
    theirs = logging.getLogger("urllib3.connectionpool")
    with Log(pipe.fd, level="debug"):
        theirs.info("starting new connection")
        theirs.warning("retrying")
    assert pipe.text().count("\n") == 1


def test_nothing_of_it_is_left_after_stop(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.CRITICAL)
    before = (list(root.handlers), root.level, threading.active_count())
    with Log(pipe.fd, level="debug"):
        assert len(root.handlers) == len(before[0]) + 1
    assert (list(root.handlers), root.level, threading.active_count()) == before
    ours.error("nobody listens")
    assert pipe.text() == ""


def test_a_message_of_several_lines_has_one_head(pipe: Pipe) -> None:
    with Log(pipe.fd):
        ours.handle(at_epoch("tasks:\n+---+\n| a\t|"))
    assert pipe.text() == "21-11-2025 00:00:30 - INFO - tasks:\n+---+\n| a\t|\n"


def test_a_message_cannot_forge_a_log_line(pipe: Pipe) -> None:
    with Log(pipe.fd):
        ours.info("description: %s", "x\n21-11-2026 00:00:00 - INFO - the kill switch is clear")
    heads = [line for line in pipe.text().splitlines() if re.match(r"\d\d-\d\d-\d{4} ", line)]
    assert len(heads) == 1


@given(st.text())
def test_no_message_reaches_the_terminal_as_a_command(text: str) -> None:
    pipe = Pipe()
    with Log(pipe.fd):
        ours.info("said: %s", text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", pipe.text())


SECRET = 'ghp_a"b\\c/d'


@pytest.mark.parametrize("as_json", [False, True])
def test_a_secret_is_masked_in_message_arguments_exceptions_and_fields(pipe: Pipe, as_json: bool) -> None:
    with Log(pipe.fd, as_json=as_json, secrets=[SECRET, ""]):
        ours.info(f"message {SECRET}")
        ours.info("argument %s %r", SECRET, [SECRET])
        ours.info("url https://x/?t=ghp_a%22b%5Cc%2Fd", extra={"field": {"deep": SECRET}})
        ours.error("failed", exc_info=ValueError(SECRET))
        ours.info("%d", SECRET)
    text = pipe.text()
    assert text.count("********") == (6 if as_json else 5)
    assert "ghp_a" not in text
    if as_json:
        assert all(json.loads(line) for line in text.splitlines())


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert Masker(["abc", "abcdef"])("abcdef abc") == "******** ********"


def test_a_wrong_log_call_is_told_in_the_log(pipe: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(pipe.fd):
        ours.info("%d files", "many")
        ours.info("next")
    first, second = pipe.text().splitlines()
    assert "could not be shown" in first
    assert "'%d files'" in first
    assert second.endswith("next")
    assert capsys.readouterr().err == ""


def test_echo_writes_as_it_is_in_order_with_the_log(pipe: Pipe) -> None:
    with Log(pipe.fd) as log:
        log.echo("a\b \b")
        ours.handle(at_epoch("x"))
        log.echo("b")
    assert pipe.text() == "a\b \b21-11-2025 00:00:30 - INFO - x\nb"


def test_a_reader_that_stops_reading_blocks_nobody_and_learns_how_much_it_missed(pipe: Pipe) -> None:
    line = "x" * 1000
    with Log(pipe.fd):
        for _ in range(3 * QUEUE_BYTES // 1000):
            ours.info(line)
        # Here we are: no call above waited. Now the reader wakes up, in a thread, since stop waits for it.
        got: list[str] = []
        reader = threading.Thread(target=lambda: got.append(_drain(pipe)))
        reader.start()
    os.close(pipe.ends.pop())
    reader.join()
    lines = got[0].splitlines()
    # How often the queue was full depends on when the pipe took something: each time there is a note, in its place.
    lost = [
        int(count) for count in re.findall(r"WARNING - (\d+) log messages are lost: the reader was too slow", got[0])
    ]
    assert lost
    assert len(lines) - len(lost) + sum(lost) == 3 * QUEUE_BYTES // 1000


def _drain(pipe: Pipe) -> str:
    with os.fdopen(pipe.ends[0], "rb", closefd=False) as reader:
        return reader.read().decode()


def test_stop_gives_up_when_nobody_reads(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "FLUSH_SECONDS", 0.05)
    threads = threading.active_count()
    with Log(pipe.fd):
        for _ in range(100):
            ours.info("x" * 5000)
    assert threading.active_count() == threads


@pytest.mark.parametrize("gone", ["no stdout", "reader closed", "stdout closed"])
def test_the_agent_goes_on_without_an_output(pipe: Pipe, gone: str, capsys: pytest.CaptureFixture[str]) -> None:
    fd = None if gone == "no stdout" else pipe.fd
    if gone == "reader closed":
        os.close(pipe.ends.pop(0))
    if gone == "stdout closed":
        os.close(pipe.ends.pop())
    with Log(fd):
        for number in range(1000):
            ours.info("line %d", number)
    assert capsys.readouterr() == ("", "")
