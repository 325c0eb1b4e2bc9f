"""From a caller's wish to an own test, and back to what they get to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.api_door import NOW
from testwarden.api.log_stream import event_of
from testwarden.api.scripts import MOST_SAVED, ScriptError, Shelf, may_be_dialled
from testwarden.api.starts import split_params, with_port, with_title
from testwarden.api.utilisation import Meter
from testwarden.api.views import metrics_view, part_of_log, run_view
from testwarden.clients.k6_numbers import K6Numbers
from testwarden.model import Outcome, TestType
from testwarden.running.own_runs import OwnRun, OwnTest


def test_variables_are_taken_out_of_the_arguments_in_every_spelling() -> None:
    split = split_params(["-e", "RPS=2", "--vus", "3", "--env", "A=b=c", "--env=D=", "-eF=1", "--exit-on-running"])
    assert split.env == (("RPS", "2"), ("A", "b=c"), ("D", ""), ("F", "1"))
    assert split.params == ("--vus", "3", "--exit-on-running")


@pytest.mark.parametrize("params", [["-e"], ["-e", "RPS"], ["--env", "=2"], ["--env=RPS"]])
def test_a_variable_that_is_none_is_refused(params: list[str]) -> None:
    with pytest.raises(ScriptError, match="NAME=VALUE"):
        split_params(params)


def test_only_the_argument_that_asks_for_a_port_gets_one() -> None:
    params = ["-o", "prometheus=port=", "prometheus=port=1", "x-prometheus=port="]
    assert with_port(params, 7001) == ("-o", "prometheus=port=7001", "prometheus=port=1", "x-prometheus=port=")


@pytest.mark.parametrize(
    ("title", "becomes"),
    [
        ("checkout", b"checkout: {"),
        ("buy-1", b'"buy-1": {'),
        ("1st", b'"1st": {'),
        ('x"}; evil(); {"', b"x____evil______: {"),
        ("", b"scenario: {"),
    ],
)
def test_the_scenario_gets_its_title(title: str, becomes: bytes) -> None:
    assert with_title(b"scenarios: { alilo_load: { x", title) == b"scenarios: { " + becomes + b" x"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "64:ff9b:1::a9fe:a9fe",
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "nonsense",
    ],
)
def test_no_script_is_fetched_from_link_local_and_metadata_addresses(address: str) -> None:
    assert not may_be_dialled(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.5", "fd12::1", "93.184.216.34"])
def test_scripts_are_fetched_from_the_operator_s_own_network(address: str) -> None:
    assert may_be_dialled(address)


def test_a_saved_script_is_read_back_and_kept_once(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "scripts")
    path = shelf.save(b"export default 1")
    assert shelf.save(b"export default 1") == path
    assert shelf.read(path.name) == b"export default 1"
    assert [one.name for one in (tmp_path / "scripts").iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.js",
        "/etc/passwd",
        "saved-0123456789abcdef.js/../../secret.js",
        "saved-0123456789abcdef.js\n",
        "saved-0123456789abcdef.js",
        "saved-..%2fsecret.js",
        "",
    ],
)
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.js").write_text("secret")
    shelf = Shelf(tmp_path / "scripts")
    shelf.save(b"x")
    with pytest.raises(ScriptError):
        shelf.read(name)


def test_the_shelf_is_bounded(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first, *_ = [shelf.save(b"script %d" % number) for number in range(MOST_SAVED + 1)]
    assert len(list(tmp_path.iterdir())) == MOST_SAVED
    assert not first.exists()


def test_an_empty_script_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="empty"):
        Shelf(tmp_path).save(b" \n")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ScriptError, match="cannot be saved"):
        Shelf(tmp_path / "file" / "scripts").save(b"x")


def test_orchestrators_read_milliseconds_and_counts() -> None:
    numbers = K6Numbers(3, 5, 200, 19.96, 0.015, 0.0123, 0.02, 0.5, 1.5, 1000, 2**40)
    assert metrics_view(numbers) == {
        "rps": "20.0",
        "rt90p": "12.3",
        "rt95p": "20.0",
        "rt99p": "500.0",
        "rtMax": "1500.0",
        "failed": "3",
        "vus": "3",
        "sent": "1000",
        "received": "1099511627776",
    }


def test_what_is_not_known_yet_reads_as_zero() -> None:
    assert set(metrics_view(None).values()) == {"0"}


@given(st.text(alphabet="aä€😀\n", max_size=60), st.integers(1, 20), st.booleans())
def test_a_part_of_a_log_is_its_first_or_last_characters(
    tmp_path_factory: pytest.TempPathFactory, text: str, length: int, head: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "log"
    path.write_bytes(text.encode())
    assert part_of_log(path, length, head=head) == (text[:length] if head else text[-length:])


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert part_of_log(tmp_path / "none", 10, head=False) == ""
    assert part_of_log(None, 10, head=True) == ""


def test_a_log_of_bytes_that_are_no_text_is_still_shown(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\x80" * 100 + b"end")
    assert part_of_log(tmp_path / "log", 5, head=False).endswith("end")


def test_a_run_shows_as_plain_data() -> None:
    run = OwnRun(2, "own-2", OwnTest(TestType.DOWNLOAD, "mine"), NOW)
    assert run_view(run)["running"] is True
    assert run_view(run)["filesize"] == "tiny"
    ended = replace(run, ended=NOW, outcome=Outcome.OK, figures=(("rps", 1.5),))
    view = run_view(ended)
    assert (view["running"], view["outcome"], view["figures"]) == (False, "ok", {"rps": 1.5})


def test_no_line_of_a_log_makes_an_event_of_its_own() -> None:
    assert event_of(7, "a\nid: 9\r\n\rb") == "id: 7\ndata: a\ndata: id: 9\ndata: \ndata: b\n\n"


def test_the_processors_are_measured_between_two_looks() -> None:
    times, now = iter([(0.0, 0.0), (1.0, 4.0), (5.0, 8.0)]), [0.0]
    meter = Meter(lambda: next(times), lambda: now[0])
    assert meter.cpu() == 0
    now[0] = 0.6
    assert meter.cpu() == 25
    now[0] = 0.9
    assert meter.cpu() == 25
    now[0] = 1.2
    assert meter.cpu() == 100


def test_the_real_counters_make_percents() -> None:
    now = [0.0]
    meter = Meter(monotonic=lambda: now[0])
    now[0] = 1.0
    assert 0 <= meter.cpu() <= 100
    assert 0 < meter.memory() <= 100
