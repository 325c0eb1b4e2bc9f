"""All that a report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from testwarden.console.text import safe_line
from testwarden.report import words
from testwarden.report.axis import Axis, axis_of
from testwarden.report.reading import Account
from testwarden.report.states import States
from testwarden.report.tallies import Samples


@dataclass(frozen=True)
class Facts:
    """What was read, and what became of the reading."""

    samples: Samples
    states: States
    account: Account
    files: int
    """How many were read to their end."""
    troubles: tuple[str, ...]
    """One sentence for each file that could not be read."""
    now: datetime
    since: datetime | None
    """From when on samples count; None: all."""

    @property
    def axis(self) -> Axis | None:
        """The axis of time of all charts; None where there is no sample."""
        span = self.samples.span
        return None if span is None else axis_of(*span)

    @property
    def several(self) -> bool:
        """Whether several agents are compared."""
        return len(self.samples.agents) > 1


def notes(facts: Facts) -> list[str]:
    """Return what the reader must know before they believe the figures, a sentence each."""
    account = facts.account
    said = [safe_line(trouble) for trouble in facts.troubles]
    if account.bad:
        first = "; ".join(f"{bad.path.name} line {bad.number}: “{bad.text}”" for bad in account.named[:5])
        more = f"; and {words.count(account.bad - 5)} more" if account.bad > len(account.named[:5]) else ""
        said.append(
            f"{_lines(account.bad)} could not be understood and {_was(account.bad)} left out: {safe_line(first)}{more}."
        )
    if account.misdated:
        why = "before 2020 or after now: a clock was wrong, here or there"
        said.append(f"{_samples(account.misdated)} left out, with a time {why}.")
    if account.twice:
        said.append(f"{_samples(account.twice)} in the files twice, with the same tags and time, and counted once.")
    if account.summaries:
        said.append(
            f"{_lines(account.summaries)} of another kind (sums, not samples) {_was(account.summaries)} left out."
        )
    return said


def nothing(facts: Facts) -> str:
    """Given facts without a sample, return why there is none to show."""
    if facts.account.old:
        newest = words.moment(facts.samples.newest)
        return f"No sample is newer than what was asked for; the newest is of {newest} UTC."
    return "The files hold no samples: no attempt has ended yet, or all were left out."


def span_of(facts: Facts) -> str:
    """Return from when to when samples are shown."""
    span = facts.samples.span
    if span is None:
        return "no samples"
    return f"{words.hour(span[0])} to {words.hour(span[1] + 1)} UTC"


def _lines(number: int) -> str:
    return words.counted(number, "line")


def _samples(number: int) -> str:
    return f"{words.counted(number, 'sample')} {_was(number)}"


def _was(number: int) -> str:
    return "were" if number > 1 else "was"
