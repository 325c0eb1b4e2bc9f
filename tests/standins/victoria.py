"""Debian's VictoriaMetrics, started on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from standins.free_port import free_port


@dataclass(frozen=True)
class Victoria:
    """A running server with an empty database, which counts a point that it was given twice once, as docs/metrics.md says."""

    url: str

    def query(self, expression: str, time_s: float) -> list[tuple[dict[str, str], float]]:
        """Given MetricsQL and the second that it looks back from, return labels and value of each series."""
        self._get("/internal/force_flush", {})
        answer = json.loads(self._get("/api/v1/query", {"query": expression, "time": str(time_s)}))
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]

    def export(self, selector: str) -> list[dict[str, Any]]:
        """Given a selector, return its series with all raw values and timestamps (ms)."""
        self._get("/internal/force_flush", {})
        return [json.loads(row) for row in self._get("/api/v1/export", {"match[]": selector}).splitlines()]

    def _get(self, path: str, query: dict[str, str]) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            content: bytes = answer.read()
            return content


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            assert process.poll() is None, "victoria-metrics ended"
            assert time.monotonic() < give_up, "victoria-metrics does not answer"
            time.sleep(0.05)


@contextmanager
def running_victoria(folder: Path) -> Iterator[Victoria]:
    """Given an empty folder, run a server in it. Without the program: skip; in CI (environment CI=true): fail."""
    program = shutil.which("victoria-metrics")
    if program is None:
        message = "Debian's package victoria-metrics is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    address = f"127.0.0.1:{free_port()}"
    options = [
        f"-httpListenAddr={address}",
        f"-storageDataPath={folder}",
        "-retentionPeriod=100y",
        "-memory.allowedBytes=256MB",
        "-dedup.minScrapeInterval=1ms",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
        try:
            _wait_until_it_answers(f"http://{address}", process)
            yield Victoria(f"http://{address}")
        finally:
            process.terminate()
            process.wait(30)
