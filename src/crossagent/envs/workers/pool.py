"""The pool of worlds: workers with several worlds each, one message per worker and call, any number of calls under way.

An episode's world may raise, hang, exit, be killed or fill the memory. That costs the job at fault as an
:class:`EnvFailure`; the worker is replaced and the run goes on. An episode whose world is gone is never continued in a
fresh one: its slot refuses ``act`` until ``reset``. Methods that need no episode (``reset``, ``demonstrate``, ``lower``)
are simply run again when they were in the same worker as the one at fault.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from crossagent.envs.workers.failures import EnvFailure, FailureKind, failure
from crossagent.envs.workers.process import Limits, ProcessWorker
from crossagent.envs.workers.server import Answer, Beat, Job, WorkerWorlds
from crossagent.envs.world import Described, WorldConfig
from crossagent.errors import CrossAgentError, PluginError

__all__ = ["EnvFailure", "FailureKind", "Health", "Job", "PendingCalls", "Worker", "WorkerPool"]

logger = logging.getLogger(__name__)

_NEEDS_EPISODE = frozenset({"act"})
_ENDS_EPISODE = frozenset({"demonstrate", "replay", "lower", "alternatives"})
_START_TRIES = 5
"""So often in a row a worker may die without having begun a job; then what it was sent is given up, or the run."""
_BACK_OFF_S, _LONGEST_BACK_OFF_S = 0.1, 10.0


class PendingCalls:
    """Jobs under way. ``results`` are in the order of the jobs; complete when ``done``."""

    def __init__(self, method: str, jobs: Sequence[Job]) -> None:
        self.method, self.jobs = method, list(jobs)
        self.results: list[Any] = [None] * len(jobs)
        self._left = len(jobs)

    @property
    def done(self) -> bool:
        """Whether every job has a result."""
        return self._left == 0

    def settle(self, index: int, result: Any) -> None:
        """Take the result of one job."""
        self.results[index] = result
        self._left -= 1


class Worker(Protocol):
    """What a pool asks of a worker, wherever its process is."""

    index: int
    limits: Limits
    launches: int
    answered: int
    """Jobs that the process which runs now has answered."""

    def __init__(self, config: WorldConfig, index: int, limits: Limits) -> None: ...

    @property
    def running(self) -> bool:
        """Whether there is a process, as far as is known."""

    @property
    def pid(self) -> int | None:
        """Of the process, on its machine."""

    @property
    def memory_bytes(self) -> int:
        """Resident memory at its last look."""

    def launch(self) -> None:
        """Start a process; return at once. Its first answer says that it is ready."""

    def ask_to_quit(self) -> None:
        """Let it close its worlds and end, when it is done with what it was sent."""

    def end(self, grace_s: float = 0.0) -> None:
        """End it, with what it started; within ``grace_s`` it may end by itself. Idempotent."""

    def cause_of_death(self) -> tuple[FailureKind, str]:
        """End what is left of it and return why it is gone."""

    @staticmethod
    def pack(method: str, jobs: Sequence[Job]) -> Any:
        """Return a call as :meth:`send` takes it; raises what pickling raises."""

    def send(self, call: Any) -> None:
        """Send one call; that the worker is gone is for :meth:`await_any` to find."""

    def receive(self) -> tuple[Any, ...] | list[Answer] | None:
        """Return the next message: that it is ready or why not, or the answers of one call; None when it is dead or hung."""

    def jobs_begun(self) -> int:
        """Return how many jobs this process has begun; the last is the one at fault when it died in a job."""

    def blamed(self) -> int:
        """Return the slot that ran the process out of memory, -1 for none."""

    @staticmethod
    def await_any(workers: Iterable[Any], timeout_s: float | None = None) -> list[Any]:
        """Return those of busy workers that have answered, died or hung, in order; none only after ``timeout_s``."""


@dataclass(frozen=True, slots=True)
class Health:
    """One worker, as it is now."""

    worker: int
    pid: int | None
    """None while it is being replaced."""
    ready: bool
    jobs: int
    """Answered since it was last started."""
    restarts: int
    memory_mb: float
    """Resident, at its last look."""


@dataclass
class _Batch:
    """Jobs of one call that go to one worker in one message."""

    call: PendingCalls
    indices: list[int]
    packed: Any

    @property
    def jobs(self) -> list[Job]:
        return [self.call.jobs[i] for i in self.indices]


@dataclass
class _Line:
    """One worker, and what it is to do."""

    worker: Worker
    waiting: deque[_Batch] = field(default_factory=deque)
    sent: deque[_Batch] = field(default_factory=deque)
    ready: bool = False
    """The process that runs now has built a world."""
    proven: bool = False
    """One of its processes had."""
    deaths: int = 0
    """Since it last answered."""
    idle_deaths: int = 0
    """Since it last began a job."""
    not_before: float = 0.0
    """Monotonic seconds at which it may be started again."""


class WorkerPool:
    """Worlds in worker processes, addressed by slot. A context manager; the workers also end when this process does.

    Args:
        config: What every world is built from.
        workers: Number of processes; 0 keeps the worlds in this process (for tests and debuggers: a hang then hangs).
        worlds_per_worker: Worlds in each process, built when their slot is first used.
        timeout_s: A turn that takes longer has hung; a call of many turns may take longer.
        start_timeout_s: How long a worker may take to build its first world.
        reset_timeout_s: How long the start of an episode may take; None: ``timeout_s``.
        memory_mb: Resident MiB of a worker beyond which it is replaced; 0: no limit.
        retries: How often the turn loop begins an episode again that was lost to the infrastructure.
        max_failed: Share of the episodes of one iteration that may be lost; more abort the run.

    Raises:
        PluginError: The environment or a space cannot be built.
    """

    worker_class: type[Worker] = ProcessWorker

    def __init__(
        self,
        config: WorldConfig,
        workers: int,
        worlds_per_worker: int,
        timeout_s: float,
        start_timeout_s: float = 120.0,
        *,
        reset_timeout_s: float | None = None,
        memory_mb: int = 0,
        retries: int = 3,
        max_failed: float = 1.0,
    ) -> None:
        if workers < 0 or worlds_per_worker < 1 or timeout_s <= 0:
            raise CrossAgentError(
                f"rollout: got workers={workers}, worlds_per_worker={worlds_per_worker}, timeout_s={timeout_s}; "
                "expected workers ≥ 0, worlds_per_worker ≥ 1, timeout_s > 0."
            )
        self.config, self.timeout_s = config, timeout_s
        self.retries, self.max_failed = retries, max_failed
        self.slots = max(workers, 1) * worlds_per_worker
        """Number of worlds; slots are 0 … slots − 1."""
        self.failures: Counter[str] = Counter()
        """Failed jobs so far, by kind."""
        self._episodes: dict[int, tuple[str, int]] = {}
        self._gone: dict[int, EnvFailure] = {}
        self._local: WorkerWorlds | None = None
        limits = Limits(timeout_s, reset_timeout_s or timeout_s, start_timeout_s, memory_mb)
        self._lines = [_Line(self.worker_class(config, index, limits)) for index in range(workers)]
        self._finalizer = weakref.finalize(self, _end_all, [line.worker for line in self._lines], os.getpid())
        try:
            for line in self._lines:
                line.worker.launch()
            while any(not line.ready for line in self._lines):
                self._look([line for line in self._lines if not line.ready])
            if not workers:
                self._local = WorkerWorlds(config, Beat(None, timeout_s, timeout_s))
        except BaseException:
            self.close()
            raise

    # -- how it is -------------------------------------------------------------------------------------------------
    @property
    def restarts(self) -> int:
        """How often a worker was replaced."""
        return sum(line.worker.launches - 1 for line in self._lines if line.worker.launches)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run now."""
        return tuple(line.worker.pid for line in self._lines if line.worker.pid is not None)

    def health(self) -> list[Health]:
        """Return how each worker is."""
        return [
            Health(w.index, w.pid, line.ready, w.answered, max(0, w.launches - 1), w.memory_bytes / 2**20)
            for line in self._lines
            for w in [line.worker]
        ]

    def lost(self, slot: int) -> EnvFailure | None:
        """Return, once, why the episode in a slot cannot go on, if that is known already; its next ``act`` says it too."""
        known = self._gone.pop(slot, None)
        return None if known is None else self._count(known)

    # -- calls -----------------------------------------------------------------------------------------------------
    def call(self, method: str, slot: int, *args: Any) -> Any:
        """PendingCalls one method of one world; see :meth:`call_many`."""
        return self.call_many(method, [(slot, args)])[0]

    def spread(self, method: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        """PendingCalls a method that needs no episode once for each ``args``, spread over all worlds; results in that order."""
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
        return self.finish(self.submit(method, jobs))

    def submit(self, method: str, jobs: Sequence[Job]) -> PendingCalls:
        """Begin what :meth:`call_many` does and return at once. A worker does what it is sent in that order.

        Raises:
            Exception: An argument cannot be pickled; then nothing was sent.
        """
        call = PendingCalls(method, jobs)
        batches: dict[int, list[int]] = {}
        for index, (slot, _) in enumerate(jobs):
            if not 0 <= slot < self.slots:
                raise IndexError(f"slot {slot} of a pool with {self.slots} worlds")
            if method in _NEEDS_EPISODE and slot not in self._episodes:
                call.settle(index, self.lost(slot) or _refused())
            else:
                batches.setdefault(slot % len(self._lines) if self._lines else 0, []).append(index)
        if self._local is not None:
            for index in batches.get(0, []):
                call.settle(index, self._result(method, jobs[index], self._local.run(method, *jobs[index])))
            return call
        packed = {w: self.worker_class.pack(method, [call.jobs[i] for i in indices]) for w, indices in batches.items()}
        for w, indices in batches.items():
            self._lines[w].waiting.append(_Batch(call, indices, packed[w]))
            self._send(self._lines[w])
        return call

    def finish(self, call: PendingCalls) -> list[Any]:
        """Wait for a call and return its results.

        Raises:
            PluginError: A worker that it needs cannot be started any more.
        """
        self.wait([call], every=True)
        return call.results

    def wait(self, calls: Sequence[PendingCalls], every: bool = False) -> list[PendingCalls]:
        """Wait until one of ``calls`` (or every one) is done; return those that are, in their order."""
        try:
            while not (all if every else any)(call.done for call in calls):
                busy = [line for line in self._lines if line.sent or line.waiting]
                if not busy:
                    raise RuntimeError("a call was abandoned when another one was interrupted")
                self._look(busy)
            if not every:  # what has arrived besides
                while self._look([line for line in self._lines if line.sent], 0.0):
                    pass
            return [call for call in calls if call.done]
        except BaseException:
            # Answers of an abandoned call must never be taken for those of the next one.
            for line in self._lines:
                if line.sent or line.waiting:
                    self._forget(line, None)
                    line.sent.clear()
                    line.waiting.clear()
                    line.worker.end()
                    line.ready = False
            raise

    def close(self) -> None:
        """End the workers and reap them. Idempotent."""
        if self._local is not None:
            self._local.close()
            self._local = None
        for line in self._lines:
            if line.ready:
                line.worker.ask_to_quit()
        for line in self._lines:
            line.worker.end(grace_s=2.0 if line.ready and not line.sent else 0.0)
            line.ready = False
        self._episodes.clear()
        self._finalizer.detach()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------------------------------------------
    def _look(self, lines: Sequence[_Line], patience_s: float | None = None) -> bool:
        """Wait until something happens to one of these lines, and act on it; return whether anything did."""
        now = time.monotonic()
        for line in lines:
            if not line.worker.running and line.not_before <= now:
                line.worker.launch()
                self._send(line)
        running = {line.worker.index: line for line in lines if line.worker.running}
        pauses = [max(0.0, line.not_before - now) for line in lines if not line.worker.running]
        pauses += [] if patience_s is None else [patience_s]
        if not running:
            time.sleep(min(pauses, default=0.0))
            return False
        workers = [line.worker for line in running.values()]
        heard = self.worker_class.await_any(workers, min(pauses, default=None))
        for worker in heard:
            self._hear(running[worker.index])
        return bool(heard)

    def _hear(self, line: _Line) -> None:
        message = line.worker.receive()
        if message is None:
            self._bury(line)
        elif isinstance(message, tuple):
            if message[0] != "ok":
                line.worker.end()
                self._bury(line, ("raised", message[1]))
            else:
                line.ready = line.proven = True
        else:
            line.deaths = line.idle_deaths = 0
            batch = line.sent.popleft()
            for index, answer in zip(batch.indices, message, strict=True):
                batch.call.settle(index, self._result(batch.call.method, batch.call.jobs[index], answer))

    def _send(self, line: _Line) -> None:
        while line.waiting and line.worker.running:
            batch = line.waiting.popleft()
            line.sent.append(batch)
            line.worker.send(batch.packed)

    def _bury(self, line: _Line, cause: tuple[FailureKind, str] | None = None) -> None:
        """Note what a dead worker cost, and let it be replaced; what needs no episode is done again by the new one."""
        worker = line.worker
        begun = worker.jobs_begun() - worker.answered
        kind, reason = cause or worker.cause_of_death()
        blamed = worker.blamed() if kind == "memory" else -1
        line.deaths += 1
        line.idle_deaths = line.idle_deaths + 1 if begun == 0 and blamed < 0 else 0
        hopeless = line.idle_deaths >= _START_TRIES
        if not line.ready and (hopeless or (not line.proven and kind != "killed")):
            built = f"built no world within {worker.limits.start_timeout_s:g} s"
            raise self._cannot_start(built if kind == "hung" else reason)
        jobs = [(batch, index) for batch in line.sent for index in batch.indices]
        culprit = jobs[begun - 1] if 0 < begun <= len(jobs) else None
        if blamed >= 0:
            culprit = next((job for job in jobs if job[0].call.jobs[job[1]][0] == blamed), None)
        where, who = "between jobs", ""
        if culprit is not None:
            method, job = culprit[0].call.method, culprit[0].call.jobs[culprit[1]]
            task, seed = self._whose(method, job)
            where, who = f"in {method} of task {task!r}, seed {seed}", f" in {task!r}, seed {seed}"
            self._give_up(*culprit, failure(kind, reason, task, seed))
        elif blamed in self._episodes:
            task, seed = self._episodes.pop(blamed)
            where, who = f"by task {task!r}, seed {seed}", f" in {task!r}, seed {seed}"
            self._gone[blamed] = failure(kind, reason, task, seed)
        lost, again = f"its worker {reason}{who}", []
        for batch in line.sent:
            left = [index for index in batch.indices if (batch, index) != culprit]
            method, jobs_of = batch.call.method, batch.call.jobs
            if method in _NEEDS_EPISODE or hopeless:
                for index in left:
                    self._give_up(batch, index, failure("lost", lost, *self._whose(method, jobs_of[index])))
            elif left:
                again.append(_Batch(batch.call, left, worker.pack(method, [jobs_of[i] for i in left])))
        line.sent.clear()
        line.waiting.extendleft(reversed(again))
        self._forget(line, lost)
        line.ready = False
        delay = 0.0 if line.deaths == 1 else min(_BACK_OFF_S * 2 ** (line.deaths - 2), _LONGEST_BACK_OFF_S)
        line.not_before = time.monotonic() + delay
        logger.warning("environment worker %d %s %s; it is replaced", worker.index, reason, where)
        if not delay:
            worker.launch()
            self._send(line)

    def _give_up(self, batch: _Batch, index: int, found: EnvFailure) -> None:
        self._episodes.pop(batch.call.jobs[index][0], None)
        batch.call.settle(index, self._count(found))

    def _forget(self, line: _Line, reason: str | None) -> None:
        """End the episodes of a worker; with a reason, their next turn tells it."""
        for slot in [s for s in self._episodes if s % len(self._lines) == line.worker.index]:
            task, seed = self._episodes.pop(slot)
            if reason is not None:
                self._gone[slot] = failure("lost", reason, task, seed)

    def _whose(self, method: str, job: Job) -> tuple[str, int]:
        slot, args = job
        if method in _NEEDS_EPISODE:
            return self._episodes.get(slot, ("", -1))
        return (args[0].name, int(args[1])) if len(args) > 1 else ("", -1)

    def _result(self, method: str, job: Job, answer: tuple[Any, ...]) -> Any:
        """Turn a worker's answer into a result, and keep the books on which slots have an episode."""
        slot, _ = job
        whose = self._whose(method, job)
        self._gone.pop(slot, None)
        if answer[0] == "ok":
            if method == "reset":
                self._episodes[slot] = whose
            elif method in _ENDS_EPISODE or (method == "act" and (answer[1].terminated or answer[1].truncated)):
                self._episodes.pop(slot, None)
            return answer[1]
        kind, reason, detail, fault = answer
        self._episodes.pop(slot, None)
        found = self._count(EnvFailure(kind, reason, *whose, detail, fault))
        logger.warning("%s of a world %s; fault of the %s", method, found, fault)
        logger.debug("%s", detail)
        return found

    def _count(self, found: EnvFailure) -> EnvFailure:
        self.failures[found.kind] += 1
        return found

    def _cannot_start(self, reason: str) -> PluginError:
        what = ", ".join(self.config.space_names)
        return PluginError(
            f"environment {self.config.env.name!r} with spaces {what} cannot start in a worker: {reason}. "
            "Use rollout.workers=0 to see it in this process."
        )


def _refused() -> EnvFailure:
    return failure("refused", "no episode is going on in this world; reset it", "", -1)


def _end_all(workers: list[Worker], owner: int) -> None:
    if os.getpid() == owner:  # a fork of the parent (a data loader's, say) does not own them
        for worker in workers:
            worker.end()
