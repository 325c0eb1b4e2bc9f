"""The HTTP client and the client of the embedded network against real servers on loopback."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from standins.raw_server import raw_server, read_request, self_signed, trickle, wait_for_hangup
from standins.scripted_http import Reply, scripted_http
from testwarden.clients.client import Client, Order
from testwarden.clients.http import EmbeddedClient, HttpClient
from testwarden.clients.http_targets import TargetRefused
from testwarden.clients.stop import Stop
from testwarden.embedded.store import EmbeddedStore, price
from testwarden.model import AttemptResult, CatalogueFile, FileSize, Outcome, TestType

MIB = 1024 * 1024


@pytest.fixture
def order(tmp_path: Path) -> Order:
    folder = tmp_path / "attempt"
    folder.mkdir()
    return Order(folder, timeout=5.0, most_bytes=MIB)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "seed 7.bin"
    path.write_bytes(b"\x00\xff" * 300_000)
    return path


def client(gateway: str, **more: Any) -> HttpClient:
    return HttpClient(gateway, "testwarden/test", **more)


def file(address: str = "abc", name: str = "a file.txt") -> CatalogueFile:
    return CatalogueFile(FileSize.TINY, name, address, None)


def answers(status: int = 200, body: bytes = b"", **headers: str) -> Callable[..., Reply]:
    return lambda *_: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_both_are_clients() -> None:
    clients: list[Client] = [client("http://127.0.0.1"), EmbeddedClient("http://127.0.0.1", "us")]
    assert [(each.name, each.paying) for each in clients] == [("http", False), ("embedded", False)]


def test_a_gateway_that_is_no_url_is_refused_at_once() -> None:
    with pytest.raises(TargetRefused):
        client("127.0.0.1:8080")


def test_a_download_leaves_the_content_as_the_only_file(order: Order) -> None:
    body = b"\x00\x01\r\n" * 50_000
    with scripted_http(answers(body=body)) as server:
        result = client(server.url + "/").download(file(), order, Stop())
    assert (result.outcome, result.bytes, result.reason) == (Outcome.OK, len(body), "")
    assert result.exec_time > 0
    assert [path.read_bytes() for path in order.folder.iterdir()] == [body]
    [(method, path, headers, _)] = server.asked
    assert (method, path, headers["User-Agent"]) == ("GET", "/abc/a%20file.txt", "testwarden/test")


def test_the_clock_that_is_given_measures_the_attempt(order: Order) -> None:
    ticks = iter([10.0, 12.5])
    with scripted_http(answers(body=b"x")) as server:
        result = client(server.url, clock=lambda: next(ticks)).download(file(), order, Stop())
    assert result.exec_time == 2.5


def test_a_file_that_is_not_there_is_data_loss(order: Order) -> None:
    with scripted_http(answers(404, b"gone")) as server:
        result = client(server.url).download(file(), order, Stop())
    assert (result.outcome, result.mendable, result.reason) == (Outcome.DATA_LOSS, False, "HTTP 404 Not Found")


def test_a_server_in_trouble_is_a_network_error_that_another_try_can_mend(order: Order) -> None:
    with scripted_http(answers(503)) as server:
        result = client(server.url).download(file(), order, Stop())
    assert (result.outcome, result.mendable) == (Outcome.NETWORK_ERROR, True)


def talk_and_close(content: bytes) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(content)

    return talk


@pytest.mark.parametrize(
    ("said", "bytes_moved"),
    [
        (b"", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", 5),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 5),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n", 0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 0),
    ],
)
def test_a_broken_answer_is_a_network_error(order: Order, said: bytes, bytes_moved: int) -> None:
    with raw_server(talk_and_close(said)) as server:
        result = client(f"http://127.0.0.1:{server.port}").download(file(), order, Stop())
    assert (result.outcome, result.mendable, result.bytes) == (Outcome.NETWORK_ERROR, True, bytes_moved)


def test_a_refused_connection_is_a_network_error(order: Order) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    result = client(f"http://127.0.0.1:{port}").download(file(), order, Stop())
    assert (result.outcome, result.mendable) == (Outcome.NETWORK_ERROR, True)
    assert "refused" in result.reason


def test_a_name_without_address_is_a_network_error(order: Order) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    result = client("http://gateway.example", resolve=resolve).download(file(), order, Stop())
    assert (result.outcome, result.mendable) == (Outcome.NETWORK_ERROR, True)
    assert "not known" in result.reason


def test_a_server_that_trickles_is_stopped_at_the_time_limit(order: Order) -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        trickle(sock, b"x" * 900)

    short = Order(order.folder, timeout=0.3, most_bytes=MIB)
    with raw_server(talk) as server:
        result = client(f"http://127.0.0.1:{server.port}").download(file(), short, Stop())
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_KILLED, True)
    assert result.reason == "not done within 0.3 s"


@pytest.mark.parametrize("verb", ["download", "upload", "quote"])
def test_a_stop_ends_every_kind_of_attempt_with_its_reason(order: Order, content: Path, verb: str) -> None:
    stop = Stop()

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        stop.request("the kill switch is active", 0)
        wait_for_hangup(sock)

    with raw_server(talk) as server:
        embedded = EmbeddedClient(f"http://127.0.0.1:{server.port}", "us")
        what = file() if verb == "download" else content
        result: AttemptResult = getattr(embedded, verb)(what, Order(order.folder, 60.0, MIB), stop)
    assert (result.outcome, result.mendable, result.reason) == (
        Outcome.CLIENT_KILLED,
        False,
        "the kill switch is active",
    )


@pytest.mark.parametrize("length", ["1048577", None])
def test_a_file_that_is_too_large_is_not_what_was_asked_for(order: Order, length: str | None) -> None:
    def talk(sock: socket.socket) -> None:
        read_request(sock)
        head = f"Content-Length: {length}" if length else "Connection: close"
        sock.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        for _ in range(200):
            sock.sendall(b"x" * MIB)

    with raw_server(talk) as server:
        result = client(f"http://127.0.0.1:{server.port}").download(file(), order, Stop())
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert result.bytes <= MIB
    assert sum(path.stat().st_size for path in order.folder.iterdir()) <= MIB


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(order: Order) -> None:
    gone = Order(order.folder / "missing", 5.0, MIB)
    with scripted_http(answers(body=b"x")) as server:
        result = client(server.url).download(file(), gone, Stop())
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)


def test_a_redirect_within_the_gateway_is_followed(order: Order) -> None:
    def script(_method: str, path: str, _body: bytes) -> Reply:
        if path.startswith("/abc"):
            return 302, {"Location": "/elsewhere?x=1"}, b"not this"
        return 200, {}, path.encode()

    with scripted_http(script) as server:
        result = client(server.url).download(file(), order, Stop())
    assert result.outcome is Outcome.OK
    assert [path.read_bytes() for path in order.folder.iterdir()] == [b"/elsewhere?x=1"]


def test_a_redirect_to_another_port_of_the_same_machine_is_refused(order: Order) -> None:
    with scripted_http(answers(body=b"secret")) as other:
        with scripted_http(answers(302, Location=f"{other.url}/x")) as server:
            result = client(server.url).download(file(), order, Stop())
        assert other.asked == []
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert "not one of the allowed hosts" in result.reason


def test_redirects_in_a_circle_end(order: Order) -> None:
    with scripted_http(answers(302, Location="/again")) as server:
        result = client(server.url).download(file(), order, Stop())
    assert (result.outcome, len(server.asked)) == (Outcome.CLIENT_ERROR, 6)
    assert "redirects" in result.reason


def fake_names(**addresses: str) -> Any:
    def resolve(host: str, port: int, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[host.split(".")[0]], port))]

    return resolve


def test_an_absolute_url_to_a_host_that_is_not_allowed_is_refused(order: Order) -> None:
    with scripted_http(answers(body=b"x")) as server:
        result = client("http://127.0.0.1:1").download(file(f"{server.url}/x"), order, Stop())
        assert server.asked == []
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert "127.0.0.1 is not one of the allowed hosts" in result.reason


def test_an_allowed_host_that_leads_into_a_private_network_is_refused(order: Order) -> None:
    with scripted_http(answers(body=b"x")) as server:
        http = client("http://127.0.0.1:1", allowed_hosts=["*.example.org"], resolve=fake_names(files="127.0.0.1"))
        result = http.download(file(f"http://files.example.org:{server.server_port}/x"), order, Stop())
        assert server.asked == []
    assert result.outcome is Outcome.CLIENT_ERROR
    assert result.reason == "files.example.org leads to 127.0.0.1, which is not a public address"


def test_even_the_gateway_is_private_for_an_absolute_url(order: Order) -> None:
    """The operator chose the gateway for what the network stores, not for any path that a catalogue may think of."""
    with scripted_http(answers(body=b"x")) as server:
        http = client(server.url, allowed_hosts=["127.0.0.1"])
        result = http.download(file(f"{server.url}/admin"), order, Stop())
        assert server.asked == []
    assert result.outcome is Outcome.CLIENT_ERROR


def test_a_url_that_readers_understand_differently_dials_nobody(order: Order) -> None:
    with scripted_http(answers(body=b"x")) as server:
        http = client("http://127.0.0.1:1", allowed_hosts=["files.example.org"])
        url = f"http://127.0.0.1:{server.server_port}\\.files.example.org/x"
        result = http.download(file(url), order, Stop())
        assert server.asked == []
    assert result.outcome is Outcome.CLIENT_ERROR


def test_a_download_over_tls_is_checked(order: Order, tmp_path: Path) -> None:
    ours, theirs = self_signed(tmp_path)
    with raw_server(talk_and_close(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), ours) as server:
        gateway = f"https://127.0.0.1:{server.port}"
        assert client(gateway, tls=theirs).download(file(), order, Stop()).outcome is Outcome.OK
        result = client(gateway).download(file(), order, Stop())
    assert (result.outcome, result.mendable) == (Outcome.NETWORK_ERROR, False)
    assert "certificate" in result.reason.lower()


@pytest.mark.parametrize(
    ("reply", "address"),
    [
        ((201, {}, b'{"address": "ff00", "existed": false}'), "ff00"),
        ((200, {}, b'{"address": "ff00", "existed": true}'), "ff00"),
        ((201, {"Location": "/ff00"}, b""), "/ff00"),
        ((200, {}, b"ff00\n"), "ff00"),
        ((204, {}, b""), None),
        ((409, {}, b'{"address": "ff00"}'), "ff00"),
        ((409, {}, b"<html>\nit exists</html>"), None),
    ],
)
def test_an_upload_says_where_the_file_is(order: Order, content: Path, reply: Reply, address: str | None) -> None:
    with scripted_http(lambda *_: reply) as server:
        result = client(server.url).upload(content, order, Stop())
    assert (result.outcome, result.address, result.bytes) == (Outcome.OK, address, 600_000)
    [(method, path, headers, body)] = server.asked
    assert (method, path, headers["Content-Length"]) == ("PUT", "/seed%207.bin", "600000")
    assert body == content.read_bytes()


def test_an_empty_file_is_uploaded(order: Order, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with scripted_http(answers(201)) as server:
        assert client(server.url).upload(empty, order, Stop()).outcome is Outcome.OK
    assert server.asked[0][3] == b""


@pytest.mark.parametrize("status", [302, 403, 404, 413])
def test_an_upload_that_is_not_taken_is_an_error(order: Order, content: Path, status: int) -> None:
    with scripted_http(answers(status, Location="/x")) as server:
        result = client(server.url).upload(content, order, Stop())
    assert result.outcome in (Outcome.CLIENT_ERROR, Outcome.UNKNOWN_ERROR)
    assert not result.mendable
    assert len(server.asked) == 1


def test_an_upload_of_a_missing_file_is_an_error_of_ours(order: Order, tmp_path: Path) -> None:
    with scripted_http(answers(201)) as server:
        assert client(server.url).upload(tmp_path / "no", order, Stop()).outcome is Outcome.CLIENT_ERROR
        assert EmbeddedClient(server.url, "us").quote(tmp_path / "no", order, Stop()).outcome is Outcome.CLIENT_ERROR


def test_a_gateway_names_no_price_and_says_so_before_and_after(order: Order, content: Path) -> None:
    result = client("http://127.0.0.1:1").quote(content, order, Stop())
    assert (result.outcome, result.mendable) == (Outcome.CLIENT_ERROR, False)
    assert HttpClient.unsupported == {TestType.QUOTE: result.reason}
    assert EmbeddedClient.unsupported == {}


def test_the_embedded_store_is_asked_for_a_price_by_size_and_md5(order: Order, content: Path) -> None:
    with scripted_http(answers(body=b'{"cost": "0.000000000000012345", "chunks": 1}')) as server:
        result = EmbeddedClient(server.url, "us").quote(content, order, Stop())
    assert (result.outcome, result.cost) == (Outcome.OK, Decimal("0.000000000000012345"))
    [(method, path, _, body)] = server.asked
    assert (method, path) == ("POST", "/quote")
    assert json.loads(body) == {
        "size": 600_000,
        "md5": hashlib.md5(content.read_bytes(), usedforsecurity=False).hexdigest(),
    }


def test_the_embedded_client_gets_on_with_the_embedded_store(order: Order, content: Path, tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        embedded = EmbeddedClient(store.url, "testwarden/test")
        quoted = embedded.quote(content, order, Stop())
        first, second = (embedded.upload(content, order, Stop()) for _ in range(2))
        downloaded = embedded.download(file(first.address or "", "seed 7.bin"), order, Stop())
        lost = embedded.download(file("0" * 64), Order(tmp_path, 5.0, MIB), Stop())
    assert (quoted.outcome, quoted.cost) == (Outcome.OK, price(600_000)[0])
    assert (first.outcome, second.outcome, second.address) == (Outcome.OK, Outcome.OK, first.address)
    assert downloaded.outcome is Outcome.OK
    assert [path.read_bytes() for path in order.folder.iterdir()] == [content.read_bytes()]
    assert lost.outcome is Outcome.DATA_LOSS
