"""Numbers with their units, the axis of time, and the ticks of logarithmic scales."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.samples import NOON
from testwarden.report import words
from testwarden.report.axis import MOST_STEPS, axis_of, decades

HOUR = NOON // (3600 * 10**9)
"""2026-10-27 12:00 UTC."""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.count(1234567), "1,234,567"),
        (words.share(1, 1), "100 %"),
        (words.share(0, 5), "0 %"),
        (words.share(9999, 10000), "> 99.9 %"),
        (words.share(1, 10000), "< 0.1 %"),
        (words.share(1, 3), "33.3 %"),
        (words.share(0, 0), "–"),
        (words.seconds(0), "0 s"),
        (words.seconds(0.0000005), "0.5 µs"),
        (words.seconds(0.0123), "12.3 ms"),
        (words.seconds(59.96), "60 s"),
        (words.seconds(300), "5 min"),
        (words.seconds(86400), "24 h"),
        (words.seconds(9e9), "2,500,000 h"),
        (words.size(0), "0 B"),
        (words.size(999), "999 B"),
        (words.size(12_345_678), "12.3 MB"),
        (words.size(5e18), "5,000 PB"),
        (words.rate(1500), "1.5 kB/s"),
        (words.ant(0.000000000000012344), "1.234e-14 ANT"),
        (words.moment(NOON), "2026-10-27 12:00"),
        (words.hours(1), "hour"),
        (words.hours(6), "6 hours"),
        (words.hours(24), "day"),
        (words.hours(168), "7 days"),
        (words.tick(HOUR, 1), "12:00"),
        (words.tick(HOUR - 12, 1), "27 Oct"),
        (words.tick(HOUR, 720), "Oct 2026"),
    ],
)  # fmt: skip
def test_figures_carry_their_unit(said: str, expected: str) -> None:
    assert said == expected


@given(st.integers(420_000, 500_000), st.integers(0, 60_000))
def test_an_axis_holds_every_hour_in_few_steps(first: int, length: int) -> None:
    axis = axis_of(first, first + length)
    assert len(axis.steps) <= max(MOST_STEPS + 1, length / 720 + 2)
    assert axis.first <= first
    assert first + length <= axis.last
    assert {axis.step_of(hour) for hour in (first, first + length)} <= set(axis.steps)
    apart, ticks = axis.ticks(6)
    assert len(ticks) <= 8
    assert all(tick % apart == 0 for tick in ticks)


def test_a_week_is_shown_in_steps_of_two_hours() -> None:
    assert axis_of(HOUR, HOUR).width == 1
    assert axis_of(HOUR, HOUR + 167).width == 2
    assert axis_of(HOUR, HOUR + 30 * 24).width == 12


@given(st.floats(1e-18, 1e12), st.floats(1.0001, 1e15), st.integers(3, 8))
def test_a_logarithmic_scale_has_few_ticks_in_its_range(low: float, ratio: float, most: int) -> None:
    ticks = decades(low, low * ratio, most)
    assert len(ticks) <= most + 1
    assert all(low <= tick <= low * ratio for tick in ticks)
    if 10 < ratio < 1000:
        assert ticks


def test_the_ticks_are_round_numbers() -> None:
    assert decades(0.09, 2, 7) == pytest.approx([0.1, 0.2, 0.5, 1, 2])
    assert decades(0.09, 200, 4) == pytest.approx([0.1, 1, 10, 100])


# How colours look to those who lack a kind of cones (Machado, Oliveira, Fernandes 2009, severity 1), in linear RGB.
_EYES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
_TO_XYZ = ((0.4338, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0177, 0.1094, 0.8725))
"""Linear sRGB to X, Y, Z, each relative to white."""
DIFFERENT = 12.0
"""Distance in CIELAB: from about 2 on a difference is seen, side by side; 12 is plain."""
Three = tuple[float, ...]


def test_colours_can_be_told_apart_by_colour_blind_people_and_from_the_ground() -> None:
    for theme in _themes():
        series = [theme[f"c{number}"] for number in range(8)]
        levels = [theme[f"s{number}"] for number in range(5)]
        for eye, one in ((eye, one) for eye in _EYES for one in (series, levels)):
            nearest = min((_distance(_lab(a, eye), _lab(b, eye)), a, b) for a, b in itertools.combinations(one, 2))
            assert nearest[0] >= DIFFERENT, (eye, nearest)
        curves = [_contrast(theme[f"c{number}"], theme["card"]) for number in range(6)]
        assert min(curves) >= 3.0, curves
        texts = [_contrast(theme[name], theme[on]) for name in ("text", "quiet") for on in ("card", "ground")]
        assert min([*texts, _contrast(theme["warn"], theme["warn-soft"])]) >= 4.5


def _themes() -> Iterator[dict[str, str]]:
    style = files("testwarden.report").joinpath("page.css").read_text("utf-8").partition("@media print")[0]
    light, dark = style.split("@media screen", 1)
    first = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", light))
    yield first
    yield first | dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", dark))


def _linear(colour: str) -> Three:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return tuple(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)


def _times(matrix: tuple[Three, ...], values: Three) -> Three:
    return tuple(sum(a * b for a, b in zip(row, values, strict=True)) for row in matrix)


def _lab(colour: str, eye: str) -> Three:
    seen = tuple(min(1.0, max(0.0, part)) for part in _times(_EYES[eye], _linear(colour)))
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in _times(_TO_XYZ, seen))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _distance(one: Three, other: Three) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(_times(_TO_XYZ, _linear(colour))[1] for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)
