"""From one text of a control file, stripped and not empty, to a value.

Each function raises ValueError with the rest of a sentence that begins with the element's or the option's name.
"""

from __future__ import annotations

from testwarden.control.findings import shown

_MOST_DIGITS = 9


def is_count(text: str) -> bool:
    """Return whether a text is a whole number in at most nine digits."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def count(text: str) -> int:
    """A whole number from 0."""
    if not is_count(text):
        raise ValueError(
            f"is {shown(text)}; it must be a whole number from 0, in digits, at most {_MOST_DIGITS} of them"
        )
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    if not is_count(text) or int(text) < 1:
        raise ValueError(
            f"is {shown(text)}; it must be a whole number from 1, in digits, at most {_MOST_DIGITS} of them"
        )
    return int(text)


def flag(text: str) -> bool:
    """True or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"is {shown(text)}; it must be true or false")
    return text.lower() == "true"
