"""How often to look at the kill switch, given what the source still allows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SCARCE = 240.0
"""Seconds: when looks must be further apart, the operator hears of it; at 300 the agent fails closed."""
LONGEST = 3600.0
"""Seconds: GitHub renews each hour, so a longer wait can only come from a clock or an answer that is wrong."""
FETCH_RESERVE = 8
"""Requests kept back for the fetch: the commit, four files, a look of three pages."""


@dataclass(frozen=True)
class Pace:
    """When to look again."""

    seconds: float
    advice: str = ""
    """For the operator, when the allowance does not suffice for one look in four minutes."""


def pace(usual: float, remaining: int | None, resets_in: float) -> Pace:
    """Given the usual pause in seconds, the requests that are left and the seconds until the allowance is renewed,
    return when to look again. `remaining` is None where the source has no allowance.

    The pause is never shorter than the usual one, and looks at this pace leave what the fetch needs.
    """
    if remaining is None or resets_in <= 0:
        return Pace(usual)
    resets_in = min(resets_in, LONGEST)
    usable = remaining - FETCH_RESERVE
    # Used up: the first second after the renewal is the earliest that can bring an answer.
    seconds = max(usual, resets_in / usable if usable > 0 else resets_in + 1)
    if seconds <= SCARCE:
        return Pace(seconds)
    advice = (
        f"GitHub allows {remaining} more requests in the next {resets_in:.0f} s, so the kill switch is looked at only "
        f"every {seconds:.0f} s, and nothing starts when an answer is older than 300 s. Others behind this address use "
        "the same allowance: set a token (github.token or GITHUB_TOKEN), it has an allowance of its own"
    )
    return Pace(seconds, advice)
