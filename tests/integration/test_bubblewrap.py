"""The real cage, with real programs inside that try to get out. Linux with bubblewrap."""

from __future__ import annotations

import errno
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from acceptance.demo_runs import NOBODY, python_of_nobody
from standins import caged_look
from standins.caged_look import LOOK, python
from standins.family import Living, below
from standins.watching import wait_until
from testwarden.clients.bubblewrap import PROCESSES, TMP_BYTES, Bubblewrap
from testwarden.clients.cage import Cage, Confinement, Inside, Reach
from testwarden.clients.process import Command, Ended, FakeProcesses, Keeper, Why, clean_environment
from testwarden.clients.stop import Stop
from testwarden.embedded.store import EmbeddedStore
from testwarden.errors import ProcessError

PATIENT = 60.0
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def required(problem: str) -> None:
    """Skip with this problem, where there is one; in CI fail."""
    if problem:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(problem)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with Keeper(tmp_path / "processes") as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def store() -> Iterator[EmbeddedStore]:
    with EmbeddedStore() as running:
        yield running


@pytest.fixture
def cage(keeper: Keeper, store: EmbeddedStore) -> Bubblewrap:
    made = Bubblewrap(keeper, {"store.test": ("127.0.0.1", int(store.url.rpartition(":")[2]))})
    required(made.problem)
    return made


def command(inside: Inside, work: Path, *argv: str, env: Mapping[str, str] | None = None, **limits: int) -> Command:
    return Command(inside.wrap(argv), clean_environment(work, {**inside.env, **(env or {})}), work, **limits)


Seen = Callable[..., Any]


@pytest.fixture
def seen(keeper: Keeper, cage: Bubblewrap, work: Path) -> Seen:
    """Return what evaluates an expression inside a cage with this reach; see LOOK."""

    def look(expression: str, *, networked: bool = False) -> Any:
        reach = None if networked else Reach(("store.test",))
        with cage.enter(Confinement(work, reach=reach)) as inside:
            ended = keeper.run(command(inside, work, *python("-c", LOOK, expression)), Stop(), PATIENT)
        assert ended.exit_code == 0, ended
        return json.loads(ended.stdout)

    return look


CLOSED_ETC = {"ca-certificates", "ld.so.cache", "pki", "ssl"}
OPEN_ETC = CLOSED_ETC | {"gai.conf", "hosts", "nsswitch.conf", "resolv.conf"}


def check_what_was_seen(seen: dict[str, Any]) -> None:
    """Given what `caged_look.py` printed, fail unless the cage hid what it has to and gave what it has to."""
    assert seen["problem"] == ""
    for inside, etc in ((seen["closed"], CLOSED_ETC), (seen["open"], OPEN_ETC)):
        assert isinstance(inside, dict), inside
        assert not {"var", "run", "home", "sys", "mnt", "opt", "srv", "boot"} & set(inside["root"])
        assert set(inside["etc"]) <= etc
        assert {inside["passwd"], inside["shadow"], inside["var"], *inside["secret"]} == {"ENOENT"}
        assert inside["file"] == "content"
        assert (inside["scratch"], inside["tmp"]) == ("written", "written")
        assert not {"written"} & set(inside["elsewhere"])
        assert inside["work"] == []
        assert (inside["uid"], inside["name"], inside["cwd"]) == (1000, "cage", "/work")
        assert inside["processes"] == 2  # bubblewrap's own, which is the first, and this one
        names = {"HOME", "LANG", "PATH", "PWD", "TESTWARDEN_CHILD", "TMPDIR"}
        proxies = {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} if inside is seen["closed"] else set()
        assert set(inside["environment"]) - {"LC_CTYPE"} == names | proxies
        assert inside["descriptors"] == [0, 1, 2, 3]  # the last is how they were listed
        assert inside["forks"] < PROCESSES


