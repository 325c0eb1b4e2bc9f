"""What the `ant` client says → outcome: tables and pure functions. A new message or exit code is one row.

Sources: the exit codes of ant-cli's `exit_code.rs` (legacy) and the messages of ant-core's `error.rs` (2.0), beside
what older legacy clients print.
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from testwarden.clients.process import Ended
from testwarden.model import Outcome, TestType


class Generation(str, Enum):
    """The two incompatible programs that are both called `ant`."""

    LEGACY = "legacy"
    """ant-cli up to 0.5."""
    TWO = "2"
    """ant-cli of Autonomi 2.0, whose numbers began anew."""


@dataclass(frozen=True)
class Judgement:
    """What a message or an exit code means."""

    outcome: Outcome
    mendable: bool
    sentence: str


@dataclass(frozen=True)
class Reading:
    """What a client's end says about the attempt."""

    outcome: Outcome
    reason: str = ""
    mendable: bool = False
    cost: Decimal | None = None
    """ANT. Also of a failed upload, where the client says what it spent."""
    address: str | None = None


LEGACY, TWO = Generation.LEGACY, Generation.TWO

HELP_MARKS = {
    LEGACY: ("--log-output-dest", "--ignore-cache", "--network-id"),
    TWO: ("--devnet-manifest", "--allow-loopback"),
}
"""Options in `ant --help` that only this generation has."""

EXIT_CODES = {
    (LEGACY, 2): Judgement(Outcome.CLIENT_ERROR, False, "the client does not know these arguments"),
    (LEGACY, 6): Judgement(Outcome.CLIENT_ERROR, False, "the client calls the input invalid"),
    (LEGACY, 11): Judgement(Outcome.CLIENT_ERROR, False, "serialisation failed in the client"),
    (LEGACY, 12): Judgement(Outcome.CLIENT_ERROR, False, "the client could not read or write a file"),
    (LEGACY, 13): Judgement(Outcome.NETWORK_ERROR, True, "network error"),
    (LEGACY, 14): Judgement(Outcome.NETWORK_ERROR, True, "protocol error"),
    (LEGACY, 15): Judgement(Outcome.CLIENT_ERROR, False, "self-encryption failed in the client"),
    (LEGACY, 21): Judgement(Outcome.CLIENT_ERROR, False, "the wallet is of another payment network"),
    (LEGACY, 22): Judgement(Outcome.CLIENT_ERROR, False, "the payment failed in the wallet"),
    (LEGACY, 23): Judgement(Outcome.CLIENT_ERROR, False, "the payment failed, its cost is not known"),
    (LEGACY, 31): Judgement(Outcome.DATA_LOSS, False, "the network holds an invalid data map"),
    (LEGACY, 32): Judgement(Outcome.DATA_LOSS, False, "what the network holds cannot be decrypted"),
    (LEGACY, 33): Judgement(Outcome.DATA_LOSS, True, "the network did not find the record"),
    (LEGACY, 34): Judgement(Outcome.DATA_LOSS, False, "the network holds a record of another kind"),
    (LEGACY, 41): Judgement(Outcome.NETWORK_ERROR, True, "the network gave no price"),
    (LEGACY, 42): Judgement(Outcome.CLIENT_ERROR, False, "the wallet cannot be used"),
    (LEGACY, 44): Judgement(Outcome.NETWORK_ERROR, False, "a part of the upload failed"),
    (LEGACY, 45): Judgement(Outcome.NETWORK_ERROR, True, "the network named nobody to pay"),
    (LEGACY, 51): Judgement(Outcome.NETWORK_ERROR, True, "no peers were found"),
    **{
        (LEGACY, code): Judgement(Outcome.NETWORK_ERROR, True, "the way into the network was not found")
        for code in range(52, 59)
    },
    (LEGACY, 59): Judgement(Outcome.NETWORK_ERROR, True, "connecting took too long"),
    (LEGACY, 60): Judgement(Outcome.CLIENT_ERROR, False, "the client speaks another protocol than the network"),
    (LEGACY, 61): Judgement(Outcome.CLIENT_ERROR, False, "the payment network is not known"),
    (LEGACY, 62): Judgement(Outcome.CLIENT_ERROR, False, "the fees cannot be told or are too high"),
    (LEGACY, 101): Judgement(Outcome.CLIENT_ERROR, False, "the client crashed"),
    (TWO, 2): Judgement(Outcome.CLIENT_ERROR, False, "the client does not know these arguments"),
    (TWO, 101): Judgement(Outcome.CLIENT_ERROR, False, "the client crashed"),
}
"""Exit codes that alone say what happened. 1 says nothing: there the messages do."""

