"""What the routes for orchestrators take and give, and how OpenAPI describes it. The names of the fields are theirs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Nothing(BaseModel):
    """Whatever comes is ignored."""


class Pid(BaseModel):
    """Which run."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pid": 1}]})

    pid: int = Field(ge=0, le=2**63 - 1, description="The number that `start` gave.")


class Start(BaseModel):
    """Which script to run, and how. A field may be null or missing where its default will do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scenarioTitle": "checkout",
                    "scriptTitle": "buy one thing",
                    "scriptURL": "http://127.0.0.1:9/script.js",
                    "ammoURL": "http://127.0.0.1:9/users.json",
                    "params": ["-e", "RPS=2", "-e", "DURATION=20m"],
                }
            ]
        }
    )

    scenarioTitle: str | None = Field(  # noqa: N815 - the orchestrators' name, as all that follow
        None, max_length=500, description="Takes the place of `alilo_load` in the script's options."
    )
    scriptTitle: str | None = Field(None, max_length=500, description="For a person.")  # noqa: N815
    scriptURL: str | None = Field(  # noqa: N815
        None, max_length=8000, description="Where the script is fetched from: http(s), at most 1 MiB, 10 s in all."
    )
    ammoURL: str | None = Field(  # noqa: N815
        None, max_length=8000, description="Test data, at most 32 MiB; the script finds its path in AMMO_URL."
    )
    params: list[str] | None = Field(
        None, max_length=1000, description="Arguments of `k6 run`. `prometheus=port=` gets a free port appended."
    )


class Task(BaseModel):
    """One run."""

    pid: int = Field(description="A number of this agent's, not the operating system's.")
    scenarioTitle: str  # noqa: N815
    scriptTitle: str  # noqa: N815
    scriptURL: str  # noqa: N815
    ammoURL: str  # noqa: N815
    scriptFileName: str  # noqa: N815
    logFileName: str = Field(description="For `getTaskLogs?name=`.")  # noqa: N815
    k6ApiPort: str = Field(description="Loopback port of k6's own REST API.")  # noqa: N815
    portPrometheus: str = Field(description="Port kept for an exporter of k6's.")  # noqa: N815
    params: list[str]
    startTime: str = Field(description="RFC 3339.")  # noqa: N815


class Answer(BaseModel):
    """What every answer begins with."""

    status: str = Field("Success", description="`Success` or `Error`.")
    error: str = Field("", description="Why, where the status is `Error`.")


class Failed(Answer):
    """An answer that is nothing else."""

    status: str = "Error"


class Started(Answer):
    """Answer to `start`."""

    pid: int = 0
    task: Task | None = None


class Stopped(Answer):
    """Answer to `stop`."""

    pid: int = 0


class Tasks(Answer):
    """Runs by their number."""

    tasks: dict[str, Task] = Field(default_factory=dict)


class Metrics(BaseModel):
    """What k6 measured so far. Durations are milliseconds; `0` stands for what is not known."""

    rps: str = "0"
    rt90p: str = "0"
    rt95p: str = "0"
    rt99p: str = "0"
    rtMax: str = "0"  # noqa: N815
    failed: str = Field("0", description="Requests that failed.")
    vus: str = "0"
    sent: str = Field("0", description="Bytes.")
    received: str = Field("0", description="Bytes.")


class Status(Answer):
    """A run and its numbers."""

    task: Task | None = None
    metrics: Metrics = Field(default_factory=Metrics)


class Saved(Answer):
    """Answer to `saveScript`."""

    pathScript: str = ""  # noqa: N815


class Utilisation(BaseModel):
    """How busy the machine is, in percent."""

    cpuUsed: int = 0  # noqa: N815
    memUsed: int = 0  # noqa: N815
    portsUsed: int = 0  # noqa: N815


class Utilised(Answer):
    """Answer to `agent/metrics`."""

    agentUtilization: Utilisation = Field(default_factory=Utilisation)  # noqa: N815


_SAID = {
    "/start": "Start k6 with a script that is fetched. It answers as soon as the run is accepted.",
    "/stop": "Stop a run: TERM, then KILL. It answers at once; the run ends soon after.",
    "/getAllTasks": "The runs that have not ended.",
    "/getTask": "One run, by its number.",
    "/getStatus": "One run and what k6 measures. A run that has ended is an Error, with its last numbers.",
    "/agent/metrics": "How busy this machine is.",
}


def described(path: str, method: str, takes: type[BaseModel], gives: type[BaseModel]) -> dict[str, Any]:
    """Return what OpenAPI says of a route: the body is read by hand, because a GET may have one."""
    extra: dict[str, Any] = {}
    if takes is not Nothing:
        body = {"schema": takes.model_json_schema(ref_template="#/components/schemas/{model}")}
        extra = {"openapi_extra": {"requestBody": {"required": True, "content": {"application/json": body}}}}
    return {
        "operation_id": f"{path.strip('/').replace('/', '_')}_{method.lower()}",
        "summary": _SAID[path],
        "response_model": gives,
        **extra,
    }


def described_save() -> dict[str, Any]:
    """Return what OpenAPI says of `saveScript`."""
    body = {"text/javascript": {"schema": {"type": "string"}, "example": "export default function () {}"}}
    return {
        "summary": "Keep a script on the agent.",
        "response_model": Saved,
        "openapi_extra": {"requestBody": {"required": True, "content": body}},
    }


def described_log() -> dict[str, Any]:
    """Return what OpenAPI says of `getTaskLogs`: its parameters are read by hand, because errors are HTTP 200."""
    said = {
        "pid": ("integer", "Number of the run."),
        "name": ("string", "Instead of the number: the `logFileName` of a task."),
        "len": ("integer", "How many characters; 4000 unless said."),
        "head": ("boolean", "The first ones instead of the last ones."),
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": {"type": kind}, "description": text}
        for name, (kind, text) in said.items()
    ]
    text = {"text/plain": {"schema": {"type": "string"}}, "application/json": {"schema": Failed.model_json_schema()}}
    return {
        "summary": "What k6 prints.",
        "responses": {200: {"description": "A part of the log, or why there is none.", "content": text}},
        "response_model": None,
        "openapi_extra": {"parameters": parameters},
    }