def look_as(*prefix: str, folder: Path) -> dict[str, Any]:
    argv = [*prefix, caged_look.__file__, str(folder)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENT, check=False, cwd="/")
    assert run.returncode == 0, run
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def test_inside_there_are_only_the_system_the_files_and_the_scratch_folder(cage: Cage, tmp_path: Path) -> None:
    check_what_was_seen(look_as(sys.executable, folder=tmp_path))


@ROOT_ONLY
def test_an_ordinary_user_has_the_same_cage(cage: Cage) -> None:
    start = python_of_nobody()
    if not start:
        pytest.skip("no Python here that an ordinary user may run has our packages")
    # Not where pytest keeps its folders: an ordinary user cannot get there when root has made them.
    with tempfile.TemporaryDirectory(prefix="testwarden-") as name:
        os.chown(name, NOBODY, NOBODY)
        check_what_was_seen(look_as(*start, folder=Path(name)))


def test_nothing_is_reached_but_the_targets(seen: Seen, store: EmbeddedStore) -> None:
    port = int(store.url.rpartition(":")[2])
    dialled = (
        f'[dials("127.0.0.1", {port}), dials("169.254.169.254", 80), dials("93.184.216.34", 80), dials("::1", {port})]'
    )
    assert not {"connected"} & set(seen(dialled))
    assert seen('[dials("store.test", 80), dials("example.org", 80)]') == ["no name service"] * 2
    asked = ["store.test/seed-1-100/x", f"127.0.0.1:{port}/seed-1-100/x", "169.254.169.254/latest", "example.org/"]
    assert seen(f"[asks(target) for target in {asked}]") == [200, 403, 403, 403]
    udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(('8.8.8.8', 53))"
    assert seen(udp) == errno.ENETUNREACH


def test_what_was_refused_and_moved_is_told(keeper: Keeper, cage: Cage, work: Path) -> None:
    with cage.enter(Confinement(work, reach=Reach(("store.test",)))) as inside:
        questions = '[asks(t) for t in ("store.test/seed-1-5000/x", "evil.test/", "evil.test/")]'
        assert keeper.run(command(inside, work, *python("-c", LOOK, questions)), Stop(), PATIENT).exit_code == 0
        assert inside.refused == ("evil.test:80: it is not one of the targets",)
        assert inside.refusals == 2
        assert 5000 < inside.moved < 6000


def test_without_a_reach_the_network_is_the_hosts(seen: Seen, store: EmbeddedStore) -> None:
    assert seen(f'dials("127.0.0.1", {store.url.rpartition(":")[2]})', networked=True) == "connected"


def test_abstract_sockets_and_processes_of_the_host_are_out_of_sight(seen: Seen) -> None:
    name = f"\0testwarden-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as host:
        host.bind(name)
        host.listen()
        assert seen(f"socket.socket(socket.AF_UNIX).connect_ex({name!r})") == errno.ECONNREFUSED
    assert "1" in seen("processes()")
    assert seen(f'[reads("/proc/1/root/etc/passwd"), os.path.exists("/proc/{os.getpid()}/environ")]') == [
        "ENOENT",
        False,
    ]


