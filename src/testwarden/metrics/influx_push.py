"""The agent's push: each minute, what is new in its files goes to a server; what could not go goes later, in order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from testwarden.clients.stop import Stop
from testwarden.errors import MetricsError
from testwarden.metrics.files import KINDS, FileVanished, is_journal, metric_files
from testwarden.metrics.influx import Denied, InfluxServer, NotNow, Writer
from testwarden.metrics.influx_doors import connect
from testwarden.metrics.influx_import import Feed, Reports
from testwarden.metrics.influx_state import SentFiles

MOST_BYTES = 16 * 1024 * 1024
"""That one push reads, about 40,000 lines: a backlog goes in parts, one a minute."""
SECONDS = 10.0
"""What one request may take."""
_FIRST_WAIT = 60.0
_LONGEST_WAIT = 900.0
_MOST_REFUSED_SAID = 5

_log = logging.getLogger(__name__)

Connect = Callable[[InfluxServer, float, Stop | None], Writer]


class Pusher:
    """Sends the files of one agent to one server. For one thread, which is not one that a test runs in."""

    def __init__(self, server: InfluxServer, folder: Path, stop: Stop, connect: Connect = connect) -> None:
        """Given the server, the folder of the metrics, what ends a push early, and what finds the server's door."""
        self._server = server
        self._folder = folder
        self._stop = stop
        self._connect = connect
        self._files = SentFiles(folder, server.key)
        self._writer: Writer | None = None
        self._failed = 0
        self._not_before = float("-inf")
        self._kind: type[MetricsError] | None = None
        self._unnoted = False
        self._said_of_this_push = 0
        self.sent = 0
        """Lines that the server took, since this was built."""
        self.refused = 0
        """Lines that it did not like; each stays in its file."""
        self.trouble = ""
        """Why nothing, or not everything, can be sent now, for a person; empty where it can."""

    def push(self, now: float) -> None:
        """Given the seconds of a clock that is never set, send what is new in the files, or a part of it.

        To be called each minute, after the fold. Never raise. After a failure, calls do nothing for a minute, then two,
        up to a quarter of an hour. A failure is logged when it begins and when it becomes one of another kind.
        """
        if now < self._not_before:
            return
        self._said_of_this_push = 0
        try:
            unreadable = self._push()
        except MetricsError as problem:
            self._fail(now, problem)
        else:
            self._recovered(unreadable)

    def close(self) -> None:
        """Give the connection back."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _push(self) -> str:
        """Return what is wrong with a file that nobody can read, for which the others need not wait. Raise MetricsError."""
        if self._writer is None:
            self._writer = self._connect(self._server, SECONDS, self._stop)
        left, unreadable = MOST_BYTES, ""
        reports = Reports(self._say_refused, _not_watched, self._say_unnoted)
        with Feed([self._writer], reports) as feed:
            for path in self._paths():
                if left <= 0 or self._stop.requested:
                    break
                try:
                    sent = feed.send(path, self._files, left)
                except FileVanished:
                    continue  # It was packed or dropped meanwhile: the next push sees what it is now.
                except (Denied, NotNow):
                    raise
                except MetricsError as problem:
                    unreadable = str(problem)
                    continue
                left -= sent.bytes
                self.sent += sent.lines
                self.refused += sent.refused
        return unreadable

    def _paths(self) -> list[Path]:
        """Samples first. What is in the journal comes with the next fold."""
        return [path for kind in KINDS for path in metric_files([self._folder], kind) if not is_journal(path)]

    def _fail(self, now: float, problem: MetricsError) -> None:
        asked = problem.wait if isinstance(problem, NotNow) else None
        pause = min(_FIRST_WAIT * 2.0 ** min(self._failed, 10), _LONGEST_WAIT)
        self._failed += 1
        self._not_before = now + max(pause, asked or 0.0)
        self.trouble = str(problem)
        if self._kind is not type(problem):
            self._kind = type(problem)
            _log.warning("the metrics are not pushed: %s. They stay in the files and are sent later", problem)
        self.close()

    def _recovered(self, unreadable: str) -> None:
        if self._kind is not None:
            _log.info("the metrics are pushed again")
        if unreadable and unreadable != self.trouble:
            _log.warning("%s: what is in it cannot be pushed", unreadable)
        self._failed, self._kind, self.trouble = 0, None, unreadable

    def _say_refused(self, path: Path, line: int, message: str) -> None:
        self._said_of_this_push += 1
        if self._said_of_this_push <= _MOST_REFUSED_SAID:
            _log.warning("%s:%d: the server refuses this line: %s", path, line, message)
        elif self._said_of_this_push == _MOST_REFUSED_SAID + 1:
            _log.warning("the server refuses more lines: `testwarden metrics import --again` names them all")

    def _say_unnoted(self, message: str) -> None:
        if not self._unnoted:
            self._unnoted = True
            _log.warning("%s; after a restart they are sent again", message)


def _not_watched(size: int, lines: int) -> None:
    """Nobody watches how far a push is."""