MESSAGES = (
    (LEGACY, r"not enough node quotes", Judgement(Outcome.NETWORK_ERROR, True, "the network gave too few prices")),
    (LEGACY, r"failed to fetch data from address", Judgement(Outcome.DATA_LOSS, True, "the data was not found")),
    (LEGACY, r"could not connect to enough peers", Judgement(Outcome.NETWORK_ERROR, True, "too few peers")),
    (LEGACY, r"failed to connect to the network", Judgement(Outcome.NETWORK_ERROR, True, "no way into the network")),
    (LEGACY, r"the application panicked", Judgement(Outcome.CLIENT_ERROR, False, "the client crashed")),
    (LEGACY, r"general networking error", Judgement(Outcome.NETWORK_ERROR, True, "network error")),
    (TWO, r"partial.upload|\d+/\d+ stored", Judgement(Outcome.NETWORK_ERROR, True, "a part of the upload failed")),
    (TWO, r"payment error", Judgement(Outcome.CLIENT_ERROR, False, "the payment failed")),
    (TWO, r"SECRET_KEY environment variable", Judgement(Outcome.CLIENT_ERROR, False, "the wallet's key is missing")),
    (TWO, r"file too small", Judgement(Outcome.CLIENT_ERROR, False, "the file is too small for this client")),
    (TWO, r"insufficient disk space", Judgement(Outcome.CLIENT_ERROR, False, "the disk is full")),
    (TWO, r"configuration error", Judgement(Outcome.CLIENT_ERROR, False, "the client is not set up for this")),
    (TWO, r"insufficient peers", Judgement(Outcome.NETWORK_ERROR, True, "too few peers")),
    (TWO, r"failed to start P2P node", Judgement(Outcome.NETWORK_ERROR, True, "no way into the network")),
    (TWO, r"close-group|remote PUT", Judgement(Outcome.NETWORK_ERROR, True, "the network did not take the data")),
    (TWO, r"cost estimation inconclusive", Judgement(Outcome.NETWORK_ERROR, True, "the network gave no price")),
    (TWO, r"(network|protocol) error", Judgement(Outcome.NETWORK_ERROR, True, "network error")),
    (TWO, r"\btimeout:", Judgement(Outcome.NETWORK_ERROR, True, "the network did not answer in time")),
    (TWO, r"\bnot found:", Judgement(Outcome.DATA_LOSS, True, "the data was not found")),
    (TWO, r"invalid data|signature verification", Judgement(Outcome.DATA_LOSS, False, "what was found is damaged")),
    (TWO, r"(I/O|encryption|crypto|serialization) error", Judgement(Outcome.CLIENT_ERROR, False, "the client failed")),
)
"""Generation, pattern in any case, meaning; the first row that matches counts. Payments stand before the network: what
may have cost money is not tried again."""

STORED_ALREADY = re.compile(r"already exist on the network|already stored on network", re.IGNORECASE)
UNKNOWN = Judgement(Outcome.UNKNOWN_ERROR, False, "the client failed in a way that is not known")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\n\xa0-\U0010ffff]")
COMPLAINT = re.compile(r"error|fail|panick", re.IGNORECASE)
LEGACY_COST = re.compile(r"Total cost:\s*(?:(\d{1,20}\.\d{1,18})\b|(\d{1,60}) AttoTokens)")
LEGACY_ADDRESS = re.compile(r"At address:\s*(\S+)")
MOST_SAID = 200  # characters of the client's own words in a reason


def generation_of(help_text: str) -> Generation | None:
    """Given what `ant --help` prints, return which program it is, None where it is neither."""
    found = {generation for generation, marks in HELP_MARKS.items() if any(mark in help_text for mark in marks)}
    return found.pop() if len(found) == 1 else None


