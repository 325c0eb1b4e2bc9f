"""The parts of the page: what each is called, what a reader must know, its chart and the table behind it. Needs the extra."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from testwarden.report import strip, tables, words
from testwarden.report.axis import Axis
from testwarden.report.facts import Facts
from testwarden.report.pictures import MOST_AGENTS, Picture, Pictures
from testwarden.report.tables import Table
from testwarden.report.tallies import NS_PER_HOUR, Hour, joined

MOST_GRIDS = 24


@dataclass(frozen=True)
class Grid:
    """A heat strip with its name."""

    name: str
    note: str
    svg: str


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    name: str
    """For links; letters and dashes."""
    title: str
    lead: str
    pictures: tuple[Picture, ...] = ()
    grids: tuple[Grid, ...] = ()
    tables: tuple[Table, ...] = ()
    is_open: bool = False
    """Whether the tables are seen without being asked for."""


def sections(facts: Facts, axis: Axis) -> list[Section]:
    """Given what was read and the axis of time, return the parts in the order of the page."""
    pictures = Pictures(facts, axis)
    return [*_what_ran(facts, axis, pictures), *_how_it_went(facts, axis, pictures), *_money(facts, axis, pictures),
            *_load(facts, axis, pictures), *_limits(facts, pictures)]  # fmt: skip


def _what_ran(facts: Facts, axis: Axis, pictures: Pictures) -> Iterator[Section]:
    samples = facts.samples
    if facts.several:
        lead = "The same figures for each agent. p50 and p95 are over all its attempts."
        if len(samples.agents) > MOST_AGENTS:
            lead += f" Charts show the {MOST_AGENTS} agents with most attempts; tables show all."
        yield Section("agents", "Agents compared", lead, tables=(tables.agents(samples),), is_open=True)
    yield Section("outcomes", "Outcomes by the hour", "Each cell is an hour, each row a day, times in UTC.",
                  grids=tuple(_grids(facts, axis)), tables=(tables.hours(samples),))  # fmt: skip
    yield Section("attempts", "What ran", f"Attempts that ended, per {words.hours(axis.width)}, by type of test.",
                  (pictures.attempts(),), tables=(tables.attempts(samples, axis),))  # fmt: skip


def _how_it_went(facts: Facts, axis: Axis, pictures: Pictures) -> Iterator[Section]:
    samples = facts.samples
    lead = "The share of attempts that were ok, by type and file size, and of how many."
    yield Section("success", "Success rate", lead, (pictures.success(),), tables=(tables.ran(samples),))
    errors = pictures.errors()
    lead = f"Attempts that were not ok, per {words.hours(axis.width)}." if errors else "Every attempt was ok."
    behind = (tables.errors(samples, axis), tables.reasons(samples)) if errors else ()
    yield Section("errors", "Kinds of errors", lead, (errors,) if errors else (), tables=behind)
    durations = pictures.durations()
    if durations:
        lead = "All attempts, failed ones too. The large mark is the median (p50), | is p95, × the largest."
        if not facts.several:
            lead += " The hills show how many attempts took how long."
        yield Section("durations", "Duration", lead, (durations,), tables=(tables.durations(samples),))
    throughput = pictures.throughput()
    if throughput:
        lead = f"Bytes moved by attempts that were ok, divided by the time they took, per {words.hours(axis.width)}, all sizes."
        yield Section("throughput", "Throughput", lead, (throughput,), tables=(tables.throughput(samples),))


def _money(facts: Facts, axis: Axis, pictures: Pictures) -> Iterator[Section]:
    picture = pictures.costs()
    if picture:
        lead = f"What was quoted and what uploads paid, in ANT: the mean per {words.hours(axis.width)}"
        lead += "." if facts.several else ", and from the least to the most."
        yield Section(
            "costs", "Cost of quotes and uploads", lead, (picture,), tables=(tables.costs(facts.samples, axis),)
        )


def _load(facts: Facts, axis: Axis, pictures: Pictures) -> Iterator[Section]:
    drawn = pictures.k6()
    if drawn:
        lead = f"What k6 says of the HTTP requests of its runs, per {words.hours(axis.width)}."
        yield Section("k6", "Load tests with k6", lead, tuple(drawn), tables=(tables.k6(facts.samples, axis),))


def _limits(facts: Facts, pictures: Pictures) -> Iterator[Section]:
    drawn, states = pictures.budgets(), facts.states
    if states.uses:
        lead = "The most that was used of each budget, in percent of its limit."
        if not drawn:
            lead = "Nothing was used of any budget."
        behind = (tables.budgets(states),)
        yield Section("budgets", "Budgets used", lead, tuple(drawn), tables=behind)
    if states.periods:
        lead = "When the kill switch was active nothing ran; when it was unknown nothing started."
        yield Section("kill-switch", "Kill switch", lead, tables=(tables.periods(states),), is_open=True)


def _grids(facts: Facts, axis: Axis) -> Iterator[Grid]:
    groups: dict[tuple[str, str], dict[int, list[Hour]]] = {}
    for series, tally in sorted(facts.samples.tallies.items()):
        for at, hour in tally.hours.items():
            groups.setdefault((series.agent, series.type), {}).setdefault(at, []).append(hour)
    span = facts.samples.span or (axis.first, axis.last)
    for (agent, kind), found in list(groups.items())[:MOST_GRIDS]:
        hours = {at: joined(parts) for at, parts in found.items()}
        total = joined(hours.values())
        note = f"{words.share(total.ok, total.count)} of {words.count(total.count)} attempts ok"
        name = f"{kind} · {agent}" if facts.several else kind
        yield Grid(name, note, strip.grid(hours, *span, _stopped(facts, agent)))


def _stopped(facts: Facts, agent: str) -> set[int]:
    """The hours in some part of which this agent saw an active kill switch."""
    return {at for one in facts.states.periods if one.agent == agent and one.state == "active"
            for at in range(one.begin // NS_PER_HOUR, one.end // NS_PER_HOUR + 1)}  # fmt: skip
