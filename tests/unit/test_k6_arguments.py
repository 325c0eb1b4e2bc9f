"""Command lines of k6, and which arguments of the operator get into them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testwarden.clients.k6_arguments import (
    ParamRefused,
    Wanted,
    inspect_argv,
    inspect_environment,
    problem_of,
    run_argv,
    wanted_of,
)
from testwarden.clients.k6_load import Load
from testwarden.model import K6Options, ScriptFile

SCRIPT = ScriptFile("k6/a.js", "0" * 64)


def wanted(*params: str) -> Wanted:
    return wanted_of(K6Options(SCRIPT, params=params))


def test_a_run_is_this_command_line() -> None:
    load = Load(vus=2, duration=10.0, rate=20)
    argv = run_argv("/bin/k6", "/files/a.js", 7000, load, Wanted(Load(), (("A", "b c"),), ("--tag=x=y",)))
    assert argv == (
        *("/bin/k6", "run", "--quiet", "--no-color", "--include-system-env-vars=false", "--address=127.0.0.1:7000"),
        *("--summary-export=summary.json", "--summary-trend-stats=avg,min,med,max,p(50),p(90),p(95),p(99)"),
        *("--vus", "2", "--duration", "10s", "--rps", "20", "--tag=x=y", "-e", "A=b c", "/files/a.js"),
    )


def test_an_inspection_is_this_command_line_and_its_load_is_in_the_environment() -> None:
    argv = inspect_argv("/bin/k6", "/files/a.js", (("A", "b"),))
    own = ("--execution-requirements", "--include-system-env-vars=false", "--no-color")
    assert argv == ("/bin/k6", "inspect", *own, "-e", "A=b", "/files/a.js")
    assert inspect_environment(Load(vus=2)) == {
        "K6_NO_USAGE_REPORT": "true",
        "K6_AUTO_EXTENSION_RESOLUTION": "false",
        "K6_BROWSER_EXECUTABLE_PATH": "/nonexistent",
        "K6_VUS": "2",
    }


def test_load_and_variables_are_taken_out_of_the_arguments_however_they_are_written() -> None:
    assert wanted("-u", "5", "--duration=1m", "-i7", "--rps", "9").load == Load(5, 60.0, 7, (), 9)
    assert wanted("-s", "5s:10", "--stage=10s:0").load == Load(stages=("5s:10", "10s:0"))
    assert wanted("-e", "RPS=2", "--env=A=b=c", "-eX=").env == (("RPS", "2"), ("A", "b=c"), ("X", ""))
    assert wanted("-d", "30s", "-d=10s").load.duration == 10.0


def test_an_argument_counts_more_than_the_option_of_the_task_and_its_variables_come_later() -> None:
    options = K6Options(SCRIPT, vus=1, duration=5.0, env=(("A", "1"),), params=("-u", "3", "-e", "A=2"))
    assert wanted_of(options) == Wanted(Load(vus=3, duration=5.0), (("A", "1"), ("A", "2")))


def test_harmless_arguments_are_passed_on() -> None:
    found = wanted(
        "--tag", "a=b", "-w", "--http-debug=full", "--no-thresholds", "-o", "influxdb=http://h:8086/db", "-q"
    )
    assert found.passed == (
        *("--tag=a=b", "--throw", "--http-debug=full", "--no-thresholds"),
        *("--out=influxdb=http://h:8086/db", "--quiet"),
    )
    assert wanted("--out", "prometheus=port=5656").passed == ("--out=prometheus=port=5656",)


@pytest.mark.parametrize(
    "params",
    [
        *(("--address", "0.0.0.0:1"), ("-a", "0.0.0.0:1"), ("-a0.0.0.0:1",), ("--address=0.0.0.0:1",)),
        *(("--summary-export=/etc/x",), ("--summary-trend-stats", "avg"), ("--summary-mode", "disabled")),
        *(("--include-system-env-vars",), ("--include-system-env-vars=true",), ("--new-machine-readable-summary",)),
        *(("--linger",), ("-l",), ("--paused",), ("-p",), ("-c", "x.json"), ("--config=x",), ("-t", "archive")),
        *(
            ("--console-output", "/etc/x"),
            ("--log-output=file=/etc/x",),
            ("--traces-output", "otel"),
            ("--compatibility-mode", "base"),
        ),
        *(("--secret-source", "file=/etc/shadow"), ("--profiling-enabled",), ("--features", "x"), ("--a-new-flag",)),
        *(("other.js",), ("-",), ("--",), ("",), ("-x",), ("-qa", "0.0.0.0:1"), ("-lq",), ("run",)),
        *(("--out", "json=/etc/x"), ("-o", "csv"), ("-ojson=x",), ("--out=cloud",), ("--out", "influxdb-evil=x")),
        *(
            ("--vus",),
            ("-u", "many"),
            ("-u", "-1"),
            ("-u", "9" * 10),
            ("-d", "soon"),
            ("-s", "5s"),
            ("-s", "5s:1,9h:9999"),
        ),
        *(("-e", "A"), ("-e", "=x"), ("-e", "A B=c"), ("--rps", ""), ("-e",), ("-s", "sms:5")),
    ],
)
def test_arguments_that_would_loosen_something_or_are_not_understood_are_refused(params: tuple[str, ...]) -> None:
    with pytest.raises(ParamRefused):
        wanted(*params)


FINE = K6Options(ScriptFile("a.js", "0" * 64))


@pytest.mark.parametrize(
    "options",
    [
        FINE,
        replace(FINE, params=("--vus=3", "-e", "A=b")),
        replace(FINE, targets=("example.org", "*.example.net:443", "[::1]:80")),
        replace(FINE, env=(("A_1", "two\nlines"), ("_b", ""))),
    ],
)
def test_what_can_be_run_has_no_problem(options: K6Options) -> None:
    assert problem_of(options) == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (replace(FINE, params=("--linger",)), "'--linger' is not one that is passed on"),
        (replace(FINE, params=("--vus", "many")), "--vus 'many'"),
        (replace(FINE, params=("--env", "1A=b")), "is not NAME=VALUE"),
        (replace(FINE, params=("--tag", "a=\0")), "an argument for k6 cannot contain a NUL"),
        (replace(FINE, targets=("example.org", "http://example.org/")), "is not a target"),
        (replace(FINE, targets=("",)), "host name"),
        (replace(FINE, env=(("A-B", "x"),)), "'A-B' cannot be the name of a variable"),
        (replace(FINE, env=(("A=B", "x"),)), "cannot be the name"),
        (replace(FINE, env=(("", "x"),)), "cannot be the name"),
        (replace(FINE, env=(("A\n", "x"),)), "cannot be the name"),
        (replace(FINE, env=(("A", "x\0"),)), "the variable A cannot contain a NUL"),
    ],
)
def test_what_cannot_be_run_is_told_before(options: K6Options, words: str) -> None:
    assert words in problem_of(options)
