"""The ant client against stand-ins for both generations, through real processes."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from standins.watching import MISBEHAVE, still_alive, wait_until
from testwarden.clients.ant import AntClient
from testwarden.clients.ant_outcomes import Generation
from testwarden.clients.client import Client, Order
from testwarden.clients.process import Keeper
from testwarden.clients.stop import Stop
from testwarden.errors import ClientMissing, ClientUnsupported
from testwarden.model import KIB, AttemptResult, CatalogueFile, FileSize, Outcome

STANDINS = MISBEHAVE.parent
ADDRESS = "0037cfa13eae4393841cbc00c3a33cade0f98b8c1f20826e5c51f8269e7b09d7"
PRICE = Decimal("0.000000000000012345")
KEY = "0123456789abcdef"


class Bench:
    """A bin folder with a stand-in, and an AntClient that finds it."""

    def __init__(self, keeper: Keeper, root: Path) -> None:
        self.bin = root / "bin"
        self.attempts = root / "attempts"
        self.bin.mkdir()
        self.attempts.mkdir()
        self.content = root / "to upload"
        self.content.write_bytes(b"nine byte")
        (self.bin / "content").write_bytes(b"nine byte")
        (self.bin / "python").write_text(sys.executable + "\n")
        shutil.copy(MISBEHAVE, self.bin)
        self.ant: Client = AntClient(
            keeper, bin_dir=self.bin, search_path=str(root / "path"), peers=["1.2.3.4:5"], secret_key=lambda: "0x" + KEY
        )

    def install(self, name: str) -> None:
        """Put a stand-in in place at once, as `mv` does."""
        shutil.copy(STANDINS / name, self.bin / "ant.new")
        (self.bin / "ant.new").rename(self.bin / "ant")

    def plays(self, scenario: str) -> None:
        (self.bin / "scenario").write_text(scenario + "\n")

    def order(self, timeout: float = 60.0, most_bytes: int = 128 * KIB) -> Order:
        folder = self.attempts / "attempt"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Order(folder, timeout, most_bytes)

    def download(self, order: Order | None = None, stop: Stop | None = None) -> AttemptResult:
        file = CatalogueFile(FileSize.TINY, "name", ADDRESS, None)
        return self.ant.download(file, order or self.order(), stop or Stop())

    def quote(self) -> AttemptResult:
        return self.ant.quote(self.content, self.order(), Stop())

    def upload(self, stop: Stop | None = None) -> AttemptResult:
        return self.ant.upload(self.content, self.order(), stop or Stop())

    def calls(self) -> list[str]:
        return (self.bin / "calls").read_text().splitlines()

    def left(self) -> list[str]:
        """Names of all that lies about the attempt's folder and in it."""
        return sorted(str(path.relative_to(self.attempts)) for path in self.attempts.rglob("*"))


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    with Keeper(tmp_path / "processes") as keeper:
        yield Bench(keeper, tmp_path)


@pytest.fixture(params=["ant_legacy", "ant_2"])
def bench(request: pytest.FixtureRequest, bare: Bench) -> Bench:
    bare.install(request.param)
    return bare


def test_a_download_leaves_the_file_as_the_only_thing(bench: Bench) -> None:
    result = bench.download()
    assert (result.outcome, result.reason, result.bytes) == (Outcome.OK, "", 9)
    assert result.exec_time > 0
    assert bench.left() == ["attempt", "attempt/download"]
    assert (bench.attempts / "attempt/download").read_bytes() == b"nine byte"


def test_a_quote_has_the_exact_price(bench: Bench) -> None:
    result = bench.quote()
    assert (result.outcome, result.cost, result.bytes) == (Outcome.OK, PRICE, 0)
    assert bench.left() == ["attempt"]


def test_an_upload_has_cost_address_and_size(bench: Bench) -> None:
    result = bench.upload()
    assert (result.outcome, result.cost, result.bytes, result.address) == (Outcome.OK, PRICE, 9, ADDRESS)


def test_an_upload_of_what_exists_is_a_success_that_costs_nothing(bench: Bench) -> None:
    bench.plays("stored")
    result = bench.upload()
    assert (result.outcome, result.reason, result.cost) == (Outcome.OK, "", Decimal(0))


def test_the_name_tells_the_generation_once_it_is_known(bare: Bench) -> None:
    assert bare.ant.name == "ant"
    bare.install("ant_legacy")
    bare.quote()
    assert bare.ant.name == "ant-legacy"
    bare.install("ant_2")
    assert bare.quote().cost == PRICE
    assert bare.ant.name == "ant-2"


