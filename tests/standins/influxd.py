"""Debian's influxd (1.6.7), started on loopback: the real parser of line protocol, and InfluxQL to look at what it read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from standins.free_port import free_port

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "inmem"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[monitor]
  store-enabled = false
"""
_DATABASE = "t"


@dataclass(frozen=True)
class Influxd:
    """A running server with an empty database."""

    url: str

    def write(self, lines: bytes) -> str:
        """Given lines, return what the server says against them: empty if it took them all."""
        request = urllib.request.Request(f"{self.url}/write?db={_DATABASE}&precision=ns", data=lines)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return "" if answer.status == 204 else f"status {answer.status}"
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Given InfluxQL, return its rows, each by column; timestamps are nanoseconds."""
        body = urllib.parse.urlencode({"db": _DATABASE, "epoch": "ns", "q": statement}).encode()
        with urllib.request.urlopen(f"{self.url}/query", data=body, timeout=30) as answer:
            result = json.load(answer)["results"][0]
        assert "error" not in result, result
        return [
            dict(zip(series["columns"], row, strict=True)) | series.get("tags", {})
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def empty(self) -> None:
        """Begin with an empty database."""
        self.query(f'DROP DATABASE "{_DATABASE}"')
        self.query(f'CREATE DATABASE "{_DATABASE}"')


def _wait_until_it_answers(server: Influxd, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            server.query(f'CREATE DATABASE "{_DATABASE}"')
        except OSError:
            assert process.poll() is None, "influxd ended"
            assert time.monotonic() < give_up, "influxd does not answer"
            time.sleep(0.05)
        else:
            return


@contextmanager
def running_influxd(folder: Path) -> Iterator[Influxd]:
    """Given an empty folder, run a server in it. Without influxd: skip; in CI (environment CI=true): fail."""
    program = shutil.which("influxd")
    if program is None:
        message = "Debian's package influxdb is not installed: the real parser of line protocol is missing"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    config = folder / "influxd.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, backup=free_port()))
    server = Influxd(f"http://127.0.0.1:{port}")
    with (folder / "influxd.log").open("wb") as log:
        process = subprocess.Popen([program, "run", "-config", str(config)], stdout=log, stderr=log)
        try:
            _wait_until_it_answers(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(30)
