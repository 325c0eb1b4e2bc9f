"""The commands beside `run`, as a person or a script calls them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.demo_runs import python_of_nobody
from standins.agent_process import Place
from standins.control_folder import task
from standins.github_server import REPOSITORY, Hub, github

TOKEN = "ghp_0123456789abcdefSECRET"
WRONG = {
    "a name that is none": ({"CYCLE__SECOND": "60"}, "TESTWARDEN_CYCLE__SECOND ", "TESTWARDEN_CYCLE__SECONDS"),
    "a wrong type": ({"CYCLE__SECONDS": "fast"}, 'cycle.seconds = "fast"', "a whole number from 20 to 3600"),
    "above the limit": ({"LIMITS__DOWNLOAD_PER_HOUR": "361"}, "limits.download_per_hour = 361", "from 0 to 360"),
    "below the limit": ({"LIMITS__KEEP_DISK_FREE": "1GB"}, 'limits.keep_disk_free = "1GB"', "10GB or more"),
    "a short cycle on a network of others": (
        {"NETWORK__CLIENT": "ant", "GITHUB__REPOSITORY": REPOSITORY, "CYCLE__SECONDS": "60"},
        "cycle.seconds = 60",
        "less than 3600 is allowed only with",
    ),
    "no repository": ({"CONTROL__SOURCE": "github"}, "github.repository is not set", "owner/name"),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with github(token=TOKEN) as hub:
        yield hub


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_is_one_line_and_nothing_is_made(place: Place, what: str) -> None:
    settings, said, allowed = WRONG[what]
    done = place.call("run", "--demo", **settings)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert allowed in line
    assert list(place.folder.iterdir()) == []


@pytest.mark.parametrize(
    "option", [("--log-level", "loud"), ("--log-format", "xml"), ("--cycles", "0"), ("--nonsense",)]
)
def test_a_wrong_option_is_wrong_use(place: Place, option: tuple[str, ...]) -> None:
    done = place.call("run", "--demo", *option)
    assert done.returncode == 2
    assert option[-1] in done.stderr or option[0] in done.stderr
    assert list(place.folder.iterdir()) == []


def test_a_folder_that_must_not_be_entered_is_no_crash(place: Place) -> None:
    if os.geteuid() != 0 or not python_of_nobody():
        pytest.skip("only root can have a folder that is closed to the user who runs the command")
    place.folder.chmod(0o700)
    command = [*python_of_nobody(), "-m", "testwarden", "run", "--demo"]
    done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.splitlines()[0]
        == "testwarden: testwarden.toml: the settings file cannot be read: Permission denied"
    )
    assert "Traceback" not in done.stderr


def test_check_is_content_with_good_files(place: Place) -> None:
    place.write(task("001", "Download"), task("002", "Upload", filesize="small"))
    done = place.call("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "2 tasks will run, 0 findings"
    assert place.call("check", "test-files/00-control.xml").stdout == done.stdout


def test_check_names_file_line_level_and_what_is_wrong(place: Place) -> None:
    place.write(task("001", "Download"), task("002", "Quote", filesze="tiny"), task("003", "Upload", workers=50))
    (place.folder / "test-files/01-download-files.csv").write_text("fileSize,name,address,md5\ntiny,nine.bin\n")
    done = place.call("check", "test-files")
    assert done.returncode == 1
    *findings, _ = done.stdout.splitlines()
    assert all(re.match(r"test-files/[^:]+:\d+: (error|warning): .", line) for line in findings), done.stdout
    for expected in (
        r"01-download-files\.csv:2: (warning|error): ",
        r"00-control\.xml:2: error: .*tiny",
        r"00-control\.xml:3: error: .*filesze",
        r"00-control\.xml:4: warning: task 003 is clamped: workers 50→10",
    ):
        assert re.search(expected, done.stdout), done.stdout


@pytest.mark.parametrize("name", ["nowhere", "nowhere/00-control.xml", "."])
def test_check_of_what_is_no_folder_of_control_files_is_no_crash(place: Place, name: str) -> None:
    done = place.call("check", name)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.fullmatch(rf"{re.escape(name)}:0: error: .+", done.stdout.strip())


def test_status_tells_of_an_agent_that_runs_and_of_one_that_ran(place: Place) -> None:
    place.write(task("001", "Quote", minute=54))
    none = place.call("status")
    assert (none.returncode, none.stdout) == (1, "")
    assert "no agent has run" in none.stderr
    with place.start("run", "--demo") as agent:
        agent.wait_for("tasks of this hour")
        place.status_when(lambda now: bool(now["kill_switch"]["state"] == "clear"))
        running = place.call("status")
        assert running.returncode == 0
        assert re.search(r"^state +running$", running.stdout, re.MULTILINE)
        assert re.search(r"^kill switch +clear", running.stdout, re.MULTILINE)
        assert json.loads(place.call("status", "--json").stdout)["pid"] == agent.pid
        assert agent.end(signal.SIGTERM).code == 0
    ended = place.call("status")
    assert ended.returncode == 1
    assert "not running" in ended.stdout


def test_config_says_where_each_setting_comes_from_and_no_secret(place: Place) -> None:
    (place.folder / "testwarden.toml").write_text('[telemetry]\ncountry = "ch"\n')
    (place.folder / ".env").write_text(f"TESTWARDEN_NETWORK__SECRET_KEY={'5' * 64}\n")
    done = place.call("config", "--demo", GITHUB__TOKEN=TOKEN, LIMITS__WORKERS="7")
    assert done.returncode == 0
    for expected in (
        r'^telemetry\.country = "ch" +# testwarden\.toml$',
        r"^limits\.workers = 7 +# TESTWARDEN_LIMITS__WORKERS$",
        r'^network\.client = "embedded" +# demo$',
        r'^github\.branch = "main" +# default$',
        r'^network\.secret_key = "\*+" +# \.env$',
    ):
        assert re.search(expected, done.stdout, re.MULTILINE), done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert "5" * 64 not in done.stdout + done.stderr


def test_the_sample_is_a_settings_file_that_changes_nothing(place: Place) -> None:
    without = place.call("config", "--demo").stdout
    sample = place.call("config", "--sample").stdout
    (place.folder / "testwarden.toml").write_text(sample)
    assert place.call("config", "--demo").stdout == without
    uncommented = re.sub(r"^#(?=\w+ = )", "", sample, flags=re.MULTILINE)
    (place.folder / "testwarden.toml").write_text(uncommented)
    all_set = place.call("config", GITHUB__REPOSITORY=REPOSITORY)
    assert (all_set.returncode, all_set.stderr) == (0, "")
    assert len(re.findall(r"# testwarden\.toml$", all_set.stdout, re.MULTILINE)) > 20


def test_doctor_is_content_where_all_is_well(place: Place, hub: Hub) -> None:
    place.write(task("001", "Download"))
    hub.load(str(place.folder / "test-files"))
    place.install_ant()
    settings = {"GITHUB__REPOSITORY": REPOSITORY, "GITHUB__API_URL": hub.url, "GITHUB__TOKEN": TOKEN}
    done = place.call("doctor", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in (
        r"^ok +client: .*/bin/ant, generation 2, ant 0\.3\.1$",
        r"^ok +agent\.cache_dir: ",
        r"^ok +disk: .* free",
        r"^ok +kill switch: clear$",
        rf"^ok +tasks from: 127\.0\.0\.1/{REPOSITORY}@main at commit {hub.commit[:12]}$",
        r"^ok +allowance: 49\d\d of 5000 requests left",
        r"^ok +clock: [+-]\d+\.\d s",
    ):
        assert re.search(expected, done.stdout, re.MULTILINE), done.stdout
    assert not place.cache.exists()


def test_doctor_says_what_to_do_about_what_is_wrong(place: Place, hub: Hub) -> None:
    hub.open_issue("kill-switch: enough", author="somebody")
    hub.set_clock(300)
    hub.set_allowance(10)
    (place.folder / "cache").write_text("a file in the way")
    settings = {"GITHUB__REPOSITORY": REPOSITORY, "GITHUB__API_URL": hub.url, "NETWORK__CLIENT": "ant"}
    done = place.call("doctor", **settings)
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    for expected in (
        r"^bad +client: no ant in .*\n +→ ",
        r"^bad +agent\.cache_dir: .*\n +→ ",
        r"^note +kill switch: active: issue 1 .*by somebody.*\n +→ ",
        r"^bad +tasks from: .*\n +→ ",
        r"^note +allowance: \d of 60 requests left.*\n +→ .*token",
        r"^bad +clock: -(299|300)\.\d s.*\n +→ ",
    ):
        assert re.search(expected, done.stdout, re.MULTILINE), done.stdout


def test_seeded_content_has_the_md5_that_is_printed(place: Place) -> None:
    done = place.call("seed", "5", "100001", "-o", "content")
    content = (place.folder / "content").read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert (done.returncode, done.stdout) == (0, f"seed 5, size 100001, md5 {md5}\n")
    assert place.call("seed", "5", "100001").stdout == done.stdout
    assert place.call("seed", "6", "100001").stdout != done.stdout
    again = place.call("seed", "6", "1KiB", "-o", "content")
    assert (again.returncode, again.stderr) == (1, "testwarden: content: File exists\n")
    assert (place.folder / "content").read_bytes() == content


def test_version_is_one_line(place: Place) -> None:
    done = place.call("version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"testwarden \d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d, commit (unknown: .*|[0-9a-f]{12})\)\n", done.stdout
    )


def test_a_folder_that_cannot_be_written_is_one_line(place: Place) -> None:
    place.write(task("001", "Quote"))
    (place.folder / "cache").write_text("a file in the way")
    done = place.call("run", "--demo")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r" - ERROR - agent\.cache_dir = .*/cache cannot be used: .*exists", done.stdout), done.stdout
    assert "Traceback" not in done.stdout
    assert sorted(path.name for path in place.folder.iterdir()) == ["cache", "test-files"]
