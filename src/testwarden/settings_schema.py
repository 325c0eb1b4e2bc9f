"""What settings there are: one schema, from which the check, the sample file and `testwarden config` come."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from testwarden.model import FileSize, TestType
from testwarden.safety.limits import BUILT_IN, DAY, GB, OwnLimits
from testwarden.settings_values import (
    ONLY_LOWER,
    File,
    Folder,
    Listen,
    Secret,
    Size,
    Tag,
    Texts,
    Url,
    check_printable,
    check_repository,
    host_name,
    no_less_than,
    no_more_than,
    to_amount,
    to_file_size,
    to_hosts,
    to_targets,
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


class OwnLimitSettings(Section):
    """What you allow yourself: tests that you start, by the command line or the API. You answer for their targets."""

    at_once: int = Field(OwnLimits.at_once, ge=0, le=1000, description="Own tests that run at one moment; 0: none.")
    attempts_per_hour: int = Field(
        OwnLimits.attempts, ge=0, le=1_000_000, description="Own attempts of each type in any 3600 s."
    )
    seconds: int = Field(OwnLimits.seconds, ge=1, le=7 * DAY, description="Seconds that one own test may take.")
    k6_vus: int = Field(OwnLimits.vus, ge=1, le=100_000, description="Virtual users of one own k6 test.")


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
    k6_per_hour: int = Field(
        _ROWS[TestType.K6].attempts,
        ge=0,
        le=_ROWS[TestType.K6].attempts,
        description="k6 attempts in any 3600 s; 0: none.",
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
    own: OwnLimitSettings = Field(default_factory=OwnLimitSettings)


class K6Settings(Section):
    """Load tests with k6."""

    allowed_targets: Annotated[tuple[str, ...], BeforeValidator(to_targets)] = Field(
        (),
        description="What a control file's k6 tasks may reach: host names and addresses, each with all its ports or one "
        '(":443"); "*.example.org" for all names below it. Empty: no k6 tasks from a control file.',
    )


class ApiSettings(Section):
    """The HTTP API and the status page. Off unless `listen` is set; needs the extra: pip install 'testwarden[api]'."""

    listen: Listen | None = Field(
        None,
        description='Address and port, for example "127.0.0.1:8888". Any other than this machine\'s own (loopback) needs a '
        "token and both TLS files.",
    )
    token: Secret | None = Field(None, description="Asked for as `Authorization: Bearer …`. Better in .env than here.")
    tls_cert: File | None = Field(None, description="Certificate chain, PEM.")
    tls_key: File | None = Field(None, description="Its private key, PEM.")
    hosts: Annotated[tuple[str, ...], BeforeValidator(to_hosts)] = Field(
        (), description="Names by which callers reach this agent, beside its addresses and localhost."
    )
    window: bool = Field(False, description="true: own tests, too, run only inside the window.")


class InfluxSettings(Section):
    """A database that the agent sends its metrics to each minute. Off unless `url` is set."""

    url: Url | None = Field(
        None, description='InfluxDB 1, 2 or 3, or VictoriaMetrics: for example "http://127.0.0.1:8086".'
    )
    token: Secret | None = Field(None, description="InfluxDB 2 and 3. Better in .env than here.")
    org: Annotated[str, AfterValidator(check_printable)] | None = Field(None, description="InfluxDB 2.")
    bucket: Annotated[str, AfterValidator(check_printable)] | None = Field(
        None, description="InfluxDB 2 and 3; empty: testwarden."
    )
    database: Annotated[str, AfterValidator(check_printable)] | None = Field(
        None, description="InfluxDB 1; empty: testwarden."
    )
    username: Annotated[str, AfterValidator(check_printable)] | None = Field(None, description="InfluxDB 1.")
    password: Secret | None = Field(None, description="InfluxDB 1. Better in .env than here.")


class PrometheusSettings(Section):
    """Figures for Prometheus. Off unless `listen` is set; needs the extra: pip install 'testwarden[prometheus]'."""

    listen: Listen | None = Field(
        None,
        description='Address and port on this machine\'s own (loopback), for example "127.0.0.1:9464"; Prometheus '
        "scrapes /metrics there.",
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
    k6: K6Settings = Field(default_factory=K6Settings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    influx: InfluxSettings = Field(default_factory=InfluxSettings)
    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings)
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
