"""The three workloads on the client without a network."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from testwarden import seeded
from testwarden.clients.client import Order
from testwarden.clients.memory import Leave, MemoryClient
from testwarden.clients.stop import Stop
from testwarden.model import (
    KIB,
    MIB,
    AttemptResult,
    CatalogueFile,
    CatalogueSeed,
    Decision,
    FileSize,
    Outcome,
    Task,
    TestType,
    Verdict,
)
from testwarden.workloads.download import DownloadWorkload
from testwarden.workloads.quote import QuoteWorkload
from testwarden.workloads.upload import UploadWorkload
from testwarden.workloads.workload import Workload

MD5_OF_SEED_42 = "fb24454cbc9b1206d8932c90e459593c"
SEED = CatalogueSeed(FileSize.TINY, 42, 33, MD5_OF_SEED_42)
FILE = CatalogueFile(FileSize.TINY, "a.bin", "seed-42-33", MD5_OF_SEED_42)
NO_MD5 = CatalogueFile(FileSize.TINY, "a.bin", "seed-42-33", None)
PRICE = Decimal("0.000000000000012345")
OK = Verdict(Decision.ALLOWED, "there are funds")
BROKE = Verdict(Decision.REFUSED, "9 of 10 ANT are spent in 24 h and 2 more would pass limits.spend_per_day")


class Purse:
    """Funds that remember what was asked of them."""

    def __init__(self, verdict: Verdict = OK) -> None:
        self.verdict = verdict
        self.seen: list[tuple[str, Decimal | None]] = []

    def reserve(self, cost: Decimal) -> Verdict:
        self.seen.append(("reserve", cost))
        return self.verdict

    def settle(self, actual: Decimal | None) -> None:
        self.seen.append(("settle", actual))


class Ticking:
    """A clock that goes on by so many seconds whenever somebody looks."""

    def __init__(self, step: float) -> None:
        self.now = 100.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def order(tmp_path: Path) -> Order:
    folder = tmp_path / "attempt"
    folder.mkdir()
    return Order(folder, timeout=30.0, most_bytes=FileSize.TINY.most)


def download(order: Order, client: MemoryClient, file: CatalogueFile = FILE, stop: Stop | None = None) -> AttemptResult:
    workload = DownloadWorkload(client, lambda _size, _rng: file)
    return workload.attempt(workload.pick(task(workload), random.Random(1)), order, stop or Stop())


def upload(order: Order, client: MemoryClient, purse: Purse | None = None, row: CatalogueSeed = SEED) -> AttemptResult:
    workload = UploadWorkload(client, lambda _size, _rng: row)
    return workload.attempt(workload.pick(task(workload), random.Random(1)), order, Stop(), purse)


def quote(order: Order, client: MemoryClient, row: CatalogueSeed = SEED, stop: Stop | None = None) -> AttemptResult:
    workload = QuoteWorkload(client, lambda _size, _rng: row)
    return workload.attempt(workload.pick(task(workload), random.Random(1)), order, stop or Stop())


def task(workload: Workload, filesize: FileSize = FileSize.TINY) -> Task:
    return Task("001", "", 5, 0, workload.type, filesize)


def leave(*names: str, data: bytes = b"x") -> Leave:
    def left(_file: CatalogueFile, folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes(data)

    return left


def leave_link(_file: CatalogueFile, folder: Path) -> None:
    (folder / "a.bin").symlink_to("/etc/hostname")


def leave_folder(_file: CatalogueFile, folder: Path) -> None:
    (folder / "a.bin").mkdir()


def leave_fifo(_file: CatalogueFile, folder: Path) -> None:
    os.mkfifo(folder / "a.bin")


def leave_odd_name(_file: CatalogueFile, folder: Path) -> None:
    for name in (b"\xff\n", b"b", b"c", b"d"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")


def contents(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


# --- pick


def test_a_download_reserves_the_most_that_its_size_can_have() -> None:
    large = CatalogueFile(FileSize.LARGE, "a", "an-address", None)
    asked = []

    def pick(filesize: FileSize, rng: random.Random) -> CatalogueFile:
        asked.append((filesize, rng))
        return large

    workload, rng = DownloadWorkload(MemoryClient(), pick), random.Random(1)
    item = workload.pick(task(workload, FileSize.LARGE), rng)
    assert (item.target, item.bytes, item.disk, item.row) == ("an-address", 64 * MIB, 64 * MIB, large)
    assert asked == [(FileSize.LARGE, rng)]


def test_a_quote_reserves_disk_but_no_bytes_and_an_upload_both() -> None:
    quotes = QuoteWorkload(MemoryClient(), lambda _size, _rng: SEED)
    uploads = UploadWorkload(MemoryClient(), lambda _size, _rng: SEED)
    asked, stored = quotes.pick(task(quotes), random.Random(1)), uploads.pick(task(uploads), random.Random(1))
    assert (asked.target, asked.bytes, asked.disk, asked.row) == ("seed 42", 0, 33, SEED)
    assert (stored.target, stored.bytes, stored.disk, stored.row) == ("seed 42", 33, 33, SEED)


def test_each_workload_says_its_type() -> None:
    def pick(_size: FileSize, _rng: random.Random) -> CatalogueSeed:
        return SEED

    kinds = [DownloadWorkload(MemoryClient(), lambda _s, _r: FILE).type, QuoteWorkload(MemoryClient(), pick).type,
             UploadWorkload(MemoryClient(), pick).type]  # fmt: skip
    assert kinds == [TestType.DOWNLOAD, TestType.QUOTE, TestType.UPLOAD]


def test_an_item_of_another_workload_is_a_fault_of_ours(order: Order) -> None:
    uploads = UploadWorkload(MemoryClient(), lambda _size, _rng: SEED)
    downloads = DownloadWorkload(MemoryClient(), lambda _size, _rng: FILE)
    with pytest.raises(TypeError, match="CatalogueFile"):
        downloads.attempt(uploads.pick(task(uploads), random.Random(1)), order, Stop())


# --- download


def test_a_right_file_is_ok_with_its_size_and_the_clients_time(order: Order) -> None:
    client = MemoryClient(AttemptResult(Outcome.OK, exec_time=1.5, bytes=7))
    assert download(order, client) == AttemptResult(Outcome.OK, exec_time=1.5, bytes=33, md5_valid=True)


def test_a_file_without_a_known_md5_is_ok_and_unchecked(order: Order) -> None:
    result = download(order, MemoryClient(), NO_MD5)
    assert (result.outcome, result.bytes, result.md5_valid) == (Outcome.OK, 33, None)


def test_a_wrong_file_is_not_ok(order: Order) -> None:
    result = download(order, MemoryClient(leave=leave("a.bin")))
    assert (result.outcome, result.md5_valid, result.bytes) == (Outcome.MD5_INVALID, False, 1)
    assert result.reason == f"md5 is 9dd4e461268c8034f5c8564e155c67a6 instead of {MD5_OF_SEED_42}"


@pytest.mark.parametrize(
    ("left", "what"),
    [
        (leave(), "nothing"),
        (leave("b", "a"), "2 entries ('a', 'b')"),
        (leave_odd_name, "4 entries ('b', 'c', 'd', …)"),
        (leave_link, "a symbolic link"),
        (leave_folder, "a folder"),
        (leave_fifo, "something that is no file"),
    ],
)
def test_a_success_that_leaves_no_single_file_is_an_error_of_the_client(left: Leave, what: str, order: Order) -> None:
    result = download(order, MemoryClient(AttemptResult(Outcome.OK, exec_time=1.5), leave=left), NO_MD5)
    assert (result.outcome, result.exec_time) == (Outcome.CLIENT_ERROR, 1.5)
    assert result.reason == f"the client left {what} instead of one file"


def test_names_that_are_no_text_are_safe_in_a_reason(order: Order) -> None:
    def left(_file: CatalogueFile, folder: Path) -> None:
        for name in (b"\xff\n", b"\xfe"):
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")

    result = download(order, MemoryClient(leave=left))
    assert result.reason.encode("ascii").isascii()
    assert "\n" not in result.reason


def test_a_file_as_large_as_its_size_allows_is_ok(order: Order) -> None:
    most = leave("a", data=bytes(128 * KIB))
    assert download(order, MemoryClient(leave=most), NO_MD5).outcome is Outcome.OK


def test_a_file_one_byte_larger_is_an_error_of_the_client(order: Order) -> None:
    result = download(order, MemoryClient(leave=leave("a", data=bytes(128 * KIB + 1))), NO_MD5)
    assert (result.outcome, result.bytes) == (Outcome.CLIENT_ERROR, 131073)
    assert result.reason == "the file has 131,073 bytes, and tiny means at most 131,072"


def test_what_the_client_calls_a_failure_stays_as_it_is(order: Order) -> None:
    failure = AttemptResult(Outcome.NETWORK_ERROR, "no peers", 2.0, mendable=True)
    assert download(order, MemoryClient(failure)) == failure


def test_a_stop_while_the_content_is_checked_ends_the_attempt(order: Order) -> None:
    stop = Stop()

    def stopped_at_the_end(_file: CatalogueFile, folder: Path) -> None:
        (folder / "a").write_bytes(b"x")
        stop.request("cool-down", 1.0)

    result = download(order, MemoryClient(leave=stopped_at_the_end), stop=stop)
    assert (result.outcome, result.reason, result.md5_valid) == (Outcome.CLIENT_KILLED, "cool-down", None)


def test_a_download_gives_the_client_an_empty_folder_inside_the_attempts_own(order: Order) -> None:
    (order.folder / "something else").touch()
    client = MemoryClient()
    assert download(order, client).outcome is Outcome.OK
    assert client.calls[0].order.folder.parent == order.folder
    assert client.calls[0].order.timeout == 30.0


def test_a_folder_that_is_gone_is_an_error_of_the_client_that_names_no_path(order: Order) -> None:
    order.folder.rmdir()
    for result in (download(order, MemoryClient()), quote(order, MemoryClient()), upload(order, MemoryClient())):
        assert result.outcome is Outcome.CLIENT_ERROR
        assert "No such file or directory" in result.reason
        assert str(order.folder) not in result.reason


def test_a_file_that_goes_away_while_it_is_looked_at_is_an_error_of_the_client(order: Order) -> None:
    def dangling(_file: CatalogueFile, folder: Path) -> None:
        folder.rmdir()

    assert download(order, MemoryClient(leave=dangling)).outcome is Outcome.CLIENT_ERROR


# --- seeded content, for quotes and uploads alike

Attempt = Callable[..., AttemptResult]


def test_a_quote_asks_about_the_seeds_content_and_returns_the_price(order: Order) -> None:
    client = MemoryClient()
    assert quote(order, client) == AttemptResult(Outcome.OK, exec_time=0.25, cost=PRICE)
    assert [(call.method, call.subject) for call in client.calls] == [("quote", b"".join(seeded.chunks(42, 33)))]


def test_an_upload_stores_the_seeds_content(order: Order) -> None:
    client = MemoryClient()
    result = upload(order, client)
    assert (result.outcome, result.bytes, result.cost) == (Outcome.OK, 33, None)
    assert result.address is not None
    assert client.stored == {result.address: b"".join(seeded.chunks(42, 33))}


@pytest.mark.parametrize("attempt", [quote, upload])
def test_content_that_is_not_what_the_catalogue_says_is_never_sent(attempt: Attempt, order: Order) -> None:
    client = MemoryClient(paying=True)
    result = attempt(order, client, row=CatalogueSeed(FileSize.TINY, 42, 33, "0" * 32))
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert result.reason == f"the catalogue is wrong: tiny,42,33 has the md5 {MD5_OF_SEED_42}, not {'0' * 32}"
    assert client.calls == []
    assert contents(order.folder) == []


@pytest.mark.parametrize("attempt", [quote, upload])
def test_content_whose_md5_is_not_known_is_used(attempt: Attempt, order: Order) -> None:
    assert attempt(order, MemoryClient(), row=CatalogueSeed(FileSize.TINY, 42, 33, None)).outcome is Outcome.OK


@pytest.mark.parametrize("attempt", [quote, upload])
@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.NETWORK_ERROR])
def test_the_content_lies_apart_from_the_clients_folder_and_is_deleted(
    attempt: Attempt, outcome: Outcome, order: Order
) -> None:
    client = MemoryClient(AttemptResult(outcome, "so it is", 2.0, mendable=True))
    assert attempt(order, client) == AttemptResult(outcome, "so it is", 2.0, mendable=True)
    assert client.calls[0].order.folder.parent == order.folder
    assert contents(order.folder) == []


def test_content_that_cannot_be_deleted_does_not_change_the_result(order: Order) -> None:
    class TurnsContentIntoFolder(MemoryClient):
        def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
            content.unlink()
            content.mkdir()
            return AttemptResult(Outcome.OK, cost=PRICE)

    assert quote(order, TurnsContentIntoFolder()) == AttemptResult(Outcome.OK, cost=PRICE)


def test_the_content_is_deleted_when_the_client_breaks_its_word_and_raises(order: Order) -> None:
    class Broken(MemoryClient):
        def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
            raise RuntimeError(content.name)

    with pytest.raises(RuntimeError, match="seed-42-33"):
        quote(order, Broken())
    assert contents(order.folder) == []


def test_a_stop_while_content_is_generated_ends_the_attempt(order: Order) -> None:
    stop, client = Stop(), MemoryClient()
    stop.request("kill switch", 1.0)
    huge = CatalogueSeed(FileSize.TERA, 1, FileSize.TERA.most, None)
    assert quote(order, client, huge, stop) == AttemptResult(Outcome.CLIENT_KILLED, "kill switch")
    assert client.calls == []
    assert contents(order.folder) == []


def test_a_full_disk_is_an_error_of_the_client(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device", str(order.folder))

    monkeypatch.setattr(seeded, "write", full)
    for number, attempt in enumerate((quote, upload)):
        own = Order(order.folder / str(number), 30.0, 1)
        own.folder.mkdir()
        result = attempt(own, MemoryClient())
        assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
        assert result.reason == "the content cannot be kept: No space left on device"


# --- money


def methods(client: MemoryClient) -> list[str]:
    return [call.method for call in client.calls]


def test_a_paid_upload_is_quoted_reserved_uploaded_and_settled_in_this_order(order: Order) -> None:
    paid = AttemptResult(Outcome.OK, exec_time=3.0, bytes=33, cost=Decimal("0.5"), address="here")
    client, purse = MemoryClient(AttemptResult(Outcome.OK, cost=Decimal(1)), paid, paying=True), Purse()
    assert upload(order, client, purse) == paid
    assert methods(client) == ["quote", "upload"]
    assert purse.seen == [("reserve", Decimal(1)), ("settle", Decimal("0.5"))]


def test_a_client_that_does_not_pay_needs_no_quote_and_no_funds(order: Order) -> None:
    client, purse = MemoryClient(), Purse(BROKE)
    assert upload(order, client, purse).outcome is Outcome.OK
    assert methods(client) == ["upload"]
    assert purse.seen == []


def test_a_refused_purse_spends_and_sends_nothing(order: Order) -> None:
    client, purse = MemoryClient(paying=True), Purse(BROKE)
    assert upload(order, client, purse) == AttemptResult(Outcome.CLIENT_ERROR, BROKE.reason)
    assert methods(client) == ["quote"]
    assert purse.seen == [("reserve", PRICE)]


def test_a_paying_client_without_a_purse_sends_nothing(order: Order) -> None:
    client = MemoryClient(paying=True)
    result = upload(order, client, None)
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert "no purse" in result.reason
    assert client.calls == []


def test_a_failed_quote_reserves_and_sends_nothing(order: Order) -> None:
    failure = AttemptResult(Outcome.NETWORK_ERROR, "no peers", 2.0, cost=Decimal(1), mendable=True)
    client, purse = MemoryClient(failure, paying=True), Purse()
    reason = "no price, so nothing was sent: no peers"
    assert upload(order, client, purse) == AttemptResult(Outcome.NETWORK_ERROR, reason, 2.0, mendable=True)
    assert (methods(client), purse.seen) == (["quote"], [])


@pytest.mark.parametrize("cost", [None, Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
def test_a_quote_without_a_sensible_price_reserves_and_sends_nothing(cost: Decimal | None, order: Order) -> None:
    client, purse = MemoryClient(AttemptResult(Outcome.OK, cost=cost), paying=True), Purse()
    assert upload(order, client, purse).outcome is Outcome.CLIENT_ERROR
    assert (methods(client), purse.seen) == (["quote"], [])


@pytest.mark.parametrize("outcome", [Outcome.NETWORK_ERROR, Outcome.CLIENT_KILLED, Outcome.CLIENT_ERROR])
def test_an_upload_that_fails_keeps_its_reservation(outcome: Outcome, order: Order) -> None:
    failure = AttemptResult(outcome, "half of it", cost=Decimal("0.1"))
    client, purse = MemoryClient(AttemptResult(Outcome.OK, cost=Decimal(1)), failure, paying=True), Purse()
    assert upload(order, client, purse) == failure
    assert purse.seen == [("reserve", Decimal(1)), ("settle", None)]


def test_an_upload_whose_payment_is_not_known_keeps_its_reservation(order: Order) -> None:
    results = AttemptResult(Outcome.OK, cost=Decimal(1)), AttemptResult(Outcome.OK)
    purse = Purse()
    assert upload(order, MemoryClient(*results, paying=True), purse).outcome is Outcome.OK
    assert purse.seen == [("reserve", Decimal(1)), ("settle", None)]


def test_a_client_that_raises_while_it_uploads_keeps_the_reservation(order: Order) -> None:
    class Broken(MemoryClient):
        def upload(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
            raise RuntimeError

    purse = Purse()
    with pytest.raises(RuntimeError):
        upload(order, Broken(paying=True), purse)
    assert purse.seen == [("reserve", PRICE), ("settle", None)]


def paid_upload(order: Order, client: MemoryClient, purse: Purse, step: float, stop: Stop) -> AttemptResult:
    workload = UploadWorkload(client, lambda _size, _rng: SEED, Ticking(step))
    return workload.attempt(workload.pick(task(workload), random.Random(1)), order, stop, purse)


def test_the_time_limit_covers_quote_and_upload_together(order: Order) -> None:
    client = MemoryClient(paying=True)
    assert paid_upload(order, client, Purse(), 12.0, Stop()).outcome is Outcome.OK
    assert [call.order.timeout for call in client.calls] == [30.0, 18.0]


def test_a_quote_that_takes_all_the_time_leaves_nothing_for_an_upload(order: Order) -> None:
    client, purse = MemoryClient(paying=True), Purse()
    result = paid_upload(order, client, purse, 30.0, Stop())
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_KILLED, True)
    assert (methods(client), purse.seen) == (["quote"], [])


def test_a_stop_between_quote_and_upload_reserves_and_sends_nothing(order: Order) -> None:
    class StopsAfterQuote(MemoryClient):
        def quote(self, content: Path, order: Order, stop: Stop) -> AttemptResult:
            result = super().quote(content, order, stop)
            stop.request("kill switch", 1.0)
            return result

    client, purse = StopsAfterQuote(paying=True), Purse()
    assert paid_upload(order, client, purse, 1.0, Stop()) == AttemptResult(Outcome.CLIENT_KILLED, "kill switch")
    assert (methods(client), purse.seen) == (["quote"], [])
