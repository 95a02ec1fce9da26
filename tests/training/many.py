"""Functions run by N processes that know each other as torchrun's would: ``run(directory, [Call(2, "module:function"), …])``.

One Python imports what all calls need; each rank of each call is a fork of it, so that a call costs no start. Run as a
program, ``python many.py DIRECTORY``, it is that process: it reads DIRECTORY/calls.json and leaves, per call and rank, a file.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Call:
    """``function`` (``module:name``, in this directory) of ``arguments``, by ``processes`` ranks at once."""

    processes: int
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """What JSON can write."""
    timeout: float = 300.0
    """Seconds after which whoever is left is killed."""


@dataclass(frozen=True)
class Ended:
    """How one rank ended."""

    status: int
    """0, or 1 after an exception, or minus the signal that killed it."""
    value: Any
    """What the function returned, through JSON."""
    error: str
    """The traceback, if it raised."""
    seconds: float
    """From the start of the call."""


def run(directory: Path, calls: list[Call]) -> list[list[Ended]]:
    """Return how every rank of every call ended; calls are made one after the other."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "calls.json").write_text(json.dumps([asdict(call) for call in calls]))
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    limit = 120 + sum(call.timeout for call in calls)
    done = subprocess.run(
        [sys.executable, __file__, str(directory)], env=env, capture_output=True, text=True, timeout=limit
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [
        [Ended(**json.loads((directory / f"{number}.{rank}.json").read_text())) for rank in range(call.processes)]
        for number, call in enumerate(calls)
    ]


def values(ended: list[Ended]) -> list[Any]:
    """Return what every rank returned; fails with the traceback of the first that raised or was killed."""
    for rank, one in enumerate(ended):
        assert one.status == 0, f"rank {rank} ended with {one.status} after {one.seconds:.0f} s\n{one.error}"
    return [one.value for one in ended]


# -- the process that forks -----------------------------------------------------------------------------------------------
def _main(directory: Path) -> None:
    calls = [Call(**call) for call in json.loads((directory / "calls.json").read_text())]
    for call in calls:
        importlib.import_module(call.function.partition(":")[0])
    for number, call in enumerate(calls):
        _together(directory, number, call)


def _together(directory: Path, number: int, call: Call) -> None:
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(call.processes),
        "LOCAL_WORLD_SIZE": str(call.processes),
    }
    begun, running = time.monotonic(), {}
    for rank in range(call.processes):
        child = os.fork()
        if not child:
            os.environ |= {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            _child(directory / f"{number}.{rank}", call)
        running[child] = rank
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            if time.monotonic() - begun > call.timeout:
                for late in running:
                    os.kill(late, signal.SIGKILL)
            time.sleep(0.02)
            continue
        place = directory / f"{number}.{running.pop(child)}"
        result, error = place.with_suffix(f"{place.suffix}.value"), place.with_suffix(f"{place.suffix}.error")
        ended = Ended(
            os.waitstatus_to_exitcode(status),
            json.loads(result.read_text()) if result.exists() else None,
            error.read_text() if error.exists() else "",
            time.monotonic() - begun,
        )
        place.with_suffix(f"{place.suffix}.json").write_text(json.dumps(asdict(ended)))


def _child(place: Path, call: Call) -> None:
    try:
        module, _, name = call.function.partition(":")
        value = getattr(importlib.import_module(module), name)(**call.arguments)
        place.with_suffix(f"{place.suffix}.value").write_text(json.dumps(value))
        os._exit(0)
    except BaseException:
        place.with_suffix(f"{place.suffix}.error").write_text(traceback.format_exc())
        os._exit(1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
