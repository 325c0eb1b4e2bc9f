"""The words of the project as types: frozen, without behaviour that needs anything else of ours.

Units are in the names or the docstrings: sizes are bytes, durations are seconds, instants are aware datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def require_aware(moment: datetime, name: str) -> None:
    """Given a datetime and what it is called, raise ValueError if it carries no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{name} must be an aware datetime, not {moment!r}")


class TestType(str, Enum):
    """The kinds of tests that a control file can name."""

    DOWNLOAD = "download"
    QUOTE = "quote"
    UPLOAD = "upload"
    K6 = "k6"
    IPERF = "iperf"


class FileSize(Enum):
    """The nine names for file sizes: `least` and `most` bytes that a file of that name has."""

    TINY = ("tiny", 1, 128 * KIB)
    SMALL = ("small", 1, 4 * MIB)
    MEDIUM = ("medium", 1, 32 * MIB)
    LARGE = ("large", 1, 64 * MIB)
    HUGE = ("huge", 128 * MIB, 1 * GIB)
    GIGA = ("giga", 1, 20 * GIB)
    TERA = ("tera", 1, 100 * GIB)
    CHUNKA = ("chunka", 4 * MIB, 4 * MIB)
    CHUNKB = ("chunkb", 64 * MIB, 64 * MIB)

    def __init__(self, label: str, least: int, most: int) -> None:
        self.label = label
        self.least = least
        self.most = most

    @classmethod
    def parse(cls, text: str) -> FileSize:
        """Given a name in any case, return the size. Raise ValueError that lists the names."""
        for size in cls:
            if size.label == text.strip().lower():
                return size
        raise ValueError(f"{text!r} is not one of {', '.join(size.label for size in cls)}")


class Origin(str, Enum):
    """Who asked for a task."""

    PUBLIC = "public"
    """A control file: the built-in limits hold."""
    OWN = "own"
    """The operator: their own numbers hold. A public task never becomes an own one."""


@dataclass(frozen=True)
class ScriptFile:
    """A file that a k6 task needs, named by what it must contain."""

    path: str
    """Below the folder of the control file, with forward slashes."""
    sha256: str
    """64 lower-case hex digits."""


@dataclass(frozen=True)
class K6Options:
    """What a k6 task asks for beside what every task has. None: the script decides."""

    script: ScriptFile
    data: ScriptFile | None = None
    """A file with test data; the script finds its path in the variable `AMMO_URL`."""
    vus: int | None = None
    duration: float | None = None
    """Seconds."""
    iterations: int | None = None
    rate: int | None = None
    """Requests a second."""
    targets: tuple[str, ...] | None = ()
    """Host names and addresses, in lower case, that it may reach. None, for own tasks only: any."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables for the script."""
    params: tuple[str, ...] = ()
    """Further arguments of k6, for own tasks only."""


Figure = bool | int | float | str
"""A field of a sample beyond those that all samples have."""


@dataclass(frozen=True)
class Task:
    """One `<Task>` of a control file, understood and inside the control file's own rules, not yet judged by the gate."""

    ref: str
    """`001` … `999`."""
    description: str
    minute: int
    """Minute of the cycle at which the task starts (`TimePeriod`)."""
    time_offset: int
    """The task's start is delayed at random by up to so many minutes (`TimeOffset`)."""
    type: TestType
    filesize: FileSize = FileSize.TINY
    workers: int = 1
    offset: int = 0
    """Each worker's start is delayed at random by up to so many minutes; 0 where the control file says `false`."""
    repeat: bool = False
    timeout: int = 30
    """Seconds that one attempt may take."""
    retry: int = 3
    """How many more attempts follow one that failed in a way that another try can mend."""
    line: int = 0
    """Line of the control file, for findings."""
    k6: K6Options | None = None
    """For the test type k6, and only there."""
    origin: Origin = Origin.PUBLIC

    @property
    def size(self) -> FileSize | None:
        """Of the files that it moves; None for a type that is not about files."""
        return self.filesize if self.k6 is None else None


