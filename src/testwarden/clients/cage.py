"""What a program that we do not trust runs in: it sees only its files, and reaches only its targets."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Reach:
    """What may be reached from inside, and how much."""

    targets: tuple[str, ...]
    """`host`, `host:port` or `*.host`, where the host is a name or an address; without a port, any."""
    private: bool = False
    """Whether private, loopback and link-local addresses may be reached: never for what a public control file names.
    The metadata of a cloud is not reached in either case."""
    rate: int | None = None
    """Requests a second, all targets together; with it, tunnels are counted apart and have to be TLS, and what the program
    sends in them is held to the same rate. None: no limit."""
    most_bytes: int | None = None
    """Bytes in both directions together, beyond which everything is refused."""


@dataclass(frozen=True)
class Confinement:
    """How one attempt is confined."""

    folder: Path
    """The scratch folder, the only one that can be written: `/work` inside, and the working folder."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name → file or folder that can be read inside as `/files/NAME`, and not written."""
    programs: tuple[Path, ...] = ()
    """Programs that can be executed, under the path that they have outside."""
    reach: Reach | None = None
    """None: the host's own network, unconfined."""


class Inside(Protocol):
    """A cage that stands. Several commands may run in it, one after the other."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables that a program inside needs, such as HTTP_PROXY and HOME."""
        ...

    def wrap(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Given what is to run inside, return what is to be started outside, by `process.py`. TERM to its process group
        reaches the program inside, and nothing around it dies of it.

        The command's environment is that of the programs around the cage, too: no variable of it may have a name that
        a task has chosen (`LD_PRELOAD`)."""
        ...

    def connect(self, port: int) -> socket.socket:
        """Return a connection to a loopback port inside, of the command that was started last. Raise OSError if there
        is none (any more)."""
        ...

    @property
    def refused(self) -> tuple[str, ...]:
        """What was refused so far, `host:port: why`, each once, bounded."""
        ...

    @property
    def refusals(self) -> int:
        """How many requests were refused so far."""
        ...

    @property
    def moved(self) -> int:
        """Bytes that went through, both directions together."""
        ...


class Cage(Protocol):
    """Makes confinements. Called from many threads at once."""

    @property
    def problem(self) -> str:
        """Why there is no cage on this machine, with what to install; empty where there is one. Asks only once."""
        ...

    def enter(self, confinement: Confinement) -> AbstractContextManager[Inside]:
        """Return a cage that stands while inside the context. Raise ProcessError if it cannot be set up."""
        ...
