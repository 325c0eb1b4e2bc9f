"""What k6's REST API says, well and badly."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.clients import k6_numbers
from testwarden.clients.k6_numbers import K6Numbers, K6Silent, numbers_of, read_numbers

# As k6 v2.2.0 and v1.8.1 say it (seen).
STATUS = b"""{"data":{"type":"status","id":"default","attributes":{"status":7,"paused":false,"vus":2,"vus-max":5,
"stopped":false,"running":true,"tainted":false}}}"""


def metric(name: str, **sample: object) -> dict[str, Any]:
    return {
        "type": "metrics",
        "id": name,
        "attributes": {"type": "x", "contains": "x", "tainted": None, "sample": sample},
    }


METRICS = json.dumps(
    {
        "data": [
            metric("http_reqs", count=39, rate=19.4),
            metric("http_req_failed", rate=0.25),
            metric("http_req_duration{expected_response:true}", max=1),
            metric("http_req_duration", **{"avg": 1.0, "max": 6.5, "med": 0.7, "min": 0, "p(90)": 1.4, "p(95)": 2}),
            metric("data_sent", count=2769, rate=1376.3),
            metric("data_received", count=8307, rate=4129.0),
        ]
    }
).encode()
NUMBERS = K6Numbers(2, 5, 39, 19.4, 0.25, 0.0014, 0.002, None, 0.0065, 2769, 8307)


class Api:
    """Answers each connection with what is next; the connections are socket pairs."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.ours: list[socket.socket] = []

    def connect(self) -> socket.socket:
        near, far = socket.socketpair()
        far.sendall(self.answers.pop(0))
        far.shutdown(socket.SHUT_WR)
        self.ours += [near, far]
        return near


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


def test_numbers_are_read_in_seconds_and_without_what_k6_does_not_tell() -> None:
    assert read_numbers(STATUS, METRICS) == NUMBERS


def test_before_the_first_request_there_are_no_durations() -> None:
    assert read_numbers(STATUS, b'{"data":[]}') == K6Numbers(vus=2, vus_max=5)


def test_both_questions_are_asked_and_the_connections_closed() -> None:
    api = Api(answer(STATUS), answer(METRICS))
    assert numbers_of(api.connect) == NUMBERS
    asked = [far.recv(65536).split(b"\r\n")[0] for far in api.ours[1::2]]
    assert asked == [b"GET /v1/status HTTP/1.1", b"GET /v1/metrics HTTP/1.1"]
    assert [near.fileno() for near in api.ours[::2]] == [-1, -1]
    for far in api.ours[1::2]:
        far.close()


@pytest.mark.parametrize(
    "first",
    [
        *(b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x", answer(b"", "500 No")),
        *(answer(STATUS)[:-9], answer(b"[]"), answer(b"{" * 99), answer(b'{"data":1}'), answer(b"\xff")),
    ],
)
def test_an_api_that_does_not_answer_sensibly_is_silent(first: bytes) -> None:
    api = Api(first, answer(METRICS))
    with pytest.raises(K6Silent):
        numbers_of(api.connect)
    for sock in api.ours:
        sock.close()


def test_an_answer_that_is_too_long_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k6_numbers, "MOST_BYTES", len(STATUS) - 1)
    api = Api(answer(STATUS))
    with pytest.raises(K6Silent, match=f"{len(STATUS)} bytes"):
        numbers_of(api.connect)
    api.ours[1].close()


def test_a_run_that_is_gone_is_silent() -> None:
    def connect() -> socket.socket:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(K6Silent, match="nobody there"):
        numbers_of(connect)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "attributes", "sample", "id", "vus", "vus-max", "count", "rate", "p(90)", "max"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON, JSON)
def test_any_json_gives_numbers_or_silence(status: Any, metrics: Any) -> None:
    try:
        found = read_numbers(json.dumps(status).encode(), json.dumps(metrics).encode())
    except K6Silent:
        return
    assert 0 <= found.vus < 2**63
