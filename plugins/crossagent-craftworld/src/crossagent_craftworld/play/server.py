"""The page and its game over HTTP, on loopback.

It acts, so it is careful: it binds 127.0.0.1, answers to the names of this machine only (no DNS rebinding), takes a message
only from its own page (``Origin``, and a secret of this process that the page carries), of a small size, as JSON.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from crossagent_craftworld.play.session import Session

ADDRESS = "127.0.0.1"
TOKEN_HEADER = "X-CrossAgent-Token"
LARGEST = 4096
"""Bytes of a message."""
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"


def serve(session: Session, port: int) -> ThreadingHTTPServer:
    """Return a bound server of a session's page; ``serve_forever`` runs it. ``port`` 0: any free one."""
    return _Server((ADDRESS, port), partial(_Handler, session, secrets.token_urlsafe(24)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep a browser that has hung up off the terminal; anything else is a bug of ours, with its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "crossagent", ""
    timeout = 60
    disable_nagle_algorithm = True

    def __init__(self, session: Session, token: str, *args: Any) -> None:
        self._session, self._token = session, token
        super().__init__(*args)

    # -- what is asked -------------------------------------------------------------------------------------------
    def do_GET(self) -> None:
        if not self._from_here():
            return
        name = self.path.partition("?")[0].removeprefix("/") or "play.html"
        if name == "tasks.json":
            self._answer(HTTPStatus.OK, "application/json", json.dumps(self._session.task_names()).encode())
        elif name in ("play.html", "play.js", "play.css"):
            body = files("crossagent_craftworld.play").joinpath("assets", name).read_bytes()
            if name == "play.html":
                body = body.replace(b"{{token}}", self._token.encode())
            self._answer(HTTPStatus.OK, _KINDS[name.rpartition(".")[2]], body)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page; go to /")

    def do_POST(self) -> None:
        if not self._from_here():
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.close_connection = True  # what is in the body stays unread
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A message has at most {LARGEST} bytes, and says how many."
            )
            return
        body = self.rfile.read(int(length))
        if not self._ours():
            self._refuse(HTTPStatus.FORBIDDEN, "Only the page of this server may play.")
            return
        does: dict[str, Callable[[Any], bytes]] = {"/act": self._session.act, "/reset": self._reset}
        if self.path not in does:
            self._refuse(HTTPStatus.NOT_FOUND, "There is /act and /reset.")
            return
        try:
            what = json.loads(body)
            if not isinstance(what, dict):
                raise ValueError("expected an object")
            self._answer(HTTPStatus.OK, "application/octet-stream", does[self.path](what))
        except (ValueError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def _reset(self, what: Any) -> bytes:
        task, seed = what.get("task"), what.get("seed", 0)
        if not isinstance(task, str) or not isinstance(seed, int) or isinstance(seed, bool):
            raise ValueError("expected a task's name and a whole number as seed")
        return self._session.reset(task, seed)

    # -- who asks ------------------------------------------------------------------------------------------------
    def _hosts(self) -> tuple[str, str]:
        port = self.server.server_address[1]  # type: ignore[index]
        return f"{ADDRESS}:{port}", f"localhost:{port}"

    def _from_here(self) -> bool:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) == 1 and hosts[0].lower() in self._hosts():
            return True
        self.close_connection = True
        self._refuse(HTTPStatus.FORBIDDEN, "This server answers to 127.0.0.1 and localhost only.")
        return False

    def _ours(self) -> bool:
        origin = self.headers.get("Origin")
        token = self.headers.get(TOKEN_HEADER, "")
        same = origin is not None and origin.removeprefix("http://") in self._hosts()
        kind = self.headers.get_content_type() == "application/json"
        return same and kind and hmac.compare_digest(token.encode(), self._token.encode())

    # -- what is said --------------------------------------------------------------------------------------------
    def _refuse(self, status: HTTPStatus, words: str) -> None:
        self._answer(status, "text/plain", f"{words}\n".encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        charset = "" if kind == "application/octet-stream" else "; charset=utf-8"
        for name, value in {
            "Content-Type": f"{kind}{charset}",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: twenty messages a second would fill the terminal."""
