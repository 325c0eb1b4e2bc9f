"""A small server that speaks GitHub's JSON, for tests: one repository, its files, its issues, and any trouble wanted.

In a test:

    with github() as hub:
        commit = hub.set_files({"00-control.xml": b"<Schedule/>"})
        number = hub.open_issue("kill-switch: too much traffic", author="reporter")
        hub.trouble("500")            # see TROUBLES; None ends it; only="issues" limits it to such paths
        hub.requests                  # what was asked: method, path with query, status, headers

As a process, for the real agent (`repository = "example/testwarden"`, `api_url` = the line that it prints):

    python tests/standins/github_server.py --port 0 --directory test-files --token X

It prints its URL and serves until SIGTERM or SIGINT. `--token` is the only token it accepts (none given: any); without
one a request is answered, too, with an allowance of 60 instead of 5000 an hour. While it runs:

    GET  /_standin                        {"commit": …, "requests": [{"method", "path", "status", "headers"}, …]}
    POST /_standin  {"do": NAME, …}       calls a method of `Hub` with the other members as arguments → {"result": …}

NAME is one of DOORS: set_files (texts instead of bytes), load (re-reads the directory), open_issue, close_issue,
reopen_issue, retitle, relabel, touch, add_pull_request, trouble, rename, set_clock, set_allowance, forget_requests. For
example:

    curl -d '{"do": "open_issue", "title": "kill-switch please"}' URL/_standin

Like GitHub: ETags with 304 (free with a token, counted without), Link headers, x-ratelimit headers that count down, 403
when they reach 0, 401 for a wrong token, 301 for a repository that was renamed, raw and JSON media types of contents.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = "example/testwarden"
BRANCH = "main"
DIRECTORY = "test-files"
PATIENCE = 20.0
"""Seconds after which a trouble that takes for ever gives up."""

TROUBLES = (
    "500",
    "silence",
    "slow headers",
    "slow body",
    "rate limited",
    "secondary limit",
    "forbidden",
    "html",
    "html error",
    "not json",
    "object",
    "202",
    "redirect here",
    "redirect away",
    "redirect round",
    "gone",
    "huge",
    "half",
    "odd headers",
)
DOORS = (
    "set_files",
    "load",
    "open_issue",
    "close_issue",
    "reopen_issue",
    "retitle",
    "relabel",
    "touch",
    "add_pull_request",
    "trouble",
    "rename",
    "set_clock",
    "set_allowance",
    "forget_requests",
)

Json = dict[str, Any]


class Hub:
    """The state of the repository. Every method may be called while the server runs."""

    def __init__(self, repository: str = REPOSITORY, directory: str = DIRECTORY, token: str = "") -> None:
        self.lock = threading.RLock()
        self.url = ""
        self.repository = repository
        self.directory = directory
        self.folder: Path | None = None
        self.token = token
        self.commit = ""
        self.commits: dict[str, dict[str, bytes]] = {}
        self.issues: dict[int, Json] = {}
        self.renamed: list[str] = []
        self.requests: list[Json] = []
        self.connections = 0
        self.skew = 0.0
        self.limit: int | None = None
        self.remaining: dict[bool, int] = {True: 5000, False: 60}
        self.resets = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=1)
        self._kind: str | None = None
        self._only = ""
        self._clock = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
        self.over = threading.Event()
        self.set_files({})

    # files

    def set_files(self, files: dict[str, Any]) -> str:
        """Make a commit of these files (bytes or text) of the directory, by their paths below it; return its id."""
        contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
        with self.lock:
            digest = hashlib.sha1(f"{len(self.commits)}".encode(), usedforsecurity=False)
            for name in sorted(contents):
                digest.update(name.encode() + b"\0" + contents[name])
            self.commit = digest.hexdigest()
            self.commits[self.commit] = contents
            return self.commit

    def load(self, folder: str | None = None) -> str:
        """Make a commit of the files of a folder; without one, of the folder of the last time."""
        self.folder = Path(folder) if folder else self.folder
        assert self.folder is not None, "no folder yet"
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return self.set_files({path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files})

    # issues

    def open_issue(self, title: str, labels: list[str] | None = None, author: str = "reporter", body: str = "") -> int:
        """Open an issue; return its number."""
        with self.lock:
            number = len(self.issues) + 1
            moment = self._tick()
            self.issues[number] = {
                "id": 1000 + number,
                "number": number,
                "title": title,
                "state": "open",
                "labels": [_label(name) for name in labels or []],
                "user": {"login": author, "id": 7, "type": "User"},
                "body": body,
                "comments": 0,
                "created_at": moment,
                "updated_at": moment,
                "closed_at": None,
                "html_url": f"https://github.com/{self.repository}/issues/{number}",
                "url": f"{self.url}/repos/{self.repository}/issues/{number}",
            }
            return number

    def add_pull_request(self, title: str, labels: list[str] | None = None) -> int:
        """Open a pull request: GitHub lists it among the issues."""
        with self.lock:
            number = self.open_issue(title, labels)
            self.issues[number]["pull_request"] = {"url": f"{self.url}/repos/{self.repository}/pulls/{number}"}
            return number

    def close_issue(self, number: int) -> None:
        """Close an issue or pull request."""
        self._change(number, state="closed", closed_at=self._tick())

    def reopen_issue(self, number: int) -> None:
        """Open it again."""
        self._change(number, state="open", closed_at=None)

    def retitle(self, number: int, title: str) -> None:
        """Change the title."""
        self._change(number, title=title)

    def relabel(self, number: int, labels: list[str]) -> None:
        """Replace the labels."""
        self._change(number, labels=[_label(name) for name in labels])

    def touch(self, number: int) -> None:
        """Update an issue, as a comment does."""
        self._change(number)

    def _change(self, number: int, **members: Any) -> None:
        with self.lock:
            self.issues[number].update(members, updated_at=self._tick())

    def _tick(self) -> str:
        """The clock of issues moves on a second with each change, so that their order is certain."""
        with self.lock:
            self._clock += timedelta(seconds=1)
            return self._clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    # circumstances

    def trouble(self, kind: str | None, only: str = "") -> None:
        """From now on, answer requests whose path contains `only` with this trouble; None: no more."""
        assert kind is None or kind in TROUBLES, f"{kind} is not one of {TROUBLES}"
        with self.lock:
            self._kind, self._only = kind, only
            self.over.set()
            self.over = threading.Event()

    def trouble_of(self, path: str) -> str | None:
        """Return the trouble that a request for this path meets."""
        return self._kind if self._only in path else None

    def rename(self, repository: str) -> None:
        """Give the repository a new name; requests for the old one are redirected as GitHub does."""
        with self.lock:
            self.renamed.append(self.repository)
            self.repository = repository

    def set_clock(self, seconds: float) -> None:
        """Let `Date` be so many seconds ahead of the real time."""
        self.skew = seconds

    def set_allowance(self, remaining: int, resets_in: float = 3600, limit: int | None = None) -> None:
        """Set how many more requests are answered, with and without token, and in how many seconds that is renewed."""
        with self.lock:
            self.limit = limit
            self.remaining = {True: remaining, False: remaining}
            self.resets = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=resets_in)

    def forget_requests(self) -> None:
        """Begin a new log of requests."""
        with self.lock:
            self.requests.clear()

    def paths(self) -> list[str]:
        """Return what was asked for since, without the queries."""
        with self.lock:
            return [request["path"].partition("?")[0] for request in self.requests]

    def spend(self, with_token: bool) -> int:
        """Take one request off the allowance; return what is left, or -1 if there was nothing."""
        with self.lock:
            if self.remaining[with_token] <= 0:
                return -1
            self.remaining[with_token] -= 1
            return self.remaining[with_token]

    # answers

    def open_issues(self, query: dict[str, str]) -> list[Json]:
        """Return the issues that the query asks for, all pages."""
        key = {"created": "created_at", "updated": "updated_at"}[query.get("sort", "created")]
        state = query.get("state", "open")
        with self.lock:
            wanted = [dict(issue) for issue in self.issues.values() if state in ("all", issue["state"])]
        return sorted(wanted, key=lambda issue: issue[key], reverse=query.get("direction", "desc") == "desc")


def _label(name: str) -> Json:
    return {"id": len(name), "name": name, "color": "d73a4a", "default": False}


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "GitHubStandin"

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def do_GET(self) -> None:
        if self.path.startswith("/_standin"):
            with self.hub.lock:
                state = {"commit": self.hub.commit, "requests": list(self.hub.requests)}
            self._send(200, _json(state), plain=True)
            return
        self._entry = {"method": "GET", "path": self.path, "status": 0, "headers": dict(self.headers)}
        with self.hub.lock:
            self.hub.requests.append(self._entry)
        trouble = self.hub.trouble_of(self.path)
        if trouble is not None and self._troubled(trouble):
            return
        self._answer()

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = wanted.pop("do")
        if self.path != "/_standin" or name not in DOORS:
            self._send(404, _json({"message": f"{name} is not one of {DOORS}"}), plain=True)
            return
        self._send(200, _json({"result": getattr(self.hub, name)(**wanted)}), plain=True)

    # the good answers

    def _answer(self) -> None:
        given = self.headers.get("Authorization", "").partition(" ")[2]
        if given and self.hub.token and given != self.hub.token:
            self._send(401, _json({"message": "Bad credentials", "status": "401"}))
            return
        if self.hub.remaining[bool(given)] <= 0:
            self._limited()
            return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, body, headers = self._route(unquote(parts.path), query)
        etag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        if status == 200 and self.headers.get("If-None-Match") == etag:
            # Checked in November 2026: a 304 is free for who has a token, and counts for who has none.
            if not given:
                self.hub.spend(False)
            self._send(304, b"", {"ETag": etag, **headers})
            return
        self.hub.spend(bool(given))
        self._send(status, body, {"ETag": etag, **headers} if status == 200 else headers)

    def _route(self, path: str, query: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        for old in self.hub.renamed:
            if path.startswith(f"/repos/{old}/"):
                rest = self.path.split(old, 1)[1]
                return (
                    301,
                    _json({"message": "Moved Permanently"}),
                    {"Location": f"{self.hub.url}/repositories/1{rest}"},
                )
        for base in (f"/repos/{self.hub.repository}", "/repositories/1"):
            if path.startswith(base + "/"):
                return self._of_repository(path[len(base) + 1 :], query)
        return _not_found()

    def _of_repository(self, rest: str, query: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        kind, _, name = rest.partition("/")
        if kind == "branches" and name == BRANCH:
            return 200, _json({"name": BRANCH, "commit": {"sha": self.hub.commit}, "protected": False}), {}
        if kind == "contents":
            return self._content(name, query)
        if kind == "issues" and name:
            issue = self.hub.issues.get(int(name))
            return (200, _json(issue), {}) if issue else _not_found()
        if kind == "issues":
            return self._issues(query)
        return _not_found()

    def _content(self, path: str, query: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        name = path.removeprefix(f"{self.hub.directory}/")
        files = self.hub.commits.get(query.get("ref", self.hub.commit), {})
        if name == path:
            return _not_found()
        below = [inside for inside in files if inside.startswith(f"{name}/")]
        if below:
            return 200, _json([{"type": "file", "path": f"{self.hub.directory}/{inside}"} for inside in below]), {}
        if name not in files:
            return _not_found()
        if "raw" in self.headers.get("Accept", ""):
            return 200, files[name], {"Content-Type": "application/vnd.github.raw+json; charset=utf-8"}
        content = base64.encodebytes(files[name]).decode()
        return 200, _json({"type": "file", "name": name, "path": path, "encoding": "base64", "content": content}), {}

    def _issues(self, query: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        issues = self.hub.open_issues(query)
        size, page = min(100, int(query.get("per_page", "30"))), int(query.get("page", "1"))
        last = max(1, -(-len(issues) // size))
        headers = {}
        if page < last:
            where = f"{self.hub.url}/repositories/1/issues"
            headers["Link"] = f'<{where}?page={page + 1}>; rel="next", <{where}?page={last}>; rel="last"'
        return 200, _json(issues[(page - 1) * size : page * size]), headers

    # the troubles

    def _troubled(self, kind: str) -> bool:
        """Answer with a trouble; return False where the good answer follows."""
        answers: dict[str, tuple[int, bytes, dict[str, str]]] = {
            "500": (500, _json({"message": "Server Error"}), {}),
            "forbidden": (403, _json({"message": "Repository access blocked\n\x1b[2J" + "x" * 500}), {}),
            "html": (200, b"<!DOCTYPE html><title>Sign in to the hotel</title>", {"Content-Type": "text/html"}),
            "html error": (502, b"<html>Unicorn!</html>", {"Content-Type": "text/html"}),
            "not json": (200, b'[{"number": 1', {}),
            "object": (200, _json({"message": "hello"}), {}),
            "202": (202, b"{}", {}),
            "redirect away": (301, b"", {"Location": f"http://localhost:{self.server.server_port}{self.path}"}),
            "redirect round": (301, b"", {"Location": self.path}),
            "gone": _not_found(),
            "secondary limit": (
                403,
                _json({"message": "You have exceeded a secondary rate limit."}),
                {"Retry-After": "60"},
            ),
        }
        if kind in answers:
            self._send(*answers[kind])
            return True
        if kind == "redirect here" and "moved=1" not in self.path:
            mark = "&" if "?" in self.path else "?"
            self._send(301, b"", {"Location": f"{self.path}{mark}moved=1"})
            return True
        return self._badly(kind)

    def _badly(self, kind: str) -> bool:
        if kind == "rate limited":
            self._limited()
        elif kind == "odd headers":
            self._send(200, b"[]", {"x-ratelimit-remaining": "many", "x-ratelimit-limit": "few", "Date": "today"})
        elif kind == "silence":
            self.hub.over.wait(PATIENCE)
        elif kind == "half":
            self._send(200, b"[", {"Content-Length": "1000"})
        elif kind == "huge":
            self._send(200, b"", {"Content-Length": str(10**12)})
            self._pour(b"x" * 65536, 0)
        elif kind == "slow headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            self._pour(b"X-Slow: yes\r\n", 0.05)
        elif kind == "slow body":
            self._send(200, b"[", {"Content-Length": "100000"})
            self._pour(b" ", 0.05)
        else:
            return False
        self.close_connection = True
        return True

    def _pour(self, drop: bytes, pause: float) -> None:
        """Send on and on, until the client or patience has enough."""
        ends = time.monotonic() + PATIENCE
        over = self.hub.over
        with suppress(OSError):
            while time.monotonic() < ends and not over.wait(pause):
                self.wfile.write(drop)

    def _limited(self) -> None:
        message = "API rate limit exceeded for 127.0.0.1. (But here's the good news: …)"
        self._send(403, _json({"message": message}), {"x-ratelimit-remaining": "0"})

    # sending

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, plain: bool = False) -> None:
        with_token = "Authorization" in self.headers
        every = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
            "Date": format_datetime(datetime.now(timezone.utc) + timedelta(seconds=self.hub.skew), usegmt=True),
            "x-ratelimit-limit": str(self.hub.limit or (5000 if with_token else 60)),
            "x-ratelimit-remaining": str(self.hub.remaining[with_token]),
            "x-ratelimit-reset": str(int(self.hub.resets.timestamp())),
            **(headers or {}),
        }
        if status == 304:
            del every["Content-Length"], every["Content-Type"]
        if not plain:
            self._entry["status"] = status
        self.send_response_only(status)
        for name, value in every.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: `Hub.requests` is the log."""


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _not_found() -> tuple[int, bytes, dict[str, str]]:
    return 404, _json({"message": "Not Found", "status": "404"}), {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, port: int = 0) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", port), _Handler)
        hub.url = f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.hub.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news; anything else shows in the answer that is missing."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*_)  # type: ignore[arg-type]  # passed on as it came


@contextmanager
def github(port: int = 0, **circumstances: Any) -> Iterator[Hub]:
    """While inside, the stand-in answers at `hub.url`, on that port if one is given; further arguments as for Hub."""
    hub = Hub(**circumstances)
    with _Server(hub, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.over.set()
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="A stand-in for GitHub's API on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", default=DIRECTORY, help="the folder whose files the repository has")
    parser.add_argument("--token", default="", help="the only token that is accepted; any, if left out")
    parser.add_argument("--repository", default=REPOSITORY)
    options = parser.parse_args()
    hub = Hub(options.repository, DIRECTORY, options.token)
    hub.load(options.directory)
    with _Server(hub, options.port) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for the loop that the signal interrupted, so it needs a thread of its own.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(hub.url, flush=True)  # noqa: T201 - who started it reads the port here
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
