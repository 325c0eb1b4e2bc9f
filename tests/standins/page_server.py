"""A stand-in for the agent behind the status page: the page's files, and the /v1 routes with data that a test scripts.

    with page_server() as agent:
        agent.say("01-03-2026 12:23:00 - INFO - hello")   # a log line
        agent.change(paused=True)                         # members of the status
        agent.run("003")                                  # a task that runs, since now
        agent.orders                                      # what the page has asked for: `POST /v1/pause` …
        agent.go_away(); agent.come_back()                # on the same port

As a process, to look at the page: `python tests/standins/page_server.py`; it prints its URL and serves until it is ended.
Its clock starts at 12:23:10 UTC of a day in the past, so that whoever shows another clock than the agent's is found out.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "src" / "testwarden" / "api" / "page"
FIRST = datetime(2026, 3, 1, 12, 23, 10, tzinfo=timezone.utc)
GB = 10**9
CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

Json = dict[str, Any]


def text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


class StandInAgent:
    """What the page can see of an agent. Every method may be called while it serves."""

    def __init__(self, token: str, first: datetime) -> None:
        self.token = token
        self.url = ""
        self.orders: list[str] = []
        self.streams: list[str] = []
        """What each opening of the log stream said in Last-Event-ID."""
        self.looks: list[str] = []
        """From which page (Referer) the status was asked for."""
        self._first = first
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._era = 0
        """Grows when the agent goes away: open streams end with their era."""
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.tasks = [
            self._task("001", 5, "download", "tiny", "Fetch a tiny file once in a while", workers=5, repeat=True),
            self._task("002", 20, "quote", "small", "What would an upload cost?"),
            self._task("003", 31, "download", "medium", "The size of a photo", workers=10, clamp="workers 5000→10"),
            self._task("004", 45, "upload", "tiny", "Needs funds", refuse="no wallet key is set"),
        ]
        self._status: Json = {
            "version": "0.3.0",
            "started": text(first - timedelta(hours=5)),
            "agent": "volunteer-7",
            "source": "GitHub example/testwarden, branch main",
            "client": "ant-2",
            "commit": "4f1c9a7be2d04c55a8b7d9c1c6f2b3e4a5d60718",
            "stopping": "",
            "cycle_seconds": 3600,
            "phase": "window",
            "paused": False,
            "kill_switch": {"state": "clear", "reason": "the kill switch is clear"},
            "clock_skew": 0.31,
            "budgets": {
                "attempts": {
                    "download": {"used": 121, "limit": 360},
                    "quote": {"used": 199, "limit": 240},
                    "upload": {"used": 0, "limit": 120},
                    "k6": {"used": 12, "limit": 12},
                },
                "bytes": {"used": 12_345_678_901, "limit": 200 * GB},
                "spent": {"used": "0.25", "limit": "2"},
            },
            "running": [],
            "recent": [self._sample(90, "002", "ok"), self._sample(30, "001", "network_error", "connection refused")],
            "next": [
                {"name": "task 003", "at": text(first.replace(minute=31, second=12))},
                {"name": "cool-down", "at": text(first.replace(minute=55, second=0))},
                {"name": "fetch", "at": text(first.replace(hour=first.hour + 1, minute=1, second=12))},
            ],
        }

    def _task(
        self,
        ref: str,
        minute: int,
        kind: str,
        filesize: str,
        description: str,
        *,
        workers: int = 1,
        repeat: bool = False,
        clamp: str = "",
        refuse: str = "",
    ) -> Json:
        due = self._first.replace(minute=minute, second=12)
        return {
            "ref": ref,
            "description": description,
            "minute": minute,
            "type": kind,
            "filesize": filesize,
            "workers": workers,
            "repeat": repeat,
            "offset": 0,
            "timeout": 30,
            "decision": "refused" if refuse else "clamped" if clamp else "allowed",
            "reason": refuse or clamp or "inside the limits",
            "starts": text(due) if due > self._first and not refuse else None,
            "running": False,
        }

    def _sample(self, ago: int, ref: str, outcome: str, reason: str = "") -> Json:
        return {
            "ended": text(self._first - timedelta(seconds=ago)),
            "task": ref,
            "worker": 1,
            "type": "download",
            "filesize": "tiny",
            "outcome": outcome,
            "exec_time": 1.234,
            "bytes": 131072,
            "reason": reason,
        }

    # what a test does

    def now(self) -> datetime:
        return self._first + timedelta(seconds=time.monotonic() - self._began)

    def change(self, **members: Any) -> None:
        """Set members of the status."""
        with self._changed:
            self._status.update(members)

    def run(self, ref: str, kind: str = "download", seconds: int = 0) -> None:
        """Let a task run, since so many seconds."""
        entry = {"task": ref, "type": kind, "filesize": "tiny", "workers": 2}
        with self._changed:
            self._status["running"].append({**entry, "since": text(self.now() - timedelta(seconds=seconds))})

    def ended(self, ref: str) -> bool:
        """Let it end; return whether it ran."""
        with self._changed:
            before = self._status["running"]
            self._status["running"] = [run for run in before if run["task"] != ref]
            return len(before) > len(self._status["running"])

    def say(self, *lines: str) -> None:
        with self._changed:
            self._lines += lines
            self._changed.notify_all()

    def restart(self, *lines: str) -> None:
        """Be a new agent: another start, another log."""
        self.go_away()
        with self._changed:
            self._lines = list(lines)
            self._status["started"] = text(self.now())
        self.come_back()

    def come_back(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_port
        self.url = f"http://127.0.0.1:{self._port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def go_away(self) -> None:
        """Refuse connections and end those that there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._changed:
            self._era += 1
            self._changed.notify_all()

    # what the routes answer

    def status(self) -> Json:
        with self._changed:
            return {**self._status, "updated": text(self.now())}

    def start(self, ref: str) -> tuple[int, Json]:
        task = next((task for task in self.tasks if task["ref"] == ref), None)
        if task is None:
            return 404, {"error": f"the control file has no task {ref}"}
        if self.status()["paused"]:
            return 409, {"decision": "refused", "reason": "paused by the operator"}
        self.run(ref)
        return 200, {"decision": "allowed", "reason": "2 workers started"}

    def wait_lines(self, after: int, era: int) -> list[str] | None:
        """Return the lines behind a number as soon as there are any; None when the agent went away."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._lines) > after or self._era != era)
            return None if self._era != era else self._lines[after:]

    @property
    def era(self) -> int:
        with self._changed:
            return self._era


def _handler(agent: StandInAgent) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/" or path.startswith("/page/"):
                self._file(path.removeprefix("/page/") if path != "/" else "index.html")
            elif not self._may():
                self._json(401, {"error": "a token is needed"})
            elif self.path == "/v1/log":
                self._stream()
            else:
                answers = {"/v1/status": agent.status, "/v1/tasks": lambda: {"tasks": agent.tasks}}
                known = self.path in answers
                if self.path == "/v1/status":
                    agent.looks.append(self.headers.get("Referer", ""))
                self._json(200, answers[self.path]()) if known else self._json(404, {"error": "no such route"})

        def do_POST(self) -> None:
            if not self._may():
                return self._json(401, {"error": "a token is needed"})
            agent.orders.append(f"POST {self.path}")
            found = re.fullmatch(r"/v1/(?:tasks/([^/]+)/)?(\w+)", self.path)
            ref, verb = found.groups() if found else (None, "")
            if verb in ("pause", "resume"):
                agent.change(paused=verb == "pause")
                return self._json(200, {"paused": verb == "pause"})
            if verb == "start":
                return self._json(*agent.start(str(ref)))
            gone = agent.ended(str(ref))
            return self._json(200, {"cancelled": True}) if gone else self._json(404, {"error": f"{ref} does not run"})

        def _may(self) -> bool:
            return not agent.token or self.headers.get("Authorization") == f"Bearer {agent.token}"

        def _file(self, name: str) -> None:
            path = PAGE / name
            if path.parent != PAGE or not path.is_file():
                return self._json(404, {"error": "no such file"})
            return self._body(200, KINDS[path.suffix], path.read_bytes())

        def _json(self, code: int, value: Json) -> None:
            self._body(code, "application/json", json.dumps(value).encode())

        def _body(self, code: int, kind: str, body: bytes) -> None:
            self._head(code, kind, {"Content-Length": str(len(body))})
            self.wfile.write(body)

        def _head(self, code: int, kind: str, further: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {
                "Content-Type": kind,
                "Content-Security-Policy": CSP,
                **further,
            }.items():
                self.send_header(name, value)
            self.end_headers()

        def _stream(self) -> None:
            era, said = agent.era, self.headers.get("Last-Event-ID", "")
            agent.streams.append(said)
            self._head(200, "text/event-stream", {})
            after = int(said or 0)
            try:
                while (lines := agent.wait_lines(after, era)) is not None:
                    for line in lines:
                        after += 1
                        self.wfile.write(f"id: {after}\ndata: {line}\n\n".encode())
            except OSError:
                pass  # the browser closed the stream
            self.close_connection = True

    return Handler


@contextmanager
def page_server(token: str = "", first: datetime = FIRST) -> Iterator[StandInAgent]:
    """Serve on a free loopback port; the token that is asked for (none: no question), and its clock's first instant."""
    agent = StandInAgent(token, first)
    agent.come_back()
    try:
        yield agent
    finally:
        agent.go_away()


def _main() -> None:
    with page_server(token=sys.argv[1] if len(sys.argv) > 1 else "") as agent:
        agent.run("001", seconds=75)
        agent.say("01-03-2026 12:22:01 - INFO - task 001: 5 workers started")
        sys.stdout.write(agent.url + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    _main()
