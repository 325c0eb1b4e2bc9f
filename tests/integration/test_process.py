"""Real processes through the one door. Linux: /proc is how these tests see who lives."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from standins.watching import MISBEHAVE, lives, open_descriptors, pid_in, pids_in, still_alive, wait_until
from testwarden.clients.process import Command, Ended, FakeProcesses, Keeper, Processes, Why, clean_environment
from testwarden.clients.stop import Stop
from testwarden.errors import ProcessError

PATIENT = 60.0


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with Keeper(tmp_path / "processes") as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """A working folder; what a failed test left running in it is killed."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    for pid in still_alive(pids_in(folder)).values():
        os.kill(pid, signal.SIGKILL)


def python(work: Path, *arguments: str) -> Command:
    return Command((sys.executable, "-I", "-S", *arguments), clean_environment(work), work)


def misbehave(work: Path, *arguments: str) -> Command:
    return python(work, str(MISBEHAVE), *arguments)


def shell(work: Path, script: str) -> Command:
    return Command(("/bin/sh", "-c", script), clean_environment(work), work)


def test_output_exit_code_and_time_come_back(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(shell(work, "echo out; echo err >&2; exit 7"), Stop(), PATIENT)
    assert replace(ended, seconds=0) == Ended(Why.FINISHED, 7, None, "out\n", "err\n")
    assert 0 < ended.seconds < PATIENT


def test_a_client_gets_the_environment_given_and_nothing_else(
    keeper: Keeper, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "the operator's")
    command = Command(("/usr/bin/env",), clean_environment(work, {"SECRET_KEY": "k=v"}), work)
    lines = set(keeper.run(command, Stop(), PATIENT).stdout.splitlines())
    mark = (tmp_path / "processes").read_text().split()[0]
    assert lines == {
        f"HOME={work}",
        f"TMPDIR={work}",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        f"TESTWARDEN_CHILD={mark}",
        "SECRET_KEY=k=v",
    }


def test_the_environment_is_not_in_the_repr_of_a_command(work: Path) -> None:
    assert "k=v" not in repr(Command(("/x",), {"SECRET_KEY": "k=v"}, work))


def test_a_client_starts_tamed_and_undisturbed(keeper: Keeper, work: Path) -> None:
    code = (
        "import os, resource as r, signal as s;"
        "print([r.getrlimit(x) for x in (r.RLIMIT_CORE, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_DATA)],"
        "os.getpriority(os.PRIO_PROCESS, 0), os.getsid(0) == os.getpgrp() == os.getpid(), os.getcwd(),"
        "sorted(int(x) for x in os.listdir('/proc/self/fd'))[:-1], s.pthread_sigmask(s.SIG_BLOCK, ()),"
        "[x for x in s.valid_signals() if s.getsignal(x) == s.SIG_IGN], os.read(0, 10))"
    )
    # Python itself ignores these two; what the keeper ignores or blocks must not come through.
    own = {"SIGPIPE", "SIGXFSZ"}
    command = replace(python(work, "-c", code), most_file_bytes=12345, most_memory=1 << 30, most_open_files=99)
    printed = keeper.run(command, Stop(), PATIENT).stdout
    nice = os.getpriority(os.PRIO_PROCESS, 0) + 10
    assert printed.startswith(
        f"[(0, 0), (12345, 12345), (99, 99), ({1 << 30}, {1 << 30})] {nice} True {work} [0, 1, 2] set() ["
    )
    assert printed.endswith("] b''\n")
    assert {word.partition(".")[2].partition(":")[0] for word in printed.split("<")[1:]} == own


def test_a_client_ignores_and_blocks_no_signal_and_gains_no_rights(keeper: Keeper, work: Path) -> None:
    command = Command(("/bin/cat", "/proc/self/status"), {}, work)
    status = dict(line.split(":\t", 1) for line in keeper.run(command, Stop(), PATIENT).stdout.splitlines())
    of_the_c_library = 1 << 31 | 1 << 32  # signals 32 and 33, which posix_spawn itself sets to be ignored
    assert int(status["SigIgn"], 16) & ~of_the_c_library == 0
    assert int(status["SigBlk"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_the_limits_of_one_client_are_not_those_of_the_next(keeper: Keeper, work: Path) -> None:
    ask = shell(work, "ulimit -f; ulimit -d")
    before = keeper.run(ask, Stop(), PATIENT).stdout
    limited = keeper.run(replace(ask, most_file_bytes=512 << 10, most_memory=1 << 30), Stop(), PATIENT).stdout
    assert limited == "1024\n1048576\n"
    assert keeper.run(ask, Stop(), PATIENT).stdout == before != limited


def test_a_signal_that_was_not_ours_is_told(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "kill-itself"), Stop(), PATIENT)
    assert (ended.why, ended.exit_code, ended.signal) == (Why.FINISHED, None, signal.SIGSEGV)


def test_the_time_limit_asks_first(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "hang"), Stop(), 0.3)
    assert (ended.why, ended.exit_code, ended.signal) == (Why.TIMED_OUT, None, signal.SIGTERM)


def test_a_client_that_ignores_term_is_killed_after_the_grace(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(replace(misbehave(work, "ignore-term"), grace=0.2), Stop(), 0.5)
    assert (ended.why, ended.signal) == (Why.TIMED_OUT, signal.SIGKILL)


def run_beside(keeper: Keeper, command: Command, stop: Stop) -> tuple[threading.Thread, list[Ended]]:
    ends: list[Ended] = []
    thread = threading.Thread(target=lambda: ends.append(keeper.run(command, stop, PATIENT)))
    thread.start()
    return thread, ends


def test_a_stop_asks_and_then_kills_when_patience_ends(keeper: Keeper, work: Path) -> None:
    stop = Stop()
    thread, ends = run_beside(keeper, misbehave(work, "ignore-term"), stop)
    pid = pid_in(work / "client.pid")
    stop.request("the window ends", grace=0.2)
    thread.join(PATIENT)
    assert (ends[0].why, ends[0].signal, stop.kills) == (Why.STOPPED, signal.SIGKILL, 1)
    assert not lives(pid)


def test_a_second_request_takes_patience_away(keeper: Keeper, work: Path) -> None:
    stop = Stop()
    thread, ends = run_beside(keeper, misbehave(work, "ignore-term"), stop)
    pid = pid_in(work / "client.pid")
    stop.request("the window ends", grace=3600)
    assert lives(pid)
    stop.request("kill switch", grace=0)
    thread.join(PATIENT / 2)
    assert (ends[0].why, ends[0].signal) == (Why.STOPPED, signal.SIGKILL)


def test_a_client_that_obeys_a_stop_is_not_killed(keeper: Keeper, work: Path) -> None:
    stop = Stop()
    thread, ends = run_beside(keeper, misbehave(work, "hang"), stop)
    pid_in(work / "client.pid")
    stop.request("the window ends", grace=3600)
    thread.join(PATIENT / 2)
    assert (ends[0].why, ends[0].signal, stop.kills) == (Why.STOPPED, signal.SIGTERM, 0)


@pytest.fixture(params=["keeper", "fake"])
def processes(request: pytest.FixtureRequest) -> Processes:
    if request.param == "fake":
        return FakeProcesses(lambda _: Ended(Why.FINISHED, 0, stdout="hello\n"))
    keeper: Keeper = request.getfixturevalue("keeper")
    return keeper


def test_contract_a_command_runs_and_its_end_is_told(processes: Processes, work: Path) -> None:
    ended = processes.run(shell(work, "echo hello"), Stop(), PATIENT)
    assert (ended.why, ended.exit_code, ended.stdout) == (Why.FINISHED, 0, "hello\n")


def test_contract_nothing_starts_once_a_stop_was_asked_for(processes: Processes, work: Path) -> None:
    stop = Stop()
    stop.request("no", 0)
    assert processes.run(shell(work, "touch ran"), stop, PATIENT) == Ended(Why.STOPPED)
    assert not (work / "ran").exists()


def test_children_that_a_client_leaves_are_gone_when_its_end_is_told(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "children"), Stop(), PATIENT)
    children = pids_in(work)
    assert len(children) == 3
    assert still_alive(children) == {}
    assert (ended.exit_code, ended.strays) == (0, 3)


def test_a_daemon_is_gone_when_its_clients_end_is_told(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "daemon"), Stop(), PATIENT)
    assert not lives(pid_in(work / "daemon.pid"))
    assert (ended.exit_code, ended.strays) == (0, 1)


