"""Where groups come from: whole episodes (:class:`MtrlSource`), or single turns of demonstrations (:class:`StrlSource`).

A source plays with the weights of the moment and says what each turn earned; advantages are the module's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from crossagent.algorithms import live_groups, overlong_penalty
from crossagent.distributed import ALONE, Ranks
from crossagent.envs.recording import Demonstration
from crossagent.envs.workers.failures import FAULTS
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.errors import CrossAgentError, RecipeError
from crossagent.plugin import Sampler, SamplingParams
from crossagent.rollout.explore import explored_turn
from crossagent.rollout.loop import Episode, PromptLike, Timing, play, said
from crossagent.rollout.segments import token_segments
from crossagent.seeding import derive, rng
from crossagent.training.config import GRPOConfig, StrlConfig
from crossagent.training.single_turn import ScoredState, choose_states, score_responses
from crossagent.types import Group, StopReason, Task, Trajectory, Turn


@dataclass(frozen=True)
class Rollouts:
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

    def play(self, iteration: int) -> Rollouts:
        """Return what was played."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed stage needs; numbers, strings and lists of them."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""


def turn_rewards(
    trajectory: Trajectory,
    weights: Mapping[str, float],
    invalid_penalty: float,
    overlong: tuple[int, int, float] | None = None,
) -> tuple[float, ...]:
    """Return R = 1[success] − Σ λ·cost − penalties, turn by turn; success is earned on the last turn.

    Penalties are ``invalid_penalty`` per response that is no action and, with ``overlong`` = (limit, buffer, weight), the
    soft overlong punishment of each response; see :func:`crossagent.algorithms.overlong_penalty`.
    """
    rewards = [
        -weights.get(turn.space or "", 0.0) * turn.cost - (invalid_penalty if turn.invalid else 0.0)
        for turn in trajectory.turns
    ]
    if overlong is not None:
        lengths = torch.tensor([len(turn.response_ids) for turn in trajectory.turns], dtype=torch.int64)
        rewards = [r + less for r, less in zip(rewards, overlong_penalty(lengths, *overlong).tolist(), strict=True)]
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
        prompt: PromptLike,
        max_new_tokens: int,
        seed: int,
        schedule: str = "halves",
        ranks: Ranks = ALONE,
    ) -> None:
        """Play ``tasks`` in ``pool`` with ``sampler``; ``max_new_tokens`` holds where the config says 0.

        ``schedule`` and ``ranks`` are those of :func:`crossagent.rollout.loop.play`.
        """
        self.ranks = ranks
        self.config, self.spaces = config, tuple(spaces)
        self.weights: Mapping[str, float] = dict(weights)
        self.pool, self.sampler, self.prompt, self.seed = pool, sampler, prompt, seed
        self.params = SamplingParams(config.temperature, config.max_new_tokens or max_new_tokens)
        self.picker, self.schedule = TaskPicker(tasks, config, seed), schedule

    def play(self, iteration: int) -> Rollouts:
        """Play ``groups`` groups; replace those that cannot teach, ``resample_rounds`` times at most."""
        c = self.config
        trajectories: list[Trajectory] = []
        rewards: list[tuple[float, ...]] = []
        wanted, start, rounds, timing = c.groups, 0, 0, Timing()
        restarts = self.pool.restarts
        while wanted > 0 and rounds <= c.resample_rounds:
            picked = self.picker.pick(iteration, start, wanted)
            allowed = [self._allowed(iteration * c.groups + start + k) for k in range(len(picked))]
            episodes = [
                Episode(
                    self.picker.tasks[index],
                    derive(self.seed, "world", iteration, start + k),
                    start + k,
                    m,
                    allowed[k],
                    explored_turn(m, c.explore_members, c.explore_turns, self.seed, iteration, start + k)
                    if len(allowed[k]) > 1
                    else None,
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
                timing=timing,
                schedule=self.schedule,
                ranks=self.ranks,
            )
            for k, index in enumerate(picked):
                if allowed[k] != self.spaces:
                    continue  # what one space can do says little of what there is to learn with all of them
                self.picker.update(index, [t for t in played if t.group == start + k])
            trajectories += played
            rewards += [
                turn_rewards(t, self.weights, c.invalid_penalty, c.overlong(self.params.max_new_tokens)) for t in played
            ]
            keep = live_trajectories(Rollouts(tuple(trajectories), tuple(rewards)), c)
            alive = {t.group for t, k in zip(trajectories, keep, strict=True) if k}
            start, wanted, rounds = start + wanted, c.groups - len(alive), rounds + 1
        own = {
            "rollout/retried": float(timing.retried),
            **{f"fault/{fault}": float(timing.faults[fault]) for fault in FAULTS},
            "workers/restarts": float(self.pool.restarts - restarts),
            "workers/memory_mb": sum(one.memory_mb for one in self.pool.health()),
        }
        gathered = self.ranks.all_gather(own)
        metrics = {
            "rollout/groups": float(start),
            "rollout/resampled": float(start - c.groups),
            **{name: sum(one[name] for one in gathered) for name in own},
            **_longest(timing, self.ranks),
        }
        return Rollouts(tuple(trajectories), tuple(rewards), metrics)

    def _allowed(self, position: int) -> tuple[str, ...]:
        """Return the spaces of the group at this place in the order of all groups of the stage."""
        share = self.config.single_space_share
        before, after = math.floor(position * share), math.floor((position + 1) * share)
        return (self.spaces[before % len(self.spaces)],) if after > before else self.spaces

    def state_dict(self) -> dict[str, Any]:
        """Return the curriculum's record."""
        return {"picker": self.picker.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.picker.load_state_dict(state["picker"])


def _longest(timing: Timing, ranks: Ranks) -> dict[str, float]:
    """Return where the time of an iteration went, on the process where it took longest."""
    each = ranks.all_gather((timing.generate_s, timing.environment_s))
    return {"time/generate": max(g for g, _ in each), "time/environment": max(e for _, e in each)}


def live_trajectories(played: Rollouts, config: GRPOConfig) -> list[bool]:
    """Return which trajectories are of groups that can teach; see :func:`crossagent.algorithms.live_groups`."""
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


def trained_trajectories(played: Rollouts, config: GRPOConfig) -> list[bool]:
    """Return which trajectories train: those that live, less, with ``overlong_filter``, those cut at the token limit."""
    live = live_trajectories(played, config)
    return [
        alive and not (config.overlong_filter and t.stop_reason is StopReason.cut)
        for alive, t in zip(live, played.trajectories, strict=True)
    ]


# -- single turns -----------------------------------------------------------------------------------------------------
SURVEYED = "strl/two_spaces_can_earn"
"""The metric of :meth:`StrlSource.survey`."""
_SURVEY = 128
"""States in which the experts of all spaces are asked what they would do, once per stage."""


class StrlSource:
    """Single turns: a group is one demonstrated state; reward 1 where the response comes to the demonstrated action.

    Nothing is executed, so there is no cost; a response that is no action pays the penalty. Iteration k plays the k-th
    stretch of a seeded order of all states, in which the spaces the experts wrote in take turns.
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
        prompt: PromptLike,
        max_new_tokens: int,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        """Use those ``demonstrations`` whose task is one of ``tasks``; ``ranks`` judge an iteration's states together.

        Raises:
            RecipeError: There is none.
        """
        self.config, self.spaces, self.seed, self.ranks = config, tuple(spaces), seed, ranks
        self.weights: Mapping[str, float] = {}
        self.tasks = {task.name: task for task in tasks}
        usable = [d for d in demonstrations if d.task in self.tasks]
        self.states = choose_states(usable, config.iterations * config.groups, seed)
        if not self.states:
            raise RecipeError("strl: no demonstration is of a training task; demonstrate some of training_tasks")
        self.pool, self.sampler, self.prompt = pool, sampler, prompt
        self.params = SamplingParams(config.temperature, config.max_new_tokens or max_new_tokens)

    def play(self, iteration: int) -> Rollouts:
        """Play the next ``groups`` states."""
        c = self.config
        first = iteration * c.groups
        states = [self.states[(first + k) % len(self.states)] for k in range(min(c.groups, len(self.states)))]
        timing = Timing()
        judged, dropped = score_responses(
            states,
            c.group_size,
            tasks=self.tasks,
            spaces=self.spaces,
            pool=self.pool,
            sampler=self.sampler,
            prompt=self.prompt,
            params=self.params,
            horizon=c.horizon,
            seed=self.seed,
            step=iteration,
            explore=c.explore_members,
            timing=timing,
            ranks=self.ranks,
        )
        trajectories = [
            _single_turn(one, g, m, self.spaces, self.prompt, m < c.explore_members)
            for g, one in enumerate(judged)
            for m in range(c.group_size)
        ]
        rewards = tuple(
            turn_rewards(t, {}, c.invalid_penalty, c.overlong(self.params.max_new_tokens)) for t in trajectories
        )
        if c.partial_credit:
            credits = [c.partial_credit * one.agreement(m) for one in judged for m in range(c.group_size)]
            rewards = tuple(
                reward if t.success else (reward[0] + credit,)
                for t, reward, credit in zip(trajectories, rewards, credits, strict=True)
            )
        metrics = {
            "rollout/groups": float(len(states)),
            "strl/states_dropped": float(dropped),
            **_longest(timing, self.ranks),
        }
        if judged:
            right = [
                {low.space for low, reward in zip(one.lowered, one.rewards, strict=True) if reward} for one in judged
            ]
            crossed = [bool(spaces - {one.state.space}) for one, spaces in zip(judged, right, strict=True)]
            metrics["strl/two_spaces_earned"] = sum(len(spaces) >= 2 for spaces in right) / len(right)
            metrics["strl/cross_space_hits"] = sum(crossed) / len(crossed)
        if iteration == 0:
            metrics |= self.survey()
        return Rollouts(tuple(trajectories), rewards, metrics)

    def survey(self, states: int = _SURVEY) -> dict[str, float]:
        """Return the share of states in which two or more spaces can earn the reward, as their experts show: without any,
        the stage teaches nothing about choosing. A lower bound: another action of a space might do as well.
        """
        chosen = self.states[:states]
        jobs = [
            (self.tasks[s.demonstration.task], s.demonstration.seed, s.prefix, (s.expert_text,), self.config.horizon)
            for s in chosen
        ]
        able = []
        answers = self.ranks.gather_in_order(self.pool.spread("alternatives", self.ranks.local_items(jobs)))
        for state, answer in zip(chosen, answers, strict=True):
            if not isinstance(answer, EnvFailure):
                goal, *others = answer
                able.append({state.space} | {o.space for o in others if o.ticks is not None and o.ticks == goal.ticks})
        return {SURVEYED: sum(len(spaces) >= 2 for spaces in able) / len(able)} if able else {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the states of an iteration follow from its number."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


def _single_turn(
    judged: ScoredState, group: int, member: int, spaces: tuple[str, ...], prompt: PromptLike, explored: bool
) -> Trajectory:
    """Return one response as a trajectory of one turn; success is equality with the demonstrated action."""
    demonstration, sample, low = judged.state.demonstration, judged.samples[member], judged.lowered[member]
    shown = demonstration.turns[judged.state.turn]
    explored_from = spaces if explored and len(spaces) > 1 else ()
    turn = Turn(
        **said(judged.requests[member], sample, prompt, explored_from),
        segments=token_segments(sample.response_ids, judged.texts[member], low.segments, prompt.decode),
        observation=shown.observation,
        text=judged.texts[member],
        space=low.space,
        payload=None if low.invalid else {"demonstrated": shown.text},
        invalid=low.invalid,
        reward=judged.rewards[member],
        anchor_key=shown.anchor_key,
        space_logprobs=sample.watched_logprobs,
    )
    return Trajectory(
        task=demonstration.task,
        category=demonstration.category,
        env="",
        seed=demonstration.seed,
        group=group,
        member=member,
        turns=(turn,),
        stop_reason=StopReason.terminated if sample.finish_reason == "stop" else StopReason.cut,
        success=judged.rewards[member] > 0,
        spaces=spaces,
        instruction=demonstration.instruction,
    )
