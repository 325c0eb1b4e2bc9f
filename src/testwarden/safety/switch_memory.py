"""What the kill switch holds, remembered across restarts: a restart must not end what only the hour's fetch may end."""

from __future__ import annotations

import logging

from testwarden.errors import LedgerError
from testwarden.safety.budget import Ledger

_NOTE = "kill-switch"
_log = logging.getLogger(__name__)


class SwitchMemory:
    """Keeps it in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Given the ledger. Raise LedgerError if it cannot be read."""
        self._ledger = ledger
        self.held = ledger.noted(_NOTE)
        """What is on the disk; empty where nothing is held."""

    def keep(self, held: str) -> None:
        """Given what the kill switch holds, note it if that is new. Where that fails, the next call tries again."""
        if held == self.held:
            return
        try:
            self._ledger.note(_NOTE, held)
            self.held = held
        except LedgerError as problem:
            _log.error("the kill switch could not be noted for the next start: %s", problem)
