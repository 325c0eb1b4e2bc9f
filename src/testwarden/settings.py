"""The operator's settings: one schema, and everything that must be true of them before the agent starts.

The kinds of values are `settings_values.py`, where they come from is `settings_sources.py`, and how they are shown is
`settings_view.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from testwarden.errors import SettingsError
from testwarden.model import FileSize, TestType
from testwarden.safety.limits import BUILT_IN, GB, Limits
from testwarden.settings_sources import Written, read_sources
from testwarden.settings_values import (
    ONLY_LOWER,
    Folder,
    Secret,
    Size,
    Tag,
    Texts,
    Url,
    check_printable,
    check_repository,
    host_name,
    is_loopback,
    no_less_than,
    no_more_than,
    show,
    show_written,
    to_amount,
    to_file_size,
    to_hosts,
)

_ROWS = {row.type: row for row in BUILT_IN.types}


class Section(BaseModel):
    """What all sections have in common: nothing unknown, nothing guessed from another type, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Agent(Section):
    """This agent."""

    name: Tag = Field(default_factory=host_name, description="Name of this agent in the metrics; empty: the host name.")
    cache_dir: Folder = Field(Path("cache"), description="Folder for the ledger, the metrics and work in progress.")
    bin_dir: Folder = Field(Path("bin"), description="Folder that is searched for client programs before PATH.")


class Control(Section):
    """Where tasks come from."""

    source: Literal["github", "directory"] = Field(
        "github", description='"github": the repository below. "directory": the folder `path`.'
    )
    path: Folder = Field(
        Path("test-files"), description="Folder of the control file and the catalogues; in the repository or here."
    )


class Github(Section):
    """The repository that steers the fleet, and where the kill switch is looked for."""

    repository: Annotated[str, AfterValidator(check_repository)] | None = Field(
        None, description='In the form "owner/name".'
    )
    branch: Annotated[str, AfterValidator(check_printable)] = Field("main", description="Branch of the control file.")
    api_url: Url = Field("https://api.github.com", description="Any server that speaks GitHub's API.")
    token: Secret | None = Field(
        None,
        description="Optional: 5000 requests an hour instead of 60, and the kill switch is looked at every 15 s "
        "instead of 75 s. It needs no rights. GITHUB_TOKEN is read, too. Better in .env than here.",
    )


class Network(Section):
    """What is tested, and with which client."""

    client: Literal["ant", "http", "embedded"] = Field(
        "ant",
        description='"ant": the Autonomi client. "http": a gateway. "embedded": a network on this machine, to try.',
    )
    peers: Texts = Field((), description="Peers that the ant client starts from; empty: its own list.")
    gateway: Url = Field("http://127.0.0.1:8080", description="Where the http client downloads from and uploads to.")
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(to_hosts)] = Field(
        (), description="Hosts beside the gateway that a URL in a catalogue may name (http client)."
    )
    ant_args: Texts = Field((), description="Further arguments for every call of the ant client.")
    secret_key: Secret | None = Field(
        None,
        description="Wallet key that pays for uploads; empty: no uploads on a paying network. It needs "
        "limits.spend_per_day, too. Better in .env than here.",
    )


class CycleSettings(Section):
    """The hour."""

    seconds: int = Field(
        3600, ge=20, le=3600, description='Length of a cycle in seconds; less than 3600 only with client = "embedded".'
    )


class LimitSettings(Section):
    """The limits: the defaults are built in. Lower them as you like; only largest_filesize may also be raised."""

    download_per_hour: int = Field(
        _ROWS[TestType.DOWNLOAD].attempts,
        ge=0,
        le=_ROWS[TestType.DOWNLOAD].attempts,
        description="Download attempts in any 3600 s; 0: none.",
    )
    quote_per_hour: int = Field(
        _ROWS[TestType.QUOTE].attempts,
        ge=0,
        le=_ROWS[TestType.QUOTE].attempts,
        description="Quote attempts in any 3600 s; 0: none.",
    )
    upload_per_hour: int = Field(
        _ROWS[TestType.UPLOAD].attempts,
        ge=0,
        le=_ROWS[TestType.UPLOAD].attempts,
        description="Upload attempts in any 3600 s; 0: none.",
    )
    workers: int = Field(
        BUILT_IN.workers, ge=1, le=BUILT_IN.workers, description="Workers of all tasks together, at any moment."
    )
    largest_filesize: Annotated[FileSize, BeforeValidator(to_file_size)] = Field(
        BUILT_IN.largest_filesize,
        description="tiny (128 KiB), small (4 MiB), medium (32 MiB), large (64 MiB), huge (1 GiB), giga (20 GiB), "
        "tera (100 GiB): the largest file that is moved. It may be raised: your disk, your data plan.",
    )
    keep_disk_free: Annotated[
        Size, no_less_than(BUILT_IN.keep_disk_free, "10GB or more; it may be raised, never lowered")
    ] = Field(BUILT_IN.keep_disk_free, description='Disk space that stays free; "10GB" or more.')
    bytes_per_day: Annotated[Size, no_more_than(BUILT_IN.bytes_per_day, f"200GB or less; {ONLY_LOWER}")] = Field(
        BUILT_IN.bytes_per_day, description="What may be moved in any 24 hours, up and down together."
    )
    spend_per_day: Annotated[Decimal, BeforeValidator(to_amount)] | None = Field(
        None, description='What uploads may cost in any 24 hours, in ANT, as text: "0.5". Empty: nothing is spent.'
    )


