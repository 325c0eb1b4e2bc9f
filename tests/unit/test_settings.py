from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.errors import SettingsError
from testwarden.model import FileSize, TestType
from testwarden.safety.limits import BUILT_IN, Limits, OwnLimits
from testwarden.settings import Loaded, keys, load, secrets, to_limits
from testwarden.settings_schema import Settings
from testwarden.settings_values import parse_bytes, show_bytes
from testwarden.settings_view import effective, sample

REPOSITORY = '[github]\nrepository = "owner/name"\n'


def given_files(folder: Path, toml: str | None = None, dotenv: str | None = None) -> None:
    for name, text in (("testwarden.toml", toml), (".env", dotenv)):
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")


def loaded(
    folder: Path, toml: str = REPOSITORY, dotenv: str | None = None, demo: bool = False, **environ: str
) -> Loaded:
    given_files(folder, toml, dotenv)
    return load(None, demo, environ, folder)


def problems(folder: Path, toml: str = "", dotenv: str | None = None, demo: bool = True, **environ: str) -> list[str]:
    """Load what is wrong; the demo's defaults are valid by themselves, so that nothing else is complained about."""
    given_files(folder, toml, dotenv)
    with pytest.raises(SettingsError) as caught:
        load(None, demo, environ, folder)
    return caught.value.problems


def test_the_environment_beats_dotenv_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    toml = REPOSITORY + "[limits]\nworkers = 4\ndownload_per_hour = 4\nquote_per_hour = 4\n"
    dotenv = "TESTWARDEN_LIMITS__WORKERS=3\nTESTWARDEN_LIMITS__DOWNLOAD_PER_HOUR=3\n"
    got = loaded(tmp_path, toml, dotenv, TESTWARDEN_LIMITS__WORKERS="2")
    limits, origins = got.settings.limits, got.origins
    assert (limits.workers, limits.download_per_hour, limits.quote_per_hour, limits.upload_per_hour) == (2, 3, 4, 120)
    assert origins["limits.workers"] == "TESTWARDEN_LIMITS__WORKERS"
    assert origins["limits.download_per_hour"] == ".env"
    assert origins["limits.quote_per_hour"] == "testwarden.toml"
    assert origins["limits.upload_per_hour"] == "default"


def test_the_process_environment_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTWARDEN_LIMITS__WORKERS", "2")
    monkeypatch.setenv("LIMITS", '{"workers": 2}')
    assert loaded(tmp_path).settings.limits.workers == 20


def test_lists_sizes_and_amounts_come_from_variables_too(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        TESTWARDEN_NETWORK__PEERS='["/ip4/10.0.0.1/udp/1", "b"]',
        TESTWARDEN_LIMITS__BYTES_PER_DAY="5GiB",
        TESTWARDEN_LIMITS__SPEND_PER_DAY="0.000000000000000001",
        TESTWARDEN_LIMITS__LARGEST_FILESIZE="tera",
        testwarden_agent__name="123",
    ).settings
    assert settings.network.peers == ("/ip4/10.0.0.1/udp/1", "b")
    assert settings.limits.bytes_per_day == 5 * 2**30
    assert settings.limits.spend_per_day == Decimal("1e-18")
    assert settings.limits.largest_filesize is FileSize.TERA
    assert settings.agent.name == "123"


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    got = loaded(tmp_path, dotenv="TESTWARDEN_CYCLE__SECONDS=\n", TESTWARDEN_AGENT__CACHE_DIR="", GITHUB_TOKEN="")
    assert got.origins["cycle.seconds"] == got.origins["agent.cache_dir"] == got.origins["github.token"] == "default"


def test_an_empty_text_in_the_file_unsets_what_has_no_default(tmp_path: Path) -> None:
    toml = REPOSITORY + 'token = ""\n[network]\nsecret_key = ""\n[limits]\nspend_per_day = ""\n[agent]\nname = ""\n'
    settings = loaded(tmp_path, toml).settings
    assert settings.github.token is None
    assert settings.network.secret_key is None
    assert settings.limits.spend_per_day is None
    assert settings.agent.name


