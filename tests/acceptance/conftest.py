"""What the acceptance tests share: working folders, and a clock that makes it any time of day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from acceptance.long_runs import LongRuns, run_all
from acceptance.steered import IN_THE_WINDOW, TOKEN, NewSteered, Steered
from standins.agent_process import Place
from standins.github_server import github


@pytest.fixture(scope="session")
def long_runs() -> Iterator[LongRuns]:
    """Agents of several tests that need most of a minute each, all at the same time."""
    with ExitStack() as stack:
        yield run_all(stack)


@pytest.fixture(scope="session")
def faketime() -> str:
    """Return the path of Debian's libfaketime."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        why = "libfaketime is missing (Debian: apt install faketime): the cycle of others' networks takes an hour"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return str(found[0])


@pytest.fixture(scope="module")
def new_steered(tmp_path_factory: pytest.TempPathFactory, faketime: str) -> Iterator[NewSteered]:
    """Return what makes a folder for agents that GitHub steers, given a name and a time of day."""
    with ExitStack() as stack:

        def make(name: str, time_of_day: str = IN_THE_WINDOW) -> Steered:
            place = Place(tmp_path_factory.mktemp(name))
            return Steered(place, stack.enter_context(github(token=TOKEN)), faketime, time_of_day)

        yield make
