"""The pool of worlds on many machines: each worker process is kept by a Ray actor, on the machine Ray puts it on.

A keeper holds a :class:`~crossagent.envs.workers.process.ProcessWorker` next to it: deadlines, memory limit, culprits and causes of
death are found there, by the same code as without Ray, which only carries calls and answers. What Ray can lose besides (an
actor, a machine) is the infrastructure's fault: its episodes are begun again elsewhere.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import signal
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from crossagent.envs.workers.failures import FailureKind
from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.workers.process import Limits, ProcessWorker, dump_config
from crossagent.envs.workers.server import Answer, Job
from crossagent.envs.world import WorldConfig
from crossagent.errors import CrossAgentError, MissingExtraError

__all__ = ["RayPool", "RayWorker"]

_LOOK_S = 5.0
_STORE_BYTES = 256 << 20
"""Of shared memory, for a Ray of our own. Answers are kept there only while they are on their way."""


class _Said(NamedTuple):
    """What a worker answered, as it came out of its pipe."""

    data: bytes
    pid: int | None
    memory_bytes: int


class _Died(NamedTuple):
    """Why a worker is gone."""

    kind: FailureKind
    reason: str
    begun: int
    """Jobs its process had begun."""
    blamed: int = -1


class Keeper:
    """A process worker, on whatever machine this object is made. A Ray actor; loads neither plugins nor torch."""

    def __init__(self, config: bytes, index: int, limits: Limits) -> None:
        self._worker = ProcessWorker(config, index, limits)
        self._died: _Died | None = None

    def launch(self, path: Sequence[str]) -> _Said | _Died:
        """Start the process; return that it is ready, or why not.

        Args:
            path: Where the main process finds modules; what this machine has of it comes first here, too.
        """
        here = [entry for entry in path if os.path.exists(entry)]
        sys.path[:] = here + [entry for entry in sys.path if entry not in here]
        self._died = None
        self._worker.launch()
        return self._answer(0)

    def call(self, packed: bytes, jobs: int) -> _Said | _Died:
        """Run one call; of a process that is gone, return why."""
        if self._died is not None:
            return self._died
        self._worker.send(packed)
        return self._answer(jobs)

    def _answer(self, jobs: int) -> _Said | _Died:
        worker = self._worker
        ProcessWorker.await_any([worker])
        data = worker.receive_bytes()
        if data is not None:
            worker.count(jobs)
            return _Said(data, worker.pid, worker.memory_bytes)
        begun = worker.jobs_begun()
        kind, reason = worker.cause_of_death()
        self._died = _Died(kind, reason, begun, worker.blamed())
        return self._died

    def ping(self) -> None:
        """Show that this actor lives, also while a call runs."""

    def ask_to_quit(self) -> None:
        """See :meth:`ProcessWorker.ask_to_quit`."""
        self._worker.ask_to_quit()

    def end(self, grace_s: float) -> None:
        """See :meth:`ProcessWorker.end`."""
        self._worker.end(grace_s)


class RayWorker:
    """The pool's side of a keeper: what :class:`~crossagent.envs.workers.pool.Worker` asks for."""

    def __init__(self, config: WorldConfig, index: int, limits: Limits) -> None:
        self.index, self.limits = index, limits
        self.launches = 0
        self.answered = 0
        self.hung = False
        self.pid: int | None = None
        """Of the worker process, on its machine."""
        self.memory_bytes = 0
        self._config = dump_config(config)
        self._actor: Any = None
        self._replies: deque[Any] = deque()
        """What is under way, oldest first: an actor does what it is sent in that order."""
        self._died: _Died | None = None
        self._ping: tuple[Any, float] | None = None

    # -- life ------------------------------------------------------------------------------------------------------
    @property
    def running(self) -> bool:
        """Whether there is an actor whose process lives, as far as is known."""
        return self._actor is not None and self._died is None

    def launch(self) -> None:
        """Start a process, on the same machine as the one before if that is still there."""
        if self._actor is None:
            self._actor = _remote_keeper(self.index).remote(self._config, self.index, self.limits)
        path = [entry or os.getcwd() for entry in sys.path]
        self._replies = deque([self._actor.launch.remote(path)])
        self.launches += 1
        self.hung, self.answered, self._died, self._ping = False, 0, None, None

    def ask_to_quit(self) -> None:
        """Let the process close its worlds and end."""
        if self._actor is not None:
            self._actor.ask_to_quit.remote()

    def end(self, grace_s: float = 0.0) -> None:
        """End process and actor."""
        import ray

        actor, self._actor = self._actor, None
        self._replies.clear()
        self.pid, self.memory_bytes = None, 0
        if actor is None or not ray.is_initialized():
            return
        if not self.hung:
            with suppress(ray.exceptions.RayError):
                ray.get(actor.end.remote(grace_s), timeout=grace_s + _LOOK_S)
        ray.kill(actor)

    def cause_of_death(self) -> tuple[FailureKind, str]:
        """Return why the process, or its actor, is gone."""
        died = self._died
        self._replies.clear()
        self.pid, self.memory_bytes = None, 0
        if died is None:
            self.end()
            return "hung", "is kept by a Ray actor that gave no sign of life"
        return died.kind, died.reason

    # -- calls -----------------------------------------------------------------------------------------------------
    @staticmethod
    def pack(method: str, jobs: Sequence[Job]) -> tuple[bytes, int]:
        """Return a call and the number of its jobs."""
        return ProcessWorker.pack(method, jobs), len(jobs)

    def send(self, call: tuple[bytes, int]) -> None:
        """Send one call."""
        self._replies.append(self._actor.call.remote(*call))

    def receive(self) -> tuple[Any, ...] | list[Answer] | None:
        """Return the next message, None when the worker or its actor is gone."""
        import ray

        if self.hung or not self._replies:
            return None
        try:
            reply = ray.get(self._replies.popleft())
        except ray.exceptions.RayError as error:
            # Before its first answer it cannot have been well: who starts a pool is told, instead of trying again.
            kind: FailureKind = "killed" if self.pid is not None or self.launches > 1 else "exited"
            why = textwrap.shorten(str(error), 300, placeholder=" …")
            self._died = _Died(kind, f"lost the Ray actor that kept it: {why}", self.answered)
            self._actor = None
            return None
        if isinstance(reply, _Died):
            self._died = reply
            return None
        self.pid, self.memory_bytes = reply.pid, reply.memory_bytes
        message: tuple[Any, ...] | list[Answer] = pickle.loads(reply.data)
        self.answered += len(message) if isinstance(message, list) else 0
        return message

    def jobs_begun(self) -> int:
        """Return how many jobs the process had begun when it died; those that were answered while it lives."""
        return self.answered if self._died is None else self._died.begun

    def blamed(self) -> int:
        """Return the slot that ran the process out of memory, -1 for none."""
        return -1 if self._died is None else self._died.blamed

    @staticmethod
    def await_any(workers: Iterable[RayWorker], timeout_s: float | None = None) -> list[RayWorker]:
        """Return those that have answered, died or hung; an actor that answers no ping has hung."""
        import ray

        busy = list(workers)
        replies = [w._replies[0] for w in busy]
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = _LOOK_S if until is None else max(0.0, min(_LOOK_S, until - time.monotonic()))
            if ray.wait(replies, num_returns=1, timeout=left)[0]:
                ready = ray.wait(replies, num_returns=len(replies), timeout=0)[0]
                return [w for w in busy if w._replies[0] in ready]
            silent = [w for w in busy if w._silent()]
            for w in silent:
                w.hung = True
            if silent or (until is not None and time.monotonic() >= until):
                return silent

    def _silent(self) -> bool:
        """Return whether the actor, which may well be busy, has not even answered a ping in time."""
        import ray

        if self._ping is not None and ray.wait([self._ping[0]], timeout=0)[0]:
            self._ping = None
        if self._ping is None:
            self._ping = self._actor.ping.remote(), time.monotonic()
        return time.monotonic() - self._ping[1] > self.limits.start_timeout_s