def test_nobody_inside_has_a_capability_or_gets_one(seen: Seen) -> None:
    status = seen('reads("/proc/self/status")').splitlines()
    found = dict(line.split(":\t") for line in status if line.startswith(("Cap", "NoNewPrivs")))
    assert {value for name, value in found.items() if name.startswith("Cap")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    new_namespace = "__import__('ctypes').CDLL(None).unshare(0x10000000)"
    assert seen(new_namespace) == -1


def test_the_folder_for_temporary_files_is_bounded(seen: Seen) -> None:
    assert seen('os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize') == TMP_BYTES


def test_limits_hold_inside_and_cannot_be_raised(keeper: Keeper, cage: Cage, work: Path) -> None:
    names = ("DATA", "NOFILE", "FSIZE", "NPROC")
    code = f"import resource as r; print([r.getrlimit(getattr(r, 'RLIMIT_' + name)) for name in {names}])"
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        limited = command(
            inside, work, *python("-c", code), most_memory=1 << 30, most_open_files=256, most_file_bytes=5
        )
        ended = keeper.run(limited, Stop(), PATIENT)
        assert ended.stdout.strip() == f"[({1 << 30}, {1 << 30}), (256, 256), (5, 5), (512, 512)]", ended
        too_large = command(inside, work, "/bin/sh", "-c", "echo 0123456789 >file", most_file_bytes=5)
        assert keeper.run(too_large, Stop(), PATIENT).exit_code == 128 + signal.SIGXFSZ


@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("true", 0)]
)
def test_the_exit_code_comes_through(keeper: Keeper, cage: Cage, work: Path, script: str, code: int) -> None:
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        ended = keeper.run(command(inside, work, "/bin/sh", "-c", script), Stop(), PATIENT)
    assert (ended.why, ended.exit_code) == (Why.FINISHED, code)


def test_a_program_that_is_not_there_is_told_apart(keeper: Keeper, cage: Cage, work: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with cage.enter(Confinement(work, reach=Reach(()), programs=(tmp_path / "plain",))) as inside:
        for program, code in (("/no/such", 127), (str(tmp_path / "plain"), 126)):
            ended = keeper.run(command(inside, work, program), Stop(), PATIENT)
            assert (ended.exit_code, ended.stderr.startswith(f"{program}: ")) == (code, True)


def test_programs_are_there_under_their_path_and_only_they(
    keeper: Keeper, cage: Cage, work: Path, tmp_path: Path
) -> None:
    real, link, other = tmp_path / "real.sh", tmp_path / "link", tmp_path / "other.sh"
    for script in (real, other):
        script.write_text("#!/bin/sh\necho here; echo more >>$0\n")
        script.chmod(0o755)
    link.symlink_to(real)
    with cage.enter(Confinement(work, programs=(link,))) as inside:
        assert keeper.run(command(inside, work, str(link)), Stop(), PATIENT).stdout == "here\n"
        assert keeper.run(command(inside, work, str(other)), Stop(), PATIENT).exit_code == 127
    assert real.read_text() == other.read_text()


def test_what_is_left_in_the_scratch_folder_is_there_afterwards(keeper: Keeper, cage: Cage, work: Path) -> None:
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        keeper.run(command(inside, work, "/bin/sh", "-c", "echo 1 >one"), Stop(), PATIENT)
        assert keeper.run(command(inside, work, "/bin/cat", "one"), Stop(), PATIENT).stdout == "1\n"
    assert [path.name for path in work.iterdir()] == ["one"]
    assert (work / "one").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "a/../../b", "", "."])
