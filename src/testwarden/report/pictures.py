"""Which charts a report has, drawn wide and narrow. Needs the extra `report`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from matplotlib.figure import Figure

from testwarden.metrics.summary import nearest_rank
from testwarden.model import TestType
from testwarden.report import charts, words
from testwarden.report.axis import Axis
from testwarden.report.charts import Bar, Curve, Panel, Spread
from testwarden.report.facts import Facts
from testwarden.report.svg import draw
from testwarden.report.tables import budget_name, by_series, kinds_of, shades
from testwarden.report.tallies import KINDS, Hour, K6Hour, Series, Tally, all_times, joined

WIDE, NARROW = 560.0, 300.0
"""CSS pixels: half of a desktop page, and a phone of 360."""
MOST_AGENTS = 6
"""Agents whose curves can still be told apart."""
MOST_ROWS = 14
MOST_PANELS = 5
_BINS_PER_DECADE = 8


@dataclass(frozen=True)
class Picture:
    """One chart, for two widths of the page, and what its colours stand for."""

    wide: str
    narrow: str
    keys: tuple[tuple[int, str], ...] = ()
    """(number of the colour, name)."""
    is_filled: bool = False
    """Whether the colours stand for areas; else each has its mark."""
    is_shaded: bool = False
    """Whether periods of an active kill switch are shown."""


class Pictures:
    """Draws the charts of one report."""

    def __init__(self, facts: Facts, axis: Axis) -> None:
        """Given what was read and the axis of time."""
        self._facts = facts
        self._axis = axis
        self._samples = facts.samples
        self._shades = shades(facts.states)
        self._agents = facts.samples.agents[:MOST_AGENTS]
        self._agent_keys = tuple(enumerate(self._agents)) if facts.several else ()

    def attempts(self) -> Picture:
        """How many attempts of which type, over time."""
        types = list(self._samples.by(lambda series: series.type).items())
        layers = {at: {step: float(hour.count) for step, hour in self._axis.stepped(tallies).items()}
                  for at, (_, tallies) in enumerate(types)}  # fmt: skip
        return self._stack("attempts", layers, tuple((at, name) for at, (name, _) in enumerate(types)))

    def errors(self) -> Picture | None:
        """How many attempts were not ok, by kind and time; None where all were."""
        kinds = kinds_of(self._samples)
        steps = self._axis.stepped(self._samples.tallies.values())
        layers = {KINDS.index(kind): {step: float(hour.ended[kind]) for step, hour in steps.items()} for kind in kinds}
        keys = tuple((KINDS.index(kind), words.kind(kind)) for kind in kinds)
        return self._stack("errors", layers, keys) if kinds else None

    def success(self) -> Picture:
        """The share of ok attempts by type and size."""
        rows = [_bar(kind, found) for kind, found in self._rows()]
        return self._drawn(
            "success", lambda figure: charts.bars(figure, rows), charts.rows_height(len(rows)), self._agent_keys
        )

    def durations(self) -> Picture | None:
        """How long attempts took, by type and size; None where nothing was timed."""
        rows = [_spread(kind, found, density=not self._facts.several) for kind, found in self._rows()]
        rows = [row for row in rows if row.marks]
        height = charts.rows_height(len(rows))
        if not rows:
            return None
        return self._drawn("durations", lambda figure: charts.spreads(figure, rows), height, self._agent_keys)

    def throughput(self) -> Picture | None:
        """How fast data moved over time, a panel for each type; None where none was moved."""

        def value(hour: Hour) -> float | None:
            return hour.throughput

        def name(series: Series) -> str | None:
            return None if series.type == TestType.K6.value else series.type

        return self._over_time("throughput", self._panels(name, value, words.rate))

    def costs(self) -> Picture | None:
        """What quotes and uploads cost over time, a panel for each size; None where no cost is known."""

        def value(hour: Hour) -> float | None:
            return hour.costs.mean if hour.costs else None

        return self._over_time("costs", self._panels(lambda series: series.kind, value, words.ant, band=True))

    def k6(self) -> list[Picture]:
        """What k6 measured over time: requests a second and how many failed; how long they took."""
        found = (
            self._k6_panels("requests a second, mean of the runs", lambda run: run.rps / run.runs, _per_second)
            + self._k6_panels("requests that failed", lambda run: run.failed / max(1, run.requests), _percent),
            self._k6_panels("request, p50, mean of the runs", lambda run: run.p50 / run.runs, words.seconds)
            + self._k6_panels("request, p95, mean of the runs", lambda run: run.p95 / run.runs, words.seconds)
            + self._k6_panels("request, the slowest", lambda run: run.slowest, words.seconds),
        )
        names = ("k6-requests", "k6-durations")
        drawn = [self._over_time(name, panels) for name, panels in zip(names, found, strict=True)]
        return [picture for picture in drawn if picture is not None]

    def _k6_panels(self, title: str, measure: Callable[[K6Hour], float], say: Callable[[float], str]) -> list[Panel]:
        def value(hour: Hour) -> float | None:
            return measure(hour.k6) if hour.k6 else None

        return [Panel(title, panel.curves, say) for panel in self._panels(lambda series: series.type, value, say)]

    def budgets(self) -> list[Picture]:
        """How much of each budget was used, over time, a panel for each, in two columns."""
        names = {budget: None for agent in self._agents for budget in self._facts.states.uses.get(agent, {})}
        panels = []
        for budget in names:
            curves = [self._budget_curve(number, agent, budget) for number, agent in enumerate(self._agents)]
            used = [curve for curve in curves if any(curve.points.values())]
            if used:
                panels.append(Panel(budget_name(budget), used, _percent, top=1.0))
        half = -(-len(panels) // 2)
        drawn = [self._over_time("budgets-1", panels[:half]), self._over_time("budgets-2", panels[half:])]
        return [picture for picture in drawn if picture is not None]

    def _budget_curve(self, number: int, agent: str, budget: str) -> Curve:
        points: dict[int, float] = {}
        for hour, use in self._facts.states.uses.get(agent, {}).get(budget, {}).items():
            if self._axis.first <= hour <= self._axis.last and use.limit:
                step = self._axis.step_of(hour)
                points[step] = max(points.get(step, 0.0), use.share)
        return Curve(number, points)

    def _rows(self) -> list[tuple[str, dict[int, Tally]]]:
        """The types and sizes with most attempts, each with the tallies by the number of their agent."""
        series = [item for item in by_series(self._samples) if item[0].agent in self._agents and item[1].hours]
        rows = [(kind, {self._agents.index(one.agent): tally for one, tally in found})
                for kind, found in groupby(series, key=lambda item: item[0].kind)]  # fmt: skip
        busiest = sorted(rows, key=lambda row: -sum(tally.total.count for tally in row[1].values()))[:MOST_ROWS]
        return [row for row in rows if row in busiest]

    def _panels(
        self,
        name: Callable[[Series], str | None],
        value: Callable[[Hour], float | None],
        say: Callable[[float], str],
        *,
        band: bool = False,
    ) -> list[Panel]:
        """A panel for each name, in it a curve for each agent that has such values."""
        panels = []
        for title in self._samples.by(name):
            curves = []
            for number, agent in enumerate(self._agents):
                mine = [
                    tally for one, tally in self._samples.tallies.items() if one.agent == agent and name(one) == title
                ]
                steps = self._axis.stepped(mine)
                points = {step: found for step, hour in steps.items() if (found := value(hour)) is not None}
                if points:
                    curves.append(_banded(number, points, steps) if band else Curve(number, points))
            if curves:
                panels.append(Panel(title, curves, say))
        return panels[:MOST_PANELS]

    def _stack(self, name: str, layers: dict[int, dict[int, float]], keys: tuple[tuple[int, str], ...]) -> Picture:
        drawn = self._drawn(name, lambda figure: charts.stack(figure, layers, self._axis, self._shades), 240, keys)
        return replace(drawn, is_filled=True, is_shaded=bool(self._shades))

    def _over_time(self, name: str, panels: list[Panel]) -> Picture | None:
        if not panels:
            return None
        height = charts.panels_height(len(panels))

        def paint(figure: Figure) -> None:
            charts.curves(figure, panels, self._axis, self._shades)

        return replace(self._drawn(name, paint, height, self._agent_keys), is_shaded=bool(self._shades))

    def _drawn(
        self, name: str, paint: Callable[[Figure], None], height: float, keys: tuple[tuple[int, str], ...]
    ) -> Picture:
        wide, narrow = draw(paint, WIDE, height, f"{name}-w"), draw(paint, NARROW, height, f"{name}-n")
        return Picture(wide, narrow, keys)


def _banded(number: int, points: dict[int, float], steps: dict[int, Hour]) -> Curve:
    costs = {step: hour.costs for step, hour in steps.items() if hour.costs}
    return Curve(number, points, {at: c.least for at, c in costs.items()}, {at: c.most for at, c in costs.items()})


def _bar(kind: str, found: dict[int, Tally]) -> Bar:
    totals = {number: tally.total for number, tally in found.items()}
    every = joined(totals.values())
    note = f"{words.share(every.ok, every.count)} of {words.count(every.count)}"
    return Bar(kind, {number: total.ok / total.count for number, total in totals.items()}, note)


def _spread(kind: str, found: dict[int, Tally], *, density: bool) -> Spread:
    times = {number: all_times([tally]) for number, tally in found.items() if tally.times}
    marks = {
        number: tuple(nearest_rank(values, percent) / 1e6 for percent in (50, 95, 100))
        for number, values in times.items()
    }
    every = next(iter(times.values()), [])
    return Spread(kind, marks, _density(every) if density and len(every) > 1 else ())  # type: ignore[arg-type]  # three of them


def _density(micros: Iterable[int]) -> list[tuple[float, float]]:
    """Where durations lie on a logarithmic scale: (seconds, share of the fullest step)."""
    counts: dict[int, int] = {}
    for value in micros:
        if value > 0:
            step = math.floor(math.log10(value) * _BINS_PER_DECADE)
            counts[step] = counts.get(step, 0) + 1
    if not counts:
        return []
    fullest = max(counts.values())
    steps = range(min(counts) - 1, max(counts) + 2)
    return [(10 ** ((step + 0.5) / _BINS_PER_DECADE) / 1e6, counts.get(step, 0) / fullest) for step in steps]


def _per_second(value: float) -> str:
    return f"{value:.3g}/s"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
