"""The cage on Linux: bubblewrap (`bwrap`) makes it, our proxy is the only way out of it.

What is started is a chain, in which each becomes the next: FRONT → bwrap → `cage_entry.py` → the program. All are in the
process group that `process.py` signals, and only the last can die of TERM.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from testwarden.clients import cage_entry
from testwarden.clients.allow_list import AllowList, Target, own_networks
from testwarden.clients.cage import Confinement, Inside, Reach
from testwarden.clients.cage_door import CONNECT_PATIENCE, Door, Ways
from testwarden.clients.dial import Resolve
from testwarden.clients.process import Command, Processes, Why, clean_environment
from testwarden.clients.proxy import Proxy
from testwarden.clients.proxy_account import Account, Pace
from testwarden.clients.stop import Stop
from testwarden.errors import ProcessError
from testwarden.model import MIB

INSTALL = "install bubblewrap 0.8 or newer (Debian, Ubuntu, Fedora, Arch: the package bubblewrap)"
ALLOW = "it needs user namespaces for ordinary users (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"
PROXY_PORT = 3128
"""Of the proxy on the cage's own loopback. Each cage has its own, so the port is free."""
WAYS_IN = 16
"""Connections that the agent can have to programs inside at a time."""
PROCESSES = 512
"""Processes and threads inside. Where the agent is root, the kernel does not count them."""
TMP_BYTES = 64 * MIB
USER = "1000"
"""Whom a program inside believes to be; outside it is the agent's user."""
PROBE_PATIENCE = 10.0

FRONT = "import _signal,os,sys;_signal.pthread_sigmask(_signal.SIG_BLOCK,[_signal.SIGTERM]);os.execv(sys.argv[1],sys.argv[1:])"
"""TERM blocked, as it stays in all that this becomes: bubblewrap would die of it, and with it everything inside, before
the program could end by itself. Ignored instead, a TERM that comes before the program is there would be lost; blocked, it
waits to be seen (`cage_door.py`)."""

_PUBLIC_CERTIFICATES = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
)
"""Not the whole of /etc/ssl: it has a folder for private keys, which an agent that is root could read."""
_NAME_SERVICE = ("/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts", "/etc/gai.conf")
_ENTRY = "/cage_entry.py"


