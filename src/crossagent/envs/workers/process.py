"""The pool's side of one worker process: start it, talk to it, see whether it lives, find out why it died."""

from __future__ import annotations

import json
import math
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from crossagent.envs.workers.failures import FailureKind
from crossagent.envs.workers.server import BEAT_BYTES, BLAMED, DEADLINE, JOBS, MEMORY, OUT_OF_MEMORY, Answer, Job, dump
from crossagent.envs.world import WorldConfig

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
# SIGINT is ignored before anything is imported: Ctrl-C is the parent's business, also in the first millisecond.
_BOOT = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "import json, sys; job = json.loads(sys.argv[1]); sys.path[:] = job.pop('path')\n"
    "from crossagent.envs.workers.server import serve; serve(**job)"
)
_BUFFER = 1 << 20
_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Signals that a world does not get of its own making."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may take. Seconds, and MiB of resident memory of its process."""

    timeout_s: float
    """A turn that takes longer has hung."""
    reset_timeout_s: float
    """The start of an episode that takes longer has hung."""
    start_timeout_s: float = 120.0
    """To build the first world."""
    memory_mb: int = 0
    """0: no limit."""


class ProcessWorker:
    """One worker: a fresh interpreter (not a fork, and without the caller's ``__main__``), so it never loads torch."""

    def __init__(self, config: WorldConfig | bytes, index: int, limits: Limits) -> None:
        """Take what to build, as it is or as :func:`dump_config` has packed it."""
        self.index, self.limits = index, limits
        self.launches = 0
        self.hung = False
        self._config = config if isinstance(config, bytes) else dump_config(config)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self.answered = 0
        """Jobs that this process has answered."""
        self._begin_by = 0
        self._beat_file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._beat_file.write(bytes(BEAT_BYTES))
        self._beat_file.flush()
        self._beat = memoryview(mmap.mmap(self._beat_file.fileno(), BEAT_BYTES)).cast("q")

    # -- life ------------------------------------------------------------------------------------------------------
    @property
    def running(self) -> bool:
        """Whether there is a process, as far as is known."""
        return self._connection is not None

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process is not None else None

    @property
    def memory_bytes(self) -> int:
        """Resident memory at the worker's last look."""
        return int(self._beat[MEMORY]) if self.running else 0

    def launch(self) -> None:
        """Start the process and hand it what to build; returns at once. Its first answer says that it is ready."""
        ours, theirs = socket.socketpair()
        # A worker that is stopped (not dead) would block a write for ever; it has hung, like any other silence.
        limit = struct.pack("ll", int(self.limits.timeout_s) + 1, 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        for place in range(len(self._beat)):
            self._beat[place] = 0
        boot = {
            "path": [p or os.getcwd() for p in sys.path],
            "sock": theirs.fileno(),
            "beat": self._beat_file.fileno(),
            "parent": os.getpid(),
            "timeout_s": self.limits.timeout_s,
            "reset_timeout_s": self.limits.reset_timeout_s,
            "memory_bytes": self.limits.memory_mb << 20,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(boot)],
            stdin=subprocess.DEVNULL,
            stdout=2,  # whatever an environment prints must not get into our own standard output
            env={**os.environ, **_ONE_THREAD},
            pass_fds=(theirs.fileno(), self._beat_file.fileno()),
            process_group=0,  # killed as a whole, with what an environment started
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self.launches += 1
        self.hung, self.answered = False, 0
        self._write(self._config)
        self._begin_by = time.monotonic_ns() + int(self.limits.start_timeout_s * 1e9)

    def end(self, grace_s: float = 0.0) -> None:
        """End the process, whatever it started, and reap it. Idempotent.

        Args:
            grace_s: Let the worker close its worlds and end by itself within so many seconds.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            if grace_s:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=grace_s)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def ask_to_quit(self) -> None:
        """Let the worker close its worlds and end, when it is done with what it was sent."""
        self._write(dump(None))

    def cause_of_death(self) -> tuple[FailureKind, str]:
        """End what is left of the process and return why it is gone."""
        hung, process = self.hung, self._process
        if process is not None and not hung:
            # The socket closes a moment before the process can be reaped; one that closed it and lives on has hung.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2.0)
        code = process.poll() if process is not None else None
        self.end()
        if hung or code is None:
            return "hung", "gave no sign of life until its deadline"
        if code == OUT_OF_MEMORY:
            return "memory", f"held more than {self.limits.memory_mb} MiB"
        if code < 0:
            outside = -code in _OUTSIDE
            return (
                "killed" if outside else "crashed",
                f"{'was killed by' if outside else 'crashed with'} {_signal_name(-code)}",
            )
        return "exited", f"exited with status {code}"

    # -- calls -----------------------------------------------------------------------------------------------------
    @staticmethod
    def pack(method: str, jobs: Sequence[Job]) -> bytes:
        """Return a call as :meth:`send` takes it; raises what pickling raises."""
        return dump((method, list(jobs)))

    def send(self, call: bytes) -> None:
        """Send one call; a worker that is gone is found by :meth:`await_any`."""
        if self.jobs_begun() <= self.answered:
            self._begin_by = max(self._begin_by, self._longest())
        self._write(call)

    def receive(self) -> tuple[Any, ...] | list[Answer] | None:
        """Return the next message: that it is ready or why not (a tuple), the answers of one call (a list); None when it
        is dead or hung.
        """
        data = self.receive_bytes()
        if data is None:
            return None
        message: tuple[Any, ...] | list[Answer] = pickle.loads(data)
        self.count(len(message) if isinstance(message, list) else 0)
        return message

    def receive_bytes(self) -> bytes | None:
        """Return the next message as it comes; who takes it so says with :meth:`count` how many answers it held."""
        if self.hung or self._connection is None:
            return None
        try:
            return self._connection.recv_bytes()
        except (OSError, EOFError):
            return None

    def count(self, jobs: int) -> None:
        """Note that so many jobs have been answered."""
        self.answered += jobs
        self._begin_by = self._longest()

    def jobs_begun(self) -> int:
        """Return how many jobs this process has begun; the last of them is the one at fault when it died in a job."""
        return int(self._beat[JOBS])

    def blamed(self) -> int:
        """Return the slot that ran the process out of memory, -1 for none."""
        return int(self._beat[BLAMED]) - 1

    def _time_left(self) -> float:
        """Return the seconds until this worker has hung: a job sets its own deadline, turn by turn, once it has begun."""
        begun = self.jobs_begun()  # read before the deadline, which is written before it
        deadline = int(self._beat[DEADLINE])
        if begun <= self.answered:
            deadline = max(deadline, self._begin_by)
        return (deadline - time.monotonic_ns()) / 1e9

    def _longest(self) -> int:
        return time.monotonic_ns() + int(max(self.limits.timeout_s, self.limits.reset_timeout_s) * 1e9)

    def _write(self, data: bytes) -> None:
        if self._connection is not None:
            with suppress(OSError):  # gone, or stopped; waiting for the answer finds out which
                self._connection.send_bytes(data)

    @staticmethod
    def await_any(workers: Iterable[ProcessWorker], timeout_s: float | None = None) -> list[ProcessWorker]:
        """Return those of busy workers that have answered, died or hung, in order; none only after ``timeout_s``."""
        busy = list(workers)
        dead = [w for w in busy if w._connection is None]
        if dead:
            return dead
        poll = select.poll()  # multiprocessing's own wait takes two to four times as long
        for w in busy:
            assert w._connection is not None
            poll.register(w._connection.fileno(), select.POLLIN)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            # A job that is about to begin has a nearer deadline than one that has not: look again after a turn's time.
            left = [min(w._time_left(), w.limits.timeout_s) for w in busy] + (
                [] if until is None else [until - time.monotonic()]
            )
            ready = {end for end, _ in poll.poll(math.ceil(1e3 * max(0.0, min(left))) if left else None)}
            if ready:
                return [w for w in busy if w._connection is not None and w._connection.fileno() in ready]
            hung = [w for w in busy if w._time_left() <= 0]
            for w in hung:
                w.hung = True
            if hung or (until is not None and time.monotonic() >= until):
                return hung


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def dump_config(config: WorldConfig) -> bytes:
    """Pickle what a worker builds; a class of ours by its name, one that was typed into a notebook by its code."""
    made = [spec.factory for spec, _ in config.spaces] + [config.env.factory, *config.env.experts.values()]
    if all(isinstance(factory, str) for factory in made):
        return dump(config)
    import cloudpickle

    # Workers do not look for tasks: the suite stays here.
    dumped: bytes = cloudpickle.dumps(replace(config, env=replace(config.env, suite="")))
    return dumped
