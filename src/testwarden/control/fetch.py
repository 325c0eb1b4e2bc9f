"""Fetching what should run: ask the source, read the files, and try again for as long as it makes sense."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from testwarden.clients.stop import Stop
from testwarden.control.catalogue import Catalogues
from testwarden.control.control_file import ControlFile, parse
from testwarden.control.source import CONTROL_FILE, Source
from testwarden.errors import SourceError
from testwarden.model import Finding

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What one fetch brought, read."""

    commit: str
    control: ControlFile
    catalogues: Catalogues
    findings: tuple[Finding, ...]
    """Of the control file and of the catalogues."""


def read(source: Source) -> Reading:
    """Fetch from the source and read what came. Raise SourceError if it cannot be fetched."""
    fetched = source.fetch()
    catalogues, findings = Catalogues.read(fetched.files)
    control = parse(fetched.files[CONTROL_FILE], CONTROL_FILE, catalogues)
    return Reading(fetched.commit, control, catalogues, (*findings, *control.findings))


def back_off() -> Iterator[float]:
    """Return the seconds between tries: twice as long each time, up to a bound."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LONGEST_PAUSE, pause * 2)


def try_patiently(attempt: Callable[[], None], stop: Stop, seconds_left: Callable[[], float]) -> bool:
    """Make an attempt at a fetch, and again with growing pauses while it raises SourceError; return whether one worked.

    It ends without success when a stop is requested or the next pause would be longer than `seconds_left`.
    """
    for pause in back_off():
        try:
            attempt()
        except SourceError as problem:
            if pause > seconds_left():
                _log.warning("the control file could not be fetched: %s; giving up until the next fetch", problem)
                return False
            _log.warning("the control file could not be fetched: %s; next try in %.0f s", problem, pause)
        else:
            return True
        if stop.wait(pause):
            break
    return False
