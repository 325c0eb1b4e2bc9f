"""The embedded network over real connections on loopback."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from decimal import Decimal
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest

from testwarden import seeded
from testwarden.clients.client import Order
from testwarden.clients.http import EmbeddedClient
from testwarden.clients.stop import Stop
from testwarden.embedded import store
from testwarden.embedded.shelf import Shelf, ShelfFullError
from testwarden.embedded.store import EmbeddedStore, price
from testwarden.model import GIB, MIB, CatalogueFile, FileSize, Outcome

WAIT = 10.0
PATIENCE_OF_TESTS = 0.2


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path) as running:
        yield running


def connect(running: EmbeddedStore) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port(running), timeout=WAIT)


def port(running: EmbeddedStore) -> int:
    return int(running.url.rpartition(":")[2])


def ask(
    running: EmbeddedStore, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    with closing(connect(running)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def put(running: EmbeddedStore, content: bytes, name: str = "a.bin") -> tuple[int, dict[str, object]]:
    status, body = ask(running, "PUT", f"/{name}", content)
    return status, json.loads(body)


def exchange_raw(running: EmbeddedStore, sent: bytes) -> bytes:
    """Send these bytes and nothing more; return all that comes back."""
    with socket.create_connection(("127.0.0.1", port(running)), WAIT) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


# --- content


def test_it_listens_on_loopback_only(embedded: EmbeddedStore) -> None:
    assert embedded.url.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match=r"refused|assign|timed out"):  # Linux refuses, other systems lack the address
        socket.create_connection(("127.0.0.2", port(embedded)), 1.0)


@pytest.mark.parametrize("size", [0, 1, 131072, 5000001])
def test_seeded_content_is_served_as_it_is_generated(size: int, embedded: EmbeddedStore) -> None:
    status, body = ask(embedded, "GET", f"/seed-42-{size}/any name.bin".replace(" ", "%20"))
    assert status == 200
    assert body == b"".join(seeded.chunks(42, size))


@pytest.mark.parametrize(
    "path",
    ["/", "/seed-42-5", "/seed-42-5/a/b", "/seed-042-5/a", f"/{'0' * 64}/a", "/../../etc/passwd", "/%2e%2e/passwd",
     f"/seed-1-{100 * GIB + 1}/a"],
)  # fmt: skip
def test_what_is_not_stored_is_not_found(path: str, embedded: EmbeddedStore) -> None:
    status, body = ask(embedded, "GET", path)
    assert (status, json.loads(body)) == (404, {"error": "nothing is stored at this address"})


def test_an_upload_can_be_downloaded_again_and_exists_the_second_time(embedded: EmbeddedStore) -> None:
    content = bytes(range(256)) * 1000
    address = hashlib.sha256(content).hexdigest()
    assert put(embedded, content) == (201, {"address": address, "existed": False})
    assert put(embedded, content, "another-name") == (200, {"address": address, "existed": True})
    assert ask(embedded, "GET", f"/{address}/x") == (200, content)


def test_nothing_that_is_stored_has_a_name_in_the_folder(embedded: EmbeddedStore, tmp_path: Path) -> None:
    for name in ("..%2f..%2fevil", "..", "quote"):
        assert put(embedded, b"content of " + name.encode(), name)[0] == 201
    assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.parent.glob("*evil*")) == []


def test_one_connection_serves_many_requests(embedded: EmbeddedStore) -> None:
    with closing(connect(embedded)) as connection:
        for size in (1, 100000, 1):
            connection.request("GET", f"/seed-1-{size}/a")
            assert len(connection.getresponse().read()) == size
            connection.request("PUT", "/a", b"same")
            assert connection.getresponse().read()


def test_many_at_once_each_get_their_own(embedded: EmbeddedStore) -> None:
    def there_and_back(seed: int) -> bool:
        content = b"".join(seeded.chunks(seed, MIB))
        address = put(embedded, content)[1]["address"]
        return all(ask(embedded, "GET", f"/{address}/a") == (200, content) for _ in range(3))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(there_and_back, range(32)))


# --- price


def question(running: EmbeddedStore, **asked: object) -> tuple[int, dict[str, object]]:
    status, body = ask(running, "POST", "/quote", json.dumps(asked).encode())
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("size", "chunks"),
    [(1, 3), (12 * MIB, 3), (12 * MIB + 1, 4), (64 * MIB, 16), (FileSize.TERA.most, 25600)],
)
def test_the_price_follows_from_the_number_of_chunks(size: int, chunks: int, embedded: EmbeddedStore) -> None:
    status, answer = question(embedded, size=size, md5="0" * 32)
    assert (status, answer["chunks"]) == (200, chunks)
    cost = str(answer["cost"])
    assert len(cost.partition(".")[2]) == 18
    assert "e" not in cost.lower()
    assert Decimal(cost) == price(size)[0] == chunks * price(1)[0] / 3
    assert Decimal(cost) > 0


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"\xff\xfe", b"[" * 4000, b"[]", b"null", b"{}", b'{"size": 5}', b'{"size": "5", "md5": "MD5"}',
     b'{"size": 5.0, "md5": "MD5"}', b'{"size": true, "md5": "MD5"}', b'{"size": 0, "md5": "MD5"}',
     b'{"size": -1, "md5": "MD5"}', b'{"size": 1e999, "md5": "MD5"}', b'{"size": ' + b"9" * 3000 + b', "md5": "MD5"}',
     b'{"size": 5, "md5": "xyz"}', b'{"size": 5, "md5": null}'],
)  # fmt: skip
def test_a_bad_question_is_refused_with_a_sentence(body: bytes, embedded: EmbeddedStore) -> None:
    status, answer = ask(embedded, "POST", "/quote", body.replace(b"MD5", b"0" * 32))
    assert status == 400
    assert json.loads(answer)["error"]


# --- broken and hostile peers


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("PUT /a", "Content-Length: 1073741825", 413),
        ("POST /quote", "Content-Length: 4097", 413),
        ("PUT /a", "X: y", 411),
        ("PUT /a", "Transfer-Encoding: chunked", 411),
        ("PUT /a", "Transfer-Encoding: chunked\r\nContent-Length: 0", 411),
        ("PUT /a", "Content-Length: -5", 400),
        ("PUT /a", "Content-Length: \u0665", 400),
        ("PUT /", "Content-Length: 0", 400),
        ("PUT /a/b", "Content-Length: 0", 400),
        ("POST /elsewhere", "Content-Length: 0", 404),
        ("DELETE /a", "X: y", 501),
        ("HEAD /a", "X: y", 501),
        ("GET /a b c", "X: y", 400),
        ("GET /" + "a" * 70000, "X: y", 414),
        ("GET /", "\r\n".join(f"X{n}: y" for n in range(200)), 431),
    ],
)
def test_a_bad_request_is_refused_in_json_and_the_connection_ends(
    request_line: str, headers: str, status: int, embedded: EmbeddedStore
) -> None:
    answer = exchange_raw(embedded, f"{request_line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert b"Connection: close" in head
    assert json.loads(body)["error"]


def test_a_body_that_ends_early_is_not_stored(embedded: EmbeddedStore) -> None:
    assert exchange_raw(embedded, b"PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf") == b""
    address = hashlib.sha256(b"half").hexdigest()
    assert ask(embedded, "GET", f"/{address}/a")[0] == 404


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET", b"PUT /a HTTP/1.1\r\nContent-Le"])
def test_garbage_and_half_requests_end_only_their_own_connection(
    sent: bytes, embedded: EmbeddedStore, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange_raw(embedded, sent)
    assert ask(embedded, "GET", "/seed-1-5/a")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_peer_that_hangs_up_in_the_middle_of_content_ends_only_its_own_connection(
    embedded: EmbeddedStore, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", port(embedded)), WAIT) as raw:
        raw.sendall(b"GET /seed-1-1000000000/a HTTP/1.1\r\n\r\n")
        assert raw.recv(10)
    assert ask(embedded, "GET", "/seed-1-5/a")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_peers_get_a_time_limit() -> None:
    assert store._Handler.timeout == store.SILENCE > PATIENCE_OF_TESTS


@pytest.mark.parametrize("sent", [b"", b"GET /se", b"PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf"])
def test_a_peer_that_says_nothing_more_is_hung_up_on(
    sent: bytes, embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._Handler, "timeout", PATIENCE_OF_TESTS)
    with socket.create_connection(("127.0.0.1", port(embedded)), WAIT) as raw:
        raw.sendall(sent)
        assert raw.recv(10) == b""


def test_a_peer_that_takes_nothing_is_hung_up_on(embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._Handler, "timeout", PATIENCE_OF_TESTS)
    ended = threading.Event()
    close = store._Server.shutdown_request
    monkeypatch.setattr(store._Server, "shutdown_request", lambda self, r: (close(self, r), ended.set()))
    with socket.create_connection(("127.0.0.1", port(embedded)), WAIT) as raw:
        raw.sendall(b"GET /seed-1-1000000000/a HTTP/1.1\r\n\r\n")
        assert ended.wait(WAIT)


def test_connections_are_bounded_and_a_place_that_is_free_again_is_used(
    embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Semaphore(0)
    close = store._Server.shutdown_request
    monkeypatch.setattr(store._Server, "shutdown_request", lambda self, r: (close(self, r), closed.release()))
    with ExitStack() as stack:
        for _ in range(store.MOST_CONNECTIONS):
            connection = stack.enter_context(closing(connect(embedded)))
            connection.request("GET", "/seed-1-5/a")
            connection.getresponse().read()
        with pytest.raises((RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            ask(embedded, "GET", "/seed-1-5/a")
    for _ in range(store.MOST_CONNECTIONS + 1):
        assert closed.acquire(timeout=WAIT)
    assert ask(embedded, "GET", "/seed-1-5/a")[0] == 200


# --- start and stop


def test_after_the_stop_nothing_is_left_even_with_open_connections(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        with EmbeddedStore(tmp_path) as running:
            idle = stack.enter_context(closing(connect(running)))
            idle.request("GET", "/seed-1-5/a")
            idle.getresponse().read()
            busy = stack.enter_context(socket.create_connection(("127.0.0.1", port(running)), WAIT))
            busy.sendall(b"GET /seed-1-100000000000/a HTTP/1.1\r\n\r\n")
            assert busy.recv(10)
            put(running, b"content")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port(running)), WAIT)
        # The peers are still there: nobody but the store ends its threads, and it does not wait for SILENCE.
        for thread in set(threading.enumerate()) - before:
            thread.join(store.SILENCE / 2)
            assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_was_not_used_stops_as_well_and_two_run_beside_each_other(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as one, EmbeddedStore(tmp_path) as two:
        assert one.url != two.url


def test_a_folder_that_is_gone_refuses_uploads_and_serves_on(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "gone") as running:
        assert put(running, b"content") == (507, {"error": "it cannot be kept: No such file or directory"})
        assert ask(running, "GET", "/seed-1-5/a")[0] == 200


# --- the shelf


def on(shelf: Shelf, address: str) -> bytes | None:
    with shelf.reading(address) as content:
        return None if content is None else b"".join(content.blocks)


@pytest.fixture
def make_shelf(tmp_path: Path) -> Iterator[Callable[[int, int], Shelf]]:
    with ExitStack() as stack:

        def make(most_bytes: int, most_files: int) -> Shelf:
            return stack.enter_context(closing(Shelf(tmp_path, most_bytes, most_files)))

        yield make


@pytest.mark.parametrize(("most_bytes", "most_files"), [(30, 99), (39, 99), (999, 3)])
def test_the_oldest_goes_when_there_is_too_much(
    most_bytes: int, most_files: int, make_shelf: Callable[[int, int], Shelf]
) -> None:
    shelf = make_shelf(most_bytes, most_files)
    addresses = [shelf.put(10, [content * 10]).address for content in (b"a", b"b", b"c", b"d")]
    assert [on(shelf, address) for address in addresses] == [None, b"b" * 10, b"c" * 10, b"d" * 10]


def test_content_that_is_dropped_while_it_is_read_is_read_to_its_end(make_shelf: Callable[[int, int], Shelf]) -> None:
    shelf = make_shelf(20, 99)
    address = shelf.put(11, [b"hello", b" world"]).address
    with shelf.reading(address) as content:
        shelf.put(20, [b"x" * 20])
        assert on(shelf, address) is None
        assert content is not None
        assert (content.size, b"".join(content.blocks)) == (11, b"hello world")


def test_what_is_on_its_way_in_counts_and_a_broken_body_gives_its_room_back(
    make_shelf: Callable[[int, int], Shelf],
) -> None:
    shelf = make_shelf(20, 99)

    def body() -> Iterator[bytes]:
        with pytest.raises(ShelfFullError):
            shelf.put(10, [b"y" * 10])
        raise ConnectionError
        yield b""

    with pytest.raises(ConnectionError):
        shelf.put(11, body())
    assert on(shelf, shelf.put(20, [b"z" * 20]).address) == b"z" * 20


# --- with the client that is made for it


def test_the_embedded_client_quotes_uploads_and_downloads(embedded: EmbeddedStore, tmp_path: Path) -> None:
    client = EmbeddedClient(embedded.url, "testwarden tests")
    content, folder = tmp_path / "content", tmp_path / "folder"
    folder.mkdir()
    seeded.write(42, 100000, content)
    order = Order(folder, WAIT, MIB)
    quote = client.quote(content, order, Stop())
    assert (quote.outcome, quote.cost) == (Outcome.OK, price(100000)[0])
    first, again = client.upload(content, order, Stop()), client.upload(content, order, Stop())
    assert (first.outcome, again.outcome, first.bytes) == (Outcome.OK, Outcome.OK, 100000)
    assert first.address == again.address == hashlib.sha256(content.read_bytes()).hexdigest()
    result = client.download(CatalogueFile(FileSize.TINY, "a b", first.address, None), order, Stop())
    assert result.outcome is Outcome.OK
    assert [path.read_bytes() for path in folder.iterdir()] == [content.read_bytes()]
    lost = client.download(CatalogueFile(FileSize.TINY, "a", "0" * 64, None), order, Stop())
    assert lost.outcome is Outcome.DATA_LOSS
