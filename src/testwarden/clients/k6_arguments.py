"""Command lines of k6, and which of its arguments the operator may add: building argv apart from running it.

Own runs may carry further arguments (`K6Options.params`). They are read by the table below, not passed on blindly: what
would take from us what keeps a run bounded and watched is refused, and so is what we do not know. By name:

- `--address`, `--summary-export`, `--summary-trend-stats`, `--summary-mode`, `--new-machine-readable-summary`,
  `--include-system-env-vars`: they are ours; a summary or REST API elsewhere is one that is lost;
- `--linger`, `--paused`: the run would not end, or not begin;
- `--config`, `--type`, `--compatibility-mode`: what was inspected would not be what runs;
- `--console-output`, `--log-output`, `--traces-output`, `--secret-source`, and `--out` to a file: files of the operator's
  could be written or read; a file in the scratch folder is gone with it anyway;
- `--profiling-enabled`: it widens the REST API.

Load (`--vus`, `--duration`, `--iterations`, `--stage`, `--rps`) and variables (`--env`) are taken out: they are inspected
and clamped like a task's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from testwarden.clients.allow_list import Target
from testwarden.clients.k6_load import Load, load_of, parse_duration
from testwarden.errors import TestwardenError
from testwarden.model import K6Options

SUMMARY = "summary.json"
"""Name of the summary in the working folder."""
DATA_VARIABLE = "AMMO_URL"
"""In it a script finds the path of its data."""
TREND_STATS = "avg,min,med,max,p(50),p(90),p(95),p(99)"

ENVIRONMENT = {
    "K6_NO_USAGE_REPORT": "true",
    "K6_AUTO_EXTENSION_RESOLUTION": "false",
    "K6_BROWSER_EXECUTABLE_PATH": "/nonexistent",
}
"""What every k6 of ours gets: it reports to nobody, downloads no other binary for what a script imports, and starts no
browser that happens to be on this machine."""
HTTP_1 = {"GODEBUG": "http2client=0"}
"""What k6 gets where the proxy of its cage counts requests: HTTP/1.1 only. HTTP/2 sends much besides requests, such as
the news that more of an answer may come, which looks like requests from outside and would be held back like them."""

LOAD_FLAGS = ("vus", "duration", "iterations", "stage", "rps")
WITH_VALUE = (
    *("tag", "out", "max-redirects", "batch", "batch-per-host", "user-agent", "min-iteration-duration"),
    *("blacklist-ip", "block-hostnames", "summary-time-unit", "system-tags", "local-ips", "dns", "log-format"),
    *("execution-segment", "execution-segment-sequence"),
)
"""Flags that are passed on with their value."""
ALONE = (
    *("no-setup", "no-teardown", "http-debug", "insecure-skip-tls-verify", "no-connection-reuse"),
    *("no-vu-connection-reuse", "throw", "discard-response-bodies", "no-thresholds", "no-usage-report", "verbose"),
    *("quiet", "no-color"),
)
"""Flags that are passed on and have no value, or one behind a `=`."""
SHORT = {
    "a": "address",
    "c": "config",
    "d": "duration",
    "e": "env",
    "i": "iterations",
    "l": "linger",
    "o": "out",
    "p": "paused",
    "q": "quiet",
    "s": "stage",
    "t": "type",
    "u": "vus",
    "v": "verbose",
    "w": "throw",
}
OUTPUTS = re.compile(
    r"(influxdb|xk6-influxdb|prometheus|xk6-prometheus|(xk6-|experimental-)?prometheus-rw|(experimental-)?opentelemetry|"
    r"statsd|output-statsd|kafka|xk6-kafka)(=.*)?"
)
"""Where metrics may be sent: over the network, never to a file."""
_STAGE = re.compile(r"[0-9a-zµμ.]{1,40}:[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ParamRefused(TestwardenError):
    """An argument for k6 is not one that can be passed on."""


@dataclass(frozen=True)
class Wanted:
    """What a run is asked for, from a task's options and the operator's arguments together."""

    load: Load
    env: tuple[tuple[str, str], ...] = ()
    """Variables for the script; of two of one name, the later one counts."""
    passed: tuple[str, ...] = ()
    """Arguments that are passed on as they are."""


def wanted_of(options: K6Options) -> Wanted:
    """Given a task's options, return all that they ask for. Raise ParamRefused for an argument that cannot be passed on."""
    load, env, passed = load_of(options), list(options.env), list[str]()
    for name, value in _flags(options.params):
        if name == "env":
            env.append(_variable(value or ""))
        elif name in LOAD_FLAGS:
            load = _with(load, name, value or "")
        elif name == "out" and not OUTPUTS.fullmatch(value or ""):
            raise ParamRefused(f"--out {value} is refused: metrics are sent over the network only")
        else:
            passed.append(f"--{name}" if value is None else f"--{name}={value}")
    return Wanted(load, tuple(env), tuple(passed))


