"""The two doors to an InfluxDB, and finding out which one a server has."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import requests

from testwarden import __version__
from testwarden.clients.exchange import ExchangeEnded
from testwarden.clients.http_session import BodyRefused, BoundedSession, beginning_of, explain, one_line
from testwarden.clients.stop import Stop
from testwarden.metrics.influx import DEFAULT_NAME, Denied, InfluxServer, NotNow, Refusal, Writer, judge

USER_AGENT = f"testwarden/{__version__}"
SECONDS = 30.0
"""What one write may take; InfluxDB's own limit is 10 s."""
_MOST_ANSWER = 64 * 1024
_OLD = ("1.", "0.")


def connect(server: InfluxServer, seconds: float = SECONDS, stop: Stop | None = None) -> Writer:
    """Given a server and how long one request may take, ask what it is, and return its door.

    A named bucket or database decides; without them the server's version does. Raise Denied or NotNow, one sentence.
    """
    _check(server)
    version = _version(server, seconds, stop)
    if server.database or (not server.bucket and (not version or version.startswith(_OLD))):
        return DoorOne(server, version, seconds, stop)
    if version.startswith(_OLD) and not version.startswith("1.8"):
        raise Denied(f"{server.url} is InfluxDB {version}, which has databases, not buckets: name a database")
    return DoorTwo(server, version, seconds)


class DoorOne:
    """`/write` of InfluxDB 1, and of what speaks it: VictoriaMetrics, InfluxDB 2 and 3 with a mapped database."""

    def __init__(self, server: InfluxServer, version: str, seconds: float, stop: Stop | None = None) -> None:
        database = server.database or DEFAULT_NAME
        self.name = f"{server.url} ({_product(version)}), database {database!r}"
        self._server = server
        self._url = f"{server.url.rstrip('/')}/write"
        self._query = {"db": database, "precision": "ns"}
        self._seconds = seconds
        self._stop = stop
        self._session = BoundedSession(USER_AGENT)

    def write(self, body: bytes, lines: int) -> Refusal | None:
        status, headers, text = _exchange(
            self._session, "POST", self._url, self._server, self._seconds, self._stop, params=self._query, data=body
        )
        return judge(self.name, status, headers, text, lines)

    def close(self) -> None:
        self._session.close()


class DoorTwo:
    """`/api/v2/write`, through influxdb-client.

    A batch is one synchronous write. The batches of the library's own batching mode are written by another thread, and
    what goes wrong with one never reaches who handed it over; an import could not say how far it came.
    """

    def __init__(self, server: InfluxServer, version: str, seconds: float) -> None:
        # 31 MB: only who writes to such a server needs it.
        from influxdb_client.client.influxdb_client import InfluxDBClient
        from influxdb_client.client.write_api import SYNCHRONOUS

        # It says each message of a server once more, at its own level, by a logger of its own.
        logging.getLogger("influxdb_client").setLevel(logging.CRITICAL)
        self._bucket = server.bucket or DEFAULT_NAME
        self.name = f"{server.url} ({_product(version)}), bucket {self._bucket!r}"
        self._org = server.org
        self._client = InfluxDBClient(
            server.url.rstrip("/"), server.token or _password_token(server), timeout=int(seconds * 1000), org=server.org
        )
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, body: bytes, lines: int) -> Refusal | None:
        from influxdb_client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._writer.write(self._bucket, self._org, body)
        except ApiException as error:
            if not error.status:
                raise Denied(f"{self.name}: {explain(error)}") from None
            headers, text = dict(error.headers or {}), str(error.body or "")
            return judge(self.name, int(error.status), headers, text, lines)
        except (HTTPError, OSError, UnicodeDecodeError) as error:
            raise NotNow(f"{self.name}: no answer: {explain(error)}") from None
        return None

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]  # the library has no types for it


def _check(server: InfluxServer) -> None:
    """Raise Denied for what no request can carry, without repeating a secret."""
    if server.bucket and server.database:
        raise Denied("a bucket (InfluxDB 2 and 3) and a database (InfluxDB 1) are named: one of them is too much")
    if not server.url.startswith(("http://", "https://")):
        raise Denied(f"{one_line(server.url)!r} is no address of a server: it begins with http:// or https://")
    if "@" in server.url:
        raise Denied("the address of the server holds a name or a password: give them apart from it")
    for what in ("token", "username", "password"):
        value = getattr(server, what)
        if not (value.isascii() and value.isprintable()):
            raise Denied(f"the {what} holds a character that is neither a letter, a digit nor a sign of ASCII")


def _product(version: str) -> str:
    return f"InfluxDB {version}" if version else "no version said"


def _password_token(server: InfluxServer) -> str:
    """InfluxDB 1.8 takes name and password for a token."""
    return f"{server.username}:{server.password}" if server.username else ""


def _version(server: InfluxServer, seconds: float, stop: Stop | None) -> str:
    """What the server says that it is; empty for one that does not say (VictoriaMetrics)."""
    with closing(BoundedSession(USER_AGENT)) as session:
        status, headers, body = _exchange(session, "GET", f"{server.url.rstrip('/')}/ping", server, seconds, stop)
    said = next((value for name, value in headers.items() if name.lower() == "x-influxdb-version"), "")
    if status in (401, 403) and not said:
        said = "3"  # It alone guards /ping.
    if not said and status >= 500:
        raise NotNow(f"{server.url}: it cannot answer now (status {status})")
    if not said and status not in (200, 204):
        raise Denied(f"{server.url} does not answer as InfluxDB does (status {status} for /ping)")
    return one_line(said or _version_in(body)).removeprefix("v")


def _version_in(body: str) -> str:
    try:
        content = json.loads(body)
    except ValueError:
        return ""
    version = content.get("version") if isinstance(content, dict) else None
    return version if isinstance(version, str) else ""


def _exchange(
    session: BoundedSession, method: str, url: str, server: InfluxServer, seconds: float, stop: Stop | None, **more: Any
) -> tuple[int, Mapping[str, str], str]:
    """One request with the server's credentials; return status, headers and the beginning of the body. Raise NotNow."""
    headers = {"Authorization": f"Token {server.token}"} if server.token else {}
    login = (server.username, server.password) if server.username and not server.token else None
    try:
        with session.bounded(seconds, stop):
            answer = session.request(
                method, url, headers=headers, auth=login, stream=True, allow_redirects=False, **more
            )
            with closing(answer):
                text = beginning_of(answer, _MOST_ANSWER).decode("utf-8", "replace")
    except (requests.exceptions.InvalidURL, requests.exceptions.SSLError, UnicodeError) as error:
        raise Denied(f"{server.url}: {explain(error)}") from None
    except (requests.RequestException, OSError, ExchangeEnded, BodyRefused) as error:
        raise NotNow(f"{server.url}: no answer: {explain(error)}") from None
    return answer.status_code, answer.headers, text