def test_a_program_is_asked_for_its_help_once_until_it_is_replaced(bare: Bench) -> None:
    for standin in ("ant_legacy", "ant_2"):
        bare.install(standin)
        bare.quote()
        bare.quote()
    assert [call.startswith("--help ") for call in bare.calls()] == [True, False, False, True, False, False]


def test_the_key_is_in_the_environment_of_the_upload_only(bench: Bench) -> None:
    bench.download()
    bench.quote()
    bench.upload()
    with_key = [call for call in bench.calls() if KEY in call]
    assert len(bench.calls()) == 4
    assert len(with_key) == 1
    assert " file upload " in f" {with_key[0]}"
    assert f"SECRET_KEY=0x{KEY} " in with_key[0]


def test_a_client_that_prints_the_key_does_not_get_it_into_the_reason(bench: Bench) -> None:
    bench.plays("tell-key")
    result = bench.upload()
    assert result.outcome is Outcome.CLIENT_ERROR
    assert KEY not in result.reason
    assert "***" in result.reason


def test_the_clients_home_is_not_the_folder_of_the_result_and_is_deleted(bench: Bench) -> None:
    bench.download()
    homes = {call.partition("HOME=")[2] for call in bench.calls()}
    assert not any(Path(home).exists() for home in homes)
    assert {Path(home).parent for home in homes} == {bench.attempts}


@pytest.mark.parametrize("standin", ["ant_legacy", "ant_2"])
def test_an_unknown_failure_is_an_unknown_error_with_the_clients_words(bare: Bench, standin: str) -> None:
    bare.install(standin)
    bare.plays("exit:1:the moon is full")
    for result in (bare.download(), bare.quote(), bare.upload()):
        assert (result.outcome, result.mendable, result.cost) == (Outcome.UNKNOWN_ERROR, False, None)
        assert "the moon is full" in result.reason
        assert "exit 1" in result.reason


def test_a_legacy_exit_code_is_classified(bare: Bench) -> None:
    bare.install("ant_legacy")
    bare.plays("exit:33:gone")
    result = bare.download()
    assert (result.outcome, result.mendable, result.bytes) == (Outcome.DATA_LOSS, True, 0)


def test_a_partial_upload_tells_what_it_cost(bare: Bench) -> None:
    bare.install("ant_2")
    bare.plays("partial")
    result = bare.upload()
    assert (result.outcome, result.mendable, result.cost) == (Outcome.NETWORK_ERROR, True, Decimal(777).scaleb(-18))


def test_a_client_that_says_nothing_gave_no_price(bench: Bench) -> None:
    bench.plays("mute")
    assert bench.quote().outcome is Outcome.UNKNOWN_ERROR
    assert bench.upload().outcome is Outcome.UNKNOWN_ERROR


def test_no_file_and_two_files_are_left_to_the_caller(bench: Bench) -> None:
    bench.plays("no-file")
    assert bench.download().bytes == 0
    assert bench.left() == ["attempt"]
    bench.plays("two-files")
    assert bench.download().bytes == 18
    assert bench.left() == ["attempt", "attempt/download", "attempt/download/a", "attempt/download/b"]


def test_an_archive_of_one_file_becomes_the_file(bench: Bench) -> None:
    bench.plays("archive")
    assert bench.download().outcome is Outcome.OK
    assert bench.left() == ["attempt", "attempt/download"]
    assert (bench.attempts / "attempt/download").is_file()


def test_a_file_larger_than_asked_for_is_a_client_error(bench: Bench) -> None:
    result = bench.download(bench.order(most_bytes=8))
    assert (result.outcome, result.bytes) == (Outcome.CLIENT_ERROR, 9)
    assert "larger than allowed" in result.reason


def test_a_client_that_fills_the_disk_is_stopped(bench: Bench) -> None:
    bench.plays("misbehave:fill")
    result = bench.download()
    assert (result.outcome, result.bytes) == (Outcome.CLIENT_ERROR, 32 << 20)
    assert "larger than allowed" in result.reason


def test_the_time_limit_is_ours(bench: Bench) -> None:
    bench.plays("sleep")
    result = bench.download(bench.order(timeout=1.5))
    assert (result.outcome, result.reason, result.mendable) == (Outcome.CLIENT_KILLED, "time limit of 1.5 s", True)


def test_a_stop_ends_an_upload_with_its_reason_and_an_unknown_cost(bench: Bench) -> None:
    bench.plays("sleep")
    stop = Stop()
    results: list[AttemptResult] = []
    thread = threading.Thread(target=lambda: results.append(bench.upload(stop)))
    thread.start()
    wait_until((bench.bin / "started").exists, "the client started")
    stop.request("kill switch #7", grace=5)
    thread.join(60)
    result = results[0]
    assert (result.outcome, result.reason) == (Outcome.CLIENT_KILLED, "kill switch #7")
    assert (result.mendable, result.cost, result.bytes) == (False, None, 9)
    assert bench.left() == ["attempt"]


