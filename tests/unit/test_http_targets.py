"""Where an HTTP attempt may go, and what an answer means."""

from __future__ import annotations

from decimal import Decimal

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from testwarden.clients.dial import DialRefused
from testwarden.clients.http import price_result, status_result, trouble_result
from testwarden.clients.http_targets import Route, TargetRefused, host_allowed, is_public, route_to, upload_url
from testwarden.model import Outcome

GATEWAY = "http://127.0.0.1:8080/base/"


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
)
def test_addresses_of_the_public_internet_are_public_in_every_wrapping(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "192.0.0.9",
        "192.0.0.10",
        "192.0.0.192",
        "192.88.99.1",
        "168.63.129.16",
        "64:ff9b::a83f:8110",
        "198.18.0.1",
        "::",
        "::1",
        "::7f00:1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::808:808",
        "2002:a00:1::1",
        "2002:7f00:1::",
        "2001:0:53aa:64c:0:7ed1:f5ff:fffe",
        "2001:db8::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "not an address",
        "",
    ],
)
def test_private_local_and_reserved_addresses_are_not_public_in_any_wrapping(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_as_public_in_ipv6_as_it_is_itself(address: object) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("files.example.org", True),
        ("FILES.example.org.", True),
        ("a.cdn.example.org", True),
        ("b.a.cdn.example.org", True),
        ("cdn.example.org", False),
        ("evilcdn.example.org", False),
        ("files.example.org.evil.example", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_a_host_is_allowed_by_its_name_or_by_the_domain_above_it(host: str, allowed: bool) -> None:
    assert host_allowed(host, ["files.example.org", "*.cdn.example.org"]) is allowed


def test_no_host_is_allowed_where_the_list_is_empty() -> None:
    assert not host_allowed("files.example.org", [])


def test_a_plain_address_leads_to_the_gateway_and_is_quoted() -> None:
    route = route_to(GATEWAY, [], "a/b?c#d", "name with ü & more.txt")
    assert route.url == "http://127.0.0.1:8080/base/a%2Fb%3Fc%23d/name%20with%20%C3%BC%20%26%20more.txt"
    route.check_dial("127.0.0.1", 8080, ["127.0.0.1"])


@pytest.mark.parametrize(("address", "name"), [("..", "x"), ("x", ".."), (".", "x"), ("", "x"), ("x", "")])
def test_an_address_cannot_climb_out_of_the_gateway(address: str, name: str) -> None:
    with pytest.raises(TargetRefused):
        route_to(GATEWAY, [], address, name)


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/x",
        "http://127.0.0.1:8080/admin",
        "ftp://files.example.org/x",
        "file:///etc/passwd",
        "http:///x",
        "http://user:secret@files.example.org/x",
        "http://files.example.org:port/x",
        "http://[::1/x",
    ],
)
def test_an_absolute_url_is_refused_unless_its_host_is_allowed(url: str) -> None:
    with pytest.raises(TargetRefused):
        route_to(GATEWAY, ["files.example.org"], url, "x")


def test_an_allowed_host_is_dialled_only_where_every_address_is_public() -> None:
    route = route_to(GATEWAY, ["files.example.org"], "https://files.example.org/x", "x")
    route.check_dial("files.example.org", 443, ["8.8.8.8", "2606:4700:4700::1111"])
    with pytest.raises(DialRefused, match=r"10\.0\.0\.1"):
        route.check_dial("files.example.org", 443, ["8.8.8.8", "10.0.0.1"])


def test_what_counts_is_who_is_dialled_not_what_the_url_looked_like() -> None:
    route = route_to(GATEWAY, ["files.example.org"], "https://files.example.org/x", "x")
    with pytest.raises(DialRefused):
        route.check_dial("evil.example", 443, ["8.8.8.8"])
    with pytest.raises(DialRefused):
        route.check_dial("127.0.0.1", 8080, ["127.0.0.1"])


