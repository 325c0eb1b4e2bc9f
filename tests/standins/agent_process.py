"""The real command in a folder of its own: started, typed at, sent signals, watched until nothing of it is left.

    place = Place(tmp_path)
    place.write(task("001", "Download", filesize="small"))
    with place.start("run", "--demo") as agent:
        agent.wait_for(" started")
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, [])

Every wait is for output, a file or the end of a process, and is bounded; a bound that is passed fails with what was said.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from standins.control_folder import control_files
from standins.fake_clock import Clock
from standins.family import Living, below, marked
from standins.output import PATIENCE, Output
from standins.watching import MISBEHAVE, wait_until

STANDINS = Path(__file__).parent
NINE = b"nine byte"
"""What the ant stand-ins download."""
READY = r"tasks of \S+"
"""What the agent says when its tasks are known, before the table."""
_END = "\x1c the end of what it said"


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    code: int
    seconds: float
    """From the first signal, or from when the wait began, to the end of the process."""
    left: list[str]
    """What of it is still alive afterwards."""
    output: str
    terminal_is_back: bool
    """Whether the terminal has the attributes that it had before; true without a terminal."""


class Agent:
    """A running `testwarden`, a context manager: what the test leaves running is killed."""

    def __init__(
        self,
        cache: Path,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: dict[str, str],
        terminal: bool,
        options: Sequence[str],
        python: Sequence[str],
        stdin: int,
    ) -> None:
        """Given its cache folder, its arguments, working folder and environment, whether it gets a terminal of its own,
        options for `launch.py`, the Python to run it with, and its stdin where it has no terminal."""
        self._cache = cache
        self._master = self._slave = -1
        self._family: set[Living] = set()
        if terminal:
            self._master, self._slave = pty.openpty()
            self._before = termios.tcgetattr(self._slave)
            stdin = theirs = self._slave
            ours, options = os.dup(self._master), [*options, "terminal"]
        else:
            ours, theirs = os.pipe()
        launch = [sys.executable, "-I", "-S", str(STANDINS / "launch.py"), *options, "--"]
        command = [*launch, *python, "-m", "testwarden", *argv]
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=stdin, stdout=theirs, stderr=theirs, start_new_session=True
        )
        if not terminal:
            os.close(theirs)
        self._output = Output(ours)
        self._has_ended = threading.Event()
        self._ended_at = 0.0
        threading.Thread(target=self._note_the_end, daemon=True).start()

    def _note_the_end(self) -> None:
        self.process.wait()
        self._ended_at = time.monotonic()
        self._has_ended.set()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._has_ended.is_set():
            self.process.kill()
            self._has_ended.wait()
        self.hang_up()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pattern: str, after: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """Return when the agent has said this; fail at once when it has ended without."""
        return self._output.wait_for(pattern, after, seconds, self._has_ended.is_set)

    def said(self) -> int:
        """Return how much was said so far, for `wait_for(after=…)`."""
        return len(self._output.text)

    def type(self, keys: str) -> None:
        """Type at its terminal."""
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        """Take its terminal away, as closing a window does, or the reader of its output."""
        self._output.close()
        for fd in (self._slave, self._master):
            if fd >= 0:
                os.close(fd)
        self._slave = self._master = -1

    def start_task(self, ref: str, answer: str = " started") -> str:
        """Press `r`, the reference and Enter; return what the agent says to it, which must have this in it."""
        said = self.said()
        self.type(f"r{ref}\r")
        told = self.wait_for(rf"- task {ref}: (.*)$", said)[1]
        assert answer in told, self._output.text
        return told

    def family(self) -> set[Living]:
        """Return all its descendants, and remember them for the end."""
        now = below(self.pid)
        self._family |= now
        return now

    def clients(self, count: int) -> list[int]:
        """Wait until so many attempts have their stand-in hanging (see misbehave.py); return the stand-ins' pids."""

        def files() -> list[Path]:
            return list(self._cache.glob("work/**/client.pid"))

        wait_until(lambda: len(files()) == count, f"{count} stand-ins hang", PATIENCE)
        self.family()
        return [int(path.read_text()) for path in files()]

    def end(self, *signals: int, seconds: float = 30.0) -> Ending:
        """Send these signals (none: just wait) and wait for the end; return how it was."""
        self.family()
        began = time.monotonic()
        for number in signals:
            os.kill(self.pid, number)
        return self.ended(began, seconds)

    def ended(self, began: float, seconds: float = 30.0) -> Ending:
        """Wait for the end, given the monotonic second that its time is counted from and the most that it may take."""
        in_time = self._has_ended.wait(max(0.0, began + seconds - time.monotonic()))
        assert in_time, f"it does not end; it said:\n{self._output.text}"
        left = self.left()
        terminal_is_back = self._slave < 0 or termios.tcgetattr(self._slave) == self._before
        return Ending(self.process.returncode, self._ended_at - began, left, self._all_output(), terminal_is_back)

    def _all_output(self) -> str:
        if self._slave < 0:
            return self._output.whole()
        # The terminal has no end while the test holds it; what is written to it now comes behind all that was said.
        os.write(self._slave, _END.encode())
        self._output.wait_for(re.escape(_END))
        return self._output.text.replace(_END, "")

    def left(self) -> list[str]:
        """Return what is alive of the processes that were seen, and of what carries the mark of this cache folder."""
        living = {one for one in self._family if one.lives} | marked(self._cache / "processes")
        return sorted(f"{one.pid} {one.what}" for one in living)


