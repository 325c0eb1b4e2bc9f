"""Opening a connection: look the name up once, ask a policy about every address, connect to an address that it saw.

A name can resolve to something else a moment later (DNS rebinding), so a check that resolves for itself proves nothing.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from testwarden.clients.exchange import Guard
from testwarden.errors import TestwardenError

Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""One row of `socket.getaddrinfo`; the last is the address in the form of its family."""

Resolve = Callable[..., Sequence[Found]]
"""What `socket.getaddrinfo` is."""

DialPolicy = Callable[[str, int, Sequence[str]], None]
"""Given the host and port that are dialled and every address the host has, raise DialRefused unless all are right."""

SocketOptions = Sequence[tuple[int, int, int | bytes]]

LOOK = 0.05
"""Seconds between two looks at whether to give up waiting for the resolver."""


class DialRefused(TestwardenError):
    """The policy does not let us connect there."""


def dial(
    host: str, port: int, options: SocketOptions, *, guard: Guard, policy: DialPolicy | None, resolve: Resolve
) -> socket.socket:
    """Return a connected socket that the guard watches over.

    Raise DialRefused (policy), ExchangeEnded (guard), socket.gaierror (name) or OSError (no address answers).
    """
    guard.check()
    found = _look_up(host, port, guard, resolve)
    if policy is not None:
        policy(host, port, [str(row[4][0]) for row in found])
    return _connect_to_one(found, options, guard)


def _look_up(host: str, port: int, guard: Guard, resolve: Resolve) -> Sequence[Found]:
    """Resolve in a thread of its own: `getaddrinfo` can neither be interrupted nor given a time limit.

    A thread that is left behind ends with the time limit of the system's resolver.
    """
    if _is_literal(host):
        return resolve(host, port, type=socket.SOCK_STREAM)  # Nobody is asked, so nothing can hang.
    answers: queue.SimpleQueue[Sequence[Found] | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(resolve(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - it is raised again in the thread that waits
            answers.put(error)

    threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    answer = _wait(answers, guard)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wait(answers: queue.SimpleQueue[Sequence[Found] | Exception], guard: Guard) -> Sequence[Found] | Exception:
    while True:
        guard.check()
        try:
            return answers.get(timeout=LOOK)
        except queue.Empty:
            continue


def _connect_to_one(found: Sequence[Found], options: SocketOptions, guard: Guard) -> socket.socket:
    """Try one address after the other, each for an equal share of the time: a dead one leaves some to the rest."""
    for left in range(len(found), 0, -1):
        guard.check()
        try:
            return _connect(found[-left], options, guard, guard.remaining() / left)
        except OSError:
            if left == 1:
                raise
    raise socket.gaierror(socket.EAI_NONAME, "the name has no address")


def _connect(row: Found, options: SocketOptions, guard: Guard, seconds: float) -> socket.socket:
    family, kind, protocol, _, address = row
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(max(seconds, 0.001))
        guard.adopt(sock)
        sock.connect(address)
        # Who was ended between being adopted and dialling was not connected yet, so there was nothing to shut down.
        guard.check()
        # From here on the guard ends it; the socket's own limit is a second line that a handshake would otherwise lack.
        sock.settimeout(guard.remaining() + 1)
    except BaseException:
        sock.close()
        raise
    return sock