class Bubblewrap:
    """Makes cages; see Cage."""

    def __init__(
        self,
        processes: Processes,
        names: Mapping[str, tuple[str, int]] | None = None,
        program: str = "bwrap",
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        """Given what runs programs, for the one look whether cages work here; names that only the agent knows → host and
        port, such as the embedded network's; and what looks up all other names."""
        self._processes = processes
        self._names = dict(names or {})
        self._program = program
        self._resolve = resolve
        self._lock = threading.Lock()
        self._problem: str | None = None

    @property
    def problem(self) -> str:
        """See Cage."""
        with self._lock:
            if self._problem is None:
                self._problem = self._look()
            return self._problem

    def _look(self) -> str:
        if sys.platform != "linux":
            return "there is no cage for programs on this system: bubblewrap needs Linux"
        if not shutil.which(self._program):
            return f"there is no {self._program} on PATH: {INSTALL}"
        try:
            with tempfile.TemporaryDirectory(prefix="testwarden-") as name, self.enter(_trial(Path(name))) as inside:
                command = Command(inside.wrap((_true(),)), clean_environment(Path(name), inside.env), Path(name))
                ended = self._processes.run(command, Stop(), PROBE_PATIENCE)
        except (ProcessError, OSError) as error:
            return f"bubblewrap cannot be tried: {error}"
        if ended.why is Why.FINISHED and ended.exit_code == 0:
            return ""
        said = ended.stderr.strip().rpartition("\n")[2] or f"it ended with {ended.why.value}, {ended.exit_code}"
        return f"bubblewrap does not work here ({said}): {INSTALL}; {ALLOW}"

    @contextmanager
    def enter(self, confinement: Confinement) -> Iterator[Inside]:
        """See Cage."""
        binds = [*_interpreter(), *_programs(confinement.programs), *_files(confinement.files)]
        program = shutil.which(self._program)
        if not program:
            raise ProcessError(f"there is no {self._program} on PATH")
        with ExitStack() as stack:
            account, proxy = Account(), None
            if confinement.reach is not None:
                account = Account(confinement.reach.most_bytes)
                allowed = self._allowed(confinement.reach)
                proxy = stack.enter_context(Proxy(allowed, account, Pace(confinement.reach.rate), self._resolve))
            around = (program, *_walls(networked=proxy is None), *binds, *_scratch(confinement.folder))
            yield stack.enter_context(_Standing(confinement.folder, around, proxy, account))

    def _allowed(self, reach: Reach) -> AllowList:
        try:
            targets = tuple(map(Target.parse, reach.targets))
            return AllowList(targets, reach.private, self._names, own_networks())
        except (ValueError, OSError) as error:
            raise ProcessError(str(error)) from error


class _Standing:
    """See Inside."""

    def __init__(self, folder: Path, around: tuple[str, ...], proxy: Proxy | None, account: Account) -> None:
        self._folder = folder
        self._around = around
        self._proxy = proxy
        self._account = account
        self._door: Door | None = None
        self._ways: Ways | None = None

    def __enter__(self) -> _Standing:
        return self

    def __exit__(self, *_: object) -> None:
        self._shut()

    @property
    def env(self) -> Mapping[str, str]:
        env = {"HOME": "/work", "TMPDIR": "/tmp"}  # noqa: S108 - inside, it is the cage's own
        if self._proxy:
            url = f"http://127.0.0.1:{PROXY_PORT}"
            env |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), url)
        return env

    def wrap(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        self._shut()
        self._door = Door(self._folder, self._opened)
        front = (_python(), "-I", "-S", "-c", FRONT)
        port, spare = (PROXY_PORT, WAYS_IN) if self._proxy else (0, 0)
        entry = (_python(), "-I", "-S", _ENTRY, f"/work/{self._door.name}", str(port), str(spare), str(PROCESSES))
        return (*front, *self._around, "--", *entry, *argv)

    def _opened(self, sockets: list[socket.socket]) -> None:
        if self._proxy and sockets:
            listener, *others = sockets
            self._ways = Ways(others)
            self._proxy.listen(listener)

    def _shut(self) -> None:
        """Forget the command that was started last."""
        if self._door:
            self._door.close()
        if self._ways:
            self._ways.close()
        self._door = self._ways = None

    def connect(self, port: int) -> socket.socket:
        if not self._proxy:
            return socket.create_connection(("127.0.0.1", port), CONNECT_PATIENCE)
        if not self._ways:
            raise ConnectionRefusedError("nothing was started in the cage")
        return self._ways.connect(port)

    @property
    def refused(self) -> tuple[str, ...]:
        return self._account.refused

    @property
    def refusals(self) -> int:
        return self._account.refusals

    @property
    def moved(self) -> int:
        return self._account.moved


def _walls(*, networked: bool) -> Iterator[str]:
    """Yield what makes a cage of nothing but the system's programs; see bwrap(1)."""
    yield from ("--unshare-user", "--uid", USER, "--gid", USER, "--disable-userns", "--cap-drop", "ALL")
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "cage")
    yield "--die-with-parent"  # no --new-session: a signal for our process group has to arrive inside
    if not networked:
        yield "--unshare-net"
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in ("/etc/ld.so.cache", *_PUBLIC_CERTIFICATES, *(_NAME_SERVICE if networked else ())):
        yield from ("--ro-bind-try", name, name)
    yield from ("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev")  # else /dev/shm could be filled
    yield from ("--size", str(TMP_BYTES), "--tmpfs", "/tmp")  # noqa: S108 - inside


def _scratch(folder: Path) -> Iterator[str]:
    """Yield what comes last: the folder that can be written, and that nothing else can."""
    yield from ("--bind", str(folder.absolute()), "/work", "--chdir", "/work", "--remount-ro", "/")


def _python() -> str:
    """Return the interpreter itself, not the link to it in a virtual environment."""
    major, minor, *_ = sys.version_info
    path = Path(sys.base_prefix, "bin", f"python{major}.{minor}")
    return str(path if path.exists() else Path(sys.executable).resolve())


def _interpreter() -> Iterator[str]:
    """Yield what the entry program needs: the interpreter and its libraries, without what may lie beside them."""
    for path in (Path(_python()), Path(sys.base_prefix, "lib"), Path(sys.base_prefix, "lib64")):
        if path.exists() and not path.is_relative_to("/usr"):
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--ro-bind", str(Path(cage_entry.__file__).absolute()), _ENTRY)


def _programs(programs: tuple[Path, ...]) -> Iterator[str]:
    for program in programs:
        real = program.resolve()
        if not real.is_file():
            raise ProcessError(f"there is no program {program}")
        for path in {real: None, program.absolute(): None}:
            if not path.is_relative_to("/usr"):  # what is there is to be seen anyway
                yield from ("--ro-bind", str(real), str(path))


def _files(files: Mapping[str, Path]) -> Iterator[str]:
    for name, path in files.items():
        inner = PurePosixPath("/files", name)
        if inner == PurePosixPath("/files") or ".." in inner.parts or inner.parts[:2] != ("/", "files"):
            raise ProcessError(f"{name!r} cannot be the name of a file in a cage")
        if not path.exists():
            raise ProcessError(f"there is no {path}")
        yield from ("--ro-bind", str(path.absolute()), str(inner))


def _trial(folder: Path) -> Confinement:
    return Confinement(folder, reach=Reach(()))


def _true() -> str:
    return shutil.which("true", path="/usr/bin:/bin") or "/bin/true"
