"""The pool of worlds: worker processes with several worlds each, one message per worker and call.

An episode's world may raise, hang, exit or be killed. That costs the job at fault as an :class:`EnvFailure`; the worker
is replaced and the run goes on. An episode whose world is gone is never continued in a fresh one: its slot refuses
``act`` until ``reset``. Methods that need no episode (``reset``, ``demonstrate``, ``lower``) are simply run again when
they were in the same worker as the one at fault.

A worker is a fresh interpreter (not a fork, and without the caller's ``__main__``), so it never loads torch.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from crossagent.envs.world import Described, World, WorldConfig, build_spaces
from crossagent.errors import CrossAgentError, PluginError

logger = logging.getLogger(__name__)

FailureKind = Literal["raised", "hung", "exited", "killed", "lost", "refused"]
_NEEDS_EPISODE = frozenset({"act"})
_START_TRIES = 3
_BEAT = struct.Struct("<qq")
"""Shared with each worker: jobs begun in this call, turns begun since the worker started."""
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
# SIGINT is ignored before anything is imported: Ctrl-C is the parent's business, also in the first millisecond.
_BOOT = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "import json, sys; job = json.loads(sys.argv[1]); sys.path[:] = job['path']\n"
    "from crossagent.envs.worker import serve; serve(job['socket'], job['beat'], job['parent'])"
)


@dataclass(frozen=True, slots=True)
class EnvFailure:
    """Why a job has no result. Data, not an exception: a broken episode is dropped and counted."""

    kind: FailureKind
    """``raised`` · ``hung`` (no sign of life for ``timeout_s``) · ``exited`` · ``killed`` (by a signal) · ``lost``
    (went down with a worker that another episode broke) · ``refused`` (``act`` without a living episode)."""
    reason: str
    task: str
    seed: int
    detail: str = ""
    """The traceback, where there is one."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason} (task {self.task!r}, seed {self.seed})"


Job = tuple[int, tuple[Any, ...]]
"""(slot, arguments of the method)."""