def test_a_file_has_its_place_below_files(cage: Cage, work: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(ProcessError, match="name of a file"), cage.enter(Confinement(work, {name: tmp_path / "x"})):
        pass


def test_a_cage_that_cannot_be_is_an_error(cage: Cage, work: Path) -> None:
    for wrong in (
        Confinement(work, {"a": work / "missing"}),
        Confinement(work, programs=(work / "missing",)),
        Confinement(work, reach=Reach(("no target",))),
    ):
        with pytest.raises(ProcessError), cage.enter(wrong):
            pass
    with cage.enter(Confinement(work / "missing")) as inside, pytest.raises(ProcessError):
        inside.wrap(("/bin/true",))


# Ending -----------------------------------------------------------------------------------------------------------


class Running:
    """A command that runs in a thread."""

    def __init__(self, keeper: Keeper, asked: Command) -> None:
        self.stop = Stop()
        self.ended: list[Ended] = []
        self._keeper = keeper
        self._asked = asked
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(ProcessError):  # the keeper died
            self.ended.append(self._keeper.run(self._asked, self.stop, PATIENT))

    def end(self) -> Ended:
        self.join()
        return self.ended[0]

    def join(self) -> None:
        self._thread.join(PATIENT)

    def ask_again(self) -> None:
        """Send TERM to the process group, as the keeper does."""
        os.killpg(self.group(), signal.SIGTERM)

    def group(self) -> int:
        """Return the process group: that of what the keeper started."""
        return min(os.getpgid(one.pid) for one in below(self._keeper.pid))

    def processes(self) -> set[Living]:
        return below(self._keeper.pid)


def is_there(path: Path) -> None:
    wait_until(path.exists, f"{path.name} written")


TRAPS = """
import os, signal, sys, time
def note(number, frame):
    open(f"/work/term{note.count}", "w").close(); note.count += 1
    if note.count == 2: sys.exit(9)
note.count = 0
signal.signal(signal.SIGTERM, note)
open("/work/ready", "w").close()
while True: time.sleep(60)
"""


def test_term_reaches_the_program_twice_and_nothing_around_it_dies(keeper: Keeper, cage: Cage, work: Path) -> None:
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        running = Running(keeper, command(inside, work, *python("-c", TRAPS)))
        is_there(work / "ready")
        around = running.processes()
        running.stop.request("test", grace=PATIENT)
        is_there(work / "term0")
        assert {one for one in around if not one.lives} == set()
        running.ask_again()
        ended = running.end()
    assert (ended.why, ended.exit_code, (work / "term1").exists()) == (Why.STOPPED, 9, True)


def test_a_program_that_does_nothing_about_term_ends_by_it(keeper: Keeper, cage: Cage, work: Path) -> None:
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        running = Running(keeper, command(inside, work, "/bin/sh", "-c", "echo >ready; sleep 60"))
        is_there(work / "ready")
        running.stop.request("test", grace=PATIENT)
        assert running.end().exit_code == 128 + signal.SIGTERM


def test_a_term_that_comes_before_the_program_is_there_is_not_lost(
    keeper: Keeper, cage: Cage, work: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "bwrap"
    wait = f"open('{tmp_path}/waits', 'w').close()\nwhile not os.path.exists('{tmp_path}/go'): time.sleep(0.005)"
    slow.write_text(f"#!{python()[0]}\nimport os, sys, time\n{wait}\nos.execvp('bwrap', sys.argv)\n")
    slow.chmod(0o755)
    late = Bubblewrap(keeper, program=str(slow))
    with late.enter(Confinement(work, reach=Reach(()))) as inside:
        running = Running(keeper, command(inside, work, "/bin/sh", "-c", "echo >started"))
        is_there(tmp_path / "waits")
        running.stop.request("test", grace=PATIENT)
        leader = Path(f"/proc/{running.group()}/status")
        wait_until(lambda: "ShdPnd:\t0000000000004000" in leader.read_text(), "TERM waits")
        (tmp_path / "go").touch()
        ended = running.end()
    assert (ended.why, ended.exit_code) == (Why.STOPPED, 128 + signal.SIGTERM)
    assert not (work / "started").exists()


DAEMON = """
import os, signal, time
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork(): os._exit(0)
        open(f"/work/daemon{number}", "w").close()
        time.sleep(600)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while not all(os.path.exists(f"/work/daemon{number}") for number in range(3)): time.sleep(0.005)
open("/work/ready", "w").close()
while not os.path.exists("/work/end"): time.sleep(0.005)
"""


@pytest.mark.parametrize("how", ["kill", "its own end", "the keeper's death"])
def test_nothing_is_left_however_it_ends(keeper: Keeper, cage: Cage, work: Path, how: str) -> None:
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        running = Running(keeper, command(inside, work, *python("-c", DAEMON)))
        is_there(work / "ready")
        before = running.processes()
        assert len(before) == 6  # bubblewrap outside and inside, the program, its daemons
        if how == "kill":
            running.stop.request("test", grace=0)
        elif how == "its own end":
            (work / "end").touch()
        else:
            os.kill(keeper.pid, signal.SIGKILL)
        running.join()
        if not running.ended:  # nobody was there to wait for them
            wait_until(lambda: not any(one.lives for one in before), "all gone with the keeper")
        assert [one for one in before if one.lives] == []
        assert bool(running.ended) == (how != "the keeper's death")


# The way in -------------------------------------------------------------------------------------------------------

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 6565), Handler)
open("/work/ready", "w").close()
server.serve_forever()
"""


@pytest.mark.parametrize("reach", [Reach(()), None], ids=["closed", "open"])
def test_the_agent_reaches_a_port_inside_as_often_as_it_likes(
    keeper: Keeper, cage: Cage, work: Path, reach: Reach | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = 6565 if reach else free.getsockname()[1]
    code = SERVER.replace("6565", str(port))
    with cage.enter(Confinement(work, reach=reach)) as inside:
        with pytest.raises(OSError, match=r"refused|started"):
            inside.connect(port)
        running = Running(keeper, command(inside, work, *python("-c", code)))
        is_there(work / "ready")
        for _ in range(100):
            client = http.client.HTTPConnection("cage")
            client.sock = inside.connect(port)
            client.request("GET", "/", headers={"Connection": "close"})
            answer = client.getresponse()
            client.close()  # while the answer is still to be read
            assert answer.read() == b"hello"
        for _ in range(50):
            with pytest.raises(ConnectionRefusedError):
                inside.connect(1)
        running.stop.request("test", grace=0)
        running.end()
        with pytest.raises(OSError, match=r".+"):
            inside.connect(port)


def test_a_loopback_port_of_the_host_is_not_reached_by_the_way_in(
    keeper: Keeper, cage: Cage, work: Path, store: EmbeddedStore
) -> None:
    with cage.enter(Confinement(work, reach=Reach(()))) as inside:
        running = Running(keeper, command(inside, work, *python("-c", TRAPS)))
        is_there(work / "ready")
        with pytest.raises(ConnectionRefusedError):
            inside.connect(int(store.url.rpartition(":")[2]))
        with closing(inside.connect(3128)):
            pass  # the proxy's own
        running.stop.request("test", grace=0)
        running.end()


# Whether there is one ---------------------------------------------------------------------------------------------


def test_a_cage_that_works_has_no_problem_and_looks_once(keeper: Keeper, cage: Cage) -> None:
    asked: list[Command] = []

    def script(one: Command) -> Ended:
        asked.append(one)
        return keeper.run(one, Stop(), PATIENT)

    made = Bubblewrap(FakeProcesses(script))
    assert (made.problem, made.problem) == ("", "")
    assert len(asked) == 1


def test_without_bubblewrap_the_problem_says_what_to_install() -> None:
    def nothing(_: Command) -> Ended:
        raise AssertionError("nothing is to be run")

    made = Bubblewrap(FakeProcesses(nothing), program="no-such-bwrap")
    assert made.problem.startswith("there is no no-such-bwrap on PATH: install bubblewrap")
    with pytest.raises(ProcessError), made.enter(Confinement(Path("/"))):
        pass


def test_without_a_folder_for_temporary_files_there_is_a_problem(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    made = Bubblewrap(keeper, program="true")
    assert made.problem.startswith("bubblewrap cannot be tried: [Errno 2] No such file")


def test_without_user_namespaces_the_problem_says_what_to_allow(cage: Cage, keeper: Keeper, tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("unshare is missing (Debian: apt install util-linux)")
    blocked = tmp_path / "bwrap"
    block = "echo 0 >/proc/sys/user/max_user_namespaces"
    blocked.write_text(f'#!/bin/sh\nexec unshare --user --map-root-user sh -c \'{block}; exec bwrap "$@"\' sh "$@"\n')
    blocked.chmod(0o755)
    problem = Bubblewrap(keeper, program=str(blocked)).problem
    assert problem.startswith("bubblewrap does not work here (bwrap: ")
    assert "user namespaces" in problem
