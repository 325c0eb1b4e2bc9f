"""Schemathesis asks every route what its own description allows, and what it does not, on a real server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

from standins.api_door import TOKEN, MemoryDoor, served

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The OpenAPI description of an agent that was told to close its streams, so that the log ends by itself."""
    door = MemoryDoor(tmp_path_factory.mktemp("api"))
    door.say("a line")
    with served(door, token=TOKEN) as server:
        server._closing.set()
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=HEADERS)
        server._closing.clear()


def ask_everything(operations: Iterable[Any], without: Sequence[Any] = ()) -> int:
    """Ask each operation for what its description allows and for what it does not; return how many there are."""
    count = 0
    for found in operations:
        operation = found.ok()

        @BOUNDED
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=HEADERS, excluded_checks=list(without), timeout=20)

        ask()
        count += 1
    return count


def test_our_own_routes_do_what_they_say(schema: Any) -> None:
    assert ask_everything(schema.exclude(path_regex="^/api/v1/").get_all_operations()) == 19


def test_the_routes_for_orchestrators_do_what_they_say(schema: Any) -> None:
    """What they do not understand is HTTP 200 and an error in the text, because callers look at that."""
    told_in_text = CHECKS.get_by_names(["negative_data_rejection"])
    assert ask_everything(schema.include(path_regex="^/api/v1/").get_all_operations(), told_in_text) == 11
