"""Every error that testwarden raises on purpose.

    TestwardenError
    ├── SettingsError            a setting is wrong; the agent does not start (exit 2)
    ├── AgentError
    │   ├── AlreadyRunning       another agent holds this cache folder
    │   └── HelperDied           a thread that the agent cannot do without has ended
    ├── SourceError              the control file or the kill switch could not be looked at
    │   ├── SourceUnavailable    no answer, refused, 5xx: another try may mend it
    │   ├── SourceRateLimited    the allowance is used up; `resets` says until when
    │   ├── SourceNotFound       the repository, branch or file is not there
    │   └── SourceBadAnswer      an answer that is not what was asked for
    ├── LedgerError              the ledger cannot be read or written
    ├── ProcessError             a child process could not be started or watched
    ├── ClientMissing            the program that a test needs is not installed
    ├── ClientUnsupported        the program is there, but it is not one that we know
    ├── SeedMismatch             seeded content does not have the md5 the catalogue names
    └── MetricsError             the metrics files cannot be read or written

A few that never leave their room (an exchange that was ended, an address that was refused) stand where they are raised;
they are TestwardenErrors, too.

Foreign exceptions (requests, PyGithub, lxml, sqlite3, OSError) are mapped to these at the edge where they appear.
The docstring of a class is its message when none is given.
"""

from __future__ import annotations

from datetime import datetime


class TestwardenError(Exception):
    """testwarden could not do what it was asked to do."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SettingsError(TestwardenError):
    """A setting is wrong."""

    def __init__(self, problems: list[str]) -> None:
        """Given one sentence per wrong setting, each naming the setting, its value and what is allowed."""
        super().__init__("\n".join(problems))
        self.problems = problems


class AgentError(TestwardenError):
    """The agent cannot go on."""


class AlreadyRunning(AgentError):
    """Another agent is using this cache folder."""


class HelperDied(AgentError):
    """A thread that the agent cannot do without has ended."""


class SourceError(TestwardenError):
    """The source of tasks could not be read."""


class SourceUnavailable(SourceError):
    """The source did not answer."""


class SourceRateLimited(SourceError):
    """The allowance of requests is used up."""

    def __init__(self, message: str | None = None, resets: datetime | None = None) -> None:
        """Given when the allowance is renewed (aware datetime), if the answer said so."""
        super().__init__(message)
        self.resets = resets


class SourceNotFound(SourceError):
    """The repository, branch or file does not exist."""


class SourceBadAnswer(SourceError):
    """The answer is not what was asked for."""


class LedgerError(TestwardenError):
    """The ledger cannot be used."""


class ProcessError(TestwardenError):
    """A child process could not be started or watched."""


class ClientMissing(TestwardenError):
    """The client program is not installed."""


class ClientUnsupported(TestwardenError):
    """The client program is not one that this version knows."""


class SeedMismatch(TestwardenError):
    """Seeded content does not have the md5 that the catalogue names."""


class MetricsError(TestwardenError):
    """The metrics files cannot be used."""