def test_github_token_is_weaker_than_our_own_name_for_it(tmp_path: Path) -> None:
    got = loaded(tmp_path, GITHUB_TOKEN="theirs")
    assert (secrets(got.settings), got.origins["github.token"]) == (("theirs",), "GITHUB_TOKEN")
    assert secrets(loaded(tmp_path, GITHUB_TOKEN="theirs", TESTWARDEN_GITHUB__TOKEN="ours").settings) == ("ours",)


def test_a_missing_default_file_is_fine_and_a_missing_chosen_one_is_not(tmp_path: Path) -> None:
    assert load(None, True, {}, tmp_path).settings.cycle.seconds == 60
    with pytest.raises(SettingsError, match=r"other\.toml: the settings file cannot be read: No such file"):
        load(Path("other.toml"), True, {}, tmp_path)
    (tmp_path / "other.toml").write_text("[cycle]\nseconds = 300\n")
    chosen = load(Path("other.toml"), True, {}, tmp_path)
    assert (chosen.settings.cycle.seconds, chosen.origins["cycle.seconds"]) == (300, "other.toml")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "testwarden.toml").mkdir()
    with pytest.raises(SettingsError, match=r"testwarden\.toml: the settings file cannot be read"):
        load(None, True, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "where"),
    [("[github]\nbranch = \n", ":2: not TOML"), ("[cycle]\n\nx = [1,\n", ":3: not TOML"), ('a = "b\n', ": not TOML")],
)
def test_broken_toml_is_reported_with_its_line(tmp_path: Path, text: str, where: str) -> None:
    assert where in problems(tmp_path, text)[0]


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "testwarden.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError) as caught:
        load(None, True, {}, tmp_path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["testwarden.toml", ".env"]


def test_a_settings_file_with_deep_nesting_is_an_error(tmp_path: Path) -> None:
    assert "not TOML" in problems(tmp_path, "a = " + "[" * 100_000)[0]


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[limits]\nworker = 1", "limits.worker (from testwarden.toml): no such setting; did you mean limits.workers?"),
        ("[limit]\nworkers = 1", "limit (from testwarden.toml): no such setting; did you mean [limits]?"),
        ("workers = 1", "workers (from testwarden.toml): no such setting; did you mean limits.workers?"),
        ("[agent]\nbranch = 'x'", "agent.branch (from testwarden.toml): no such setting; did you mean github.branch?"),
        (
            "[limits.own]\nk6 = 1",
            "limits.own.k6 (from testwarden.toml): no such setting; did you mean limits.own.k6_vus?",
        ),
        (
            "[limits.owl]\nat_once = 1",
            "limits.owl (from testwarden.toml): no such setting",
        ),
        (
            "[limits]\nown = 1",
            "limits.own (from testwarden.toml): it is a section; write [limits.own] and its keys below",
        ),
        ("cycle = 60", "cycle (from testwarden.toml): it is a section; write [cycle] and its keys below"),
        ('["a\\u001bb"]', "'a\\x1bb' (from testwarden.toml): no such setting"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused_with_what_was_meant(tmp_path: Path, toml: str, sentence: str) -> None:
    assert problems(tmp_path, toml) == [sentence]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("TESTWARDEN_GITHUB_TOKEN", "no such setting; did you mean TESTWARDEN_GITHUB__TOKEN?"),
        ("TESTWARDEN_LIMIT__WORKERS", "no such setting; did you mean TESTWARDEN_LIMITS__WORKERS?"),
        ("TESTWARDEN_FOO", "no such setting"),
        ("TESTWARDEN_CYCLE__SECONDS__MORE", "no such setting; did you mean TESTWARDEN_CYCLE__SECONDS?"),
    ],
)
def test_an_unknown_variable_is_refused_and_its_value_not_shown(tmp_path: Path, name: str, sentence: str) -> None:
    assert problems(tmp_path, **{name: "s3cret"}) == [f"{name} (from environment): {sentence}"]
    assert problems(tmp_path, dotenv=f"{name}=s3cret\n") == [f"{name} (from .env): {sentence}"]


