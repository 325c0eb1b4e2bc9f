"""The API's server: uvicorn in a thread of ours. Importing this file imports nothing of the extra `api`."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from testwarden.api.config import Address, ApiConfig, ApiRefused, address_of
from testwarden.api.door import Door
from testwarden.api.listener import MOST_CONNECTIONS, Listener
from testwarden.clients.stop import Stop

if TYPE_CHECKING:
    import uvicorn

    from testwarden.api.metrics import AgentMetrics

MOST_HEAD = 16 * 1024
"""Bytes of the head of a request."""
START_SECONDS = 10.0
STOP_SECONDS = 2.0
"""What `stop` takes at most: streams and fetches end by themselves, other answers get GRACE seconds."""
GRACE = 1
_log = logging.getLogger(__name__)


class ApiServer:
    """One API of one agent. Use `start` and `stop` once each."""

    def __init__(
        self,
        config: ApiConfig,
        door: Door,
        died: Callable[[BaseException], None],
        metrics: AgentMetrics | None = None,
    ) -> None:
        """Given the settings, the agent, what is called when the server ends without being asked to, and what Prometheus
        reads (None: only the agent's state)."""
        self._metrics = metrics
        self._config = config
        self._door = door
        self._died = died
        self._stop = Stop()
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self.url = ""
        """Where it answers, once it was started."""

    def start(self) -> None:
        """Listen and answer; return when it does. Raise ApiRefused, one sentence, if it may not or cannot."""
        address = address_of(self._config)
        listener = _listen(self._config.listen, address)
        try:
            server = self._build(address)
        except BaseException:
            listener.close()
            raise
        self._server, self._listener = server, listener
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or not server.started:
            self.stop()
            raise ApiRefused(f"the API on {self._config.listen} did not start")
        scheme = "http" if self._config.tls_cert is None else "https"
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.url = f"{scheme}://{host}:{listener.getsockname()[1]}"
        _log.info("the API answers at %s%s", self.url, "" if self._config.token else ", without a token")

    def stop(self) -> None:
        """Answer nobody any more; return within STOP_SECONDS. It may be called more than once."""
        self._closing.set()
        self._stop.request("the API is closing", 0)
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                _log.warning("the API did not close within %.0f s", STOP_SECONDS)

    def _build(self, address: Address) -> uvicorn.Server:
        try:
            import uvicorn

            from testwarden.api.app import build_app
            from testwarden.api.connection import PatientConnection
        except ImportError as problem:
            raise ApiRefused(
                f"api.listen is set, but {problem.name} is missing: pip install 'testwarden[api]'"
            ) from problem
        config, key = self._config, self._config.tls_key
        return uvicorn.Server(
            uvicorn.Config(
                build_app(self._door, config, address, self._stop, self._closing, self._metrics),
                http=PatientConnection,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                # What is worth a line `guarded.py` says, where no stranger's bytes can fill the log.
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=MOST_HEAD,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=GRACE,
                ssl_certfile=None if config.tls_cert is None else str(config.tls_cert),
                ssl_keyfile=None if key is None else str(key),
            )
        )

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:  # noqa: BLE001 - SystemExit, too, is how uvicorn gives up
            self._ended(problem)
        else:
            self._ended(RuntimeError("the server ended by itself"))

    async def _serve(self) -> None:
        if self._server is None or self._listener is None:
            raise RuntimeError("start it first")
        if self._config.tls_cert is not None:
            _bound_handshakes(asyncio.get_running_loop())
        # uvicorn takes over no signals outside of the main thread.
        watcher = asyncio.create_task(self._tell_when_ready(self._server))
        try:
            await self._server.serve([self._listener])
        finally:
            watcher.cancel()

    async def _tell_when_ready(self, server: uvicorn.Server) -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        self._ready.set()

    def _ended(self, problem: BaseException) -> None:
        if self._listener is not None:
            self._listener.close()
        self._ready.set()
        if not self._closing.is_set():
            self._died(problem)


def _bound_handshakes(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop's servers give up a TLS handshake in time; uvicorn has no setting for it, and asyncio waits 60 s."""
    from testwarden.api.connection import HEAD_SECONDS

    bounded = partial(loop.create_server, ssl_handshake_timeout=HEAD_SECONDS)
    loop.create_server = bounded  # type: ignore[method-assign]  # of this one loop, which is ours


def _listen(listen: str, address: Address) -> socket.socket:
    """Return a listening socket. Raise ApiRefused if there can be none."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = Listener(family, kind, protocol)
    except OSError as problem:
        raise ApiRefused(f"api.listen = {listen}: {problem.strerror}") from problem
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(MOST_CONNECTIONS)
    except OSError as problem:
        listener.close()
        raise ApiRefused(f"api.listen = {listen} cannot be listened on: {problem.strerror}") from problem
    return listener
