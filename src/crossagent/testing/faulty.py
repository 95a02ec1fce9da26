"""A toy world that breaks on demand, to test that a broken world costs its trajectory and never the run."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from crossagent.envs.base import EnvironmentSpec
from crossagent.testing.toy import ToyWorld, toy_environment
from crossagent.types import Observation, RawTick, Task

Fault = Literal["raise", "hang", "exit", "kill", "garbage", "leak"]
_LEAK_BYTES = 48 << 20
_leaked: list[bytes] = []


class FaultyEnv(ToyWorld):
    """The toy world with one fault, or with all of them now and then.

    Args:
        fault: ``raise`` an error, ``hang`` for an hour, ``exit`` the process at once, ``kill`` it (SIGKILL), give ``garbage``
            for an observation, or ``leak`` 48 MiB with each tick from then on.
        at: Where: while the world is built, in ``reset``, in ``observe``, or in a ``tick``.
        tick: The tick of the episode that breaks, counted from 0, when ``at`` is ``tick``.
        seeds: Only episodes with these world seeds break (all when None). Not used when ``at`` is ``build``.
        storm: Instead: each fault strikes this share of all world seeds, in one of the first ``tick`` + 1 ticks.
        tick_s: Seconds a tick takes.
        signed: Observations end with the name of their episode in this world, new with every reset.
    """

    name = "faulty"

    def __init__(
        self,
        fault: Fault = "raise",
        at: Literal["build", "reset", "observe", "tick"] = "tick",
        tick: int = 0,
        seeds: Sequence[int] | None = None,
        storm: float = 0.0,
        tick_s: float = 0.0,
        signed: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._fault, self._where, self._tick = fault, at, tick
        self._storm, self._latest, self._tick_s, self._signed = storm, tick, tick_s, signed
        self._garbage, self._leaking, self._name = False, False, ""
        self._seeds = None if seeds is None else frozenset(seeds)
        self._seed: int | None = None
        if at == "build":
            self._break()

    def _break(self) -> None:
        if self._fault == "exit":
            os._exit(13)
        if self._fault == "hang":
            time.sleep(3600)
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault == "garbage":
            self._garbage = True
            return
        if self._fault == "leak":
            self._leaking = True
            return
        raise RuntimeError(f"faulty world: {self._fault} in {self._where}")

    def _due(self, where: str) -> bool:
        return where == self._where and (self._seeds is None or self._seed in self._seeds)

    def reset(self, task: Task, seed: int) -> Observation:
        """Start an episode, or break."""
        self._seed, self._name = seed, uuid.uuid4().hex
        self._garbage = self._leaking = False
        if self._storm:
            fault, self._tick = storm_of(seed, self._storm, self._latest)
            self._fault, self._seeds = fault or "raise", frozenset([seed] if fault else [])
        if self._due("reset"):
            self._break()
        return super().reset(task, seed)

    def observe(self) -> Observation:
        """Look, or break."""
        if self._due("observe"):
            self._break()
        if self._garbage:
            return "no observation"  # type: ignore[return-value]
        seen = super().observe()
        return replace(seen, text=f"{seen.text} {self._name}") if self._signed else seen

    def tick(self, raw: RawTick) -> None:
        """Advance, or break at the tick that was asked for."""
        if not self.over and self._due("tick") and len(self.tick_log) == self._tick:
            self._break()
        if self._leaking:
            _leaked.append(b"." * _LEAK_BYTES)
        if self._tick_s:
            time.sleep(self._tick_s)
        super().tick(raw)


def storm_of(seed: int, share: float, latest: int) -> tuple[Fault | None, int]:
    """Return (the fault that strikes an episode of this world seed, or None; its tick)."""
    draw = random.Random(f"storm/{seed}")
    kinds: tuple[Fault, ...] = get_args(Fault)
    kind = int(draw.random() / share)
    return (kinds[kind] if kind < len(kinds) else None), draw.randint(0, latest)


def faulty_environment() -> EnvironmentSpec:
    """Return the spec of the faulty toy world; its options are the arguments of :class:`FaultyEnv`."""
    toy = toy_environment()
    return EnvironmentSpec(
        name="faulty",
        version=toy.version,
        interfaces=toy.interfaces,
        factory="crossagent.testing.faulty:FaultyEnv",
        suite=toy.suite,
        experts=toy.experts,
        doc="The toy world with a fault on demand.",
    )
