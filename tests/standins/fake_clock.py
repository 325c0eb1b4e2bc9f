"""A clock for agents that a test can set."""

from __future__ import annotations

import time
from pathlib import Path

STANDINS = Path(__file__).parent


class Clock:
    """A clock for agents that a test can set, by Debian's libfaketime. The steady clocks go on as they are."""

    def __init__(self, folder: Path, library: str, time_of_day: str) -> None:
        """Given a folder for its file, libfaketime, and the time in UTC that it is to show, as `12:10:00`."""
        self._file = folder / "clock"
        self._midnight = int(time.time()) // 86400 * 86400 + 86400
        self.ahead = 0
        """Seconds that it is ahead of real time."""
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(STANDINS / "under_faketime"),
        }
        self.set(time_of_day)

    def set(self, time_of_day: str) -> None:
        """Let it be this time, on the day after the one on which the clock was made. Agents know within a second."""
        hours, minutes, seconds = map(int, time_of_day.split(":"))
        self.ahead = self._midnight + hours * 3600 + minutes * 60 + seconds - int(time.time())
        new = self._file.with_suffix(".new")
        new.write_text(f"+{self.ahead}\n")
        new.rename(self._file)