@pytest.mark.parametrize("mode", ["flood", "not-utf8", "children", "daemon", "kill-itself"])
def test_a_client_that_misbehaves_is_one_result_and_leaves_nothing(bench: Bench, mode: str) -> None:
    bench.plays(f"misbehave:{mode}")
    assert bench.quote().outcome in (Outcome.UNKNOWN_ERROR, Outcome.CLIENT_ERROR)
    assert bench.left() == ["attempt"]


def test_a_client_replaced_while_it_runs_ends_as_what_it_was(bare: Bench) -> None:
    bare.install("ant_legacy")
    bare.plays("sleep")
    stop = Stop()
    results: list[AttemptResult] = []
    thread = threading.Thread(target=lambda: results.append(bare.download(stop=stop)))
    thread.start()
    wait_until((bare.bin / "started").exists, "the client started")
    bare.install("ant_2")
    stop.request("enough", grace=5)
    thread.join(60)
    assert (results[0].outcome, results[0].reason) == (Outcome.CLIENT_KILLED, "enough")
    bare.plays("fine")
    assert bare.upload().cost == PRICE
    assert bare.ant.name == "ant-2"


def test_no_program_is_a_result_that_says_where_it_was_looked_for(bare: Bench) -> None:
    result = bare.upload()
    assert (result.outcome, result.mendable, result.bytes) == (Outcome.CLIENT_ERROR, False, 0)
    assert result.reason == f"no ant in {bare.bin} or on PATH"
    assert bare.left() == ["attempt"]


def test_the_bin_folder_comes_before_path(bare: Bench, tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    shutil.copy(STANDINS / "ant_2", tmp_path / "path" / "ant")
    bare.quote()
    assert bare.ant.name == "ant-2"
    bare.install("ant_legacy")
    bare.quote()
    assert bare.ant.name == "ant-legacy"


def test_another_program_of_that_name_is_told_apart(bare: Bench) -> None:
    (bare.bin / "ant").write_text("#!/bin/sh\necho 'ant [options] [target]'\n")
    (bare.bin / "ant").chmod(0o755)
    result = bare.quote()
    assert result.outcome is Outcome.CLIENT_ERROR
    assert "is not an ant client that is known here" in result.reason


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("#!/bin/sh\n", 0o644, "chmod"), ("no program", 0o755, "format"), ("#!/nowhere\n", 0o755, "No such file")],
)
def test_a_program_that_cannot_be_run_is_a_client_error(bare: Bench, content: str, mode: int, words: str) -> None:
    (bare.bin / "ant").write_text(content)
    (bare.bin / "ant").chmod(mode)
    result = bare.quote()
    assert result.outcome is Outcome.CLIENT_ERROR
    assert words in result.reason


def test_a_program_whose_help_hangs_ends_at_the_time_limit_and_is_asked_again(bench: Bench) -> None:
    bench.plays("slow-help")
    assert bench.download(bench.order(timeout=0.5)).outcome is Outcome.CLIENT_KILLED
    bench.plays("fine")
    assert bench.download().outcome is Outcome.OK


def test_the_doctor_is_told_path_generation_and_version(tmp_path: Path) -> None:
    with Keeper(tmp_path / "processes") as keeper:
        ant = AntClient(keeper, bin_dir=tmp_path, search_path="")
        with pytest.raises(ClientMissing):
            ant.describe(Stop())
        shutil.copy(STANDINS / "ant_2", tmp_path / "ant")
        program = ant.describe(Stop())
        assert (program.path, program.generation, program.version) == (tmp_path / "ant", Generation.TWO, "ant 0.3.1")
        (tmp_path / "ant").write_text("#!/bin/sh\n")
        with pytest.raises(ClientUnsupported):
            ant.describe(Stop())


def test_nothing_of_an_attempt_lives_after_it(bench: Bench) -> None:
    bench.plays("misbehave:children-and-hang")
    homes_before = set(bench.attempts.iterdir())
    seen: dict[str, int] = {}
    stop = Stop()

    def watch() -> None:
        wait_until(lambda: len(list(bench.attempts.rglob("*.pid"))) == 4, "the client and its children started")
        seen.update({path.stem: int(path.read_text()) for path in bench.attempts.rglob("*.pid")})
        stop.request("enough", grace=0)

    thread = threading.Thread(target=watch)
    thread.start()
    result = bench.download(stop=stop)
    thread.join(60)
    assert result.outcome is Outcome.CLIENT_KILLED
    assert len(seen) == 4
    assert still_alive(seen) == {}
    assert homes_before == set()