class MetricsSettings(Section):
    """How much of what was measured is kept on this disk."""

    keep_days: int = Field(30, ge=1, le=3650, description="Days after which a metrics file is deleted.")
    keep_size: Annotated[Size, no_less_than(10**6, '"1MB" or more')] = Field(
        GB, description="Size of all metrics files together; beyond it the oldest are deleted."
    )


class Telemetry(Section):
    """What you tell about your line, as tags of every sample; "xx": nothing."""

    country: Tag = Field("xx", description="For example a country code.")
    provision: Tag = Field("xx", description="For example home, office or cloud.")
    connection: Tag = Field("xx", description="For example fibre, cable, dsl or mobile.")


class Settings(BaseSettings):
    """All settings, each valid by itself. `load` is how the agent gets them."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    agent: Agent = Field(default_factory=Agent)
    control: Control = Field(default_factory=Control)
    github: Github = Field(default_factory=Github)
    network: Network = Field(default_factory=Network)
    cycle: CycleSettings = Field(default_factory=CycleSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    telemetry: Telemetry = Field(default_factory=Telemetry)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: the library's own sources keep no account of where a value came from."""
        return (init_settings,)


@dataclass(frozen=True)
class Loaded:
    """The settings, and where each came from."""

    settings: Settings
    origins: Mapping[str, str]
    """By key (`cycle.seconds`): `default`, `demo`, the settings file's name, `.env`, or the environment variable."""


DEMO: Mapping[str, Any] = {"control.source": "directory", "network.client": "embedded", "cycle.seconds": 60}
"""The defaults of a first run: everything on this machine, an hour in a minute. What the operator sets wins."""


def keys() -> dict[str, FieldInfo]:
    """Return every setting of the schema by its key, in the order of the schema."""
    found = {}
    for section, outer in Settings.model_fields.items():
        model = outer.annotation
        if isinstance(model, type) and issubclass(model, Section):
            found.update({f"{section}.{name}": inner for name, inner in model.model_fields.items()})
    return found


def value_of(settings: Settings, key: str) -> Any:
    """Given the settings and a key, return its value."""
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)


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


def _nested(written: Mapping[str, Written]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for key, one in written.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = one.value
    return nested


def _sentence(known: Mapping[str, FieldInfo], written: Mapping[str, Written], error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"][:2])
    one = written[key]
    return f"{key} = {show_written(known[key], one.value)} (from {one.origin}): {_allowed(known[key], key, error)}"


def _allowed(known: FieldInfo, key: str, error: Mapping[str, Any]) -> str:
    """Turn pydantic's finding into what is allowed."""
    kind = error["type"]
    if known.annotation is int and kind != "value_error":
        bounds = [getattr(one, "ge", getattr(one, "le", None)) for one in known.metadata]
        least, most = (bound for bound in bounds if bound is not None)
        ending = f"; {ONLY_LOWER}" if key.startswith("limits.") else ""
        return f"allowed is a whole number from {least} to {most}{ending}"
    said = {"value_error": error.get("ctx", {}).get("error"), "literal_error": error.get("ctx", {}).get("expected")}
    return f"allowed is {said.get(kind) or 'text'}"


def _resolved(settings: Settings, cwd: Path) -> Settings:
    """Make relative folders absolute. The folder inside a GitHub repository is none of this machine's."""
    agent, control = settings.agent, settings.control
    folders = {"cache_dir": cwd / agent.cache_dir, "bin_dir": cwd / agent.bin_dir}
    changed: dict[str, Any] = {"agent": agent.model_copy(update=folders)}
    if control.source == "directory":
        changed["control"] = control.model_copy(update={"path": cwd / control.path})
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
    held = (settings.github.token, settings.network.secret_key)
    return tuple(secret.get_secret_value() for secret in held if secret is not None)


def to_limits(settings: Settings) -> Limits:
    """Given the settings, return the limits in force."""
    own = settings.limits
    attempts = {
        TestType.DOWNLOAD: own.download_per_hour,
        TestType.QUOTE: own.quote_per_hour,
        TestType.UPLOAD: own.upload_per_hour,
    }
    return Limits(
        types=tuple(replace(row, attempts=attempts.get(row.type, row.attempts)) for row in BUILT_IN.types),
        workers=own.workers,
        largest_filesize=own.largest_filesize,
        keep_disk_free=own.keep_disk_free,
        bytes_per_day=own.bytes_per_day,
        spend_per_day=own.spend_per_day,
    )
