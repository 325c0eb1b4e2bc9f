"""The routes that orchestrators of k6 agents call: `/api/v1/*`. Errors are HTTP 200 with `"status": "Error"` and a text.

A GET with a body works, and a body may come without a Content-Type: callers do both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError

from testwarden.api import orchestrator_schema as schema
from testwarden.api.door import Door
from testwarden.api.scripts import Fetcher, Shelf, data_wanted, script_wanted
from testwarden.api.starts import file_of, options_of, with_port, with_title
from testwarden.api.utilisation import Meter
from testwarden.api.views import metrics_view, part_of_log
from testwarden.api.work import Pool
from testwarden.clients.http_session import one_line
from testwarden.clients.k6_arguments import problem_of
from testwarden.errors import TestwardenError
from testwarden.model import Outcome, TestType, Verdict
from testwarden.running.own_runs import OwnRun, OwnTest

NO_SUCH_TASK = "there is no such task"
ENDED = "the process is defunct"
"""What such agents say of a process that has ended; callers look for it."""
DEFAULT_LEN = 4000

A = TypeVar("A", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)


class OrderError(TestwardenError):
    """The order cannot be carried out."""


@dataclass(frozen=True)
class Order:
    """What a caller asked for, beside what an own run knows."""

    asked: schema.Start
    params: tuple[str, ...]
    """With the port filled in."""
    port: int
    """Lent for what k6 itself shows to Prometheus, until the run has ended."""


class Orchestrator:
    """Carries the routes out. Called from many threads at once; nothing here waits for a run."""

    def __init__(self, door: Door, fetcher: Fetcher, shelf: Shelf, meter: Meter) -> None:
        self._door = door
        self._fetcher = fetcher
        self._shelf = shelf
        self._meter = meter
        self._lock = threading.Lock()
        self._orders: dict[int, Order] = {}
        self._lent: dict[int, int] = {}

    def start(self, asked: schema.Start) -> schema.Started:
        """Fetch the files and start k6. Raise a TestwardenError that says why it does not start."""
        if not asked.scriptURL:
            raise OrderError("scriptURL is missing")
        wanted = [script_wanted("scriptURL", asked.scriptURL)]
        if asked.ammoURL:
            wanted.append(data_wanted("ammoURL", asked.ammoURL))
        script, *data = self._fetcher.fetch(wanted)
        self._give_ports_back()
        order = self._order(asked)
        try:
            run = self._door.start_own(_test(order, with_title(script, asked.scenarioTitle or ""), *data))
        except BaseException:
            self._door.give_port_back(order.port)
            raise
        if isinstance(run, Verdict):
            self._door.give_port_back(order.port)
            raise OrderError(f"refused: {run.reason}")
        with self._lock:
            self._orders[run.number] = order
            self._lent[run.number] = order.port
        return schema.Started(pid=run.number, task=self._task(run))

    def stop(self, asked: schema.Pid) -> schema.Stopped:
        """Ask a run to end: TERM, then KILL."""
        run = self._run(asked.pid)
        if run.ended is not None or not self._door.cancel(run.ref):
            raise OrderError(f"{ENDED}: {_how_it_ended(run)}")
        return schema.Stopped(pid=run.number)

    def all_tasks(self, _: schema.Nothing) -> schema.Tasks:
        """Return the k6 runs that have not ended."""
        runs = (run for run in self._door.own_runs() if run.test.type is TestType.K6 and run.ended is None)
        return schema.Tasks(tasks={str(run.number): self._task(run) for run in runs})

    def task(self, asked: schema.Pid) -> schema.Tasks:
        """Return one run, also when it has ended."""
        run = self._run(asked.pid)
        return schema.Tasks(tasks={str(run.number): self._task(run)})

    def status(self, asked: schema.Pid) -> schema.Status:
        """Return a run and what it measures. One that has ended is an Error, as callers expect, with its last numbers."""
        run = self._run(asked.pid)
        metrics = schema.Metrics(**metrics_view(self._door.numbers(run.number)))
        answer = schema.Status(task=self._task(run), metrics=metrics)
        if run.ended is not None:
            answer.status, answer.error = "Error", f"{ENDED}: {_how_it_ended(run)}"
        return answer

    def log(self, pid: str, name: str, length: str, head: str) -> str:
        """Return a part of a run's log. The name is looked up among the runs; no path is ever made from it."""
        number = _number("len", length, DEFAULT_LEN)
        if number < 0:
            raise OrderError("len: allowed is a whole number, 0 or more")
        first = head.lower() in ("1", "t", "true")
        if pid and _number("pid", pid, 0):
            return part_of_log(self._run(_number("pid", pid, 0)).log, number, head=first)
        if not name:
            raise OrderError("pid or name is needed")
        run = next((run for run in self._door.own_runs() if log_name(run) == name), None)
        if run is None:
            raise OrderError("there is no log of that name")
        return part_of_log(run.log, number, head=first)

    def save(self, script: bytes) -> schema.Saved:
        """Keep a script."""
        return schema.Saved(pathScript=str(self._shelf.save(script)))

    def utilisation(self, _: schema.Nothing) -> schema.Utilised:
        """Return how busy this machine is."""
        self._give_ports_back()
        used = schema.Utilisation(
            cpuUsed=self._meter.cpu(), memUsed=self._meter.memory(), portsUsed=self._door.ports_used()
        )
        return schema.Utilised(agentUtilization=used)

    def _order(self, asked: schema.Start) -> Order:
        port = self._door.take_port()
        return Order(asked, with_port(asked.params or (), port), port)

    def _give_ports_back(self) -> None:
        """Give back what belongs to runs that have ended, and forget the orders of runs that the agent forgot."""
        with self._lock:
            known = {number: self._door.own_run(number) for number in self._orders}
            for number, run in known.items():
                if (run is None or run.ended is not None) and number in self._lent:
                    self._door.give_port_back(self._lent.pop(number))
                if run is None:
                    del self._orders[number]

    def _run(self, number: int) -> OwnRun:
        run = self._door.own_run(number)
        if run is None or run.test.type is not TestType.K6:
            raise OrderError(NO_SUCH_TASK)
        return run

    def _task(self, run: OwnRun) -> schema.Task:
        with self._lock:
            order = self._orders.get(run.number)
        asked = order.asked if order else schema.Start(scenarioTitle=run.test.title)
        return schema.Task(
            pid=run.number,
            scenarioTitle=asked.scenarioTitle or "",
            scriptTitle=asked.scriptTitle or "",
            scriptURL=asked.scriptURL or "",
            ammoURL=asked.ammoURL or "",
            scriptFileName=run.test.k6.script.path if run.test.k6 else "",
            logFileName=log_name(run),
            k6ApiPort="" if run.port is None else str(run.port),
            portPrometheus=str(order.port) if order else "",
            params=list(order.params) if order else [],
            startTime=run.started.isoformat(),
        )


