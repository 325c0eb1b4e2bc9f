"""Single keys from the terminal, which is always put back as it was.

Signals stay the terminal's (Ctrl-C, Ctrl-Z, Ctrl-S work as ever). A process in the background never touches the
terminal: reading or setting it there would stop the process (SIGTTIN, SIGTTOU).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import select
import signal
import socket
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType

BACKGROUND_LOOK = 2.0
"""Seconds between two looks whether a process that was sent to the background is in front again."""
JOIN_SECONDS = 1.0
PROMPT = "task reference: "
RUN_TASK = "r"

_ESCAPE = "\x1b"
# Arrow and function keys arrive as ESC and further characters, some of which are letters that mean something here.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])")
_log = logging.getLogger(__name__)


def available(fd: int | None) -> bool:
    """Given the file descriptor of stdin (None: closed), return whether keys can be read: it is a terminal, and this
    process is in front of it."""
    return fd is not None and os.isatty(fd) and _in_front(fd)


def _in_front(fd: int) -> bool:
    return _front_group(fd) == os.getpgrp()


def _front_group(fd: int) -> int | None:
    """None: it is not the terminal of this session, or it is gone."""
    try:
        return os.tcgetpgrp(fd)
    except OSError:
        return None


class Terminal:
    """The mode of one terminal: as it was, or key by key without echo. Every change is made once, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # A signal handler may interrupt the main thread in here, hence one that the same thread may take again.
        self._lock = threading.RLock()
        self._before: list[object] | None = None

    def enter(self) -> None:
        """Hand over keys as they are typed; nothing happens in the background, or where the terminal is gone."""
        with self._lock, _harmless(), contextlib.suppress(termios.error, OSError):
            if not _in_front(self._fd):
                return
            if self._before is None:
                self._before = termios.tcgetattr(self._fd)
            mode = list(termios.tcgetattr(self._fd))
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            mode[6] = list(mode[6])
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            # TCSANOW: the others wait for the output, for ever when it was stopped with Ctrl-S.
            termios.tcsetattr(self._fd, termios.TCSANOW, mode)

    def leave(self) -> None:
        """Put the terminal back as it was. In the background it is somebody else's by now, and left alone."""
        with self._lock, _harmless(), contextlib.suppress(termios.error, OSError):
            if self._before is not None and _in_front(self._fd):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)  # type: ignore[arg-type]  # tcgetattr's own
            self._before = None


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """While inside, touching a terminal that was taken away in this very moment does not stop the process.

    Only while inside: threads and children that an action starts inherit what is blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU, signal.SIGTTIN})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def keystrokes(typed: bytes) -> str:
    """Given what the terminal sent, return the keys that can mean something here."""
    return _SEQUENCE.sub("", typed.decode("ascii", "ignore"))


class Typing:
    """From keys to actions. Pure but for the calls it was given."""

    def __init__(
        self, actions: Mapping[str, Callable[[], None]], run_task: Callable[[str], None], echo: Callable[[str], None]
    ) -> None:
        """Given what each key does, what to do with a task reference that was typed after `r`, and how to show what is
        being typed."""
        self._actions = actions
        self._run_task = run_task
        self._echo = echo
        self._reference: str | None = None

    def press(self, key: str) -> None:
        """Given one key, do what it says."""
        if self._reference is None:
            self._act(key)
        else:
            self._reference = self._edit(self._reference, key)

    def _act(self, key: str) -> None:
        if key == RUN_TASK:
            self._reference = ""
            self._echo(PROMPT)
        elif key in self._actions:
            self._actions[key]()

    def _edit(self, typed: str, key: str) -> str | None:
        """Return what stands there after one more key; None when the question is over."""
        if key in "\r\n":
            self._echo("\n")
            if typed:
                self._run_task(typed.zfill(3))
            return None
        if key == _ESCAPE:
            self._echo(" (cancelled)\n")
            return None
        if key in "\x7f\b" and typed:
            self._echo("\b \b")
            return typed[:-1]
        if key in "0123456789" and len(typed) < 3:
            self._echo(key)
            return typed + key
        return typed


class Keys:
    """Reads keys in a thread of its own, between `start` and `stop`; a context manager.

    The agent installs `suspend` for SIGTSTP and `resume` for SIGCONT. Ask `available` first.
    """

    def __init__(self, fd: int, typing: Typing) -> None:
        self._fd = fd
        self._typing = typing
        self._terminal = Terminal(fd)
        # Sockets know whether they are closed; a closed pipe end could meanwhile be the number of another file.
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def start(self) -> None:
        """Take the terminal and read."""
        # An exception that nobody catches must not leave a shell without echo.
        atexit.register(self._terminal.leave)
        self._terminal.enter()
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and put the terminal back. An action may call it, and it may be called twice."""
        with contextlib.suppress(OSError):  # closed: it was stopped before
            self._waker.send(b"x")
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            # It comes at once, but an action that hangs must not keep the agent from ending.
            self._thread.join(JOIN_SECONDS)
        if not self._thread.is_alive():
            self._wake.close()
            self._waker.close()
        self._terminal.leave()
        atexit.unregister(self._terminal.leave)

    def suspend(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Put the terminal back and stop the process, as Ctrl-Z asks for; go on where it was when it is continued.

        For the main thread only: it sets a signal handler. By SIGTSTP's own default, not by SIGSTOP: where no shell
        could continue us (a container, an orphan) the kernel then ignores it.
        """
        self._terminal.leave()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self.resume()

    def resume(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Take the terminal again, if this process is in front of it."""
        self._terminal.enter()

    def _run(self) -> None:
        while self._wait():
            typed = self._read()
            if typed is None:
                return
            for key in keystrokes(typed):
                self._press(key)

    def _press(self, key: str) -> None:
        try:
            self._typing.press(key)
        except Exception as problem:  # noqa: BLE001 - the edge to what a key does: it costs the key, not the keyboard
            _log.error("the key %s did not do what it should: %r", key, problem, exc_info=problem)

    def _read(self) -> bytes | None:
        """Return what was typed; None when the terminal is gone. SIGHUP tells the agent of that, not this thread."""
        try:
            with _harmless():
                return os.read(self._fd, 1024) or None
        except OSError:
            return None if _front_group(self._fd) is None else b""

    def _wait(self) -> bool:
        """Wait until there is something to read, for us; return False when it is over. Costs nothing meanwhile."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._fd, select.POLLIN)
        while True:
            if self._wake.fileno() in dict(poll.poll()):
                return False
            if _front_group(self._fd) in {None, os.getpgrp()}:
                return True
            if not self._wait_in_background():
                return False

    def _wait_in_background(self) -> bool:
        """Look now and then: what is typed is for the shell in front, and poll would not wait. False: it is over."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while not _in_front(self._fd):
            if poll.poll(BACKGROUND_LOOK * 1000):
                return False
        self._terminal.enter()
        return True

    def __enter__(self) -> Keys:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