def test_a_daemon_is_ended_while_its_client_goes_on(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "outlive-daemon"), Stop(), PATIENT)
    assert (ended.exit_code, ended.strays) == (0, 1)


def test_a_child_in_another_session_goes_with_the_client(keeper: Keeper, work: Path) -> None:
    keeper.run(misbehave(work, "moved"), Stop(), 1.0)
    assert still_alive(pids_in(work)) == {}


def test_a_daemon_of_one_client_does_no_harm_to_another(keeper: Keeper, work: Path, tmp_path: Path) -> None:
    stop = Stop()
    thread, ends = run_beside(keeper, misbehave(work, "hang"), stop)
    pid = pid_in(work / "client.pid")
    other = tmp_path / "other"
    other.mkdir()
    keeper.run(replace(misbehave(other, "everything"), grace=0.1), Stop(), 1.0)
    assert still_alive(pids_in(other)) == {}
    assert lives(pid)
    stop.request("enough", 0)
    thread.join(PATIENT)
    assert ends[0].why is Why.STOPPED


def test_50_mib_of_output_are_read_and_bounded(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "flood"), Stop(), PATIENT)
    assert ended.exit_code == 0
    assert ended.stdout.startswith("the beginning\nxxx")
    assert ended.stdout.endswith("xxx\nthe end\n")
    left_out = len("the beginning\n") + (50 << 20) + len("the end\n") - (64 << 10)
    assert f"\n[{left_out} bytes left out]\n" in ended.stdout
    assert len(ended.stdout) < (64 << 10) + 100


