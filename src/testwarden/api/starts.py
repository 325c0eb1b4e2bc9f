"""From what a caller asks for to an own test that starts: its files are fetched, its arguments understood."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from testwarden.api.scripts import ScriptError
from testwarden.model import K6Options, ScriptFile

PLACEHOLDER = "alilo_load: {"
"""Stands in a script of such orchestrators where the scenario's name belongs."""
NEEDS_PORT = "prometheus=port="
"""The argument that gets a free port appended."""
_ENV_FLAGS = ("-e", "--env")


@dataclass(frozen=True)
class Split:
    """Arguments of k6, taken apart."""

    env: tuple[tuple[str, str], ...]
    params: tuple[str, ...]


def with_port(params: Sequence[str], port: int) -> tuple[str, ...]:
    """Given arguments and a port, return the arguments with the port where one is asked for."""
    return tuple(f"{one}{port}" if one == NEEDS_PORT else one for one in params)


def split_params(params: Sequence[str]) -> Split:
    """Given arguments of k6, return variables for the script apart from the rest: `-e N=V`, `--env N=V`, `--env=N=V`
    and `-eN=V`. Raise ScriptError for a variable that is none."""
    env: list[tuple[str, str]] = []
    rest: list[str] = []
    left = iter(params)
    for one in left:
        if one in _ENV_FLAGS:
            env.append(_variable(next(left, "")))
        elif one.startswith("--env="):
            env.append(_variable(one.removeprefix("--env=")))
        elif one.startswith("-e") and not one.startswith("--"):
            env.append(_variable(one.removeprefix("-e")))
        else:
            rest.append(one)
    return Split(tuple(env), tuple(rest))


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ScriptError(f"params: -e {text[:100]!r} is not NAME=VALUE")
    return name, value


def with_title(script: bytes, title: str) -> bytes:
    """Given a script and the scenario's title, return the script with the title in the placeholder's place.

    k6 takes only letters, digits, `_` and `-` in the name of a scenario; everything else becomes `_`. What is no
    identifier of JavaScript is quoted.
    """
    name = re.sub(r"[^0-9A-Za-z_-]", "_", title) or "scenario"
    key = name if name.isidentifier() else json.dumps(name)
    return script.replace(PLACEHOLDER.encode(), f"{key}: {{".encode())


def file_of(path: str, content: bytes) -> tuple[ScriptFile, tuple[str, bytes]]:
    """Given a file's name and content, return how options name it and the entry of `OwnTest.files`."""
    digest = hashlib.sha256(content).hexdigest()
    return ScriptFile(path, digest), (digest, content)


def options_of(script: ScriptFile, data: ScriptFile | None, params: Sequence[str]) -> K6Options:
    """Given the files and k6's arguments, return the options of an own run that may reach anything."""
    split = split_params(params)
    return K6Options(script=script, data=data, targets=None, env=split.env, params=split.params)
