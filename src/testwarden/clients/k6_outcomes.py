"""How k6 ended → outcome and figures: a table and pure functions. A new exit code is one row.

Sources: k6's `errext/exitcodes`; 0, 99, 100, 103, 105, 106, 107, 108, 110 and the shape of the summary were seen with
v1.8.1 and v2.2.0. An exception inside an iteration and requests that fail are no failure to k6 (exit 0), and none to us:
the figures tell.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testwarden.clients.k6_numbers import K6Numbers, number, seconds, whole
from testwarden.clients.process import Ended, Why
from testwarden.model import Figure, Outcome

MOST_SUMMARY = 16 * 1024 * 1024
"""Bytes of a summary that are read: a script can make as many checks and metrics as it likes."""
MOST_SAID = 200
"""Characters of k6's own words in a reason."""


@dataclass(frozen=True)
class Meaning:
    """What an exit code means."""

    outcome: Outcome
    sentence: str
    mendable: bool = False
    """A load test is not made again because it went badly; what never began is."""


EXIT_CODES = {
    0: Meaning(Outcome.OK, "ok"),
    2: Meaning(Outcome.CLIENT_ERROR, "k6 crashed"),
    97: Meaning(Outcome.CLIENT_ERROR, "the run in the cloud failed"),
    98: Meaning(Outcome.CLIENT_ERROR, "the run in the cloud cannot be followed"),
    99: Meaning(Outcome.THRESHOLDS_FAILED, "thresholds failed"),
    100: Meaning(Outcome.CLIENT_ERROR, "setup() of the script took too long"),
    101: Meaning(Outcome.CLIENT_ERROR, "teardown() of the script took too long"),
    102: Meaning(Outcome.CLIENT_ERROR, "a part of the script took too long"),
    103: Meaning(Outcome.CLIENT_KILLED, "stopped through its REST API, perhaps by the script itself"),
    104: Meaning(Outcome.CLIENT_ERROR, "k6 calls its options invalid"),
    105: Meaning(Outcome.CLIENT_KILLED, "stopped by a signal"),
    106: Meaning(Outcome.CLIENT_ERROR, "the port of k6's REST API was taken by another program", mendable=True),
    107: Meaning(Outcome.CLIENT_ERROR, "the script raised an exception before it began"),
    108: Meaning(Outcome.THRESHOLDS_FAILED, "the script aborted the test"),
    109: Meaning(Outcome.CLIENT_ERROR, "k6 crashed"),
    110: Meaning(Outcome.THRESHOLDS_FAILED, "the script called the test failed"),
    255: Meaning(Outcome.UNKNOWN_ERROR, "k6 failed"),
}
"""Every exit code that k6 has, and 2, with which Go ends a program that has no memory left or panics."""

_UNKNOWN = Meaning(Outcome.UNKNOWN_ERROR, "k6 ended in a way that is not known")
_OWN_END = (0, 99, 108, 110)
"""A run that ends so came to its end, even if it was asked to stop in the same moment."""
_SAID = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"|^(?:fatal error|panic): (.*)', re.MULTILINE)
_PLAIN = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]+")


def meaning_of(ended: Ended) -> Meaning:
    """Given how k6 ended, return what that means; where the end was our doing, the caller knows why."""
    if ended.exit_code in EXIT_CODES and (ended.why is Why.FINISHED or ended.exit_code in _OWN_END):
        return EXIT_CODES[ended.exit_code]
    if ended.why is Why.STOPPED:
        return Meaning(Outcome.CLIENT_KILLED, "stopped by the agent")
    if ended.why is Why.TIMED_OUT:
        return Meaning(Outcome.CLIENT_KILLED, "stopped by the agent at the time limit")
    if ended.signal is not None:
        return Meaning(Outcome.CLIENT_ERROR, f"k6 was killed by {_name(ended.signal)}, not by the agent")
    return _UNKNOWN


