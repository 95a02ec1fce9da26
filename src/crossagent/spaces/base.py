"""Action spaces: how an action is written, what it does, what it costs; and the router over several of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossagent.envs.base import Environment
from crossagent.envs.interfaces import SkillFailed
from crossagent.errors import RecipeError
from crossagent.types import Action, Call, InvalidAction, Outcome, RawTick


class ActionTokenizer(ABC):
    """How the actions of one space are written. Every text starts with the space's header."""

    segment_names: tuple[str, ...] = ()
    """The parts a recipe can weigh in the loss (``segment_weights``), in order; empty: an action is one part."""

    @abstractmethod
    def prompt_fragment(self, env: Environment) -> str:
        """Return what the system prompt says about this space in this world; names the header, gives the syntax."""

    def special_tokens(self) -> tuple[str, ...]:
        """Return tokens to add to the vocabulary; trained (under LoRA too) and exported."""
        return ()

    @abstractmethod
    def grammar(self, env: Environment) -> str:
        """Return a Lark grammar of exactly the canonical texts. Rules are prefixed by the space's name, terminals by
        its upper-case name; the start rule is ``{name}_response``. Nothing is ignored implicitly.
        """

    @abstractmethod
    def encode(self, action: Action) -> str:
        """Return the canonical text, header included."""

    @abstractmethod
    def decode(self, text: str) -> Action | InvalidAction:
        """Return the action, or why it is none. Never raises, on any text; pure."""

    def segments(self, text: str) -> tuple[tuple[str, int], ...]:
        """Return where the parts of ``text`` begin: (name, character), in order, the first at 0; any text, never raises."""
        return ()


def missing_header(text: str, header: str) -> InvalidAction | None:
    """Return why a text does not start with the header of a space; None when it does. The first thing ``decode`` asks."""
    if text.startswith(header):
        return None
    return InvalidAction(f"expected {header!r} at the start", (0, min(len(text), len(header))))


class Executor(ABC):
    """What the actions of one space do, through the interfaces the space requires."""

    @abstractmethod
    def execute(self, action: Action, env: Environment) -> Outcome:
        """Do it, bounded in ticks; use :func:`carry_out` to measure. A failed skill is an outcome with ``error``."""


class ActionSpace(ABC):
    """A plugin's action space. Built once per process from its spec, with the recipe's options."""

    name: str
    version: str
    requires: tuple[str, ...]
    header: str
    """First characters of every response, e.g. ``Api:``."""
    tokenizer: ActionTokenizer
    executor: Executor

    @abstractmethod
    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return the cost of one executed action, ≥ 0; the recipe multiplies it by λ."""

    @abstractmethod
    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Turn recorded interface calls into actions; calls it cannot express are left out."""

    def lower(self, action: Action, env: Environment, horizon: int = 1) -> tuple[RawTick, ...]:
        """Return the first ``horizon`` ticks the executor would emit, on a snapshot; trailing no-ops stripped."""
        return lower(self, action, env, horizon)