class Place:
    """A working folder for agents: `test-files`, `bin` and `cache` below it, and the settings as environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.bin = folder / "bin"
        self.settings: dict[str, str] = {}
        """Settings for every command that is started here, by variable name without the prefix."""
        self.clock: Clock | None = None

    def write(self, *tasks: str) -> None:
        """Write a control file with these tasks, and the catalogues."""
        (self.folder / "test-files").mkdir(parents=True, exist_ok=True)
        for name, text in control_files(*tasks).items():
            (self.folder / "test-files" / name).write_text(text)

    def install_ant(self, standin: str = "ant_2", scenario: str = "fine") -> None:
        """Put a stand-in for `ant` into `bin`, and make it the client."""
        self.bin.mkdir(exist_ok=True)
        shutil.copy(STANDINS / standin, self.bin / "ant")
        shutil.copy(MISBEHAVE, self.bin)
        (self.bin / "content").write_bytes(NINE)
        (self.bin / "python").write_text(sys.executable + "\n")
        self.plays(scenario)
        self.settings["NETWORK__CLIENT"] = "ant"

    def plays(self, scenario: str) -> None:
        """Let the stand-in do this from its next call on."""
        new = self.bin / "scenario.new"
        new.write_text(scenario + "\n")
        new.rename(self.bin / "scenario")

    def environment(self, **further: str) -> dict[str, str]:
        """Return the environment of a command here."""
        ours = {f"TESTWARDEN_{name}": value for name, value in {**self.settings, **further}.items()}
        basics = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TERM": "xterm", "COLUMNS": "200"}
        # Half an hour off: whoever takes local minutes for UTC is found out.
        return {**basics, "TZ": "Asia/Kolkata", **ours, **(self.clock.environment if self.clock else {})}

    def start(
        self,
        *argv: str,
        terminal: bool = False,
        options: Sequence[str] = (),
        python: Sequence[str] = (sys.executable,),
        stdin: int = subprocess.DEVNULL,
    ) -> Agent:
        """Start `testwarden ARGV` here; the rest as for Agent."""
        return Agent(
            self.cache,
            argv,
            cwd=self.folder,
            env=self.environment(),
            terminal=terminal,
            options=options,
            python=python,
            stdin=stdin,
        )

    def call(self, *argv: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself, with further settings."""
        return subprocess.run(
            [sys.executable, "-m", "testwarden", *argv],
            cwd=self.folder,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Return what `testwarden status --json` says."""
        done = self.call("status", "--json")
        assert done.returncode in (0, 1), done.stderr
        return dict(json.loads(done.stdout))

    def status_when(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the status, which an agent renews every few seconds, once it fits."""
        found: dict[str, Any] = {}

        def does() -> bool:
            found.update(self.status())
            return fits(found)

        wait_until(does, "a status that fits", PATIENCE)
        return found

    def lines(self, name: str = "metrics.csv") -> list[str]:
        """Return the lines of a metrics file; none where it is not there."""
        path = self.cache / "metrics" / name
        return path.read_text().splitlines() if path.exists() else []
