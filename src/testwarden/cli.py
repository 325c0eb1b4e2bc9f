"""The commands. No logic here, only calls; modules that a command needs are imported when it runs, to start fast."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testwarden.metrics.influx import InfluxServer
    from testwarden.settings import Loaded
    from testwarden.settings_schema import Settings

app = typer.Typer(
    name="testwarden",
    help="The test agent that is safe to hand to strangers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

WRONG_USE = 2
"""Exit code for a wrong setting, as for a wrong option."""

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; testwarden.toml if not given.")]
Demo = Annotated[bool, typer.Option("--demo", help="Defaults of a first run: embedded network, a cycle of a minute.")]


def _load(config: Path | None, *, demo: bool = False) -> Loaded:
    """Return the settings, or end with one line for each that is wrong."""
    from testwarden.errors import SettingsError
    from testwarden.settings import load

    try:
        return load(config, demo, os.environ, Path.cwd())
    except SettingsError as wrong:
        for problem in wrong.problems:
            typer.echo(f"testwarden: {problem}", err=True)
        raise typer.Exit(WRONG_USE) from None


def _check_api(settings: Settings) -> None:
    """End with one line where the API may not be opened as the settings ask for."""
    from testwarden.api.config import ApiRefused, address_of
    from testwarden.assembly import api_config

    asked = api_config(settings)
    try:
        if asked is not None:
            address_of(asked)
    except ApiRefused as problem:
        typer.echo(f"testwarden: {problem}", err=True)
        raise typer.Exit(WRONG_USE) from None


def _cache_dir(config: Path | None, *, demo: bool) -> Path:
    """Return agent.cache_dir. A first run has no settings: it is found without `--demo`, too."""
    from testwarden.errors import SettingsError
    from testwarden.settings import load

    try:
        return load(config, True, os.environ, Path.cwd()).settings.agent.cache_dir
    except SettingsError:
        return _load(config, demo=demo).settings.agent.cache_dir


@app.command()
def run(
    config: Config = None,
    demo: Demo = False,
    cycles: Annotated[int | None, typer.Option(min=1, help="End after so many whole cycles.")] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="Do not read keys.")] = False,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the agent until it is stopped (q, Ctrl-C, SIGTERM)."""
    if log_format not in {"text", "json"}:
        raise typer.BadParameter(f"{log_format!r} is not one of text, json", param_hint="--log-format")
    loaded = _load(config, demo=demo)
    _check_api(loaded.settings)
    from testwarden.session import Session

    try:
        session = Session(
            loaded.settings, cycles=cycles, console=not no_console, log_format=log_format, log_level=log_level
        )
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--log-level") from None
    raise typer.Exit(session.run())


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A folder with a control file, or the control file.")] = Path(
        "test-files"
    ),
) -> None:
    """Check a control file and its catalogues before it is merged; exit code 1 if any task is refused."""
    from testwarden.checking import check_folder

    report = check_folder(path)
    for line in report.lines:
        typer.echo(line)
    raise typer.Exit(1 if report.refused else 0)


