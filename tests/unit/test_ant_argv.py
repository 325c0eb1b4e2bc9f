from __future__ import annotations

from pathlib import Path

import pytest

from testwarden.clients.ant import AntClient, download_verb, is_address, legacy_argv, two_argv
from testwarden.clients.ant_outcomes import Generation
from testwarden.clients.client import Order
from testwarden.clients.process import Command, Ended, FakeProcesses, Why
from testwarden.clients.stop import Stop
from testwarden.model import CatalogueFile, FileSize, Outcome

ANT = Path("/bin/ant")
LEGACY_HELP = "--log-output-dest --ignore-cache"
TWO_HELP = "--devnet-manifest --allow-loopback"


def test_legacy_command_line_has_globals_before_the_subcommand() -> None:
    argv = legacy_argv(ANT, ["/ip4/1.2.3.4", "/ip4/5.6.7.8"], ["--network-id", "2"], ("cost", "/f"))
    assert argv == (
        *("/bin/ant", "--peer", "/ip4/1.2.3.4", "--peer", "/ip4/5.6.7.8", "--network-id", "2"),
        *("file", "cost", "/f"),
    )


def test_two_command_line_asks_for_json() -> None:
    argv = two_argv(ANT, ["1.2.3.4:10000"], ["--allow-loopback"], ("upload", "/f", "--public"))
    assert argv == (
        *("/bin/ant", "--json", "-b", "1.2.3.4:10000", "--allow-loopback"),
        *("file", "upload", "/f", "--public"),
    )


def test_each_generation_is_told_where_to_put_a_download_in_its_own_way() -> None:
    assert download_verb(Generation.LEGACY, "ab12", Path("/w/d")) == ("download", "ab12", "/w/d", "--retries", "0")
    assert download_verb(Generation.TWO, "ab12", Path("/w/d")) == ("download", "ab12", "-o", "/w/d")


@pytest.mark.parametrize("text", ["", "-o", "--help", "/etc/passwd", "a/b", "a b", "https://host/x", "a\0b", "..", "ä"])
def test_what_could_be_an_option_or_a_path_is_no_address(text: str) -> None:
    assert not is_address(text)


def test_hex_digits_are_an_address() -> None:
    assert is_address("0037cfa13eae4393841cbc00c3a33cade0f98b8c1f20826e5c51f8269e7b09d7")


def put_ant(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ant").write_text("#!/bin/sh\n")
    (folder / "ant").chmod(0o755)
    return folder


def order_in(tmp_path: Path) -> Order:
    folder = tmp_path / "attempt"
    folder.mkdir(exist_ok=True)
    return Order(folder, timeout=30.0, most_bytes=1000)


def client_with(tmp_path: Path, help_text: str, rest: Ended) -> tuple[AntClient, FakeProcesses]:
    def script(command: Command) -> Ended:
        return Ended(Why.FINISHED, 0, stdout=help_text) if command.argv[-1] == "--help" else rest

    processes = FakeProcesses(script)
    ant = AntClient(processes, bin_dir=put_ant(tmp_path), search_path="", secret_key=lambda: "0xSECRET")
    return ant, processes


@pytest.mark.parametrize("help_text", [LEGACY_HELP, TWO_HELP])
def test_the_key_reaches_the_upload_and_nothing_else(tmp_path: Path, help_text: str) -> None:
    ant, processes = client_with(tmp_path, help_text, Ended(Why.FINISHED, 1, stderr="no", seconds=0.1))
    content = tmp_path / "content"
    content.write_bytes(b"123")
    file = CatalogueFile(FileSize.TINY, "name", "ab12", None)
    ant.download(file, order_in(tmp_path), Stop())
    ant.quote(content, order_in(tmp_path), Stop())
    ant.upload(content, order_in(tmp_path), Stop())
    with_key = ["upload" in command.argv for command in processes.commands if "SECRET_KEY" in command.env]
    assert with_key == [True]
    assert [command.argv[-1] for command in processes.commands].count("--help") == 1
    assert not any("SECRET" in repr(command) for command in processes.commands)
    assert processes.commands[-1].env["SECRET_KEY"] == "0xSECRET"


def test_the_key_is_cut_out_of_what_the_client_says(tmp_path: Path) -> None:
    ant, _ = client_with(tmp_path, TWO_HELP, Ended(Why.FINISHED, 1, stderr="Error: bad key SECRET", seconds=0.1))
    content = tmp_path / "content"
    content.write_bytes(b"123")
    result = ant.upload(content, order_in(tmp_path), Stop())
    assert result.reason.endswith("Error: bad key ***")


def test_a_stop_during_an_upload_leaves_the_cost_unknown(tmp_path: Path) -> None:
    stopped = Ended(Why.STOPPED, None, 15, stdout="Total cost: 5 AttoTokens", seconds=2.0)
    ant, _ = client_with(tmp_path, LEGACY_HELP, stopped)
    content = tmp_path / "content"
    content.write_bytes(b"123")
    result = ant.upload(content, order_in(tmp_path), Stop())
    assert (result.outcome, result.cost, result.bytes, result.exec_time) == (Outcome.CLIENT_KILLED, None, 3, 2.0)


def test_nothing_is_started_when_the_stop_was_asked_for_before(tmp_path: Path) -> None:
    ant, processes = client_with(tmp_path, LEGACY_HELP, Ended(Why.FINISHED, 0))
    stop = Stop()
    stop.request("kill switch #7", 0)
    result = ant.quote(tmp_path / "content", order_in(tmp_path), stop)
    assert (result.outcome, result.reason, result.mendable) == (Outcome.CLIENT_KILLED, "kill switch #7", False)
    assert processes.commands == []


def test_the_time_limit_of_the_run_is_what_looking_left_over(tmp_path: Path) -> None:
    ant, _ = client_with(tmp_path, LEGACY_HELP, Ended(Why.TIMED_OUT, None, 9, seconds=30.0))
    result = ant.quote(tmp_path / "content", order_in(tmp_path), Stop())
    assert (result.outcome, result.reason, result.mendable) == (Outcome.CLIENT_KILLED, "time limit of 30 s", True)


def test_a_download_that_is_no_address_is_refused_before_anything_runs(tmp_path: Path) -> None:
    ant, processes = client_with(tmp_path, LEGACY_HELP, Ended(Why.FINISHED, 0))
    result = ant.download(CatalogueFile(FileSize.TINY, "n", "--help", None), order_in(tmp_path), Stop())
    assert result.outcome is Outcome.CLIENT_ERROR
    assert processes.commands == []
