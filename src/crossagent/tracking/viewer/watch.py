"""A page on loopback that follows a run. Reads its files; needs nothing of the process that trains, and it nothing of us.

Only GET, only from this machine: the server binds 127.0.0.1, and answers only to the names of this machine, so that a
page of another origin cannot reach it under a name of its own (DNS rebinding). There are three addresses, none is a path.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from crossagent.errors import CrossAgentError, DataError
from crossagent.tracking.files import read_json, read_metrics
from crossagent.tracking.viewer.catalogue import Catalogue, Shown, Source
from crossagent.tracking.viewer.page import assemble, page

T = TypeVar("T")
ADDRESS = "127.0.0.1"
PORT = 8707
EPISODES = 16
"""Of the newest file, on the live page."""
VIEWED = 200
"""Of one file, in the viewer behind it."""
POINTS = 400
"""Per curve; more are thinned."""


def serve(run: Path, port: int = PORT) -> ThreadingHTTPServer:
    """Return a bound server of a run's page; ``serve_forever`` runs it.

    Args:
        run: The run's directory; the run may not have written anything but its recipe yet.
        port: 0: any free one (``server.server_address``).

    Raises:
        DataError: The directory is no run.
        CrossAgentError: The port is taken.
    """
    watched = Watched(run)

    class Handler(_Handler):
        watch = watched

    try:
        server = _Server((ADDRESS, port), Handler)
    except (OSError, OverflowError) as error:
        raise CrossAgentError(
            f"--port {port}: cannot listen there ({error}). Fix: --port ANOTHER; 0 takes a free one"
        ) from error
    return server


class Watched:
    """What the pages show of one run; every call looks anew."""

    def __init__(self, run: Path) -> None:
        """Raises :class:`DataError` where there is no run."""
        self.catalogue = Catalogue(run)
        self._read: dict[str, tuple[Any, Any]] = {}

    def page(self) -> str:
        """Return the live page."""
        scripts = ("common.js", "watch.js")
        return assemble("watch.html", ("base.css", "watch.css"), scripts, self.catalogue.title, connect="'self'")

    def episodes(self, name: str) -> str:
        """Return the viewer of one file of trajectories; raises :class:`DataError` when there is none of this name."""
        sources = {source.name: source for source in self.catalogue.sources()}
        if name not in sources:
            raise DataError(f"no trajectories are called {name!r}")
        shown, total = self.catalogue.sample(VIEWED, [sources[name]])
        return page(self.catalogue, shown, total)

    def state(self) -> dict[str, Any]:
        """Return what the live page draws; equal as long as no file of the run changes."""
        run, problem = self.catalogue.run, ""
        steps: dict[str, Any] = {}
        newest = self.catalogue.newest(1)
        shown: dict[str, Any] = {"which": "", "total": 0, "rows": []}
        try:
            if (run / "state.json").is_file():
                steps = read_json(run / "state.json")["steps"]
            if newest:
                shown = self._newest(newest[0])
        except (DataError, KeyError, TypeError) as error:
            problem = str(error)
        times = [path.stat().st_mtime for path in self._files() if path.exists()]
        return {
            "stages": [self._stage(stage, steps) for stage in self.catalogue.stages],
            "complete": "summary" in steps,
            "changed": max(times, default=0.0),
            "spaces": list(self.catalogue.weights),
            "episodes": shown,
            "evaluations": _evaluations(self.catalogue.stages, steps),
            "problem": problem,
        }

    def _files(self) -> list[Path]:
        run = self.catalogue.run
        return [run / "state.json", *run.glob("*/metrics.jsonl"), *(s.path for s in self.catalogue.newest(1))]

    def _stage(self, stage: str, steps: dict[str, Any]) -> dict[str, Any]:
        metrics = self._metrics(self.catalogue.run / stage / "metrics.jsonl")
        if f"{stage}/eval" in steps:
            status = "evaluated"
        elif f"{stage}/train" in steps:
            status = "trained"
        else:
            status = "training" if (self.catalogue.run / stage).is_dir() else "waiting"
        return {
            "name": stage,
            "status": status,
            "step": max((points[-1][0] for points in metrics.values()), default=0),
            "metrics": metrics,
        }

    def _metrics(self, path: Path) -> dict[str, list[tuple[int, float]]]:
        def read() -> dict[str, list[tuple[int, float]]]:
            return {name: _thinned(points) for name, points in sorted(read_metrics(path).items())}

        return self._once(str(path), path, read) if path.is_file() else {}

    def _newest(self, source: Source) -> dict[str, Any]:
        """Return groups of the newest file."""

        def read() -> dict[str, Any]:
            shown, total = self.catalogue.sample(EPISODES, [source])
            rows = [_episode(one, self.catalogue.weights) for one in shown]
            return {"which": source.name, "total": total, "rows": rows}

        return self._once("episodes", source.path, read)

    def _once(self, what: str, path: Path, read: Callable[[], T]) -> T:
        """Return what ``read`` makes of a file; the same file, unchanged, is not read again."""
        written = path.stat()
        key = (path, written.st_mtime_ns, written.st_size)
        if what not in self._read or self._read[what][0] != key:
            self._read[what] = (key, read())
        found: T = self._read[what][1]
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep a browser that has hung up off the terminal; anything else is a bug of ours, with its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    watch: Watched
    server_version, sys_version = "crossagent", ""
    timeout = 30

    def do_GET(self) -> None:
        if not self._from_here():
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"This server answers to 127.0.0.1 and localhost only.\n")
            return
        url = urlsplit(self.path)
        try:
            if url.path == "/":
                self._answer(HTTPStatus.OK, "text/html", self.watch.page().encode())
            elif url.path == "/state.json":
                state = json.dumps(self.watch.state(), ensure_ascii=False, allow_nan=False)
                self._answer(HTTPStatus.OK, "application/json", state.encode())
            elif url.path == "/episodes":
                name = parse_qs(url.query).get("of", [""])[0]
                self._answer(HTTPStatus.OK, "text/html", self.watch.episodes(name).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"There is no such page; go to /\n")
        except CrossAgentError as error:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"{error}\n".encode())

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"Only GET.\n")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _from_here(self) -> bool:
        """Any port will do: a tunnel (``ssh -L``) has one of its own, and it is the name that a foreign page cannot choose."""
        hosts = self.headers.get_all("Host") or []
        return len(hosts) == 1 and hosts[0].lower().partition(":")[0] in (ADDRESS, "localhost")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        if status is HTTPStatus.OK and self.headers.get("If-None-Match") == tag:
            status, body = HTTPStatus.NOT_MODIFIED, b""
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-cache",
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a page that asks every two seconds would fill the terminal."""


def _episode(one: Shown, weights: dict[str, float]) -> dict[str, Any]:
    trajectory = one.trajectory
    last = trajectory.turns[-1] if trajectory.turns else None
    return {
        "name": one.name,
        "task": trajectory.task,
        "success": trajectory.success,
        "ending": trajectory.stop_reason.value,
        "return": float(trajectory.success) - trajectory.weighted_cost(weights),
        "spaces": [turn.space for turn in trajectory.turns],
        "said": last.text if last else trajectory.failure,
    }


def _evaluations(stages: tuple[str, ...], steps: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "suite": suite, "agent": agent}
        | {key: cell[key] for key in ("success", "ci95", "return", "episodes")}
        for stage in stages
        for suite, cells in steps.get(f"{stage}/eval", {}).get("cells", {}).items()
        for agent, cell in cells.items()
    ]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most :data:`POINTS`, evenly spaced, the last one always among them."""
    if len(points) <= POINTS:
        return points
    return [points[(len(points) - 1) * k // (POINTS - 1)] for k in range(POINTS)]
