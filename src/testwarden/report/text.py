"""The report for a terminal: tables and small bars, 80 columns. Needs no library beyond what the agent needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from testwarden.metrics.summary import nearest_rank
from testwarden.report import strip, tables, words
from testwarden.report.facts import Facts, notes, nothing, span_of
from testwarden.report.tallies import Hour, Series, Tally, all_times, joined

WIDTH = 80
_BAR = 10
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MOST = 12
"""Rows of a list that can be long."""
_LEAST = 8
"""Columns below which a cell is not cut."""


def text(facts: Facts) -> str:
    """Given what was read, return the report as lines."""
    said = [f"testwarden report: {span_of(facts)}", *(f"note: {note}" for note in notes(facts))]
    body = _body(facts) if facts.axis else [nothing(facts)]
    return "\n".join(line.rstrip() for part in (*said, *body) for line in _wrapped(part))


def bar(share: float, width: int = _BAR) -> str:
    """Given a share from 0 to 1, return it as a bar of so many columns."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return (_EIGHTHS[8] * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _body(facts: Facts) -> Iterator[str]:
    samples = facts.samples
    total = joined(tally.total for tally in samples.tallies.values())
    yield f"{_total(total)} All times are UTC."
    if facts.several:
        yield from _titled("Agents", grid(tables.agents(samples).heads, tables.agents(samples).rows, 1))
    yield from _titled("Tests", _tests(facts))
    yield from _titled(f"Outcomes by the hour, UTC    {_levels()}", _hours(facts))
    kinds = [(words.kind(kind), total.ended[kind]) for kind in tables.kinds_of(samples)]
    heads = ("attempts not ok", "attempts", "share", "")
    rows = [
        (name, words.count(number), words.share(number, total.count), bar(number / total.count, 20))
        for name, number in kinds
    ]
    yield from _titled("Kinds of errors", grid(heads, rows, 1))
    reasons = tables.reasons(samples, _MOST)
    yield from _titled(reasons.title, grid(reasons.heads, reasons.rows, 4))
    yield from _titled("Throughput of attempts that were ok", _throughput(facts))
    yield from _titled("Costs", _costs(facts))
    yield from _titled("k6, HTTP requests", _k6(facts))
    budgets = tables.budgets(facts.states)
    yield from _titled(
        "Budgets, the most that was used", grid(budgets.heads[:-1], [row[:-1] for row in budgets.rows], 2)
    )
    periods = tables.periods(facts.states)
    yield from _titled("Kill switch not clear, the newest last", grid(periods.heads, periods.rows[-_MOST:], 2))


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> list[str]:
    """Given heads, rows and how many columns on the left are words, return lines of at most WIDTH columns.

    Where that is not enough the widest words are cut.
    """
    cells = [tuple(heads), *map(tuple, rows)]
    if len(cells) == 1:
        return []
    widths = [max(cell_len(row[at]) for row in cells) for at in range(len(heads))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widest = max(range(texts), key=lambda at: widths[at])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return ["  ".join(_cell(cell, width, at < texts) for at, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in cells]  # fmt: skip


def _cell(content: str, width: int, is_text: bool) -> str:
    if cell_len(content) > width:
        content = set_cell_size(content, width - 1) + "…"
    space = " " * (width - cell_len(content))
    return content + space if is_text else space + content


def _titled(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"{line}" for line in lines)


def _total(total: Hour) -> str:
    ok = words.share(total.ok, total.count)
    return f"{words.counted(total.count, 'attempt')}, {ok} of them ok, {words.size(total.bytes)} moved."


def _tests(facts: Facts) -> list[str]:
    heads = ("test", "agent", "attempts", "ok", "", "p50", "p95", "max")
    rows = [_test(*item) for item in tables.by_series(facts.samples) if item[1].hours]
    return grid(heads, rows, 2)


def _test(series: Series, tally: Tally) -> tuple[str, ...]:
    total, times = tally.total, all_times([tally])
    durations = [
        words.seconds(nearest_rank(times, percent) / 1e6) if times else words.NONE for percent in (50, 95, 100)
    ]
    ok = words.share(total.ok, total.count)
    return (series.kind, series.agent, words.count(total.count), ok, bar(total.ok / total.count), *durations)


def _levels() -> str:
    least = "".join(
        f"{block} {name}  " for block, name in zip(strip.BLOCKS, ("all", "≥95%", "≥80%", "≥50%", "less"), strict=True)
    )
    return f"{least}· none"


def _hours(facts: Facts) -> list[str]:
    span = facts.samples.span
    if span is None:
        return []
    named = facts.samples.by(lambda series: series.agent)
    lines: list[str] = []
    for agent in facts.samples.agents:
        hours: dict[int, list[Hour]] = {}
        for tally in named[agent]:
            for at, hour in tally.hours.items():
                hours.setdefault(at, []).append(hour)
        lines += [f"{agent if facts.several else '':30.30} 00    06    12    18"] + [
            f"{words.day(day):>30} {''.join(_block(hours.get(at)) for at in range(day, day + 24))}"
            for day in strip.days(*span)
        ]
    return lines


def _block(hours: list[Hour] | None) -> str:
    return strip.BLOCKS[strip.level(joined(hours))] if hours else "·"


def _throughput(facts: Facts) -> list[str]:
    found = tables.throughput(facts.samples)
    return grid(found.heads[:5], [row[:5] for row in found.rows], 2)


def _costs(facts: Facts) -> list[str]:
    rows = []
    for (kind, agent), total in _by_kind(facts):
        if total.costs is not None:
            cost = total.costs
            rows.append((kind, agent, words.count(cost.count), *map(words.ant, (cost.least, cost.mean, cost.most))))
    return grid(("test", "agent", "with a cost", "least", "mean", "most"), rows, 2)


def _k6(facts: Facts) -> list[str]:
    rows = []
    for (_, agent), total in _by_kind(facts):
        if total.k6 is not None:
            run = total.k6
            rows.append((agent, words.count(run.runs), words.count(run.requests), words.share(run.failed, run.requests),
                         f"{run.rps / run.runs:.3g}/s", words.seconds(run.p95 / run.runs), words.seconds(run.slowest),
                         f"{words.count(run.thresholds_failed)} runs"))  # fmt: skip
    heads = ("agent", "runs", "requests", "failed", "rate", "p95", "max", "thresholds failed")
    return grid(heads, rows, 1)


def _by_kind(facts: Facts) -> Iterator[tuple[tuple[str, str], Hour]]:
    for series, tally in tables.by_series(facts.samples):
        yield (series.kind, series.agent), tally.total


def _wrapped(line: str) -> list[str]:
    """A sentence in lines of at most WIDTH columns; a row of a table is short enough already."""
    if cell_len(line) <= WIDTH:
        return [line]
    found = [""]
    for word in line.split(" "):
        longer = f"{found[-1]} {word}" if found[-1] else word
        if cell_len(longer) <= WIDTH:
            found[-1] = longer
        else:
            found.append(word)
    return found
