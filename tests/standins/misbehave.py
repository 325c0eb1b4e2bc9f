"""A client that does what no client should: `misbehave.py MODE [ARGUMENT]`. It leaves pids in `*.pid` files."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def note(name: str) -> None:
    """Write our pid to a file in the working folder, whole or not at all."""
    part = Path(f"{name}.{os.getpid()}.part")
    part.write_text(str(os.getpid()))
    part.rename(f"{name}.pid")


def sleep() -> None:
    while True:
        time.sleep(60)


def hang() -> None:
    note("client")
    sleep()


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def fork(name: str, *, own_session: bool = False) -> None:
    """Start a child that ignores TERM and sleeps, and wait until it does."""
    ready, tell = os.pipe()
    if os.fork() == 0:
        if own_session:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(name)
        os.write(tell, b"!")
        sleep()
    os.read(ready, 1)


def fork_children() -> None:
    for number in range(3):
        fork(f"child{number}")


def daemonise() -> None:
    """As daemons do: fork, setsid, fork; what is between ends, so that the daemon loses its parent."""
    middle = os.fork()
    if middle == 0:
        os.setsid()
        fork("daemon")
        os._exit(0)
    os.waitpid(middle, 0)


def wait_for_daemons_end() -> None:
    """Daemonise and live on until the daemon is dead."""
    daemonise()
    daemon = int(Path("daemon.pid").read_text())
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.kill(daemon, 0)
        except ProcessLookupError:
            sys.exit(0)
        time.sleep(0.01)
    sys.exit(1)


def unmarked() -> None:
    """Start a child that leaves session and environment behind, and live on."""
    if os.fork() == 0:
        os.setsid()
        note("unmarked")
        os.execve("/bin/sleep", ["sleep", "600"], {})  # noqa: S606 - to run it without a shell is the point
    hang()


def everything() -> None:
    fork_children()
    fork("moved", own_session=True)
    daemonise()
    ignore_term()


def children_and_hang() -> None:
    fork_children()
    ignore_term()


def flood() -> None:
    line = b"x" * 1023 + b"\n"
    os.write(1, b"the beginning\n")
    for _ in range(50):
        sys.stdout.buffer.write(line * 1024)
    sys.stdout.buffer.write(b"the end\n")


def flood_forever() -> None:
    note("client")
    while True:
        sys.stdout.buffer.write(b"x" * 65536)


def fill(path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; clients written in other languages do not
    with Path(path).open("wb") as file:
        while True:
            file.write(bytes(1 << 20))


def not_utf8() -> None:
    sys.stdout.buffer.write(b"caf\xe9 \xff\xfe\n")
    sys.exit(1)


def main(mode: str, argument: str = "") -> None:
    modes = {
        "hang": hang,
        "ignore-term": ignore_term,
        "children": fork_children,
        "daemon": daemonise,
        "moved": lambda: (fork("moved", own_session=True), hang()),
        "unmarked": unmarked,
        "outlive-daemon": wait_for_daemons_end,
        "children-and-hang": children_and_hang,
        "everything": everything,
        "flood": flood,
        "flood-forever": flood_forever,
        "fill": lambda: fill(argument),
        "not-utf8": not_utf8,
        "kill-itself": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    }
    modes[mode]()
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
