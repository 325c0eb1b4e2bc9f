"""The page: one HTML file without script, that asks for nothing from anywhere. Needs the extra `report`.

Everything that comes from files passes `html.escape`, and the page's own policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from testwarden.report import tables, words
from testwarden.report.facts import Facts, notes, nothing, span_of
from testwarden.report.pictures import Picture
from testwarden.report.sections import Grid, Section, sections
from testwarden.report.strip import LEVELS
from testwarden.report.svg import COLOURS
from testwarden.report.tables import Table
from testwarden.report.tallies import joined

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
MARKS = "●■▲◆▼✚✖★"
"""The marks of the charts as characters."""


def page(facts: Facts, version: str) -> str:
    """Given what was read, and name and version of this program, return the document."""
    axis = facts.axis
    body = "".join(map(_section, sections(facts, axis))) if axis else f"<p>{escape(nothing(facts))}</p>"
    style = files("testwarden.report").joinpath("page.css").read_text("utf-8")
    made = f"Made {words.moment(facts.now.timestamp() * 1e9)} UTC by {version}. Files read: {words.count(facts.files)}."
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>testwarden report, {escape(span_of(facts))}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>testwarden report</h1>
<p>{escape(span_of(facts))}. {_who(facts)} All times are UTC.</p>
</header>
<main>
{_notes(facts)}
{_figures(facts) if axis else ""}
{body}
</main>
<footer><p>{escape(made)}</p></footer>
</body>
</html>
"""


def _who(facts: Facts) -> str:
    names = facts.samples.agents
    if not names:
        return ""
    return escape(f"Agent {names[0]}." if len(names) == 1 else f"{words.count(len(names))} agents.")


def _notes(facts: Facts) -> str:
    said = notes(facts)
    items = "".join(f"<li>{escape(note)}</li>" for note in said)
    return f'<section class="notes wide" aria-label="Notes"><ul>{items}</ul></section>' if said else ""


def _figures(facts: Facts) -> str:
    """The few numbers to be seen first."""
    total = joined(tally.total for tally in facts.samples.tallies.values())
    stopped = sum(end - begin for begin, end in tables.shades(facts.states))
    figures = [
        (words.count(total.count), "attempt" if total.count == 1 else "attempts"),
        (words.share(total.ok, total.count), "of them ok"),
        (words.count(total.count - total.ok), "attempts not ok"),
        (words.size(total.bytes), "moved"),
    ]
    if stopped:
        figures.append((words.seconds(stopped * 3600), "kill switch active"))
    items = "".join(f"<li><b>{escape(value)}</b> {escape(what)}</li>" for value, what in figures)
    return f'<ul class="figures wide" aria-label="In all">{items}</ul>'


def _section(section: Section) -> str:
    is_wide = section.grids or section.is_open or len(section.pictures) > 1
    wide = " wide" if is_wide else ""
    pictures = "".join(_picture(picture, section.title) for picture in section.pictures)
    if len(section.pictures) > 1:
        pictures = f'<div class="pair">{pictures}</div>'
    grids = f'<div class="grids">{"".join(map(_grid, section.grids))}</div>{_levels()}' if section.grids else ""
    behind = "".join(_table(table, is_open=section.is_open) for table in section.tables)
    return f"""<section class="card{wide}" id="{section.name}">
<h2>{escape(section.title)}</h2>
<p class="lead">{escape(section.lead)}</p>
{pictures}{grids}{behind}
</section>
"""


def _picture(picture: Picture, title: str) -> str:
    keys = "".join(f"<li>{_key(number, picture)}{escape(name)}</li>" for number, name in picture.keys)
    keys += '<li><i class="box hatch"></i>kill switch active</li>' if picture.is_shaded else ""
    legend = f'<ul class="legend">{keys}</ul>' if keys else ""
    name = escape(f"Chart: {title}. The table below holds the same figures.")
    return (
        f'<figure role="img" aria-label="{name}"><div class="w">{picture.wide}</div>'
        f'<div class="n">{picture.narrow}</div>{legend}</figure>'
    )


def _key(number: int, picture: Picture) -> str:
    colour = f"var(--c{number % COLOURS})"
    if picture.is_filled:
        return f'<i class="box" style="background:{colour}"></i>'
    return f'<i style="color:{colour}">{MARKS[number % len(MARKS)]}</i>'


def _grid(grid: Grid) -> str:
    return f"<div><h3>{escape(grid.name)}</h3><p>{escape(grid.note)}</p>{grid.svg}</div>"


def _levels() -> str:
    keys = "".join(f'<li><i class="box s{at}"></i>{escape(name)}</li>' for at, (_, name) in enumerate(LEVELS))
    more = '<li><i class="box none"></i>no attempts</li><li><i class="box stop"></i>kill switch active</li>'
    return f'<ul class="legend">{keys}{more}</ul>'


def _table(table: Table, *, is_open: bool) -> str:
    heads = "".join(f'<th scope="col"{_align(at, table)}>{escape(head)}</th>' for at, head in enumerate(table.heads))
    rows = "".join(f"<tr>{''.join(_cells(row, table))}</tr>\n" for row in table.rows)
    count = words.counted(len(table.rows), "row")
    body = f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>'
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>Table: {escape(table.title)} <span>({count})</span></summary>{body}</details>\n"


def _cells(row: Iterable[str], table: Table) -> Iterable[str]:
    return (f"<td{_align(at, table)}>{escape(cell)}</td>" for at, cell in enumerate(row))


def _align(at: int, table: Table) -> str:
    return "" if at < table.texts else ' class="r"'
