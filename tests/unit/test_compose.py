"""InfluxDB and Grafana in containers: the files that say how, and the script that makes the secrets. Nothing is started."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "InfluxDB"
COMPOSE = FOLDER / "docker-compose.yml"
ENV_FILES = {
    "influxdb.env": ["DOCKER_INFLUXDB_INIT_USERNAME", "DOCKER_INFLUXDB_INIT_PASSWORD"],
    "grafana.env": ["GF_SECURITY_ADMIN_USER", "GF_SECURITY_ADMIN_PASSWORD"],
    "token.env": ["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"],
}


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def provisioned(path: str) -> Any:
    return yaml.safe_load((FOLDER / "grafana" / "provisioning" / path).read_text(encoding="utf-8"))


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Path]:
    shutil.copy(FOLDER / "setup.sh", tmp_path)
    return tmp_path


def set_up(folder: Path, shell: str = "sh", **env: str) -> subprocess.CompletedProcess[str]:
    command = [shell, str(folder / "setup.sh")]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


def secrets(folder: Path) -> dict[str, dict[str, str]]:
    return {
        path.name: dict(line.split("=", 1) for line in path.read_text().splitlines())
        for path in (folder / "env").iterdir()
    }


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_compose_file_keeps_to_the_compose_schema(tmp_path: Path) -> None:
    assert validated(COMPOSE).returncode == 0, validated(COMPOSE).stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "healtcheck:"))
    assert validated(wrong).returncode == 1


def test_images_are_pinned_to_one_version() -> None:
    images = {name: service["image"] for name, service in services().items()}
    assert images.keys() == {"influxdb", "grafana"}
    assert images["influxdb"].startswith("influxdb:2.")
    for image in images.values():
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+", image)


def test_nothing_listens_for_other_machines() -> None:
    for service in services().values():
        assert service["ports"]
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])
        assert "network_mode" not in service


def test_each_service_says_whether_it_is_well_and_grafana_waits_for_influxdb() -> None:
    for service in services().values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["healthcheck"]["retries"] > 0
    assert services()["grafana"]["depends_on"] == {"influxdb": {"condition": "service_healthy"}}


def test_what_is_kept_is_in_volumes_and_what_is_mounted_is_there_and_read_only() -> None:
    named = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"]
    mounts = [mount.split(":") for service in services().values() for mount in service["volumes"]]
    assert {mount[0] for mount in mounts if not mount[0].startswith(".")} == set(named)
    for source, _, *mode in (mount for mount in mounts if mount[0].startswith(".")):
        assert (FOLDER / source).is_dir()
        assert mode == ["ro"]


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    (source,) = provisioned("datasources/influxdb.yml")["datasources"]
    assert (source["uid"], source["type"], source["jsonData"]["dbName"]) == ("testwarden", "influxdb", "testwarden")
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert source["secureJsonData"] == {"httpHeaderValue1": f"Token ${ENV_FILES['token.env'][0]}"}
    (provider,) = provisioned("dashboards/testwarden.yml")["providers"]
    grafana = services()["grafana"]
    assert f"./dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / "dashboards" / home.removeprefix(provider["options"]["path"] + "/")).is_file()
    assert services()["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_BUCKET"] == source["jsonData"]["dbName"]


def test_no_secret_is_in_a_file_that_is_committed() -> None:
    for service in services().values():
        assert not [name for name in service["environment"] if re.search("PASSWORD|TOKEN|SECRET", name)]
    for name in ENV_FILES:
        ignored = subprocess.run(
            ["git", "check-ignore", "-q", "--no-index", f"env/{name}"], cwd=FOLDER, timeout=60, check=False
        )
        assert ignored.returncode == 0
    listed = subprocess.run(["git", "ls-files", "env"], cwd=FOLDER, capture_output=True, timeout=60, check=True)
    assert listed.stdout == b""


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_setup_makes_every_env_file_that_a_service_reads_for_its_owner_alone(copied: Path, shell: str) -> None:
    done = set_up(copied, shell)
    assert (done.returncode, done.stderr) == (0, "")
    made = secrets(copied)
    assert {name: list(values) for name, values in made.items()} == ENV_FILES
    assert {f"env/{name}" for name in made} == {file for service in services().values() for file in service["env_file"]}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copied / "env").iterdir()} == {0o600}
    assert stat.S_IMODE((copied / "env").stat().st_mode) == 0o700


def test_each_secret_is_random_and_is_not_shown(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(FOLDER / "setup.sh", elsewhere)
    said = set_up(copied).stdout + set_up(elsewhere).stdout
    made = [value for folder in (copied, elsewhere) for file in secrets(folder).values() for value in file.values()]
    random = [value for value in made if value != "testwarden"]
    assert len(random) == len(set(random)) == 6
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in random)
    assert not [value for value in random if value in said]


def test_run_again_it_keeps_what_is_there_and_makes_what_is_missing(copied: Path) -> None:
    set_up(copied)
    first = secrets(copied)
    (copied / "env" / "grafana.env").unlink()
    (copied / "env" / "token.env").chmod(0o644)
    assert set_up(copied).returncode == 0
    second = secrets(copied)
    assert second["token.env"] == first["token.env"]
    assert second["influxdb.env"] == first["influxdb.env"]
    assert second["grafana.env"] != first["grafana.env"]
    assert stat.S_IMODE((copied / "env" / "token.env").stat().st_mode) == 0o600


def test_what_a_killed_setup_left_is_not_taken_for_a_secret(copied: Path) -> None:
    (copied / "env").mkdir()
    (copied / "env" / "token.env.new").write_text("DOCKER_INFLUXDB_INIT_ADMIN_TOKEN=half")
    (copied / "env" / "token.env.new").chmod(0o666)
    (copied / "env" / "token.env").touch()
    assert set_up(copied).returncode == 0
    assert re.fullmatch("[0-9a-f]{64}", secrets(copied)["token.env"]["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"])
    assert stat.S_IMODE((copied / "env" / "token.env").stat().st_mode) == 0o600


def test_without_random_bytes_no_file_is_made(copied: Path) -> None:
    tools = copied / "tools"
    tools.mkdir()
    (tools / "od").write_text("#!/bin/sh\nexit 0\n")
    (tools / "od").chmod(0o755)
    done = set_up(copied, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "no random bytes" in done.stderr
    assert list((copied / "env").iterdir()) == []
