"""Evaluation: a fixed list of (task, seed) per suite, played once per cell, and pure figures of what came out.

A *cell* is one agent on one suite with one set of spaces. All cells of a suite play the same list with the same sampling
seeds, so that their differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossagent.distributed import ALONE, Ranks
from crossagent.envs.recording import MIXED, Demonstration
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.errors import TaskError
from crossagent.plugin import Sampler, SamplingParams
from crossagent.rollout.loop import Episode, PromptLike, play
from crossagent.seeding import derive, rng
from crossagent.types import StopReason, Task, Trajectory, Turn


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of a table of results."""

    agent: str
    """``untrained``, a stage, ``expert``, …"""
    suite: str
    spaces: tuple[str, ...]
    """What it may use and its prompt lists."""
    result: dict[str, Any]
    """As :func:`aggregate` returns it."""


def evaluation_list(suite: str, tasks: Sequence[Task], episodes: int, seed: int) -> list[tuple[Task, int]]:
    """Return the fixed (task, world seed) list of a suite: ``episodes`` long, spread evenly over the solvable tasks.

    When they do not divide, which tasks get one more is seeded. It depends on these arguments alone (on the names of
    tasks, not their order); world seeds derive from ``(seed, "evaluation", …)``, which nothing else uses.
    """
    solvable = sorted((t for t in tasks if t.solvable), key=lambda t: t.name)
    if not solvable or episodes < 1:
        raise TaskError(
            f"evaluation suite {suite!r}: {len(solvable)} solvable tasks, {episodes} episodes; need both ≥ 1"
        )
    rng(seed, "evaluation tasks", suite).shuffle(solvable)
    listed = []
    for number in range(episodes):
        task = solvable[number % len(solvable)]
        listed.append((task, derive(seed, "evaluation", suite, task.name, number // len(solvable))))
    return listed


def evaluate(
    listed: Sequence[tuple[Task, int]],
    *,
    spaces: Sequence[str],
    pool: WorkerPool,
    sampler: Sampler,
    prompt: PromptLike,
    params: SamplingParams,
    seed: int,
    weights: Mapping[str, float],
    progress: Callable[[Sequence[Trajectory]], None] | None = None,
    ranks: Ranks = ALONE,
) -> tuple[dict[str, Any], list[Trajectory]]:
    """Play one cell and return (:func:`aggregate` of it, its trajectories in the order of ``listed``).

    Args:
        listed: From :func:`evaluation_list`.
        spaces: Allowed and listed in the prompt; a single one has its header forced.
        pool: The worlds.
        sampler: The agent.
        prompt: Its prompt format.
        params: Temperature 0 is greedy.
        seed: Of the responses; take the same for all cells.
        weights: λ per space.
        progress: As in :func:`crossagent.rollout.loop.play`.
        ranks: As there; each process plays its part of the episodes.
    """
    episodes = [Episode(task, world, number, 0, tuple(spaces)) for number, (task, world) in enumerate(listed)]
    trajectories = play(
        episodes,
        pool=pool,
        sampler=sampler,
        prompt=prompt,
        params=params,
        seed=derive(seed, "evaluation responses"),
        step=0,
        progress=progress,
        ranks=ranks,
    )
    return aggregate(trajectories, weights), trajectories


def evaluate_experts(
    listed: Sequence[tuple[Task, int]],
    *,
    kind: str,
    pool: WorkerPool,
    seed: int,
    weights: Mapping[str, float],
    ranks: Ranks = ALONE,
) -> tuple[dict[str, Any], list[Trajectory]]:
    """Play one cell with the environment's experts: what a space alone (``kind`` its name), or ``mixed``, can reach.

    Returns the same as :func:`evaluate`; the turns have no token ids.
    """
    mixture = pool.config.space_names if kind == MIXED else (kind,)
    jobs = [(task, world, mixture, derive(seed, "expert", number)) for number, (task, world) in enumerate(listed)]
    answers = ranks.gather_in_order(pool.spread("demonstrate", ranks.local_items(jobs)))
    trajectories = [
        _expert_trajectory(number, task, world, mixture, answer)
        for number, ((task, world), answer) in enumerate(zip(listed, answers, strict=True))
    ]
    return aggregate(trajectories, weights), trajectories


def aggregate(trajectories: Sequence[Trajectory], weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the figures of one cell. Pure; episodes whose world broke are counted in ``failures`` and nowhere else.

    ``success`` share of episodes · ``ci95`` its Wilson interval · ``return`` J, mean of success − Σ λ_x·cost ·
    ``cost`` mean Σ λ_x·cost · ``episodes`` those that count · ``turns``, ``ticks`` mean per episode · ``shares`` space →
    fraction of turns that opened with its header (``none``: without any) · ``invalid`` fraction of turns ·
    ``failures`` · ``stops`` reason → episodes · ``categories`` name → ``episodes, tasks, success, ci95, asr, ft``, where
    ASR is the mean over tasks of a task's success and FT the share of tasks solved at least once. Without a single
    episode the means are NaN-free zeros and the interval is [0, 1].
    """
    counted = [t for t in trajectories if t.stop_reason is not StopReason.failure]
    n = len(counted)
    costs = [t.weighted_cost(weights) for t in counted]
    wins = sum(t.success for t in counted)
    turns = [turn for t in counted for turn in t.turns]
    used: dict[str, int] = {}
    for name in sorted({s for t in counted for s in t.spaces} | {turn.space or "none" for turn in turns}):
        used[name] = sum((turn.space or "none") == name for turn in turns)
    categories: dict[str, list[Trajectory]] = {}
    for trajectory in counted:
        categories.setdefault(trajectory.category, []).append(trajectory)
    return {
        "success": _share(wins, n),
        "ci95": list(wilson(wins, n)),
        "return": _share(math.fsum(float(t.success) - c for t, c in zip(counted, costs, strict=True)), n),
        "cost": _share(math.fsum(costs), n),
        "episodes": n,
        "turns": _share(len(turns), n),
        "ticks": _share(sum(t.ticks for t in counted), n),
        "shares": {name: _share(count, len(turns)) for name, count in used.items()},
        "invalid": _share(sum(bool(turn.invalid) for turn in turns), len(turns)),
        "failures": len(trajectories) - n,
        "stops": {r.value: k for r in StopReason if (k := sum(t.stop_reason is r for t in trajectories))},
        "categories": {name: _category(categories[name]) for name in sorted(categories)},
    }


def wilson(successes: int, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927); [0, 1] without trials."""
    if trials == 0:
        return 0.0, 1.0
    p, zz = successes / trials, z * z
    centre = (p + zz / (2 * trials)) / (1 + zz / trials)
    half = z * math.sqrt(p * (1 - p) / trials + zz / (4 * trials * trials)) / (1 + zz / trials)
    return (
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == trials else min(1.0, centre + half),
    )


def _category(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    tasks: dict[str, list[bool]] = {}
    for trajectory in trajectories:
        tasks.setdefault(trajectory.task, []).append(trajectory.success)
    wins = sum(t.success for t in trajectories)
    return {
        "episodes": len(trajectories),
        "tasks": len(tasks),
        "success": _share(wins, len(trajectories)),
        "ci95": list(wilson(wins, len(trajectories))),
        "asr": _share(math.fsum(sum(results) / len(results) for results in tasks.values()), len(tasks)),
        "ft": _share(sum(any(results) for results in tasks.values()), len(tasks)),
    }


def _share(amount: float, of: int) -> float:
    return amount / of if of else 0.0


def _expert_trajectory(
    number: int, task: Task, world: int, spaces: tuple[str, ...], played: Demonstration | EnvFailure
) -> Trajectory:
    failed = isinstance(played, EnvFailure)
    turns = () if isinstance(played, EnvFailure) else played.turns
    # An expert that is stuck does nothing for the rest of the episode: the turn limit ends it.
    end = "" if isinstance(played, EnvFailure) else played.end.replace("stuck", StopReason.max_turns.value)
    return Trajectory(
        task=task.name,
        category=task.category,
        env=task.env,
        seed=world,
        group=number,
        member=0,
        turns=tuple(
            Turn(
                prompt_ids=(),
                response_ids=(),
                sampler_logprobs=(),
                observation=t.observation,
                text=t.text,
                space=t.space,
                ticks=t.ticks,
                reward=t.reward,
                cost=t.cost,
                error=t.error,
                anchor_key=t.anchor_key,
            )
            for t in turns
        ),
        stop_reason=StopReason.failure if failed else StopReason(end),
        success=not isinstance(played, EnvFailure) and played.success,
        spaces=spaces,
        failure=str(played) if failed else "",
        instruction=task.instruction,
    )
