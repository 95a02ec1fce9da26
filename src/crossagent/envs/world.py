"""One environment with its action spaces: everything about a turn except sampling it.

Decoding, execution, cost, lowering and recording happen here, next to the world and usually in a worker process; the
main process sends text and gets small tuples back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from crossagent.envs.base import Environment, EnvironmentSpec, Expert, ExpertStuck
from crossagent.envs.images import png
from crossagent.envs.recording import MIXED, Demonstration, DemoTurn, order_of_choice, with_feedback
from crossagent.envs.workers.failures import check_acted, check_started
from crossagent.errors import PluginError
from crossagent.import_path import resolve
from crossagent.spaces.base import ActionSpace, ActionSpaceSpec, CostRule, SpaceSet
from crossagent.types import Action, Call, Event, InvalidAction, Observation, RawTick, StopReason, Task

_KEEP_SPACE = 0.5
"""Probability that a mixed demonstration stays with the space of the turn before."""
_OWN_COST = CostRule()
_GIVE_UP = 3
"""A recording ends after so many failed actions in a row: the experts are stateless and would go on for ever."""


@dataclass(frozen=True)
class WorldConfig:
    """All a process needs to build worlds by itself; plain data, picklable."""

    env: EnvironmentSpec
    env_options: Mapping[str, Any] = field(default_factory=dict)
    spaces: tuple[tuple[ActionSpaceSpec, Mapping[str, Any]], ...] = ()
    """(spec, options), in the recipe's order."""
    costs: Mapping[str, CostRule] = field(default_factory=dict)
    """What an action costs, where a recipe says it; else the space's own cost."""

    @property
    def space_names(self) -> tuple[str, ...]:
        """The names of the spaces, in the recipe's order."""
        return tuple(spec.name for spec, _ in self.spaces)


class Started(NamedTuple):
    """A new episode."""

    observation: Observation
    state_hash: str
    anchor_key: str


class Acted(NamedTuple):
    """What one response did. A tuple, because it crosses a pipe every turn."""

    space: str | None
    payload: Any
    invalid: str
    """Why the text is no action; then nothing happened."""
    ticks: int
    reward: float
    cost: float
    error: str
    events: tuple[Event, ...]
    terminated: bool
    truncated: bool
    success: bool
    observation: Observation
    """Of the state after it, with the feedback of :func:`with_feedback`."""
    anchor_key: str
    """Of the state after it."""
    segments: tuple[tuple[str, int], ...] = ()
    """Parts of the response: (name, character); see ``ActionTokenizer.segments``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Acted, tuple(self)  # a third less time than a named tuple's own way


class LoweredAction(NamedTuple):
    """What a text comes down to."""

    space: str | None
    ticks: tuple[RawTick, ...] | None
    """The first raw ticks it would emit; None when the text is no action, or one that fails before its first tick: that is
    not the same as doing nothing."""
    invalid: str
    """Why the text is no action; else empty."""
    segments: tuple[tuple[str, int], ...] = ()
    """Parts of the text: (name, character)."""


class Replayed(NamedTuple):
    """An episode that was executed once more."""

    started: Started
    acted: tuple[Acted, ...]
    """Of each text, up to the one that ended the episode."""


class Described(NamedTuple):
    """What a prompt and a tokenizer need to know of the spaces in this world; each mapping in the recipe's order."""

    fragments: dict[str, str]
    headers: dict[str, str]
    special_tokens: tuple[str, ...]
    grammars: dict[str, str]
    """Per space; its start rule is ``{space}_response``."""


def load_object(path: str | Callable[..., Any]) -> Any:
    """Return the object behind ``module:name``, or the object itself; raises :class:`PluginError` naming the path."""
    try:
        return resolve(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"cannot load {path!r}: {error}. A factory is written 'module:Name'.") from error


def build_spaces(config: WorldConfig) -> SpaceSet:
    """Build the spaces of a run, once per process."""
    return SpaceSet({spec.name: load_object(spec.factory)(**options) for spec, options in config.spaces})


def build_environment(config: WorldConfig) -> Environment:
    """Build one environment."""
    env: Environment = load_object(config.env.factory)(**config.env_options)
    return env


