"""Where the API may listen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from standins.api_door import TOKEN, config_for
from standins.raw_server import self_signed
from testwarden.api.config import Address, ApiRefused, address_of


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder)
    return {"tls_cert": folder / "certificate.pem", "tls_key": folder / "key.pem"}


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8888", Address("127.0.0.1", 8888)),
        ("127.8.8.8:1", Address("127.8.8.8", 1)),
        ("[::1]:8888", Address("::1", 8888)),
        (" LocalHost:80 ", Address("127.0.0.1", 80)),
    ],
)
def test_loopback_needs_nothing_else(listen: str, address: Address, tmp_path: Path) -> None:
    assert address_of(config_for(tmp_path, listen=listen)) == address
    assert address.loopback


@pytest.mark.parametrize("listen", ["0.0.0.0:8888", "[::]:8888", "192.168.1.5:8888", "agent.example:8888"])
def test_what_others_can_reach_needs_a_token_and_tls(listen: str, tls: dict[str, Any], tmp_path: Path) -> None:
    for missing in ({}, {"token": TOKEN}, tls):
        with pytest.raises(ApiRefused, match=r"needs api\.token and api\.tls_cert"):
            address_of(config_for(tmp_path, listen=listen, **missing))
    assert not address_of(config_for(tmp_path, listen=listen, token=TOKEN, **tls)).loopback


@pytest.mark.parametrize("listen", ["", "8888", ":8888", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused_with_what_is_allowed(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ApiRefused, match="allowed is an address and a port"):
        address_of(config_for(tmp_path, listen=listen))


@pytest.mark.parametrize("token", ["", "two words", "tökén", "line\nend"])
def test_a_token_that_no_header_carries_is_refused(token: str, tmp_path: Path) -> None:
    with pytest.raises(ApiRefused, match=r"api\.token"):
        address_of(config_for(tmp_path, token=token))


def test_half_of_tls_is_refused(tls: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ApiRefused, match="belong together"):
        address_of(config_for(tmp_path, tls_cert=tls["tls_cert"]))


def test_tls_files_that_are_none_are_named(tls: dict[str, Any], tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    for files in ({**tls, "tls_key": missing}, {**tls, "tls_cert": tls["tls_key"]}):
        with pytest.raises(ApiRefused, match=r"cannot be used"):
            address_of(config_for(tmp_path, **files))


def test_the_token_does_not_show_in_logs(tmp_path: Path) -> None:
    assert TOKEN not in repr(config_for(tmp_path, token=TOKEN))
