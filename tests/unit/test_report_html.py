"""The page as a document: nothing from a file becomes markup, nothing is asked for, a table stands behind every chart."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timezone
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from standins.report_files import end_of, write_folder
from standins.samples import NOON, a_sample
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.model import FileSize, Outcome, Sample, TestType
from testwarden.report.facts import Facts
from testwarden.report.page import page
from testwarden.report.reading import Reading
from testwarden.report_command import read

NOW = datetime(2026, 10, 27, 18, tzinfo=timezone.utc)
EVIL = "</title></svg><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&amp;$x_2$"


class Document(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.sections: list[Counter[str]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "section":
            self.sections.append(Counter())
        if self.sections:
            self.sections[-1][tag] += 1

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(*samples: tuple[str, Sample], troubles: tuple[str, ...] = (), extra: bytes = b"") -> str:
    reading = Reading(NOW)
    lines = [
        LineWriter(Identity(agent)).line(sample, sample.ended_ns)[0].removesuffix(b"\n") for agent, sample in samples
    ]
    reading.read(Path("metrics.csv"), enumerate([*lines, extra], start=1))
    return page(Facts(reading.samples, reading.states, reading.account, 1, troubles, NOW, None), "testwarden 1.0")


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = tmp_path_factory.mktemp("week")
    folders = tuple(write_folder(folder / agent, agent, hours=168, samples=1500) for agent in ("attic", "barn"))
    return Document(page(read(folders, end_of(168)), "testwarden 1.0"))


def test_every_chart_has_a_table_behind_it_and_a_name(week: Document) -> None:
    charts = [section for section in week.sections if section["svg"]]
    assert len(charts) == 9
    assert all(section["details"] >= 1 and section["table"] >= 1 for section in charts)
    figures = [value for tag, name, value in week.attributes if tag == "figure" and name == "aria-label"]
    assert len(figures) == week.tags["figure"] == 10
    assert all(name.startswith("Chart: ") for name in figures)


def test_the_page_asks_for_nothing_and_runs_nothing(week: Document) -> None:
    assert not week.tags.keys() & {"script", "img", "link", "iframe", "object", "image", "style src", "a", "form"}
    assert [entry for entry in week.attributes if entry[1].startswith("on") or entry[1] in ("src", "action")] == []
    assert [entry for entry in week.attributes if entry[1].endswith("href") and not entry[2].startswith("#")] == []
    policy = next(value for tag, name, value in week.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_names_in_the_page_are_unique_and_references_lead_somewhere(week: Document) -> None:
    names = [value for _, name, value in week.attributes if name == "id"]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    used = [found for _, _, value in week.attributes for found in re.findall(r"url\(#([^)]+)\)", value)]
    used += [value[1:] for _, name, value in week.attributes if name == "href"]
    assert used
    assert set(used) <= set(names)


def test_colours_come_from_the_page(week: Document) -> None:
    drawn = [value for tag, name, value in week.attributes if name in ("style", "fill", "stroke")]
    assert [value for value in drawn if re.search(r"#[0-9a-f]{6}\b", value)] == []


def test_all_times_are_said_to_be_utc_and_figures_have_units(week: Document) -> None:
    assert "2026-11-14 00:00 to 2026-11-21 00:00 UTC. 2 agents. All times are UTC." in week.words
    for part in (
        "time, UTC",
        "attempts per 2 hours",
        "duration, logarithmic scale",
        " MB/s",
        " ANT",
        "download attempts in an hour",
    ):
        assert part in week.words, part


def test_nothing_from_a_file_becomes_markup() -> None:
    hostile = a_sample(outcome=Outcome.CLIENT_ERROR, reason=EVIL)
    evil_type = LineWriter(Identity(EVIL)).line(a_sample(ended_ns=NOON + 5), NOON + 5)[0].strip()
    evil_type = evil_type.replace(b"type=download", b"type=$x_$<script>x</script>").replace(b"=tiny", b"=<b>")
    text = page_of((EVIL, hostile), ("other", a_sample(ended_ns=NOON + 1)), troubles=(EVIL,), extra=evil_type)
    text += page_of(("host", a_sample()), extra=EVIL.encode())
    found = Document(text)
    assert not found.tags.keys() & {"script", "img", "b "}
    assert found.tags["title"] == len(re.findall("<title>", text))
    assert [entry for entry in found.attributes if entry[1].startswith("on")] == []
    assert "<script>document.title='owned'</script>" in found.words, "it is shown as text"
    assert "$x_2$" in found.words


@pytest.mark.parametrize(
    "samples",
    [
        [a_sample()],
        [a_sample(outcome=Outcome.NETWORK_ERROR, exec_time=0.0, bytes=0)],
        [a_sample(exec_time=float("nan"), bytes=0)],
        [a_sample(type=TestType.QUOTE, cost=Decimal(0), bytes=0)],
        [a_sample(ended_ns=NOON + n, type=kind, filesize=size, exec_time=10.0 ** (n % 9 - 4), cost=Decimal(10) ** -n)
         for n, (kind, size) in enumerate((kind, size) for kind in TestType for size in FileSize)],
        [a_sample(ended_ns=NOON - 10**18), a_sample()],
    ],
    ids=["one", "one failure", "untimed", "free", "every type and size", "years apart"],
)  # fmt: skip
def test_any_samples_make_a_page(samples: list[Sample]) -> None:
    found = Document(page_of(*(("host", sample) for sample in samples)))
    assert found.tags["svg"] >= 2
    assert "All times are UTC" in found.words


def test_many_agents_are_all_in_the_tables() -> None:
    found = Document(page_of(*((f"agent {n}", a_sample(ended_ns=NOON + n)) for n in range(30))))
    assert "Charts show the 6 agents with most attempts; tables show all." in found.words
    assert all(f"agent {n}" in found.words for n in range(30))


def test_without_samples_the_page_says_why() -> None:
    assert "The files hold no samples" in Document(page_of()).words


def test_notes_name_the_bad_lines() -> None:
    found = Document(page_of(("host", a_sample()), extra=b"garbage", troubles=("x.csv: torn",)))
    assert "1 line could not be understood and was left out: metrics.csv line 2: “garbage”." in found.words
    assert "x.csv: torn" in found.words