class RayPool(WorkerPool):
    """A :class:`WorkerPool` whose workers Ray spreads over its machines; same arguments, same results.

    It uses the Ray that this process is connected to, else the cluster that ``RAY_ADDRESS`` names, else one it starts on this
    machine, which ends with this process.

    Raises:
        MissingExtraError: Ray is not installed.
        CrossAgentError: The cluster cannot be reached.
    """

    worker_class = RayWorker

    def __init__(self, config: WorldConfig, workers: int, *args: Any, **options: Any) -> None:
        if workers > 0:
            _connect()
        super().__init__(config, workers, *args, **options)


def _connect() -> None:
    """Connect to Ray, or start one that listens on loopback only, without dashboard and without telling anybody."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError("a pool of Ray workers needs the package ray. Fix: pip install 'crossagent[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # what keeps Ray on loopback, on any system
    import ray

    if ray.is_initialized():
        return
    # What is printed on those machines stays in Ray's logs there: Ray would write it into our standard output.
    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    # Ray takes SIGTERM for itself; a run that is told to stop writes a resume point first.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"the cluster at RAY_ADDRESS={address}" if address else "a Ray on this machine"
        raise CrossAgentError(f"rollout.pool: ray cannot use {where}: {error}") from error
    finally:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _remote_keeper(index: int) -> Any:
    """Return the keeper's class as Ray wants it, for one machine after another.

    It asks for no CPU, so that it is never refused a place: how many there are is the recipe's to say. Ray's own ways to spread
    actors (SPREAD, soft affinity) follow what each machine knows of the others, which right after a start is not all.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: str(node["NodeID"]))
    working = [node for node in alive if node["Resources"].get("CPU")] or alive
    place = NodeAffinitySchedulingStrategy(working[index % len(working)]["NodeID"], soft=False)
    remote: Any = ray.remote
    for name in ("ping", "ask_to_quit", "end"):  # answered also while a call runs
        ray.method(concurrency_group="signs")(getattr(Keeper, name))
    return remote(num_cpus=0, scheduling_strategy=place, concurrency_groups={"signs": 1})(Keeper)
