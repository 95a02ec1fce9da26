"""The worker's side of the pool: the worlds of one process, and the loop that answers calls. Never loads torch."""

from __future__ import annotations

import mmap
import os
import pickle
import queue
import select
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from crossagent.envs.workers.failures import FailureKind, Fault, Garbage, whose
from crossagent.envs.world import World, WorldConfig, build_spaces
from crossagent.errors import CrossAgentError

BEAT_BYTES = 4 * 8
JOBS, DEADLINE, BLAMED, MEMORY = range(4)
"""Places in the shared memory of a worker, int64 each: jobs begun since it started; nanoseconds of the monotonic clock at
which what it does now has hung; slot + 1 of the world that ran it out of memory; its resident bytes at the last look."""
OUT_OF_MEMORY = 113
"""Exit status of a worker over its memory limit."""
_LOOK_S = 0.2
_AT_ONCE = 1 << 15
"""Bytes that a pipe which can be written to at all has room for."""
Job = tuple[int, tuple[Any, ...]]
"""(slot, arguments of the method)."""
Answer = tuple[Any, ...]
"""("ok", result) or (kind of failure, reason, traceback, fault)."""


class Beat:
    """Signs of life that the pool reads while a call runs. Written in one process, read in another."""

    def __init__(self, shared: mmap.mmap | None, timeout_s: float, reset_timeout_s: float) -> None:
        self.values = memoryview(shared if shared is not None else bytearray(BEAT_BYTES)).cast("q")
        self._timeout_ns, self._reset_ns = int(timeout_s * 1e9), int(reset_timeout_s * 1e9)

    def job(self) -> None:
        """Show that a job begins. Its deadline first: who reads the number must not find the deadline of the job before."""
        self.turn(starting=False)
        self.values[JOBS] += 1

    def turn(self, starting: bool) -> None:
        """Show that a turn, or the start of an episode, begins; the clock starts again."""
        self.values[DEADLINE] = time.monotonic_ns() + (self._reset_ns if starting else self._timeout_ns)


class WorkerWorlds:
    """The worlds of one process, built when they are first used."""

    def __init__(self, config: WorldConfig, beat: Beat, weigh: bool = False) -> None:
        """Build the first world. ``weigh``: keep account of whose episode fills the memory."""
        self.beat, self._weigh = beat, weigh
        self._config, self._spaces = config, build_spaces(config)
        self._spare: World | None = self._build()  # at once: a world that cannot be built is found before step 0
        self._worlds: dict[int, World] = {}
        self._empty = resident_bytes()
        self._grown: dict[int, int] = {}
        """Bytes by which the process grew during the present episode of each slot."""
        self._running: tuple[int, int] | None = None
        self._starting = False

    def run(self, method: str, slot: int, args: tuple[Any, ...]) -> Answer:
        """Return ("ok", result), or (kind of failure, reason, traceback, fault)."""
        self.beat.job()
        before = resident_bytes() if self._weigh else 0
        if method != "act":
            self._grown[slot] = 0
        self._running = slot, before
        world = self._worlds.get(slot)
        try:
            if world is None:
                world, self._spare = self._spare or self._build(), None
                self._worlds[slot] = world
            return "ok", getattr(world, method)(*args)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            kind: FailureKind = "garbage" if isinstance(error, Garbage) else "raised"
            return kind, f"{type(error).__name__}: {first}", traceback.format_exc(), self._whose(error, world)
        finally:
            self._running = None
            if self._weigh:
                self._grown[slot] = self._grown.get(slot, 0) + resident_bytes() - before

    def close(self) -> None:
        """Close every world; one that cannot be closed does not stop the others."""
        for world in [*self._worlds.values(), *([self._spare] if self._spare else [])]:
            with suppress(Exception):
                world.close()

    def fattest(self, resident: int) -> int:
        """Return the slot during whose episode the process has grown by at least half of what it has grown; -1 for none."""
        grown, running = dict(self._grown), self._running  # another thread writes them
        if running is not None:
            grown[running[0]] = grown.get(running[0], 0) + resident - running[1]
        slot = max(grown, key=lambda slot: grown[slot], default=-1)
        return slot if slot >= 0 and 2 * grown[slot] >= resident - self._empty else -1

    def _whose(self, error: Exception, world: World | None) -> Fault:
        environment = type(world.env) if world is not None else type(self)
        spaces = {name: type(space) for name, space in self._spaces.spaces.items()}
        return whose(error, environment, spaces, self._starting)

    def _build(self) -> World:
        return World(self._config, self._spaces, self._turn)

    def _turn(self, starting: bool) -> None:
        self._starting = starting
        self.beat.turn(starting)