def test_a_gateway_on_one_port_does_not_open_the_other_ports_of_its_host() -> None:
    with pytest.raises(DialRefused):
        route_to(GATEWAY, [], "abc", "x").check_dial("127.0.0.1", 22, ["127.0.0.1"])


def hops() -> Route:
    return route_to(GATEWAY, ["files.example.org"], "abc", "x")


@pytest.mark.parametrize("location", ["/elsewhere", "y", "http://127.0.0.1:8080/z", "https://files.example.org/x"])
def test_a_redirect_may_stay_at_the_gateway_or_go_to_an_allowed_host(location: str) -> None:
    assert hops().hop(location, GATEWAY).startswith("http")


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:8081/", "https://127.0.0.1:8080/", "//other.example/x", "http://localhost:8080/", "gopher://x/"],
)
def test_a_redirect_may_not_go_elsewhere(location: str) -> None:
    with pytest.raises(TargetRefused):
        hops().hop(location, GATEWAY)


def test_an_upload_goes_to_the_gateway_under_its_quoted_name() -> None:
    assert upload_url(GATEWAY, "a b.bin") == "http://127.0.0.1:8080/base/a%20b.bin"


@pytest.mark.parametrize(
    ("status", "reading", "outcome", "mendable"),
    [
        (404, True, Outcome.DATA_LOSS, False),
        (410, True, Outcome.DATA_LOSS, False),
        (404, False, Outcome.CLIENT_ERROR, False),
        (408, True, Outcome.NETWORK_ERROR, True),
        (429, False, Outcome.NETWORK_ERROR, True),
        (500, True, Outcome.NETWORK_ERROR, True),
        (503, False, Outcome.NETWORK_ERROR, True),
        (599, True, Outcome.NETWORK_ERROR, True),
        (400, True, Outcome.CLIENT_ERROR, False),
        (403, True, Outcome.CLIENT_ERROR, False),
        (413, False, Outcome.CLIENT_ERROR, False),
        (304, True, Outcome.UNKNOWN_ERROR, False),
        (206, True, Outcome.UNKNOWN_ERROR, False),
        (999, True, Outcome.UNKNOWN_ERROR, False),
    ],
)
def test_a_status_means_an_outcome(status: int, reading: bool, outcome: Outcome, mendable: bool) -> None:
    result = status_result(status, reading=reading)
    assert (result.outcome, result.mendable) == (outcome, mendable)
    assert str(status) in result.reason


@pytest.mark.parametrize(
    ("error", "outcome", "mendable"),
    [
        (requests.ConnectionError("reset"), Outcome.NETWORK_ERROR, True),
        (requests.Timeout("slow"), Outcome.NETWORK_ERROR, True),
        (requests.exceptions.InvalidURL("no host"), Outcome.CLIENT_ERROR, False),
        (DialRefused("no"), Outcome.CLIENT_ERROR, False),
        (OSError(28, "No space left on device"), Outcome.CLIENT_ERROR, False),
        (ZeroDivisionError("what"), Outcome.UNKNOWN_ERROR, False),
    ],
)
def test_what_an_exchange_raises_means_an_outcome(error: Exception, outcome: Outcome, mendable: bool) -> None:
    result = trouble_result(error)
    assert (result.outcome, result.mendable) == (outcome, mendable)
    assert result.reason


def test_a_price_is_read_exactly() -> None:
    result = price_result(b'{"cost": "0.000000000000012345", "chunks": 3}')
    assert (result.outcome, result.cost) == (Outcome.OK, Decimal("0.000000000000012345"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b'{"cost": "much"}',
        b'{"cost": "NaN"}',
        b'{"cost": "-1"}',
        b'{"cost": "Infinity"}',
        b"[" * 9999,
        b"\xff",
    ],
)
def test_what_is_no_price_is_not_guessed(body: bytes) -> None:
    result = price_result(body)
    assert (result.outcome, result.cost) == (Outcome.UNKNOWN_ERROR, None)