class WorkerPool:
    """Worlds in worker processes, addressed by slot. A context manager; the workers also end when this process does.

    Args:
        config: What every world is built from.
        workers: Number of processes; 0 keeps the worlds in this process (for tests and debuggers: a hang then hangs).
        worlds_per_worker: Worlds in each process, built when their slot is first used.
        timeout_s: A job that shows no sign of life for so long has hung. A whole episode may take longer, a turn not.
        start_timeout_s: How long a worker may take to build its first world.

    Raises:
        PluginError: The environment or a space cannot be built.
    """

    def __init__(
        self,
        config: WorldConfig,
        workers: int,
        worlds_per_worker: int,
        timeout_s: float,
        start_timeout_s: float = 120.0,
    ) -> None:
        if workers < 0 or worlds_per_worker < 1 or timeout_s <= 0:
            raise CrossAgentError(
                f"rollout: got workers={workers}, worlds_per_worker={worlds_per_worker}, timeout_s={timeout_s}; "
                "expected workers ≥ 0, worlds_per_worker ≥ 1, timeout_s > 0."
            )
        self.config, self.timeout_s = config, timeout_s
        self.slots = max(workers, 1) * worlds_per_worker
        """Number of worlds; slots are 0 … slots − 1."""
        self.failures: Counter[str] = Counter()
        """Failed jobs so far, by kind."""
        self._episodes: dict[int, tuple[str, int]] = {}
        self._local: _Worlds | None = None
        self._workers = [_Worker(config, index, timeout_s, start_timeout_s) for index in range(workers)]
        self._finalizer = weakref.finalize(self, _kill_all, self._workers, os.getpid())
        try:
            for worker in self._workers:
                worker.launch()
            for worker in self._workers:
                worker.ensure_ready()
            if not workers:
                self._local = _Worlds(config)
        except BaseException:
            self.close()
            raise

    @property
    def restarts(self) -> int:
        """How often a worker was replaced."""
        return sum(worker.launches - 1 for worker in self._workers if worker.launches)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run now."""
        return tuple(worker.process.pid for worker in self._workers if worker.process is not None)

    def call(self, method: str, slot: int, *args: Any) -> Any:
        """Call one method of one world; see :meth:`call_many`."""
        return self.call_many(method, [(slot, args)])[0]

    def spread(self, method: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method that needs no episode once for each ``args``, spread over all worlds; results in that order."""
        return self.call_many(method, [(index % self.slots, a) for index, a in enumerate(args)])

    def describe(self) -> Described:
        """Return what the spaces say of themselves in this world: all a prompt needs to know."""
        described = self.call("describe", 0)
        if isinstance(described, EnvFailure):
            raise PluginError(f"environment {self.config.env.name!r} cannot be described: {described.reason}")
        result: Described = described
        return result

    def call_many(self, method: str, jobs: Sequence[Job]) -> list[Any]:
        """Run jobs; return their results, or an :class:`EnvFailure` each, in the order of ``jobs``.

        Jobs of one worker run one after another, workers at the same time. Results depend on slot and arguments only.
        """
        results: list[Any] = [None] * len(jobs)
        batches: dict[int, list[int]] = {}
        for index, (slot, _) in enumerate(jobs):
            if not 0 <= slot < self.slots:
                raise IndexError(f"slot {slot} of a pool with {self.slots} worlds")
            if method in _NEEDS_EPISODE and slot not in self._episodes:
                results[index] = EnvFailure("refused", "no episode is going on in this world; reset it", "", -1)
            else:
                batches.setdefault(slot % len(self._workers) if self._workers else 0, []).append(index)
        if self._local is not None:
            for index in batches.get(0, []):
                slot, args = jobs[index]
                results[index] = self._settle(method, jobs[index], self._local.run(method, slot, args))
        else:
            self._call_workers(method, jobs, batches, results)
        return results

    def close(self) -> None:
        """End the workers and reap them. Idempotent."""
        if self._local is not None:
            self._local.close()
            self._local = None
        for worker in self._workers:
            worker.ask_to_quit()
        for worker in self._workers:
            worker.kill(grace_s=2.0)
        self._episodes.clear()
        self._finalizer.detach()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------------------------------------------
    def _call_workers(
        self, method: str, jobs: Sequence[Job], batches: dict[int, list[int]], results: list[Any]
    ) -> None:
        # Pickled before anything is sent: an argument that cannot be is the caller's error and leaves no worker busy.
        messages = {w: _dump((method, [jobs[i] for i in indices])) for w, indices in batches.items()}
        try:
            for w, message in messages.items():
                self._workers[w].send(message)
            busy = set(batches)
            while busy:
                for w in self._wait(busy):
                    worker, indices = self._workers[w], batches[w]
                    answers = worker.receive()
                    if answers is not None:
                        for index, answer in zip(indices, answers, strict=True):
                            results[index] = self._settle(method, jobs[index], answer)
                        busy.discard(w)
                        continue
                    batches[w] = self._bury(worker, method, jobs, indices, results)
                    if batches[w]:
                        worker.send(_dump((method, [jobs[i] for i in batches[w]])))
                    else:
                        busy.discard(w)
        except BaseException:
            # Answers of an abandoned call must never be taken for those of the next one.
            for w in batches:
                self._forget(w)
                self._workers[w].kill()
            raise

    def _wait(self, busy: set[int]) -> list[int]:
        """Return, in order, the workers that answered, died or hung; at least one."""
        while True:
            dead = sorted(w for w in busy if self._workers[w].connection is None)
            if dead:
                return dead
            left = min(self._workers[w].time_left() for w in busy)
            ready = wait([self._workers[w].connection for w in busy], timeout=max(0.0, left))  # type: ignore[misc]
            if ready:
                return sorted(w for w in busy if self._workers[w].connection in ready)
            hung = sorted(w for w in busy if self._workers[w].time_left() <= 0)
            if hung:
                for w in hung:
                    self._workers[w].hung = True
                return hung

    def _bury(
        self, worker: _Worker, method: str, jobs: Sequence[Job], indices: list[int], results: list[Any]
    ) -> list[int]:
        """Note what a dead worker cost, replace it, and return the jobs to run again in the new one."""
        begun = worker.jobs_begun()
        kind, reason = worker.cause_of_death()
        worker.idle_deaths = worker.idle_deaths + 1 if begun == 0 else 0
        culprit = indices[begun - 1] if 0 < begun <= len(indices) else None
        again = [] if method in _NEEDS_EPISODE or worker.idle_deaths >= _START_TRIES else indices
        blamed = "" if culprit is None else " in {!r}, seed {}".format(*self._whose(method, jobs[culprit]))
        for index in indices:
            task, seed = self._whose(method, jobs[index])
            if index == culprit:
                results[index] = EnvFailure(kind, reason, task, seed)
            elif index not in again:
                results[index] = EnvFailure("lost", f"its worker {reason}{blamed}", task, seed)
            else:
                continue
            self.failures[results[index].kind] += 1
        at_fault = "between jobs" if culprit is None else f"in {method} of task {blamed[4:]}"
        self._forget(worker.index)
        logger.warning("environment worker %d %s %s; it is replaced", worker.index, reason, at_fault)
        worker.launch()
        return [index for index in again if index != culprit]

    def _whose(self, method: str, job: Job) -> tuple[str, int]:
        slot, args = job
        if method in _NEEDS_EPISODE:
            return self._episodes.get(slot, ("", -1))
        return (args[0].name, int(args[1])) if len(args) > 1 else ("", -1)

    def _forget(self, worker: int) -> None:
        for slot in [s for s in self._episodes if s % len(self._workers) == worker]:
            del self._episodes[slot]

    def _settle(self, method: str, job: Job, answer: tuple[Any, ...]) -> Any:
        """Turn a worker's answer into a result, and keep the books on which slots have an episode."""
        slot, _ = job
        whose = self._whose(method, job)
        if answer[0] == "ok":
            if method == "reset":
                self._episodes[slot] = whose
            elif method in ("demonstrate", "lower", "alternatives"):
                self._episodes.pop(slot, None)
            return answer[1]
        kind, reason, detail = answer
        self._episodes.pop(slot, None)
        failure = EnvFailure(kind, reason, *whose, detail)
        self.failures[kind] += 1
        logger.warning("%s of a world %s", method, failure)
        logger.debug("%s", detail)
        return failure


