"""When things run: APScheduler behind one small door, with a trigger that knows the cycle.

APScheduler decides by the wall clock, so the agent calls `rebuild` when that clock was set, and a cheap periodic job
wakes it after a suspend (its waits do not advance meanwhile).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger

from testwarden.safety.cycle import MINUTES, Cycle


class EachCycle(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 ships no types
    """Fires once a cycle at the same minute of it."""

    def __init__(self, cycle: Cycle, minute: float) -> None:
        self._cycle = cycle
        self._minute = minute

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Given the last due time, if any, and now, return the next due time."""
        utc = now.astimezone(timezone.utc)
        due = self._cycle.next_at(utc, self._minute)
        if previous_fire_time is not None and due <= previous_fire_time:
            # Asked a moment before a due time that was already served.
            due = self._cycle.next_at(previous_fire_time.astimezone(timezone.utc), self._minute)
        return due


class _ThreadPerJob(BaseExecutor):  # type: ignore[misc]  # APScheduler 3 ships no types
    """Runs each job in a daemon thread of its own.

    The pool that APScheduler brings is joined when the interpreter exits: a fetch that hangs would delay the exit.
    """

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        def run() -> None:
            try:
                events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
            except BaseException:
                self._run_job_error(job.id, *sys.exc_info()[1:])
                raise
            self._run_job_success(job.id, events)

        threading.Thread(target=run, name=f"job {job.name}", daemon=True).start()


@dataclass(frozen=True)
class Due:
    """Something that will run."""

    name: str
    at: datetime


class Scheduler:
    """Runs calls at minutes of the cycle, at instants and periodically, each in a thread of its own."""

    def __init__(self, cycle: Cycle, on_error: Callable[[str, BaseException], None]) -> None:
        """Given the cycle and what to call with a job's name and the exception it ended with."""
        self._cycle = cycle
        self._on_error = on_error
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": _ThreadPerJob()},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            daemon=True,
        )
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)

    def start(self) -> None:
        """Begin to run what is due."""
        self._scheduler.start()

    def stop(self) -> None:
        """Run nothing more. Does not wait for what runs."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def each_cycle(self, name: str, minute: float, call: Callable[[], None]) -> None:
        """Call once a cycle at this minute of it (0 ≤ minute < 60, also between two minutes)."""
        self._scheduler.add_job(call, EachCycle(self._cycle, minute), id=name, name=name, replace_existing=True)

    def every(self, name: str, seconds: int, second: float, call: Callable[[], None]) -> None:
        """Call each so many seconds of the wall clock (a whole part of an hour), at this second of them.

        Not APScheduler's interval: after a clock that was set by years it would list every call that was missed.
        """
        trigger = EachCycle(Cycle(seconds), second * MINUTES / seconds)
        self._scheduler.add_job(call, trigger, id=name, name=name, replace_existing=True)

    def at(self, name: str, when: datetime, late: timedelta, call: Callable[[], None]) -> None:
        """Call once at an instant, replacing an earlier call of that name; not at all when it would be later by more
        than `late`, as after a suspend."""
        self._scheduler.add_job(
            call,
            DateTrigger(when, timezone=timezone.utc),
            id=name,
            name=name,
            replace_existing=True,
            misfire_grace_time=max(1, int(late.total_seconds())),
        )

    def forget(self, prefix: str) -> None:
        """Drop every call whose name begins so."""
        for job in self._scheduler.get_jobs():
            if job.id.startswith(prefix):
                with contextlib.suppress(JobLookupError):  # it has just run, or the scheduler has stopped
                    job.remove()

    def upcoming(self) -> list[Due]:
        """Return what will run, soonest first."""
        jobs = self._scheduler.get_jobs()
        dues = [Due(job.name, job.next_run_time) for job in jobs if getattr(job, "next_run_time", None)]
        return sorted(dues, key=lambda due: due.at)

    def _failed(self, event: JobExecutionEvent) -> None:
        self._on_error(event.job_id, event.exception)
