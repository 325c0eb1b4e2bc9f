"""Our own routes: `/v1/*`, `/healthz` and `/readyz`. Errors are `{"error": "one sentence"}` with the fitting status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from testwarden.api import own_schema as schema
from testwarden.api.door import Door
from testwarden.api.log_stream import LogStreams
from testwarden.api.scripts import Fetcher, ScriptError, Shelf, data_wanted, script_wanted
from testwarden.api.starts import file_of
from testwarden.api.views import MOST_LOG, part_of_log, run_view
from testwarden.api.work import Pool
from testwarden.clients.http_session import one_line
from testwarden.clients.k6_arguments import problem_of
from testwarden.model import Decision, FileSize, K6Options, TestType, Verdict
from testwarden.running.own_runs import OwnRun, OwnTest

Number = Annotated[int, Path(ge=1, description="The run's number.")]
Ref = Annotated[str, Path(max_length=100, description="`001` … `999`, or `own-1` … for an own test.")]
Length = Annotated[int, Query(alias="len", ge=0, le=MOST_LOG, description="How many characters.")]
Head = Annotated[bool, Query(description="The first characters instead of the last ones.")]
After = Annotated[int, Query(ge=0, description="Number of the last line that the caller has.")]
LastEvent = Annotated[str | None, Header(alias="Last-Event-ID", description="The same, as browsers say it.")]

_OVERALL: dict[int | str, dict[str, Any]] = {
    400: {"model": schema.Problem, "description": "The request cannot be read."},
    401: {"model": schema.Problem, "description": "The token is missing or wrong."},
    403: {"model": schema.Problem, "description": "A web page of another origin asked."},
    408: {"model": schema.Problem, "description": "The body did not come in time."},
    413: {"model": schema.Problem, "description": "The body is too long."},
    415: {"model": schema.Problem, "description": "The body is of a kind that a web form can send."},
    421: {"model": schema.Problem, "description": "The Host header names somebody else."},
    422: {"model": schema.Problem, "description": "The request is not understood."},
    503: {"model": schema.Problem, "description": "The agent cannot say it at this moment."},
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": schema.Problem, "description": "There is no such thing."}}
_REFUSED: dict[int | str, dict[str, Any]] = {409: {"model": schema.Refused, "description": "The gate refused it."}}


class OwnRoutes:
    """Carries the routes out that need more than a line."""

    def __init__(self, door: Door, fetcher: Fetcher, shelf: Shelf) -> None:
        self._door = door
        self._fetcher = fetcher
        self._shelf = shelf

    def start_task(self, ref: str) -> Verdict:
        """Start a task of the control file. Raise HTTPException 404 if there is none of that name."""
        if not any(task["ref"] == ref for task in self._door.tasks()):
            raise HTTPException(404, f"there is no task {ref}")
        return self._door.start_task(ref)

    def cancel(self, ref: str) -> None:
        """Stop what runs under that name. Raise HTTPException 404 if nothing does."""
        if not self._door.cancel(ref):
            raise HTTPException(404, f"nothing runs that is called {ref}")

    def run(self, number: int) -> OwnRun:
        """Return an own test. Raise HTTPException 404 if there is none of that number."""
        run = self._door.own_run(number)
        if run is None:
            raise HTTPException(404, f"there is no run {number}")
        return run

    def start(self, asked: schema.AnyAsked) -> OwnRun | Verdict:
        """Start an own test; a script that cannot be had, or options that mean nothing, are a refusal, too."""
        if isinstance(asked, schema.FileAsked):
            size = FileSize.parse(asked.filesize)
            return self._door.start_own(OwnTest(asked.type, one_line(asked.title), size, asked.timeout))
        try:
            script, *data = self._files(asked.k6)
        except ScriptError as problem:
            return Verdict(Decision.REFUSED, str(problem))
        test = _k6_test(asked, script, data)
        strange = "" if test.k6 is None else problem_of(test.k6)
        return Verdict(Decision.REFUSED, strange) if strange else self._door.start_own(test)

    def _files(self, asked: schema.K6Load) -> list[bytes]:
        """Return the script, and the data if there is some."""
        data = [] if asked.data_url is None else [data_wanted("data_url", asked.data_url)]
        match asked.script:
            case schema.ScriptText(text=text):
                return [text.encode(), *self._fetcher.fetch(data)]
            case schema.ScriptSaved(saved=name):
                return [self._shelf.read(name), *self._fetcher.fetch(data)]
            case schema.ScriptUrl(url=url):
                return self._fetcher.fetch([script_wanted("script.url", url), *data])


def _k6_test(asked: schema.K6Asked, script: bytes, data: Sequence[bytes]) -> OwnTest:
    load = asked.k6
    script_file, entry = file_of("script.js", script)
    named = [file_of("data", content) for content in data]
    options = K6Options(
        script=script_file,
        data=named[0][0] if named else None,
        vus=load.vus,
        duration=load.duration,
        iterations=load.iterations,
        rate=load.rate,
        targets=None if load.targets is None else tuple(target.lower() for target in load.targets),
        env=tuple(load.env.items()),
        params=tuple(load.params),
    )
    files = (entry, *(one for _, one in named))
    return OwnTest(TestType.K6, one_line(asked.title), timeout=asked.timeout, k6=options, files=files)


def _fetches(asked: schema.AnyAsked) -> bool:
    """Return whether a start waits for somebody else's server."""
    if isinstance(asked, schema.FileAsked):
        return False
    return isinstance(asked.k6.script, schema.ScriptUrl) or asked.k6.data_url is not None


def routes(door: Door, own: OwnRoutes, pool: Pool, starts: Pool, streams: LogStreams) -> APIRouter:
    """Return the routes, given threads for calls, and for starts that wait for servers of scripts."""
    router = APIRouter(responses=_OVERALL)
    _add_reading(router, door)
    _add_tasks(router, door, own)
    _add_runs(router, door, own, pool, starts)
    _add_log(router, streams)
    _add_health(router, door)
    return router


