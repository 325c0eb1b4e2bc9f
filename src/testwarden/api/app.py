"""The FastAPI application: the routes, behind the guard."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from testwarden import __version__
from testwarden.api import orchestrator, own
from testwarden.api.config import Address, ApiConfig
from testwarden.api.door import Door
from testwarden.api.guard import Guard
from testwarden.api.guarded import Guarded
from testwarden.api.log_stream import LogStreams
from testwarden.api.metrics import CONTENT_TYPE, AgentMetrics
from testwarden.api.scripts import Fetcher, Shelf
from testwarden.api.utilisation import Meter
from testwarden.api.work import Pool
from testwarden.clients.stop import Stop
from testwarden.errors import TestwardenError

STARTS_AT_ONCE = 100
"""Starts that may fetch a script at one moment; each has a thread. Whatever else is asked for never waits for theirs."""
CALLS_AT_ONCE = 100
"""Other calls that may wait for a k6 or the disk at one moment; each has a thread."""
_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SAID = """Start, stop and watch tests on this agent. `/api/v1/*` is what orchestrators of k6 agents call, `/v1/*` is the
agent's own. Everything passes the same gate, ledger and kill switch as the tasks of a control file."""


def build_app(
    door: Door,
    config: ApiConfig,
    address: Address,
    stop: Stop,
    closing: threading.Event,
    metrics: AgentMetrics | None = None,
) -> FastAPI:
    """Given the agent, the settings, where it listens, what ends fetches, what ends streams, and what Prometheus reads
    (None: of its own, which knows of no attempts), return the app."""
    app = FastAPI(
        title="testwarden",
        version=__version__,
        description=_SAID,
        # Their pages load scripts from foreign hosts.
        docs_url=None,
        redoc_url=None,
    )
    fetcher, shelf = Fetcher(config.agent, stop), Shelf(config.scripts)
    calls, starts = Pool(CALLS_AT_ONCE), Pool(STARTS_AT_ONCE)
    carried_out = orchestrator.Orchestrator(door, fetcher, shelf, Meter())
    app.include_router(orchestrator.routes(carried_out, calls, starts))
    carried_out_own = own.OwnRoutes(door, fetcher, shelf)
    app.include_router(own.routes(door, carried_out_own, calls, starts, LogStreams(door, closing)))
    _add_metrics(app, metrics or AgentMetrics(door), calls)
    _add_page(app)
    _add_errors(app)
    if config.token is not None:
        _say_token(app)
    app.add_middleware(Guarded, guard=Guard(config, address))
    return app


def _add_metrics(app: FastAPI, metrics: AgentMetrics, pool: Pool) -> None:
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get("/metrics", tags=["orchestrators"], summary="For Prometheus.", response_class=Response, responses=text)
    async def scrape() -> Response:
        return Response(await pool.run(metrics.exposition), media_type=CONTENT_TYPE)


def _add_page(app: FastAPI) -> None:
    """The page's files are read once: a name in a URL is looked up among them and never becomes a path."""
    files = page_files()

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file(files, "index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return _file(files, name)


def page_files() -> Mapping[str, tuple[bytes, str]]:
    """Return the files of the status page: name → content and type."""
    folder = resources.files("testwarden.api") / "page"
    return {
        file.name: (file.read_bytes(), kind)
        for file in folder.iterdir()
        for ending, kind in _PAGE_TYPES.items()
        if file.name.endswith(ending)
    }


def _file(files: Mapping[str, tuple[bytes, str]], name: str) -> Response:
    if name not in files:
        raise HTTPException(404, "there is no such page")
    content, kind = files[name]
    return Response(content, media_type=kind)


def _add_errors(app: FastAPI) -> None:
    """Every error outside of the orchestrators' routes is `{"error": "one sentence"}`."""

    @app.exception_handler(StarletteHTTPException)
    async def told(_: Request, problem: StarletteHTTPException) -> Response:
        return JSONResponse({"error": str(problem.detail)}, problem.status_code, problem.headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, problem: RequestValidationError) -> Response:
        return JSONResponse({"error": _sentence(problem)}, 422)

    @app.exception_handler(TestwardenError)
    async def cannot(_: Request, problem: TestwardenError) -> Response:
        return JSONResponse({"error": str(problem)}, 503)


def _sentence(problem: RequestValidationError) -> str:
    errors: Sequence[dict[str, Any]] = problem.errors()
    # Of several forms that are possible, the one that the caller meant is the one with more wrong than what is missing.
    first = min(errors, key=lambda error: error["type"] in ("missing", "extra_forbidden"))
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"


def _say_token(app: FastAPI) -> None:
    """Have the OpenAPI document say that a token is needed; the guard is what asks for it."""
    build = app.openapi

    def with_token() -> dict[str, Any]:
        document = build()
        document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        document["paths"]["/healthz"]["get"]["security"] = []
        return document

    app.openapi = with_token  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
