"""Every hard number, in one table. Only a new release changes it: operators may lower each, nothing may raise one.

`Limits()` is the built-in table itself. Whoever builds another one gives only what is stricter: everything else is
refused at construction, so no code path can end up with a weaker table than this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from testwarden.model import FileSize, TestType

DAY = 86400
"""Seconds."""
GB = 1000**3
"""Decimal, as disks and data plans are sold."""


@dataclass(frozen=True)
class TypeLimits:
    """The limits of one kind of test."""

    type: TestType
    attempts: int
    """Attempts that may start in any 3600 s, per agent."""
    workers: int
    """Workers of one task."""
    seconds: int | None
    """Seconds that one attempt may take; None: until the window ends."""
    vus: int | None = None
    """Virtual users of one attempt, where the type has them."""
    rate: int | None = None
    """Requests a second of one attempt, where the type has them."""


BUILT_IN_TYPES = (
    TypeLimits(TestType.DOWNLOAD, attempts=360, workers=10, seconds=None),
    TypeLimits(TestType.QUOTE, attempts=240, workers=10, seconds=600),
    TypeLimits(TestType.UPLOAD, attempts=120, workers=10, seconds=None),
    TypeLimits(TestType.K6, attempts=12, workers=2, seconds=600, vus=20, rate=20),
)
"""One row per kind of test. A kind without a row does not run: a new kind is one row here."""

AT_MOST = ("workers", "retry", "offset", "time_offset", "bytes_per_day")
AT_LEAST = ("pause", "keep_disk_free", "spend_margin")
"""Which way is stricter: lowering the limit on what is used up, raising the one on what is left alone."""


@dataclass(frozen=True)
class OwnLimits:
    """What the operator allows themselves, for what they start by the command line or the API. They answer for the
    target, so these are theirs to raise as well."""

    at_once: int = 100
    """Own tests that run at one moment."""
    attempts: int = 3600
    """Attempts of each type that may start in any 3600 s."""
    seconds: int = DAY
    """Seconds that one attempt may take."""
    vus: int = 500
    """Virtual users of one k6 test."""
    window: bool = False
    """Whether own tests, too, run only inside the window."""


@dataclass(frozen=True)
class Limits:
    """What the gate holds every task and attempt against. All but `own` is for public tasks.

    The defaults are the built-in numbers. Raise ValueError, one sentence, when a value is weaker than the built-in one.
    """

    types: tuple[TypeLimits, ...] = BUILT_IN_TYPES
    workers: int = 20
    """Workers of all tasks together, per agent."""
    retry: int = 5
    """Further attempts after one that failed."""
    offset: int = 5
    """Minutes by which a worker's start may be delayed at random."""
    time_offset: int = 5
    """Minutes by which a task's start may be delayed at random."""
    pause: int = 10
    """Seconds that a worker yields between two repeats, at least."""
    largest_filesize: FileSize = FileSize.LARGE
    """The one number that the operator may raise: it is their disk and data plan, and `bytes_per_day` stays."""
    keep_disk_free: int = 10 * GB
    """Bytes of disk that stay free, at least."""
    bytes_per_day: int = 200 * GB
    """Bytes moved in any 86 400 s. By attempts alone, downloads could move 360 × 64 MiB = 24 GB an hour, 580 GB a day.
    A household line should notice the agent less than that, and a fleet of them even less."""
    spend_per_day: Decimal | None = None
    """ANT that uploads may cost in any 86 400 s; None: the operator set no cap, so nothing may be spent."""
    spend_margin: Decimal = Decimal("1.5")
    """Before an upload its quote times this is put aside: prices move between quote and payment, the cap must hold."""
    targets: tuple[str, ...] = ()
    """Host names and addresses that the operator lets a control file's k6 tasks name; `*.example.org` for all names
    below that one."""
    own: OwnLimits = OwnLimits()

    def __post_init__(self) -> None:
        for row in self.types:
            _check_row(row)
        if len({row.type for row in self.types}) != len(self.types):
            raise ValueError("types: each kind of test has one row")
        for name in AT_MOST:
            _check_at_most(name, getattr(self, name), getattr(type(self), name))
        for name in AT_LEAST:
            _check_at_least(name, getattr(self, name), getattr(type(self), name))
        if self.spend_per_day is not None:
            _check_spend(self.spend_per_day)

    def of(self, kind: TestType) -> TypeLimits | None:
        """Given a kind of test, return its limits; None where this release has none, so that it must not run."""
        return next((row for row in self.types if row.type is kind), None)

    def allows_size(self, size: FileSize) -> bool:
        """Given a file size, return whether the operator allows files of it: its largest file is what counts."""
        return size.most <= self.largest_filesize.most


def _check_row(row: TypeLimits) -> None:
    built_in = next((known for known in BUILT_IN_TYPES if known.type is row.type), None)
    if built_in is None:
        raise ValueError(f"{row.type.value}: this release has no limits for this kind of test")
    _check_at_most(f"{row.type.value}: attempts", row.attempts, built_in.attempts)
    _check_at_most(f"{row.type.value}: workers", row.workers, built_in.workers)
    for name in ("seconds", "vus", "rate"):
        value, most = getattr(row, name), getattr(built_in, name)
        if most is not None and value is None:
            raise ValueError(f"{row.type.value}: {name}: the built-in limit of {most} cannot be taken away")
        if value is not None:
            _check_at_most(f"{row.type.value}: {name}", value, most)


def _check_at_most(name: str, value: int, built_in: int | None) -> None:
    """`built_in` None: there is no number to hold against, only sense."""
    if value < 0:
        raise ValueError(f"{name}: {value} is below zero")
    if built_in is not None and value > built_in:
        raise ValueError(f"{name}: {value} is above the built-in limit of {built_in}, which can only be lowered")


def _check_at_least(name: str, value: int | Decimal, built_in: int | Decimal) -> None:
    if not value >= built_in:
        raise ValueError(f"{name}: {value} is below the built-in minimum of {built_in}, which can only be raised")


def _check_spend(value: Decimal) -> None:
    if not value.is_finite() or value < 0:
        raise ValueError(f"spend_per_day: {value} is not an amount of ANT of zero or more")


BUILT_IN = Limits()
"""The table above, as the gate sees it when the operator lowers nothing."""
