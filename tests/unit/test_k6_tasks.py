"""K6 tasks in a control file: every option is understood or refused at its line, and good tasks run beside broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testwarden.control.catalogue import Catalogues
from testwarden.control.control_file import ControlFile, parse
from testwarden.control.k6_meaning import K6_KEYS, LONGEST_TIMEOUT, default_timeout
from testwarden.model import K6Options, Level, Origin, ScriptFile, Task, TestType
from testwarden.safety.limits import BUILT_IN

SHA = "0123456789abcdef" * 4
OTHER = "f" * 64
NEEDED = {"script": "k6/load.js", "sha256": SHA, "targets": "example.org"}
SCRIPT = ScriptFile("k6/load.js", SHA)


def options(pairs: dict[str, str]) -> str:
    listed = "".join(f'\n<Option key="{key}" value="{value}"/>' for key, value in pairs.items())
    return f"<TestOptions>{listed}</TestOptions>" if pairs else ""


def task(pairs: dict[str, str], *, ref: str = "001", minute: int = 5, kind: str = "K6") -> str:
    head = f"<TaskRef>{ref}</TaskRef><TimePeriod>{minute}</TimePeriod><TestType>{kind}</TestType>"
    return f"<Task>{head}{options(pairs)}</Task>"


def read(*tasks: str) -> ControlFile:
    """The catalogues have one size of downloads, and none of anything else."""
    catalogues, _ = Catalogues.read({"01-download-files.csv": b"fileSize,name,address,md5\ntiny,a,b,0\n"})
    text = "\n".join(["<Schedule>", *tasks, "</Schedule>"])
    return parse(text.encode(), "c.xml", catalogues)


def with_(pairs: dict[str, str]) -> ControlFile:
    return read(task({**NEEDED, **pairs}))


def k6_of(control: ControlFile) -> K6Options:
    assert control.findings == ()
    [found] = control.tasks
    assert found.k6 is not None
    return found.k6


# What is understood.


def test_every_option_of_a_k6_task_is_read() -> None:
    everything = {
        **NEEDED,
        "sha256": SHA.upper(),
        "data": "k6/users.csv",
        "data_sha256": OTHER,
        "vus": "4",
        "duration": "1m30s",
        "iterations": "100",
        "rate": "10",
        "targets": "Example.org, *.cdn.example.org:443",
        "env.BASE_URL": "https://example.org/a?b=1",
        "env._n1": " two words ",
        "workers": "2",
        "offset": "1",
        "repeat": "true",
        "timeout": "120",
        "retry": "0",
    }
    asked = K6Options(
        script=SCRIPT,
        data=ScriptFile("k6/users.csv", OTHER),
        vus=4,
        duration=90.0,
        iterations=100,
        rate=10,
        targets=("example.org", "*.cdn.example.org:443"),
        env=(("BASE_URL", "https://example.org/a?b=1"), ("_n1", "two words")),
    )
    expected = Task(
        "001", "", 5, 0, TestType.K6, workers=2, offset=1, repeat=True, timeout=120, retry=0, line=2, k6=asked
    )
    assert read(task(everything)) == ControlFile((expected,), (), None)


def test_what_is_left_out_is_left_to_the_script() -> None:
    control = with_({})
    assert k6_of(control) == K6Options(SCRIPT, targets=("example.org",))
    assert control.tasks[0].origin is Origin.PUBLIC


def test_a_k6_task_needs_no_catalogue() -> None:
    assert len(parse(f"<Schedule>{task(NEEDED)}</Schedule>".encode(), "c.xml", Catalogues.read({})[0]).tasks) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1m30s", 90), ("1h", 3600), ("2h0m1s", 7201), ("010s", 10)],
)  # fmt: skip
def test_a_duration_is_seconds_or_hours_minutes_and_seconds(text: str, seconds: int) -> None:
    assert k6_of(with_({"duration": text})).duration == seconds


@pytest.mark.parametrize(
    ("pairs", "timeout"),
    [
        ({}, 600),
        ({"duration": "30"}, 90),
        ({"duration": "9m"}, 600),
        ({"duration": "2h"}, 600),
        ({"duration": "30", "timeout": "5000"}, 5000),
    ],
)
def test_without_a_timeout_a_run_has_its_duration_and_a_minute_or_the_limit(
    pairs: dict[str, str], timeout: int
) -> None:
    assert with_(pairs).tasks[0].timeout == timeout


def test_the_longest_default_timeout_is_the_built_in_limit() -> None:
    row = BUILT_IN.of(TestType.K6)
    assert row is not None
    assert (LONGEST_TIMEOUT, default_timeout(None)) == (row.seconds, row.seconds)


def test_values_above_a_limit_are_passed_on_to_the_gate() -> None:
    asked = k6_of(with_({"vus": "5000", "rate": "999999999", "iterations": "999999999", "duration": "24h"}))
    assert (asked.vus, asked.rate, asked.iterations, asked.duration) == (5000, 999_999_999, 999_999_999, 86400)


@pytest.mark.parametrize("path", ["x.js", "k6/x.js", "k6/a b/x #1?%.js", "für/x.js", "..x/x..", "-x.js", "x" * 200])
def test_a_script_is_a_path_below_the_folder(path: str) -> None:
    assert k6_of(with_({"script": path})).script.path == path


@pytest.mark.parametrize("name", ["A", "_", "rps", "BASE_URL", "a1", "GOAL", "HOMES", "MY_K6_X", "PROXY", "X" * 64])
def test_any_variable_that_steers_nothing_can_be_set(name: str) -> None:
    assert k6_of(with_({f"env.{name}": "1"})).env == ((name, "1"),)


# What is refused.

BAD = [
    ("script", "", "option script is empty"),
    ("script", "/etc/passwd", "no / first"),
    ("script", "../x.js", "lead straight down from the folder of the control file"),
    ("script", "k6/../../x.js", "lead straight down"),
    ("script", "k6/./x.js", "lead straight down"),
    ("script", "k6//x.js", "lead straight down"),
    ("script", "k6/", "lead straight down"),
    ("script", "..", "lead straight down"),
    ("script", "k6\\x.js", "forward slashes"),
    ("script", "k6/x&#9;y.js", "without control characters"),
    ("script", "k6/&#x202e;y.js", "without control characters"),
    ("script", "x" * 201, "at most 200 bytes"),
    ("script", "ü" * 101, "at most 200 bytes"),
    ("sha256", SHA[1:], "it must be the 64 hex digits that sha256sum prints"),
    ("sha256", SHA + "0", "it must be the 64 hex digits"),
    ("sha256", "g" * 64, "it must be the 64 hex digits"),
    ("sha256", "٣" * 64, "it must be the 64 hex digits"),
    ("vus", "0", "option vus is '0'; it must be a whole number from 1"),
    ("iterations", "many", "option iterations is 'many'"),
    ("rate", "1.5", "option rate is '1.5'"),
    ("rate", "-1", "option rate is '-1'"),
    ("duration", "0", "option duration is '0'; it must be at least one second"),
    ("duration", "0h0m0s", "it must be at least one second"),
    ("duration", "1.5m", "option duration is '1.5m'; it must be seconds in digits, or hours, minutes and seconds like"),
    ("duration", "500ms", "like 1m30s"),
    ("duration", "30s1m", "like 1m30s"),
    ("duration", "1m 30s", "like 1m30s"),
    ("duration", "-1s", "like 1m30s"),
    ("duration", "1d", "like 1m30s"),
    ("duration", "1234567890", "like 1m30s"),
    ("duration", "٣s", "like 1m30s"),
    ("targets", "", "option targets is empty"),
    ("targets", "https://example.org", "option targets has the target 'https://example.org'; it must be a host"),
    ("targets", "*", "option targets has the target '*'"),
    ("targets", "10.0.0.1", "public addresses only"),
    ("env.A", "", "option env.A is empty"),
    ("env.A", "a&#10;b", "it must be one line of at most 1,000 printable characters"),
    ("env.A", "a&#x9b;b", "it must be one line"),
    ("env.A", "x" * 1001, "it must be one line"),
    ("env.", "1", "option 'env.' cannot be used: the name of a variable has 1 to 64 letters"),
    ("env.1A", "1", "no digit first"),
    ("env.A-B", "1", "the name of a variable has"),
    ("env.A B", "1", "the name of a variable has"),
    ("env.Ä", "1", "the name of a variable has"),
    ("env.A=B", "1", "the name of a variable has"),
    ("env." + "A" * 65, "1", "the name of a variable has"),
    ("timeout", "0", "option timeout is '0'"),
    ("workers", "0", "option workers is '0'"),
    ("repeat", "yes", "option repeat is 'yes'"),
    ("filesize", "tiny", "option 'filesize' belongs to the test types Download, Quote, Upload"),
    ("sha", SHA, "option 'sha' is not known; did you mean sha256?"),
    ("vsu", "1", "option 'vsu' is not known; did you mean vus?"),
    ("params", "-e", "option 'params' is not known; known are script, sha256, data, data_sha256, vus"),
    ("Env.A", "1", "option 'Env.A' is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "said"), BAD)
def test_what_is_not_understood_is_one_finding_at_its_line(key: str, value: str, said: str) -> None:
    pairs = {**NEEDED, key: value}
    control = read(task(NEEDED, ref="001"), task(pairs, ref="002", minute=6), task(NEEDED, ref="003", minute=7))
    assert [found.ref for found in control.tasks] == ["001", "003"]
    [finding] = control.findings
    assert said in finding.message
    line_of_task = 2 + 1 + len(NEEDED)
    assert (finding.task, finding.level) == ("002", Level.ERROR)
    assert finding.line == line_of_task + 1 + list(pairs).index(key)


@pytest.mark.parametrize(
    "name",
    [
        *("K6_VUS", "k6_vus", "K6_", "K6_CLOUD_TOKEN", "XK6_X", "AMMO_URL", "ammo_url", "HTTP_PROXY", "https_proxy"),
        *("NO_PROXY", "All_Proxy", "LD_PRELOAD", "GODEBUG", "GOMAXPROCS", "SSL_CERT_FILE", "SSLKEYLOGFILE", "PATH"),
        *("HOME", "TMPDIR", "TESTWARDEN_GITHUB__TOKEN", "BASH_ENV", "XDG_CONFIG_HOME", "TZ"),
    ],
)
def test_what_steers_k6_or_the_process_cannot_be_set(name: str) -> None:
    control = with_({f"env.{name}": "1"})
    assert control.tasks == ()
    assert "that variable steers k6 or the process itself" in control.findings[0].message


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({}, "a K6 task needs the option script and the option sha256 and the option targets"),
        ({"script": "x.js", "sha256": SHA}, "a K6 task needs the option targets"),
        ({"script": "x.js", "targets": "a.b"}, "a K6 task needs the option sha256"),
        ({"sha256": SHA, "targets": "a.b"}, "a K6 task needs the option script"),
    ],
)
def test_what_is_missing_is_named_at_the_line_of_the_task(pairs: dict[str, str], said: str) -> None:
    control = read("", task(pairs))
    assert control.tasks == ()
    assert [(finding.line, finding.message, finding.task) for finding in control.findings] == [(3, said, "001")]


@pytest.mark.parametrize(("one", "value", "other"), [("data", "d.csv", "data_sha256"), ("data_sha256", SHA, "data")])
def test_data_and_its_digest_need_each_other(one: str, value: str, other: str) -> None:
    control = with_({one: value})
    assert control.tasks == ()
    [finding] = control.findings
    assert (finding.line, finding.message) == (6, f"option {one} needs the option {other} beside it")


@pytest.mark.parametrize("key", [*K6_KEYS, "env.A"])
def test_an_option_of_k6_is_refused_for_the_other_test_types(key: str) -> None:
    control = read(task({key: "1"}, kind="Download"))
    assert control.tasks == ()
    assert [finding.message for finding in control.findings] == [f"option '{key}' belongs to test type K6"]


def test_options_of_a_test_type_that_is_not_known_are_not_held_against_it() -> None:
    control = read(task({**NEEDED, "filesize": "tiny"}, kind="K7"))
    assert [finding.message for finding in control.findings] == [
        "<TestType> is 'K7', which is not known; known are Download, Quote, Upload, K6, Iperf"
    ]


def test_a_variable_is_given_once() -> None:
    pairs = options({**NEEDED, "env.A": "1"}).replace("</TestOptions>", '<Option key="env.A" value="2"/></TestOptions>')
    control = read(task({}).replace("</Task>", f"{pairs}</Task>"))
    assert "option env.A appears twice; first on line 6" in control.findings[0].message


def test_everything_that_is_wrong_is_said_at_once() -> None:
    control = read(task({"script": "..", "sha256": "x", "vus": "0", "targets": "*", "env.PATH": "x", "zzz": "1"}))
    assert [finding.line for finding in control.findings] == [3, 4, 5, 6, 7, 8]


# Anything at all.

keys = st.sampled_from(
    [*NEEDED, "data", "data_sha256", "vus", "duration", "env.A", "env.K6_X", "filesize", "x", "timeout"]
)
values = st.sampled_from(["", "1", "k6/x.js", "../x", SHA, "1m", "a.b", "*", "&#10;", "&#x9b;", "0" * 100]) | st.text(
    alphabet=st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters='<&"\ufffe\uffff'), max_size=20
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(keys, values, max_size=12), max_size=5), st.sampled_from(["K6", "Quote", "k7"]))
def test_good_k6_tasks_come_through_next_to_whatever_stands_beside_them(
    broken: list[dict[str, str]], kind: str
) -> None:
    others = [task(pairs, ref=f"{n + 100}", minute=n + 10, kind=kind) for n, pairs in enumerate(broken)]
    control = read(*others, task(NEEDED, ref="777", minute=33))
    assert "777" in [found.ref for found in control.tasks]
    refused = {finding.task for finding in control.findings}
    assert refused | {found.ref for found in control.tasks} == {"777", *(f"{n + 100}" for n in range(len(broken)))}
    for found in control.tasks:
        assert found.k6 is not None
        assert found.k6.targets
        assert not Path(found.k6.script.path).is_absolute()
        assert ".." not in Path(found.k6.script.path).parts