@app.command()
def status(
    config: Config = None,
    demo: Demo = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a running agent is doing; exit code 1 if none runs in this cache folder."""
    from testwarden.console.status import StatusFile
    from testwarden.console.tables import status_table

    cache = _cache_dir(config, demo=demo)
    said = StatusFile(cache / "status.json").read()
    if said is None:
        typer.echo(f"no agent has run with agent.cache_dir = {cache}", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(said, indent=2) if as_json else status_table(said))
    raise typer.Exit(0 if said["alive"] else 1)


@app.command("config")
def show_config(
    config: Config = None,
    demo: Demo = False,
    sample: Annotated[bool, typer.Option("--sample", help="Print a commented settings file.")] = False,
) -> None:
    """Show the settings in force and where each came from; secrets are masked."""
    from testwarden import settings_view

    if sample:
        typer.echo(settings_view.sample(), nl=False)
        return
    rows = settings_view.effective(_load(config, demo=demo))
    widest = max(len(f"{row.key} = {row.value}") for row in rows)
    for row in rows:
        typer.echo(f"{f'{row.key} = {row.value}':<{min(widest, 60)}}  # {row.origin}")


@app.command()
def doctor(config: Config = None, demo: Demo = False) -> None:
    """Look whether everything an agent needs is there, and say what to do about what is not."""
    from testwarden.doctor import examine

    findings = examine(_load(config, demo=demo).settings)
    for finding in findings:
        typer.echo(str(finding))
    raise typer.Exit(1 if any(finding.bad for finding in findings) else 0)


@app.command()
def seed(
    number: Annotated[int, typer.Argument(metavar="SEED", min=0)],
    size: Annotated[str, typer.Argument(help="Bytes, or 4MiB, 1GB …")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the content to this file.")] = None,
) -> None:
    """Print the md5 of seeded content, for a catalogue; write the content to a file if one is named."""
    from testwarden import seeded
    from testwarden.settings_values import parse_bytes

    try:
        count = parse_bytes(int(size) if size.isdigit() else size)
    except ValueError as wrong:
        raise typer.BadParameter(f"{size!r}: allowed is {wrong}", param_hint="SIZE") from None
    try:
        md5 = seeded.write(number, count, output) if output else seeded.md5(number, count)
    except OSError as problem:
        typer.echo(f"testwarden: {output}: {problem.strerror}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"seed {number}, size {count}, md5 {md5}")


k6 = typer.Typer(no_args_is_help=True, help="Load tests with k6.")
app.add_typer(k6, name="k6")


@k6.command("run", context_settings={"allow_extra_args": True})
def k6_run(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="The script. Further arguments of k6 go behind `--`.")],
    vus: Annotated[int | None, typer.Option(min=1, help="Virtual users.")] = None,
    duration: Annotated[str | None, typer.Option(help="Seconds, or 1m30s.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1)] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Requests a second, at most.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Reach this host only; may be repeated.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for the script.")] = None,
    data: Annotated[Path | None, typer.Option(help="File with test data; its path is AMMO_URL in the script.")] = None,
    config: Config = None,
    demo: Demo = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Run a k6 script as an own test: same gate, ledger and kill switch as the agent's. Exits with k6's exit code."""
    from testwarden.k6_command import Asked, UsageError, build_test

    asked = Asked(
        script, vus, duration, iterations, rate, tuple(target or ()), tuple(env or ()), data, tuple(context.args)
    )
    loaded = _load(config, demo=demo)
    try:
        test = build_test(asked)
    except UsageError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    from testwarden.k6_session import K6Session

    try:
        session = K6Session(loaded.settings, test, log_level=log_level)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--log-level") from None
    raise typer.Exit(session.run())


Files = Annotated[list[Path] | None, typer.Argument(help="Metrics files or folders; left out: this agent's.")]
Since = Annotated[str | None, typer.Option(help="Only from then on: 7d, 12h, 2w.")]


@app.command()
def report(
    files: Files = None,
    since: Since = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("report.html"),
    as_text: Annotated[bool, typer.Option("--text", help="For a terminal, without a page.")] = False,
    config: Config = None,
    demo: Demo = False,
) -> None:
    """Show what was measured: one HTML page that needs no network, or a text."""
    from datetime import datetime, timezone

    from testwarden import __version__
    from testwarden.report_command import Asked, UsageError
    from testwarden.report_command import report as write_report

    paths = tuple(files or [_cache_dir(config, demo=demo) / "metrics"])
    try:
        code = write_report(
            Asked(paths, output, since, as_text=as_text), datetime.now(timezone.utc), __version__, typer.echo
        )
    except UsageError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    raise typer.Exit(code)


metrics = typer.Typer(no_args_is_help=True, help="Metrics files: into a database, or checked.")
app.add_typer(metrics, name="metrics")


@metrics.command("import")
def metrics_import(
    files: Files = None,
    url: Annotated[str | None, typer.Option(help="InfluxDB or VictoriaMetrics; left out: influx.url.")] = None,
    org: Annotated[str | None, typer.Option(help="InfluxDB 2.")] = None,
    bucket: Annotated[str | None, typer.Option(help="InfluxDB 2 and 3.")] = None,
    database: Annotated[str | None, typer.Option(help="InfluxDB 1.")] = None,
    since: Since = None,
    again: Annotated[bool, typer.Option("--again", help="Send what was sent before, too.")] = False,
    config: Config = None,
    demo: Demo = False,
) -> None:
    """Send metrics files to a database; goes on where it stopped. Token and password come from the settings `influx.*`
    (TESTWARDEN_INFLUX__TOKEN …), where no list of processes shows them."""
    from contextlib import nullcontext
    from datetime import datetime, timezone

    from testwarden.metrics_command import Asked, BarDisplay, PlainDisplay, UsageError, run_import

    server = _influx(config, demo=demo, url=url, org=org, bucket=bucket, database=database)
    paths = tuple(files or [_cache_dir(config, demo=demo) / "metrics"])
    try:
        with BarDisplay() if sys.stdout.isatty() else nullcontext(PlainDisplay(typer.echo)) as shown:
            code = run_import(Asked(paths, server, since, again), datetime.now(timezone.utc), shown)
    except UsageError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    raise typer.Exit(code)


def _influx(config: Path | None, *, demo: bool, url: str | None, **names: str | None) -> InfluxServer:
    """Return the server that the command line names, with what else the settings say of it."""
    from dataclasses import replace

    from testwarden.assembly import influx_server
    from testwarden.errors import SettingsError
    from testwarden.metrics.influx import InfluxServer
    from testwarden.settings import load

    try:
        # A first run has no settings: like `status`, an import does without them.
        settings = load(config, True, os.environ, Path.cwd()).settings
    except SettingsError:
        settings = _load(config, demo=demo).settings
    server = influx_server(settings)
    if url is not None and (server is None or server.url != url.rstrip("/")):
        # Token and password are for the server of the settings; another one gets those of the environment only.
        token = os.environ.get("TESTWARDEN_INFLUX__TOKEN", "")
        server = InfluxServer(url, token=token, password=os.environ.get("TESTWARDEN_INFLUX__PASSWORD", ""))
    if server is None:
        raise typer.BadParameter("say where the database is: --url http://127.0.0.1:8086, or the setting influx.url")
    return replace(server, **{name: value for name, value in names.items() if value is not None})


@metrics.command("check")
def metrics_check(files: Files = None, config: Config = None, demo: Demo = False) -> None:
    """Check metrics files line by line; exit code 1 if there is an error."""
    from testwarden.metrics_command import run_check

    raise typer.Exit(run_check(files or [_cache_dir(config, demo=demo) / "metrics"], typer.echo))


@app.command()
def version() -> None:
    """Print name, version, date and commit."""
    from testwarden.version import version_line

    typer.echo(version_line())


def main() -> None:
    """Run the command line. A reader that goes away (`| head`) is no error."""
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