def test_endless_output_does_not_outlast_the_time_limit(keeper: Keeper, work: Path) -> None:
    assert keeper.run(misbehave(work, "flood-forever"), Stop(), 0.5).why is Why.TIMED_OUT


def test_output_that_is_not_utf8_is_made_readable(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(misbehave(work, "not-utf8"), Stop(), PATIENT)
    assert (ended.exit_code, ended.stdout) == (1, "caf\ufffd \ufffd\ufffd\n")


def test_pipes_that_a_left_child_holds_open_delay_nothing(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(shell(work, "echo said; sleep 1000 & echo $! > sleeper.pid"), Stop(), PATIENT)
    assert (ended.why, ended.stdout, ended.strays) == (Why.FINISHED, "said\n", 1)
    assert not lives(pid_in(work / "sleeper.pid"))


def test_a_file_larger_than_allowed_ends_its_writer(keeper: Keeper, work: Path) -> None:
    ended = keeper.run(replace(misbehave(work, "fill", "big"), most_file_bytes=5_000_000), Stop(), PATIENT)
    assert (ended.why, ended.signal) == (Why.FINISHED, signal.SIGXFSZ)
    assert (work / "big").stat().st_size == 5_000_000


@pytest.mark.parametrize(
    ("argv", "cwd", "words"),
    [
        (("/nowhere/ant",), ".", "/nowhere/ant cannot be executed: No such file"),
        ((str(MISBEHAVE),), ".", "misbehave.py cannot be executed: Permission denied"),
        (("/bin/true",), "nowhere", "nowhere cannot be entered: No such file"),
        (("/bin/true", "a\0b"), ".", "NUL"),
        (("/bin/true", "\ud800"), ".", "encoded"),
        (("/bin/true", "x" * 300_000), ".", "too long"),
    ],
)
def test_what_cannot_be_started_says_why(
    keeper: Keeper, work: Path, argv: tuple[str, ...], cwd: str, words: str
) -> None:
    with pytest.raises(ProcessError, match=words):
        keeper.run(Command(argv, clean_environment(work), work / cwd), Stop(), PATIENT)
    assert keeper.run(shell(work, "exit 3"), Stop(), PATIENT).exit_code == 3


def test_an_environment_without_a_name_is_refused_and_the_keeper_goes_on(keeper: Keeper, work: Path) -> None:
    with pytest.raises(ProcessError):
        keeper.run(Command(("/bin/true",), {"": "x"}, work), Stop(), PATIENT)
    assert keeper.alive


def test_no_descriptor_is_left_open_here_or_in_the_keeper(keeper: Keeper, work: Path) -> None:
    missing = Command(("/nowhere",), {}, work)
    keeper.run(shell(work, ":"), Stop(), PATIENT)
    ours, theirs = open_descriptors(os.getpid()), open_descriptors(keeper.pid)
    for _ in range(200):
        keeper.run(Command(("/bin/true",), {}, work), Stop(), PATIENT)
        with pytest.raises(ProcessError):
            keeper.run(missing, Stop(), PATIENT)
    assert open_descriptors(os.getpid()) == ours
    wait_until(lambda: open_descriptors(keeper.pid) <= theirs, "the keeper's last descriptor closed")


def test_many_threads_run_clients_at_once_and_each_gets_its_own_end(keeper: Keeper, work: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        ends = list(pool.map(lambda n: keeper.run(shell(work, f"echo {n}; exit {n}"), Stop(), PATIENT), range(100)))
    assert [(ended.exit_code, ended.stdout) for ended in ends] == [(n, f"{n}\n") for n in range(100)]


def test_kill_all_leaves_nothing_and_nothing_starts_after_it(keeper: Keeper, work: Path) -> None:
    thread, ends = run_beside(keeper, misbehave(work, "everything"), Stop())
    pid_in(work / "client.pid")
    assert keeper.kill_all()
    assert still_alive(pids_in(work)) == {}
    thread.join(PATIENT)
    assert (ends[0].why, ends[0].signal) == (Why.STOPPED, signal.SIGKILL)
    assert keeper.run(shell(work, "touch ran"), Stop(), PATIENT) == Ended(Why.STOPPED)
    assert not (work / "ran").exists()
    assert keeper.kill_all()  # a second time does no harm


def test_kill_all_wakes_a_keeper_that_was_suspended(keeper: Keeper, work: Path) -> None:
    thread, _ = run_beside(keeper, misbehave(work, "everything"), Stop())
    pid_in(work / "client.pid")
    os.kill(keeper.pid, signal.SIGSTOP)
    assert keeper.kill_all()
    assert still_alive(pids_in(work)) == {}
    thread.join(PATIENT)


def test_a_keeper_that_dies_takes_its_clients_along_and_says_so(tmp_path: Path, work: Path) -> None:
    errors: list[ProcessError] = []
    record = tmp_path / "processes"

    def run(keeper: Keeper) -> None:
        try:
            keeper.run(misbehave(work, "everything"), Stop(), PATIENT)
        except ProcessError as error:
            errors.append(error)

    with Keeper(record) as keeper:
        thread = threading.Thread(target=run, args=(keeper,))
        thread.start()
        pid_in(work / "client.pid")
        group = {name: pid for name, pid in pids_in(work).items() if name not in ("daemon", "moved")}
        os.kill(keeper.pid, signal.SIGKILL)
        wait_until(lambda: still_alive(group) == {}, "the group dead with its keeper")
        thread.join(PATIENT)
        assert not keeper.alive
        assert "gone" in str(errors[0])
        with pytest.raises(ProcessError):
            keeper.run(shell(work, "exit 0"), Stop(), PATIENT)
        assert "moved" in still_alive(pids_in(work))
    assert still_alive(pids_in(work)) == {}


def test_a_keeper_that_cannot_be_started_is_an_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = open_descriptors(os.getpid())
    with pytest.raises(ProcessError, match="could not be started"), Keeper(tmp_path / "nowhere" / "processes"):
        pass
    assert open_descriptors(os.getpid()) == before


def test_an_exception_while_a_client_runs_ends_the_client(
    keeper: Keeper, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> float:
        if (work / "client.pid").exists():
            raise KeyboardInterrupt
        return time.monotonic() + 0.01

    monkeypatch.setattr("testwarden.clients.ending.Ending.next_due", lambda _self, _stop: interrupt(0))
    with pytest.raises(KeyboardInterrupt):
        keeper.run(misbehave(work, "ignore-term"), Stop(), PATIENT)
    pid = pid_in(work / "client.pid")
    wait_until(lambda: not lives(pid), "the client killed")
