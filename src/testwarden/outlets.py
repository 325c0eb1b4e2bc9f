"""Where what was measured goes: the files, and from them a database and Prometheus, if the operator wants that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from testwarden import assembly
from testwarden.clients.stop import Stop
from testwarden.clock import Clock
from testwarden.desk import Desk
from testwarden.metrics.agent_file import AgentFile
from testwarden.metrics.agent_line import AgentState, Refusals, agent_line
from testwarden.model import Sample
from testwarden.settings_schema import Settings

if TYPE_CHECKING:
    from testwarden.api.metrics import AgentMetrics
    from testwarden.metrics.influx_push import Pusher

_NS = 10**9


class Outlets:
    """Takes samples from any thread. `fold` is called each minute, by one thread at a time."""

    def __init__(self, settings: Settings, clock: Clock, stop: Stop) -> None:
        """Given the settings, the clock, and what ends a push to the database early. Raise MetricsError where the files
        cannot be used."""
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._recorder = assembly.build_recorder(settings)
        self._about_agent = AgentFile(settings.agent.cache_dir / "metrics")
        self._pushing = threading.Lock()
        self._pusher: Pusher | None = None
        self.refusals = Refusals()
        self.metrics: AgentMetrics | None = None
        """For Prometheus; None where nobody wants them."""

    def record(self, sample: Sample) -> None:
        """Take a sample; it survives the agent from then on."""
        self._recorder.record(sample)
        if self.metrics is not None:
            self.metrics.note(sample)

    def fold(self, state: AgentState) -> None:
        """Fold what was recorded into the files, with a line about the agent itself."""
        now = self._clock.now().utc
        self._recorder.fold(now)
        stamp = int(now.timestamp()) * _NS
        self._about_agent.append(agent_line(assembly.identity(self._settings), state, stamp), now)

    def push(self) -> None:
        """Send what is new in the files to the database; do nothing where there is none, or while that is being done."""
        server = assembly.influx_server(self._settings)
        if server is None or not self._pushing.acquire(blocking=False):
            return
        try:
            if self._pusher is None:
                from testwarden.metrics.influx_push import Pusher

                self._pusher = Pusher(server, self._settings.agent.cache_dir / "metrics", self._stop)
            self._pusher.push(self._clock.now().steady)
        finally:
            self._pushing.release()

    def close(self) -> None:
        """Fold what is left, and close."""
        self._recorder.close(self._clock.now().utc)
        if self._pusher is not None:
            self._pusher.close()

    def open_metrics(self, desk: Desk, stack: ExitStack, died: Callable[[BaseException], None]) -> None:
        """Make the metrics for Prometheus where somebody can ask for them, and serve them until the stack is left, where
        they have a server of their own. Raise TestwardenError, one sentence, where that cannot be."""
        listen = self._settings.prometheus.listen
        if listen is None and self._settings.api.listen is None:
            return
        from testwarden.prometheus import PrometheusServer, build_metrics

        self.metrics = build_metrics(desk)
        if listen is not None:
            server = PrometheusServer(listen, self.metrics, died)
            server.start()
            stack.callback(server.stop)