class _Worker:
    """The parent's side of one worker process."""

    def __init__(self, config: WorldConfig, index: int, timeout_s: float, start_timeout_s: float) -> None:
        self.index, self.launches, self.idle_deaths, self.hung = index, 0, 0, False
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self._config, self._timeout_s, self._start_timeout_s = config, timeout_s, start_timeout_s
        self._ready = False
        self._seen = (0, 0)
        self._alive_at = 0.0
        self._beat_file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._beat_file.write(bytes(_BEAT.size))
        self._beat_file.flush()
        self._beat = mmap.mmap(self._beat_file.fileno(), _BEAT.size)

    def launch(self) -> None:
        """Start the process and hand it what to build; returns at once."""
        ours, theirs = socket.socketpair()
        # A worker that is stopped (not dead) would block a write for ever; it has hung, like any other silence.
        limit = struct.pack("ll", int(self._timeout_s) + 1, 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        _BEAT.pack_into(self._beat, 0, 0, 0)
        boot = {
            "path": [p or os.getcwd() for p in sys.path],
            "socket": theirs.fileno(),
            "beat": self._beat_file.fileno(),
            "parent": os.getpid(),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(boot)],
            stdin=subprocess.DEVNULL,
            stdout=2,  # whatever an environment prints must not get into our own standard output
            env={**os.environ, **_ONE_THREAD},
            pass_fds=(theirs.fileno(), self._beat_file.fileno()),
            process_group=0,  # killed as a whole, with what an environment started
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.launches += 1
        self._ready, self.hung = False, False
        self._write(_dump_config(self._config))

    def ensure_ready(self) -> None:
        """Wait until the first world is built; start again if the process died meanwhile."""
        for _ in range(_START_TRIES):
            if self._ready:
                return
            if self.connection is None:
                self.launch()
            kind, reason = "hung", f"built no world within {self._start_timeout_s:g} s"
            assert self.connection is not None
            if self.connection.poll(self._start_timeout_s):
                answer = self._read()
                if answer is not None and answer[0] == "ok":
                    self._ready = True
                    return
                kind, reason = ("raised", answer[1]) if answer is not None else self.cause_of_death()
            self.kill()
            if kind != "killed":
                break
        what = ", ".join(self._config.space_names)
        raise PluginError(
            f"environment {self._config.env.name!r} with spaces {what} cannot start in a worker: {reason}. "
            "Use rollout.workers=0 to see it in this process."
        )

    def send(self, message: bytes) -> None:
        """Send one call; a worker that is gone, since before or by this call, is found by :meth:`receive`."""
        self.ensure_ready()
        _BEAT.pack_into(self._beat, 0, 0, 0)
        self._seen, self._alive_at = (0, 0), time.monotonic()
        self._write(message)

    def receive(self) -> list[tuple[Any, ...]] | None:
        """Return the answers of one call, None when the worker is dead or hung."""
        return None if self.hung or self.connection is None else self._read()

    def time_left(self) -> float:
        """Return the seconds until this worker counts as hung; every job and turn it begins starts the clock again."""
        seen = _BEAT.unpack_from(self._beat, 0)
        if seen != self._seen:
            self._seen, self._alive_at = seen, time.monotonic()
        return self._alive_at + self._timeout_s - time.monotonic()

    def jobs_begun(self) -> int:
        """Return how many jobs of the present call were begun; the last of them is the one at fault."""
        return int(_BEAT.unpack_from(self._beat, 0)[0])

    def cause_of_death(self) -> tuple[FailureKind, str]:
        """End what is left of the process and return why it is gone."""
        hung, process = self.hung, self.process
        if process is not None and not hung:
            # The socket closes a moment before the process can be reaped; one that closed it and lives on has hung.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2.0)
        code = process.poll() if process is not None else None
        self.kill()
        if hung or code is None:
            return "hung", f"gave no sign of life for {self._timeout_s:g} s"
        if code < 0:
            return "killed", f"was killed by {_signal_name(-code)}"
        return "exited", f"exited with status {code}"

    def ask_to_quit(self) -> None:
        """Let the worker close its worlds and end."""
        if self._ready:
            self._write(_dump(None))

    def kill(self, grace_s: float = 0.0) -> None:
        """End the process, whatever it started, and reap it. Idempotent."""
        self._ready = False
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is not None:
            if grace_s:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=grace_s)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _write(self, message: bytes) -> None:
        if self.connection is not None:
            with suppress(OSError):  # gone, or stopped; waiting for the answer finds out which
                self.connection.send_bytes(message)

    def _read(self) -> Any:
        assert self.connection is not None
        try:
            return pickle.loads(self.connection.recv_bytes())
        except (OSError, EOFError):
            return None


