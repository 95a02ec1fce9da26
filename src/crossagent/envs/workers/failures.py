"""What can break under an episode, whose fault it is, and what that decides.

==============  =====================================================================  ==========================
whose           what                                                                   then
==============  =====================================================================  ==========================
task            its set-up raised: it would again, from the same seed                  the episode is dropped
space           an action space raised: reading, executing or pricing an action        the episode is dropped
environment     the world raised, hung, exited, crashed, ran over its memory or gave   the episode is dropped
                what no world may give
infrastructure  the process was killed from outside, or went down with another world   begun again, a few times
==============  =====================================================================  ==========================

A worker that cannot be started again, and an iteration in which too large a share of the episodes is lost, abort the run.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

from crossagent.types import Event, Observation

FailureKind = Literal["raised", "garbage", "hung", "exited", "crashed", "memory", "killed", "lost", "refused"]
Fault = Literal["task", "space", "environment", "infrastructure"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
_BY_KIND: Mapping[FailureKind, Fault] = MappingProxyType(
    {"killed": "infrastructure", "lost": "infrastructure", "refused": "infrastructure"}
)
RETRIED: frozenset[Fault] = frozenset({"infrastructure"})
"""Faults after which an episode is begun again from its seed, in a fresh world."""


class Garbage(Exception):
    """A world or a space gave what the contract does not allow."""

    def __init__(self, message: str, fault: Fault = "environment") -> None:
        super().__init__(message)
        self.fault: Fault = fault


class WorldLost(RuntimeError):
    """What a world lives in beside its own process (a browser, a server) was killed from outside, or went down because of another
    world. A world raises it, in ``reset`` too; the episode is begun again in a fresh one, a few times at most.
    """


@dataclass(frozen=True, slots=True)
class EnvFailure:
    """Why a job has no result. Data, not an exception: a broken episode is dropped or begun again, and counted."""

    kind: FailureKind
    """``raised`` · ``garbage`` (gave what the contract does not allow) · ``hung`` (no sign of life until the deadline) ·
    ``exited`` · ``crashed`` (by a signal of its own making, e.g. SIGSEGV) · ``memory`` (its process ran over the limit) ·
    ``killed`` (by a signal from outside) · ``lost`` (went down with its process, through no fault of its own) · ``refused``
    (``act`` without a living episode)."""
    reason: str
    task: str
    seed: int
    detail: str = ""
    """The traceback, where there is one."""
    fault: Fault = "environment"
    """Whose it is."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason} (task {self.task!r}, seed {self.seed})"

    @property
    def retried(self) -> bool:
        """Whether the episode is worth beginning again."""
        return self.fault in RETRIED


def failure(kind: FailureKind, reason: str, task: str, seed: int) -> EnvFailure:
    """Return a failure that its kind tells the fault of."""
    return EnvFailure(kind, reason, task, seed, fault=_BY_KIND.get(kind, "environment"))


def whose(error: BaseException, environment: type, spaces: Mapping[str, type], starting: bool) -> Fault:
    """Return whose fault an exception is.

    The frame nearest to the error that is code of the environment's or of a space's package decides; code that neither
    brings (a library, the core) was called by one of them.

    Args:
        error: As it was caught.
        environment: The environment's class.
        spaces: The spaces' classes, by name.
        starting: Whether the world was being reset.
    """
    if isinstance(error, Garbage):
        return error.fault
    if isinstance(error, WorldLost):
        return "infrastructure"
    if isinstance(error, MemoryError):
        return "environment"
    if starting:
        return "task"
    here, theirs = _package(environment), {_package(kind) for kind in spaces.values()}
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if _inside(module, {here}):
            return "environment"
        if _inside(module, theirs):
            return "space"
    return "environment"


def _package(kind: type) -> str:
    """Return the package a class comes from; the module itself where that is ours, which holds several worlds."""
    module = kind.__module__
    top = module.partition(".")[0]
    return module if top == "crossagent" else top


def _inside(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def check_observation(observation: Any) -> None:
    """Raise :class:`Garbage` unless this is an observation: text, and no image or one of uint8 [height, width, 3]."""
    if not isinstance(observation, Observation) or not isinstance(observation.text, str):
        raise Garbage(f"got {_short(observation)} as an observation; expected Observation(text, image)")
    image = observation.image
    if image is not None and not (
        isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    ):
        raise Garbage(f"got {_short(image)} as an image; expected uint8 [height, width, 3]")


def check_started(observation: Any, state_hash: Any, anchor_key: Any) -> None:
    """Raise :class:`Garbage` unless an episode can begin like this."""
    check_observation(observation)
    for what, value in (("state_hash", state_hash), ("anchor_key", anchor_key)):
        if not isinstance(value, str):
            raise Garbage(f"got {_short(value)} as {what}; expected a string")


def check_acted(acted: Any) -> None:
    """Raise :class:`Garbage` unless a turn can have come to this."""
    check_observation(acted.observation)
    if not isinstance(acted.ticks, int) or isinstance(acted.ticks, bool) or acted.ticks < 0:
        raise Garbage(f"got {_short(acted.ticks)} ticks; expected a whole number ≥ 0")
    for what, value in (("reward", acted.reward), ("cost", acted.cost)):
        if not isinstance(value, (int, float, np.floating)) or not math.isfinite(value):
            fault: Fault = "space" if what == "cost" else "environment"
            raise Garbage(f"got {_short(value)} as {what}; expected a finite number", fault)
    for what in ("terminated", "truncated", "success"):
        if not isinstance(getattr(acted, what), (bool, np.bool_)):
            raise Garbage(f"got {_short(getattr(acted, what))} as {what}; expected true or false")
    if not isinstance(acted.anchor_key, str) or not isinstance(acted.error, str):
        raise Garbage(f"got {_short((acted.anchor_key, acted.error))} as anchor_key and error; expected strings")
    if not isinstance(acted.events, tuple) or not all(isinstance(event, Event) for event in acted.events):
        raise Garbage(f"got {_short(acted.events)} as events; expected a tuple of Event")


def _short(value: Any) -> str:
    text = f"shape {value.shape} {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
    return f"{type(value).__name__} {text[:60]}"
