"""What an iteration made of each turn: its advantage, and the log-probs and masks of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from crossagent.rollout.credit import Credits, TurnCredit
from crossagent.training.batch import Row
from crossagent.types import Trajectory


def credits_of(
    trajectories: Sequence[Trajectory],
    advantages: Sequence[Sequence[float]],
    rows: Sequence[Row],
    logprobs: Sequence[Sequence[float]],
    ref_logprobs: Sequence[Sequence[float]] | None,
) -> Credits:
    """Return what one iteration made of each turn.

    Args:
        trajectories: What was played.
        advantages: Per trajectory and turn.
        rows: What trains; a trajectory without a row did not.
        logprobs: Per row and token of it, at the start of the iteration.
        ref_logprobs: The same of the reference.
    """
    tokens: dict[tuple[int, int], list[tuple[bool, float, float]]] = {}
    for index, row in enumerate(rows):
        own = logprobs[index]
        ref = ref_logprobs[index] if ref_logprobs is not None else [0.0] * len(row)
        for at, turn in enumerate(row.turns):
            if turn >= 0:
                tokens.setdefault((row.trajectory, turn), []).append((row.loss_mask[at], own[at], ref[at]))
    credit: Credits = []
    for index, trajectory in enumerate(trajectories):
        turns = []
        for number, played in enumerate(trajectory.turns):
            trained = tokens.get((index, number))
            if trained is None:
                turns.append(TurnCredit(float("nan")))
                continue
            mask, old, other = zip(*([(False, 0.0, 0.0)] * played.forced + trained), strict=True)
            turns.append(TurnCredit(advantages[index][number], mask, old, other if ref_logprobs is not None else ()))
        credit.append(tuple(turns))
    return credit
