from __future__ import annotations

import pytest

from testwarden.safety.targets import is_within


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("files.example.org", "files.example.org"),
        ("FILES.example.org.", "files.example.org"),
        ("files.example.org:8080", "files.example.org"),
        ("files.example.org:8080", "files.example.org:8080"),
        ("a.files.example.org", "*.example.org"),
        ("*.files.example.org", "*.example.org"),
        ("*.example.org", "*.example.org"),
        ("2001:db8::1", "2001:DB8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ],
)
def test_what_lies_within(target: str, allowed: str) -> None:
    assert is_within(target, ["unrelated.net", allowed])


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("example.org", "*.example.org"),
        ("badexample.org", "*.example.org"),
        ("example.org.evil.net", "*.example.org"),
        ("*.example.org", "files.example.org"),
        ("*.org", "*.example.org"),
        ("files.example.org", "files.example.org:443"),
        ("files.example.org:80", "files.example.org:443"),
        ("a.files.example.org", "files.example.org"),
        ("2001:db8::2", "2001:db8::1"),
    ],
)
def test_what_does_not(target: str, allowed: str) -> None:
    assert not is_within(target, [allowed])


def test_nothing_is_within_nothing() -> None:
    assert not is_within("files.example.org", [])
