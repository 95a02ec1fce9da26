"""One bridge process and the pipe to it: JSON lines over a socket pair. Whatever goes wrong is a :class:`BridgeFailed`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import tempfile
import time
from typing import Any, Literal

from crossagent.plugin import Unavailable
from crossagent_minecraft import facts
from crossagent_minecraft.node import missing, node, packages, sources

PROTOCOL = 1
_LONGEST = 16 * 1024 * 1024
"""Bytes of one line; more is no answer of ours."""
START_SECONDS = 60.0


class BridgeFailed(RuntimeError):
    """The bridge died, hung, or said what it should not; the world is lost. ``str`` is the reason."""


class Link:
    """A bridge process. Never restarted: a world that broke is not gone on with."""

    def __init__(self, mode: Literal["embedded", "connect"], chunks: int = 3) -> None:
        """Start the process; it gets ready by itself. Raises :class:`Unavailable` without Node or its packages."""
        if problem := missing():
            raise Unavailable(problem)
        mine, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        script = sources() / "main.js"
        environment = {**os.environ, "NODE_PATH": str(packages()), "NODE_OPTIONS": "--max-old-space-size=512"}
        try:
            self.process = subprocess.Popen(
                [node(), str(script), str(theirs.fileno()), mode, str(facts.path()), str(chunks)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment,
            )
        finally:
            theirs.close()
        self._socket = mine
        self._rest = b""
        self._id = 0
        self._starting = True
        """Whether it still has to say that it is ready: the hello, or the answer to ``renew``."""
        self.lives = 1
        """How many worlds this process has had."""

    @property
    def alive(self) -> bool:
        """Whether the process runs; it may still be getting ready."""
        return self.process.poll() is None

    def ready(self) -> bool:
        """Return whether the process has a fresh world to give, without waiting."""
        if self._starting and self.alive and select.select([self._socket], [], [], 0)[0]:
            with contextlib.suppress(BridgeFailed):
                self.wait()
        return not self._starting and self.alive

    def wait(self) -> None:
        """Wait until the process has a fresh world to give; raises :class:`BridgeFailed`."""
        if not self._starting:
            return
        said = self._line(START_SECONDS)
        if self._id:
            self._check("renew", said)
        elif said.get("hello") != "crossagent-minecraft" or said.get("protocol") != PROTOCOL:
            raise self._failed(f"expected a bridge of protocol {PROTOCOL}, got {str(said)[:120]}")
        self._starting = False

    def renew(self) -> None:
        """Have the process make a fresh world, as a new one would; does not wait. Raises :class:`BridgeFailed`."""
        self._send("renew", 5.0, {})
        self._starting = True
        self.lives += 1

    def call(self, cmd: str, timeout: float = 60.0, **arguments: Any) -> dict[str, Any]:
        """Send one command and return its answer; raises :class:`BridgeFailed`."""
        self.wait()
        self._send(cmd, timeout, arguments)
        answer = self._line(timeout)
        self._check(cmd, answer)
        return answer

    def _send(self, cmd: str, timeout: float, arguments: dict[str, Any]) -> None:
        self._id += 1
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(json.dumps({"id": self._id, "cmd": cmd, **arguments}).encode() + b"\n")
        except OSError as error:
            raise self._failed(f"{cmd}: {error}") from error

    def _check(self, cmd: str, answer: dict[str, Any]) -> None:
        if answer.get("error"):
            raise self._failed(f"{cmd}: {answer['error']}")
        if answer.get("id") != self._id:
            raise self._failed(f"{cmd}: an answer to {answer.get('id')!r} instead of {self._id}")

    def _line(self, timeout: float) -> dict[str, Any]:
        end = time.monotonic() + timeout
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            left = end - time.monotonic()
            self._socket.settimeout(max(left, 0.001))
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError:
                raise self._failed(f"no answer in {timeout:.0f} s") from None
            except OSError as error:
                raise self._failed(str(error)) from error
            if not data:
                raise self._failed("it ended")
            parts.append(data)
            if sum(map(len, parts)) > _LONGEST:
                raise self._failed("a line without an end")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._failed(f"it said {line[:80]!r}, which is no answer")
        return answer

    def _failed(self, reason: str) -> BridgeFailed:
        self.close()
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        last = next((line for line in said if "rror" in line), said[-1] if said else "")
        return BridgeFailed(f"the Minecraft bridge failed: {reason}{f' ({last.strip()})' if last else ''}")

    def close(self) -> None:
        """End the process. Safe to call twice."""
        self._socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self.close()
            self._errors.close()
