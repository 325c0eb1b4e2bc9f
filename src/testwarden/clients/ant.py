"""The `ant` client of the Autonomi network, both generations of it: found, asked, understood."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from testwarden.clients.ant_outcomes import Generation, generation_of, read
from testwarden.clients.client import Order
from testwarden.clients.process import Command, Ended, Processes, Why, clean_environment
from testwarden.clients.stop import Stop
from testwarden.errors import ClientMissing, ClientUnsupported, ProcessError
from testwarden.model import MIB, AttemptResult, CatalogueFile, Outcome, TestType

RESULT = "download"
"""Name of the file that a download leaves in its folder."""
LOOK_PATIENCE = 10.0
"""Seconds that `ant --help` may take."""
LEAST_FILE_LIMIT = 32 * MIB
"""The kernel's limit on a file's size is not set lower: it also holds for the client's own logs and peer cache."""


@dataclass(frozen=True)
class AntProgram:
    """An `ant` program that was looked at."""

    path: Path
    generation: Generation
    version: str = ""
    """First line of `ant --version`, where that was asked for."""


def legacy_argv(path: Path, peers: Sequence[str], extra: Sequence[str], verb: Sequence[str]) -> tuple[str, ...]:
    """Given program, multiaddresses, the operator's own arguments and subcommand, return a legacy command line."""
    return (str(path), *(part for peer in peers for part in ("--peer", peer)), *extra, "file", *verb)


def two_argv(path: Path, peers: Sequence[str], extra: Sequence[str], verb: Sequence[str]) -> tuple[str, ...]:
    """Given program, IP:PORT addresses, the operator's own arguments and subcommand, return a 2.0 command line."""
    return (str(path), "--json", *(part for peer in peers for part in ("-b", peer)), *extra, "file", *verb)


def download_verb(generation: Generation, address: str, target: Path) -> tuple[str, ...]:
    """Return the subcommand that fetches; it retries nothing, that is the worker's to do within its budget."""
    if generation is Generation.LEGACY:
        return ("download", address, str(target), "--retries", "0")
    return ("download", address, "-o", str(target))


def is_address(text: str) -> bool:
    """Whether it can only be an address to the client: no option, no path, no link."""
    return text.isascii() and text.isalnum()


