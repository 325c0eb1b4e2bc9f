"""What our own routes take and give; OpenAPI describes them from this."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from testwarden.api.guard import MOST_SCRIPT
from testwarden.api.scripts import SAVED_NAME
from testwarden.model import TestType
from testwarden.safety.limits import DAY

_RUN: dict[str, JsonValue] = {
    "number": 1,
    "ref": "own-1",
    "type": "k6",
    "title": "checkout",
    "filesize": None,
    "started": "2026-11-20T12:10:00+00:00",
    "running": True,
    "ended": None,
    "outcome": None,
    "reason": "",
    "port": 6600,
    "figures": {},
}
Text = Annotated[str, Field(max_length=200)]
Variable = Annotated[str, Field(max_length=32000)]


class Asked(BaseModel):
    """Nothing that is not understood is taken."""

    model_config = ConfigDict(extra="forbid")


class ScriptText(Asked):
    """The script itself."""

    text: str = Field(min_length=1, max_length=MOST_SCRIPT)


class ScriptUrl(Asked):
    """Where the script is fetched from: http(s), at most 1 MiB."""

    url: str = Field(min_length=1, max_length=8000)


class ScriptSaved(Asked):
    """A script that `saveScript` kept, by the name of its file."""

    saved: str = Field(pattern=SAVED_NAME)


class K6Load(Asked):
    """What a k6 test asks for."""

    script: ScriptText | ScriptUrl | ScriptSaved
    data_url: str | None = Field(
        None, min_length=1, max_length=8000, description="Test data, at most 32 MiB; its path is in AMMO_URL."
    )
    vus: int | None = Field(None, ge=1, le=100_000, description="Virtual users.")
    duration: float | None = Field(None, gt=0, le=DAY, description="Seconds.")
    iterations: int | None = Field(None, ge=1, le=2**31)
    rate: int | None = Field(None, ge=1, le=1_000_000, description="Requests a second.")
    targets: list[Text] | None = Field(
        None, max_length=100, description="Hosts that the script may reach, and no others; null: any."
    )
    env: dict[Text, Variable] = Field(default_factory=dict, max_length=500, description="Variables for the script.")
    params: list[Variable] = Field(default_factory=list, max_length=1000, description="Further arguments of `k6 run`.")


class RunAsked(Asked):
    """What every own test has."""

    title: Text = Field("", description="For a person.")
    timeout: int | None = Field(
        None,
        ge=1,
        le=DAY,
        description="Seconds that it may take; left out: 30, and for k6 as long as `limits.own.seconds` allows.",
    )


class K6Asked(RunAsked):
    """An own k6 test."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "k6", "timeout": 600, "k6": {"script": {"text": "export default function () {}"}, "vus": 2}}
            ]
        }
    )

    type: Literal[TestType.K6]
    k6: K6Load


class FileAsked(RunAsked):
    """An own test that moves a file, or measures the line."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "download", "filesize": "tiny"}]})

    type: Literal[TestType.DOWNLOAD, TestType.QUOTE, TestType.UPLOAD, TestType.IPERF]
    filesize: Literal["tiny", "small", "medium", "large", "huge", "giga", "tera", "chunka", "chunkb"] = "tiny"


AnyAsked = Annotated[K6Asked | FileAsked, Field(discriminator="type")]


class Run(BaseModel):
    """An own test."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    number: int
    ref: str
    type: str
    title: str
    filesize: str | None
    started: str
    running: bool
    ended: str | None
    outcome: str | None = Field(description="`ok` or a kind of error; null as long as it runs.")
    reason: str
    port: int | None = Field(description="Loopback port of k6's REST API.")
    figures: dict[str, Any] = Field(description="What this type of test measured.")


class Runs(BaseModel):
    """Own tests since the agent was started."""

    runs: list[Run]


class Tasks(BaseModel):
    """The tasks of the control file, each with its verdict."""

    tasks: list[dict[str, Any]]


class Decided(BaseModel):
    """A verdict."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"decision": "allowed", "reason": "within the limits"}]})

    decision: str
    reason: str


class Refused(Decided):
    """A verdict that refuses."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"error": "it is paused", "decision": "refused", "reason": "it is paused"}],
        }
    )

    error: str


class Cancelled(BaseModel):
    """It was asked to end: TERM, then KILL."""

    cancelled: bool = True


class Paused(BaseModel):
    """Whether anything new starts."""

    paused: bool


class Samples(BaseModel):
    """How the last attempts ended, oldest first."""

    samples: list[dict[str, Any]]


class Event(BaseModel):
    """A line of the agent's log, as a server-sent event."""

    id: str = Field(description="Number of the line, for `Last-Event-ID`.")
    data: str = Field(description="The line.")


class Ready(BaseModel):
    """Whether a test could start now."""

    ready: bool
    reason: str = ""


class Healthy(BaseModel):
    """The process answers."""

    ok: bool = True


class Problem(BaseModel):
    """Why there is no answer, in one sentence."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "there is no run 7"}]})

    error: str
