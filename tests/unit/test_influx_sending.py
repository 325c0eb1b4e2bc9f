"""What goes to a server and what an answer means: lines apart, halves, patience, and who says what in a sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.influx_memory import MemoryInflux
from standins.samples import NOON, SAMPLES, a_sample
from testwarden.errors import MetricsError
from testwarden.metrics.influx import Denied, InfluxServer, NotNow, Refusal, judge, retry_after
from testwarden.metrics.influx_sending import NO_LINE, WAITS, LineCheck, Patient, send
from testwarden.metrics.line_protocol import Identity, LineWriter
from testwarden.model import Sample

GOOD = LineWriter(Identity("one")).line(a_sample(), NOON)[0].rstrip(b"\n")


def numbered(count: int) -> list[bytes]:
    return [b"m,t=a n=%di %d" % (number, number + 1) for number in range(count)]


@given(st.lists(SAMPLES, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_line_that_the_agent_writes_is_good(batch: list[Sample]) -> None:
    writer = LineWriter(Identity("one"))
    lines = [writer.line(sample, NOON + number)[0] for number, sample in enumerate(batch)]
    looked = LineCheck().look(b"".join(lines))
    assert looked.good == [line[:-1] for line in lines]
    assert not looked.bad


@pytest.mark.parametrize(
    "line",
    [
        GOOD,
        b"m v=1 1",
        b'm,t=\xc3\xbc\\ \\,\\= s="a \\" , = b",i=-1i,f=1.5e-3,b=t -17',
        b"testwarden_summary,agent=a count=3i,min=0.5 60000000000",
    ],
)
def test_line_protocol_of_any_measurement_is_good(line: bytes) -> None:
    assert LineCheck().look(line + b"\n").good == [line]


@pytest.mark.parametrize(
    "line",
    [
        b"rubbish",
        b"m v=1",
        b"m v= 1",
        b"m, v=1 1",
        b"m v=1 1.5",
        b'm v="open 1',
        b"m v=yes 1",
        b"m v=1 1 ",
        b"m,t v=1 1",
        GOOD[:-30],
    ],
)
def test_what_no_server_can_read_is_found_before_it_is_sent(line: bytes) -> None:
    looked = LineCheck().look(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    assert looked.good == [GOOD, GOOD]
    assert list(looked.numbers) == [0, 2]
    assert looked.bad == {1: NO_LINE}


def test_empty_lines_and_comments_are_neither_good_nor_bad() -> None:
    looked = LineCheck().look(b"\n# a comment\n" + GOOD)
    assert (looked.good, list(looked.numbers), looked.bad) == ([GOOD], [2], {})


def test_what_is_older_than_asked_for_is_left_out() -> None:
    looked = LineCheck(since=5).look(b"".join(line + b"\n" for line in numbered(8)))
    assert looked.good == numbered(8)[4:]
    assert list(looked.numbers) == [4, 5, 6, 7]


@given(st.integers(1, 60), st.sets(st.integers(0, 59)))
@settings(max_examples=200, deadline=None)
def test_the_refused_lines_are_found_and_all_others_are_stored(count: int, bad: set[int]) -> None:
    lines = [line.replace(b"t=a", b"t=bad") if number in bad else line for number, line in enumerate(numbered(count))]
    server = MemoryInflux(hates=[b"t=bad"])
    refused = send(server, lines)
    assert set(refused) == {number for number in bad if number < count}
    assert set(server.points.values()) == {line for number, line in enumerate(lines) if number not in bad}


def test_one_bad_line_of_thousands_costs_few_requests() -> None:
    lines = numbered(5000)
    lines[4321] = b"m,t=bad n=1i 1"
    server = MemoryInflux(hates=[b"t=bad"])
    assert list(send(server, lines)) == [4321]
    assert len(server.bodies) <= 27


def test_a_server_that_refused_all_is_not_asked_again() -> None:
    class Refuses(MemoryInflux):
        def write(self, body: bytes, lines: int) -> Refusal | None:
            self.bodies.append(body)
            return judge("w", 400, {}, '{"error":"partial write: points beyond retention policy dropped=50"}', lines)

    server = Refuses()
    assert set(send(server, numbered(50))) == set(range(50))
    assert len(server.bodies) == 1


def test_a_server_that_names_some_of_the_bad_lines_is_given_the_others_again() -> None:
    class NamesOne(MemoryInflux):
        """As InfluxDB 3 does it, which names a hundred."""

        def write(self, body: bytes, lines: int) -> Refusal | None:
            super().write(body, lines)
            bad = [number for number, line in enumerate(body.splitlines(), 1) if b"t=bad" in line]
            data = [{"line_number": number, "error_message": f"hates {number}"} for number in bad[:1]]
            answer = {"error": "partial write of line protocol occurred", "data": data}
            return judge("w", 400, {}, json.dumps(answer), lines) if bad else None

    lines = numbered(10)
    lines[3] = lines[7] = b"m,t=bad n=1i 1"
    server = NamesOne(hates=[b"t=bad"])
    assert send(server, lines) == {3: "hates 4", 7: "hates 7"}
    assert len(server.bodies) == 3


WHERE = "http://localhost:8086 (InfluxDB 2.7), bucket 'b'"


def test_answers_that_mean_stored() -> None:
    assert judge(WHERE, 204, {}, "", 5) is None
    assert judge(WHERE, 200, {}, "", 5) is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (401, '{"code":"unauthorized","message":"unauthorized access"}', Denied, "it does not accept the credentials"),
        (403, "", Denied, "the credentials do not allow writing there (status 403)"),
        (404, '{"error":"database not found: \\"x\\""}', Denied, 'status 404: database not found: "x"'),
        (302, "<html>", Denied, "it does not answer as InfluxDB does"),
        (429, '{"message":"too many"}', NotNow, "it cannot take the lines now (status 429: too many)"),
        (503, "", NotNow, "it cannot take the lines now (status 503)"),
        (500, '{"error":"timeout"}', NotNow, "status 500: timeout"),
    ],
)
def test_answers_that_stop_an_import_are_one_sentence(
    status: int, body: str, kind: type[MetricsError], sentence: str
) -> None:
    with pytest.raises(kind) as problem:
        judge(WHERE, status, {}, body, 5)
    assert str(problem.value).startswith(f"{WHERE}: ")
    assert sentence in str(problem.value)
    assert "\n" not in str(problem.value)


def test_an_answer_cannot_reach_the_terminal_with_control_characters() -> None:
    with pytest.raises(Denied) as problem:
        judge(WHERE, 401, {}, '{"message":"\\u001b[2Jgone\\n"}', 5)
    assert "\x1b" not in str(problem.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, None), ({"retry-after": "7"}, 7.0), ({"Retry-After": "999999"}, 300.0), ({"Retry-After": "Fri, 1"}, None)],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_patience_waits_as_long_as_it_is_asked_to_and_says_so() -> None:
    def trouble(number: int) -> None:
        if number <= 3:
            raise NotNow("busy", 7.0 if number == 2 else None)

    waited: list[float] = []
    said: list[str] = []
    server = MemoryInflux(trouble=trouble)
    assert Patient(server, waited.append, said.append).write(b"m v=1 1\n", 1) is None
    assert waited == [1.0, 7.0, 4.0]
    assert said[1] == "busy; trying again in 7 s"
    assert len(server.points) == 1


def test_patience_ends() -> None:
    def trouble(number: int) -> None:
        raise NotNow(f"busy {number}")

    waited: list[float] = []
    with pytest.raises(NotNow, match=f"busy {len(WAITS) + 1}"):
        Patient(MemoryInflux(trouble=trouble), waited.append, lambda _: None).write(b"m v=1 1\n", 1)
    assert waited == list(WAITS)


def test_secrets_are_in_no_text_of_the_server() -> None:
    server = InfluxServer("http://localhost", token="hush-t", password="hush-p", username="me", bucket="b")
    assert "hush" not in f"{server!r} {server} {server.key}"


def test_the_same_place_has_the_same_key_whatever_the_credentials() -> None:
    place = InfluxServer("http://localhost:8086", bucket="b")
    assert place.key == InfluxServer("http://localhost:8086/", bucket="b", token="t", username="u").key
    assert place.key != InfluxServer("http://localhost:8086", bucket="c").key
    assert place.key != InfluxServer("http://localhost:8086", database="b").key
