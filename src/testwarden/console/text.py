"""Making text from elsewhere safe to show: what a terminal would obey is made visible instead."""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1, line and paragraph separators, the marks that turn the direction of writing
# (they make a line read as something else), and halves of surrogate pairs, which no terminal can be sent.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def safe_lines(text: str) -> str:
    """Given any text, return it with every control character written out (`\\x1b`); tabs and line ends stay."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def safe_line(text: str) -> str:
    """Given any text, return it as one line: as `safe_lines`, with white space of any kind as single spaces."""
    return safe_lines(" ".join(text.split()))


def cut(text: str, most: int) -> str:
    """Given a text, return at most so many characters of it; what was cut ends in `…`."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"
