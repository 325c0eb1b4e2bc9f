"""Ports that are lent: never twice, never one that is in use."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from testwarden.clients import ports
from testwarden.clients.ports import PortPool
from testwarden.errors import ProcessError


@pytest.fixture(autouse=True)
def all_free(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """No network here: ports of which nobody knows are free; put those in use into the set."""
    used: set[int] = set()
    monkeypatch.setattr(ports, "_is_free", lambda port: port not in used)
    return used


def test_each_port_is_lent_once_until_it_is_given_back() -> None:
    pool = PortPool(7000, 7002)
    assert sorted(pool.take() for _ in range(3)) == [7000, 7001, 7002]
    with pytest.raises(ProcessError, match="between 7000 and 7002"):
        pool.take()
    pool.give_back(7001)
    assert pool.take() == 7001


def test_a_port_in_use_by_somebody_else_is_left_out(all_free: set[int]) -> None:
    all_free.update({7000, 7002})
    pool = PortPool(7000, 7003)
    assert [pool.take(), pool.take()] == [7001, 7003]
    with pytest.raises(ProcessError):
        pool.take()


def test_the_next_port_is_another_one_even_if_the_last_is_back() -> None:
    pool = PortPool(7000, 7002)
    lent = []
    for _ in range(4):
        with pool.lend() as port:
            lent.append(port)
    assert lent == [7000, 7001, 7002, 7000]


def test_a_port_is_back_after_an_error_too() -> None:
    pool = PortPool(7000, 7000)
    with pytest.raises(RuntimeError), pool.lend():
        raise RuntimeError
    assert pool.percent == 0
    assert pool.take() == 7000


def test_how_full_it_is_is_told_in_percent() -> None:
    pool = PortPool(7000, 7099)
    seen = [pool.percent]
    for _ in range(100):
        pool.take()
        seen.append(pool.percent)
    assert seen == list(range(101))
    small = PortPool(7000, 7002)
    small.take()
    assert small.percent == 34


def test_threads_get_different_ports() -> None:
    pool = PortPool(7000, 7199)
    with ThreadPoolExecutor(16) as threads:
        lent = list(threads.map(lambda _: pool.take(), range(200)))
    assert len(set(lent)) == 200


@pytest.mark.parametrize(("first", "last"), [(0, 5), (7000, 6999), (65000, 65536), (-1, 1)])
def test_a_range_that_is_none_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="no range of ports"):
        PortPool(first, last)


def test_a_listening_socket_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ProcessError):
            PortPool(port, port).take()
    assert PortPool(port, port).take() == port
