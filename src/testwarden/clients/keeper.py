"""The keeper: the one small process that starts, watches and ends the programs that the agent drives.

The agent runs this file as a program of its own, isolated from the operator's Python settings, and speaks to it through
a socket. It outlives the agent: when the agent is gone, however it went, the keeper ends everything and then itself. It
has one thread, and imports little of the standard library and nothing of ours but `record.py`, so that it starts fast
and stays small.

What it promises, on Linux:

- It is the parent that orphans fall to (PR_SET_CHILD_SUBREAPER), so no process that a client starts gets out of its
  sight, not even one that daemonises. *A process that lost its parent is ended, whoever's it was.*
- It alone reaps, so no signal of its ever hits a process that merely got the same pid.
- An attempt's end is reported only when nothing of it lives any more (or after LINGER seconds, should the kernel not
  let go of it).
- Each attempt has a hard deadline on a clock that goes on while the machine sleeps; it holds even when the agent is
  suspended.
- When the keeper itself is killed, the kernel kills every client's process group (see LifeLine). What a client moved
  out of its group outlives that, until the agent ends or is started again (`leftovers.py`).

Elsewhere (macOS) there is no subreaper, no /proc and no life line: a client's process group is ended with the client
and with the agent, but a client that daemonises is not found.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

from testwarden.clients.record import Record, all_pids, stat_of

TYPE_CHECKING = False  # as `typing` has it, whose import would lengthen the start
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

# Agent to keeper, one message a packet. Native byte order: both ends are the same interpreter on the same machine.
START = struct.Struct("=cQdqqqqH")
"""`S`, attempt, seconds to the hard deadline, niceness, bytes a file, open files, bytes of memory (each -1: as it is),
number of arguments; then NUL-joined folder, arguments, `NAME=value` …; with descriptors: stdout, stderr, status."""
SIGNAL = struct.Struct("=cQq")
"""`K`, attempt, signal for its process group."""
REPORT = struct.Struct("=cqQ?d")
"""Keeper to agent, on the attempt's status pipe: `F` (it could not be started), errno, index into STEPS; or
`E` (it ended), exit code or negative signal, strays killed, whether by the hard deadline, seconds from start to end."""
STEPS = ("cannot be entered", "cannot be executed")

THREE_FDS = struct.Struct("=3i")
MOST_BYTES = 256 * 1024  # of one message; a socket's send buffer takes less
LINGER = 5.0
"""Seconds that a report waits for killed processes to be gone. Only one in uninterruptible sleep takes that long."""
LOOK_EVERY = 1.0  # seconds between two looks for strays while attempts run
PRESS = 0.05  # seconds between two looks while something has to go

PR_SET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 15, 36, 38  # linux/prctl.h


def boottime() -> float:
    """Seconds of a clock that goes on while the machine is suspended and that nobody can set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LifeLine:
    """A client's stdin, of which the keeper holds the other end: when that closes, the kernel kills the client's group.

    It closes when the keeper dies, even by SIGKILL. To the client it looks like an empty file. PR_SET_PDEATHSIG would
    kill the client only, and has to be set in a forked child: forking an interpreter costs a millisecond more than
    posix_spawn, which shares memory until exec. (fcntl(2): O_ASYNC, F_SETSIG, F_SETOWN with a negative number.)
    """

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.shutdown(socket.SHUT_WR)

    @property
    def stdin(self) -> int:
        return self._theirs.fileno()

    def tie(self, group: int) -> None:
        """Given the process group that got our `stdin`, tie its life to this end and drop that one."""
        try:
            if hasattr(fcntl, "F_SETSIG"):
                fcntl.fcntl(self._theirs, fcntl.F_SETSIG, signal.SIGKILL)
                fcntl.fcntl(self._theirs, fcntl.F_SETOWN, -group)
                fcntl.fcntl(self._theirs, fcntl.F_SETFL, os.O_ASYNC)
        except OSError:
            pass  # a kernel that has no such signals, or a client that has ended already
        self._theirs.close()

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class Attempt:
    """A client that runs, and what the report about it needs."""

    def __init__(self, number: int, status: int, deadline: float, life_line: LifeLine, strays_before: int) -> None:
        self.number = number
        self.status = status
        self.deadline = deadline
        self.life_line = life_line
        self.strays_before = strays_before
        self.slot = 0
        self.overdue = False
        self.started = time.monotonic()
        self.code = 0
        self.ended = 0.0

    def end(self, wait_status: int) -> None:
        """Given how the client ended, note it and when."""
        self.code = os.waitstatus_to_exitcode(wait_status)
        self.ended = time.monotonic()


