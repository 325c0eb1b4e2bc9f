"""The kinds of charts: values in, painting out. They know nothing of samples. Needs the extra `report`.

Every series has a colour of its own and, where points stand for it, a mark of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from rich.cells import cell_len

from testwarden.console.text import cut
from testwarden.report import words
from testwarden.report.axis import Axis, decades
from testwarden.report.svg import CARD, KILL, LINE, QUIET, TEXT, colour

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_ROW = 30.0
"""CSS pixels of a row."""
_PANEL = 130.0
_TIME_AXIS = 42.0
_CHARACTER = 7.3
"""Of a label, about."""
_LONGEST_NAME = 24
_LONGEST_TITLE = 38
"""Characters."""
_PANEL_LEFT = 84.0
"""CSS pixels for what stands at the ticks."""
_MOST_MARKS = 14
_NARROW = 400.0
"""Charts of less width show less."""
_DECADE = 30
"""From this ratio of largest to smallest on, values are better seen on a logarithmic scale."""

Shade = tuple[float, float]
"""From when to when the kill switch stood, in hours since 1970-01-01 UTC."""


@dataclass(frozen=True)
class Curve:
    """One series over time."""

    number: int
    """Of its colour and mark."""
    points: Mapping[int, float]
    """By the first hour of a step."""
    least: Mapping[int, float] | None = None
    most: Mapping[int, float] | None = None
    """Between these a band is drawn."""


@dataclass(frozen=True)
class Panel:
    """Curves that are held against each other."""

    title: str
    curves: Sequence[Curve]
    say: Callable[[float], str]
    """Given a value, return it with its unit."""
    top: float | None = None
    """The end of a scale that is known beforehand, such as 100 %."""


@dataclass(frozen=True)
class Bar:
    """A row of shares: a share from 0 to 1 for each number of a colour, and what stands beside it."""

    name: str
    shares: Mapping[int, float]
    note: str


@dataclass(frozen=True)
class Spread:
    """A row of durations, in seconds: by number of a colour the median, p95 and the largest."""

    name: str
    marks: Mapping[int, tuple[float, float, float]]
    density: Sequence[tuple[float, float]] = ()
    """How many there are (0 to 1) at which duration: (seconds, height)."""


def rows_height(rows: int) -> float:
    """CSS pixels that so many rows take."""
    return 54 + _ROW * rows


def panels_height(panels: int) -> float:
    """CSS pixels that so many panels take."""
    return _TIME_AXIS + _PANEL * panels


def stack(figure: Figure, layers: Mapping[int, Mapping[int, float]], axis: Axis, shades: Sequence[Shade]) -> None:
    """Paint numbers over time, one upon the other: by number of a colour and first hour of a step."""
    axes = figure.subplots()
    _margins(figure, left=58, top=10)
    edges = [*axis.steps, axis.last + 1]
    below = [0.0] * len(edges)
    for number, layer in layers.items():
        values = [layer.get(step, 0.0) for step in axis.steps]
        above = [low + value for low, value in zip(below, [*values, values[-1]], strict=True)]
        axes.fill_between(edges, below, above, step="post", color=colour(number), linewidth=0)
        axes.step(edges, above, where="post", color=CARD, linewidth=0.4)
        below = above
    axes.set_ylim(0, max(below) * 1.08 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.count(value)))
    axes.set_ylabel(f"attempts per {words.hours(axis.width)}")
    _time(axes, axis, shades, figure)


def curves(figure: Figure, panels: Sequence[Panel], axis: Axis, shades: Sequence[Shade]) -> None:
    """Paint curves over time, panels one below the other."""
    _margins(figure, left=_PANEL_LEFT, top=24)
    # What is between panels, as a share of their own height.
    figure.subplots_adjust(hspace=30 / (_PANEL - 30))
    for axes, panel in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True):
        # From the left edge of the picture: on a phone the axes alone are too narrow for it.
        axes.set_title(cut(panel.title, _LONGEST_TITLE), x=-_PANEL_LEFT / axes.bbox.width)
        for curve in panel.curves:
            _curve(axes, curve, axis, has_band=len(panel.curves) == 1)
        _scale(axes, panel)
        _time(axes, axis, shades, figure)
        axes.label_outer()


def bars(figure: Figure, rows: Sequence[Bar]) -> None:
    """Paint shares: a bar where a row has one, marks where it has several."""
    axes, narrow = figure.subplots(), _is_narrow(figure)
    beside = 24.0 if narrow else 12 + _CHARACTER * max(len(row.note) for row in rows)
    _margins(figure, left=_names_width([row.name for row in rows]), right=beside)
    are_bars = len({number for row in rows for number in row.shares}) == 1
    for at, row in enumerate(rows):
        _shares(axes, at, row, are_bars=are_bars)
        note = "" if narrow else row.note
        axes.annotate(note, (1, at), (8, 0), textcoords="offset points", va="center", color=QUIET, size=11)
    _rows(axes, [row.name for row in rows])
    # A bar begins at 0. Marks need not, and are told apart better where they spread.
    least = min(part for row in rows for part in row.shares.values())
    axes.set_xlim(0.0 if are_bars else max(0.0, math.floor(least * 10 - 0.5) / 10), 1)
    axes.xaxis.set_major_locator(MaxNLocator(3 if narrow else 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.set_xlabel("attempts that were ok")


def spreads(figure: Figure, rows: Sequence[Spread]) -> None:
    """Paint durations on a logarithmic scale: from the median to the largest, above them how many took how long."""
    axes = figure.subplots()
    _margins(figure, left=_names_width([row.name for row in rows]))
    values = [value for row in rows for marks in row.marks.values() for value in marks if value > 0]
    values += [at for row in rows for at, _ in row.density]
    low, high = min(values, default=0.001) / 1.3, max(values, default=1.0) * 1.3
    for at, row in enumerate(rows):
        _hill(axes, at, row)
        lanes = _lanes(row.marks)
        for number, marks in row.marks.items():
            _range(axes, at + lanes[number], number, [max(low, mark) for mark in marks])
    _rows(axes, [row.name for row in rows])
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(decades(low, high, 4 if _is_narrow(figure) else 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.seconds(value)))
    axes.set_xlabel("duration, logarithmic scale")


def _hill(axes: Axes, at: int, row: Spread) -> None:
    if row.density:
        xs, heights = zip(*row.density, strict=True)
        axes.fill_between(xs, at, [at - 0.75 * height for height in heights], color=colour(0), alpha=0.3, linewidth=0)


def _range(axes: Axes, lane: float, number: int, marks: Sequence[float]) -> None:
    median, p95, largest = marks
    axes.plot([median, largest], [lane, lane], color=colour(number), linewidth=1.5)
    _mark(axes, median, lane, number)
    axes.plot([p95], [lane], marker="|", markersize=11, markeredgewidth=2.5, color=colour(number))
    axes.plot([largest], [lane], marker="x", markersize=6, markeredgewidth=1.8, color=colour(number))


def _curve(axes: Axes, curve: Curve, axis: Axis, *, has_band: bool) -> None:
    """A line through neighbouring steps only: between others nothing was measured."""
    middle = axis.width / 2
    steps = list(axis.steps)
    values = [curve.points.get(step, math.nan) for step in steps]
    xs = [step + middle for step in steps]
    if has_band and curve.least is not None and curve.most is not None:
        low = [curve.least.get(step, math.nan) for step in steps]
        high = [curve.most.get(step, math.nan) for step in steps]
        axes.fill_between(xs, low, high, color=colour(curve.number), alpha=0.25, linewidth=1)
    axes.plot(xs, values, color=colour(curve.number), marker=MARKS[curve.number % len(MARKS)], markersize=5.5, linewidth=1.3,
              markevery=_marked(values), markeredgewidth=0.5, markeredgecolor=CARD)  # fmt: skip


def _marked(values: Sequence[float]) -> list[int]:
    """Which points get their mark: some tell which curve it is, and a point without neighbours is nothing else."""
    apart = max(1, len(values) // _MOST_MARKS)
    known = [not math.isnan(value) for value in values]
    alone = [not any(known[max(0, at - 1) : at] + known[at + 1 : at + 2]) for at in range(len(values))]
    return [at for at in range(len(values)) if known[at] and (alone[at] or at % apart == 0)]


def _scale(axes: Axes, panel: Panel) -> None:
    values = [v for c in panel.curves for part in (c.points, c.least or {}, c.most or {}) for v in part.values()]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if panel.top is None and low > 0 and high / low > _DECADE:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
        axes.yaxis.set_major_locator(FixedLocator(decades(low, high, 4)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, max(panel.top or 0, high) * 1.08 or 1)
        axes.yaxis.set_major_locator(
            MaxNLocator(4) if panel.top is None else FixedLocator([0, panel.top / 2, panel.top])
        )
    if panel.top is not None and high > panel.top * 0.8:
        axes.axhline(panel.top, color=TEXT, linewidth=1, linestyle="--")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: panel.say(value)))


def _time(axes: Axes, axis: Axis, shades: Sequence[Shade], figure: Figure) -> None:
    apart, ticks = axis.ticks(4 if _is_narrow(figure) else 8)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(round(value), apart)))
    axes.set_xlim(axis.first, axis.last + 1)
    axes.set_xlabel("time, UTC")
    for begin, end in shades:
        # What is thinner than a line is shown as one.
        least = (axis.last + 1 - axis.first) / 300
        axes.axvspan(begin, max(end, begin + least), facecolor="none", edgecolor=KILL, hatch="////", linewidth=0)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [cut(name, _LONGEST_NAME) for name in names])
    axes.tick_params(axis="y", labelcolor=TEXT, length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(names) - 0.4, -0.9)


def _shares(axes: Axes, at: int, row: Bar, *, are_bars: bool) -> None:
    lanes = _lanes(row.shares)
    for number, part in row.shares.items():
        if are_bars:
            axes.barh(at, 1, 0.62, color=LINE, alpha=0.45)
            axes.barh(at, part, 0.62, color=colour(number))
        else:
            _mark(axes, part, at + lanes[number], number)


def _mark(axes: Axes, x: float, y: float, number: int) -> None:
    axes.plot([x], [y], marker=MARKS[number % len(MARKS)], markersize=7.5, color=colour(number), clip_on=False,
              markeredgecolor=CARD, markeredgewidth=0.6, linestyle="none")  # fmt: skip


def _lanes(numbers: Mapping[int, object]) -> dict[int, float]:
    """By number, how far its lane is from the middle of the row."""
    many = len(numbers)
    return {number: (at - (many - 1) / 2) * min(0.22, 0.6 / many) for at, number in enumerate(numbers)}


def _names_width(names: Sequence[str]) -> float:
    """CSS pixels that the names of rows take on the left."""
    return 10 + _CHARACTER * max(min(_LONGEST_NAME, cell_len(name)) for name in names)


def _margins(figure: Figure, *, left: float, right: float = 24.0, top: float = 6.0) -> None:
    """Given what the axes leave free, in CSS pixels, set it. Letting the library measure it takes as long as drawing."""
    width, height = (size * 72 for size in figure.get_size_inches())
    figure.subplots_adjust(left / width, _TIME_AXIS / height, 1 - right / width, 1 - top / height)


def _is_narrow(figure: Figure) -> bool:
    return bool(figure.get_figwidth() * 72 < _NARROW)
