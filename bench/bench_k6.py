"""What our wrapping costs k6: the same script against the embedded network, bare, uncaged and caged, in one run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from testwarden.clients.bubblewrap import Bubblewrap
from testwarden.clients.cage import Cage, Confinement, Reach
from testwarden.clients.k6 import K6Client, K6Run
from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.open_cage import OpenCage
from testwarden.clients.ports import PortPool
from testwarden.clients.process import Keeper
from testwarden.clients.stop import Stop
from testwarden.model import K6Options, ScriptFile

NAME = "embedded.testwarden"
ROUNDS = 5
USERS = 10
SECONDS = 5
STORE = """
import sys, threading
from testwarden.embedded.store import EmbeddedStore
with EmbeddedStore() as store:
    print(store.address[1], flush=True)
    sys.stdin.read()
"""
FLAT_OUT = """
import http from "k6/http";
export default function () { http.get(__ENV.URL); }
"""
CALM = """
import http from "k6/http";
export const options = { scenarios: { calm: {
  executor: "constant-arrival-rate", rate: 20, timeUnit: "1s", duration: "5s", preAllocatedVUs: 5,
} } };
export default function () { http.get(__ENV.URL); }
"""
BOUNDS = K6Bounds(most_vus=100, most_seconds=3600.0)
STATISTICS = "avg,min,med,max,p(50),p(90),p(95),p(99)"


def measure() -> Iterator[tuple[str, float, str]]:
    """Yield what was measured: name, value, unit."""
    binary = os.environ.get("TESTWARDEN_TEST_K6") or shutil.which("k6")
    if binary is None:
        yield "k6 is not installed, nothing measured", 0.0, ""
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keeper = stack.enter_context(Keeper(folder / "processes"))
        port = stack.enter_context(_store())
        client = K6Client(keeper, bin_dir=folder, search_path=str(Path(binary).parent))
        ways = _Ways(folder, client, Bubblewrap(keeper, {NAME: ("127.0.0.1", port)}), binary, port)
        yield from _flat_out(ways)
        yield from _calm(ways)


def _flat_out(ways: _Ways) -> Iterator[tuple[str, float, str]]:
    rates: dict[str, list[float]] = {"bare": [], "uncaged": [], "caged": []}
    load = K6Options(ScriptFile("script.js", ""), vus=USERS, duration=float(SECONDS))
    for _ in range(ROUNDS):
        rates["bare"].append(ways.bare(FLAT_OUT, "--vus", str(USERS), "--duration", f"{SECONDS}s")["http_reqs"]["rate"])
        for name in ("uncaged", "caged"):
            rates[name].append(float(ways.ours(FLAT_OUT, load, caged=name == "caged")["rps"]))
    for name, found in rates.items():
        yield f"requests by {USERS} virtual users, {name}, median of {ROUNDS}", statistics.median(found), "/s"
    ratios = [ours / bare for ours, bare in zip(rates["uncaged"], rates["bare"], strict=True)]
    yield "uncaged over bare, round by round, median", statistics.median(ratios) * 100, "%"


def _calm(ways: _Ways) -> Iterator[tuple[str, float, str]]:
    medians: dict[str, list[float]] = {"bare": [], "caged": []}
    load = K6Options(ScriptFile("script.js", ""))
    for _ in range(ROUNDS):
        medians["bare"].append(ways.bare(CALM)["http_req_duration"]["p(50)"])
        medians["caged"].append(float(ways.ours(CALM, load, caged=True)["duration_p50"]) * 1000)
    for name, found in medians.items():
        yield f"a request at 20 requests/s, {name}, median of {ROUNDS} medians", statistics.median(found), "ms"
    added = [ours - bare for ours, bare in zip(medians["caged"], medians["bare"], strict=True)]
    yield "added by the cage, median", statistics.median(added), "ms"


class _Ways:
    """Runs a script bare and through the client."""

    def __init__(self, folder: Path, client: K6Client, cage: Cage, binary: str, port: int) -> None:
        self._folder = folder
        self._client = client
        self._cage = cage
        self._binary = binary
        self._port = port
        self._ports = PortPool(27600, 27999)

    def bare(self, script: str, *flags: str) -> dict[str, dict[str, float]]:
        """Return the metrics of k6's summary."""
        with tempfile.TemporaryDirectory() as place:
            path, summary = Path(place) / "script.js", Path(place) / "summary.json"
            path.write_text(script)
            command = [self._binary, "run", "--quiet", "--no-color", "--no-usage-report", *flags]
            command += [f"--summary-export={summary}", f"--summary-trend-stats={STATISTICS}", str(path)]
            command += ["-e", f"URL={self._url(f'127.0.0.1:{self._port}')}"]
            subprocess.run(
                [shutil.which("nice") or "nice", "-n", "10", *command], check=True, capture_output=True, cwd=place
            )
            return dict(json.loads(summary.read_text())["metrics"])

    def ours(self, script: str, options: K6Options, *, caged: bool) -> dict[str, float]:
        """Return the figures of an attempt."""
        cage = self._cage if caged else OpenCage()
        with tempfile.TemporaryDirectory() as place, self._ports.lend() as port:
            path, scratch = Path(place) / "script.js", Path(place) / "scratch"
            path.write_text(script)
            scratch.mkdir()
            program = self._client.describe(Stop())
            reach = Reach((NAME,)) if caged else None
            with cage.enter(Confinement(scratch, {"script.js": path}, (program.path,), reach)) as inside:
                host = NAME if caged else f"127.0.0.1:{self._port}"
                asked = K6Options(
                    options.script, vus=options.vus, duration=options.duration, env=(("URL", self._url(host)),)
                )
                run = K6Run("/files/script.js", asked, BOUNDS, inside, scratch, port, timeout=600)
                result = self._client.attempt(program, run, Stop())
        assert result.outcome.value == "ok", result.reason
        return {name: float(value) for name, value in result.figures if isinstance(value, int | float)}

    @staticmethod
    def _url(host: str) -> str:
        return f"http://{host}/seed-1-1000/x"


@contextlib.contextmanager
def _store() -> Iterator[int]:
    """Run the embedded network in a process of its own, as no agent does: neither way shall have it beside itself."""
    store = subprocess.Popen([sys.executable, "-c", STORE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert store.stdin is not None
    assert store.stdout is not None
    try:
        yield int(store.stdout.readline())
    finally:
        store.stdin.close()
        store.wait()
        store.stdout.close()
