"""The first program in a cage: makes the sockets that lead in and out, hands them to the agent, becomes the real one.

    cage_entry.py CHANNEL PORT SPARE PROCESSES PROGRAM [ARGUMENT …]

CHANNEL is the agent's unix socket. With a PORT other than 0, this program listens there, on the cage's own loopback, and
hands the listening socket out: the agent's proxy accepts on it as if it were its own, so nothing has to carry bytes in
and out. SPARE is how many unconnected sockets go with it: a socket belongs to the network it was made in, wherever it is
used, so with them the agent gets to what the real program serves on its loopback. PROCESSES is how many there may be.

It runs on nothing but the standard library, without `site`, and imports no more than it must: each start waits for it.
`signal` and `socket` would take longer than all the rest, because of their enumerations.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # what `signal` dresses up; typeshed does not have it
import _socket as socket
import os
import resource
import sys

BACKLOG = 512
"""Connections that may wait to be accepted: all virtual users connect at once."""
PATIENCE = 10.0
"""Seconds for the agent to answer."""
GO = b"G"
"""The agent's answer: start. Anything else means that it was asked to end meanwhile."""
FAILED, CANNOT_EXECUTE, NOT_FOUND = 125, 126, 127
"""Exit codes: of this program, and those that a shell has for the real one."""


def main(channel: str, port: str, spare: str, processes: str, *argv: str) -> None:
    """Become the program in `argv`; where that fails, say so and exit."""
    try:
        limit(int(processes))
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)  # the keeper's life line is for who is around us
        if not announce(channel, sockets(int(port), int(spare)) if port != "0" else []):
            os.kill(os.getpid(), signal.SIGTERM)
        undo_signals()
    except OSError as error:
        leave(FAILED, f"the cage could not be set up: {error}")
    try:
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted
    except OSError as error:
        leave(NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE, f"{argv[0]}: {error.strerror}")


def limit(processes: int) -> None:
    """Limit processes, and make those limits final that came with us."""
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for which in (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
        soft, _ = resource.getrlimit(which)
        resource.setrlimit(which, (soft, soft))


def sockets(port: int, spare: int) -> list[socket.socket]:
    """Return a socket that listens on loopback, and others that are not connected."""
    listener, *others = (socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(1 + spare))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return [listener, *others]


def announce(channel: str, made: list[socket.socket]) -> bool:
    """Hand sockets to the agent; return whether the program shall start. Raise OSError where it is gone."""
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.settimeout(PATIENCE)
    agent.connect(channel)
    numbers = b"".join(one.fileno().to_bytes(4, sys.byteorder) for one in made)
    agent.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)] if made else [])
    answer = agent.recv(1)
    if not answer:
        raise ConnectionResetError("the agent hung up")
    for one in (agent, *made):
        one.close()
    return answer == GO


def undo_signals() -> None:
    """Undo what `bubblewrap.FRONT` blocked and what Python ignores. What came meanwhile is delivered now."""
    for which in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(which, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def leave(code: int, sentence: str) -> None:
    """Exit with a sentence on standard error."""
    os.write(2, f"{sentence}\n".encode(errors="replace"))
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
