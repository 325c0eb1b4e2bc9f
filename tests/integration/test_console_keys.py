"""Keys on a real terminal: a pseudo-terminal whose other end is the test. What a process does it reports on a pipe of
its own, because what it prints to the terminal is part of what is tested."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from testwarden.console.keys import Typing, available

PATIENCE = 30.0
"""Seconds after which a test that waits for a report is called failed."""

HEAD = """
import fcntl, os, signal, sys, termios, threading, time
from testwarden.console.keys import Keys, Terminal, Typing, available

def report(text):
    os.write(REPORT, (text + "\\n").encode())

def fails():
    raise ValueError("this key is broken")

def keys():
    actions = {"q": done.set, "s": lambda: report("status"), "x": fails}
    return Keys(0, Typing(actions, lambda ref: report("run " + ref), lambda text: os.write(1, text.encode())))

def raw():
    return not termios.tcgetattr(0)[3] & (termios.ICANON | termios.ECHO)

done = threading.Event()

def wait_until_done():
    # A signal that comes in the moment before a wait begins is seen at its end: hence many short ones.
    while not done.wait(0.1):
        pass
"""
LEADER = "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"


@dataclass
class Session:
    """A terminal and the process that leads its session."""

    master: int
    slave: int
    reports: int
    process: subprocess.Popen[bytes]
    before: list[object]
    buffer: bytes = b""
    open: list[int] = field(default_factory=list)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def report(self) -> str:
        """Return the next line that was reported; fail where none comes."""
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.reports], [], [], PATIENCE)
            data = os.read(self.reports, 4096) if ready else b""
            assert data, f"no report; the terminal shows {self.shown()!r}"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def shown(self) -> str:
        """Return what the terminal shows by now."""
        text = b""
        while select.select([self.master], [], [], 0)[0]:
            text += os.read(self.master, 4096)
        return text.decode()

    def shown_up_to(self, text: str) -> str:
        """Wait until the terminal shows this text; return all that it shows by then."""
        shown = ""
        while text not in shown:
            ready, _, _ = select.select([self.master], [], [], PATIENCE)
            assert ready, f"the terminal shows only {shown!r}"
            shown += os.read(self.master, 4096).decode()
        return shown

    def end(self) -> int:
        return self.process.wait(PATIENCE)

    def as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    made: list[Session] = []
    yield made
    for session in made:
        if session.process.poll() is None:
            session.process.kill()
        session.process.wait()
        for fd in session.open:
            os.close(fd)


def start(sessions: list[Session], script: str) -> Session:
    master, slave = pty.openpty()
    reports, report = os.pipe()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", f"REPORT = {report}\n{HEAD}{LEADER}{script}"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        pass_fds=[report],
        start_new_session=True,
    )
    os.close(report)
    session = Session(master, slave, reports, process, before, open=[master, slave, reports])
    sessions.append(session)
    return session


RUN = """
report(str(available(0)))
with keys():
    report(str(raw()))
    wait_until_done()
    BODY
"""


def test_typed_keys_arrive_and_the_terminal_is_as_it_was(sessions: list[Session]) -> None:
    session = start(sessions, RUN.replace("BODY", ""))
    assert (session.report(), session.report()) == ("True", "True")
    session.type("s")
    assert session.report() == "status"
    session.type("q")
    assert session.end() == 0
    assert session.as_before()


def test_a_task_reference_can_be_typed_corrected_and_cancelled(sessions: list[Session]) -> None:
    session = start(sessions, RUN.replace("BODY", ""))
    session.report(), session.report()
    session.type("r12\x7f3q4567\r")
    assert session.report() == "run 134"
    session.type("r5\x1b")
    shown = session.shown_up_to("(cancelled)\r\n")
    assert shown.splitlines() == ["task reference: 12\b \b34", "task reference: 5 (cancelled)"]
    session.type("q")
    assert session.end() == 0


def test_arrow_keys_and_broken_actions_do_no_harm(sessions: list[Session]) -> None:
    session = start(sessions, RUN.replace("BODY", ""))
    session.report(), session.report()
    session.type("\x1b[A\x1bOs\x1bs\x1b[15~Sz")
    session.type("xr1\r")
    assert session.report() == "run 001"
    assert "this key is broken" in session.shown()
    session.type("q")
    assert session.end() == 0


def test_the_terminal_is_as_it_was_after_an_exception(sessions: list[Session]) -> None:
    session = start(sessions, RUN.replace("BODY", "raise RuntimeError('boom')"))
    session.type("q")
    assert session.end() == 1
    assert session.as_before()
    assert "boom" in session.shown()


def test_the_terminal_is_as_it_was_when_nobody_called_stop(sessions: list[Session]) -> None:
    session = start(sessions, "keys().start()\nreport(str(raw()))\nraise RuntimeError('boom')")
    assert session.report() == "True"
    assert session.end() == 1
    assert session.as_before()


def test_ctrl_c_stays_a_signal(sessions: list[Session]) -> None:
    script = RUN.replace("BODY", "").replace("report", "signal.signal(signal.SIGINT, lambda *_: done.set())\nreport", 1)
    session = start(sessions, script)
    session.report(), session.report()
    session.type("\x03")
    assert session.end() == 0
    assert session.as_before()


def test_stop_may_be_called_by_a_key_and_twice(sessions: list[Session]) -> None:
    script = """
held = []
def quit():
    held[0].stop()
    done.set()
