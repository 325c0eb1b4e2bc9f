"""A load test: a k6 script of known content, in a cage, held to its bounds."""

from __future__ import annotations

import hashlib
import logging
import random
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from testwarden.clients.cage import Cage, Confinement, Reach
from testwarden.clients.client import Order
from testwarden.clients.k6 import K6Client, K6Program, K6Run
from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.k6_log import K6Log
from testwarden.clients.k6_numbers import Connect, K6Numbers
from testwarden.clients.open_cage import FILES, OpenCage
from testwarden.clients.stop import Stop
from testwarden.errors import ClientMissing, ClientUnsupported, ProcessError
from testwarden.model import GIB, MIB, AttemptResult, K6Options, Origin, Outcome, ScriptFile, Task, TestType
from testwarden.workloads.workload import Item, Purse, disk_problem, part_of, row_of

PUBLIC_BYTES = GIB
"""What a run that a control file asks for may move over the network: reserved before it, held by the cage. At 20 requests
a second for 10 minutes that is 87 KiB a request, and with 12 runs an hour the day's bytes are not used up by one task."""
PUBLIC_MEMORY = GIB
"""Memory of k6 in such a run: 20 virtual users need about 50 MB (seen), a script that hoards is ended here."""
PUBLIC_FILE = 64 * MIB
"""Size of a file that such a run writes: its summary, and what the script makes of it."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_log = logging.getLogger(__name__)


def public_bounds(vus: int, seconds: float, rate: int) -> K6Bounds:
    """Given the limits of a public run, return its bounds."""
    return K6Bounds(vus, seconds, rate, PUBLIC_BYTES, PUBLIC_MEMORY, PUBLIC_FILE)


def _ignore(_task: Task, _what: object) -> None:
    """Nobody wants to know."""


class K6Workload:
    """Implements Workload for k6.

    What is refused here, be it the script's content, its load or the lack of a cage, becomes CLIENT_ERROR: like the
    others of that kind it says something about this machine and this task, and nothing about the network.
    """

    type: ClassVar[TestType] = TestType.K6

    def __init__(
        self,
        client: K6Client,
        cage: Cage,
        files: Mapping[str, bytes],
        bounds: Mapping[Origin, K6Bounds],
        port: Callable[[], AbstractContextManager[int]],
        *,
        progress: Callable[[Task, K6Numbers], None] = _ignore,
        started: Callable[[Task, Connect], None] = _ignore,
        log: Path | None = None,
    ) -> None:
        """Given the client, where it runs, scripts and data by their SHA-256, what a run may use, and who lends a port
        for k6's REST API (`PortPool.lend`, or one that was chosen before).

        `progress` gets the numbers of a run every ten seconds, `started` the way to ask for them at any other time, both
        in threads of the run; what k6 prints is appended to `log`.
        """
        self._client = client
        self._cage = cage
        self._files = files
        self._bounds = bounds
        self._port = port
        self._progress = progress
        self._started = started
        self._log = log

    @property
    def client(self) -> str:
        """See Workload."""
        return self._client.name

    def pick(self, task: Task, rng: random.Random) -> Item:
        """See Workload. There is nothing to choose. The most that the run may move is reserved, nothing for a run without
        such a bound: what it moved is settled afterwards."""
        del rng
        options, bounds = _options(task), self._bounds[task.origin]
        disk = sum(len(self._files.get(file.sha256, b"")) for file in _needed(options)) + (bounds.most_file_bytes or 0)
        target = f"{options.script.path} {options.script.sha256}"
        return Item(target, bytes=bounds.most_bytes or 0, disk=disk, row=task)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse | None = None) -> AttemptResult:
        """See Workload."""
        del purse  # load tests cost nothing
        task = row_of(item, Task)
        problem = self._problem(task)
        if problem:
            return AttemptResult(Outcome.CLIENT_ERROR, problem)
        try:
            program = self._client.describe(stop)
            return self._in_cage(program, task, order, stop)
        except (ClientMissing, ClientUnsupported, ProcessError) as error:
            if stop.requested:
                return AttemptResult(Outcome.CLIENT_KILLED, stop.reason)
            return AttemptResult(Outcome.CLIENT_ERROR, str(error))
        except OSError as problem_:
            return AttemptResult(Outcome.CLIENT_ERROR, f"the script cannot be kept: {disk_problem(problem_)}")

    def _problem(self, task: Task) -> str:
        """Return why the task must not run at all; the gate and the fetch have looked before."""
        if task.origin is Origin.PUBLIC and self._cage.problem:
            return f"k6 tasks of a control file run only in a cage: {self._cage.problem}"
        if task.origin is Origin.PUBLIC and _options(task).params:
            return "k6 tasks of a control file have no arguments of their own"
        for file in _needed(_options(task)):
            content = self._files.get(file.sha256)
            if content is None:
                return f"{file.path} of the SHA-256 {file.sha256} is not here"
            actual = hashlib.sha256(content).hexdigest()
            if actual != file.sha256:
                return f"{file.path} has the SHA-256 {actual}, not {file.sha256}"
        return ""

    def _in_cage(self, program: K6Program, task: Task, order: Order, stop: Stop) -> AttemptResult:
        options, bounds = _options(task), self._bounds[task.origin]
        bounds = replace(bounds, most_seconds=min(bounds.most_seconds, order.window_left))
        scratch, names = part_of(order, "k6").folder, _names(options)
        paths = self._written(part_of(order, "k6-files").folder, options, names)
        confinement = Confinement(scratch, paths, (program.path,), _reach(task, options, bounds))
        with self._port() as port, self._cage_for(task).enter(confinement) as inside:
            run = K6Run(
                script=f"{FILES}/{names[0]}",
                data=f"{FILES}/{names[1]}" if options.data else None,
                options=options,
                bounds=bounds,
                inside=inside,
                folder=scratch,
                port=port,
                timeout=order.timeout,
                progress=lambda numbers: self._progress(task, numbers),
                started=lambda connect: self._started(task, connect),
                hear=K6Log(self._log).hear if self._log else None,
            )
            return self._client.attempt(program, run, stop)

    def _written(self, folder: Path, options: K6Options, names: tuple[str, ...]) -> dict[str, Path]:
        """Write script and data to files that can only be read; return them by name."""
        paths = {name: folder / name for name in names}
        for name, file in zip(names, _needed(options), strict=True):
            paths[name].unlink(missing_ok=True)
            paths[name].write_bytes(self._files[file.sha256])
            paths[name].chmod(0o444)
        return paths

    def _cage_for(self, task: Task) -> Cage:
        """Only the operator's own runs get here without a working cage."""
        if not self._cage.problem:
            return self._cage
        held = "" if _options(task).targets is None else ", also beside its targets"
        _log.warning(
            "task %s: k6 runs unconfined, it can read files and reach anything%s: %s",
            *(task.ref, held, self._cage.problem),
        )
        return OpenCage()


def _options(task: Task) -> K6Options:
    if task.k6 is None:
        raise TypeError(f"task {task.ref} is no k6 task")
    return task.k6


def _needed(options: K6Options) -> tuple[ScriptFile, ...]:
    return (options.script,) if options.data is None else (options.script, options.data)


def _names(options: K6Options) -> tuple[str, ...]:
    """Return the names of script and data inside: their own, for k6 goes by the ending and people by the rest."""
    script, *data = (file.path.rpartition("/")[2] for file in _needed(options))
    safe = script if _NAME.fullmatch(script) else "script.js"
    return (safe, *(f"data-{name}" if _NAME.fullmatch(name) else "data" for name in data))


def _reach(task: Task, options: K6Options, bounds: K6Bounds) -> Reach | None:
    if task.origin is Origin.OWN:
        return None if options.targets is None else Reach(options.targets, private=True)
    rate = min(options.rate or bounds.most_rate or 0, bounds.most_rate or 0)
    return Reach(options.targets or (), rate=rate, most_bytes=bounds.most_bytes)
