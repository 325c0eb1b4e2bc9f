"""Agents that need most of a minute each, all at the same time."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import dataclass

from acceptance import demo_runs, troubled_runs
from standins.agent_process import Ending


@dataclass(frozen=True)
class LongRuns:
    """What became of them."""

    demo: demo_runs.Finished
    troubled: dict[str, Ending]


def run_all(stack: ExitStack) -> LongRuns:
    """Start them, do to them what there is to do, and wait for their ends."""
    demos, troubled = demo_runs.start(stack), troubled_runs.start(stack)
    demo_runs.disturb(demos)
    troubled_runs.see_through(troubled)
    ended = {trouble: one.agent.end(signal.SIGTERM) for trouble, one in troubled.items()}
    return LongRuns(demo_runs.finish(demos), ended)