def _add_reading(router: APIRouter, door: Door) -> None:
    @router.get("/v1/status", tags=["agent"], summary="What `testwarden status --json` shows.")
    def status() -> dict[str, Any]:
        return dict(door.snapshot())

    @router.get("/v1/budget", tags=["agent"], summary="What is used of each budget.")
    def budget() -> dict[str, Any]:
        return _part(door.snapshot(), "budgets")

    @router.get("/v1/limits", tags=["agent"], summary="Every limit in force.")
    def limits() -> dict[str, Any]:
        return dict(door.limits())

    @router.get("/v1/kill-switch", tags=["agent"], summary="The kill switch, and why it is as it is.")
    def kill_switch() -> dict[str, Any]:
        return _part(door.snapshot(), "kill_switch")

    @router.get("/v1/samples", tags=["agent"], summary="How the last attempts ended.")
    def samples() -> schema.Samples:
        return schema.Samples(samples=list(door.snapshot().get("recent", ())))

    @router.post("/v1/pause", tags=["agent"], summary="Start nothing new; what runs goes on.")
    def pause() -> schema.Paused:
        door.pause(True)
        return schema.Paused(paused=True)

    @router.post("/v1/resume", tags=["agent"], summary="End a pause.")
    def resume() -> schema.Paused:
        door.pause(False)
        return schema.Paused(paused=False)


def _add_tasks(router: APIRouter, door: Door, own: OwnRoutes) -> None:
    @router.get("/v1/tasks", tags=["tasks"], summary="The tasks of the control file, with their verdicts.")
    def tasks() -> schema.Tasks:
        return schema.Tasks(tasks=[dict(task) for task in door.tasks()])

    @router.post(
        "/v1/tasks/{ref}/start",
        tags=["tasks"],
        summary="Run a task now; every attempt still passes the gate.",
        response_model=schema.Decided,
        responses=_MISSING | _REFUSED,
    )
    def start(ref: Ref) -> Any:
        verdict = own.start_task(ref)
        return _refused(verdict) if verdict.refused else _decided(verdict)

    @router.post("/v1/tasks/{ref}/cancel", tags=["tasks"], summary="Stop a task or an own test.", responses=_MISSING)
    def cancel(ref: Ref) -> schema.Cancelled:
        own.cancel(ref)
        return schema.Cancelled()


def _add_runs(router: APIRouter, door: Door, own: OwnRoutes, pool: Pool, starts: Pool) -> None:
    @router.get("/v1/runs", tags=["runs"], summary="Own tests since the agent was started, oldest first.")
    def runs() -> schema.Runs:
        return schema.Runs(runs=[schema.Run(**run_view(run)) for run in door.own_runs()])

    @router.post(
        "/v1/runs",
        tags=["runs"],
        summary="Start an own test of any type.",
        status_code=201,
        response_model=schema.Run,
        responses=_REFUSED,
    )
    async def start(asked: schema.AnyAsked) -> Any:
        run = await (starts if _fetches(asked) else pool).run(partial(own.start, asked))
        return _refused(run) if isinstance(run, Verdict) else run_view(run)

    @router.get("/v1/runs/{number}", tags=["runs"], summary="One own test.", responses=_MISSING)
    def one(number: Number) -> schema.Run:
        return schema.Run(**run_view(own.run(number)))

    @router.post("/v1/runs/{number}/cancel", tags=["runs"], summary="Stop an own test.", responses=_MISSING)
    def cancel(number: Number) -> schema.Cancelled:
        own.cancel(own.run(number).ref)
        return schema.Cancelled()

    @router.get(
        "/v1/runs/{number}/log",
        tags=["runs"],
        summary="What its client prints.",
        response_class=Response,
        responses=_MISSING | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def log(number: Number, length: Length = 65536, head: Head = False) -> PlainTextResponse:
        return PlainTextResponse(part_of_log(own.run(number).log, length, head=head))


def _add_log(router: APIRouter, streams: LogStreams) -> None:
    @router.get(
        "/v1/log",
        tags=["agent"],
        summary="The agent's log as server-sent events, from the oldest line that it still has.",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": schema.Event.model_json_schema()}}}},
    )
    async def log(after: After = 0, last: LastEvent = None) -> StreamingResponse:
        if not streams.free:
            raise HTTPException(503, "too many callers follow the log already")
        begin = int(last) if last is not None and last.isascii() and last.isdecimal() and len(last) < 16 else after
        return StreamingResponse(streams.events(begin), media_type="text/event-stream")


def _add_health(router: APIRouter, door: Door) -> None:
    @router.get("/healthz", tags=["health"], summary="Whether the process answers; needs no token.")
    async def healthz() -> schema.Healthy:
        return schema.Healthy()

    @router.get(
        "/readyz",
        tags=["health"],
        summary="Whether a test could start now.",
        response_model=schema.Ready,
        responses={503: {"model": schema.Ready, "description": "Nothing can start: the reason says why."}},
    )
    def readyz() -> Any:
        reason = door.why_nothing_starts()
        answer = schema.Ready(ready=not reason, reason=reason)
        return JSONResponse(answer.model_dump(), status_code=503) if reason else answer


def _part(snapshot: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(snapshot[name])


def _decided(verdict: Verdict) -> schema.Decided:
    return schema.Decided(decision=verdict.decision.value, reason=verdict.reason)


def _refused(verdict: Verdict) -> JSONResponse:
    body = schema.Refused(error=verdict.reason, decision=verdict.decision.value, reason=verdict.reason)
    return JSONResponse(body.model_dump(), status_code=409)
