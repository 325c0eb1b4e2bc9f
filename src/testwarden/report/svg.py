"""Charts as inline SVG that takes its colours from the page: matplotlib draws with stand-ins, which become CSS variables.

So one drawing serves light, dark and print, needs no script, and its texts stay texts. Needs the extra `report`.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

TEXT, QUIET, LINE, CARD, KILL = "#010101", "#010102", "#010103", "#010104", "#010105"
_NAMES = {TEXT: "text", QUIET: "quiet", LINE: "line", CARD: "card", KILL: "kill"}
COLOURS = 8
_INCH = 72
"""matplotlib's SVG counts 72 units an inch; one unit is one CSS pixel where the drawing is not scaled."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # A `$` in a name from a file is a dollar.
    "font.size": 12,
    "axes.unicode_minus": False,
    "text.color": TEXT,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.75,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "hatch.linewidth": 1.0,
}


def colour(number: int) -> str:
    """Return the stand-in of the colour of that number: `--c0` … in the page."""
    return f"#0102{number % COLOURS:02x}"


def variable(stand_in: str) -> str:
    """Given a stand-in, return the CSS variable that it becomes."""
    return f"--{_NAMES.get(stand_in) or f'c{int(stand_in[-2:], 16)}'}"


def draw(paint: Callable[[Figure], None], width: float, height: float, name: str) -> str:
    """Given what paints a figure, its size in CSS pixels and a name that no other chart of the page has, return an `<svg>`."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # Names of any script are measured with a font that may lack them; the browser, which draws them, has others.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(width / _INCH, height / _INCH), dpi=_INCH, facecolor="none")
        FigureCanvasSVG(figure)
        paint(figure)
        for axes in figure.axes:
            axes.set_facecolor("none")
            axes.tick_params(length=3)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(file.getvalue(), name)


def _inline(document: str, name: str) -> str:
    text = document[document.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">', text, count=1)
    text = re.sub(r' id="', f' id="{name}-', text)
    text = text.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    text = re.sub(r"#0101\d\d|#0102\d\d", lambda found: f"var({variable(found[0])})", text)
    return re.sub(r"\n\s*", "\n", text).strip()