def said(ended: Ended) -> str:
    """Return k6's own words about what went wrong, empty where there are none: its first error message."""
    found = _SAID.search(ended.stderr)
    text = (found[1] or found[2] or "") if found else _last_line(ended.stderr)
    text = re.sub(r"\\[nt]", " ", text).replace('\\"', '"')
    return " ".join(_PLAIN.sub(" ", text).split())[:MOST_SAID]


def read_summary(text: bytes) -> Mapping[str, Any] | None:
    """Given what `--summary-export` wrote, return its metrics by name, None where it is nothing of the kind."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    metrics = found.get("metrics") if isinstance(found, dict) else None
    if not isinstance(metrics, dict):
        return None
    return {name: metric for name, metric in metrics.items() if isinstance(metric, dict)}


def figures(
    ended: Ended, metrics: Mapping[str, Any] | None, last: K6Numbers | None, refusals: int, vus: int = 0
) -> tuple[tuple[str, Figure], ...]:
    """Given how k6 ended, its summary, what it said last while it ran, how many requests its cage refused, and how many
    virtual users there were to be, return the figures of the sample.

    Durations are seconds, of HTTP requests; `requests_failed_rate` is a part of 1. A figure that is not known is left
    out: all but the last three without a summary and last words, `requests_failed_rate` and durations without requests.
    `exit_code` is negative where a signal ended k6. Each figure always has the same type.
    """
    measured = _of_summary(metrics, vus) if metrics is not None else _of_numbers(last) if last else {}
    code = ended.exit_code if ended.exit_code is not None else -(ended.signal or 0)
    ending: dict[str, Figure | None] = {
        "exit_code": code,
        "exit_meaning": meaning_of(ended).sentence,
        "targets_refused": refusals,
    }
    return tuple((name, value) for name, value in {**measured, **ending}.items() if value is not None)


def moved(metrics: Mapping[str, Any] | None, last: K6Numbers | None) -> int | None:
    """Given the summary and the last words, return the bytes that k6 sent and received, None where it is not known."""
    if metrics is None:
        return last.sent + last.received if last else None
    return whole(_of(metrics, "data_received").get("count")) + whole(_of(metrics, "data_sent").get("count"))


def _of_summary(metrics: Mapping[str, Any], vus: int) -> dict[str, Figure | None]:
    requests, times = _of(metrics, "http_reqs"), _of(metrics, "http_req_duration")
    checks, users = _of(metrics, "checks"), _of(metrics, "vus_max")
    return {
        # k6 counts them once a second: a shorter run has no count.
        "vus_max": whole(users.get("max")) or vus,
        "requests": whole(requests.get("count")),
        "requests_failed_rate": number(_of(metrics, "http_req_failed").get("value")),
        "rps": number(requests.get("rate")) or 0.0,
        **{f"duration_p{percent}": seconds(times.get(f"p({percent})")) for percent in (50, 90, 95, 99)},
        "duration_max": seconds(times.get("max")),
        "data_received": whole(_of(metrics, "data_received").get("count")),
        "data_sent": whole(_of(metrics, "data_sent").get("count")),
        "checks_passed": whole(checks.get("passes")),
        "checks_failed": whole(checks.get("fails")),
        "thresholds_ok": not any(_crossed(metric) for metric in metrics.values()),
    }


def _of_numbers(last: K6Numbers) -> dict[str, Figure | None]:
    return {
        "vus_max": last.vus_max,
        "requests": last.requests,
        "requests_failed_rate": last.failed,
        "rps": last.rps,
        "duration_p90": last.rt90p,
        "duration_p95": last.rt95p,
        "duration_p99": last.rt99p,
        "duration_max": last.rt_max,
        "data_received": last.received,
        "data_sent": last.sent,
    }


def _crossed(metric: Mapping[str, Any]) -> bool:
    """Whether a threshold of a metric failed: the summary says `true` of those."""
    thresholds = metric.get("thresholds")
    return isinstance(thresholds, dict) and any(value is True for value in thresholds.values())


def _of(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metrics.get(name)
    return found if isinstance(found, dict) else {}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _name(number_: int) -> str:
    try:
        return signal.Signals(number_).name
    except ValueError:
        return f"signal {number_}"
