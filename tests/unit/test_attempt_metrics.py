"""Attempts as Prometheus counts them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from standins.api_door import MemoryDoor
from standins.samples import a_sample
from testwarden.api.metrics import AgentMetrics
from testwarden.model import FileSize, Outcome, TestType


def scraped(metrics: AgentMetrics) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture
def metrics(tmp_path: Path) -> AgentMetrics:
    return AgentMetrics(MemoryDoor(tmp_path))


def test_attempts_and_bytes_are_counted_by_type_and_size(metrics: AgentMetrics) -> None:
    metrics.note(a_sample(bytes=10))
    metrics.note(a_sample(bytes=5, outcome=Outcome.NETWORK_ERROR))
    metrics.note(a_sample(bytes=7, filesize=FileSize.SMALL))
    metrics.note(a_sample(bytes=3, type=TestType.K6, filesize=None, outcome=Outcome.THRESHOLDS_FAILED))
    found = scraped(metrics)
    assert found["testwarden_attempts_total{filesize=tiny,outcome=ok,type=download}"] == 1
    assert found["testwarden_attempts_total{filesize=tiny,outcome=network_error,type=download}"] == 1
    assert found["testwarden_attempts_total{filesize=xx,outcome=thresholds_failed,type=k6}"] == 1
    assert found["testwarden_attempt_bytes_total{filesize=tiny,type=download}"] == 15
    assert found["testwarden_attempt_bytes_total{filesize=small,type=download}"] == 7
    assert found["testwarden_budget_attempts_limit{type=download}"] == 360


def test_durations_fall_into_buckets_whose_bound_is_included(metrics: AgentMetrics) -> None:
    for seconds in (0.1, 0.11, 1.0, 5000.0):
        metrics.note(a_sample(exec_time=seconds))
    found, labels = scraped(metrics), "filesize=tiny,{}type=download"
    name = "testwarden_attempt_duration_seconds"
    counted = {
        le: found[f"{name}_bucket{{{labels.format(f'le={le},')}}}"] for le in ("0.1", "0.25", "0.5", "1.0", "3600.0")
    }
    assert counted == {"0.1": 1, "0.25": 2, "0.5": 2, "1.0": 3, "3600.0": 3}
    assert found[f"{name}_bucket{{{labels.format('le=+Inf,')}}}"] == found[f"{name}_count{{{labels.format('')}}}"] == 4
    assert found[f"{name}_sum{{{labels.format('')}}}"] == pytest.approx(5001.21)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_duration_is_counted_and_spoils_no_sum(metrics: AgentMetrics, seconds: float) -> None:
    metrics.note(a_sample(exec_time=seconds))
    metrics.note(a_sample(exec_time=2.0))
    found = scraped(metrics)
    assert found["testwarden_attempts_total{filesize=tiny,outcome=ok,type=download}"] == 2
    assert found["testwarden_attempt_duration_seconds_count{filesize=tiny,type=download}"] == 1
    assert found["testwarden_attempt_duration_seconds_sum{filesize=tiny,type=download}"] == 2.0


def test_many_workers_count_while_prometheus_looks(metrics: AgentMetrics) -> None:
    threads = [threading.Thread(target=lambda: [metrics.note(a_sample()) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = scraped(metrics)
        total = found.get("testwarden_attempts_total{filesize=tiny,outcome=ok,type=download}", 0)
        assert total == found.get("testwarden_attempt_duration_seconds_count{filesize=tiny,type=download}", 0)
    assert scraped(metrics)["testwarden_attempts_total{filesize=tiny,outcome=ok,type=download}"] == 4000
