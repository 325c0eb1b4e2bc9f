"""The cache folder: held by one agent at a time, with nothing left running of an earlier one."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from pathlib import Path

from testwarden.clients.leftovers import end_leftovers
from testwarden.clients.process import Keeper
from testwarden.errors import AgentError
from testwarden.lock import FolderLock

KEPT = ("metrics", "control", "scripts")
EMPTIED = ("work", "runs")
"""What an earlier agent left there is of no use to anybody."""
_RECORD = "processes"
_log = logging.getLogger(__name__)


def take(cache: Path, stack: ExitStack) -> Keeper:
    """Given the cache folder, make it and its parts (for the owner only), hold it until the stack is left, and return
    what starts processes from then on. Raise AgentError where that cannot be."""
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in (*KEPT, *EMPTIED):
            (cache / part).mkdir(exist_ok=True, mode=0o700)
        stack.enter_context(FolderLock(cache))
        for sentence in end_leftovers(cache / _RECORD):
            _log.warning("%s", sentence)
        for part in EMPTIED:
            _empty(cache / part)
        return stack.enter_context(Keeper(cache / _RECORD))
    except OSError as problem:
        raise AgentError(f"agent.cache_dir = {cache} cannot be used: {problem}") from problem


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
