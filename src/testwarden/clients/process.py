"""The one door to child processes: run a command, with a deadline, a stop and bounded output; leave nothing behind.

The agent starts no client itself; a small helper process, the keeper, does. `keeper.py` says what it guarantees.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import math
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from testwarden.clients import keeper
from testwarden.clients.ending import Ending
from testwarden.clients.ending import Why as Why  # so that who runs commands finds it here
from testwarden.clients.leftovers import end_leftovers
from testwarden.clients.pipes import AT_ONCE, Pipes
from testwarden.clients.record import MARK, SLOT
from testwarden.clients.stop import Stop
from testwarden.errors import ProcessError

HARD_MARGIN = 5.0
"""Seconds after the moment by which this module ends a client until the keeper does: the agent may be suspended."""
SEND_PATIENCE = 5.0  # seconds until a keeper that reads nothing counts as dead

# Not by file name: imported, it runs from the compiled cache, which shortens its start.
_BOOT = "import sys; sys.path.append(sys.argv[1]); from testwarden.clients.keeper import main; main(*sys.argv[2:])"


@dataclass(frozen=True)
class Command:
    """A program to run. It gets nothing but what stands here, and a mark in its environment (`record.py`)."""

    argv: tuple[str, ...]
    """The first is the path of the program."""
    env: Mapping[str, str] = field(repr=False)
    """The whole environment; kept out of `repr` because it may hold a secret."""
    cwd: Path
    most_file_bytes: int | None = None
    """A write that makes a file larger than this kills the program with SIGXFSZ."""
    most_memory: int | None = None
    """Bytes of memory that it may write to (RLIMIT_DATA). Not of address space: programs written in Go reserve that by the
    gigabyte and use little of it. k6 with 20 virtual users runs with 256 MiB of this, and not reliably with 1.5 GiB of that."""
    most_open_files: int = 4096
    niceness: int = 10
    grace: float = 2.0
    """Seconds between TERM and KILL at the time limit."""
    second_term: bool = False
    """Whether there is another TERM half-way between TERM and KILL."""
    hear: Callable[[bytes], None] | None = field(default=None, repr=False)
    """Gets all that it writes, as it comes, stdout and stderr alike; must be quick and raise nothing."""


@dataclass(frozen=True)
class Ended:
    """How a command ended. Nothing of it lives any more."""

    why: Why
    exit_code: int | None = None
    """None where a signal ended it, or where it was stopped before it was started."""
    signal: int | None = None
    stdout: str = ""
    """Beginning and end of what it wrote, with a note between them of how much was left out."""
    stderr: str = ""
    seconds: float = 0.0
    """From start to end of the program, by a monotonic clock."""
    strays: int = 0
    """How many processes that had lost their parent were killed meanwhile, whichever attempt they were of."""


class Processes(Protocol):
    """Runs commands. Called from many threads at once."""

    def run(self, command: Command, stop: Stop, timeout: float) -> Ended:
        """Run the command until it ends, is stopped, or `timeout` seconds are over; return how it ended.

        A stop: TERM at once, KILL at `stop.kill_at`. The time limit: TERM, and KILL after the command's grace. Between
        them a second TERM, if the command wants it.
        Raise ProcessError when it could not be started or watched.
        """
        ...


def clean_environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Given a client's working folder and what it needs besides, return its environment: nothing of the operator's."""
    home = str(folder)
    basics = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
    return {**basics, **(extra or {})}


class FakeProcesses:
    """The twin of Keeper for unit tests: starts nothing, answers by a script, remembers what was asked for."""

    def __init__(self, script: Callable[[Command], Ended]) -> None:
        self._script = script
        self.commands: list[Command] = []

    def run(self, command: Command, stop: Stop, timeout: float) -> Ended:  # noqa: ARG002 - the script decides about time
        if stop.requested:
            return Ended(Why.STOPPED)
        self.commands.append(command)
        return self._script(command)