def log_name(run: OwnRun) -> str:
    """Return the name under which a run's log can be asked for."""
    return f"{run.ref}.log"


def _test(order: Order, script: bytes, data: bytes | None = None) -> OwnTest:
    script_file, entry = file_of("script.js", script)
    data_file, entries = None, [entry]
    if data is not None:
        data_file, data_entry = file_of("ammo", data)
        entries.append(data_entry)
    title = one_line(" / ".join(part for part in (order.asked.scenarioTitle, order.asked.scriptTitle) if part))
    options = options_of(script_file, data_file, order.params)
    problem = problem_of(options)
    if problem:
        raise OrderError(f"params: {problem}")
    return OwnTest(TestType.K6, title, k6=options, files=tuple(entries))


def _how_it_ended(run: OwnRun) -> str:
    if run.outcome is None:
        return "it has ended"
    return "it has ended, ok" if run.outcome is Outcome.OK else f"{run.outcome.value}: {run.reason}"


def _number(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if len(text) > 18 or not text.removeprefix("-").isdecimal():
        raise OrderError(f"{name}: allowed is a whole number")
    return int(text)


def routes(orchestrator: Orchestrator, pool: Pool, starts: Pool) -> APIRouter:
    """Return the routes, given threads for calls, and for starts, which wait for servers of scripts."""
    router = APIRouter(prefix="/api/v1", tags=["orchestrators"])

    def add(path: str, methods: tuple[str, ...], call: Callable[[Any], B], takes: type[A], gives: type[B]) -> None:
        async def answer(request: Request) -> Response:
            of = starts if takes is schema.Start else pool
            return await _answer(of, call, takes, gives, await request.body())

        for method in methods:
            router.add_api_route(path, answer, methods=[method], **schema.described(path, method, takes, gives))

    both = ("GET", "POST")
    add("/start", ("POST",), orchestrator.start, schema.Start, schema.Started)
    add("/stop", ("POST",), orchestrator.stop, schema.Pid, schema.Stopped)
    add("/getAllTasks", both, orchestrator.all_tasks, schema.Nothing, schema.Tasks)
    add("/getTask", both, orchestrator.task, schema.Pid, schema.Tasks)
    add("/getStatus", both, orchestrator.status, schema.Pid, schema.Status)
    add("/agent/metrics", ("GET",), orchestrator.utilisation, schema.Nothing, schema.Utilised)

    async def save(request: Request) -> Response:
        return await _attempt(pool, partial(orchestrator.save, await request.body()), schema.Saved)

    async def log(request: Request) -> Response:
        asked = [request.query_params.get(name, "") for name in ("pid", "name", "len", "head")]
        try:
            return PlainTextResponse(await pool.run(partial(orchestrator.log, *asked)))
        except TestwardenError as problem:
            return JSONResponse(schema.Failed(error=str(problem)).model_dump())

    router.add_api_route("/saveScript", save, methods=["POST"], **schema.described_save())
    router.add_api_route("/getTaskLogs", log, methods=["GET"], **schema.described_log())
    return router


async def _answer(pool: Pool, call: Callable[[A], B], takes: type[A], gives: type[B], body: bytes) -> Response:
    try:
        asked = takes.model_validate_json(body or b"{}")
    except ValidationError as problem:
        return _error(gives, _sentence(problem))
    return await _attempt(pool, partial(call, asked), gives)


async def _attempt(pool: Pool, call: Callable[[], B], gives: type[B]) -> Response:
    try:
        return _json(await pool.run(call))
    except TestwardenError as problem:
        return _error(gives, str(problem))


def _error(gives: type[BaseModel], sentence: str) -> Response:
    return _json(gives(status="Error", error=sentence))


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _sentence(problem: ValidationError) -> str:
    first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
