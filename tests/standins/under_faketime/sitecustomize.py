"""For a Python under libfaketime 0.9.10: there clock_nanosleep fails on the monotonic clock, which is `time.sleep`."""

from __future__ import annotations

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
