"""Flushing beside the work: one flush for all that asked before it, and no failure stays untold."""

from __future__ import annotations

import threading

import pytest

from testwarden.errors import LedgerError
from testwarden.safety.flushing import Flusher


def test_one_flush_serves_all_that_asked_before_it_began() -> None:
    begun, let_end, flushes = threading.Event(), threading.Event(), []

    def flush() -> None:
        flushes.append(1)
        begun.set()
        assert let_end.wait(30)

    flusher = Flusher(flush)
    first = flusher.ask()
    assert begun.wait(30)
    late = [flusher.ask() for _ in range(3)]
    assert not any(ticket.is_set() for ticket in (first, *late))
    let_end.set()
    for ticket in (first, *late):
        flusher.wait(ticket)
    assert len(flushes) == 2, "one that had begun before the three asked does not count for them"
    flusher.close()


def test_who_asked_before_the_end_is_served() -> None:
    flushes: list[int] = []
    flusher = Flusher(lambda: flushes.append(1))
    ticket = flusher.ask()
    flusher.close()
    flusher.wait(ticket)
    assert flushes


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), SystemExit("strange")])
def test_a_failure_is_told_to_everybody_from_then_on(problem: BaseException) -> None:
    answers: list[BaseException | None] = [problem, None]

    def flush() -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    flusher = Flusher(flush)
    flusher.check()
    with pytest.raises(LedgerError, match=r"No space|strange"):
        flusher.wait(flusher.ask())
    with pytest.raises(LedgerError, match=r"No space|strange"):
        flusher.check()
    with pytest.raises(LedgerError, match=r"No space|strange"):
        flusher.wait(flusher.ask())
    flusher.close()
