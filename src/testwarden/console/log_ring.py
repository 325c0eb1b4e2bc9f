"""The newest lines of the log, numbered, for whoever looks on through the API."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Iterable
from types import TracebackType

from testwarden.console.log import Masker, Renderer, TextFormatter, wanted

MOST_LINES = 1000


class LogRing(logging.Handler):
    """Keeps the last MOST_LINES lines while it is installed; a context manager. Called from many threads at once."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Given the texts that must not appear."""
        super().__init__()
        self.addFilter(wanted)
        self._render = Renderer(TextFormatter(), Masker(secrets))
        self._guard = threading.Lock()
        self._numbers = itertools.count(1)
        self._lines: deque[tuple[int, str]] = deque(maxlen=MOST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the lines of one record."""
        lines = self._render(record).decode("utf-8", "replace").rstrip("\n").split("\n")
        with self._guard:
            self._lines.extend((next(self._numbers), line) for line in lines)

    def lines(self, after: int) -> tuple[int, tuple[str, ...]]:
        """Return the lines behind the one of number `after`, and the number of the last one there is; 0: none yet."""
        with self._guard:
            newest = self._lines[-1][0] if self._lines else 0
            return newest, tuple(line for number, line in self._lines if number > after)

    def __enter__(self) -> LogRing:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self)