class Keeper:
    """The running keeper: a context manager. Inside, `run` may be called from any thread."""

    def __init__(self, record: Path) -> None:
        """Given the file that is to tell the next start what ran. It is emptied: call `end_leftovers` on it before."""
        self._record = record
        self._mark = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._last_words = ""
        self._closed = False

    def __enter__(self) -> Keeper:
        """Start the keeper. Raise ProcessError when that fails."""
        try:
            with contextlib.ExitStack() as undo, self._record.open("wb") as record:
                self._record.chmod(0o600)
                lines = [self._mark, *[""] * 32]  # room for later, should the disk fill up
                record.write(b"".join(line.ljust(SLOT - 1).encode() + b"\n" for line in lines))
                record.flush()
                self._control, theirs = _channel()
                undo.callback(self._control.close)
                with theirs, _above_standard(theirs.fileno()) as control, _above_standard(record.fileno()) as file:
                    self._helper = _start_helper(control, file)
                undo.pop_all()
        except OSError as error:
            raise ProcessError(f"the keeper of child processes could not be started: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that runs, then the keeper."""
        self.kill_all()
        self._hear_last_words()
        self._control.close()
        _stderr(self._helper).close()
        if self._helper.returncode != 0:  # it did not get to end everything itself
            end_leftovers(self._record)

    @property
    def alive(self) -> bool:
        """Whether the keeper runs. When it does not, and nobody called `kill_all`, the agent cannot go on."""
        return self._helper.poll() is None

    @property
    def pid(self) -> int:
        """Of the keeper."""
        return self._helper.pid

    def kill_all(self, patience: float = 5.0) -> bool:
        """KILL everything at once and for good: nothing can be started any more. Return whether nothing is left.

        Waits for at most about `patience` seconds and for no lock, so a signal handler may call it.
        """
        self._closed = True
        try:
            self._control.shutdown(socket.SHUT_WR)  # what the keeper sees when the agent is gone: it ends everything
        except OSError:
            pass  # it is gone itself
        self._helper.send_signal(signal.SIGCONT)  # should somebody have stopped it
        if not _hangs_up(self._control, patience):
            self._helper.kill()
        try:
            return self._helper.wait(timeout=1.0) == 0
        except subprocess.TimeoutExpired:
            return False

    def run(self, command: Command, stop: Stop, timeout: float) -> Ended:
        """See Processes.run. What `kill_all` ended or kept from starting counts as stopped."""
        if stop.requested or self._is_closed():
            return Ended(Why.STOPPED)
        try:
            ended = self._run(command, stop, timeout)
        except ProcessError:
            if self._is_closed():
                return Ended(Why.STOPPED)
            raise
        return replace(ended, why=Why.STOPPED) if self._is_closed() and ended.signal == signal.SIGKILL else ended

    def _is_closed(self) -> bool:
        return self._closed

    def _run(self, command: Command, stop: Stop, timeout: float) -> Ended:
        number = next(self._numbers)
        with contextlib.ExitStack() as stack:
            pipes = Pipes(stack, command.hear)
            stack.enter_context(stop.listener(pipes.bell.ring))
            limit = Ending(time.monotonic() + timeout, command.grace, second_term=command.second_term)
            self._start(_start_message(number, command, timeout, self._mark), pipes)
            try:
                self._watch(number, pipes, limit, stop)
            except BaseException:
                self._signal_quietly(number)
                raise
            ended = _ended(command, pipes, limit)
        if ended.why is Why.STOPPED and ended.signal == signal.SIGKILL:
            stop.note_kill()
        return ended

    def _start(self, message: bytes, pipes: Pipes) -> None:
        try:
            socket.send_fds(self._control, [message], pipes.childs_ends)
        except OSError as error:
            raise self._death() from error
        finally:
            pipes.close_childs_ends()

    def _watch(self, number: int, pipes: Pipes, limit: Ending, stop: Stop) -> None:
        """Return when the keeper has reported the end, having sent what signals are due."""
        while not pipes.is_over:
            pipes.wait(limit.next_due(stop) - time.monotonic())
            if pipes.was_abandoned:
                raise self._death()
            which = None if pipes.is_over else limit.due(time.monotonic(), stop)
            if which:
                self._signal(number, which)

    def _signal(self, number: int, which: signal.Signals) -> None:
        try:
            self._control.send(keeper.SIGNAL.pack(b"K", number, which))
        except OSError as error:
            raise self._death() from error

    def _signal_quietly(self, number: int) -> None:
        try:
            self._signal(number, signal.SIGKILL)
        except ProcessError:
            pass  # no keeper, no client: it dies with the keeper

    def _death(self) -> ProcessError:
        """Return what to raise when the keeper does not take an order or hangs up on one."""
        what = "did not take the order"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._helper.wait(timeout=0.5)  # what it held is closed a moment before it is dead
            what = "is gone"
        self._hear_last_words()
        return ProcessError(f"the keeper of child processes {what}" + (self._last_words and f": {self._last_words}"))

    def _hear_last_words(self) -> None:
        """Remember the last line of what the keeper wrote to stderr: only a crash makes it write there."""
        try:
            text = os.read(_stderr(self._helper).fileno(), AT_ONCE).decode(errors="replace").strip()
        except (OSError, ValueError):
            return  # nothing written yet, or closed
        self._last_words = text.rpartition("\n")[2] or self._last_words


def _channel() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of what agent and keeper speak through: it keeps messages apart and says when one is gone."""
    kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM  # macOS has no other
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    ours.settimeout(SEND_PATIENCE)
    return ours, theirs


@contextlib.contextmanager
def _above_standard(fd: int) -> Iterator[int]:
    """Given a descriptor, lend a copy that is not 0, 1 or 2, as it may be where the agent's own are closed.

    Those three are the keeper's own standard streams; passed on as one of them, it would be lost.
    """
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        yield copy
    finally:
        os.close(copy)


def _start_helper(control: int, record: int) -> subprocess.Popen[bytes]:
    packages = str(Path(keeper.__file__).parents[2])
    # What some builds of Python cannot start without; the operator's environment stays here.
    env = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    helper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, packages, str(control), str(record)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=env,
        pass_fds=(control, record),
        start_new_session=True,  # so that a Ctrl-C typed at the agent's terminal does not reach it
    )
    os.set_blocking(_stderr(helper).fileno(), False)
    return helper


def _stderr(helper: subprocess.Popen[bytes]) -> IO[bytes]:
    assert helper.stderr is not None  # noqa: S101 - for the type checker; it was asked for above
    return helper.stderr


def _hangs_up(control: socket.socket, patience: float) -> bool:
    """Wait until the other end is closed, for at most so many seconds; return whether it is."""
    poll = select.poll()
    poll.register(control, 0)  # POLLHUP is always reported
    return bool(poll.poll(math.ceil(patience * 1000)))


def _start_message(number: int, command: Command, timeout: float, mark: str) -> bytes:
    variables = {**command.env, MARK: mark}
    texts = [str(command.cwd), *command.argv, *(f"{name}={value}" for name, value in variables.items())]
    try:
        words = [os.fsencode(text) for text in texts]
    except UnicodeEncodeError as error:
        raise ProcessError(f"the command line of {command.argv[0]} cannot be encoded") from error
    limits = (command.most_file_bytes, command.most_open_files, command.most_memory)
    head = keeper.START.pack(
        b"S",
        number,
        timeout + command.grace + HARD_MARGIN,
        command.niceness,
        *(-1 if limit is None else limit for limit in limits),
        len(command.argv),
    )
    message = head + b"\0".join(words)
    if message.count(b"\0", len(head)) != len(words) - 1 or len(message) > keeper.MOST_BYTES:
        raise ProcessError(f"the command line of {command.argv[0]} is too long or holds a NUL character")
    return message


def _ended(command: Command, pipes: Pipes, limit: Ending) -> Ended:
    """Given the pipes of an attempt that is over, return how it ended. Raise ProcessError if it did not even start."""
    if pipes.failure:
        number, step = pipes.failure
        what = command.argv[0] if step else command.cwd
        raise ProcessError(f"{what} {keeper.STEPS[step]}: {os.strerror(number)}")
    code, strays, overdue, seconds = pipes.report or (0, 0, False, 0.0)
    return Ended(
        why=Why.TIMED_OUT if overdue and limit.why is Why.FINISHED else limit.why,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        stdout=pipes.stdout.text(),
        stderr=pipes.stderr.text(),
        seconds=seconds,
        strays=strays,
    )
