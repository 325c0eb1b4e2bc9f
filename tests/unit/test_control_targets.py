"""Targets as a control file writes them: one spelling each, and nothing but hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.control.targets import MOST_TARGETS, targets


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("example.org", ("example.org",)),
        (" Example.ORG ,a.b:8080,a.b ", ("example.org", "a.b:8080", "a.b")),
        ("example.org,EXAMPLE.org", ("example.org",)),
        ("*.example.org,*.example.org:443", ("*.example.org", "*.example.org:443")),
        ("storage, xn--bcher-kva.example", ("storage", "xn--bcher-kva.example")),
        ("a_b.example, 1.example", ("a_b.example", "1.example")),
        ("8.8.8.8, 8.8.8.8:53", ("8.8.8.8", "8.8.8.8:53")),
        ("2606:4700:4700:0::1111", ("2606:4700:4700::1111",)),
        ("[2606:4700:4700::1111], [2606:4700:4700::1111]:8443", ("2606:4700:4700::1111", "[2606:4700:4700::1111]:8443")),
        ("a.b:1,a.b:65535", ("a.b:1", "a.b:65535")),
    ],
)  # fmt: skip
def test_hosts_and_addresses_are_read_in_lower_case_each_once(text: str, read: tuple[str, ...]) -> None:
    assert targets(text) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty target"),
        ("a.b,", "empty target"),
        ("a.b,,c.d", "empty target"),
        (":80", "empty target"),
        ("https://example.org", "without a scheme and a path"),
        ("example.org/x", "without a scheme and a path"),
        ("10.0.0.0/8", "without a scheme and a path"),
        ("a b", "must be a host name or an address"),
        ("a.b c.d", "must be a host name or an address"),
        ("user@example.org", "must be a host name or an address"),
        ("example.org?x", "must be a host name or an address"),
        ("*", "must be a host name or an address"),
        ("*.", "must be a host name or an address"),
        ("**.example.org", "must be a host name or an address"),
        ("a.*.org", "must be a host name or an address"),
        ("*example.org", "must be a host name or an address"),
        ("*.*.org", "must be a host name or an address"),
        ("*.org", "too wide; write at least *.name.org"),
        ("*:80", "must be a host name or an address"),
        ("*.8.8.8.8", "must be a host name or an address"),
        (".example.org", "must be a host name or an address"),
        ("example.org.", "must be a host name or an address"),
        ("a..b", "must be a host name or an address"),
        ("-a.b", "must be a host name or an address"),
        ("a-.b", "must be a host name or an address"),
        ("a" * 64 + ".b", "must be a host name or an address"),
        (".".join(["a" * 49] * 6), "must be a host name or an address"),
        ("bücher.example", "must be a host name or an address"),
        ("\u212aelvin.example", "must be a host name or an address"),
        ("2130706433", "must be a host name or an address"),
        ("127.1", "must be a host name or an address"),
        ("0x7f.1", "must be a host name or an address"),
        ("0x7f000001", "must be a host name or an address"),
        ("1.2.3.4.5", "must be a host name or an address"),
        ("256.1.1.1", "must be a host name or an address"),
        ("fe80::1%eth0", "must be a host name or an address"),
        ("[example.org]", "must be a host name or an address"),
        ("a.b:", "port must be a number from 1 to 65535"),
        ("a.b:0", "port must be a number"),
        ("a.b:080", "port must be a number"),
        ("a.b:65536", "port must be a number"),
        ("a.b:http", "port must be a number"),
        ("[2606:4700::1]:x", "port must be a number"),
        ("2606:4700::1]:80", "must be a host name or an address"),
        ("127.0.0.1", "public addresses only"),
        ("10.1.2.3:80", "public addresses only"),
        ("169.254.169.254", "public addresses only"),
        ("192.168.1.1", "public addresses only"),
        ("100.64.0.1", "public addresses only"),
        ("0.0.0.0", "public addresses only"),
        ("[::1]:80", "public addresses only"),
        ("fd00::1", "public addresses only"),
        ("::ffff:10.0.0.1", "public addresses only"),
        ("64:ff9b::7f00:1", "public addresses only"),
        (",".join(f"h{n}.example" for n in range(MOST_TARGETS + 1)), "has 51 targets; at most 50"),
    ],
)  # fmt: skip
def test_what_is_no_public_host_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="has ") as caught:
        targets(text)
    assert said in str(caught.value)


@given(st.text(alphabet="abcZ019.-_*:[]/ ,%@\u212aé", max_size=60) | st.text(max_size=30))
def test_whatever_is_accepted_is_accepted_again_as_it_was_read(text: str) -> None:
    try:
        read = targets(text)
    except ValueError:
        return
    assert read
    assert targets(",".join(read)) == read
    assert all(target.isascii() and target == target.lower() and " " not in target for target in read)
