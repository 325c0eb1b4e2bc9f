"""What a program in a cage may reach."""

from __future__ import annotations

import ipaddress
import socket
from collections import namedtuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.clients.allow_list import AllowList, Target, canonical, own_networks
from testwarden.clients.dial import DialRefused
from testwarden.clients.http_targets import METADATA, TargetRefused

PUBLIC = "93.184.216.34"
STORE = {"store.testwarden.test": ("127.0.0.1", 8080)}


def allow(*targets: str, private: bool = False, lan: tuple[str, ...] = ()) -> AllowList:
    networks = tuple(map(ipaddress.ip_network, lan))
    return AllowList(tuple(map(Target.parse, targets)), private, STORE, networks)


def may_lead_to(rules: AllowList, host: str, *addresses: str) -> bool:
    """Whether the host may be dialled where it has these addresses."""
    way = rules.way(host, 80)
    assert way.policy is not None
    try:
        way.policy(way.host, way.port, addresses)
    except DialRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("target", "host", "port", "allowed"),
    [
        ("example.org", "example.org", 80, True),
        ("example.org", "EXAMPLE.org.", 8443, True),
        ("Example.Org.", "example.org", 80, True),
        ("example.org", "www.example.org", 80, False),
        ("example.org", "example.org.evil.example", 80, False),
        ("example.org", "evilexample.org", 80, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 80, False),
        ("*.example.org", "a.example.org", 80, True),
        ("*.example.org", "b.a.example.org", 80, True),
        ("*.example.org", "example.org", 80, False),
        ("*.example.org", "evilexample.org", 80, False),
        ("*.example.org:443", "a.example.org", 80, False),
        ("*.2.3.4.example", "1.2.3.4.example", 80, True),
        ("bücher.example", "xn--bcher-kva.example", 80, True),
        ("xn--bcher-kva.example", "BÜCHER.example", 80, True),
        ("faß.example", "fass.example", 80, False),
        ("93.184.216.34", "93.184.216.34", 80, True),
        ("93.184.216.34", "0x5db8d822", 80, True),
        ("93.184.216.34", "1572395042", 80, True),
        ("93.184.216.34", "93.184.55330", 80, True),
        ("93.184.216.34", "0135.0270.0330.042", 80, True),
        ("93.184.216.34", "９３.184.216.34", 80, True),
        ("93.184.216.34", "[::ffff:93.184.216.34]", 80, True),
        ("0x5db8d822", "93.184.216.34", 80, True),
        ("93.184.216.34", "93.184.216.35", 80, False),
        ("[2606:4700::1111]:443", "[2606:4700:0:0::1111]", 443, True),
        ("2606:4700::1111", "[2606:4700::1111]", 1234, True),
        ("2606:4700::1111", "2606:4700::1111", 80, True),
        ("[2606:4700::1111]:443", "[2606:4700::1111]", 80, False),
        ("example.org", "store.testwarden.test", 80, False),
        ("example.org", "", 80, False),
        ("example.org", "example.org/..", 80, False),
        ("example.org", "[example.org]", 80, False),
        ("example.org", "example.org@evil.example", 80, False),
        ("example.org", "example.org\n", 80, False),
    ],
)
def test_a_host_is_allowed_by_its_name_its_domain_or_its_address_and_by_its_port(
    target: str, host: str, port: int, allowed: bool
) -> None:
    rules = allow(target)
    if allowed:
        assert rules.way(host, port).host == canonical(host)
    else:
        with pytest.raises(TargetRefused):
            rules.way(host, port)


def test_without_targets_nothing_is_allowed_not_even_a_name_of_the_agents() -> None:
    for host in ("example.org", PUBLIC, "store.testwarden.test"):
        with pytest.raises(TargetRefused, match="not one of the targets"):
            allow().way(host, 80)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "*",
        "*.",
        "*.*.example.org",
        "a.*.example.org",
        "*.1.2.3.4",
        "example.org:0",
        "example.org:65536",
        "example.org:http",
        "http://example.org",
        "example.org/path",
        "example org",
        "a..example.org",
        "1.2.3.256",
        "[::1",
        "[fe80::1%eth0]",
        "fe80::1%eth0",
        "x" * 300,
    ],
)
def test_what_is_no_target_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ .*"):
        Target.parse(text)


