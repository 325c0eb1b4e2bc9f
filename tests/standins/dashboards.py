"""The queries of Grafana's dashboards, ready to run: variables and macros filled in as Grafana does it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "InfluxDB"
DASHBOARDS = ("overview.json", "agent.json")
_VARIABLE = re.compile(r"\$\{(\w+):regex\}")
_SPECIAL = re.compile(r"([\\^$*+?.()|[\]{}/])")


@dataclass(frozen=True)
class Query:
    """One query of a panel, or of a variable."""

    title: str
    text: str

    def filled(self, values: Mapping[str, Sequence[str] | None], begin: int, end: int, interval: str = "1m") -> str:
        """Given the chosen values of each variable (None: all) and the time in nanoseconds, return InfluxQL."""
        time = f"time >= {begin // 10**6}ms AND time <= {end // 10**6}ms"
        text = self.text.replace("$timeFilter", time).replace("$__interval", interval)
        text = _VARIABLE.sub(lambda found: _regex(values[found[1]]), text)
        assert "$" not in text.replace("$/", ""), f"something is not filled in: {text}"
        return text


def _regex(chosen: Sequence[str] | None) -> str:
    if chosen is None:
        return ".*"
    escaped = [_SPECIAL.sub(r"\\\1", value) for value in chosen]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def read(name: str) -> Mapping[str, Any]:
    """Return a dashboard."""
    found: Mapping[str, Any] = json.loads((FOLDER / "dashboards" / name).read_text(encoding="utf-8"))
    return found


def panel_queries(board: Mapping[str, Any]) -> Iterator[Query]:
    """Return the queries of the panels."""
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield Query(panel["title"], target["query"])


def variable_queries(board: Mapping[str, Any]) -> Iterator[Query]:
    """Return the queries of the variables."""
    for variable in board["templating"]["list"]:
        yield Query(variable["name"], variable["query"])