class World:
    """One environment and the spaces of the run. One episode at a time: ``reset``, then ``act`` until it is over.

    A method that raises breaks the world: ``act`` is refused until ``reset``, which builds a new environment, so that
    an episode never goes on in a world that broke.
    """

    def __init__(
        self, config: WorldConfig, spaces: SpaceSet | None = None, beat: Callable[[bool], None] = lambda starting: None
    ) -> None:
        """Build the environment.

        Args:
            config: What to build.
            spaces: The spaces of this process, when they are built already.
            beat: Called before every turn (with False) and every start of an episode (True), to show that a long call is
                alive.
        """
        self.config = config
        self.spaces = build_spaces(config) if spaces is None else spaces
        self.env = build_environment(config)
        self._beat = beat
        self._experts: dict[str, Expert] = {}
        self._task: Task | None = None
        self._live = self._broken = False
        self._observation = Observation("")
        self._replayed: tuple[str, int, tuple[str, ...]] | None = None

    # -- an episode ------------------------------------------------------------------------------------------------
    def reset(self, task: Task, seed: int) -> Started:
        """Start an episode; equal (task, seed) gives an equal state."""
        self._live, self._replayed = False, None
        if self._broken:
            with suppress(Exception):
                self.env.close()
            self.env = build_environment(self.config)
        self._broken = True
        self._beat(True)
        self._observation = self.env.reset(task, seed)
        started = Started(self._observation, self.env.state_hash(), self.env.anchor_key())
        check_started(*started)
        self._task, self._live, self._broken = task, True, False
        return started

    def act(self, text: str, allowed: Sequence[str] | None = None) -> Acted:
        """Decode one response and execute it.

        Args:
            text: The whole response, header included.
            allowed: The spaces this episode may use; None for all.

        Raises:
            RuntimeError: No episode is going on here.
            Garbage: The environment or the space gave what the contract does not allow.
        """
        if not self._live:
            raise RuntimeError("no episode is going on in this world: it ended, it broke, or it never began; reset it")
        self._live, self._broken = False, True
        self._beat(False)
        env = self.env
        space, action = self.spaces.decode(text, allowed)
        if isinstance(action, InvalidAction):
            acted = Acted(
                space=space,
                payload=None,
                invalid=action.reason or "invalid",
                ticks=0,
                reward=0.0,
                cost=0.0,
                error="",
                events=(),
                terminated=False,
                truncated=False,
                success=env.success,
                observation=_told(self._observation, action.reason or "invalid", ""),
                anchor_key=env.anchor_key(),
                segments=self.spaces.segments(text),
            )
        else:
            chosen = self.spaces[action.space]
            outcome = chosen.executor.execute(action, env)
            self._observation = outcome.observation
            acted = Acted(
                space=space,
                payload=action.payload,
                invalid="",
                ticks=outcome.ticks,
                reward=outcome.reward,
                cost=self.config.costs.get(action.space, _OWN_COST).cost(chosen.cost(action, outcome), outcome.ticks),
                error=outcome.error,
                events=outcome.events,
                terminated=outcome.terminated,
                truncated=outcome.truncated,
                success=env.success,
                observation=outcome.observation,
                anchor_key=env.anchor_key(),
                segments=self.spaces.segments(text),
            )
            check_acted(acted)
            acted = acted._replace(observation=_told(acted.observation, "", acted.error))
        self._broken = False
        self._live = not (acted.terminated or acted.truncated)
        return acted

    # -- whole episodes and single decisions -----------------------------------------------------------------------
    def demonstrate(self, task: Task, seed: int, mixture: Sequence[str], decision_seed: int) -> Demonstration:
        """Record an episode: each turn an expert of one of these spaces proposes calls, the space writes them down as
        an action and executes it.

        With several spaces the choice is seeded, among those whose expert can go on; it stays with the space of the
        turn before with probability 0.5, and leaves a space whose action has just failed.
        """
        draw = random.Random(decision_seed)
        started = self.reset(task, seed)
        seen, anchor, turns = started.observation, started.anchor_key, []
        current: str | None = None
        failures, end = 0, StopReason.max_turns.value
        for _ in range(task.max_turns):
            keep, shuffled = draw.random() < _KEEP_SPACE, draw.sample(list(mixture), len(mixture))
            order = order_of_choice(mixture, current, current if failures else None, keep, shuffled)
            action = next((found for name in order if (found := self._propose(name)) is not None), None)
            if action is None or failures >= _GIVE_UP:
                end = "stuck"
                break
            current = action.space
            text = self.spaces[current].tokenizer.encode(action)
            acted = self.act(text, mixture)
            if acted.invalid:
                raise RuntimeError(f"space {current!r} cannot read what it wrote: {text!r}: {acted.invalid}")
            turns.append(
                DemoTurn(
                    seen.text,
                    text,
                    current,
                    anchor,
                    acted.ticks,
                    acted.reward,
                    acted.cost,
                    acted.error,
                    acted.segments,
                    b"" if seen.image is None else png(seen.image),
                )
            )
            seen, anchor = acted.observation, acted.anchor_key
            failures = failures + 1 if acted.error else 0
            if acted.terminated or acted.truncated:
                end = (StopReason.terminated if acted.terminated else StopReason.max_ticks).value
                break
        self._live = False
        return Demonstration(
            task=task.name,
            category=task.category,
            seed=seed,
            spaces=tuple(mixture) if len(mixture) == 1 else self.config.space_names,
            turns=tuple(turns),
            success=self.env.success,
            kind=mixture[0] if len(mixture) == 1 else MIXED,
            instruction=task.instruction,
            end=end,
        )

    def replay(self, task: Task, seed: int, texts: Sequence[str], allowed: Sequence[str] | None = None) -> Replayed:
        """Execute an episode once more, from its start; ends early where the episode is over before the last text."""
        started, acted = self.reset(task, seed), []
        for text in texts:
            if not self._live:
                break
            acted.append(self.act(text, allowed))
        self._live = False
        return Replayed(started, tuple(acted))

    def lower(
        self, task: Task, seed: int, prefix: Sequence[str], texts: Sequence[str], horizon: int = 1
    ) -> tuple[LoweredAction, ...]:
        """Replay ``prefix`` from the start of (task, seed), then lower each of ``texts`` from the state it leads to.

        The last state is kept: a prefix that extends the one before is replayed from there.

        Raises:
            RuntimeError: The episode is over before the end of the prefix.
        """
        prefix = tuple(prefix)
        done = self._replayed
        if done is None or done[:2] != (task.name, seed) or prefix[: len(done[2])] != done[2] or self._broken:
            self.reset(task, seed)
            start = 0
        else:
            start = len(done[2])
        self._replayed, self._live = None, True
        for text in prefix[start:]:
            self.act(text)
        if self.env.over:
            raise RuntimeError(f"the episode is over after {len(prefix)} replayed turns; there is nothing to lower")
        self._live, self._broken = False, True
        lowered: dict[str, LoweredAction] = {}
        for text in texts:
            if text not in lowered:
                self._beat(False)
                lowered[text] = self._lower(text, horizon)
        self._broken = False
        self._replayed = (task.name, seed, prefix)
        return tuple(lowered[text] for text in texts)

    def alternatives(
        self, task: Task, seed: int, prefix: Sequence[str], texts: Sequence[str], horizon: int = 1
    ) -> tuple[LoweredAction, ...]:
        """Lower ``texts`` as :meth:`lower` does, then what the expert of each space would do in that state; a space whose
        expert cannot go on is left out.
        """
        lowered = self.lower(task, seed, prefix, texts, horizon)
        proposed = [action for name in self.spaces if (action := self._propose(name)) is not None]
        return lowered + tuple(self._lower(self.spaces[a.space].tokenizer.encode(a), horizon) for a in proposed)

    def describe(self) -> Described:
        """Return what the spaces say of themselves in this world."""
        tokenizers = {name: space.tokenizer for name, space in self.spaces.spaces.items()}
        return Described(
            fragments={name: t.prompt_fragment(self.env) for name, t in tokenizers.items()},
            headers={name: space.header for name, space in self.spaces.spaces.items()},
            special_tokens=self.spaces.special_tokens(),
            grammars={name: t.grammar(self.env) for name, t in tokenizers.items()},
        )

    def close(self) -> None:
        """Free what the environment holds."""
        self._live = False
        self.env.close()

    # -- parts -----------------------------------------------------------------------------------------------------
    def _lower(self, text: str, horizon: int) -> LoweredAction:
        space, action = self.spaces.decode(text)
        if isinstance(action, InvalidAction):
            return LoweredAction(space, None, action.reason or "invalid", self.spaces.segments(text))
        chosen = self.spaces[action.space]
        ticks = chosen.lower(action, self.env, horizon)
        failed = not ticks and self._fails_at_once(chosen, action)
        return LoweredAction(space, None if failed else ticks, "", self.spaces.segments(text))

    def _fails_at_once(self, space: ActionSpace, action: Action) -> bool:
        """Return whether an action fails without a single tick."""
        before, start, failed = self.env.snapshot(), len(self.env.tick_log), False
        try:
            with self.env.tick_limit(1):
                outcome = space.executor.execute(action, self.env)
                failed = bool(outcome.error) and len(self.env.tick_log) == start
        finally:
            self.env.restore(before)
        return failed

    def _propose(self, name: str) -> Action | None:
        """Return the action with which the experts go on in this space, None when they cannot."""
        space: ActionSpace = self.spaces[name]
        heard: list[Call] = []
        for interface in space.requires:
            if interface not in self.config.env.experts:
                continue
            try:
                calls = self._expert(interface).propose(self.env)
            except ExpertStuck:
                continue
            if actions := space.from_calls(calls, self.env):
                return actions[0]
            heard += calls
        # A space that composes others may need what the experts of several interfaces say.
        actions = space.from_calls(heard, self.env) if len(space.requires) > 1 else []
        return actions[0] if actions else None

    def _expert(self, interface: str) -> Expert:
        if interface not in self._experts:
            self._experts[interface] = load_object(self.config.env.experts[interface])()
        return self._experts[interface]


def _told(observation: Observation, invalid: str, error: str) -> Observation:
    return replace(observation, text=with_feedback(observation.text, invalid, error))
