"""The options that only K6 tasks have: which script, how much load, and whom it may reach."""

from __future__ import annotations

import math
import re

from testwarden.control.findings import shown
from testwarden.control.source import path_problem
from testwarden.control.targets import targets
from testwarden.control.task_options import TaskOptions
from testwarden.control.values import is_count, positive
from testwarden.model import K6Options, ScriptFile

K6_KEYS = ("script", "sha256", "data", "data_sha256", "vus", "duration", "iterations", "rate", "targets")
ENV = "env."
"""What the keys of variables begin with."""

LONGEST_TIMEOUT = 600
"""Seconds: what a K6 task gets that says neither `timeout` nor `duration`. It is the built-in limit of one run."""
TIMEOUT_MARGIN = 60
"""Seconds beyond `duration`: k6 starts, gives iterations 30 s to end (its gracefulStop), and writes its summary."""

MOST_VALUE = 1000
"""Characters of a variable's value."""
_VARIABLE = "[A-Za-z_][A-Za-z0-9_]{0,63}"
# Whether k6 gets them as a process or as a script's variables: none of them may come from a control file. In any case of
# letters, since Go reads HTTP_PROXY and http_proxy alike.
_STEERING = (
    r"K6_.*|XK6_.*|TESTWARDEN_.*|AMMO_URL|.*_PROXY|LD_.*|DYLD_.*|GLIBC_.*|MALLOC_.*|GO(?:DEBUG|GC|MAXPROCS|MEMLIMIT|"
    r"TRACEBACK|FIPS|COVERDIR|RACE)|SSL_CERT_.*|SSLKEYLOGFILE|OTEL_.*|GRPC_.*|XDG_.*|PATH|HOME|USER|SHELL|PWD|TMPDIR|"
    r"ENV|BASH_.*|IFS|LOCALDOMAIN|RES_OPTIONS|HOSTALIASES|GCONV_PATH|LANG|LC_.*|TZ|TZDIR"
)

_DURATION = r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"
_DIGEST = "[0-9a-fA-F]{64}"


def read_k6(options: TaskOptions) -> K6Options | None:
    """Given the options of a K6 task, return its own ones; None where there is a finding that leaves no script."""
    _check_all_there(options)
    script, data = _file(options, "script", "sha256"), _file(options, "data", "data_sha256")
    nobody: tuple[str, ...] = ()
    found = K6Options(
        script or ScriptFile("", ""),
        data,
        vus=options.read("vus", positive, None),
        duration=options.read("duration", seconds, None),
        iterations=options.read("iterations", positive, None),
        rate=options.read("rate", positive, None),
        targets=options.read("targets", targets, nobody),
        env=tuple(_variable(options, key) for key in options.starting_with(ENV)),
    )
    return found if script else None


def default_timeout(duration: float | None) -> int:
    """Given the seconds of `duration`, return those of `timeout` where the control file gives none."""
    return LONGEST_TIMEOUT if duration is None else min(LONGEST_TIMEOUT, math.ceil(duration) + TIMEOUT_MARGIN)


def _check_all_there(options: TaskOptions) -> None:
    missing = [key for key in ("script", "sha256", "targets") if key not in options]
    if missing:
        options.error(missing[0], f"a K6 task needs the option {' and the option '.join(missing)}")
    for one, other in (("data", "data_sha256"), ("data_sha256", "data")):
        if one in options and other not in options:
            options.error(one, f"option {one} needs the option {other} beside it")


def _file(options: TaskOptions, path_key: str, digest_key: str) -> ScriptFile | None:
    path, digest = options.read(path_key, _path, ""), options.read(digest_key, _digest, "")
    return ScriptFile(path, digest) if path and digest else None


def _variable(options: TaskOptions, key: str) -> tuple[str, str]:
    return key.removeprefix(ENV), options.read(key, _value, "")


def variable_problem(name: str) -> str:
    """Given the name of a variable, return why a control file cannot set it; "" where it can."""
    if not re.fullmatch(_VARIABLE, name):
        return "the name of a variable has 1 to 64 letters, digits and underscores, and no digit first"
    if re.fullmatch(_STEERING, name.upper()):
        return "that variable steers k6 or the process itself, and a control file cannot set it"
    return ""


# What follows turns one text, stripped and not empty, into a value, or raises ValueError with the rest of a sentence
# that begins with the option's name.


def _path(text: str) -> str:
    problem = path_problem(text)
    if problem:
        raise ValueError(f"is {shown(text)}; {problem}")
    return text


def _digest(text: str) -> str:
    if not re.fullmatch(_DIGEST, text):
        raise ValueError(f"is {shown(text)}; it must be the 64 hex digits that sha256sum prints")
    return text.lower()


def seconds(text: str) -> float:
    parts = re.fullmatch(_DURATION, text)
    if is_count(text):
        seconds = int(text)
    elif parts:
        hours, minutes, rest = (int(part or 0) for part in parts.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    else:
        raise ValueError(f"is {shown(text)}; it must be seconds in digits, or hours, minutes and seconds like 1m30s")
    if not seconds:
        raise ValueError(f"is {shown(text)}; it must be at least one second")
    return float(seconds)


def _value(text: str) -> str:
    if len(text) > MOST_VALUE or not text.isprintable():
        raise ValueError(f"is {shown(text)}; it must be one line of at most {MOST_VALUE:,} printable characters")
    return text
