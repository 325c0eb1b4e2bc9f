"""What k6 tests need, built when the first one asks for it: its modules are not worth the start of every agent."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from testwarden.clients.ports import PortPool
from testwarden.clients.process import Processes
from testwarden.clients.stop import Stop
from testwarden.errors import ClientMissing, ClientUnsupported, ProcessError
from testwarden.model import Origin, Task, TestType
from testwarden.safety.limits import Limits
from testwarden.settings_schema import Settings

if TYPE_CHECKING:
    from testwarden.clients.cage import Cage
    from testwarden.clients.k6 import K6Client
    from testwarden.clients.k6_load import K6Bounds
    from testwarden.clients.k6_numbers import K6Numbers
    from testwarden.running.own_runs import OwnTest, Watched
    from testwarden.workloads.workload import Workload

EMBEDDED_NAME = "embedded.testwarden"
"""The embedded network, as a k6 script in a cage calls it: a name that only the cage's proxy knows."""
FIRST_PORT, LAST_PORT = 26500, 27499
"""For k6's REST API; below the range that Linux takes ports of outgoing connections from."""


class K6Parts:
    """Client, cage, bounds and ports. Safe from any thread."""

    def __init__(
        self, settings: Settings, limits: Limits, processes: Processes, embedded: tuple[str, int] | None
    ) -> None:
        """Given the settings, the limits in force, what runs programs, and host and port of the embedded network."""
        self._settings = settings
        self._limits = limits
        self._processes = processes
        self._embedded = embedded
        self._lock = threading.Lock()
        self._built: tuple[K6Client, Cage] | None = None
        self.ports = PortPool(FIRST_PORT, LAST_PORT)

    def _parts(self) -> tuple[K6Client, Cage]:
        with self._lock:
            if self._built is None:
                from testwarden.clients.bubblewrap import Bubblewrap
                from testwarden.clients.k6 import K6Client

                names = {EMBEDDED_NAME: self._embedded} if self._embedded else {}
                client = K6Client(
                    self._processes, bin_dir=self._settings.agent.bin_dir, search_path=os.environ.get("PATH", "")
                )
                self._built = client, Bubblewrap(self._processes, names)
            return self._built

    def problem(self, origin: Origin) -> str:
        """Return why k6 tests of this origin cannot run here, with what to install; empty where they can."""
        client, cage = self._parts()
        try:
            client.describe(Stop())
        except (ClientMissing, ClientUnsupported, ProcessError) as problem:
            return str(problem)
        except OSError as problem:
            return f"k6 cannot be looked at: {problem}"
        if origin is Origin.PUBLIC and cage.problem:
            return f"k6 tasks of a control file run only in a cage: {cage.problem}"
        return ""

    def warm(self) -> None:
        """Build everything and look at k6 and the cage now, so that the first test does not wait for that."""
        self.problem(Origin.PUBLIC)
        self.bounds()

    def describe(self) -> tuple[str, str]:
        """Return which k6 there is and why there is no cage, the latter empty where there is one. Raise ClientMissing,
        ClientUnsupported or ProcessError."""
        client, cage = self._parts()
        program = client.describe(Stop())
        return f"{program.path}, version {program.version}", cage.problem

    def bounds(self) -> Mapping[Origin, K6Bounds]:
        """Return what a run of each origin may use."""
        from testwarden.clients.k6_load import K6Bounds
        from testwarden.workloads.k6 import public_bounds

        row, own = self._limits.of(TestType.K6), self._limits.own
        if row is None or row.vus is None or row.seconds is None or row.rate is None:
            raise TypeError("the limits have no complete row for k6")
        return {
            Origin.PUBLIC: public_bounds(row.vus, row.seconds, row.rate),
            Origin.OWN: K6Bounds(own.vus, own.seconds),
        }

    def workload(self, files: Mapping[str, bytes], progress: Callable[[Task, K6Numbers], None]) -> Workload:
        """Given scripts and data by SHA-256, and who gets the numbers of each run, return what runs a control file's
        k6 tasks."""
        from testwarden.workloads.k6 import K6Workload

        client, cage = self._parts()
        return K6Workload(client, cage, files, self.bounds(), self.ports.lend, progress=progress)

    def own_workload(self, test: OwnTest, watched: Watched) -> Workload:
        """Return what carries out one own k6 test."""
        from testwarden.workloads.k6 import K6Workload

        client, cage = self._parts()
        return K6Workload(
            client,
            cage,
            dict(test.files),
            self.bounds(),
            lambda: contextlib.nullcontext(watched.port or 0),
            progress=watched.progress,
            started=watched.started,
            log=watched.log,
        )
