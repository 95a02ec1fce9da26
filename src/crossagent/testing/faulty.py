"""A toy world that breaks on demand, to test that a broken world costs its trajectory and never the run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Literal

from crossagent.envs.base import EnvironmentSpec
from crossagent.testing.toy import ToyWorld, toy_environment
from crossagent.types import Observation, RawTick, Task


class FaultyEnv(ToyWorld):
    """The toy world with one fault.

    Args:
        fault: ``raise`` an error, ``hang`` for an hour, or ``exit`` the process at once (as a crash would).
        at: Where: while the world is built, in ``reset``, in ``observe``, or in a ``tick``.
        tick: The tick of the episode that breaks, counted from 0, when ``at`` is ``tick``.
        seeds: Only episodes with these world seeds break (all when None). Not used when ``at`` is ``build``.
    """

    name = "faulty"

    def __init__(
        self,
        fault: Literal["raise", "hang", "exit"] = "raise",
        at: Literal["build", "reset", "observe", "tick"] = "tick",
        tick: int = 0,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._fault, self._where, self._tick = fault, at, tick
        self._seeds = None if seeds is None else frozenset(seeds)
        self._seed: int | None = None
        if at == "build":
            self._break()

    def _break(self) -> None:
        if self._fault == "exit":
            os._exit(13)
        if self._fault == "hang":
            time.sleep(3600)
        raise RuntimeError(f"faulty world: {self._fault} in {self._where}")

    def _due(self, where: str) -> bool:
        return where == self._where and (self._seeds is None or self._seed in self._seeds)

    def reset(self, task: Task, seed: int) -> Observation:
        """Start an episode, or break."""
        self._seed = seed
        if self._due("reset"):
            self._break()
        return super().reset(task, seed)

    def observe(self) -> Observation:
        """Look, or break."""
        if self._due("observe"):
            self._break()
        return super().observe()

    def tick(self, raw: RawTick) -> None:
        """Advance, or break at the tick that was asked for."""
        if not self.over and self._due("tick") and len(self.tick_log) == self._tick:
            self._break()
        super().tick(raw)


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
