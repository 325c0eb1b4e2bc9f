"""The heat strip: a cell for each hour, a row for each day, coloured by how much was ok. Needs no library."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from testwarden.report import words
from testwarden.report.tallies import Hour

MOST_DAYS = 35
_CELL = 11
_LEFT = 46
_TOP = 16
LEVELS = ((1.0, "all ok"), (0.95, "95 % or more"), (0.8, "80 % or more"), (0.5, "50 % or more"), (0.0, "less"))
"""From which share of ok attempts on an hour has the level: its colour is `--s0` … in the page."""
BLOCKS = "█▓▒░×"
"""The levels in a terminal."""


def level(hour: Hour) -> int:
    """Given an hour with attempts, return its level, 0 is the best."""
    part = hour.ok / hour.count
    return next(at for at, (least, _) in enumerate(LEVELS) if part >= least)


def days(first: int, last: int) -> list[int]:
    """Given two hours since 1970-01-01 UTC, return the first hour of each day between, the newest MOST_DAYS of them."""
    return list(range(first // 24 * 24, last + 1, 24))[-MOST_DAYS:]


def grid(hours: Mapping[int, Hour], first: int, last: int, stopped: Collection[int]) -> str:
    """Given hours, from when to when, and the hours in which the kill switch was active, return an `<svg>`."""
    rows = days(first, last)
    height = _TOP + _CELL * len(rows)
    heads = "".join(f'<text x="{_LEFT + _CELL * at}" y="11">{at:02d}</text>' for at in (0, 6, 12, 18))
    body = "".join(_row(day, _TOP + _CELL * at, hours, stopped) for at, day in enumerate(rows))
    return f'<svg class="grid" viewBox="0 0 {_LEFT + _CELL * 24} {height}" aria-hidden="true">{heads}{body}</svg>'


def _row(day: int, top: int, hours: Mapping[int, Hour], stopped: Collection[int]) -> str:
    cells = "".join(
        _cell(_LEFT + _CELL * at, top, day + at, hours.get(day + at), day + at in stopped) for at in range(24)
    )
    return f'<text x="0" y="{top + 9}">{words.day(day)}</text>{cells}'


def _cell(left: int, top: int, at: int, hour: Hour | None, is_stopped: bool) -> str:
    said = f"{words.hour(at)} UTC: "
    said += f"{words.count(hour.ok)} of {words.count(hour.count)} attempts ok" if hour else "no attempts"
    box = f'x="{left}" y="{top}" width="{_CELL - 1}" height="{_CELL - 1}"'
    rect = f'<rect class="{f"s{level(hour)}" if hour else "none"}" {box}>' + f"<title>{said}</title></rect>"
    return rect + (f'<path class="stop" d="M{left} {top + 10}l10-10"/>' if is_stopped else "")
