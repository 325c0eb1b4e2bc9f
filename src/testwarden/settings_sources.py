"""Where settings are written: the settings file, `.env`, the environment. Keeps for each value where it came from."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin

from dotenv.parser import Binding, parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, TomlConfigSettingsSource

from testwarden.settings_values import BYTES

PREFIX = "TESTWARDEN_"
DEFAULT_CONFIG = "testwarden.toml"
DOTENV = ".env"
ALIASES = {"GITHUB_TOKEN": "github.token"}
"""Names that others gave: weaker than ours in the same place."""


@dataclass(frozen=True)
class Written:
    """A value as somebody wrote it, not yet checked."""

    value: Any
    origin: str


@dataclass
class Reading:
    """What was read so far: values by key (`cycle.seconds`), and a sentence for each thing that is wrong."""

    known: Mapping[str, FieldInfo]
    values: dict[str, Written] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def suggest(self, key: str) -> str:
        """Given an unknown key, return the known one that was probably meant, or an empty text."""
        near = difflib.get_close_matches(key, self.known, n=1, cutoff=0.76)
        same_name = [known for known in self.known if known.rpartition(".")[2] == key.rpartition(".")[2]]
        return next(iter([*near, *same_name]), "")


def read_sources(
    model: type[BaseSettings],
    known: Mapping[str, FieldInfo],
    config: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
) -> Reading:
    """Given the schema, its keys, the settings file (None: `testwarden.toml`, if there is one), the environment and the
    folder that relative paths start from, return what is written. The environment beats `.env`, `.env` the file."""
    reading = Reading(known)
    _read_file(
        reading, model, cwd / (config or DEFAULT_CONFIG), str(config or DEFAULT_CONFIG), needed=config is not None
    )
    _read_dotenv(reading, cwd / DOTENV)
    _read_variables(reading, environ.items(), place="environment")
    return reading


def _read_file(reading: Reading, model: type[BaseSettings], path: Path, shown: str, *, needed: bool) -> None:
    if not needed and not _is_there(path):
        return
    try:
        # The library skips what is no file; a file that was asked for must not be skipped.
        with path.open("rb"):
            pass
        data = TomlConfigSettingsSource(model, toml_file=path).toml_data
    except OSError as problem:
        reading.problems.append(f"{shown}: the settings file cannot be read: {problem.strerror}")
    except (ValueError, RecursionError) as problem:
        reading.problems.append(_broken(shown, path, str(problem)))
    else:
        _take_sections(reading, data, shown)


def _is_there(path: Path) -> bool:
    """What cannot be looked at counts as there: reading it says why it cannot be read."""
    try:
        return path.exists()
    except OSError:
        return True


def _broken(shown: str, path: Path, problem: str) -> str:
    """tomllib names the line in its message only, and for an early end it names none."""
    found = re.search(r" \(at line (\d+), column (\d+)\)", problem)
    line = int(found[1]) if found else max(1, len(path.read_bytes().splitlines()))
    return f"{shown}:{line}: not TOML: {problem.replace(found[0], '') if found else problem}"


def _take_sections(reading: Reading, data: Mapping[str, Any], shown: str) -> None:
    sections = {key.rpartition(".")[0] for key in reading.known}
    for section, content in data.items():
        if section not in sections:
            near = [f"[{one}]" for one in difflib.get_close_matches(section, sections, n=1)] or [
                reading.suggest(section)
            ]
            reading.problems.append(_unknown(section, shown, near[0]))
        else:
            _take_section(reading, sections, section, content, shown)


def _take_section(reading: Reading, sections: Collection[str], section: str, content: Any, shown: str) -> None:
    if not isinstance(content, dict):
        reading.problems.append(f"{section} (from {shown}): it is a section; write [{section}] and its keys below")
        return
    for name, value in content.items():
        key = f"{section}.{name}"
        if key in sections:
            _take_section(reading, sections, key, value, shown)
        else:
            _take(reading, key, Written(value, shown))


def _take(reading: Reading, key: str, written: Written) -> None:
    known = reading.known.get(key)
    if known is None:
        reading.problems.append(_unknown(key, written.origin, reading.suggest(key)))
    elif written.value != "" or not _can_be_unset(known):
        reading.values[key] = written


def _can_be_unset(known: FieldInfo) -> bool:
    """An empty text means "not set" for what has no default of its own."""
    return known.default is None or known.default_factory is not None


def _unknown(name: str, origin: str, near: str) -> str:
    """Says no value: under a wrong name there may be a secret."""
    question = f"; did you mean {near}?" if near else ""
    return f"{_plain(name)} (from {origin}): no such setting{question}"


def _plain(name: str) -> str:
    return name if name.isascii() and name.isprintable() else ascii(name)


def _read_dotenv(reading: Reading, path: Path) -> None:
    """A folder of that name is somebody's virtual environment, not ours to mind."""
    if not _is_there(path):
        return
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except IsADirectoryError:
        return
    except (OSError, UnicodeDecodeError) as problem:
        reading.problems.append(f"{DOTENV}: the file cannot be read: {getattr(problem, 'strerror', None) or problem}")
        return
    # Not `dotenv_values`: it fills in ${…}, which would change a secret, and it skips broken lines.
    reading.problems.extend(
        f"{DOTENV}:{binding.original.line}: not in the form NAME=value"
        for binding in bindings
        if _ours_and_broken(binding)
    )
    pairs = [(binding.key, binding.value or "") for binding in bindings if binding.key and not binding.error]
    _read_variables(reading, pairs, place=DOTENV)


def _ours_and_broken(binding: Binding) -> bool:
    text = binding.original.string.upper()
    return (PREFIX in text or any(alias in text for alias in ALIASES)) and (binding.error or binding.value is None)


def _read_variables(reading: Reading, variables: Iterable[tuple[str, str]], place: str) -> None:
    """An empty variable is one that is not set: that is how containers and CI hand on what they do not have."""
    pairs = [(name, value) for name, value in variables if value]
    for name, value in pairs:
        if name in ALIASES:
            reading.values[ALIASES[name]] = Written(value, name if place != DOTENV else DOTENV)
    for name, value in pairs:
        if name.upper().startswith(PREFIX):
            _take_variable(reading, name, value, place)


def _take_variable(reading: Reading, name: str, text: str, place: str) -> None:
    key = name[len(PREFIX) :].lower().replace("__", ".")
    known = reading.known.get(key)
    if known is None:
        near = reading.suggest(key)
        reading.problems.append(_unknown(name, place, near and variable_name(near)))
    else:
        origin = DOTENV if place == DOTENV else name
        reading.values[key] = Written(_from_text(known, text), origin)


def variable_name(key: str) -> str:
    """Given a key, return the environment variable that sets it."""
    return PREFIX + key.upper().replace(".", "__")


def _from_text(known: FieldInfo, text: str) -> Any:
    """A variable is text; numbers, lists, true and false are read from it. What cannot be read stays text, which is
    then refused."""
    if known.annotation is bool and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if known.annotation is int and BYTES not in known.metadata and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if get_origin(known.annotation) is tuple:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
