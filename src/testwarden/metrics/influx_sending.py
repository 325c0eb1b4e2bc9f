"""Getting lines into a server: which ones are none, which ones it refuses, and trying again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from testwarden.metrics.influx import NotNow, Refusal, Writer
from testwarden.metrics.line_protocol import LineReader

NO_LINE = "this is no line of InfluxDB's line protocol with a timestamp"
EVER = -(2**63)
"""Nanoseconds: no timestamp is before it."""
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try of an import."""

_KEY = rb"(?:[^\\ ,=\n]|\\[^\n])+"
_BOOLEAN = rb"[tTfF]|true|True|TRUE|false|False|FALSE"
_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_VALUE = rb'(?:"(?:[^"\\\n]|\\[^\n])*"|%b|-?\d+[iu]|%b)' % (_BOOLEAN, _NUMBER)
_POINT = re.compile(
    rb"(?:[^\\ ,\n#]|\\[^\n])(?:[^\\ ,\n]|\\[^\n])*(?:,%b=%b)* %b=%b(?:,%b=%b)* (-?\d+)"
    % (_KEY, _KEY, _KEY, _VALUE, _KEY, _VALUE)
)


@dataclass(frozen=True)
class Lines:
    """Lines of a block, looked at."""

    good: list[bytes]
    numbers: Sequence[int]
    """Of each good one: which line of the block it is, from 0."""
    bad: dict[int, str]
    """Those that are none, by the same number, and why."""


class LineCheck:
    """Says which lines no server can read. It is needed because VictoriaMetrics skips such lines and says nothing."""

    def __init__(self, since: int = EVER) -> None:
        """Given the timestamp (ns) before which lines are left out."""
        self._since = since
        self._reader = LineReader()

    def look(self, block: bytes) -> Lines:
        """Given a block of lines, return them apart. Empty lines and comments are neither good nor bad."""
        good, numbers, bad = [], [], {}
        for number, (line, row) in enumerate(self._reader.rows(block if block.endswith(b"\n") else block + b"\n")):
            if row is not None:
                stamp = row.stamp
            elif found := _POINT.fullmatch(line):
                stamp = int(found[1])
            else:
                if line.strip() and not line.startswith(b"#"):
                    bad[number] = NO_LINE
                continue
            if stamp >= self._since:
                good.append(line)
                numbers.append(number)
        return Lines(good, numbers, bad)


def send(writer: Writer, lines: Sequence[bytes]) -> dict[int, str]:
    """Given lines, send them; return those that the server refused, by their index, and why. The others are stored.

    A server that does not say which of them it refused is given them again in halves: points that it has already are
    the same points. Raise Denied or NotNow; then nothing is known of any.
    """
    if not lines:
        return {}
    refusal = writer.write(b"\n".join(lines) + b"\n", len(lines))
    if refusal is None:
        return {}
    if refusal.whole or len(lines) == 1:
        return dict.fromkeys(range(len(lines)), refusal.message)
    if refusal.by_line:
        return _without(writer, lines, refusal)
    half = len(lines) // 2
    later = send(writer, lines[half:])
    return send(writer, lines[:half]) | {half + index: message for index, message in later.items()}


def _without(writer: Writer, lines: Sequence[bytes], refusal: Refusal) -> dict[int, str]:
    """Send the others again: some servers name only the first hundred."""
    kept = [index for index in range(len(lines)) if index not in refusal.by_line]
    more = send(writer, [lines[index] for index in kept])
    return {**refusal.by_line, **{kept[index]: message for index, message in more.items()}}


class Patient:
    """A writer that tries again when the server cannot take the lines now."""

    def __init__(self, writer: Writer, wait: Callable[[float], object], say: Callable[[str], None]) -> None:
        """Given a writer, what waits for so many seconds, and what tells a person that it does."""
        self._writer = writer
        self._wait = wait
        self._say = say
        self.name = writer.name

    def write(self, body: bytes, lines: int) -> Refusal | None:
        for pause in WAITS:
            try:
                return self._writer.write(body, lines)
            except NotNow as problem:
                seconds = pause if problem.wait is None else problem.wait
                self._say(f"{problem}; trying again in {seconds:.0f} s")
                self._wait(seconds)
        return self._writer.write(body, lines)

    def close(self) -> None:
        self._writer.close()