def _kill_all(workers: list[_Worker], owner: int) -> None:
    if os.getpid() == owner:  # a fork of the parent (a data loader's, say) does not own them
        for worker in workers:
            worker.kill()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _dump(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _dump_config(config: WorldConfig) -> bytes:
    """Pickle what a worker builds; a class of ours by its name, one that was typed into a notebook by its code."""
    made = [spec.factory for spec, _ in config.spaces] + [config.env.factory, *config.env.experts.values()]
    if all(isinstance(factory, str) for factory in made):
        return _dump(config)
    import cloudpickle

    # Workers do not look for tasks: the suite stays here.
    dumped: bytes = cloudpickle.dumps(replace(config, env=replace(config.env, suite="")))
    return dumped


# -- in the process that holds the worlds ----------------------------------------------------------------------------
class _Worlds:
    """The worlds of one process, built when they are first used."""

    def __init__(self, config: WorldConfig, beat: mmap.mmap | None = None) -> None:
        self._config, self._spaces, self._beat = config, build_spaces(config), beat
        self._jobs = self._turns = 0
        self._spare: World | None = self._build()  # at once: a world that cannot be built is found before step 0
        self._worlds: dict[int, World] = {}

    def begin(self, job: int) -> None:
        """Show that a job begins; 1 is the first of a call."""
        self._jobs, self._turns = job, self._turns + 1
        self._show()

    def run(self, method: str, slot: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return ("ok", result) or (kind of failure, reason, traceback)."""
        try:
            world = self._worlds.get(slot)
            if world is None:
                world, self._spare = self._spare or self._build(), None
                self._worlds[slot] = world
            return "ok", getattr(world, method)(*args)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            return "raised", f"{type(error).__name__}: {first}", traceback.format_exc()

    def close(self) -> None:
        """Close every world; one that cannot be closed does not stop the others."""
        for world in [*self._worlds.values(), *([self._spare] if self._spare else [])]:
            with suppress(Exception):
                world.close()

    def _build(self) -> World:
        return World(self._config, self._spaces, self._turn)

    def _turn(self) -> None:
        self._turns += 1
        self._show()

    def _show(self) -> None:
        if self._beat is not None:
            _BEAT.pack_into(self._beat, 0, self._jobs, self._turns)


def serve(sock: int, beat: int, parent: int) -> None:
    """Run a worker: read calls, answer them, until the pool says so or the parent is gone."""
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    connection = Connection(sock)
    worlds: _Worlds | None = None
    try:
        message = connection.recv_bytes()
        try:
            worlds = _Worlds(pickle.loads(message), mmap.mmap(beat, _BEAT.size))
        except Exception as error:
            if not isinstance(error, (ValueError, CrossAgentError)):  # those say what is wrong, and every worker has it
                traceback.print_exc()
            connection.send_bytes(_dump(("raised", f"{type(error).__name__}: {error}")))
            return
        connection.send_bytes(_dump(("ok",)))
        while (call := pickle.loads(connection.recv_bytes())) is not None:
            method, jobs = call
            answers = []
            for number, (slot, args) in enumerate(jobs, 1):
                worlds.begin(number)
                answers.append(worlds.run(method, slot, args))
            connection.send_bytes(_dump_answers(answers))
    except (EOFError, OSError):
        pass  # the parent is gone or has given this worker up
    finally:
        if worlds is not None:
            worlds.close()


def _dump_answers(answers: list[tuple[Any, ...]]) -> bytes:
    try:
        return _dump(answers)
    except Exception:
        for index, answer in enumerate(answers):
            try:
                _dump(answer)
            except Exception as error:
                answers[index] = ("raised", f"the result cannot cross processes: {error}", traceback.format_exc())
        return _dump(answers)


def _leave_with(parent: int) -> None:
    """End this process when the parent is gone, also from inside a job that never ends."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
