"""Fetching what should run: ask the source, read the files, and try again for as long as it makes sense."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from testwarden.clients.stop import Stop
from testwarden.control.catalogue import Catalogues
from testwarden.control.control_file import ControlFile, parse
from testwarden.control.kept_files import KeptFiles
from testwarden.control.source import CONTROL_FILE, Source
from testwarden.control.task_files import gather
from testwarden.errors import SourceError, SourceRateLimited
from testwarden.model import Finding

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
LONGEST_RENEWAL = 3600.0
"""An allowance is one of an hour (GitHub docs, "Rate limits for the REST API"), whatever an answer or our clock says."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What one fetch brought, read."""

    commit: str
    control: ControlFile
    catalogues: Catalogues
    findings: tuple[Finding, ...]
    """Of the control file, of the catalogues and of the files that tasks need."""
    files: Mapping[str, bytes]
    """What the tasks need beside the catalogues, all of the same commit, by SHA-256 (64 lower-case hex digits)."""


def read(source: Source, kept: KeptFiles | None = None) -> Reading:
    """Given the source, and what keeps the files of tasks from one fetch to the next, fetch and read what came.

    Raise SourceError if it cannot be fetched.
    """
    fetched = source.fetch()
    catalogues, findings = Catalogues.read(fetched.files)
    parsed = parse(fetched.files[CONTROL_FILE], CONTROL_FILE, catalogues)
    control, files = gather(parsed, fetched.commit, source, kept)
    return Reading(fetched.commit, control, catalogues, (*findings, *control.findings), files)


def back_off() -> Iterator[float]:
    """Return the seconds between tries: twice as long each time, up to a bound."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LONGEST_PAUSE, pause * 2)


def try_patiently(
    attempt: Callable[[], None], stop: Stop, seconds_left: Callable[[], float], now: Callable[[], datetime]
) -> bool:
    """Make an attempt at a fetch, and again with growing pauses while it raises SourceError; return whether one worked.

    Where the allowance of requests is used up, the next try waits until it is renewed. It ends without success when a
    stop is requested or the next try would be further away than `seconds_left`. `now` is the wall clock (aware).
    """
    for pause in back_off():
        try:
            attempt()
        except SourceError as problem:
            wait, until = _until_renewed(problem, pause, now())
            why = f"the control file could not be fetched: {problem}{until}"
        else:
            return True
        if wait > seconds_left():
            _log.warning("%s; giving up until the next fetch", why)
            return False
        _log.warning("%s; next try in %.0f s", why, wait)
        if stop.wait(wait):
            break
    return False


def _until_renewed(problem: SourceError, pause: float, now: datetime) -> tuple[float, str]:
    """Return the seconds until the next try, at least the pause, and what to say of the moment that they lead to."""
    if not isinstance(problem, SourceRateLimited) or problem.resets is None:
        return pause, ""
    wait = max(pause, min(LONGEST_RENEWAL, (problem.resets - now).total_seconds()))
    return wait, f"; the allowance is renewed at {problem.resets:%Y-%m-%d %H:%M:%S} UTC"
