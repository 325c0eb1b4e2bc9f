"""The agent's side of a cage's door: hears `cage_entry.py` out, and keeps the sockets that lead inside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testwarden.clients.cage_entry import GO
from testwarden.errors import ProcessError

MOST_SOCKETS = 64
"""That one message brings."""
PATIENCE = 10.0
"""Seconds for a program that has connected to say what it has to."""
CONNECT_PATIENCE = 5.0
"""Seconds until a port inside has to answer."""
_TERM_BIT = 1 << (signal.SIGTERM - 1)
_CREDENTIALS = struct.Struct("=3i")
_NO_ADDRESS = struct.pack("=H14x", socket.AF_UNSPEC)


class Door:
    """Waits for one entry program."""

    def __init__(self, folder: Path, opened: Callable[[list[socket.socket]], None]) -> None:
        """Given the scratch folder, and what is to be done with the sockets from inside, before the program starts.

        Raise ProcessError if there can be no socket in that folder.
        """
        self.name = f".door-{secrets.token_hex(8)}"
        self._path = folder / self.name
        self._opened = opened
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._wait, name="cage-door", daemon=True)
        try:
            with _opened_folder(folder) as short:
                self._listener.bind(f"{short}/{self.name}")  # the whole path may be longer than an address can be
            self._path.chmod(0o600)
            self._listener.listen(1)
        except OSError as error:
            self.close()
            raise ProcessError(f"a socket for the cage cannot be made in {folder}: {error.strerror}") from error
        self._thread.start()

    def close(self) -> None:
        """Wait no longer."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        if self._thread.is_alive():
            self._thread.join(PATIENCE + 1)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _wait(self) -> None:
        """Let one in. The path is gone before the program that is not trusted starts."""
        try:
            entry, _ = self._listener.accept()
        except OSError:
            return  # closed
        finally:
            self._path.unlink(missing_ok=True)
        with entry, contextlib.suppress(OSError):  # it died: there is nobody to tell
            entry.settimeout(PATIENCE)
            self._opened(_received(entry))
            entry.sendall(b"T" if _asked_to_end(entry) else GO)


class Ways:
    """The sockets that lead to the loopback inside. Each is used again when who got it has closed it."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._lock = threading.Lock()
        self._free = sockets
        self._closed = False

    def connect(self, port: int) -> socket.socket:
        """Return a connection to this port. Raise OSError where nobody listens or no socket is free."""
        with self._lock:
            if not self._free:
                raise ConnectionRefusedError("there is no way into the cage (any more), or all are in use")
            way = self._free.pop()
        lent = _Lent(way.detach(), self.give_back)
        try:
            lent.settimeout(CONNECT_PATIENCE)
            lent.connect(("127.0.0.1", port))
        except BaseException:
            lent.close()
            raise
        return lent

    def give_back(self, way: socket.socket) -> None:
        """Take back a socket that is not connected any more."""
        with self._lock:
            if self._closed:
                way.close()
            else:
                self._free.append(way)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._free:
                self._free.pop().close()


class _Lent(socket.socket):
    """A connection into the cage, whose socket goes back when it is closed. The agent itself cannot make another."""

    def __init__(self, fd: int, give_back: Callable[[socket.socket], None]) -> None:
        super().__init__(fileno=fd)
        self._give_back = give_back

    def _real_close(self, *_: Any) -> None:  # what socket.close calls when no file of it is open; ssl does so, too
        if (fd := self.detach()) >= 0:
            way = socket.socket(fileno=fd)
            if _disconnected(way):
                self._give_back(way)
            else:
                way.close()


def _disconnected(way: socket.socket) -> bool:
    """Make a socket as if it had never been connected, connect(2): AF_UNSPEC. Return whether that worked."""
    with contextlib.suppress(OSError):
        way.shutdown(socket.SHUT_RDWR)
    return bool(ctypes.CDLL(None).connect(way.fileno(), _NO_ADDRESS, len(_NO_ADDRESS)) == 0)


@contextmanager
def _opened_folder(folder: Path) -> Iterator[str]:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _received(entry: socket.socket) -> list[socket.socket]:
    """Return the sockets that came with a message. Raise OSError where none came."""
    # Not recv_fds: Python 3.11 drops its flags, and what it receives is then inherited by every child.
    data, extras, _, _ = entry.recvmsg(1, socket.CMSG_LEN(4 * MOST_SOCKETS), socket.MSG_CMSG_CLOEXEC)
    fds = [fd for extra in extras for fd in struct.unpack(f"={len(extra[2]) // 4}i", extra[2])]
    sockets = [socket.socket(fileno=fd) for fd in fds]
    if not data:
        raise ConnectionResetError("the entry program hung up")
    return sockets


def _asked_to_end(entry: socket.socket) -> bool:
    """Return whether the cage got TERM before there was a program inside that could have got it.

    The process around the cage is the grandparent of the entry program, is as old as the cage, and has TERM blocked.
    """
    pid, _, _ = _CREDENTIALS.unpack(entry.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    for _ in range(2):
        status = _status(pid)
        pid = int(status.get("PPid", "0"))
    return bool(int(_status(pid).get("ShdPnd", "0"), 16) & _TERM_BIT)


def _status(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
