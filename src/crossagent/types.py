"""The words of crossagent, as frozen dataclasses. Imports nothing of ours.

tick        one low-level step of an environment (Minecraft: 1/20 s)
turn        one response of the policy: one action in one action space; takes 0…n ticks
trajectory  the turns of one episode
group       G trajectories of one task from one initial state
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Task:
    """One named task of an environment's suite."""

    name: str
    """Unique in its suite, e.g. ``craft_item:oak_planks``."""
    category: str
    instruction: str
    """What the policy is told, in natural language."""
    env: str
    """Name of the environment it belongs to."""
    setup: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able; only the environment reads it."""
    max_turns: int = 24
    max_ticks: int = 600
    splits: tuple[str, ...] = ()
    """Names of the splits it belongs to. ``train``: trained in every stage; ``demo``: demonstrations only;
    ``ood``: never trained in any stage."""
    solvable: bool = True
    reason: str = ""
    """Why it is not solvable, when it is not."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a world; verifiers look at these."""

    kind: str
    """``mine_block``, ``craft_item``, ``kill_entity``, …"""
    name: str
    count: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return Event, (self.kind, self.name, self.count)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the policy sees before a turn."""

    text: str
    image: NDArray[np.uint8] | None = None
    """[height, width, 3], or None in an environment that shows text only."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Observation, (self.text, self.image)  # crosses a pipe every turn; several times as fast as the default


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an interface, as an expert proposes it and a demonstration records it."""

    interface: str
    """``control``, ``pointer``, ``skills`` or a third party's."""
    method: str
    args: tuple[Any, ...] = ()
    """JSON-able, positional."""


@dataclass(frozen=True, slots=True)
class RawTick:
    """The primitive inputs of one tick: what every level of action comes down to."""

    keys: tuple[str, ...] = ()
    """Held keys, sorted."""
    buttons: tuple[str, ...] = ()
    """Held mouse buttons, sorted."""
    camera: tuple[int, int] = (0, 0)
    """Mouse movement (dx, dy) in pixels, rounded to the environment's quantum."""

    @property
    def is_noop(self) -> bool:
        """True when nothing is held and the mouse rests."""
        return not self.keys and not self.buttons and self.camera == (0, 0)


@dataclass(frozen=True, slots=True)
class Action:
    """One decoded decision in one action space."""

    space: str
    payload: Any
    """The space's own value; comparable with ``==`` and JSON-able (tuples count as lists)."""


@dataclass(frozen=True, slots=True)
class InvalidAction:
    """Text that is no action of the space; a value, never an exception."""

    reason: str
    span: tuple[int, int] = (0, 0)
    """Half-open character range of the text that is at fault."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing one action did."""

    ticks: int
    """Ticks that passed."""
    reward: float
    """Sum over those ticks."""
    terminated: bool
    """The task ended: success, or death."""
    truncated: bool
    """The tick limit of the task was reached."""
    observation: Observation
    events: tuple[Event, ...] = ()
    error: str = ""
    """Why the action did not do what it says (a skill that failed), else empty."""


class StopReason(StrEnum):
    """Why a trajectory ended. The first four are data; only ``failure`` is dropped from training."""

    terminated = "terminated"
    """The environment ended the episode: success or death."""
    max_turns = "max_turns"
    """Truncated: the task's turn limit."""
    max_ticks = "max_ticks"
    """Truncated: the task's tick limit."""
    cut = "cut"
    """A response hit the token limit before its end-of-turn token."""
    failure = "failure"
    """The environment raised, hung or died. Never spliced onto a fresh world; never trained."""


