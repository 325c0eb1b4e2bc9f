from __future__ import annotations

import json
import signal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testwarden.clients.ant_outcomes import EXIT_CODES, MESSAGES, Generation, from_atto, generation_of, judge, read
from testwarden.clients.process import Ended, Why
from testwarden.model import Outcome, TestType

LEGACY, TWO = Generation.LEGACY, Generation.TWO
DOWNLOAD, QUOTE, UPLOAD = TestType.DOWNLOAD, TestType.QUOTE, TestType.UPLOAD


def finished(code: int = 0, stdout: str = "", stderr: str = "") -> Ended:
    return Ended(Why.FINISHED, code, stdout=stdout, stderr=stderr)


LEGACY_CODES = {
    Outcome.CLIENT_ERROR: [2, 6, 11, 12, 15, 21, 22, 23, 42, 60, 61, 62, 101],
    Outcome.NETWORK_ERROR: [13, 14, 41, 45, 51, 52, 53, 54, 55, 56, 57, 58, 59],
    Outcome.DATA_LOSS: [31, 32, 33, 34],
    Outcome.UNKNOWN_ERROR: [1, 3, 255],
}


@pytest.mark.parametrize(
    ("outcome", "code"), [(outcome, code) for outcome, all_ in LEGACY_CODES.items() for code in all_]
)
def test_every_legacy_exit_code_has_its_outcome(outcome: Outcome, code: int) -> None:
    assert read(DOWNLOAD, LEGACY, finished(code, stderr="something")).outcome is outcome


@pytest.mark.parametrize(
    ("message", "outcome", "mendable"),
    [
        ("cost error: not enough node quotes", Outcome.NETWORK_ERROR, True),
        ("Failed to fetch data from address", Outcome.DATA_LOSS, True),
        ("could not connect to enough peers in time", Outcome.NETWORK_ERROR, True),
        ("Failed to connect to the network: it is down", Outcome.NETWORK_ERROR, True),
        ("The application panicked (crashed).", Outcome.CLIENT_ERROR, False),
        ("general networking error", Outcome.NETWORK_ERROR, True),
        ("the moon is full", Outcome.UNKNOWN_ERROR, False),
    ],
)
def test_older_legacy_clients_are_understood_by_their_messages(message: str, outcome: Outcome, mendable: bool) -> None:
    reading = read(DOWNLOAD, LEGACY, finished(1, stderr=f"Logging to directory\n{message}\nRun with RUST_BACKTRACE=1"))
    assert (reading.outcome, reading.mendable) == (outcome, mendable)
    assert "exit 1" in reading.reason


def test_a_reason_holds_the_clients_telling_words() -> None:
    stderr = "Logging to directory\nError: \n   0: general networking error\nBacktrace omitted."
    assert read(DOWNLOAD, LEGACY, finished(1, stderr=stderr)).reason == (
        "network error (exit 1): 0: general networking error"
    )


@pytest.mark.parametrize(
    ("message", "outcome", "mendable"),
    [
        ("Error: Download failed: network error: connection refused", Outcome.NETWORK_ERROR, True),
        ("Error: Download failed: timeout: 30s elapsed", Outcome.NETWORK_ERROR, True),
        ("Error: insufficient peers: need 5, got 2", Outcome.NETWORK_ERROR, True),
        ("Error: Failed to fetch public DataMap: not found: chunk abcd", Outcome.DATA_LOSS, True),
        ("Error: Download failed: invalid data: bad hash", Outcome.DATA_LOSS, False),
        ("Error: File upload failed: payment error: network error: no gas", Outcome.CLIENT_ERROR, False),
        ("Error: SECRET_KEY environment variable required for this operation", Outcome.CLIENT_ERROR, False),
        ("Error: File too small: self-encryption requires at least 3 bytes", Outcome.CLIENT_ERROR, False),
        ("Error: I/O error: permission denied", Outcome.CLIENT_ERROR, False),
        ("Error: the sky is green", Outcome.UNKNOWN_ERROR, False),
    ],
)
def test_two_is_understood_by_its_messages(message: str, outcome: Outcome, mendable: bool) -> None:
    reading = read(UPLOAD, TWO, finished(1, stderr=message))
    assert (reading.outcome, reading.mendable) == (outcome, mendable)


def test_a_message_of_one_generation_says_nothing_about_the_other() -> None:
    assert judge(TWO, 1, "not enough node quotes").outcome is Outcome.UNKNOWN_ERROR
    assert judge(TWO, 13, "").outcome is Outcome.UNKNOWN_ERROR


def test_every_row_has_a_sentence_and_no_row_makes_a_failure_a_success() -> None:
    for judgement in [*EXIT_CODES.values(), *(row[2] for row in MESSAGES)]:
        assert judgement.sentence
        assert judgement.outcome not in (Outcome.OK, Outcome.CLIENT_KILLED)


