"""From settings to objects: which source, which client, which workloads. Nothing here starts anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from testwarden.api.config import ApiConfig
from testwarden.assembly_k6 import K6Parts
from testwarden.clients.ant import AntClient
from testwarden.clients.client import Client
from testwarden.clients.deferred import DeferredClient
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.clients.process import Processes
from testwarden.clock import Clock
from testwarden.control.directory import DirectorySource
from testwarden.control.fetch import Reading
from testwarden.control.source import Source
from testwarden.control.split import SplitSource
from testwarden.metrics.line_protocol import Identity
from testwarden.metrics.recorder import Recorder
from testwarden.metrics.rotation import Rules
from testwarden.model import Task, TestType
from testwarden.settings_schema import Settings
from testwarden.workloads.download import DownloadWorkload
from testwarden.workloads.quote import QuoteWorkload
from testwarden.workloads.upload import UploadWorkload
from testwarden.workloads.workload import Workload

if TYPE_CHECKING:
    from testwarden.metrics.influx import InfluxServer


def build_source(settings: Settings, clock: Clock) -> Source:
    """Return where tasks come from and where the kill switch is looked for."""
    if settings.control.source == "github":
        return _github(settings, clock)
    folder = DirectorySource(settings.control.path, lambda: clock.now().utc)
    return SplitSource(folder, _github(settings, clock)) if settings.github.repository else folder


def _github(settings: Settings, clock: Clock) -> Source:
    # Imported where it is used: PyGithub takes a third of a second and 30 MiB.
    from testwarden.clients.http_session import user_agent
    from testwarden.control.github import GitHubSource

    github = settings.github
    return GitHubSource(
        repository=github.repository or "",
        branch=github.branch,
        api_url=github.api_url,
        token=github.token.get_secret_value() if github.token else "",
        directory=str(settings.control.path) if settings.control.source == "github" else "",
        user_agent=user_agent(github.repository or "", settings.agent.name),
        cache_dir=settings.agent.cache_dir,
        now=lambda: clock.now().utc,
    )


def build_client(settings: Settings, processes: Processes, store_url: str) -> Client:
    """Return the client that the settings name; `store_url` is the embedded network's."""
    network = settings.network
    if network.client != "ant":
        return DeferredClient(network.client, lambda: _http_client(settings, store_url))
    return AntClient(
        processes,
        bin_dir=settings.agent.bin_dir,
        search_path=os.environ.get("PATH", ""),
        peers=network.peers,
        ant_args=network.ant_args,
        secret_key=lambda: network.secret_key.get_secret_value() if network.secret_key else "",
    )


def _http_client(settings: Settings, store_url: str) -> Client:
    from testwarden.clients.http import EmbeddedClient, HttpClient
    from testwarden.clients.http_session import user_agent

    identity = user_agent(settings.github.repository or "", settings.agent.name)
    if settings.network.client == "embedded":
        return EmbeddedClient(store_url, identity)
    return HttpClient(settings.network.gateway, identity, allowed_hosts=settings.network.allowed_hosts)


def impossible(settings: Settings, k6: K6Parts) -> Callable[[Task], str]:
    """Return what says why a task cannot run here at all; it says nothing where it can."""
    types = _impossible_types(settings)

    def why(task: Task) -> str:
        return k6.problem(task.origin) if task.type is TestType.K6 else types.get(task.type, "")

    return why


def _impossible_types(settings: Settings) -> Mapping[TestType, str]:
    if settings.network.client == "http":
        from testwarden.clients.http import HttpClient

        return HttpClient.unsupported
    missing = [
        name
        for name, value in (
            ("network.secret_key", settings.network.secret_key),
            ("limits.spend_per_day", settings.limits.spend_per_day),
        )
        if value is None
    ]
    if settings.network.client == "ant" and missing:
        return {TestType.UPLOAD: f"an upload spends your funds: set {' and '.join(missing)} to allow it"}
    return {}


def build_workloads(
    client: Client, reading: Reading, k6: K6Parts, progress: Callable[[Task, K6Numbers], None]
) -> Mapping[TestType, Workload]:
    """Return what carries out each test type that the control file names, and those that own tests can ask for."""
    catalogues = reading.catalogues
    workloads: list[Workload] = [
        DownloadWorkload(client, catalogues.downloads.pick),
        QuoteWorkload(client, catalogues.quotes.pick),
        UploadWorkload(client, catalogues.uploads.pick),
    ]
    if any(task.type is TestType.K6 for task in reading.control.tasks):
        workloads.append(k6.workload(reading.files, progress))
    return {workload.type: workload for workload in workloads}


def identity(settings: Settings) -> Identity:
    """Return what is the same in every line of this agent."""
    told = settings.telemetry
    return Identity(settings.agent.name, told.country, told.provision, told.connection)


def influx_server(settings: Settings) -> InfluxServer | None:
    """Return the database that metrics go to; None: none is set."""
    influx = settings.influx
    if influx.url is None:
        return None
    from testwarden.metrics.influx import InfluxServer

    return InfluxServer(
        influx.url,
        token=influx.token.get_secret_value() if influx.token else "",
        org=influx.org or "",
        bucket=influx.bucket or "",
        database=influx.database or "",
        username=influx.username or "",
        password=influx.password.get_secret_value() if influx.password else "",
    )


def build_recorder(settings: Settings) -> Recorder:
    """Return the recorder of the cache folder's metrics. Raise MetricsError if they cannot be used."""
    return Recorder(
        settings.agent.cache_dir / "metrics",
        identity(settings),
        Rules(keep_days=settings.metrics.keep_days, keep_bytes=settings.metrics.keep_size),
    )


def api_config(settings: Settings) -> ApiConfig | None:
    """Return the API's settings; None where it is off."""
    api = settings.api
    if api.listen is None:
        return None
    from testwarden.clients.http_session import user_agent

    return ApiConfig(
        listen=api.listen,
        scripts=settings.agent.cache_dir / "scripts",
        agent=user_agent(settings.github.repository or "", settings.agent.name),
        token=api.token.get_secret_value() if api.token else None,
        tls_cert=api.tls_cert,
        tls_key=api.tls_key,
        hosts=api.hosts,
    )
