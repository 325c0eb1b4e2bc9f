"""How fast the API answers a start, in a real agent with the real k6: one after the other, and fifty at once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from standins.agent_process import READY, Place
from standins.control_folder import task
from standins.watching import wait_until

ONE_BY_ONE = 20
AT_ONCE = 50
SCRIPT = 'import { sleep } from "k6"; export default () => sleep(0.1);'


def measure() -> Iterator[tuple[str, float, str]]:
    """Yield what was measured: name, value, unit. The script comes with the request, so nothing is fetched."""
    binary = os.environ.get("TESTWARDEN_TEST_K6") or shutil.which("k6")
    if binary is None:
        yield "k6 is not installed, nothing measured", 0.0, ""
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.bin.mkdir()
        shutil.copy(binary, place.bin / "k6")
        place.write(task("001", "Download", filesize="small"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place.settings["API__LISTEN"] = f"127.0.0.1:{free.getsockname()[1]}"
        with place.start("run", "--demo") as agent:
            agent.wait_for(READY)
            url = f"http://{place.settings['API__LISTEN']}/v1"
            yield from _starts(url)
            wait_until(lambda: _with_a_user(url) == AT_ONCE, "all of them run", 120)
            yield f"k6 runs at once, each with its virtual user, of {AT_ONCE}", _with_a_user(url), ""
            agent.end(signal.SIGTERM)


def _starts(url: str) -> Iterator[tuple[str, float, str]]:
    first, *others = (_start(url, seconds=1) for _ in range(1 + ONE_BY_ONE))
    wait_until(lambda: not requests.get(f"{url}/status", timeout=30).json()["running"], "they are over", 120)
    together: list[float] = []
    threads = [threading.Thread(target=lambda: together.append(_start(url, seconds=60))) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield "a start answered, the first one", first, "ms"
    yield f"a start answered, median of {ONE_BY_ONE} one after the other", statistics.median(others), "ms"
    yield f"a start answered, slowest of {ONE_BY_ONE} one after the other", max(others), "ms"
    yield f"a start answered, median of {AT_ONCE} at once", statistics.median(together), "ms"
    yield f"a start answered, slowest of {AT_ONCE} at once", max(together), "ms"


def _start(url: str, seconds: int) -> float:
    body = {"type": "k6", "title": "bench", "k6": {"script": {"text": SCRIPT}, "vus": 1, "duration": seconds}}
    begun = time.perf_counter()
    answer = requests.post(f"{url}/runs", json=body, timeout=60)
    taken = time.perf_counter() - begun
    assert answer.status_code == 201, answer.text
    return taken * 1000


def _with_a_user(url: str) -> int:
    running = requests.get(f"{url}/status", timeout=30).json()["running"]
    return sum(entry.get("k6", {}).get("vus") == 1 for entry in running)