def problem_of(options: K6Options) -> str:
    """Given what a run is asked for, return why it cannot be, as one sentence; empty where it can.

    Looks at arguments, targets and variables only: script and data, the load and the operator's limits are others'.
    """
    try:
        wanted = wanted_of(options)
        for target in options.targets or ():
            Target.parse(target)
    except (ParamRefused, ValueError) as error:
        return str(error)
    for name, value in wanted.env:
        if not _NAME.fullmatch(name):
            return f"{name[:100]!r} cannot be the name of a variable: letters, digits and underscores, no digit first"
        if "\0" in value:
            return f"the variable {name[:100]} cannot contain a NUL"
    if any("\0" in argument for argument in wanted.passed):
        return "an argument for k6 cannot contain a NUL"
    return ""


def inspect_argv(program: str, script: str, env: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Given program, script and its variables, return the command line that asks what a run would do.

    The load is in the environment: `inspect` takes no flags for it.
    """
    own = ("inspect", "--execution-requirements", "--include-system-env-vars=false", "--no-color")
    return (program, *own, *_env_flags(env), script)


def run_argv(program: str, script: str, port: int, load: Load, wanted: Wanted) -> tuple[str, ...]:
    """Given program, script, loopback port of its REST API, load and the rest of what is wanted, return a command line.

    It is the same for v1 and v2: the flags are, and where REST APIs are on or off by default, it is told.
    """
    own = (
        *("run", "--quiet", "--no-color", "--include-system-env-vars=false", f"--address=127.0.0.1:{port}"),
        *(f"--summary-export={SUMMARY}", f"--summary-trend-stats={TREND_STATS}"),
    )
    return (program, *own, *load.flags(), *wanted.passed, *_env_flags(wanted.env), script)


def inspect_environment(load: Load) -> Mapping[str, str]:
    """Given a load, return the variables that `k6 inspect` needs."""
    return {**ENVIRONMENT, **load.env()}


def _env_flags(env: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(word for name, value in env for word in ("-e", f"{name}={value}"))


def _flags(params: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of each flag. Raise ParamRefused for what is none, is not known or lacks its value."""
    rest = list(params)
    while rest:
        argument = rest.pop(0)
        name, value = _split(argument)
        if name in ALONE:
            yield name, value
            continue
        if name not in (*WITH_VALUE, *LOAD_FLAGS, "env"):
            raise ParamRefused(f"the argument {argument[:100]!r} is not one that is passed on to k6")
        if value is None and not rest:
            raise ParamRefused(f"the argument {argument[:100]!r} lacks its value")
        yield name, rest.pop(0) if value is None else value


def _split(argument: str) -> tuple[str, str | None]:
    """Given `--name`, `--name=value`, `-n`, `-nvalue` or `-n=value`, return the long name and the value."""
    if argument.startswith("--"):
        name, equals, value = argument[2:].partition("=")
        return name, value if equals else None
    if argument.startswith("-") and argument[1:2] in SHORT:
        name, value = SHORT[argument[1]], argument[2:].removeprefix("=")
        if value and name in ALONE:
            raise ParamRefused(f"the argument {argument[:100]!r} is refused: give each flag by itself")
        return name, value or None
    return argument, None


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise ParamRefused(f"--env {text[:100]!r} is not NAME=VALUE")
    return name, value


def _with(load: Load, name: str, value: str) -> Load:
    """Return the load with one flag more."""
    try:
        if name == "stage":
            return replace(load, stages=(*load.stages, _stage(value)))
        if name == "duration":
            return replace(load, duration=parse_duration(value))
        number = _count(value)
    except ValueError:
        raise ParamRefused(f"--{name} {value[:100]!r} is not something that k6 understands") from None
    if name == "vus":
        return replace(load, vus=number)
    return replace(load, iterations=number) if name == "iterations" else replace(load, rate=number)


def _stage(text: str) -> str:
    if not _STAGE.fullmatch(text):
        raise ValueError("not DURATION:VUS")
    parse_duration(text.partition(":")[0])
    return text


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("not a count")
    return int(text)