@dataclass
class CostRule:
    """What one valid action of a space costs before λ: the sum of these. As it is, what its plugin says.

    To price spaces alike, e.g. by their turns alone: ``cost: {plugin: 0, per_turn: 1}``.
    """

    plugin: float = 1.0
    """Times what the plugin says an action costs."""
    per_turn: float = 0.0
    """A constant."""
    per_tick: float = 0.0
    """Times the ticks that the action took."""
    per_token: float = 0.0
    """Times the tokens that were sampled; experts, who sample none, are not charged."""

    def __post_init__(self) -> None:
        for name in ("plugin", "per_turn", "per_tick", "per_token"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise RecipeError(f"cost.{name}: got {getattr(self, name)}; expected a number ≥ 0")

    def cost(self, own: float, ticks: int) -> float:
        """Return the cost without that of tokens: all there is where nothing is sampled."""
        return self.plugin * own + self.per_turn + self.per_tick * ticks


@dataclass(frozen=True, slots=True)
class ActionSpaceSpec:
    """What a plugin declares about one action space. Data only: nothing is built until a recipe asks for it."""

    name: str
    version: str
    requires: tuple[str, ...]
    header: str
    factory: str | Callable[..., ActionSpace]
    """``module:Class`` of an :class:`ActionSpace`, called with the recipe's ``spaces.NAME.options`` as keywords. What a
    package declares names it; only what is added by ``PluginSet.with_`` may be the class itself."""
    doc: str = ""
    instead_of: tuple[str, ...] = ()
    """Spaces whose header is this one's on purpose, because both write one published format: a recipe has one of them."""


def carry_out(env: Environment, act: Callable[[], object]) -> Outcome:
    """Run ``act`` and measure it: ticks, reward and events are the differences it made.

    A :class:`SkillFailed` becomes the outcome's ``error``; anything else passes through.
    """
    ticks, reward, events = len(env.tick_log), env.total_reward, len(env.events)
    error = ""
    try:
        act()
    except SkillFailed as failed:
        error = str(failed) or "failed"
    return Outcome(
        ticks=len(env.tick_log) - ticks,
        reward=env.total_reward - reward,
        terminated=env.terminated,
        truncated=env.truncated,
        observation=env.observe(),
        events=tuple(env.events[events:]),
        error=error,
    )


def lower(space: ActionSpace, action: Action, env: Environment, horizon: int = 1) -> tuple[RawTick, ...]:
    """Return g(action): the first ``horizon`` raw ticks of its execution from the present state of ``env``.

    They begin with the first tick that is not idle, of those up to ``_IDLE`` (to press a held button again, a mouse lets go of
    it first: by that idle tick alone every action that does nothing would be equal to it), and idle ticks at the end are left
    out. () is an action that does nothing. Runs on a snapshot, which is restored. Two actions, of whatever spaces, are equal
    iff these sequences are (arXiv 2512.09706, single-turn reward).
    """

    def run(limit: int) -> list[RawTick]:
        before = env.snapshot()
        start = len(env.tick_log)
        try:
            with env.tick_limit(limit):
                space.executor.execute(action, env)
            return list(env.tick_log[start : start + limit])
        finally:
            env.restore(before)

    ticks = run(horizon)
    if len(ticks) == horizon and ticks[0].is_noop:
        ticks = run(_IDLE + horizon)
    begins = next((k for k, tick in enumerate(ticks[: _IDLE + 1]) if not tick.is_noop), len(ticks))
    ticks = ticks[begins : begins + horizon]
    while ticks and ticks[-1].is_noop:
        ticks.pop()
    return tuple(ticks)


_IDLE = 20
"""The most idle ticks an action may begin with, and still come to what follows them."""


def union(grammars: Mapping[str, str]) -> str:
    """Return one Lark grammar, start rule ``start``, over these of spaces (name → grammar)."""
    rules = "\n".join(grammars.values())
    return f"start: {' | '.join(f'{name}_response' for name in grammars)}\n{rules}\n"


@dataclass(frozen=True)
class SpaceSet:
    """The spaces of a run, in the recipe's order, routed by header."""

    spaces: Mapping[str, ActionSpace]
    weights: Mapping[str, float] = field(default_factory=dict)
    """λ per space."""

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name, space in self.spaces.items():
            for other, header in seen.items():
                if header.startswith(space.header) or space.header.startswith(header):
                    raise ValueError(f"spaces {other!r} and {name!r} share the header {space.header!r}; rename one")
            seen[name] = space.header

    def space_of(self, text: str) -> str | None:
        """Return the space whose header opens ``text``; a header later in the text is not an action."""
        for name, space in self.spaces.items():
            if text.startswith(space.header):
                return name
        return None

    def decode(self, text: str, allowed: Sequence[str] | None = None) -> tuple[str | None, Action | InvalidAction]:
        """Return (space, action or why not). A space outside ``allowed`` is invalid, and still counted as chosen."""
        name = self.space_of(text)
        if name is None:
            headers = ", ".join(repr(s.header) for s in self.spaces.values())
            return None, InvalidAction(f"no header: expected one of {headers}", (0, min(len(text), 12)))
        if allowed is not None and name not in allowed:
            return name, InvalidAction(f"space {name!r} is not allowed here", (0, len(self.spaces[name].header)))
        return name, self.spaces[name].tokenizer.decode(text)

    def grammar(self, env: Environment, allowed: Sequence[str] | None = None) -> str:
        """Return one Lark grammar over the allowed spaces; start rule ``start``."""
        names = [n for n in self.spaces if allowed is None or n in allowed]
        return union({n: self.spaces[n].tokenizer.grammar(env) for n in names})

    def segments(self, text: str) -> tuple[tuple[str, int], ...]:
        """Return the parts of a response; see :meth:`ActionTokenizer.segments`."""
        name = self.space_of(text)
        return () if name is None else self.spaces[name].tokenizer.segments(text)

    def special_tokens(self) -> tuple[str, ...]:
        """Return the special tokens of all spaces, in order, each once."""
        return tuple(dict.fromkeys(t for s in self.spaces.values() for t in s.tokenizer.special_tokens()))

    def __getitem__(self, name: str) -> ActionSpace:
        return self.spaces[name]

    def __iter__(self) -> Any:
        return iter(self.spaces)

    def __len__(self) -> int:
        return len(self.spaces)
