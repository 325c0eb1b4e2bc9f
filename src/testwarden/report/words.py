"""Numbers and times for a person: always with their unit, times in UTC."""

from __future__ import annotations

from datetime import datetime, timezone

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NONE = "–"
_BYTES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SMALL = ((1.0, "s"), (1e-3, "ms"), (0.0, "µs"))


def count(number: float) -> str:
    """A number of things, such as `12,345`."""
    return f"{number:,.0f}"


def counted(number: int, what: str) -> str:
    """Given a number of things and what one is called, return `1 sample`, `2 samples`."""
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """`98.2 %`; never 100 % where something is missing, never 0 % where something is there."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent % 100 else f"{percent:.0f} %"


def seconds(value: float) -> str:
    """A duration: `1.2 ms`, `12.3 s`, `2.5 h`."""
    if value >= 7200:
        return f"{value / 3600:.3g} h" if value < 3.6e6 else f"{value / 3600:,.0f} h"
    if value >= 120:
        return f"{value / 60:.3g} min"
    if value == 0:
        return "0 s"
    unit, name = next((unit, name) for unit, name in _SMALL if value >= unit)
    return f"{value / (unit or 1e-6):.3g} {name}"


def size(value: float) -> str:
    """Bytes, decimal: `12.3 MB`."""
    unit, name = next(((unit, name) for unit, name in _BYTES if value >= unit), (1, "B"))
    number = value / unit
    return f"{number:,.0f} {name}" if number >= 1000 or unit == 1 else f"{number:.3g} {name}"


def rate(value: float) -> str:
    """Bytes a second: `12.3 MB/s`."""
    return f"{size(value)}/s"


def ant(value: float) -> str:
    """An amount of money: `0.0123 ANT`."""
    return f"{value:.4g} ANT"


def moment(stamp: float) -> str:
    """Given nanoseconds since 1970-01-01 UTC, return `2026-11-20 12:05`, which is UTC."""
    return f"{_utc(stamp / 1e9):%Y-%m-%d %H:%M}"


def hour(number: int) -> str:
    """Given a whole hour since 1970-01-01 UTC, return when it begins, as `moment`."""
    return moment(number * 3600e9)


def tick(number: int, step: int) -> str:
    """Given a whole hour and how many hours the ticks of an axis are apart, return what to write at it."""
    at = _utc(number * 3600)
    if step >= 24 * 28:
        return f"{MONTHS[at.month - 1]} {at.year}"
    return day(number) if step >= 24 or not at.hour else f"{at:%H:%M}"


def day(number: int) -> str:
    """Given a whole hour, return its day: `20 Nov`."""
    at = _utc(number * 3600)
    return f"{at.day} {MONTHS[at.month - 1]}"


def hours(number: int) -> str:
    """A width in hours: `hour`, `6 hours`, `day`, `7 days`."""
    if number == 1:
        return "hour"
    return "day" if number == 24 else f"{number // 24} days" if number % 24 == 0 else f"{number} hours"


def kind(name: str) -> str:
    """The name of a field or outcome: `client_error` → `client error`."""
    return name.replace("_", " ")


def _utc(seconds_since: float) -> datetime:
    return datetime.fromtimestamp(seconds_since, tz=timezone.utc)
