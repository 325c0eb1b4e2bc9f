"""From the arguments of `testwarden k6 run` to an own test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from testwarden.clients.allow_list import Target
from testwarden.clients.k6_arguments import problem_of
from testwarden.control.k6_meaning import seconds
from testwarden.errors import TestwardenError
from testwarden.model import MIB, K6Options, ScriptFile, TestType
from testwarden.running.own_runs import OwnTest

MOST_SCRIPT = 16 * MIB
MOST_DATA = 256 * MIB
"""Held in memory for the run."""


class UsageError(TestwardenError):
    """The command line asks for something that cannot be."""


@dataclass(frozen=True)
class Asked:
    """The command line."""

    script: Path
    vus: int | None = None
    duration: str | None = None
    """Seconds in digits, or `1m30s`."""
    iterations: int | None = None
    rate: int | None = None
    targets: tuple[str, ...] = ()
    """None: the network is open."""
    env: tuple[str, ...] = ()
    """`NAME=VALUE` each."""
    data: Path | None = None
    params: tuple[str, ...] = ()


def build_test(asked: Asked) -> OwnTest:
    """Given the command line, return the test. Raise UsageError, one sentence."""
    script, content = _file(asked.script, MOST_SCRIPT)
    files, data = [(script.sha256, content)], None
    if asked.data is not None:
        data, text = _file(asked.data, MOST_DATA)
        files.append((data.sha256, text))
    options = K6Options(
        script=script,
        data=data,
        vus=asked.vus,
        duration=_duration(asked.duration),
        iterations=asked.iterations,
        rate=asked.rate,
        targets=tuple(map(_target, asked.targets)) or None,
        env=tuple(map(_variable, asked.env)),
        params=asked.params,
    )
    problem = problem_of(options)
    if problem:
        raise UsageError(problem)
    return OwnTest(TestType.K6, title=script.path, k6=options, files=tuple(files))


def _file(path: Path, most_bytes: int) -> tuple[ScriptFile, bytes]:
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as problem:
        raise UsageError(f"{path}: {problem.strerror}") from None
    if len(content) > most_bytes:
        raise UsageError(f"{path} is larger than {most_bytes:,} bytes")
    return ScriptFile(path.name, hashlib.sha256(content).hexdigest()), content


def _duration(text: str | None) -> float | None:
    try:
        return None if text is None else seconds(text)
    except ValueError as wrong:
        raise UsageError(f"--duration {wrong}") from None


def _target(text: str) -> str:
    try:
        Target.parse(text)
    except ValueError as wrong:
        raise UsageError(f"--target: {wrong}") from None
    return text.lower()


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"--env {text!r} is not NAME=VALUE")
    return name, value