FinishReason = Literal["stop", "length"]
TokenSet = bytes
"""A set of token ids as a bit mask: id k is bit k % 8 of byte k // 8. b"" stands for any id."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One response and what came of it. Token ids are what is stored and trained; text is derived from them."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    """Every token after the prompt, the end-of-turn token included when it was sampled."""
    sampler_logprobs: tuple[float, ...]
    """One per response token, under the sampler at its temperature; 0.0 where the token was forced."""
    finish_reason: FinishReason = "stop"
    forced: int = 0
    """Number of leading response tokens that were given, not sampled (a header when one space is allowed)."""
    explored: int = 0
    """Number of leading response tokens, a header, that were drawn uniformly over the allowed spaces, not by the policy;
    ``sampler_logprobs`` has their log-probs under that draw. Excludes ``forced``."""
    segments: tuple[tuple[str, int], ...] = ()
    """Parts of the response as its space tells them apart: (name, first response token), in order; () one part."""
    allowed: tuple[TokenSet, ...] = ()
    """Constrained decoding: per response token the ids that could be drawn there; () no constraint at all. Log-probs are under
    the same constraint. Not kept in files: it follows from the grammar, the ids and the token limit
    (:func:`crossagent.sampling.constrained.allowed_tokens`)."""
    observation: str = ""
    """The observation's text before this turn; for people."""
    text: str = ""
    """The response decoded without special end tokens; for people."""
    space: str | None = None
    """The space whose header opens the response, also when the rest is invalid; None without a header."""
    payload: Any = None
    """The decoded action's payload, None when invalid."""
    invalid: str = ""
    """Why the response is no action; empty when it is one."""
    ticks: int = 0
    reward: float = 0.0
    cost: float = 0.0
    """The space's own cost of this action, before the recipe's λ."""
    error: str = ""
    """Why a valid action did not do what it says; empty when it did."""
    events: tuple[Event, ...] = ()
    anchor_key: str = ""
    """Coarse state before the turn (no clock, no RNG), for step-level credit."""
    space_logprobs: tuple[float, ...] = ()
    """One per space of the trajectory, in its order: log-prob that the response opens with that space's header, under the
    sampler at its temperature. Empty where there was no choice, or headers begin alike."""
    image: bytes = b""
    """The observation's image before this turn as PNG, lossless; empty in an environment that shows text only."""
    pictures: tuple[bytes, ...] = ()
    """The images that the prompt showed the policy, PNG, in the order of their places; its own is the last. Not kept in
    files."""

    def __post_init__(self) -> None:
        if len(self.response_ids) != len(self.sampler_logprobs):
            raise ValueError(f"{len(self.response_ids)} response_ids but {len(self.sampler_logprobs)} sampler_logprobs")
        if self.allowed and len(self.allowed) != len(self.response_ids):
            raise ValueError(f"{len(self.response_ids)} response_ids but {len(self.allowed)} sets of allowed ids")
        if self.forced and self.explored:
            raise ValueError("a header is given, or drawn uniformly; not both")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """All turns of one episode of one group member, and why it stopped."""

    task: str
    category: str
    env: str
    seed: int
    """Seed of the world; equal within a group."""
    group: int
    member: int
    turns: tuple[Turn, ...]
    stop_reason: StopReason
    success: bool
    state_hash: str = ""
    """Full canonical state at the start, RNG included; equal within a group."""
    spaces: tuple[str, ...] = ()
    """The spaces the prompt listed."""
    failure: str = ""
    """What broke, when ``stop_reason`` is ``failure``."""
    instruction: str = ""
    """The task in words, as the prompt gave it."""

    @property
    def ticks(self) -> int:
        """Ticks of the whole episode."""
        return sum(turn.ticks for turn in self.turns)

    @property
    def invalid_turns(self) -> int:
        """Number of turns whose response was no action."""
        return sum(1 for turn in self.turns if turn.invalid)

    def weighted_cost(self, weights: Mapping[str, float]) -> float:
        """Return Σ_t λ_x · cost(a_t), x the space of turn t; ``weights`` maps a space to its λ (missing: 0)."""
        return sum(weights.get(turn.space or "", 0.0) * turn.cost for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Group:
    """Trajectories of one task from one initial state."""

    task: str
    seed: int
    members: tuple[Trajectory, ...]

    def __post_init__(self) -> None:
        hashes = {t.state_hash for t in self.members if t.state_hash}
        if len(hashes) > 1:
            raise ValueError(
                f"group of {self.task!r}, seed {self.seed}: members start from {len(hashes)} different states"
            )
