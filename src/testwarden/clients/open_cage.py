"""No cage at all, behind the same protocol: for the operator's own runs where there is no bubblewrap, and for tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from testwarden.clients.cage import Confinement, Inside

SCRATCH = "/work"
FILES = "/files"
_PATIENCE = 2.0


class OpenInside:
    """See Inside. Files are where they are, the network is the host's, and nothing is counted or refused."""

    env: Mapping[str, str] = MappingProxyType({})
    refused: tuple[str, ...] = ()
    refusals = 0
    moved = 0

    def __init__(self, confinement: Confinement) -> None:
        self._outside = {SCRATCH: str(confinement.folder.absolute())}
        for name, path in confinement.files.items():
            self._outside[f"{FILES}/{name}"] = str(path.absolute())

    def wrap(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """See Inside.wrap. Arguments, and what follows a `=` in one, that are paths of the inside become those outside."""
        return tuple(self._translated(argument) for argument in argv)

    def connect(self, port: int) -> socket.socket:
        """See Inside.connect."""
        return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)

    def _translated(self, argument: str) -> str:
        before, equals, path = argument.rpartition("=")
        for inside, outside in self._outside.items():
            if path == inside or path.startswith(f"{inside}/"):
                return f"{before}{equals}{outside}{path.removeprefix(inside)}"
        return argument


class OpenCage:
    """Implements Cage, confining nothing."""

    problem = ""

    @contextmanager
    def enter(self, confinement: Confinement) -> Iterator[Inside]:
        """See Cage.enter. `reach` is not held: whoever needs it held must not use this cage."""
        yield OpenInside(confinement)