held.append(Keys(0, Typing({"q": quit}, print, print)))
held[0].start()
report("started")
wait_until_done()
held[0].stop()
held[0].stop()
report(str([thread.name for thread in threading.enumerate()]))
"""
    session = start(sessions, script)
    session.report()
    session.type("q")
    assert session.report() == "['MainThread']"
    assert session.end() == 0
    assert session.as_before()


def test_a_terminal_stopped_with_ctrl_s_keeps_nobody_from_ending(sessions: list[Session]) -> None:
    script = """
import logging
import testwarden.console.log as log
log.FLUSH_SECONDS = 0.05
with log.Log(1), keys():
    report("started")
    wait_until_done()
    for _ in range(1000):
        logging.getLogger("testwarden").info("x" * 1000)
"""
    session = start(sessions, script)
    session.report()
    session.type("\x13")
    session.type("q")
    assert session.end() == 0
    assert session.as_before()


def test_a_terminal_that_goes_away_ends_the_reading_quietly(sessions: list[Session]) -> None:
    script = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with keys():
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "keys"]
    report("started")
    thread.join()
    report("ended")
report("stopped")
"""
    session = start(sessions, script)
    assert session.report() == "started"
    os.close(session.slave)
    os.close(session.master)
    session.open = [session.reports]
    assert (session.report(), session.report()) == ("ended", "stopped")
    assert session.end() == 0


# A shell in a few lines: it starts `job` in a process group of its own, in front, and learns when it stops or ends.
SHELL = """
signal.signal(signal.SIGTTOU, signal.SIG_IGN)

def shell(job):
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        job()
        os._exit(0)
    return pid

def wait(pid):
    status = os.waitpid(pid, os.WUNTRACED)[1]
    report("stopped" if os.WIFSTOPPED(status) else "ended %d" % os.waitstatus_to_exitcode(status))

def take_terminal():
    os.tcsetpgrp(0, os.getpgrp())

def job():
    here = keys()
    signal.signal(signal.SIGTSTP, here.suspend)
    signal.signal(signal.SIGCONT, lambda *_: (here.resume(), report("continued")))
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    with here:
        report("raw" if raw() else "not raw")
        wait_until_done()
"""


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(sessions: list[Session]) -> None:
    script = """
pid = shell(job)
wait(pid)
take_terminal()
report("raw" if raw() else "not raw")
os.tcsetpgrp(0, pid)
os.kill(pid, signal.SIGCONT)
wait(pid)
take_terminal()
"""
    session = start(sessions, SHELL + script)
    assert session.report() == "raw"
    session.type("\x1a")
    assert (session.report(), session.report(), session.report()) == ("stopped", "not raw", "continued")
    session.type("s")
    assert session.report() == "status"
    session.type("q")
    assert session.report() == "ended 0"
    assert session.end() == 0
    assert session.as_before()


def test_in_the_background_it_neither_reads_nor_sets_the_terminal_nor_stops(sessions: list[Session]) -> None:
    script = """
pid = shell(job)
wait(pid)
take_terminal()
os.kill(pid, signal.SIGCONT)
report("typed " + os.read(0, 100).decode().strip())
report("raw" if raw() else "not raw")
os.kill(pid, signal.SIGTERM)
wait(pid)
"""
    session = start(sessions, SHELL + script)
    assert session.report() == "raw"
    session.type("\x1a")
    assert (session.report(), session.report()) == ("stopped", "continued")
    session.type("sqs\n")
    assert [session.report() for _ in range(3)] == ["typed sqs", "not raw", "ended 0"]
    assert session.end() == 0
    assert session.as_before()


def test_ctrl_z_where_nobody_could_continue_us_changes_nothing(sessions: list[Session]) -> None:
    """The leader of a session without a shell above it, as in a container: the kernel does not stop it."""
    script = """
here = keys()
signal.signal(signal.SIGTSTP, lambda *_: (here.suspend(), report("raw" if raw() else "not raw")))
with here:
    report("started")
    while not done.wait(0.01):
        pass
"""
    session = start(sessions, script)
    session.report()
    session.type("\x1a")
    assert session.report() == "raw"
    session.type("q")
    assert session.end() == 0


def test_a_process_in_the_background_is_refused_and_not_stopped(sessions: list[Session]) -> None:
    script = """
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    terminal = Terminal(0)
    terminal.enter()
    report("%s %s" % (available(0), raw()))
    terminal.leave()
    os._exit(0)
report("ended %d" % os.waitstatus_to_exitcode(os.waitpid(pid, os.WUNTRACED)[1]))
"""
    session = start(sessions, script)
    assert (session.report(), session.report()) == ("False False", "ended 0")
    assert session.as_before()


def test_without_a_terminal_there_are_no_keys() -> None:
    reader, writer = os.pipe()
    assert not available(reader)
    os.close(reader)
    os.close(writer)
    assert not available(reader)
    assert not available(None)


def test_a_terminal_of_another_session_is_refused() -> None:
    master, slave = pty.openpty()
    assert not available(slave)
    os.close(master)
    os.close(slave)


def test_a_reference_has_at_most_three_digits_and_an_empty_one_asks_nothing() -> None:
    asked: list[str] = []
    shown: list[str] = []
    typing = Typing({}, asked.append, shown.append)
    for key in "r\x7f12345\n" + "r\r" + "r7\n":
        typing.press(key)
    assert asked == ["123", "007"]
    assert "".join(shown) == "task reference: 123\ntask reference: \ntask reference: 7\n"
