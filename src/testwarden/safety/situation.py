"""What the agent knows at this moment that decides about starting: one place, safe for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from testwarden.safety.gate import Conditions
from testwarden.safety.kill_switch import KillSwitch


class Situation:
    """Holds the conditions that the gate looks at. What is read is a frozen snapshot."""

    def __init__(self, first: Conditions, disk_free: Callable[[], int]) -> None:
        """Given the conditions at start and how to ask for the free bytes of the cache folder's disk."""
        self._lock = threading.Lock()
        self._conditions = first
        self._disk_free = disk_free

    def conditions(self) -> Conditions:
        """Return the conditions of this moment. A disk that cannot be asked has no room."""
        try:
            free = self._disk_free()
        except OSError:
            free = 0
        return replace(self.known(), disk_free=free)

    def known(self) -> Conditions:
        """Return them without asking the disk, which may hang: what must hold whatever becomes of the disk."""
        with self._lock:
            return self._conditions

    def update(self, **changes: Any) -> None:
        """Given new values by the names of `Conditions`, replace these."""
        with self._lock:
            self._conditions = replace(self._conditions, **changes)

    def change_switch(self, change: Callable[[KillSwitch], KillSwitch]) -> tuple[KillSwitch, KillSwitch]:
        """Given what turns the kill switch's knowledge into the next one, apply it; return before and after."""
        with self._lock:
            before = self._conditions.switch
            self._conditions = replace(self._conditions, switch=change(before))
            return before, self._conditions.switch
