"""What k6 measures while it runs: asked of its REST API, over a connection that somebody else makes.

v1.8 and v2.2 answer alike (seen): `/v1/status` says how many virtual users there are, `/v1/metrics` gives for each metric a
sample: a counter `count` and `rate`, a rate `rate`, a trend `avg, max, med, min, p(90), p(95)` in milliseconds and,
whatever `--summary-trend-stats` asks for, no `p(99)`.
"""

from __future__ import annotations

import http.client
import json
import math
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from testwarden.errors import TestwardenError

Connect = Callable[[], socket.socket]
"""Returns a connection to the REST API of one run. Raises OSError when there is none (any more)."""

PATIENCE = 2.0
"""Seconds that k6 may be silent."""
MOST_BYTES = 4 * 1024 * 1024
"""Of one answer: a script can make as many metrics as it likes."""


class K6Silent(TestwardenError):
    """k6 did not say how it is."""


class K6Gone(K6Silent):
    """Nobody listens there: k6 has not begun, or has closed its REST API, as it does before it writes its summary."""


@dataclass(frozen=True)
class K6Users:
    """How many virtual users there are."""

    now: int
    most: int
    """Made ready; it grows while k6 starts."""


@dataclass(frozen=True)
class K6Numbers:
    """What k6 has measured so far. Durations are seconds, of HTTP requests."""

    vus: int = 0
    vus_max: int = 0
    """Virtual users that it has made ready; it grows while k6 starts."""
    requests: int = 0
    rps: float = 0.0
    """Requests a second, since the start."""
    failed: float | None = None
    """Which part of the requests failed, 0 to 1. None, as in all that follows: no request was made yet."""
    rt90p: float | None = None
    rt95p: float | None = None
    rt99p: float | None = None
    """k6's REST API does not tell it: None with v1 and v2."""
    rt_max: float | None = None
    sent: int = 0
    """Bytes."""
    received: int = 0


def numbers_of(connect: Connect) -> K6Numbers:
    """Given how to reach the REST API of a run, return what it says. Raise K6Silent when it does not answer sensibly.

    May be called by any thread at any time.
    """
    return read_numbers(_asked(connect, "/v1/status"), _asked(connect, "/v1/metrics"))


def users_of(connect: Connect) -> K6Users:
    """The same for the virtual users alone: an answer whose size no script can change."""
    return read_users(_asked(connect, "/v1/status"))


def read_users(status: bytes) -> K6Users:
    """Given the body of the answer, return the virtual users. Raise K6Silent where it tells none."""
    users = _part(_part(_object(status), "data"), "attributes")
    return K6Users(whole(users.get("vus")), whole(users.get("vus-max")))


def read_numbers(status: bytes, metrics: bytes) -> K6Numbers:
    """Given the bodies of both answers, return the numbers. Raise K6Silent where they are none."""
    users, listed = read_users(status), _object(metrics).get("data")
    if not isinstance(listed, list):
        raise K6Silent("k6 gives no list of metrics")
    samples = {str(one.get("id")): _part(_part(one, "attributes"), "sample") for one in listed if isinstance(one, dict)}
    requests, failed, times = (samples.get(name, {}) for name in ("http_reqs", "http_req_failed", "http_req_duration"))
    return K6Numbers(
        vus=users.now,
        vus_max=users.most,
        requests=whole(requests.get("count")),
        rps=number(requests.get("rate")) or 0.0,
        failed=number(failed.get("rate")),
        rt90p=seconds(times.get("p(90)")),
        rt95p=seconds(times.get("p(95)")),
        rt99p=seconds(times.get("p(99)")),
        rt_max=seconds(times.get("max")),
        sent=whole(samples.get("data_sent", {}).get("count")),
        received=whole(samples.get("data_received", {}).get("count")),
    )


def number(value: object) -> float | None:
    """Given a part of k6's JSON, return it as a finite float, None where it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def whole(value: object) -> int:
    """Given a part of k6's JSON, return it as a count: 0 where it is none, at most what metrics can hold."""
    return int(min(max(number(value) or 0.0, 0.0), 2.0**62))


def seconds(value: object) -> float | None:
    """Given milliseconds in k6's JSON, return seconds, None where it is no number."""
    found = number(value)
    return None if found is None else found / 1000


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise K6Silent("k6 gives no JSON") from error
    if not isinstance(found, dict):
        raise K6Silent("k6 gives no JSON object")
    return found


def _part(whole_: object, name: str) -> Mapping[str, Any]:
    part = whole_.get(name) if isinstance(whole_, Mapping) else None
    if not isinstance(part, dict):
        raise K6Silent(f"k6 gives no {name}")
    return part


def _asked(connect: Connect, path: str) -> bytes:
    """Return the body of an answer. Raise K6Silent, or K6Gone where there is nobody to ask."""
    try:
        return _get(connect, path)
    except ConnectionRefusedError as error:
        raise K6Gone(f"k6 does not listen: {error}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise K6Silent(f"k6 does not answer: {str(error)[:200] or type(error).__name__}") from error


def _get(connect: Connect, path: str) -> bytes:
    """Return the body of an answer. Raise OSError, HTTPException, ValueError or K6Silent."""
    connection = http.client.HTTPConnection("127.0.0.1", timeout=PATIENCE)
    with closing(connect()) as sock, closing(connection):
        sock.settimeout(PATIENCE)
        connection.sock = sock  # so that it dials nothing itself
        connection.request("GET", path, headers={"Connection": "close"})
        with connection.getresponse() as answer:
            body = answer.read(MOST_BYTES + 1)
    if answer.status != 200 or len(body) > MOST_BYTES:
        raise K6Silent(f"k6 answers with status {answer.status} and {len(body)} bytes")
    return body
