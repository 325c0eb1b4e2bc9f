from __future__ import annotations

import logging
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

import pytest

from testwarden.model import Moment
from testwarden.safety.budget import Ledger
from testwarden.safety.switch_memory import SwitchMemory

NOW = Moment(datetime(2026, 11, 21, 12, tzinfo=timezone.utc), 50.0, "boot")


def test_what_is_held_is_there_after_a_restart_and_gone_when_it_was_let_go(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db", NOW)
    memory = SwitchMemory(ledger)
    assert memory.held == ""
    memory.keep("issue 3")
    assert SwitchMemory(ledger).held == "issue 3"
    memory.keep("")
    assert SwitchMemory(ledger).held == ""
    ledger.close()


def test_what_could_not_be_noted_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(tmp_path / "ledger.db", NOW)
    memory = SwitchMemory(ledger)
    breaker = sqlite3.connect(tmp_path / "ledger.db")
    breaker.execute("ALTER TABLE notes RENAME TO gone")
    with caplog.at_level(logging.ERROR):
        memory.keep("issue 3")
    assert "could not be noted" in caplog.text
    breaker.execute("ALTER TABLE gone RENAME TO notes")
    breaker.close()
    memory.keep("issue 3")
    assert SwitchMemory(ledger).held == "issue 3"
    ledger.close()
