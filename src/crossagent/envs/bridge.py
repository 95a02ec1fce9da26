"""A world that lives in another process, maybe under another interpreter: JSON lines over a socket pair.

Both sides write one JSON object a line. The process says ``{"hello": NAME, "protocol": N}`` once it is ready; after that
each line ``{"id": k, "cmd": …, …}`` is answered by one ``{"id": k, …}``, or ``{"id": k, "error": why}``. Its standard output
and errors stay free for what libraries print. Whatever goes wrong is a :class:`BridgeFailed`, and the process is gone.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_LONGEST = 16 * 1024 * 1024
"""Bytes of one line; more is no answer of ours."""


class BridgeFailed(RuntimeError):
    """The process died, hung, or said what it should not; its world is lost. ``str`` is the reason."""


class Bridge:
    """One process and the pipe to it. Never restarted: a world that broke is not gone on with."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        name: str,
        hello: str,
        protocol: int,
        environ: Mapping[str, str] | None = None,
        start_seconds: float = 60.0,
    ) -> None:
        """Start the process; it gets ready by itself.

        Args:
            command: File descriptor of its end of the pipe → the words that start it.
            name: What messages call it, e.g. ``the Minecraft bridge``.
            hello: What it has to say it is.
            protocol: The version it has to speak.
            environ: Its environment; None: ours.
            start_seconds: How long it may take to get ready.

        Raises:
            OSError: It cannot be started.
        """
        mine, theirs = socket.socketpair()
        self._name, self._hello, self._protocol, self._start_seconds = name, hello, protocol, start_seconds
        self._socket, self._rest, self._id, self._greeted = mine, b"", 0, False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self.process = subprocess.Popen(
                list(command(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=None if environ is None else dict(environ),
            )
        except BaseException:
            mine.close()
            self._errors.close()
            raise
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        """Whether the process runs; it may still be getting ready."""
        return self.process.poll() is None

    def wait(self) -> None:
        """Wait until the process has said that it is ready; raises :class:`BridgeFailed`."""
        if self._greeted:
            return
        said = self._line(self._start_seconds)
        if said.get("error"):
            raise self._failed(str(said["error"]))
        if said.get("hello") != self._hello or said.get("protocol") != self._protocol:
            raise self._failed(f"expected {self._hello} of protocol {self._protocol}, got {str(said)[:120]}")
        self._greeted = True

    def call(self, cmd: str, timeout: float = 60.0, **arguments: Any) -> dict[str, Any]:
        """Send one command and return its answer; raises :class:`BridgeFailed`."""
        self.wait()
        self._send(cmd, timeout, arguments)
        return self._answer(cmd, timeout)

    def close(self) -> None:
        """End the process. Safe to call twice."""
        self._socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __del__(self) -> None:
        if hasattr(self, "process"):
            self.close()
            self._errors.close()

    # -- the pipe ------------------------------------------------------------------------------------------------
    def _send(self, cmd: str, timeout: float, arguments: Mapping[str, Any]) -> None:
        self._id += 1
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(json.dumps({"id": self._id, "cmd": cmd, **arguments}).encode() + b"\n")
        except OSError as error:
            raise self._failed(f"{cmd}: {error}") from error

    def _answer(self, cmd: str, timeout: float) -> dict[str, Any]:
        answer = self._line(timeout)
        if answer.get("error"):
            raise self._failed(f"{cmd}: {answer['error']}")
        if answer.get("id") != self._id:
            raise self._failed(f"{cmd}: an answer to {answer.get('id')!r} instead of {self._id}")
        return answer

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
        return BridgeFailed(f"{self._name} failed: {reason}{f' ({last.strip()})' if last else ''}")
