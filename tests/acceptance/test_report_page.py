"""The report in a real browser: a file that needs no network, read on a desk, on a phone, in the dark and on paper.

Pictures are kept in artefacts/report-*.png and report.pdf.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from standins.browser import ARTEFACTS, Browser, chromium
from standins.report_files import end_of, write_folder
from standins.samples import a_sample
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.model import Outcome
from testwarden.report_command import Asked, report

HOURS = 168
EVIL = "</svg></td><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
_FETCHED = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
_FITS = "return [document.documentElement.scrollWidth <= innerWidth, innerWidth]"
# Charts that are drawn, and texts in them that reach out of their picture.
_CHARTS = "return [...document.querySelectorAll('figure svg')].filter((e) => e.checkVisibility()).length"
_CUT = """
return [...document.querySelectorAll("figure svg")].filter((svg) => svg.checkVisibility()).flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1;
  }).map((text) => text.textContent);
});
"""
# What the variables of the page make of the stand-in colours of the charts.
_INK = """
const text = [...document.querySelectorAll("figure svg text")].find((e) => e.checkVisibility());
return [getComputedStyle(text).fill, getComputedStyle(document.body).backgroundColor]
  .map((colour) => Number(colour.match(/\\d+/)[0]));
"""


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """A browser whose console holds nothing against any page that a test opens."""
    one_browser.look()
    one_browser.console()
    yield one_browser
    assert one_browser.console() == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of reports: of one agent, of three, and of one whose files want to harm."""
    folder = tmp_path_factory.mktemp("reports")
    one = write_folder(folder / "attic", "attic", hours=HOURS, samples=20_000)
    others = (
        write_folder(folder / "barn", "barn", hours=160, samples=9_000),
        write_folder(folder / "cellar", "cellar rack 7", hours=100, samples=6_000),
    )
    sample = a_sample(outcome=Outcome.CLIENT_ERROR, reason=EVIL)
    evil = folder / "evil.csv"
    evil.write_bytes(LineWriter(Identity(EVIL)).line(sample, sample.ended_ns)[0] + EVIL.encode() + b"\n")
    given = {"one": (one,), "three": (one, *others), "evil": (evil,)}
    return {name: made(folder / f"{name}.html", *paths) for name, paths in given.items()}


def made(output: Path, *paths: Path) -> str:
    said: list[str] = []
    assert report(Asked(paths, output), end_of(HOURS), "testwarden 1.0", said.append) == 0, said
    return output.as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", ["one", "three"])
def test_it_opens_alone_and_fits_any_screen(
    browser: Browser, pages: dict[str, str], name: str, width: int, dark: bool
) -> None:
    browser.look(width=width, dark=dark)
    browser.open(pages[name])
    browser.see("All times are UTC", "kill switch active", "Budgets used", "Load tests with k6")
    assert browser.ask(_FETCHED) == []
    assert browser.ask(_FITS) == [True, width]
    assert browser.ask(_CHARTS) == 10
    assert browser.ask(_CUT) == []
    ink, ground = browser.ask(_INK)
    assert (ink > 128, ground < 128) == (dark, dark)
    browser.picture(f"report-{name}-{width}-{'dark' if dark else 'light'}")


def test_the_tables_open_and_scroll_inside_the_page(browser: Browser, pages: dict[str, str]) -> None:
    browser.look(width=360)
    browser.open(pages["three"])
    browser.ask("document.querySelectorAll('details').forEach((table) => { table.open = true; })")
    browser.see("hour, UTC", "download medium", "what came was network error")
    assert browser.ask(_FITS) == [True, 360]


def test_on_paper_it_is_light_and_wide(browser: Browser, pages: dict[str, str]) -> None:
    browser.look(width=794, dark=True)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    browser.open(pages["one"])
    assert browser.ask(_CHARTS) == 10
    ink, _ = browser.ask(_INK)
    assert ink < 128
    browser.picture("report-print")
    pdf = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    (ARTEFACTS / "report.pdf").write_bytes(pdf)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert 3 <= pdf.count(b"/Type /Page\n") <= 12


def test_what_wants_to_harm_is_only_shown(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["evil"])
    browser.see("All times are UTC", "1 line could not be understood")
    assert "onerror" in browser.text()
    assert browser.ask("return [document.title.startsWith('testwarden report'), document.images.length]") == [True, 0]
    assert browser.ask("return document.scripts.length") == 0
    assert browser.ask(_FITS) == [True, 1280]
