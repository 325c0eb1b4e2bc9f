"""The log: standard logging, written by a thread of its own, so that a stopped terminal or a slow reader stops nobody.

Records are formatted, masked and made safe where they are logged; the bounded queue holds finished bytes. Output goes
straight to the file descriptor: `sys.stdout` has a lock that a stalled write would hold, up to the end of the process.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from urllib.parse import quote

from testwarden.console.text import safe_lines

QUEUE_BYTES = 1 << 20
"""What may wait for a terminal that does not take it."""
FLUSH_SECONDS = 2.0
"""How long `stop` waits for the rest to be written."""
CHUNK = 4096
"""Bytes per write: poll says of a pipe that it takes PIPE_BUF bytes, so that no more than these cannot block."""
MASK = "********"
OURS = "testwarden"

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """`DD-MM-YYYY HH:MM:SS - LEVEL - message`, in UTC. Further lines of a message follow as they are."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s - %(levelname)s - %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - logging's
        return time.strftime("%d-%m-%Y %H:%M:%S", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = safe_lines(super().format(record)).split("\n")
        return "\n".join([first, *map(_not_a_head, rest)])


def _not_a_head(line: str) -> str:
    """A line end in somebody's text must not let them forge a log line: indented, it is none."""
    return f"  {line}" if line[:2].isdigit() and line[2:3] == "-" else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC, ms), `level`, `logger`, `message`, `exception`, extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event |= {
            "time": f"{second}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        # ASCII only: nothing in it can be a command to a terminal.
        try:
            return json.dumps(event, default=str, allow_nan=False)
        except (TypeError, ValueError):
            return json.dumps({str(name): str(value) for name, value in event.items()})


class Masker:
    """Knows the secrets, in the forms in which they turn up in texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # The longest first: a secret may be part of another one.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Given a text, return it without secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text


def _forms(secret: str) -> set[str]:
    plain = {secret, repr(secret)[1:-1], quote(secret, safe=""), quote(secret)}
    return plain | {json.dumps(form)[1:-1] for form in plain}


class Log:
    """The log of one run, a context manager: installs itself in the root logger, and leaves nothing behind."""

    def __init__(
        self, fd: int | None, *, level: str = "info", as_json: bool = False, secrets: Iterable[str] = ()
    ) -> None:
        """Given the file descriptor to write to (None: there is none, all is dropped), the name of the lowest level
        that is shown, the format, and the texts that must never appear. Raise ValueError for an unknown level."""
        self._level = _level(level)
        render = Renderer(JsonFormatter() if as_json else TextFormatter(), Masker(secrets))
        self._writer = Writer(
            fd, lambda count: render(_note(f"{count} log messages are lost: the reader was too slow"))
        )
        self._handler = _Handler(self._writer, render)
        self._handler.addFilter(wanted)
        self._level_before = logging.WARNING

    def start(self) -> None:
        """Write from now on what is logged anywhere in the process."""
        root = logging.getLogger()
        self._level_before = root.level
        self._writer.start()
        root.addHandler(self._handler)
        root.setLevel(self._level)

    def stop(self) -> None:
        """Write what is still queued, for at most FLUSH_SECONDS, and put logging back as it was."""
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._level_before)
        self._writer.stop()

    def echo(self, text: str) -> None:
        """Put a text of ours on the console as it is, in order with the log: prompts and what a person types."""
        self._writer.put(text.encode())

    def __enter__(self) -> Log:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _level(name: str) -> int:
    levels = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
    if name.lower() not in levels:
        raise ValueError(f"{name!r} is not a log level: allowed is one of {', '.join(levels)}")
    return levels[name.lower()]


def wanted(record: logging.LogRecord) -> bool:
    """Return whether a record is for people. Libraries tell about their inner life below WARNING; nobody asked for that
    with `--log-level debug`."""
    return record.levelno >= logging.WARNING or record.name.split(".")[0] == OURS


def _note(message: str) -> logging.LogRecord:
    return logging.LogRecord(f"{OURS}.console.log", logging.WARNING, __file__, 0, message, None, None)


class Renderer:
    """Turns a record into the bytes that are written: formatted, without secrets, with a line end."""

    def __init__(self, formatter: logging.Formatter, mask: Masker) -> None:
        self._formatter = formatter
        self._mask = mask

    def __call__(self, record: logging.LogRecord) -> bytes:
        try:
            line = self._formatter.format(record)
        except Exception as problem:  # noqa: BLE001 - a wrong log call must neither stop the caller nor print to stderr
            line = self._formatter.format(_note(f"a log message could not be shown ({problem!r}): {record.msg!r}"))
        return (self._mask(line) + "\n").encode("utf-8", "backslashreplace")


class _Handler(logging.Handler):
    """Renders where the record is made, so that no record, and no secret in one, waits in the queue."""

    def __init__(self, writer: Writer, render: Renderer) -> None:
        super().__init__()
        self._writer = writer
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.put(self._render(record))


class Writer:
    """A bounded queue of bytes and the thread that writes them."""

    def __init__(self, fd: int | None, lost: Callable[[int], bytes]) -> None:
        """Given where to write (None: nowhere), and what to write in place of so many lost entries."""
        self._fd = fd
        self._lost_note = lost
        # With its default lock, which the same thread may take again: a signal handler may log in the middle of `put`.
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._lost = 0
        self._open = fd is not None
        self._give_up_at = math.inf
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is where to write to."""
        if self._open:
            self._thread.start()

    def put(self, data: bytes) -> None:
        """Given bytes, queue them; where the queue is full they are lost and counted. Never waits for the terminal."""
        with self._changed:
            if not self._open:
                return
            if self._queued + len(data) > QUEUE_BYTES:
                self._lost += 1
                return
            self._note_lost()
            self._add(data)
            self._changed.notify()

    def stop(self) -> None:
        """Write what is queued, for at most FLUSH_SECONDS; what comes later is dropped."""
        with self._changed:
            self._open = False
            self._give_up_at = time.monotonic() + FLUSH_SECONDS
            self._changed.notify()
        if self._thread.is_alive():
            # A little longer than the thread itself waits. It is a daemon: what still hangs then ends with the process.
            self._thread.join(FLUSH_SECONDS + 0.5)

    def _add(self, data: bytes) -> None:
        self._queue.append(data)
        self._queued += len(data)

    def _note_lost(self) -> None:
        if self._lost:
            count, self._lost = self._lost, 0
            self._add(self._lost_note(count))

    def _run(self) -> None:
        while data := self._next():
            if not self._write(data):
                with self._changed:
                    self._open = False
                    self._queue.clear()
                return

    def _next(self) -> bytes:
        """Wait for something to write; nothing means that the writer was stopped and all is written."""
        with self._changed:
            while self._open and not self._queue and not self._lost:
                self._changed.wait()
            if not self._queue:
                self._note_lost()
            data = b"".join(self._queue)
            self._queue.clear()
            return data

    def _write(self, data: bytes) -> bool:
        """Return whether all of it was written: not, where nobody reads any more or the time to flush is over."""
        view = memoryview(data)
        while view:
            try:
                written = self._write_some(view)
            except BlockingIOError:
                # Somebody else made the terminal non-blocking and filled it after we asked.
                written = 0
            except OSError:
                # The reader or the terminal is gone (EPIPE, EIO), or stdout was closed (EBADF): the agent goes on.
                return False
            if time.monotonic() >= self._give_up_at:
                return False
            view = view[written:]
            with self._changed:
                self._queued -= written
        return True

    def _write_some(self, view: memoryview) -> int:
        """Wait for a moment until the other side takes something; return how many bytes it took."""
        if self._fd is None:
            raise OSError(errno.EBADF, "there is nothing to write to")
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return os.write(self._fd, view[:CHUNK]) if poll.poll(100) else 0