class KeeperLoop:
    """Hears the agent, keeps the attempts, until the agent is gone and nothing is left."""

    def __init__(self, control: socket.socket, record: Record) -> None:
        self._control = control
        self._record = record
        self._pid = os.getpid()
        self._running: dict[int, Attempt] = {}  # by pid
        self._ending: list[Attempt] = []  # the client itself has ended; what it left behind may not have
        self._strays_killed = 0
        self._strays_seen = False
        self._next_look = 0.0
        self._children_file = self._open_children_file()
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        # All signals but SIGCHLD stay blocked: what is sent to the keeper has no effect.
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {signal.SIGCHLD})
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
        # macOS spawns no session leaders; a group of its own is what signals need.
        self._own_group: dict[str, Any] = {"setsid": True} if sys.platform == "linux" else {"setpgroup": 0}
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Return when the agent is gone and no descendant is left."""
        agent_is_there = True
        while agent_is_there or self._something_is_left():
            ready = [fd for fd, _ in self._poll.poll(self._patience(agent_is_there))]
            if self._woken in ready:
                self._drain_wakeups()
            self._reap()
            if self._control.fileno() in ready and not self._hear():
                agent_is_there = False
                self._poll.unregister(self._control)
            self._kill_due(agent_is_there)
            if self._ending or not agent_is_there or time.monotonic() >= self._next_look:
                self._kill_strays()
            self._report()

    def _patience(self, agent_is_there: bool) -> int | None:
        """Return the milliseconds until there is something to do unasked, or None where there is nothing.

        Never longer than a look apart while attempts run: poll's own clock stands still while the machine sleeps.
        """
        if self._ending or not agent_is_there:
            return int(PRESS * 1000)
        if not self._running and not self._strays_seen:
            return None
        due = min((attempt.deadline for attempt in self._running.values()), default=float("inf")) - boottime()
        return max(0, int(min(due, LOOK_EVERY) * 1000) + 1)

    def _drain_wakeups(self) -> None:
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            pass  # what woke us is gone already

    def _hear(self) -> bool:
        """Do what the agent asks; return False when it is gone."""
        # Not recv_fds: Python 3.11 drops its flags, and what it receives is then inherited by every client.
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, extras, _, _ = self._control.recvmsg(MOST_BYTES, socket.CMSG_LEN(THREE_FDS.size), flags)
        except OSError:
            return False  # a datagram socket (macOS) says with an error that the agent is gone
        fds = [fd for extra in extras for fd in struct.unpack(f"={len(extra[2]) // 4}i", extra[2])]
        for fd in fds if not flags else ():
            os.set_inheritable(fd, False)
        if data[:1] == b"S" and len(fds) == 3:
            self._start(data, fds)
            return True
        for fd in fds:
            os.close(fd)  # more did not fit into our table of descriptors; the agent notices by the status pipe
        if data[:1] == b"K":
            _, number, which = SIGNAL.unpack(data)
            for pid, attempt in self._running.items():
                if attempt.number == number:
                    self._signal(-pid, which)
        return bool(data)

    def _start(self, data: bytes, fds: Sequence[int]) -> None:
        _, number, seconds, niceness, file_bytes, open_files, memory, count = START.unpack_from(data)
        folder, *words = data[START.size :].split(b"\0")
        stdout, stderr, status = fds
        limits = {
            resource.RLIMIT_FSIZE: file_bytes,
            resource.RLIMIT_NOFILE: open_files,
            resource.RLIMIT_DATA: memory,
        }
        deadline = boottime() + seconds
        life_line, step = None, 0
        try:
            os.chdir(folder)
            step = 1
            life_line = LifeLine()
            attempt = Attempt(number, status, deadline, life_line, self._strays_killed)
            pid = self._spawn(words[:count], words[count:], (life_line.stdin, stdout, stderr), limits)
        except (OSError, ValueError) as error:
            tell(status, b"F", getattr(error, "errno", errno.EINVAL), step)
            if life_line:
                life_line.close()
        else:
            self._running[pid] = attempt
            life_line.tie(pid)
            attempt.slot = self._record.enter(pid)
            tame(pid, niceness, limits)
        finally:
            os.chdir("/")
            os.close(stdout)
            os.close(stderr)

    def _spawn(self, argv: list[bytes], variables: list[bytes], standard: Sequence[int], limits: dict[int, int]) -> int:
        """Start the client in this folder, as leader of its own session; return its pid. Raise OSError if exec fails.

        It inherits nothing but the three descriptors: every other one of ours closes at exec. Limits are lent to it by
        having them ourselves for this moment; `tame` then makes them final.
        """
        own = {which: resource.getrlimit(which) for which in limits}
        try:
            for which, value in lowered(limits, own):
                resource.setrlimit(which, (value, own[which][1]))
            return os.posix_spawn(
                argv[0],
                argv,
                dict(variable.split(b"=", 1) for variable in variables),
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(standard)],
                setsigmask=(),
                setsigdef=self._ignored,
                **self._own_group,
            )
        finally:
            for which, both in own.items():
                resource.setrlimit(which, both)

    def _signal(self, target: int, which: int) -> None:
        """Given a pid of ours that was not reaped yet, or the negative number of its group, send the signal."""
        try:
            os.kill(target, which)
        except (ProcessLookupError, PermissionError):
            pass  # gone, or not ours to signal

    def _kill_due(self, agent_is_there: bool) -> None:
        now = boottime()
        for pid, attempt in self._running.items():
            if now >= attempt.deadline:
                attempt.overdue = True
            if attempt.overdue or not agent_is_there:
                self._signal(-pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Take leave of every child that has ended."""
        while taken := self._take():
            pid, wait_status = taken
            attempt = self._running.pop(pid, None)
            if attempt:
                attempt.end(wait_status)
                self._ending.append(attempt)
            elif os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) == signal.SIGKILL:
                self._strays_killed += 1

    def _take(self) -> tuple[int, int] | None:
        """Reap one child that has ended, having killed its group; return pid and wait status, None where there is none.

        The group is killed first, because only until the child is reaped the group's number surely is its own.
        """
        try:
            if not hasattr(os, "waitid"):  # macOS before Python 3.13
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
                if pid in self._running:
                    self._signal(-pid, signal.SIGKILL)
                return (pid, wait_status) if pid else None
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return None
            if found.si_pid in self._running:
                self._signal(-found.si_pid, signal.SIGKILL)
            return os.waitpid(found.si_pid, 0)
        except ChildProcessError:
            return None

    def _something_is_left(self) -> bool:
        return bool(self._running or self._ending or self._children())

    def _kill_strays(self) -> None:
        """Kill every child that was not started by us: it has lost its parent. Its own children are next to do so."""
        strays = [pid for pid in self._children() if pid not in self._running]
        for pid in strays:
            self._signal(pid, signal.SIGKILL)
        self._strays_seen = bool(strays)
        self._next_look = time.monotonic() + LOOK_EVERY

    def _open_children_file(self) -> int | None:
        try:
            return os.open(f"/proc/self/task/{self._pid}/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None  # a kernel without CONFIG_PROC_CHILDREN, or no Linux

    def _children(self) -> list[int]:
        """Return all children, also those that have ended and are not reaped. Complete, because nobody else reaps."""
        if self._children_file is not None:
            return [int(pid) for pid in os.pread(self._children_file, 1 << 16, 0).split()]
        stats = ((pid, stat_of(pid)) for pid in all_pids())
        return [pid for pid, stat in stats if stat and stat[0] == self._pid]

    def _report(self) -> None:
        """Tell the agent about the attempts of which nothing is left."""
        now = time.monotonic()
        for attempt in list(self._ending):
            if not self._strays_seen or now >= attempt.ended + LINGER:
                strays, seconds = self._strays_killed - attempt.strays_before, attempt.ended - attempt.started
                tell(attempt.status, b"E", attempt.code, strays, attempt.overdue, seconds)
                # Behind the report, because somebody waits for that.
                attempt.life_line.close()
                self._record.leave(attempt.slot)
                self._ending.remove(attempt)


def tell(status: int, kind: bytes, value: int, count: int, overdue: bool = False, seconds: float = 0.0) -> None:
    """Given an attempt's status pipe and the parts of a REPORT, tell the agent. It is the last that is told."""
    try:
        os.write(status, REPORT.pack(kind, value, count, overdue, seconds))
    except OSError:
        pass  # nobody listens any more
    os.close(status)


def lowered(limits: dict[int, int], own: dict[int, tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Given limits (-1: as it is) and our own (soft, hard), yield those to set, none above what the operator allows."""
    for which, value in limits.items():
        hard = own[which][1]
        if value >= 0:
            yield which, value if hard == resource.RLIM_INFINITY else min(value, hard)


def tame(pid: int, niceness: int, limits: dict[int, int]) -> None:
    """Given a client that has just started, make its limits final and lower its priority."""
    try:
        os.setpriority(os.PRIO_PGRP, pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness))
        if hasattr(resource, "prlimit"):
            own = {which: resource.prlimit(pid, which) for which in limits}
            for which, value in lowered(limits, own):
                resource.prlimit(pid, which, (value, value))
    except OSError:
        pass  # it has ended already


def prctl(option: int, value: int | bytes) -> None:
    """Call prctl(2), where there is one."""
    import ctypes  # here: the agent imports this module for its messages and has no use for ctypes

    function = getattr(ctypes.CDLL(None), "prctl", None)
    if function:
        function(option, ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value), 0, 0, 0)


def main(control: str, record: str) -> None:
    """Given the numbers of the descriptors that the agent passed on, keep its children until it is gone."""
    control_fd, record_fd = int(control), int(record)
    os.set_inheritable(control_fd, False)
    os.set_inheritable(record_fd, False)
    os.chdir("/")
    prctl(PR_SET_NAME, b"testwarden-keep")
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Clients inherit these two. A program that gains rights by its set-uid bit could not be killed any more.
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    running = Record(record_fd)
    own_slot = running.enter(os.getpid())
    KeeperLoop(socket.socket(fileno=control_fd), running).serve()
    running.leave(own_slot)
