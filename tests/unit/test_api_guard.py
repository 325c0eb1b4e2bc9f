"""Who may ask the API, by the head of the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from standins.api_door import TOKEN, config_for
from testwarden.api.config import Address
from testwarden.api.guard import Asked, Guard
from testwarden.model import KIB, MIB

LOOPBACK = Address("127.0.0.1", 8888)
EVERYWHERE = Address("0.0.0.0", 8888)


def judged(
    *headers: tuple[str, str],
    method: str = "POST",
    path: str = "/api/v1/stop",
    address: Address = LOOPBACK,
    host: str = "127.0.0.1:8888",
    **config: Any,
) -> int:
    """Return the status of the refusal; 0 if there is none."""
    guard = Guard(config_for(Path("unused"), **config), address)
    refusal = guard.judge(Asked(method, path, (("host", host), *headers)))
    return refusal.status if refusal else 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8888", "127.0.0.1", "localhost:8888", "LOCALHOST.", "[::1]:8888", "[::1]", "127.9.9.9"]
)
def test_a_host_header_that_names_this_machine_is_right(host: str) -> None:
    assert judged(host=host) == 0


@pytest.mark.parametrize(
    "host",
    [
        "rebind.example:8888",
        "rebind.example",
        "localhost.rebind.example",
        "127.0.0.1.rebind.example:8888",
        "192.168.1.5:8888",
        "0.0.0.0:8888",
        "a@127.0.0.1:8888",
        "127.0.0.1:8888:8888",
        "127.0.0.1:8888/x",
        "[::1]x",
        "::1",
        "",
        "[",
    ],
)
def test_a_host_header_that_names_somebody_else_is_dns_rebinding(host: str) -> None:
    assert judged(host=host) == 421


def test_names_of_the_operator_s_are_right_and_others_are_not() -> None:
    assert judged(host="agent1.example:8888", hosts=("Agent1.example",)) == 0
    assert judged(host="agent2.example:8888", hosts=("Agent1.example",)) == 421


def test_an_agent_that_listens_everywhere_is_reached_by_any_address_but_no_name() -> None:
    assert judged(host="192.168.1.5:8888", address=EVERYWHERE) == 0
    assert judged(host="[2001:db8::1]:8888", address=EVERYWHERE) == 0
    assert judged(host="[::]:8888", address=EVERYWHERE) == 421
    assert judged(host="rebind.example", address=EVERYWHERE) == 421


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1", "rebind.example")], ids=["none", "two"])
def test_one_request_names_one_host(hosts: tuple[str, ...]) -> None:
    guard = Guard(config_for(Path("unused")), LOOPBACK)
    refusal = guard.judge(Asked("GET", "/", tuple(("host", host) for host in hosts)))
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8888", "http://127.0.0.1:8888"),
        ("localhost:8888", "http://LOCALHOST:8888"),
        ("[::1]:8888", "http://[::1]:8888"),
        ("localhost", "http://localhost"),
        ("localhost:443", "https://localhost"),
    ],
)
def test_our_own_page_may_ask(host: str, origin: str) -> None:
    assert judged(("origin", origin), host=host) == 0


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://127.0.0.1:8889",
        "http://127.0.0.1",
        "http://localhost:8888",
        "https://127.0.0.1",
        "http://127.0.0.1:8888.evil.example",
        "http://127.0.0.1:8888@evil.example",
        "file://127.0.0.1:8888",
        "127.0.0.1:8888",
        "http://127.0.0.1:8888, http://evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_of_other_origins_may_not_ask(method: str, origin: str) -> None:
    assert judged(("origin", origin), method=method) == 403


def test_a_second_origin_does_not_help() -> None:
    ours = ("origin", "http://127.0.0.1:8888")
    assert judged(ours, ours) == 403


@pytest.mark.parametrize(
    ("site", "mode", "dest", "method", "status"),
    [
        ("same-origin", "cors", "empty", "POST", 0),
        ("none", "navigate", "document", "GET", 0),
        ("cross-site", "navigate", "document", "GET", 0),
        ("cross-site", "navigate", "document", "POST", 403),
        ("cross-site", "navigate", "iframe", "GET", 403),
        ("cross-site", "no-cors", "image", "GET", 403),
        ("same-site", "no-cors", "script", "GET", 403),
    ],
)
def test_what_a_browser_says_of_where_a_request_comes_from_counts(
    site: str, mode: str, dest: str, method: str, status: int
) -> None:
    sent = (("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest))
    assert judged(*sent, method=method) == status


@pytest.mark.parametrize("kind", ["text/plain", "Text/Plain; charset=x", "multipart/form-data; boundary=x",
                                  "application/x-www-form-urlencoded"])  # fmt: skip
def test_what_a_form_can_send_starts_and_stops_nothing(kind: str) -> None:
    assert judged(("content-type", kind)) == 415
    assert judged(("content-type", kind), path="/v1/pause") == 415
    assert judged(("content-type", kind), path="/api/v1/saveScript") == 0
    assert judged(("content-type", kind), method="GET") == 0


@pytest.mark.parametrize("sent", [(), (("content-type", "application/json"),)], ids=["no type", "JSON"])
def test_a_body_of_json_or_of_no_type_is_taken(sent: tuple[tuple[str, str], ...]) -> None:
    assert judged(*sent) == 0


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer wrong"),),
        (("authorization", f"Bearer {TOKEN}x"),),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", TOKEN),),
        (("authorization", "Bearer \xff"),),
        (("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")),
    ],
    ids=str,
)
def test_without_the_token_nothing_is_answered(sent: tuple[tuple[str, str], ...]) -> None:
    assert judged(*sent, token=TOKEN) == 401
    assert judged(*sent, token=TOKEN, method="GET", path="/metrics") == 401
    assert judged(*sent, token=TOKEN, method="GET", path="/openapi.json") == 401
    assert judged(*sent, token=TOKEN, method="GET", path="//healthz") == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_token_everything_is_answered(scheme: str) -> None:
    assert judged(("authorization", f"{scheme} {TOKEN}"), token=TOKEN) == 0


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/healthz"])
def test_the_page_that_asks_for_the_token_needs_none(path: str) -> None:
    assert judged(method="GET", path=path, token=TOKEN) == 0


def test_a_body_is_as_long_as_its_path_allows() -> None:
    for path, most in (("/api/v1/stop", 64 * KIB), ("/api/v1/saveScript", MIB), ("/v1/runs", 2 * MIB)):
        assert judged(("content-length", str(most)), path=path) == 0
        assert judged(("content-length", str(most + 1)), path=path) == 413
        assert judged(("content-length", "9" * 5000), path=path) == 413


def test_a_refusal_has_the_form_of_the_routes_beside_it() -> None:
    guard = Guard(config_for(Path("unused"), token=TOKEN), LOOPBACK)
    refusal = guard.judge(Asked("GET", "/v1/status", (("host", "localhost"),)))
    assert refusal is not None
    assert refusal.body("/v1/status") == {"error": refusal.sentence}
    assert refusal.body("/api/v1/start") == {"status": "Error", "error": refusal.sentence}
