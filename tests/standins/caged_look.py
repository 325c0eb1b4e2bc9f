"""Look around from inside a cage, with the real keeper and the real bwrap; print what was seen as JSON.

Started as a program, so that it can be another user: `caged_look.py FOLDER`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from testwarden.clients.bubblewrap import Bubblewrap
from testwarden.clients.cage import Confinement, Reach
from testwarden.clients.process import Command, Keeper, clean_environment
from testwarden.clients.stop import Stop

LOOK = """
import errno, json, os, signal, socket, sys, time
def reads(path):
    try:
        with open(path) as file: return file.read()
    except OSError as error: return errno.errorcode[error.errno]
def writes(path):
    try:
        with open(path, "w") as file: file.write("x")
        os.unlink(path)
    except OSError as error: return errno.errorcode[error.errno]
    return "written"
def dials(host, port):
    try:
        with socket.create_connection((host, port), 5): return "connected"
    except socket.gaierror: return "no name service"
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
def asks(target):
    with socket.create_connection(("127.0.0.1", 3128), 5) as proxy:
        host = target.partition("/")[0]
        proxy.sendall(f"GET http://{target} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
        answer = b""
        while piece := proxy.recv(65536): answer += piece
        return int(answer.split()[1])
def processes():
    return [name for name in os.listdir("/proc") if name.isdigit()]
def forks(most):
    pids = []
    try:
        while len(pids) < most:
            pids.append(os.fork() or time.sleep(600))
    except BlockingIOError: pass
    for pid in pids: os.kill(pid, signal.SIGKILL)
    return len(pids)
print(json.dumps(eval(sys.argv[1], globals())))
"""
"""Code for inside: prints the value of an expression, in which these functions can be used."""

LISTED = """{
    "root": sorted(os.listdir("/")), "etc": sorted(os.listdir("/etc")),
    "passwd": reads("/etc/passwd"), "shadow": reads("/etc/shadow"),
    "var": reads("/var/lib/dpkg/status"), "secret": [reads(path) for path in SECRETS], "file": reads("/files/data/one.txt"),
    "scratch": writes("/work/x"), "tmp": writes("/tmp/x"),
    "elsewhere": [writes(p) for p in ("/x", "/usr/x", "/etc/x", "/dev/x", "/dev/shm/x", "/files/x", "/files/data/one.txt")],
    "work": os.listdir("/work"), "uid": os.getuid(), "processes": len(processes()), "name": socket.gethostname(),
    "environment": sorted(os.environ), "cwd": os.getcwd(), "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    "forks": forks(FORKS),
}"""


def python(*arguments: str) -> tuple[str, ...]:
    """Return argv of the interpreter that is in every cage."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return (str(Path(sys.base_prefix, "bin", version)), "-I", "-S", *arguments)


def main(folder: Path) -> None:
    """Print one object: what the cage says of itself, and what was seen with an open and with a closed network."""
    work, data = folder / "work", folder / "data"
    for each in (work, data):
        each.mkdir(exist_ok=True)
    (data / "one.txt").write_text("content")
    listing = LISTED.replace("SECRETS", repr([str(folder / "secret"), str(Path.home() / ".profile"), "/root/.profile"]))
    listing = listing.replace("FORKS", "600" if os.geteuid() else "0")  # the kernel counts no processes of root's
    (folder / "secret").write_text("secret")
    seen: dict[str, object] = {}
    with Keeper(folder / "processes") as keeper:
        cage = Bubblewrap(keeper)
        seen["problem"] = cage.problem
        for name, reach in (("closed", Reach(("example.invalid",))), ("open", None)):
            with cage.enter(Confinement(work, {"data": data}, reach=reach)) as inside:
                argv = inside.wrap(python("-c", LOOK, listing))
                command = Command(argv, clean_environment(work, inside.env), work)
                ended = keeper.run(command, Stop(), 30)
                seen[name] = json.loads(ended.stdout) if ended.exit_code == 0 else ended.stderr
    seen["host"] = socket.gethostname()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
