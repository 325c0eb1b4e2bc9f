"""What is left when the agent is killed, suspended, or the keeper itself is killed. Linux."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from standins.watching import MISBEHAVE, lives, pid_in, pids_in, still_alive, wait_until
from testwarden.clients.leftovers import end_leftovers
from testwarden.clients.process import Command, Keeper
from testwarden.clients.record import MARK, SLOT, boot_id, stat_of
from testwarden.clients.stop import Stop

SMALL_AGENT = MISBEHAVE.with_name("small_agent.py")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@contextmanager
def small_agent(tmp_path: Path, work: Path, mode: str, timeout: float = 600) -> Iterator[subprocess.Popen[bytes]]:
    """Start an agent that runs one client; afterwards, whatever the test found, nothing of it may stay."""
    argv = [sys.executable, str(SMALL_AGENT), str(tmp_path / "processes"), str(work), mode, str(timeout)]
    with subprocess.Popen(argv) as agent:
        try:
            yield agent
        finally:
            agent.kill()
            for pid in still_alive(pids_in(work)).values():
                os.kill(pid, signal.SIGKILL)


def everything_started(work: Path) -> dict[str, int]:
    pid_in(work / "client.pid")
    pids = pids_in(work)
    assert set(pids) == {"agent", "keeper", "client", "child0", "child1", "child2", "moved", "daemon"}
    return pids


def test_nothing_survives_an_agent_that_was_killed(tmp_path: Path, work: Path) -> None:
    with small_agent(tmp_path, work, "everything") as agent:
        pids = everything_started(work)
        agent.kill()
        agent.wait()
        wait_until(lambda: still_alive(pids) == {}, "client, children, daemon and keeper gone")


def test_a_suspended_agent_does_not_keep_its_client_running(tmp_path: Path, work: Path) -> None:
    with small_agent(tmp_path, work, "everything", timeout=1.0) as agent:
        pids = everything_started(work)
        os.kill(agent.pid, signal.SIGSTOP)
        wait_until(lambda: set(still_alive(pids)) <= {"agent", "keeper"}, "the hard deadline kept")
        assert lives(pids["keeper"])
        os.kill(agent.pid, signal.SIGCONT)
        agent.wait(20)
    assert "TIMED_OUT" in (work / "ended.txt").read_text()


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_keeper_is_deaf_to_signals_as_its_agent_is_there(tmp_path: Path, work: Path, which: signal.Signals) -> None:
    with Keeper(tmp_path / "processes") as keeper:
        true = Command(("/bin/true",), {}, work)
        keeper.run(true, Stop(), 60)
        os.kill(keeper.pid, which)
        assert keeper.run(true, Stop(), 60).exit_code == 0
        assert keeper.alive


def test_a_keeper_killed_together_with_its_agent_takes_the_clients_group_along(tmp_path: Path, work: Path) -> None:
    with small_agent(tmp_path, work, "children-and-hang") as agent:
        pid_in(work / "client.pid")
        pids = pids_in(work)
        assert len(pids) == 6
        os.kill(agent.pid, signal.SIGSTOP)  # so that it cannot do anything about it
        os.kill(pids["keeper"], signal.SIGKILL)
        agent.kill()
        agent.wait()
        wait_until(lambda: still_alive(pids) == {}, "the client's group dead without anybody to kill it")


def test_what_outlives_agent_and_keeper_is_ended_at_the_next_start(tmp_path: Path, work: Path) -> None:
    with small_agent(tmp_path, work, "everything") as agent:
        pids = everything_started(work)
        os.kill(agent.pid, signal.SIGSTOP)
        os.kill(pids["keeper"], signal.SIGKILL)
        agent.kill()
        agent.wait()
        wait_until(lambda: set(still_alive(pids)) <= {"moved", "daemon"}, "the client's group dead")
        assert lives(pids["moved"])
        sentences = end_leftovers(tmp_path / "processes")
        assert still_alive(pids) == {}
        assert any(f"process {pids['moved']} " in sentence for sentence in sentences)


def test_a_suspended_keeper_is_found_at_the_next_start_and_ends_everything(tmp_path: Path, work: Path) -> None:
    with small_agent(tmp_path, work, "everything") as agent:
        pids = everything_started(work)
        os.kill(pids["keeper"], signal.SIGSTOP)
        agent.kill()
        agent.wait()
        assert set(still_alive(pids)) == set(pids) - {"agent"}
        sentences = end_leftovers(tmp_path / "processes")
        assert still_alive(pids) == {}
    assert any(f"process {pids['client']} " in sentence for sentence in sentences)
    assert end_leftovers(tmp_path / "processes") == []


def test_the_keeper_is_recorded_where_the_agents_standard_streams_are_closed(tmp_path: Path, work: Path) -> None:
    code = "import os, runpy, sys; os.closerange(0, 3); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    argv = [sys.executable, "-c", code, str(SMALL_AGENT), str(tmp_path / "processes"), str(work), "hang", "600"]
    with subprocess.Popen(argv) as agent:
        pid_in(work / "client.pid")
        wait_until(lambda: len((tmp_path / "processes").read_text().split()) == 7, "both processes recorded")
        agent.kill()
        agent.wait()
        wait_until(lambda: still_alive(pids_in(work)) == {}, "nothing left")


def write_record(path: Path, *lines: str) -> None:
    path.write_text("".join(line.ljust(SLOT - 1) + "\n" for line in lines))


@contextmanager
def sleeper(environment: dict[str, str], script: str = "exec sleep 600") -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sh", "-c", script], env=environment, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def started(pid: int) -> int:
    stat = stat_of(pid)
    assert stat is not None
    return stat[2]


def test_a_suspended_keeper_gets_the_time_to_end_what_only_it_can_find(tmp_path: Path, work: Path) -> None:
    with small_agent(tmp_path, work, "unmarked") as agent:
        pids = {"client": pid_in(work / "client.pid"), "unmarked": pid_in(work / "unmarked.pid")}
        wait_until(lambda: Path(f"/proc/{pids['unmarked']}/comm").read_text() == "sleep\n", "its environment dropped")
        os.kill(pid_in(work / "keeper.pid"), signal.SIGSTOP)
        agent.kill()
        agent.wait()
        end_leftovers(tmp_path / "processes")
        assert still_alive(pids) == {}


def test_a_recorded_process_is_ended_and_what_has_only_its_pid_is_not(tmp_path: Path) -> None:
    record = tmp_path / "processes"
    plain = {"PATH": "/usr/bin:/bin"}
    with sleeper(plain) as recorded, sleeper(plain) as later, sleeper(plain) as other_boot, sleeper(plain) as unknown:
        write_record(
            record,
            "abc",
            f"{later.pid} 1 {boot_id()}",
            f"{recorded.pid} {started(recorded.pid)} {boot_id()}",
            f"{later.pid} {started(later.pid) - 1} {boot_id()}",
            f"{other_boot.pid} {started(other_boot.pid)} 00000000-0000-0000-0000-000000000000",
        )
        sentences = end_leftovers(record)
        assert [f"process {recorded.pid} " in sentence for sentence in sentences] == [True]
        assert not lives(recorded.pid)
        assert lives(later.pid)
        assert lives(other_boot.pid)
        assert lives(unknown.pid)


def test_what_carries_the_mark_of_the_run_is_ended_and_what_carries_another_is_not(tmp_path: Path) -> None:
    record = tmp_path / "processes"
    ours, other, none = (
        {"PATH": "/usr/bin:/bin", **more} for more in ({MARK: "ab" * 16}, {MARK: "ab" * 15 + "cd"}, {})
    )
    with sleeper(ours) as marked, sleeper(other) as of_another_run, sleeper(none) as unmarked:
        write_record(record, "ab" * 16)
        assert len(end_leftovers(record)) == 1
        assert not lives(marked.pid)
        assert lives(of_another_run.pid)
        assert lives(unmarked.pid)


def test_the_session_of_a_recorded_client_is_ended_even_without_its_mark(tmp_path: Path, work: Path) -> None:
    record, pid_file = tmp_path / "processes", work / "member.pid"
    script = f"sleep 600 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}; wait"
    with sleeper({"PATH": "/usr/bin:/bin"}, script) as leader:
        member = pid_in(pid_file)
        write_record(record, "abc", f"1 0 {boot_id()}", f"{leader.pid} {started(leader.pid)} {boot_id()}")
        assert len(end_leftovers(record)) == 2
        assert not lives(member)


def test_a_damaged_mark_ends_nothing(tmp_path: Path) -> None:
    record = tmp_path / "processes"
    for mark in ("", "1", "AB" * 16, "ab" * 15):
        with sleeper({"PATH": "/usr/bin:/bin", MARK: mark}) as marked:
            write_record(record, mark)
            assert end_leftovers(record) == []
            assert lives(marked.pid)


@pytest.mark.parametrize("text", ["", "\n", "x y z\n", "1\n", "-1 -1 -\n", "\0" * 300, "1 1 not-this-boot\n" * 3])
def test_a_record_that_is_damaged_ends_nothing(tmp_path: Path, text: str) -> None:
    record = tmp_path / "processes"
    record.write_text(text)
    assert end_leftovers(record) == []


def test_no_record_ends_nothing(tmp_path: Path) -> None:
    assert end_leftovers(tmp_path / "processes") == []


def test_the_record_says_what_runs_and_is_empty_afterwards(tmp_path: Path, work: Path) -> None:
    record = tmp_path / "processes"
    with small_agent(tmp_path, work, "hang", timeout=600) as agent:
        pids = {"client": pid_in(work / "client.pid"), **pids_in(work)}
        wait_until(lambda: len(record.read_text().split()) == 7, "the mark and both processes recorded")
        lines = [line.split() for line in record.read_text().splitlines()[1:] if line.strip()]
        assert lines == [[str(pids[name]), str(started(pids[name])), boot_id()] for name in ("keeper", "client")]
        agent.kill()
        agent.wait()
        wait_until(lambda: not lives(pids["keeper"]), "the keeper gone")
    assert len(record.read_text().split()) == 1
    assert record.stat().st_mode & 0o777 == 0o600


def test_the_record_does_not_grow(tmp_path: Path, work: Path) -> None:
    record = tmp_path / "processes"
    with Keeper(record) as keeper:
        before = record.stat().st_size
        for _ in range(100):
            keeper.run(Command(("/bin/true",), {}, work), Stop(), 60)
        assert record.stat().st_size == before
