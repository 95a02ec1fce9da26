"""The slot for learned low-level policies: what a motion or a grounded action does, tick by tick.

OpenHA's own are a motion policy and ROCKET-1 over SAM-2 masks. One is named by an option of the space,
``spaces: {motion: {options: {policy: "my_package:MyPolicy"}}}``; the factory is called without arguments, once per process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from crossagent.plugin import Control, Environment, Observation, RawTick
from crossagent_openha import raw


@dataclass(frozen=True, slots=True)
class Goal:
    """What a policy is asked to do."""

    words: str
    """A motion as OpenHA's motion policy reads it (``move forward,attack/mine``), or the verb of a grounded action."""
    label: str = ""
    """What the point is on, e.g. ``oak log``."""
    points: tuple[tuple[int, int], ...] = ()
    """Of a grounded action: (x, y) in thousandths of the screen."""


Step = Callable[[Observation], RawTick | Mapping[str, Any]]
"""Observation → the next tick: a :class:`RawTick`, or MineRL's action dict."""


class LowLevelPolicy(Protocol):
    """Does one action at a time. Its memory lasts as long as the action, so that one state and one action make one future."""

    def begin(self, goal: Goal) -> Step:
        """Return what is called once per tick of the action; deterministic."""


def load(name: str) -> LowLevelPolicy:
    """Build the policy that an option names.

    Raises:
        ValueError: There is no such module or factory, or what it builds has no ``begin``.
    """
    module, colon, factory = name.partition(":")
    if not colon:
        raise ValueError(f"policy: got {name!r}; expected 'module:factory'")
    try:
        policy: LowLevelPolicy = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"policy: {name!r} cannot be imported: {error}") from error
    if not callable(getattr(policy, "begin", None)):
        raise ValueError(f"policy: {name!r} built a {type(policy).__name__} without begin(goal)")
    return policy


def follow(policy: LowLevelPolicy, goal: Goal, env: Environment, ticks: int) -> None:
    """Let a policy act for so many ticks, fewer when the episode ends."""
    control: Control = env.interface("control")
    step = policy.begin(goal)
    for _ in range(ticks):
        if env.over:
            return
        camera, keys, buttons = raw.of_tick(step(env.observe()))
        control.step(keys, buttons, camera)