def test_a_name_of_the_agents_leads_where_the_agent_says_and_nowhere_else() -> None:
    way = allow("store.testwarden.test").way("Store.Testwarden.Test.", 80)
    assert (way.host, way.port, way.policy) == ("127.0.0.1", 8080, None)
    with pytest.raises(TargetRefused):
        allow("store.testwarden.test").way("127.0.0.1", 8080)


NOT_ONE_MACHINE = ["224.0.0.1", "255.255.255.255", "240.0.0.1", "0.0.0.0", "::", "ff02::1", "::ffff:224.0.0.1"]
LOCAL = [
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.1.1",
    "100.64.0.1",
    "::1",
    "fe80::1",
    "fd00::1",
    "64:ff9b::a00:1",
]


@pytest.mark.parametrize(
    "address", [*NOT_ONE_MACHINE, *LOCAL, "2002:7f00:1::", "::ffff:127.0.0.1", "fec0::1", "nonsense"]
)
def test_an_allowed_name_must_not_lead_to_an_address_that_is_not_public(address: str) -> None:
    assert may_lead_to(allow("example.org"), "example.org", PUBLIC)
    assert not may_lead_to(allow("example.org"), "example.org", address)
    assert not may_lead_to(allow("example.org"), "example.org", PUBLIC, address)


def test_being_a_target_makes_a_private_address_no_public_one() -> None:
    assert not may_lead_to(allow("127.0.0.1"), "127.0.0.1", "127.0.0.1")


def test_private_addresses_are_reached_where_that_is_allowed() -> None:
    rules = allow("example.org", private=True, lan=("10.0.0.0/8",))
    assert [one for one in [*LOCAL, PUBLIC] if not may_lead_to(rules, "example.org", one)] == []
    assert [one for one in [*NOT_ONE_MACHINE, "nonsense"] if may_lead_to(rules, "example.org", one)] == []


def test_the_metadata_of_a_cloud_is_reached_by_nobody() -> None:
    wrapped = [
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1"),
        *("192.0.0.192", "fd20:ce::254", "169.254.170.2"),
    ]
    for private in (True, False):
        rules = allow("example.org", private=private)
        assert [one for one in [*map(str, METADATA), *wrapped] if may_lead_to(rules, "example.org", one)] == []


def test_the_own_network_is_not_public_even_with_public_addresses() -> None:
    rules = allow("example.org", lan=("93.184.216.0/24", "2606:4700::/32"))
    assert not may_lead_to(rules, "example.org", "93.184.216.77")
    assert not may_lead_to(rules, "example.org", "64:ff9b::5db8:d84d")
    assert not may_lead_to(rules, "example.org", "2606:4700::1")
    assert may_lead_to(rules, "example.org", "93.184.217.1", "2606:4701::1")


def test_the_own_networks_are_those_of_the_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    row = namedtuple("row", "family address netmask")
    rows = [
        row(socket.AF_INET, "93.184.216.7", "255.255.255.0"),
        row(socket.AF_INET6, "2606:4700::7%eth0", "ffff:ffff::"),
        row(socket.AF_INET, "198.51.100.1", None),
        row(psutil.AF_LINK, "00:00:00:00:00:00", None),
    ]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": rows})
    assert list(map(str, own_networks())) == ["93.184.216.0/24", "2606:4700::/32", "198.51.100.1/32"]


@given(st.ip_addresses())
def test_an_address_has_one_way_of_writing(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert canonical(canonical(str(address))) == canonical(address.exploded.upper())


@given(st.text(max_size=40))
def test_any_text_is_a_host_in_one_way_of_writing_or_none(text: str) -> None:
    try:
        host = canonical(text)
    except ValueError:
        return
    assert canonical(host) == host
    assert host.isascii()
    assert not set(host) & set("/@?#\\ \r\n\0[]%")
