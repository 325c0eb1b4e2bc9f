"""Watching a run: what it is stopped for, and what not."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest

from testwarden.clients import k6_watch
from testwarden.clients.k6_load import K6Bounds
from testwarden.clients.k6_numbers import K6Gone, K6Numbers, K6Silent, K6Users
from testwarden.clients.k6_watch import Watch
from testwarden.clients.stop import Stop

Answer = TypeVar("Answer")
PATIENT = 20.0
PUBLIC = K6Bounds(20, 600.0, 20)
OWN = K6Bounds(500, 86400.0)
FINE = K6Users(20, 20)
SILENT, GONE = K6Silent("busy"), K6Gone("nobody listens")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EARLY", "OFTEN", "EVERY"):
        monkeypatch.setattr(k6_watch, name, 0.001)


def nobody() -> socket.socket:
    raise AssertionError("the answers are made up")


class Run:
    """What k6 says, look for look; the last holds on."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        users: Iterable[K6Users | Exception],
        numbers: Iterable[K6Numbers | Exception],
    ) -> None:
        self.looks = 0
        self.enough = threading.Event()
        self._users, self._numbers = _held(users), _held(numbers)
        monkeypatch.setattr(k6_watch, "users_of", self._answer)
        monkeypatch.setattr(k6_watch, "numbers_of", lambda _: _said(next(self._numbers)))

    def _answer(self, _: object) -> K6Users:
        self.looks += 1
        if self.looks > 30:
            self.enough.set()
        return _said(next(self._users))

    def reason(self, bounds: K6Bounds, progress: Callable[[K6Numbers], None] = lambda _: None) -> str:
        """Watch until it is stopped or has been looked at often; return the reason."""
        with Watch(nobody, bounds, progress, Stop()) as watch, watch.stop.listener(self.enough.set):
            assert self.enough.wait(PATIENT)
            return watch.stop.reason


def _held(items: Iterable[Answer]) -> Iterator[Answer]:
    answers = list(items)
    return itertools.chain(answers, itertools.repeat(answers[-1]))


def _said(answer: Answer | Exception) -> Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_too_many_users_end_a_run_whose_other_numbers_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, [FINE] * 15 + [K6Users(1, 21)], [SILENT])
    assert run.reason(PUBLIC) == "the script makes 21 virtual users, 20 are allowed; it had said otherwise"
    assert run.looks == 16


@pytest.mark.parametrize(
    ("users", "bounds", "stopped"),
    [
        ([FINE, SILENT], PUBLIC, True),
        ([FINE, SILENT, SILENT, FINE] * 9, PUBLIC, False),
        ([SILENT], PUBLIC, False),
        ([FINE, SILENT], OWN, False),
        ([FINE, GONE], PUBLIC, False),
        ([FINE, *[SILENT, SILENT, GONE] * 9, GONE], PUBLIC, False),
    ],
    ids=["silent", "now and then", "never there", "own", "ending", "ending slowly"],
)
def test_a_public_run_that_has_answered_goes_on_answering_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, users: list[K6Users | Exception], bounds: K6Bounds, stopped: bool
) -> None:
    reason = Run(monkeypatch, users, [SILENT]).reason(bounds)
    assert ("does not say any more" in reason) == stopped
    assert bool(reason) == stopped


@pytest.mark.parametrize(
    ("requests", "bounds", "stopped"),
    [
        ([30, 60, 120], PUBLIC, True),
        ([40, 80, 120, 120], PUBLIC, False),
        ([5000], OWN, False),
    ],
)
def test_far_more_requests_than_the_rate_end_a_run(
    monkeypatch: pytest.MonkeyPatch, requests: list[int], bounds: K6Bounds, stopped: bool
) -> None:
    reason = Run(monkeypatch, [FINE], [K6Numbers(requests=count) for count in requests]).reason(bounds)
    assert reason.startswith("the script makes 60 requests in ") == stopped
    assert bool(reason) == stopped


def test_the_users_of_a_public_run_are_looked_at_more_often_than_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k6_watch, "EVERY", 3600.0)
    seen: list[K6Numbers] = []
    assert Run(monkeypatch, [FINE], [K6Numbers()]).reason(PUBLIC, seen.append) == ""
    assert len(seen) == k6_watch.EARLY_LOOKS
