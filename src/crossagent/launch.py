"""One run, several processes: start them, be one of them, and say once why they ended. Loads torch only to start them.

``crossagent run`` of a recipe for several devices starts itself again, once per device, and waits: it speaks torchrun's
protocol (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, …, a store it keeps itself), so every process does the same whoever
started it: this module, torchrun, ``fabric run``, or SLURM's ``srun``, whose variables are translated.

When one process ends badly, the others are told to stop; those that do not are killed. Exactly one message is printed:
that of the process that failed first, not of those that noticed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from crossagent.errors import CrossAgentError

log = logging.getLogger(__name__)
VARIABLES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
PREFIXES = ("TORCHELASTIC_", "LT_")
"""What torchrun sets, and (``LT_``) what ``fabric run`` adds: Lightning and others would act upon them."""
LAUNCHER, ENDINGS = "CROSSAGENT_LAUNCHER", "CROSSAGENT_ENDINGS"
"""Process id of the ``crossagent run`` that started this process; directory in which it wants to find why it ended."""
GRACE_S = 30.0
"""How long the others have to stop when one has ended badly, before they are killed."""
_POLL_S = 0.1
_PATIENCE_S = 20.0
FAILED, USER_ERROR, INTERRUPTED, TERMINATED = 1, 2, 130, 143
"""Exit codes: a bug of ours, the user's to fix, Ctrl-C, SIGTERM after which the same command goes on."""
INTERRUPTION = "interrupted; the same command goes on with the stage that was interrupted"
LOST = "another process of this run is gone, so all have stopped. The same command goes on from the last resume point"
Kind = Literal["error", "stopped", "interrupted", "bug", "lost"]


# -- being one of several ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Launch:
    """This process among those that a launcher started."""

    by: str
    """``crossagent run``, ``torchrun``, ``fabric run`` or ``srun``."""
    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which prints and writes."""
        return self.rank == 0

    @classmethod
    def current(cls, environ: MutableMapping[str, str] = os.environ) -> Launch:
        """Return who started this process; rank 0 of 1 when no launcher did, or one started this process alone.

        Afterwards ``environ`` has torchrun's variables whoever the launcher was, and none where this process is alone.

        Raises:
            CrossAgentError: ``RANK`` or ``WORLD_SIZE``, or their counterparts of SLURM, are not numbers.
        """
        if "RANK" in environ and "WORLD_SIZE" in environ:
            by = "crossagent run" if LAUNCHER in environ else "fabric run" if "LT_CLI_USED" in environ else "torchrun"
            rank, size = _numbers(environ, ("RANK", "WORLD_SIZE"), by)
        elif "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ:  # a batch script by itself is no step
            by, (rank, size) = "srun", _numbers(environ, ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"), "srun")
            if size > 1:
                environ.update(_of_slurm(environ))
        else:
            return cls("", 0, 1)
        gone = PREFIXES[1:] if size > 1 else (*VARIABLES, *PREFIXES)
        for name in [n for n in environ if n.startswith(gone)]:
            del environ[name]
        return cls(by, rank, size)

    # -- why it ended --------------------------------------------------------------------------------------------
    def says(self, kind: Kind, message: str, code: int) -> bool:
        """Return whether this process is the one to print why the run ended; noted for the launcher, if that is ours.

        Args:
            kind: ``lost`` is the weakest: it is said only where nothing else is.
            message: What there is to say.
            code: With which this process will exit.
        """
        if self.size == 1:
            return True
        directory = os.environ.get(ENDINGS)
        if directory is not None and os.getppid() == int(os.environ[LAUNCHER]):
            ending = {"kind": kind, "message": message, "code": code, "time": time.monotonic()}
            with suppress(OSError):
                _write(Path(directory) / f"{self.rank}.json", json.dumps(ending))
            return False
        if kind == "lost":
            time.sleep(1.0)  # whoever knows the cause comes first
        # The store is the launcher's, or rank 0's own: then it is there once rank 0 has come so far, and never if it failed too.
        patience = 0.0 if self.first or kind == "lost" else _PATIENCE_S
        try:
            address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            if not _listens(address, patience):
                return self.first
            from torch.distributed import TCPStore

            store = TCPStore(*address, is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False)
            return bool(store.add("crossagent/said", 1) == 1)
        except Exception:  # it went just now
            return self.first

    def watch_launcher(self) -> None:
        """Stop when the ``crossagent run`` that started this process is gone: as on SIGTERM, and if need be harder."""
        if LAUNCHER in os.environ:
            parent = int(os.environ[LAUNCHER])
            threading.Thread(target=_watch, args=(parent,), daemon=True, name="launcher").start()


def lost_contact(error: BaseException) -> bool:
    """Return whether an error says no more than that another process is gone."""
    if "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    known = tuple(getattr(dist, name) for name in ("DistBackendError", "DistNetworkError", "DistStoreError"))
    text = str(error)
    return isinstance(error, known) or (
        isinstance(error, RuntimeError)
        and re.search(r"gloo|NCCL|Connection (reset|closed) by peer|Broken pipe", text) is not None
    )


def _listens(address: tuple[str, int], patience_s: float) -> bool:
    """Return whether somebody listens there, by then; torch's own attempt would write on standard error."""
    until = time.monotonic() + patience_s
    while True:
        with suppress(OSError), socket.create_connection(address, timeout=2.0):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.5)