def test_what_others_keep_in_dotenv_is_none_of_our_business(tmp_path: Path) -> None:
    got = loaded(tmp_path, dotenv="FOO=1\nthis is not a variable\nexport TESTWARDEN_LIMITS__WORKERS='3' # three\n")
    assert got.settings.limits.workers == 3


def test_dotenv_takes_a_secret_as_it_stands(tmp_path: Path) -> None:
    assert secrets(loaded(tmp_path, dotenv="TESTWARDEN_GITHUB__TOKEN=a${HOME}b$c\n").settings) == ("a${HOME}b$c",)


def test_a_broken_line_of_ours_in_dotenv_is_reported_by_line_and_not_shown(tmp_path: Path) -> None:
    assert problems(tmp_path, dotenv="FOO=1\nTESTWARDEN_GITHUB__TOKEN s3cret\n") == [
        ".env:2: not in the form NAME=value"
    ]


def test_a_virtual_environment_called_dotenv_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert loaded(tmp_path).settings.github.repository == "owner/name"


WRONG = [
    ("cycle.seconds", "true", "allowed is a whole number from 20 to 3600"),
    ("cycle.seconds", '"60"', "allowed is a whole number from 20 to 3600"),
    ("cycle.seconds", "60.0", "allowed is a whole number from 20 to 3600"),
    ("cycle.seconds", "19", "allowed is a whole number from 20 to 3600"),
    ("cycle.seconds", "7200", "allowed is a whole number from 20 to 3600"),
    ("cycle.seconds", "70", "an hour must be a whole number of cycles"),
    ("limits.download_per_hour", "361", "from 0 to 360; a limit may be lowered, never raised"),
    ("limits.quote_per_hour", "241", "from 0 to 240; a limit may be lowered, never raised"),
    ("limits.upload_per_hour", "121", "from 0 to 120; a limit may be lowered, never raised"),
    ("limits.upload_per_hour", "-1", "from 0 to 120"),
    ("limits.workers", "21", "from 1 to 20; a limit may be lowered, never raised"),
    ("limits.workers", "0", "from 1 to 20"),
    ("limits.bytes_per_day", '"200.1GB"', "200GB or less; a limit may be lowered, never raised"),
    ("limits.bytes_per_day", '"lots"', "a size as text"),
    ("limits.bytes_per_day", "true", "a size as text"),
    ("limits.keep_disk_free", '"9.9GB"', "10GB or more; it may be raised, never lowered"),
    ("limits.largest_filesize", '"big"', "one of tiny, small, medium, large, huge, giga, tera, chunka, chunkb"),
    ("limits.largest_filesize", "5", "one of tiny, small"),
    ("limits.spend_per_day", "0.5", "an amount of ANT as text"),
    ("limits.spend_per_day", '"-1"', "an amount of ANT as text"),
    ("limits.spend_per_day", '"NaN"', "an amount of ANT as text"),
    ("limits.spend_per_day", '"1e400000"', "an amount of ANT as text"),
    ("metrics.keep_days", "0", "a whole number from 1 to 3650"),
    ("metrics.keep_size", '"1KB"', '"1MB" or more'),
    ("agent.name", "5", "allowed is text"),
    ("agent.name", '"a\\\\"', "no backslash"),
    ("agent.name", '"a\\u001b[2J"', "printable characters"),
    ("telemetry.country", f'"{"x" * 65}"', "1 to 64 printable characters"),
    ("telemetry.country", '""', "1 to 64 printable characters"),
    ("agent.cache_dir", '""', "the path of a folder, not empty"),
    ("agent.bin_dir", "7", "the path of a folder"),
    ("agent.bin_dir", '"a\\u0000b"', "the path of a folder"),
    ("control.source", '"web"', "'github' or 'directory'"),
    ("github.repository", '"name"', 'in the form "owner/name"'),
    ("github.repository", '"owner/.."', 'in the form "owner/name"'),
    ("github.repository", '"a/b/c"', 'in the form "owner/name"'),
    ("github.branch", '""', "not empty"),
    ("github.api_url", '"ftp://host"', "a URL"),
    ("github.api_url", '"https://"', "a URL"),
    ("github.api_url", '"https://host:port"', "a URL"),
    ("network.gateway", '"http://user:s3cret@host"', "without user, password"),
    ("network.gateway", '"http://host?x=1"', "a URL"),
    ("network.client", '"curl"', "'ant', 'http' or 'embedded'"),
    ("network.peers", '"a"', "a list of texts"),
    ("network.peers", "[1]", "a list of texts"),
    ("network.ant_args", '["a\\u0000"]', "a list of texts"),
    ("network.allowed_hosts", '["https://host"]', "without scheme and path"),
    ("github.token", '"s3cret two"', "ASCII characters without spaces"),
    ("github.token", '["s3cret"]', "allowed is text"),
    ("network.secret_key", '"s3cret\\n"', "ASCII characters without spaces"),
    ("limits.k6_per_hour", "13", "from 0 to 12; a limit may be lowered, never raised"),
    ("limits.own.at_once", "1001", "a whole number from 0 to 1000"),
    ("limits.own.k6_vus", '"many"', "a whole number from 1 to 100000"),
    ("k6.allowed_targets", '["https://host"]', "a list of host names or addresses"),
    ("k6.allowed_targets", '["*"]', "a list of host names or addresses"),
    ("k6.allowed_targets", '["*."]', "a list of host names or addresses"),
    ("k6.allowed_targets", '["host:http"]', "a list of host names or addresses"),
    ("api.listen", "8888", "allowed is text"),
    ("api.listen", '"localhost"', "an address and a port"),
    ("api.listen", '"[::1]:99999"', "a port from 0 to 65535"),
    ("api.tls_key", "7", "the path of a file"),
    ("api.window", '"yes"', "allowed is true or false"),
    ("api.window", "1", "allowed is true or false"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_with_key_value_origin_and_what_is_allowed(
    tmp_path: Path, key: str, value: str, allowed: str
) -> None:
    section, _, name = key.rpartition(".")
    (problem,) = problems(tmp_path, f"[{section}]\n{name} = {value}\n")
    assert problem.startswith(f"{key} = ")
    assert "(from testwarden.toml)" in problem
    assert allowed in problem
    assert "s3cret" not in problem
    assert problem.isprintable()


def test_a_wrong_variable_is_refused_with_its_name(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, TESTWARDEN_LIMITS__WORKERS="many")
    assert problem.startswith('limits.workers = "many" (from TESTWARDEN_LIMITS__WORKERS): allowed is a whole number')


def test_variables_reach_inner_sections_and_are_read_as_what_they_are(tmp_path: Path) -> None:
    variables = {
        "TESTWARDEN_LIMITS__OWN__K6_VUS": "9",
        "TESTWARDEN_API__WINDOW": "True",
        "TESTWARDEN_K6__ALLOWED_TARGETS": '["a.example.org:443", "[2001:DB8::1]:80", "192.0.2.1"]',
        "TESTWARDEN_API__TLS_KEY": "tls/key.pem",
    }
    got = loaded(tmp_path, **variables).settings
    assert (got.limits.own.k6_vus, got.api.window, got.api.tls_key) == (9, True, tmp_path / "tls/key.pem")
    assert got.k6.allowed_targets == ("a.example.org:443", "[2001:db8::1]:80", "192.0.2.1")
    (problem,) = problems(tmp_path, TESTWARDEN_LIMITS__OWN__AT_ONCE="-1")
    assert "(from TESTWARDEN_LIMITS__OWN__AT_ONCE)" in problem


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    got = problems(
        tmp_path, "[limits]\nworkers = 50\nwokers = 1\n", dotenv="TESTWARDEN_X=1\n", TESTWARDEN_CYCLE__SECONDS="x"
    )
    assert len(got) == 4


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, f'[control]\nsource = "{"x" * 10_000}"\n')
    assert len(problem) < 300


def test_a_short_cycle_needs_the_embedded_network(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, REPOSITORY + "[cycle]\nseconds = 60\n", demo=False)
    assert problem.startswith("cycle.seconds = 60 (from testwarden.toml): less than 3600 is allowed only with")
    assert 'network.client = "ant" (from default)' in problem
    assert (
        loaded(tmp_path, REPOSITORY + "[cycle]\nseconds = 60\n[network]\nclient = 'embedded'\n").settings.cycle.seconds
        == 60
    )


def test_the_demo_changes_defaults_only(tmp_path: Path) -> None:
    got = loaded(tmp_path, "[cycle]\nseconds = 120\n", demo=True)
    settings = got.settings
    assert (settings.control.source, settings.network.client, settings.cycle.seconds) == ("directory", "embedded", 120)
    assert (got.origins["network.client"], got.origins["cycle.seconds"]) == ("demo", "testwarden.toml")
    (problem,) = problems(tmp_path, REPOSITORY + "[network]\nclient = 'http'\n", demo=True)
    assert 'cycle.seconds = 60 (from demo): less than 3600 is allowed only with network.client = "embedded"' in problem


def test_a_repository_is_needed_wherever_there_is_a_kill_switch_to_look_for(tmp_path: Path) -> None:
    assert 'control.source = "github" (from default) needs it' in problems(tmp_path, demo=False)[0]
    directory = "[control]\nsource = 'directory'\n"
    assert "the kill switch is looked for in a repository" in problems(tmp_path, directory, demo=False)[0]
    embedded = loaded(tmp_path, directory + "[network]\nclient = 'embedded'\n")
    assert embedded.settings.github.repository is None


def test_a_token_never_goes_in_clear_to_another_machine(tmp_path: Path) -> None:
    away = REPOSITORY + "api_url = 'http://ghe.example.org/api'\n"
    (problem,) = problems(tmp_path, away, demo=False, GITHUB_TOKEN="s3cret")
    assert "with a token, allowed is https:// or this machine" in problem
    assert "s3cret" not in problem
    assert loaded(tmp_path, away).settings.github.api_url == "http://ghe.example.org/api"
    for here in ("http://localhost:1/", "http://127.0.0.1:1", "http://[::1]:1"):
        assert loaded(tmp_path, REPOSITORY + f"api_url = '{here}'\n", GITHUB_TOKEN="x").settings.github.token


def test_folders_are_absolute_but_the_one_inside_the_repository(tmp_path: Path) -> None:
    github = loaded(tmp_path, REPOSITORY + "[agent]\ncache_dir = '~/c'\nbin_dir = '/opt/bin'\n").settings
    assert github.agent.cache_dir == Path(os.path.expanduser("~/c"))  # noqa: PTH111 - what the code does
    assert (github.agent.bin_dir, github.control.path) == (Path("/opt/bin"), Path("test-files"))
    demo = load(None, True, {}, tmp_path / "other").settings
    assert (demo.control.path, demo.agent.cache_dir) == (tmp_path / "other/test-files", tmp_path / "other/cache")
    for outside in ("/etc", "../x"):
        got = problems(tmp_path, REPOSITORY + f"[control]\npath = '{outside}'\n", demo=False)
        assert "allowed is a folder inside the repository" in got[0]


def test_secrets_are_in_no_text_of_the_settings(tmp_path: Path) -> None:
    got = loaded(tmp_path, TESTWARDEN_GITHUB__TOKEN="s3cret-1", TESTWARDEN_NETWORK__SECRET_KEY="s3cret-2")
    assert secrets(got.settings) == ("s3cret-1", "s3cret-2")
    assert "s3cret" not in repr(got) + str(got.settings) + str(effective(got))


def test_the_effective_settings_say_value_and_origin(tmp_path: Path) -> None:
    got = loaded(tmp_path, TESTWARDEN_GITHUB__TOKEN="s3cret", TESTWARDEN_LIMITS__KEEP_DISK_FREE="20GiB")
    rows = {row.key: (row.value, row.origin) for row in effective(got)}
    assert list(rows) == list(keys())
    assert rows["github.token"] == ('"********"', "TESTWARDEN_GITHUB__TOKEN")
    assert rows["network.secret_key"] == ('""', "default")
    assert rows["limits.keep_disk_free"] == ('"20GiB"', "TESTWARDEN_LIMITS__KEEP_DISK_FREE")
    assert rows["limits.largest_filesize"] == ('"large"', "default")
    assert rows["network.peers"] == ("[]", "default")


def test_the_sample_is_the_defaults_both_as_it_is_and_with_every_key_taken_in(tmp_path: Path) -> None:
    taken_in = "\n".join(line[1:] if line[:1] == "#" and line[:2] != "# " else line for line in sample().splitlines())
    defaults = load(None, False, {"TESTWARDEN_GITHUB__REPOSITORY": "o/n"}, tmp_path)
    for number, text in enumerate((sample(), taken_in)):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        got = load(path, False, {"TESTWARDEN_GITHUB__REPOSITORY": "o/n"}, tmp_path)
        assert got.settings == defaults.settings
    # The second one must really set them: all that are not empty come from the file.
    assert {key for key, origin in got.origins.items() if origin == "default"} == {
        "agent.name",
        "github.token",
        "network.secret_key",
        "limits.spend_per_day",
        "api.listen",
        "api.token",
        "api.tls_cert",
        "api.tls_key",
        "influx.url",
        "influx.token",
        "influx.org",
        "influx.bucket",
        "influx.database",
        "influx.username",
        "influx.password",
        "prometheus.listen",
    }


def test_every_setting_is_described() -> None:
    assert all(known.description for known in keys().values())
    assert {key.partition(".")[0] for key in keys()} == set(Settings.model_fields)


def test_the_limits_in_force_are_the_operators(tmp_path: Path) -> None:
    assert to_limits(loaded(tmp_path).settings) == BUILT_IN
    own = """
    [limits]
    download_per_hour = 1
    quote_per_hour = 2
    upload_per_hour = 0
    workers = 3
    largest_filesize = "giga"
    keep_disk_free = "20GB"
    bytes_per_day = "1GB"
    spend_per_day = "0.25"
    k6_per_hour = 4
    [limits.own]
    at_once = 5
    attempts_per_hour = 6
    seconds = 7
    k6_vus = 8
    [k6]
    allowed_targets = ["*.Example.org"]
    [api]
    window = true
    """
    limits = to_limits(loaded(tmp_path, REPOSITORY + own).settings)
    assert [(row.type, row.attempts) for row in limits.types] == [
        (TestType.DOWNLOAD, 1),
        (TestType.QUOTE, 2),
        (TestType.UPLOAD, 0),
        (TestType.K6, 4),
    ]
    assert limits == replace(
        Limits(limits.types, 3, 5, 5, 5, 10, FileSize.GIGA, 20 * 10**9, 10**9, Decimal("0.25")),
        targets=("*.example.org",),
        own=OwnLimits(5, 6, 7, 8, window=True),
    )


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_that_is_shown_reads_back_as_itself(count: int) -> None:
    assert parse_bytes(show_bytes(count)) == count


@pytest.mark.parametrize(("text", "count"), [("10GB", 10**10), ("1.5 kib", 1536), ("7", 7), (7, 7), ("0B", 0)])
def test_sizes_are_read_in_the_usual_forms(text: object, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 000", "1XB", "1iB", "1e3", "٣GB", -1, True, None, 1.5])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a size as text"):
        parse_bytes(text)