class Level(str, Enum):
    """How bad a finding is: a WARNING leaves the task running, an ERROR refuses it (or the whole file)."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """Something in a control file or catalogue that a maintainer should know."""

    file: str
    line: int
    """1-based; 0 where the whole file is meant."""
    level: Level
    message: str
    task: str | None = None
    """Reference of the task that an ERROR refuses, or None."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.level.value}: {self.message}"


@dataclass(frozen=True)
class CatalogueFile:
    """One row of the download catalogue: a file that the network holds."""

    filesize: FileSize
    name: str
    address: str
    md5: str | None
    """32 lower-case hex digits, or None where none is known."""


@dataclass(frozen=True)
class CatalogueSeed:
    """One row of the quote or the upload catalogue: content that is generated from a seed."""

    filesize: FileSize
    seed: int
    size: int
    """Bytes."""
    md5: str | None


class Decision(str, Enum):
    """What the gate says."""

    ALLOWED = "allowed"
    CLAMPED = "clamped"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """The gate's answer, always with a reason that a person can read."""

    decision: Decision
    reason: str
    next_try: datetime | None = None
    """For a refusal that time will mend: when it is worth asking again."""

    @property
    def refused(self) -> bool:
        return self.decision is Decision.REFUSED


class Outcome(str, Enum):
    """How an attempt ended. Each is the name of an error kind in the metrics, but for OK and two that are what was found,
    not an error: MD5_INVALID, which shows as `md5_valid`, and THRESHOLDS_FAILED, which shows as `thresholds_ok`."""

    OK = "ok"
    MD5_INVALID = "md5_invalid"
    THRESHOLDS_FAILED = "thresholds_failed"
    """A load test came to its end, and what it measured is not what its script calls good."""
    CLIENT_KILLED = "client_killed"
    CLIENT_ERROR = "client_error"
    NETWORK_ERROR = "network_error"
    DATA_LOSS = "data_loss"
    UNKNOWN_ERROR = "unknown_error"


@dataclass(frozen=True)
class AttemptResult:
    """What a client or workload says about one attempt, before it becomes a sample."""

    outcome: Outcome
    reason: str = ""
    """For a person: why it is not OK. Empty where it is."""
    exec_time: float = 0.0
    """Seconds that the client took, by a monotonic clock, without preparing and checking content."""
    bytes: int = 0
    """What was moved, as well as it is known."""
    bytes_known: bool = True
    """False: more may have been moved, as by a client that failed; then what was reserved for it stays used."""
    md5_valid: bool | None = None
    """None: the content was not checked, or no md5 is known."""
    cost: Decimal | None = None
    """ANT, of a quote or of what an upload paid."""
    mendable: bool = False
    """Whether another try of the same thing could end better."""
    address: str | None = None
    """Where an upload can be found."""
    figures: tuple[tuple[str, Figure], ...] = ()
    """What this type of test measures beyond that, by the names of the fields in the metrics."""


@dataclass(frozen=True)
class Sample:
    """What one attempt measured."""

    ended_ns: int
    """Nanoseconds since 1970-01-01 UTC, at the end of the attempt."""
    type: TestType
    filesize: FileSize | None
    """None for a type that is not about files."""
    task: str
    worker: int
    client: str
    """Name and generation of the client, for example `ant-2` or `http`."""
    outcome: Outcome
    exec_time: float
    """Seconds, by a monotonic clock."""
    bytes: int = 0
    cost: Decimal | None = None
    md5_valid: bool | None = None
    attempt: int = 1
    """1 for the first try, 2 for its first retry, …"""
    reason: str = ""
    commit: str = ""
    """Commit of the control file, empty for a source without commits."""
    figures: tuple[tuple[str, Figure], ...] = ()
    """See AttemptResult."""


@dataclass(frozen=True)
class Moment:
    """One instant, on two clocks: the wall's and one that nobody can set.

    Decisions about the hour use `utc`. Sliding budgets use `steady`, because a wall clock can be set back or forward.
    """

    utc: datetime
    steady: float
    """Seconds of a clock that counts on through suspend and cannot be set (Linux: CLOCK_BOOTTIME)."""
    boot: str
    """Which boot `steady` counts from: values of two boots cannot be compared."""

    def __post_init__(self) -> None:
        require_aware(self.utc, "Moment.utc")