def serve(sock: int, beat: int, parent: int, timeout_s: float, reset_timeout_s: float, memory_bytes: int) -> None:
    """Run a worker: read calls, answer them, until the pool says so or the parent is gone."""
    connection = Connection(sock)
    signs = Beat(mmap.mmap(beat, BEAT_BYTES), timeout_s, reset_timeout_s)
    held: list[WorkerWorlds] = []
    threading.Thread(target=_watch, args=(parent, memory_bytes, signs, held), daemon=True).start()
    answers = _Outbox(connection)
    try:
        message = connection.recv_bytes()
        try:
            held.append(WorkerWorlds(pickle.loads(message), signs, weigh=memory_bytes > 0))
        except Exception as error:
            if not isinstance(error, (ValueError, CrossAgentError)):  # those say what is wrong, and every worker has it
                traceback.print_exc()
            answers.put(dump(("raised", f"{type(error).__name__}: {error}")))
            return
        answers.put(dump(("ok",)))
        while (call := pickle.loads(connection.recv_bytes())) is not None:
            method, jobs = call
            answers.put(dump_answers([held[0].run(method, slot, args) for slot, args in jobs]))
    except (EOFError, OSError):
        pass  # the parent is gone or has given this worker up
    finally:
        for worlds in held:
            worlds.close()
        answers.close()


class _Outbox:
    """Sends answers. One that has to wait for its reader waits in a thread, and the next call goes on meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._sending = connection, threading.Lock()
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._left = 0
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def put(self, answer: bytes) -> None:
        """Send an answer, now where there is room for it."""
        with self._sending:
            if self._left == 0 and len(answer) <= _AT_ONCE and select.select([], [self._connection], [], 0)[1]:
                self._connection.send_bytes(answer)
                return
            self._left += 1
        self._waiting.put(answer)

    def close(self) -> None:
        """Send what is left."""
        self._waiting.put(None)
        self._thread.join()

    def _send(self) -> None:
        with suppress(OSError):
            while (answer := self._waiting.get()) is not None:
                self._connection.send_bytes(answer)
                with self._sending:
                    self._left -= 1


def _watch(parent: int, memory_bytes: int, beat: Beat, held: list[WorkerWorlds]) -> None:
    """End this process when the parent is gone, or it holds too much; also from inside a job that never ends."""
    while os.getppid() == parent:
        beat.values[MEMORY] = size = resident_bytes()
        if memory_bytes and size > memory_bytes:
            beat.values[BLAMED] = 1 + (held[0].fattest(size) if held else -1)
            os._exit(OUT_OF_MEMORY)
        time.sleep(_LOOK_S)
    os._exit(1)


def resident_bytes() -> int:
    """Return what this process holds in memory; without what it has started."""
    if _STATM is not None:
        return int(os.pread(_STATM, 64, 0).split()[1]) * _PAGE
    import psutil

    return int(psutil.Process().memory_info().rss)


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_STATM: int | None = None


def _open_statm() -> None:
    global _STATM
    _STATM = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else None


_open_statm()
os.register_at_fork(after_in_child=_open_statm)


def dump(value: object) -> bytes:
    """Pickle for the pipe."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def dump_answers(answers: list[Answer]) -> bytes:
    """Pickle answers; one that cannot be becomes a failure of its job alone."""
    try:
        return dump(answers)
    except Exception:
        for index, answer in enumerate(answers):
            try:
                dump(answer)
            except Exception as error:
                reason = f"the result cannot cross processes: {error}"
                answers[index] = ("garbage", reason, traceback.format_exc(), "environment")
        return dump(answers)
