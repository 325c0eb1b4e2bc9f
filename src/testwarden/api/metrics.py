"""What Prometheus reads: of the API at `GET /metrics`, or of the agent's own little server (`prometheus.listen`). Names by
its conventions; a registry of its own, nothing global."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from testwarden import __version__
from testwarden.api.attempt_metrics import AttemptCollector
from testwarden.api.door import Door
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import Sample
from testwarden.running.own_runs import OwnRun
from testwarden.safety.kill_switch import SwitchState

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class AgentMetrics:
    """All that is scraped of one agent: its attempts, which it is told, and its state, which it asks for at each scrape.

    Safe from any thread.
    """

    def __init__(self, door: Door) -> None:
        """Given the agent."""
        self._attempts = AttemptCollector()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(AgentCollector(door))
        self._registry.register(self._attempts)

    def note(self, sample: Sample) -> None:
        """Given what an attempt measured, count it. It takes microseconds and does not raise."""
        self._attempts.note(sample)

    def exposition(self) -> bytes:
        """Return what a scrape gets. Raise what the agent raises when it is asked."""
        return generate_latest(self._registry)


class AgentCollector(Collector):
    """Reads the agent's state."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what is there depends on the agent, and registering must not ask it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what holds at this moment."""
        snapshot, runs = self._door.snapshot(), self._door.own_runs()
        yield _gauge("testwarden_build_info", "The release that runs.", ["version"], [((__version__,), 1)])
        yield from _state(snapshot)
        yield from _budgets(snapshot.get("budgets", {}))
        yield from _runs(runs)
        # What k6 last told: asking each of a hundred would take longer than a scrape may.
        running = [(run, self._door.last_numbers(run.number)) for run in runs if run.ended is None]
        yield from _k6([(run, numbers) for run, numbers in running if numbers is not None])


def _gauge(
    name: str, said: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    """Return a gauge, given the names of its labels, and rows of their values with the number."""
    gauge = GaugeMetricFamily(name, said, labels=labels)
    for row, value in rows:
        gauge.add_metric(row, value)
    return gauge


def _state(snapshot: Mapping[str, Any]) -> Iterator[Metric]:
    now = snapshot["kill_switch"]["state"]
    states = [((state.value,), float(state.value == now)) for state in SwitchState]
    yield _gauge("testwarden_kill_switch", "The kill switch: 1 for the state that it is in.", ["state"], states)
    yield _gauge("testwarden_paused", "Whether the operator paused it.", [], [((), float(snapshot["paused"]))])


def _budgets(budgets: Mapping[str, Any]) -> Iterator[Metric]:
    if "attempts" not in budgets:
        return  # the ledger cannot be read at this moment, and no number is better than a wrong one
    attempts = budgets["attempts"]
    for part, said in (("used", "Attempts in the last 3600 s."), ("limit", "Attempts allowed in any 3600 s.")):
        rows = [((kind,), float(row[part])) for kind, row in attempts.items()]
        yield _gauge(f"testwarden_budget_attempts_{part}", said, ["type"], rows)
    moved = budgets["bytes"]
    yield _gauge("testwarden_budget_used_bytes", "Bytes moved in the last 24 h.", [], [((), float(moved["used"]))])
    yield _gauge("testwarden_budget_limit_bytes", "Bytes allowed in any 24 h.", [], [((), float(moved["limit"]))])
    spent = budgets["spent"]
    yield _gauge("testwarden_budget_used_ant", "ANT spent in the last 24 h.", [], [((), float(spent["used"]))])
    limit = float(spent["limit"] or 0)
    yield _gauge("testwarden_budget_limit_ant", "ANT that may be spent in any 24 h.", [], [((), limit)])


def _runs(runs: tuple[OwnRun, ...]) -> Iterator[Metric]:
    started = CounterMetricFamily("testwarden_own_runs_started", "Own tests that were started.")
    started.add_metric((), max((run.number for run in runs), default=0))
    yield started
    states = Counter((run.test.type.value, run.outcome.value if run.outcome else "running") for run in runs)
    said = "Own tests that the agent remembers, by what became of them."
    yield _gauge("testwarden_own_runs", said, ["type", "state"], states.items())


def _k6(runs: list[tuple[OwnRun, K6Numbers]]) -> Iterator[Metric]:
    def family(name: str, said: str, of: str) -> GaugeMetricFamily:
        rows = [((run.ref, run.test.title), getattr(n, of)) for run, n in runs]
        return _gauge(f"testwarden_k6_{name}", said, ["run", "title"], rows)

    yield family("virtual_users", "Virtual users of a running k6 test.", "vus")
    yield family("requests", "Requests of a running k6 test so far.", "requests")
    yield family("requests_per_second", "Requests a second of a running k6 test, since its start.", "rps")
    yield family("sent_bytes", "Bytes that a running k6 test sent.", "sent")
    yield family("received_bytes", "Bytes that a running k6 test received.", "received")
    failed = [((run.ref, run.test.title), n.failed) for run, n in runs if n.failed is not None]
    said = "Which part of the requests of a running k6 test failed, 0 to 1."
    yield _gauge("testwarden_k6_requests_failed_ratio", said, ["run", "title"], failed)
    names = {"p90": "rt90p", "p95": "rt95p", "p99": "rt99p", "max": "rt_max"}
    times = [
        ((run.ref, run.test.title, stat), getattr(n, of))
        for run, n in runs
        for stat, of in names.items()
        if getattr(n, of) is not None
    ]
    said = "How long requests of a running k6 test took."
    yield _gauge("testwarden_k6_request_duration_seconds", said, ["run", "title", "stat"], times)