class AntClient:
    """See Client. The program is looked for at each attempt: it may come, go and be replaced while the agent runs."""

    paying = True

    def __init__(
        self,
        processes: Processes,
        *,
        bin_dir: Path,
        search_path: str,
        peers: Sequence[str] = (),
        ant_args: Sequence[str] = (),
        secret_key: Callable[[], str] = str,
    ) -> None:
        """Given where to look (`bin_dir` first, then `search_path`, written like PATH) and what to pass on.

        `secret_key` returns the wallet's key, or nothing. It goes to the process that uploads, and nowhere else.
        """
        self._processes = processes
        self._bin_dir = bin_dir.absolute()
        self._search_path = search_path
        self._peers = tuple(peers)
        self._ant_args = tuple(ant_args)
        self._secret_key = secret_key
        self._looked_at: dict[tuple[Path, int, int, int], Generation] = {}
        self._name = "ant"

    @property
    def name(self) -> str:
        return self._name

    def download(self, file: CatalogueFile, order: Order, stop: Stop) -> AttemptResult:
        """See Client.download."""
        if not is_address(file.address):
            return AttemptResult(Outcome.CLIENT_ERROR, f"{file.address[:100]!r} is not an address that ant knows")
        target = order.folder.absolute() / RESULT
        result = self._attempt(TestType.DOWNLOAD, lambda it: download_verb(it, file.address, target), order, stop)
        _lift_only_file(target)
        size = _size_below(str(order.folder))
        if result.outcome is Outcome.OK and size > order.most_bytes:
            result = replace(result, outcome=Outcome.CLIENT_ERROR, reason=f"{size} bytes: larger than allowed")
        # What a client had fetched before it failed, only the client knows.
        known = result.outcome is Outcome.OK or not result.exec_time
        return replace(result, bytes=size, bytes_known=known)

    def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client.quote."""
        return self._attempt(TestType.QUOTE, lambda _: ("cost", str(content.absolute())), order, stop)

    def upload(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
        """See Client.upload. `bytes` is the size of the file if the client ran, even if it did not send all of it."""
        verb = ("upload", str(content.absolute()), "--public")
        result = self._attempt(TestType.UPLOAD, lambda _: verb, order, stop)
        return replace(result, bytes=_size(content) if result.exec_time else 0)

    def describe(self, stop: Stop) -> AntProgram:
        """Return which program there is. Raise ClientMissing, ClientUnsupported or ProcessError."""
        path = self._find()
        with _working_folder(None) as home:
            generation = self._look(path, Path(home), stop, LOOK_PATIENCE)
            if isinstance(generation, Ended):
                raise ProcessError(f"{path} --help did not end within {LOOK_PATIENCE:g} s")
            command = Command((str(path), "--version"), clean_environment(Path(home)), Path(home))
            printed = self._processes.run(command, stop, LOOK_PATIENCE).stdout
        return AntProgram(path, generation, (printed.splitlines() or [""])[0][:100])

    def _attempt(
        self, test: TestType, verb: Callable[[Generation], Sequence[str]], order: Order, stop: Stop
    ) -> AttemptResult:
        """Run the client for one attempt in a working folder of its own; everything that goes wrong is a result."""
        until = time.monotonic() + order.timeout
        try:
            with _home(order) as home:
                path = self._find()
                generation = self._look(path, Path(home), stop, min(LOOK_PATIENCE, order.timeout))
                if isinstance(generation, Ended):
                    return _killed(generation, order, stop)
                self._name = f"ant-{generation.value}"
                argv_of = legacy_argv if generation is Generation.LEGACY else two_argv
                argv = argv_of(path, self._peers, self._ant_args, verb(generation))
                command = self._command(test, argv, Path(home), order)
                ended = self._processes.run(command, stop, max(0.0, until - time.monotonic()))
        except (ClientMissing, ClientUnsupported, ProcessError) as error:
            return AttemptResult(Outcome.CLIENT_ERROR, str(error))
        except OSError as error:
            return AttemptResult(Outcome.CLIENT_ERROR, f"no working folder for the client: {error}")
        return self._result(test, generation, ended, order, stop)

    def _command(self, test: TestType, argv: tuple[str, ...], home: Path, order: Order) -> Command:
        key = self._secret_key() if test is TestType.UPLOAD else ""
        env = clean_environment(home, {"SECRET_KEY": key} if key else {})
        return Command(argv, env, home, most_file_bytes=max(order.most_bytes, LEAST_FILE_LIMIT))

    def _result(self, test: TestType, generation: Generation, ended: Ended, order: Order, stop: Stop) -> AttemptResult:
        if ended.why is not Why.FINISHED:
            return _killed(ended, order, stop)
        reading = read(test, generation, ended)
        return AttemptResult(
            outcome=reading.outcome,
            reason=self._without_key(reading.reason) if test is TestType.UPLOAD else reading.reason,
            exec_time=ended.seconds,
            cost=reading.cost,
            mendable=reading.mendable,
            address=reading.address,
        )

    def _without_key(self, text: str) -> str:
        key = self._secret_key().removeprefix("0x")
        return text.replace(key, "***") if key else text

    def _find(self) -> Path:
        """Return the program's path. Raise ClientMissing."""
        ours = self._bin_dir / "ant"
        if ours.is_file():
            if not os.access(ours, os.X_OK):
                raise ClientMissing(f"{ours} is not executable: chmod +x {ours}")
            return ours
        found = shutil.which("ant", path=self._search_path)
        if found is None:
            raise ClientMissing(f"no ant in {self._bin_dir} or on PATH")
        return Path(found).absolute()

    def _look(self, path: Path, home: Path, stop: Stop, timeout: float) -> Generation | Ended:
        """Return the program's generation, asking it unless this very file was asked before.

        Where asking was stopped or took too long, return how it ended. Raise ClientMissing or ClientUnsupported.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise ClientMissing(f"{path} has just gone") from error
        identity = (path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if identity in self._looked_at:
            return self._looked_at[identity]
        ended = self._processes.run(Command((str(path), "--help"), clean_environment(home), home), stop, timeout)
        if ended.why is not Why.FINISHED:
            return ended
        generation = generation_of(ended.stdout + ended.stderr)
        if generation is None:
            raise ClientUnsupported(f"{path} is not an ant client that is known here: see bin/README.md")
        self._looked_at[identity] = generation
        return generation


def _killed(ended: Ended, order: Order, stop: Stop) -> AttemptResult:
    """Given an end that was our doing, return the result. What an upload had spent by then is not known."""
    if ended.why is Why.STOPPED:
        reason = stop.reason or "the agent ends"
        return AttemptResult(Outcome.CLIENT_KILLED, reason, exec_time=ended.seconds)
    reason = f"time limit of {order.timeout:g} s"
    return AttemptResult(Outcome.CLIENT_KILLED, reason, exec_time=ended.seconds, mendable=True)


def _home(order: Order) -> AbstractContextManager[str]:
    if order.home is not None:
        return nullcontext(str(order.home.absolute()))
    return _working_folder(order.folder.absolute().parent)


def _working_folder(parent: Path | None) -> AbstractContextManager[str]:
    """Return a folder for the client's own files, beside the attempt's, gone afterwards whatever was done to it."""
    return tempfile.TemporaryDirectory(prefix="ant-", dir=parent, ignore_cleanup_errors=True)


def _lift_only_file(target: Path) -> None:
    """Put a file in the place of the folder that holds it alone.

    Legacy clients upload a file as an archive of one, and download an archive into a folder. Anything else stays as it
    is, for the caller to judge.
    """
    try:
        if target.is_dir() and not target.is_symlink():
            inside = [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]
            if len(inside) == 1 and not inside[0].is_symlink():
                aside = target.with_name(f"{RESULT}-lifted")
                inside[0].rename(aside)
                shutil.rmtree(target)
                aside.rename(target)
    except OSError:
        pass  # then the caller sees that it is no file


def _size_below(folder: str) -> int:
    """Return the bytes of all regular files in a folder and below. No Path is made for them: each attempt does this."""
    size = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    size += _size_below(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass  # what cannot be looked at does not count
    return size


def _size(path: Path) -> int:
    """Return the bytes of a regular file, 0 for anything else."""
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else 0
    except OSError:
        return 0
