"""Where groups come from: whole episodes (:class:`MtrlSource`), or single turns of demonstrations (:class:`StrlSource`).

A source plays with the weights of the moment and says what each turn earned; advantages are the module's business.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from crossagent.algorithms import live_groups
from crossagent.envs.recording import Demonstration
from crossagent.envs.worker import EnvFailure, WorkerPool
from crossagent.errors import CrossAgentError, RecipeError
from crossagent.plugin import SampleRequest, Sampler, SamplingParams
from crossagent.policy.prompt import PromptFormat
from crossagent.rollout.loop import Episode, play
from crossagent.seeding import derive, rng
from crossagent.training.config import GRPOConfig, StrlConfig
from crossagent.types import Group, StopReason, Task, Trajectory, Turn


@dataclass(frozen=True)
class Played:
    """What one iteration played."""

    trajectories: tuple[Trajectory, ...]
    """Sorted by (group, member); failures included."""
    rewards: tuple[tuple[float, ...], ...]
    """Per trajectory and turn; their sum is the return. Those of a failure are not looked at."""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for trajectory, rewards in zip(self.trajectories, self.rewards, strict=True):
            if len(trajectory.turns) != len(rewards):
                raise ValueError(f"{len(trajectory.turns)} turns but {len(rewards)} rewards")
        members: dict[int, list[Trajectory]] = {}
        for trajectory in self.trajectories:
            members.setdefault(trajectory.group, []).append(trajectory)
        for group in members.values():
            Group(group[0].task, group[0].seed, tuple(group))  # raises where members start from different states
            if len({(t.task, t.seed) for t in group}) > 1:
                raise ValueError(f"group {group[0].group} holds several tasks or seeds")

    @property
    def returns(self) -> list[float]:
        """R per trajectory; NaN for a failure, and for a trajectory without any turn."""
        return [
            math.nan if t.stop_reason is StopReason.failure or not t.turns else math.fsum(r)
            for t, r in zip(self.trajectories, self.rewards, strict=True)
        ]


class GroupSource(Protocol):
    """Plays one iteration's groups with the policy as it is now; same iteration and weights, same result."""

    spaces: tuple[str, ...]
    weights: Mapping[str, float]
    """λ per space."""

    def play(self, iteration: int) -> Played:
        """Return what was played."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed stage needs; numbers, strings and lists of them."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""


def turn_rewards(trajectory: Trajectory, weights: Mapping[str, float], invalid_penalty: float) -> tuple[float, ...]:
    """Return R = 1[success] − Σ λ·cost − penalty·(invalid turns), turn by turn; success is earned on the last turn."""
    rewards = [
        -weights.get(turn.space or "", 0.0) * turn.cost - (invalid_penalty if turn.invalid else 0.0)
        for turn in trajectory.turns
    ]
    if trajectory.success and rewards:
        rewards[-1] += 1.0
    return tuple(rewards)


class TaskPicker:
    """Which task each group plays: every task equally often, or by p(1 − p) of recent success. Seeded by place alone."""

    def __init__(self, tasks: Sequence[Task], config: GRPOConfig, seed: int) -> None:
        if not tasks:
            raise RecipeError("training_tasks selects no task to play")
        self.tasks, self.config, self.seed = tuple(tasks), config, seed
        self._played = [0.0] * len(tasks)
        self._won = [0.0] * len(tasks)

    def success(self, index: int) -> float:
        """Return the task's recent success; 0.5 before it was played."""
        return (self._won[index] + 0.5) / (self._played[index] + 1.0)

    def pick(self, iteration: int, start: int, count: int) -> list[int]:
        """Return the tasks of groups ``start`` … ``start + count − 1`` of an iteration."""
        if self.config.curriculum == "uniform":
            first = iteration * self.config.groups + start
            return [self._in_turn(first + k) for k in range(count)]
        weights = [
            max(self.config.curriculum_floor, self.success(i) * (1 - self.success(i))) for i in range(len(self.tasks))
        ]
        draw = rng(self.seed, "task", iteration, start)
        chosen: list[int] = []
        while len(chosen) < count:  # without replacement, as far as there are tasks
            left = list(range(len(self.tasks)))
            while left and len(chosen) < count:
                picked = draw.choices(left, [weights[i] for i in left])[0] if any(weights) else draw.choice(left)
                left.remove(picked)
                chosen.append(picked)
        return chosen

    def _in_turn(self, position: int) -> int:
        order = list(range(len(self.tasks)))
        rng(self.seed, "task-order", position // len(self.tasks)).shuffle(order)
        return order[position % len(self.tasks)]

    def update(self, index: int, members: Sequence[Trajectory]) -> None:
        """Note how one group went."""
        live = [t for t in members if t.stop_reason is not StopReason.failure]
        if live:
            decay = self.config.curriculum_decay
            self._played[index] = decay * self._played[index] + 1.0
            self._won[index] = decay * self._won[index] + sum(t.success for t in live) / len(live)

    def state_dict(self) -> dict[str, Any]:
        """Return the record of recent success."""
        return {"tasks": [t.name for t in self.tasks], "played": list(self._played), "won": list(self._won)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back; raises :class:`CrossAgentError` when the tasks are others."""
        if list(state["tasks"]) != [t.name for t in self.tasks]:
            raise CrossAgentError("the resume point was written with other training tasks; remove it to begin anew")
        self._played, self._won = list(state["played"]), list(state["won"])


class MtrlSource:
    """Whole episodes in live worlds: every member of a group plays the same task from the same seed."""

    def __init__(
        self,
        config: GRPOConfig,
        *,
        tasks: Sequence[Task],
        spaces: Sequence[str],
        weights: Mapping[str, float],
        pool: WorkerPool,
        sampler: Sampler,
        prompt: PromptFormat,
        max_new_tokens: int,
        seed: int,
    ) -> None:
        """Play ``tasks`` in ``pool`` with ``sampler``; ``max_new_tokens`` holds where the config says 0."""
        self.config, self.spaces, self.weights = config, tuple(spaces), dict(weights)
        self.pool, self.sampler, self.prompt, self.seed = pool, sampler, prompt, seed
        self.params = SamplingParams(config.temperature, config.max_new_tokens or max_new_tokens)
        self.picker = TaskPicker(tasks, config, seed)

    def play(self, iteration: int) -> Played:
        """Play ``groups`` groups; replace those that cannot teach, ``resample_rounds`` times at most."""
        c = self.config
        trajectories: list[Trajectory] = []
        rewards: list[tuple[float, ...]] = []
        wanted, start, rounds = c.groups, 0, 0
        while wanted > 0 and rounds <= c.resample_rounds:
            picked = self.picker.pick(iteration, start, wanted)
            episodes = [
                Episode(
                    self.picker.tasks[index], derive(self.seed, "world", iteration, start + k), start + k, m, self.spaces
                )
                for k, index in enumerate(picked)
                for m in range(c.group_size)
            ]
            played = play(
                episodes,
                pool=self.pool,
                sampler=self.sampler,
                prompt=self.prompt,
                params=self.params,
                seed=self.seed,
                step=iteration,
            )
            for k, index in enumerate(picked):
                self.picker.update(index, [t for t in played if t.group == start + k])
            trajectories += played
            rewards += [turn_rewards(t, self.weights, c.invalid_penalty) for t in played]
            keep = live_trajectories(Played(tuple(trajectories), tuple(rewards)), c)
            alive = {t.group for t, k in zip(trajectories, keep, strict=True) if k}
            start, wanted, rounds = start + wanted, c.groups - len(alive), rounds + 1
        metrics = {"rollout/groups": float(start), "rollout/resampled": float(start - c.groups)}
        return Played(tuple(trajectories), tuple(rewards), metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return the curriculum's record."""
        return {"picker": self.picker.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.picker.load_state_dict(state["picker"])


def live_trajectories(played: Played, config: GRPOConfig) -> list[bool]:
    """Return which trajectories train; see :func:`crossagent.algorithms.live_groups`."""
    if not played.trajectories:
        return []
    keep = live_groups(
        torch.tensor(played.returns, dtype=torch.float64),
        torch.tensor([t.group for t in played.trajectories]),
        torch.tensor([t.success for t in played.trajectories]),
        drop_zero_variance=config.filter_zero_variance,
        drop_all_fail=config.drop_all_fail,
    )
    return [bool(k) for k in keep]


# -- single turns --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class State:
    """One turn of a demonstration: what the policy would see, and what the expert did."""

    demonstration: Demonstration
    turn: int

    @property
    def space(self) -> str:
        """The space the expert wrote in."""
        return self.demonstration.turns[self.turn].space

    @property
    def prefix(self) -> tuple[str, ...]:
        """The texts that lead to this state."""
        return self.demonstration.texts[: self.turn]

    @property
    def text(self) -> str:
        """What the expert wrote."""
        return self.demonstration.turns[self.turn].text


def states_of(demonstrations: Sequence[Demonstration], tasks: Mapping[str, Task]) -> list[State]:
    """Return every turn of the demonstrations of these tasks, in order."""
    return [State(d, t) for d in demonstrations if d.task in tasks for t in range(len(d.turns))]


def balanced(states: Sequence[State], seed: int) -> list[State]:
    """Return the states in a seeded order in which the spaces take turns, until the rarest is used up, then the rest."""
    piles: dict[str, list[State]] = {}
    for state in states:
        piles.setdefault(state.space, []).append(state)
    ranked: list[tuple[int, str, State]] = []
    for name in sorted(piles):
        rng(seed, "states", name).shuffle(piles[name])
        ranked += [(rank, name, state) for rank, state in enumerate(piles[name])]
    return [state for _, _, state in sorted(ranked, key=lambda item: item[:2])]


def state_prompt(state: State, prompt: PromptFormat, spaces: Sequence[str]) -> tuple[int, ...]:
    """Return the prompt of a state with all ``spaces`` listed, whatever the demonstration listed."""
    turns = state.demonstration.turns
    history = [(turn.observation, prompt.response_ids(turn.text, turn.space)) for turn in turns[: state.turn]]
    return prompt.prompt_ids(state.demonstration.instruction, spaces, history, turns[state.turn].observation)


@dataclass(frozen=True)
class Attempt:
    """One sampled response in a state, and whether it comes to what the expert did."""

    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool
    text: str
    space: str | None
    invalid: str
    hit: bool


@dataclass(frozen=True)
class Tried:
    """A state with its attempts."""

    state: State
    prompt_ids: tuple[int, ...]
    attempts: tuple[Attempt, ...]
    failure: str = ""
    """Why the world could not be asked; then there are no attempts."""
    earning: frozenset[str] = frozenset()
    """The spaces whose expert's proposal, or an attempt, comes to the same as the demonstrated action."""


class StateSampler:
    """Samples responses in demonstration states and compares them with the demonstrated action, as raw ticks."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        spaces: Sequence[str],
        pool: WorkerPool,
        sampler: Sampler,
        prompt: PromptFormat,
        params: SamplingParams,
        horizon: int,
        seed: int,
    ) -> None:
        self.tasks, self.spaces, self.pool, self.sampler = dict(tasks), tuple(spaces), pool, sampler
        self.prompt, self.params, self.horizon, self.seed = prompt, params, horizon, seed
        self.seconds = {"generate": 0.0, "environment": 0.0}

    def attempt(self, states: Sequence[State], samples: int, step: int) -> list[Tried]:
        """Return ``samples`` attempts in each state; results do not depend on the pool's size."""
        prompts = [state_prompt(state, self.prompt, self.spaces) for state in states]
        requests = [
            SampleRequest(ids, derive(self.seed, "sample", step, group, member, 0))
            for group, ids in enumerate(prompts)
            for member in range(samples)
        ]
        begun = time.monotonic()
        drawn = self.sampler.sample(requests, self.params)
        texts = [self.prompt.decode(sample.response_ids) for sample in drawn]
        self.seconds["generate"] += time.monotonic() - begun
        begun = time.monotonic()
        jobs = []
        for group, state in enumerate(states):
            distinct = tuple(dict.fromkeys(texts[group * samples : (group + 1) * samples]))
            task = self.tasks[state.demonstration.task]
            jobs.append((task, state.demonstration.seed, state.prefix, (state.text, *distinct), self.horizon))
        # States of one episode, neighbours in a slot, are replayed from each other.
        order = sorted(range(len(states)), key=lambda g: (jobs[g][0].name, jobs[g][1], len(jobs[g][2]), g))
        per_slot = -(-len(order) // self.pool.slots) if order else 1
        lowered: dict[int, Any] = {}
        answers = self.pool.call_many("lower", [(k // per_slot, jobs[g]) for k, g in enumerate(order)])
        for g, answer in zip(order, answers, strict=True):
            lowered[g] = answer
        proposals = self.pool.call_many("proposals", [(k // per_slot, jobs[g][:3] + (self.horizon,)) for k, g in enumerate(order)])
        proposed = dict(zip(order, proposals, strict=True))
        self.seconds["environment"] += time.monotonic() - begun
        result = []
        for group, state in enumerate(states):
            if isinstance(lowered[group], EnvFailure) or lowered[group][0].ticks is None:
                why = str(lowered[group]) if isinstance(lowered[group], EnvFailure) else lowered[group][0].invalid
                result.append(Tried(state, prompts[group], (), why or "the demonstrated action is invalid"))
                continue
            goal = lowered[group][0].ticks
            by_text = dict(zip(jobs[group][3][1:], lowered[group][1:], strict=True))
            attempts = []
            for member in range(samples):
                sample, text = drawn[group * samples + member], texts[group * samples + member]
                action, finished = by_text[text], sample.finish_reason == "stop"
                invalid = action.invalid if finished else "cut at the token limit"
                attempts.append(
                    Attempt(
                        sample.response_ids,
                        sample.logprobs,
                        finished,
                        text,
                        action.space,
                        invalid,
                        hit=finished and action.ticks is not None and action.ticks == goal,
                    )
                )
            others = proposed[group]
            earning = {} if isinstance(others, EnvFailure) else others
            spaces = {name for name, ticks in earning.items() if ticks == goal} | {state.space}
            spaces |= {a.space for a in attempts if a.hit and a.space}
            result.append(Tried(state, prompts[group], tuple(attempts), "", frozenset(spaces)))
        return result


class StrlSource:
    """Single turns: a group is one demonstration state; reward 1 where the response comes to the demonstrated action.

    With weights 0 and no cost the return is the reward; an invalid response also pays the penalty.
    """

    def __init__(
        self,
        config: StrlConfig,
        *,
        demonstrations: Sequence[Demonstration],
        tasks: Sequence[Task],
        spaces: Sequence[str],
        pool: WorkerPool,
        sampler: Sampler,
        prompt: PromptFormat,
        max_new_tokens: int,
        seed: int,
    ) -> None:
        """Use the states of those ``demonstrations`` whose task is one of ``tasks``.

        Raises:
            RecipeError: There is no such state.
        """
        self.config, self.spaces, self.seed = config, tuple(spaces), seed
        self.weights: Mapping[str, float] = {}
        by_name = {task.name: task for task in tasks}
        self.states = balanced(states_of(demonstrations, by_name), seed)
        if not self.states:
            raise RecipeError("strl: no demonstration is of a training task; demonstrate some of training_tasks")
        self.sampler = StateSampler(
            tasks=by_name,
            spaces=spaces,
            pool=pool,
            sampler=sampler,
            prompt=prompt,
            params=SamplingParams(config.temperature, config.max_new_tokens or max_new_tokens),
            horizon=config.horizon,
            seed=seed,
        )

    def play(self, iteration: int) -> Played:
        """Play the next ``groups`` states."""
        c = self.config
        first = iteration * c.groups
        states = [self.states[(first + k) % len(self.states)] for k in range(c.groups)]
        before = dict(self.sampler.seconds)
        tried = self.sampler.attempt(states, c.group_size, iteration)
        trajectories, rewards = [], []
        for group, one in enumerate(tried):
            for member in range(c.group_size):
                trajectory = _single_turn(one, group, member, self.spaces)
                trajectories.append(trajectory)
                rewards.append(turn_rewards(trajectory, {}, c.invalid_penalty))
        alive = [one for one in tried if not one.failure]
        metrics = {
            "rollout/groups": float(len(tried)),
            "strl/states_failed": float(len(tried) - len(alive)),
            "time/generate": self.sampler.seconds["generate"] - before["generate"],
            "time/environment": self.sampler.seconds["environment"] - before["environment"],
        }
        if alive:
            crossed = [any(a.hit and a.space != one.state.space for a in one.attempts) for one in alive]
            metrics["strl/two_spaces_can_earn"] = sum(len(one.earning) >= 2 for one in alive) / len(alive)
            metrics["strl/cross_space_hits"] = sum(crossed) / len(alive)
        return Played(tuple(trajectories), tuple(rewards), metrics)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the states of an iteration follow from its number."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


def _single_turn(one: Tried, group: int, member: int, spaces: tuple[str, ...]) -> Trajectory:
    demo = one.state.demonstration
    common: dict[str, Any] = {
        "task": demo.task,
        "category": demo.category,
        "env": "",
        "seed": demo.seed,
        "group": group,
        "member": member,
        "spaces": spaces,
    }
    if one.failure:
        return Trajectory(**common, turns=(), stop_reason=StopReason.failure, success=False, failure=one.failure)
    attempt = one.attempts[member]
    shown = demo.turns[one.state.turn]
    turn = Turn(
        prompt_ids=one.prompt_ids,
        response_ids=attempt.response_ids,
        sampler_logprobs=attempt.logprobs,
        finish_reason="stop" if attempt.finished else "length",
        observation=shown.observation,
        text=attempt.text,
        space=attempt.space,
        payload=None if attempt.invalid else {"demonstrated": shown.text},
        invalid=attempt.invalid,
        reward=float(attempt.hit),
        anchor_key=shown.anchor_key,
    )
    stop = StopReason.terminated if attempt.finished else StopReason.cut
    return Trajectory(**common, turns=(turn,), stop_reason=stop, success=attempt.hit)
