"""docs/metrics.md, read: its tables as a schema, its example lines, its queries with their output.

`python tests/standins/documented.py` writes the outputs anew; a test compares them. Needs influxd.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tabulate import tabulate

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
TYPES = {"boolean": bool, "integer": int, "float": float, "string": str}
_SECTION = re.compile(r"^## Measurement `(\w+)`$(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (`[^|]+`) \| (tag|boolean|integer|float|string) \|([^|]*)\|([^|]*)\|", re.MULTILINE)
_NAME = re.compile(r"`(\w+)`")
_LINE = re.compile(r"```\n(testwarden\w*,.*?)\n```", re.DOTALL)
_QUERY = re.compile(r"```sql\n(SELECT.*?)\n```\n+```text\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Measurement:
    """What the page says of one measurement."""

    tags: list[str]
    """In the order of the lines."""
    fields: Mapping[str, type]
    always: frozenset[str]
    """Fields that every line has."""
    example: str


def measurements() -> dict[str, Measurement]:
    """Return what the page says of each measurement."""
    return {name: _measurement(text) for name, text in _SECTION.findall(PAGE.read_text(encoding="utf-8"))}


def _measurement(text: str) -> Measurement:
    rows = [(_NAME.findall(names), kind, when.strip()) for names, kind, _, when in _ROW.findall(text)]
    example = _LINE.search(text)
    assert example is not None
    return Measurement(
        [name for names, kind, _ in rows if kind == "tag" for name in names],
        {name: TYPES[kind] for names, kind, _ in rows if kind != "tag" for name in names},
        frozenset(name for names, kind, when in rows if kind != "tag" and when == "always" for name in names),
        example[1],
    )


def queries() -> list[str]:
    """Return the queries of the page."""
    return [query for query, _ in _QUERY.findall(PAGE.read_text(encoding="utf-8"))]


def python_examples() -> list[str]:
    """Return the pieces of Python."""
    return _PYTHON.findall(PAGE.read_text(encoding="utf-8"))


def with_outputs(text: str, ask: Callable[[str], list[dict[str, Any]]]) -> str:
    """Given the page and what answers InfluxQL, return the page with every query's output."""
    return _QUERY.sub(lambda found: f"```sql\n{found[1]}\n```\n\n```text\n{shown(ask(found[1]))}\n```", text)


def shown(rows: list[dict[str, Any]]) -> str:
    """Given rows, return them as a table: times in UTC, numbers with at most six digits that count."""
    assert rows, "a query of the page finds nothing"
    ordered = [{name: row[name] for name in _columns(row)} for row in rows]
    if all(row.get("time") == 0 for row in ordered):
        ordered = [
            {name: value for name, value in row.items() if name != "time"} for row in ordered
        ]  # no time was asked
    cells = [[_cell(name, value) for name, value in row.items()] for row in ordered]
    return tabulate(cells, headers=list(ordered[0]), tablefmt="plain", disable_numparse=True)


def _columns(row: dict[str, Any]) -> list[str]:
    """Tags that were grouped by come last from the server, and are read first."""
    tags = [name for name in ("agent", "type", "filesize", "task") if name in row]
    return [name for name in ("time", *tags, *row) if name in row and (name != "time" or row["time"] is not None)]


def _cell(name: str, value: Any) -> str:
    if name == "time":
        return datetime.fromtimestamp(value // 10**9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def main() -> None:
    """Write the outputs anew."""
    from standins.influxd import running_influxd
    from standins.measured import measured

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "influxd").mkdir()
        with running_influxd(Path(folder) / "influxd") as server:
            assert server.write(measured(Path(folder) / "measured").all) == ""
            PAGE.write_text(with_outputs(PAGE.read_text(encoding="utf-8"), server.query), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
