"""Relabelling by rejection sampling: a demonstrated action becomes the policy's own where both come to the same.

a'(x) = â if g(â) = g(a*), else a* (arXiv 2512.09706). What comes out is an ordinary data set of demonstrations, in which the
last turn of each is the one to learn and those before it are its history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crossagent.distributed import ALONE, Ranks
from crossagent.envs.recording import Demonstration
from crossagent.envs.workers.pool import WorkerPool
from crossagent.plugin import Sampler, SamplingParams
from crossagent.rollout.loop import PromptLike
from crossagent.seeding import rng
from crossagent.training.config import RelabelConfig
from crossagent.training.single_turn import ScoredState, choose_states, score_responses
from crossagent.types import Task

RELABELLED = "relabelled"
"""The ``kind`` of what comes out."""


@dataclass(frozen=True, slots=True)
class RelabelStats:
    """What relabelling found."""

    states: int
    """States judged."""
    dropped: int
    """States whose world broke."""
    accepted: int
    """States in which a sampled response came to the same as the demonstrated action."""
    moved: int
    """Accepted states whose action is now written in another space."""
    choice: int
    """Accepted states in which responses of two or more spaces were right: what there is to learn about choosing."""
    kept: int
    """Rows after balancing."""
    before: dict[str, int]
    """Space → judged states whose demonstrated action is written in it."""
    after: dict[str, int]
    """Space → rows of the result."""


def relabel(
    demonstrations: Sequence[Demonstration],
    config: RelabelConfig,
    *,
    tasks: Mapping[str, Task],
    spaces: tuple[str, ...],
    pool: WorkerPool,
    sampler: Sampler,
    prompt: PromptLike,
    params: SamplingParams,
    seed: int,
    ranks: Ranks = ALONE,
) -> tuple[list[Demonstration], RelabelStats]:
    """Return the relabelled states as demonstrations, and what was found.

    Args:
        demonstrations: What to relabel; their last turns are learned (``rows_from_demonstrations(…, last_only=True)``).
        config: How many states and samples, which horizon, how balanced.
        tasks: Every task by name.
        spaces: The spaces of the run; every prompt of the result lists all of them.
        pool: Worlds that replay and lower.
        sampler: Of the policy after STRL.
        prompt: Its prompt format.
        params: How to sample.
        seed: Of the stage.
        ranks: The processes that judge the states together; all get the same result.
    """
    states = choose_states(demonstrations, config.states, seed)
    judged, dropped = score_responses(
        states,
        config.samples,
        tasks=tasks,
        spaces=spaces,
        pool=pool,
        sampler=sampler,
        prompt=prompt,
        params=params,
        horizon=config.horizon,
        seed=seed,
        step=0,
        ranks=ranks,
    )
    relabelled = [_relabelled(one, spaces, seed, index) for index, one in enumerate(judged)]
    kept = balanced(relabelled, config.balance, seed)
    stats = RelabelStats(
        states=len(judged),
        dropped=dropped,
        accepted=sum(any(one.rewards) for one in judged),
        moved=sum(new.turns[-1].space != one.state.space for one, new in zip(judged, relabelled, strict=True)),
        choice=sum(len(_right_spaces(one)) > 1 for one in judged),
        kept=len(kept),
        before=dict(sorted(Counter(one.state.space for one in judged).items())),
        after=dict(sorted(Counter(demo.turns[-1].space for demo in kept).items())),
    )
    return kept, stats


def balanced(demonstrations: Sequence[Demonstration], most: float, seed: int) -> list[Demonstration]:
    """Thin out frequent spaces: none keeps more than ``most`` times the rows of the rarest one; 0 keeps all.

    Which rows go is seeded; those that stay keep their order.
    """
    if not most or not demonstrations:
        return list(demonstrations)
    by_space: dict[str, list[int]] = {}
    for index, demonstration in enumerate(demonstrations):
        by_space.setdefault(demonstration.turns[-1].space, []).append(index)
    limit = max(1, int(most * min(len(indices) for indices in by_space.values())))
    keep: set[int] = set()
    for space, indices in sorted(by_space.items()):
        keep.update(indices if len(indices) <= limit else rng(seed, "balance", space).sample(indices, limit))
    return [demonstration for index, demonstration in enumerate(demonstrations) if index in keep]


def _right_spaces(judged: ScoredState) -> list[str]:
    """Return the spaces in which a response was right, sorted."""
    pairs = zip(judged.lowered, judged.rewards, strict=True)
    return sorted({low.space for low, reward in pairs if reward and low.space is not None})


def _relabelled(judged: ScoredState, spaces: tuple[str, ...], seed: int, index: int) -> Demonstration:
    """Return the state with one of its right responses, drawn as often as the policy gave it; else with a*."""
    demonstration, turns = judged.state.demonstration, judged.state.demonstration.turns
    right = [
        (text, low.space, low.segments)
        for text, low, reward in zip(judged.texts, judged.lowered, judged.rewards, strict=True)
        if reward and low.space is not None
    ]
    last = turns[judged.state.turn]
    if right:
        text, space, segments = rng(seed, "relabel", index).choice(right)
        last = replace(last, text=text, space=space, segments=segments)
    return replace(
        demonstration, spaces=spaces, kind=RELABELLED, turns=(*turns[: judged.state.turn], last), end="relabelled"
    )