def read(test: TestType, generation: Generation, ended: Ended) -> Reading:
    """Given what was tried and how a client that was not stopped by us ended, return what that means."""
    if ended.signal is not None:
        return Reading(Outcome.CLIENT_ERROR, _died_of(ended.signal))
    stored_already = test is not TestType.DOWNLOAD and STORED_ALREADY.search(ended.stdout + "\n" + ended.stderr)
    answer = _answer(ended.stdout) if generation is TWO else {}
    cost = _cost(generation, ended.stdout, answer)
    if cost is None and stored_already:
        cost = Decimal(0)
    failed = ended.exit_code != 0 and not stored_already
    if failed or "error" in (answer or {}):
        judgement = judge(generation, ended.exit_code, ended.stderr + "\n" + ended.stdout)
        said = _said(ended, judgement)
        return Reading(
            judgement.outcome, f"{judgement.sentence} (exit {ended.exit_code}){said}", judgement.mendable, cost
        )
    if answer is None and not stored_already:
        return Reading(Outcome.UNKNOWN_ERROR, "the client's answer is not JSON" + _said(ended, UNKNOWN))
    if test is not TestType.DOWNLOAD and cost is None:
        return Reading(Outcome.UNKNOWN_ERROR, "the client's answer holds no cost" + _said(ended, UNKNOWN))
    return Reading(Outcome.OK, cost=cost, address=_address(generation, ended.stdout, answer or {}))


def judge(generation: Generation, exit_code: int | None, text: str) -> Judgement:
    """Given a failed client's exit code and output, return what the tables say about it."""
    if exit_code is not None and (generation, exit_code) in EXIT_CODES:
        return EXIT_CODES[generation, exit_code]
    for of, pattern, judgement in MESSAGES:
        if of is generation and re.search(pattern, text, re.IGNORECASE):
            return judgement
    return UNKNOWN


def from_atto(value: object) -> Decimal | None:
    """Given a number of attoANT (10⁻¹⁸ ANT) as integer or digits, return ANT, exactly. None where it is neither."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(r"[0-9]{1,60}", text):
        return None
    return Decimal((0, tuple(map(int, text)), -18))  # not by arithmetic, which rounds to 28 digits


def _cost(generation: Generation, stdout: str, answer: dict[str, Any] | None) -> Decimal | None:
    if generation is TWO:
        return from_atto((answer or {}).get("storage_cost_atto"))
    found = LEGACY_COST.findall(CONTROL.sub("", stdout))
    if not found:
        return None
    ant, atto = found[-1]
    return Decimal(ant) if ant else from_atto(atto)


def _address(generation: Generation, stdout: str, answer: dict[str, Any]) -> str | None:
    if generation is TWO:
        return answer["address"] if isinstance(answer.get("address"), str) else None
    found = LEGACY_ADDRESS.search(CONTROL.sub("", stdout))
    return found.group(1) if found else None


def _answer(stdout: str) -> dict[str, Any] | None:
    """Return the last line that is a JSON object; log lines may stand around it. None where there is none."""
    for line in reversed(stdout.splitlines()):
        if line.strip().startswith("{"):
            try:
                answer = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(answer, dict):
                return answer
    return None


def _died_of(number: int) -> str:
    if number == signal.SIGXFSZ:
        return "the client was stopped: it wrote a file larger than allowed"
    try:
        return f"the client was killed by {signal.Signals(number).name}, not by the agent"
    except ValueError:
        return f"the client was killed by signal {number}, not by the agent"


def _said(ended: Ended, judgement: Judgement) -> str:
    """Return the client's own words that tell most: what matched the table, else a complaint, else its last line."""
    errors, output = _lines(ended.stderr), _lines(ended.stdout)
    rows = [pattern for _, pattern, row in MESSAGES if row is judgement]
    telling = [line for line in errors + output if any(re.search(pattern, line, re.IGNORECASE) for pattern in rows)]
    most = errors or output
    complaints = [line for line in most if COMPLAINT.search(line) and len(line) > len("Error:")]
    words = telling or complaints or most[-1:]
    return f": {words[0][:MOST_SAID]}" if words else ""


def _lines(text: str) -> list[str]:
    return [line.strip() for line in CONTROL.sub("", text).splitlines() if line.strip()]
