"""The tables of a report, as text. Each holds what the chart beside it shows. Cells are not escaped for HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from testwarden.metrics.summary import nearest_rank
from testwarden.model import TestType
from testwarden.report import words
from testwarden.report.axis import Axis
from testwarden.report.states import States
from testwarden.report.tallies import KINDS, NS_PER_HOUR, Hour, Samples, Series, Tally, all_rates, all_times, joined

MOST_ROWS = 1000


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    """So many columns on the left are words; the others are numbers."""


def table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]], texts: int = 1) -> Table:
    """Return a table; of too many rows the last ones, and the title says so."""
    found = tuple(tuple(row) for row in rows)
    if len(found) > MOST_ROWS:
        title = f"{title} (the last {words.count(MOST_ROWS)} of {words.count(len(found))} rows)"
    return Table(title, tuple(heads), found[-MOST_ROWS:], texts)


def by_series(samples: Samples) -> list[tuple[Series, Tally]]:
    """Return the series in the order in which they are shown: by type and size, then agent."""
    return sorted(samples.tallies.items(), key=lambda item: (item[0].type, item[0].size, item[0].agent))


def agents(samples: Samples) -> Table:
    """How the agents compare."""
    named = samples.by(lambda series: series.agent)
    heads = ("agent", "attempts", "ok", "p50", "p95", "data moved", "hours active")
    return table("Agents", heads, [(agent, *_agent_row(named[agent])) for agent in samples.agents])


def _agent_row(tallies: list[Tally]) -> tuple[str, ...]:
    total, times = joined(tally.total for tally in tallies), all_times(tallies)
    hours = {hour for tally in tallies for hour in tally.hours}
    return (
        words.count(total.count),
        words.share(total.ok, total.count),
        *(_duration(times, percent) for percent in (50, 95)),
        words.size(total.bytes),
        words.count(len(hours)),
    )


def ran(samples: Samples) -> Table:
    """What ran, and how much of it was ok."""
    heads = (
        "test",
        "agent",
        "attempts",
        "ok",
        "share ok",
        "retries",
        "data moved",
        "first hour, UTC",
        "last hour, UTC",
    )
    return table("Tests", heads, [_ran_row(*item) for item in by_series(samples)], texts=2)


def _ran_row(series: Series, tally: Tally) -> tuple[str, ...]:
    total = tally.total
    return (
        series.kind,
        series.agent,
        words.count(total.count),
        words.count(total.ok),
        words.share(total.ok, total.count),
        words.count(tally.retries),
        words.size(total.bytes),
        words.hour(min(tally.hours)) if tally.hours else words.NONE,
        words.hour(max(tally.hours)) if tally.hours else words.NONE,
    )


def attempts(samples: Samples, axis: Axis) -> Table:
    """How many attempts of which type, over time."""
    types = samples.by(lambda series: series.type)
    steps = {name: axis.stepped(tallies) for name, tallies in types.items()}
    heads = (f"{words.hours(axis.width)} from, UTC", *(f"{name}, attempts" for name in types))
    rows = [(words.hour(at), *(words.count(steps[name][at].count if at in steps[name] else 0) for name in types))
            for at in axis.steps]  # fmt: skip
    return table("Attempts over time", heads, rows)


def errors(samples: Samples, axis: Axis) -> Table:
    """How many attempts were not ok, by kind and time; steps without any are left out."""
    steps = axis.stepped(samples.tallies.values())
    kinds = kinds_of(samples)
    heads = (f"{words.hours(axis.width)} from, UTC", *(words.kind(kind) for kind in kinds), "of attempts")
    rows = [(words.hour(at), *(words.count(hour.ended[kind]) for kind in kinds), words.count(hour.count))
            for at, hour in steps.items() if hour.count > hour.ok]  # fmt: skip
    return table("Attempts that were not ok", heads, rows)


def kinds_of(samples: Samples) -> list[str]:
    """Return how attempts ended that were not ok."""
    total = joined(hour for tally in samples.tallies.values() for hour in tally.hours.values())
    return [kind for kind in KINDS if total.ended[kind]]


def reasons(samples: Samples, most: int = 25) -> Table:
    """Why attempts were not ok, the most frequent reasons first."""
    often = sorted(samples.reasons.items(), key=lambda item: (-item[1], item[0]))[:most]
    rows = [(words.count(number), kind, words.kind(ended), reason) for (kind, ended, reason), number in often]
    return Table("Most frequent reasons", ("attempts", "type", "ended", "reason"), tuple(rows), texts=4)


def durations(samples: Samples) -> Table:
    """How long attempts took, those that failed included."""
    heads = ("test", "agent", "attempts", "p50", "p95", "max")
    return table("Durations", heads, [_duration_row(*item) for item in by_series(samples)], texts=2)


def _duration_row(series: Series, tally: Tally) -> tuple[str, ...]:
    times = all_times([tally])
    return (
        series.kind,
        series.agent,
        words.count(len(times)),
        *(_duration(times, percent) for percent in (50, 95, 100)),
    )


def _duration(times: list[int], percent: int) -> str:
    return words.seconds(nearest_rank(times, percent) / 1e6) if times else words.NONE


def throughput(samples: Samples) -> Table:
    """How fast data moved, of attempts that were ok."""
    rows = []
    for series, tally in by_series(samples):
        rates = all_rates([tally])
        if rates and series.type != TestType.K6.value:
            middle, low = rates[len(rates) // 2], rates[len(rates) // 20]
            every = tally.total.throughput or 0.0
            rows.append((series.kind, series.agent, words.count(len(rates)),
                         *map(words.rate, (every, middle, low, rates[-1]))))  # fmt: skip
    heads = ("test", "agent", "attempts", "all together", "median", "slowest 5 % below", "fastest")
    return table("Throughput", heads, rows, texts=2)


def costs(samples: Samples, axis: Axis) -> Table:
    """What quotes or uploads cost over time."""
    rows = []
    for name, tallies in samples.by(lambda series: series.kind).items():
        for at, hour in axis.stepped(tallies).items():
            if hour.costs is not None:
                cost = hour.costs
                amounts = map(words.ant, (cost.least, cost.mean, cost.most))
                rows.append((words.hour(at), name, words.count(cost.count), *amounts))
    heads = (f"{words.hours(axis.width)} from, UTC", "test", "attempts with a cost", "least", "mean", "most")
    return table("Costs", heads, rows, texts=2)


def hours(samples: Samples) -> Table:
    """The outcomes of each hour."""
    groups: dict[tuple[int, str, str], list[Hour]] = {}
    for series, tally in samples.tallies.items():
        for at, hour in tally.hours.items():
            groups.setdefault((at, series.agent, series.type), []).append(hour)
    rows = []
    for (at, agent, kind), found in sorted(groups.items()):
        total = joined(found)
        rows.append((words.hour(at), agent, kind, words.count(total.count), words.share(total.ok, total.count)))
    return table("Outcomes by the hour", ("hour, UTC", "agent", "type", "attempts", "ok"), rows, texts=3)


def k6(samples: Samples, axis: Axis) -> Table:
    """What the k6 runs measured, over time."""
    heads = (
        "from, UTC",
        "agent",
        "runs",
        "requests",
        "failed",
        "requests/s",
        "p50",
        "p95",
        "max",
        "checks failed",
        "thresholds failed",
    )
    rows = []
    for agent, tallies in samples.by(lambda series: series.agent).items():
        for at, hour in axis.stepped(tallies).items():
            if hour.k6 is not None:
                run = hour.k6
                rows.append((words.hour(at), agent, words.count(run.runs), words.count(run.requests),
                             words.share(run.failed, run.requests), f"{run.rps / run.runs:.3g}/s",
                             *map(words.seconds, (run.p50 / run.runs, run.p95 / run.runs, run.slowest)),
                             words.count(run.checks_failed), f"{words.count(run.thresholds_failed)} runs"))  # fmt: skip
    return table("k6 runs", heads, sorted(rows), texts=2)


def budgets(states: States) -> Table:
    """How much of each budget was used at most."""
    rows = []
    for agent, named in sorted(states.uses.items()):
        for budget, by_hour in named.items():
            at, use = max(by_hour.items(), key=lambda item: (item[1].share, -item[0]))
            if use.limit:
                say = amount(budget)
                rows.append((agent, budget_name(budget), say(use.used), say(use.limit),
                             words.share(use.used, use.limit), words.hour(at)))  # fmt: skip
    return table("Budgets", ("agent", "budget", "used at most", "limit", "share", "in the hour, UTC"), rows, texts=2)


def budget_name(budget: str) -> str:
    """Given the name of a budget in the lines, return what it limits."""
    known = {"bytes": "data in a day", "ant": "funds in a day"}
    return known.get(budget, f"{budget} attempts in an hour")


def amount(budget: str) -> Callable[[float], str]:
    """Return what says an amount of a budget with its unit."""
    return {"bytes": words.size, "ant": words.ant}.get(budget, words.count)


def periods(states: States) -> Table:
    """When the kill switch was not clear."""
    rows = [(period.agent, period.state, words.moment(period.begin), words.moment(period.end),
             words.seconds((period.end - period.begin) / 1e9)) for period in states.periods]  # fmt: skip
    return table("Kill switch not clear", ("agent", "kill switch", "from, UTC", "to, UTC", "for"), rows, texts=4)


def shades(states: States) -> list[tuple[float, float]]:
    """Return the periods in which an agent saw an active kill switch, joined over all agents, in hours."""
    found: list[tuple[float, float]] = []
    spans = [(one.begin / NS_PER_HOUR, one.end / NS_PER_HOUR) for one in states.periods if one.state == "active"]
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found