def _numbers(environ: Mapping[str, str], names: tuple[str, str], by: str) -> tuple[int, int]:
    try:
        rank, size = (int(environ[name]) for name in names)
    except ValueError as error:
        given = ", ".join(f"{name}={environ[name]!r}" for name in names)
        raise CrossAgentError(
            f"environment: got {given}; expected the numbers that {by} sets. Fix: unset both to start without a launcher"
        ) from error
    return rank, size


def _of_slurm(environ: Mapping[str, str]) -> dict[str, str]:
    """Return torchrun's variables of this task of an ``srun`` step."""
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    per_node = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ["SLURM_STEP_NUM_TASKS"]
    here = int(environ.get("SLURM_NODEID", "0"))
    counts = [
        int(count)
        for part in per_node.split(",")
        for count, _, times in [part.partition("(x")]
        for _ in range(int(times.rstrip(")") or 1))
    ]
    job = int(environ.get("SLURM_JOB_ID", "0")) * 31 + int(environ.get("SLURM_STEP_ID", "0"))
    return {
        "RANK": environ["SLURM_PROCID"],
        "WORLD_SIZE": environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environ.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": str(counts[here] if here < len(counts) else counts[0]),
        "GROUP_RANK": str(here),
        "MASTER_ADDR": environ.get("MASTER_ADDR") or _first_host(nodes),
        "MASTER_PORT": environ.get("MASTER_PORT") or str(15000 + job % 10000),
        "TORCHELASTIC_RUN_ID": f"slurm-{environ.get('SLURM_JOB_ID', '0')}",
    }


def _first_host(nodes: str) -> str:
    """Return the first host of SLURM's notation, e.g. ``gpu[07-09,12],login`` → ``gpu07``."""
    first = re.match(r"([^,\[]*)(?:\[([^,\-\]]*)[^\]]*\])?([^,\[]*)", nodes)
    return "".join(part or "" for part in first.groups()) if first else nodes


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def _write(path: Path, text: str) -> None:
    whole = path.with_suffix(".tmp")
    whole.write_text(text, encoding="utf-8")
    os.replace(whole, path)


# -- starting several -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Ending:
    """How the processes of a run ended."""

    code: int
    """Exit code of the whole."""
    message: str = ""
    """What to say; may be empty."""
    bug: bool = False
    """The message is a traceback."""


class Processes(Protocol):
    """What the launcher reads of a recipe's ``trainer``."""

    devices: int
    num_nodes: int


def command_line(words: Sequence[str], wanted: Processes) -> str:
    """Return the command that starts ``crossagent WORDS`` on a recipe's devices, on each of its machines."""
    command = f"-m crossagent {shlex.join(words)}"
    if wanted.num_nodes > 1:
        each = f"--nnodes {wanted.num_nodes} --nproc-per-node {wanted.devices}"
        return f"torchrun {each} --rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29500 {command}"
    if wanted.devices > 1:
        return f"torchrun --standalone --nproc-per-node {wanted.devices} {command}"
    return f"crossagent {shlex.join(words)}"


def start(words: Sequence[str], wanted: Processes) -> Ending:
    """Run ``crossagent WORDS`` in as many processes as a recipe has devices; see :func:`supervise`.

    Raises:
        CrossAgentError: The recipe wants several machines, on which this command can start nothing.
    """
    if wanted.num_nodes > 1:
        raise CrossAgentError(
            f"trainer.num_nodes: got {wanted.num_nodes}; this command starts processes on this machine only. Fix: start it on "
            f"each machine with `{command_line(words, wanted)}`, or by srun under SLURM (recipes/slurm/run.sbatch)"
        )
    return supervise([sys.executable, "-m", "crossagent", *words], wanted.devices)


