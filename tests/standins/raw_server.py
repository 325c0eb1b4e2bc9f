"""A server on 127.0.0.1 that talks bytes, for tests of how we bear servers that do not behave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

PATIENCE = 5.0
"""Seconds after which a server that waits for the client to hang up gives up.

It raises then, in its own thread; pytest makes that an error of the test, so a client that hangs fails its test.
"""

Talk = Callable[[socket.socket], None]


class RawServer:
    """Accepts connections and lets `talk` do what it likes with each, in a thread of its own."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.accepted += 1
                self._threads.append(threading.Thread(target=self._one, args=[sock], daemon=True))
                self._threads[-1].start()

    def _one(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            if self._tls is None:
                self._talk(sock)
            else:
                with self._tls.wrap_socket(sock, server_side=True) as wrapped:
                    self._talk(wrapped)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE + 2)


@contextmanager
def raw_server(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """While inside, a server talks."""
    server = RawServer(talk, tls)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
        server.join()


def read_request(sock: socket.socket) -> bytes:
    """Read up to the end of the headers of a request; empty if the client went away."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = _receive(sock)
        if not piece:
            return b""
        received += piece
    return received


def wait_for_hangup(sock: socket.socket) -> None:
    """Say nothing until the client hangs up."""
    while _receive(sock):
        pass


def _receive(sock: socket.socket) -> bytes:
    sock.settimeout(PATIENCE)
    try:
        return sock.recv(65536)
    except TimeoutError:
        raise AssertionError("the client did not hang up") from None


def trickle(sock: socket.socket, content: bytes) -> None:
    """Send the content over and over, one byte every 10 ms, until the client hangs up."""
    sock.settimeout(0.01)
    for position in range(int(PATIENCE / 0.01)):
        sock.sendall(content[position % len(content) :][:1])
        with suppress(TimeoutError):
            if not sock.recv(1):
                return
    raise AssertionError("the client did not hang up")


def self_signed(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return TLS settings for a server that is localhost and 127.0.0.1, and for a client that trusts it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, secret = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, secret)
    return server, ssl.create_default_context(cafile=str(public))
