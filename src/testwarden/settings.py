"""The operator's settings as the agent gets them: read, checked, and everything true of them that must be.

What settings there are is `settings_schema.py`, the kinds of values are `settings_values.py`, where they come from is
`settings_sources.py`, and how they are shown is `settings_view.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from testwarden.errors import SettingsError
from testwarden.model import TestType
from testwarden.safety.limits import BUILT_IN, Limits, OwnLimits
from testwarden.settings_schema import Section, Settings
from testwarden.settings_sources import Written, read_sources
from testwarden.settings_values import ONLY_LOWER, is_loopback, show, show_written


@dataclass(frozen=True)
class Loaded:
    """The settings, and where each came from."""

    settings: Settings
    origins: Mapping[str, str]
    """By key (`cycle.seconds`): `default`, `demo`, the settings file's name, `.env`, or the environment variable."""


DEMO: Mapping[str, Any] = {"control.source": "directory", "network.client": "embedded", "cycle.seconds": 60}
"""The defaults of a first run: everything on this machine, an hour in a minute. What the operator sets wins."""


def keys() -> dict[str, FieldInfo]:
    """Return every setting of the schema by its key (`limits.own.at_once`), in the order of the schema."""
    return dict(_walk(Settings.model_fields, ""))


def _walk(fields: Mapping[str, FieldInfo], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, known in fields.items():
        section = as_section(known)
        if section is None:
            yield prefix + name, known
        else:
            yield from _walk(section.model_fields, f"{prefix}{name}.")


def as_section(known: FieldInfo) -> type[Section] | None:
    """Given a field, return the section that it is; None for a setting."""
    model = known.annotation
    return model if isinstance(model, type) and issubclass(model, Section) else None


def value_of(settings: Settings, key: str) -> Any:
    """Given the settings and a key, return its value."""
    return reduce(getattr, key.split("."), settings)


def load(config: Path | None, demo: bool, environ: Mapping[str, str], cwd: Path) -> Loaded:
    """Given the settings file that was asked for (None: `testwarden.toml`, if there is one), whether the defaults are
    those of a first run, the environment, and the folder that relative paths start from, return the settings.

    Raise SettingsError that has one sentence for each thing that is wrong.
    """
    known = keys()
    reading = read_sources(Settings, known, config, environ, cwd)
    written = {key: Written(value, "demo") for key, value in DEMO.items()} if demo else {}
    written.update(reading.values)
    try:
        settings = Settings.model_validate(_nested(written))
    except ValidationError as problem:
        wrong = [_sentence(known, written, dict(error)) for error in problem.errors(include_url=False)]
        raise SettingsError(reading.problems + wrong) from None
    origins = {key: written[key].origin if key in written else "default" for key in known}
    loaded = Loaded(_resolved(settings, cwd), origins)
    problems = reading.problems + list(_conflicts(loaded))
    if problems:
        raise SettingsError(problems)
    return loaded


def _nested(written: Mapping[str, Written]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, one in written.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = one.value
    return nested


def _sentence(known: Mapping[str, FieldInfo], written: Mapping[str, Written], error: Mapping[str, Any]) -> str:
    parts = [str(part) for part in error["loc"]]
    key = next(key for length in range(len(parts), 0, -1) if (key := ".".join(parts[:length])) in written)
    one = written[key]
    return f"{key} = {show_written(known[key], one.value)} (from {one.origin}): {_allowed(known[key], key, error)}"


def _allowed(known: FieldInfo, key: str, error: Mapping[str, Any]) -> str:
    """Turn pydantic's finding into what is allowed."""
    kind = error["type"]
    if known.annotation is int and kind != "value_error":
        bounds = [getattr(one, "ge", getattr(one, "le", None)) for one in known.metadata]
        least, most = (bound for bound in bounds if bound is not None)
        ending = f"; {ONLY_LOWER}" if key.startswith("limits.") and not key.startswith("limits.own.") else ""
        return f"allowed is a whole number from {least} to {most}{ending}"
    if known.annotation is bool:
        return "allowed is true or false"
    said = {"value_error": error.get("ctx", {}).get("error"), "literal_error": error.get("ctx", {}).get("expected")}
    return f"allowed is {said.get(kind) or 'text'}"


def _resolved(settings: Settings, cwd: Path) -> Settings:
    """Make relative folders absolute. The folder inside a GitHub repository is none of this machine's."""
    agent, control = settings.agent, settings.control
    folders = {"cache_dir": cwd / agent.cache_dir, "bin_dir": cwd / agent.bin_dir}
    changed: dict[str, Any] = {"agent": agent.model_copy(update=folders)}
    if control.source == "directory":
        changed["control"] = control.model_copy(update={"path": cwd / control.path})
    api = settings.api
    files = {name: cwd / path for name in ("tls_cert", "tls_key") if (path := getattr(api, name)) is not None}
    changed["api"] = api.model_copy(update=files)
    return settings.model_copy(update=changed)


def _conflicts(loaded: Loaded) -> Iterator[str]:
    """Yield a sentence for each pair of settings that cannot go together."""
    known = keys()

    def said(key: str) -> str:
        return f"{key} = {show(known[key], value_of(loaded.settings, key))} (from {loaded.origins[key]})"

    yield from _cycle_conflicts(loaded.settings, said)
    yield from _github_conflicts(loaded.settings, said)


def _cycle_conflicts(settings: Settings, said: Callable[[str], str]) -> Iterator[str]:
    seconds = settings.cycle.seconds
    if seconds < 3600 and settings.network.client != "embedded":
        yield (
            f'{said("cycle.seconds")}: less than 3600 is allowed only with network.client = "embedded", not with '
            f"{said('network.client')}: on a network of others, tasks would start more often than once an hour"
        )
    if 3600 % seconds:
        yield f"{said('cycle.seconds')}: an hour must be a whole number of cycles, for example 20, 60, 300 or 3600"


def _github_conflicts(settings: Settings, said: Callable[[str], str]) -> Iterator[str]:
    github, control = settings.github, settings.control
    if github.repository is None and control.source == "github":
        yield f'github.repository is not set, and {said("control.source")} needs it: allowed is "owner/name"'
    elif github.repository is None and settings.network.client != "embedded":
        yield (
            'github.repository is not set: allowed is "owner/name". Tasks come from a folder, but the kill switch is '
            f"looked for in a repository, and {said('network.client')} tests a network that others want to protect"
        )
    if control.source == "github" and (control.path.is_absolute() or ".." in control.path.parts):
        yield f"{said('control.path')}: allowed is a folder inside the repository, because {said('control.source')}"
    if github.token is not None and github.api_url.startswith("http://") and not is_loopback(github.api_url):
        yield f"{said('github.api_url')}: with a token, allowed is https:// or this machine: no token in clear"


def secrets(settings: Settings) -> tuple[str, ...]:
    """Given the settings, return the texts that must not appear anywhere."""
    held = (
        settings.github.token,
        settings.network.secret_key,
        settings.api.token,
        settings.influx.token,
        settings.influx.password,
    )
    return tuple(secret.get_secret_value() for secret in held if secret is not None)


def to_limits(settings: Settings) -> Limits:
    """Given the settings, return the limits in force."""
    lowered, own = settings.limits, settings.limits.own
    attempts = {
        TestType.DOWNLOAD: lowered.download_per_hour,
        TestType.QUOTE: lowered.quote_per_hour,
        TestType.UPLOAD: lowered.upload_per_hour,
        TestType.K6: lowered.k6_per_hour,
    }
    return Limits(
        types=tuple(replace(row, attempts=attempts.get(row.type, row.attempts)) for row in BUILT_IN.types),
        workers=lowered.workers,
        largest_filesize=lowered.largest_filesize,
        keep_disk_free=lowered.keep_disk_free,
        bytes_per_day=lowered.bytes_per_day,
        spend_per_day=lowered.spend_per_day,
        targets=settings.k6.allowed_targets,
        own=OwnLimits(own.at_once, own.attempts_per_hour, own.seconds, own.k6_vus, window=settings.api.window),
    )