@pytest.mark.parametrize(
    ("stdout", "cost"),
    [
        ("Total cost: 0.000000000000012345", Decimal("0.000000000000012345")),
        ("Estimate …\nTotal cost: 12345 AttoTokens\nAt address: ab", Decimal("0.000000000000012345")),
        ("Total cost: \x1b[1m\x1b[0m7 AttoTokens", Decimal("0.000000000000000007")),
        ("Total cost: 123456789012345678901234567890123 AttoTokens", Decimal("123456789012345.678901234567890123")),
    ],
)
def test_legacy_cost_is_exact_in_both_formats(stdout: str, cost: Decimal) -> None:
    assert read(QUOTE, LEGACY, finished(0, stdout)).cost == cost


@pytest.mark.parametrize(
    "stdout", ["", "Total cost: ", "Total cost: 5", "Total cost: -5 AttoTokens", "Total cost: 1e3"]
)
def test_a_price_that_cannot_be_read_is_an_unknown_error_and_no_price(stdout: str) -> None:
    reading = read(QUOTE, LEGACY, finished(0, stdout))
    assert (reading.outcome, reading.cost) == (Outcome.UNKNOWN_ERROR, None)


def test_two_gives_cost_and_address_as_json_after_noise() -> None:
    stdout = 'INFO connected\n{not json}\n{"storage_cost_atto":"12345","address":"ab12","gas_cost_wei":"1"}\n'
    reading = read(UPLOAD, TWO, finished(0, stdout))
    assert (reading.outcome, reading.cost, reading.address) == (Outcome.OK, Decimal("0.000000000000012345"), "ab12")


@pytest.mark.parametrize("stdout", ["", "done", '["storage_cost_atto"]', '{"storage_cost_atto":', "[" * 100_000])
@pytest.mark.parametrize("test", [DOWNLOAD, QUOTE, UPLOAD])
def test_two_without_json_is_an_unknown_error(test: TestType, stdout: str) -> None:
    assert read(test, TWO, finished(0, stdout)).outcome is Outcome.UNKNOWN_ERROR


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "1.5", "-1", "", "x", "9" * 61, [], "٣"])
def test_what_is_no_whole_number_is_no_cost(value: object) -> None:
    assert from_atto(value) is None


@given(st.integers(min_value=0, max_value=10**60 - 1))
def test_atto_is_converted_without_loss(atto: int) -> None:
    for value in (atto, str(atto)):
        ant = from_atto(value)
        assert ant is not None
        assert int(f"{ant:.18f}".replace(".", "")) == atto


def test_a_partial_upload_failed_can_be_mended_and_says_what_it_cost() -> None:
    stdout = json.dumps({"error": "partial_upload", "reason": "timeout: x", "storage_cost_atto": "777"})
    for code in (0, 1):
        reading = read(UPLOAD, TWO, finished(code, stdout, "Error: Upload failed: 3/4 stored"))
        assert (reading.outcome, reading.mendable) == (Outcome.NETWORK_ERROR, True)
        assert reading.cost == Decimal(777).scaleb(-18)


@pytest.mark.parametrize(
    ("generation", "ended"),
    [
        (LEGACY, finished(0, "All chunks already exist on the network.")),
        (TWO, finished(1, "", "Error: File upload failed: already stored on network")),
        (TWO, finished(0, '{"storage_cost_atto":"0","chunks_stored":0}')),
    ],
)
def test_an_upload_of_what_exists_is_a_success_that_costs_nothing(generation: Generation, ended: Ended) -> None:
    reading = read(UPLOAD, generation, ended)
    assert (reading.outcome, reading.cost, reading.address) == (Outcome.OK, Decimal(0), None)


def test_a_failed_download_is_no_success_because_it_speaks_of_what_is_stored() -> None:
    assert read(DOWNLOAD, TWO, finished(1, "", "already stored on network")).outcome is Outcome.UNKNOWN_ERROR


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, 63])
def test_a_signal_that_was_not_ours_is_a_client_error(number: int) -> None:
    reading = read(DOWNLOAD, LEGACY, Ended(Why.FINISHED, None, int(number)))
    assert reading.outcome is Outcome.CLIENT_ERROR
    assert "not by the agent" in reading.reason


def test_the_signal_for_a_file_too_large_says_so() -> None:
    assert "larger than allowed" in read(DOWNLOAD, TWO, Ended(Why.FINISHED, None, int(signal.SIGXFSZ))).reason


@pytest.mark.parametrize(
    ("text", "generation"),
    [
        ("--log-output-dest <X>", LEGACY),
        ("--devnet-manifest <X> --json", TWO),
        ("ant [options] [target [target2 [target3] ...]]  (Apache Ant)", None),
        ("", None),
        ("--log-output-dest --devnet-manifest", None),
    ],
)
def test_the_generation_is_told_by_the_help(text: str, generation: Generation | None) -> None:
    assert generation_of(text) is generation


@given(
    st.sampled_from([DOWNLOAD, QUOTE, UPLOAD]),
    st.sampled_from(Generation),
    st.integers(0, 255),
    st.text(max_size=200),
    st.text(max_size=200),
)
def test_whatever_a_client_prints_is_one_outcome_and_a_printable_reason(
    test: TestType, generation: Generation, code: int, stdout: str, stderr: str
) -> None:
    reading = read(test, generation, finished(code, stdout, stderr))
    assert (reading.reason == "") is (reading.outcome is Outcome.OK)
    assert len(reading.reason) < 400
    assert "\n" not in reading.reason
    assert "\x1b" not in reading.reason