def supervise(command: Sequence[str], processes: int) -> Ending:
    """Run a command in several processes of this machine that know each other, and wait until all of them are gone.

    Ctrl-C and SIGTERM are passed on, and mean what they mean to one process; a second one kills. Where one process fails
    the others get SIGTERM, and SIGKILL after ``GRACE_S`` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="crossagent-") as endings, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(max(128, 2 * processes))
        asked: list[int] = []
        before = {number: signal.signal(number, lambda n, _: asked.append(n)) for number in _PASSED_ON}
        group = _Group(list(command), processes, endings, listener.getsockname()[1])
        try:
            store = _store(listener)  # the processes, which take longer to load, wait for it in the listener's queue
            group.wait(asked)
            del store
        finally:
            group.kill()
            for number, handler in before.items():
                signal.signal(number, handler)
        return group.ending(asked)


_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _store(listener: socket.socket) -> Any:
    """Return the store at which the processes meet: on loopback only, on a port that nobody can take meanwhile."""
    from torch.distributed import TCPStore

    host, port = listener.getsockname()
    return TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())


class _Group:
    """The processes of one run."""

    def __init__(self, command: list[str], size: int, endings: str, port: int) -> None:
        self.endings, self.size = Path(endings), size
        self.first: dict[int, int] = {}
        """Exit codes of those that had ended badly when that was first seen."""
        shared = {
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "GROUP_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": f"crossagent-{os.getpid()}",
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is here, so it outlives rank 0
            "TORCHELASTIC_RESTART_COUNT": "0",
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo"),
            LAUNCHER: str(os.getpid()),
            ENDINGS: endings,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(size):
                env = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                # In a session of its own: Ctrl-C on a terminal reaches us alone, and we pass it on once.
                self.processes.append(subprocess.Popen(command, env=env, start_new_session=True))
        except BaseException:
            self.kill()
            raise

    def wait(self, asked: list[int]) -> None:
        """Return when all have ended, by themselves or not."""
        passed_on, deadline = 0, float("inf")
        while any(code is None for code in self._codes()):
            codes = self._codes()
            if not self.first and any(codes):
                self.first = {rank: code for rank, code in enumerate(codes) if code}
                deadline = time.monotonic() + GRACE_S
                if not asked:
                    self._signal(signal.SIGTERM)
            if len(asked) > passed_on:
                self._signal(signal.SIGKILL if passed_on else asked[0])
                passed_on = len(asked)
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            time.sleep(_POLL_S)
        self.first = self.first or {rank: code for rank, code in enumerate(self._codes()) if code}

    def kill(self) -> None:
        """End what is left."""
        self._signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()

    def ending(self, asked: Sequence[int]) -> Ending:
        """Return how it all ended: as the first process that failed did, or as the user asked."""
        if not any(self._codes()):
            return Ending(0)
        said = [self._said(rank) for rank in self.first]
        for kind in ("stopped", "error"):
            for one in sorted((one for one in said if one.get("kind") == kind), key=lambda one: one["time"]):
                return Ending(one["code"], one["message"])
        if asked:
            stopped = signal.Signals(asked[0]).name
            if asked[0] == signal.SIGINT:
                return Ending(INTERRUPTED, INTERRUPTION)
            return Ending(128 + asked[0], f"stopped by {stopped}; the same command goes on with what was interrupted")
        killed = {rank: code for rank, code in self.first.items() if code < 0}
        if killed:
            rank, code = min(killed.items())
            return Ending(
                128 - code,
                f"process {rank} of {self.size} (pid {self.processes[rank].pid}) was killed by {_name(-code)}, so all were "
                f"stopped.{_HINTS.get(-code, '')} The same command goes on from the last resume point",
            )
        for kind in ("interrupted", "bug", "lost"):
            for one in sorted((one for one in said if one.get("kind") == kind), key=lambda one: one["time"]):
                return Ending(one["code"], one["message"], kind == "bug")
        rank, code = min(self.first.items())
        return Ending(code, f"process {rank} of {self.size} ended with exit code {code}, and did not say why")

    def _codes(self) -> list[int | None]:
        return [process.poll() for process in self.processes]

    def _signal(self, number: int) -> None:
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(number)

    def _said(self, rank: int) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads((self.endings / f"{rank}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said


_HINTS: Mapping[int, str] = {signal.SIGKILL: " If nobody did it, the machine ran out of memory."}


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
