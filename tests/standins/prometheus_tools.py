"""Debian's prometheus and promtool: the real scraper, on loopback, and the real judge of names."""

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
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: testwarden
    static_configs: [{{targets: ["{target}"]}}]
"""


def need(program: str) -> str:
    """Return the path of a program of Debian's package prometheus. Without it: skip; in CI (environment CI=true): fail."""
    path = shutil.which(program)
    if path is None:
        message = f"Debian's package prometheus is not installed: {program} is missing"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def complaints(text: bytes) -> str:
    """Given what a scrape gets, return what promtool has against it: empty if nothing."""
    command = [need("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode() if done.stderr or done.returncode else ""


@dataclass(frozen=True)
class Prometheus:
    """A running server that scrapes one target each second."""

    url: str
    process: subprocess.Popen[bytes]

    def wait_for(self, query: str, value: float) -> None:
        """Return when a query has this one value. Fail if it has another one for 60 seconds."""
        give_up, found = time.monotonic() + 60, None
        while found != value:
            assert self.process.poll() is None, "prometheus ended"
            assert time.monotonic() < give_up, f"{query} is {found}, not {value}"
            time.sleep(0.1)
            found = self._value(query)

    def _value(self, query: str) -> float | None:
        try:
            rows = self.ask("query", query=query)["result"]
        except urllib.error.URLError:
            return None  # it is starting
        return float(rows[0]["value"][1]) if rows else None

    def ask(self, what: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


@contextmanager
def running_prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Given an empty folder and `host:port`, run a server that scrapes it. Without Prometheus: see `need`."""
    program = need("prometheus")
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(target=target))
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield Prometheus(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(30)
