"""From per-token values to one number, with the normaliser as an argument.

The normaliser is the *global* count of this optimiser step: over all its micro-batches and ranks. Micro-batches then sum to
the full batch, whatever their size; under DDP, which averages gradients over ranks, multiply by the world size.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

AGGREGATIONS = (
    "token-mean",
    "seq-mean-token-mean",
    "seq-mean-token-sum-norm",
    "seq-mean-token-sum",
    "seq-mean-turn-mean",
    "token-sum",
)


def aggregate(
    values: Float[Tensor, "row tok"],
    mask: Bool[Tensor, "row tok"],
    how: str,
    *,
    normaliser: float | None = None,
    sequence_length: Float[Tensor, " row"] | None = None,
    max_length: int | None = None,
) -> Float[Tensor, ""]:
    """Reduce per-token values to a scalar.

    ==========================  =====================================================================================
    ``token-mean``              Σ over tokens ÷ number of tokens (DAPO, arXiv 2503.14476)
    ``seq-mean-token-mean``     mean over sequences of the mean over their tokens (GRPO, arXiv 2402.03300)
    ``seq-mean-token-sum-norm`` mean over sequences of Σ over their tokens ÷ a constant length (Dr. GRPO, 2503.20783)
    ``seq-mean-token-sum``      mean over sequences of Σ over their tokens: with RLOO, the true policy gradient
    ``seq-mean-turn-mean``      mean over sequences of the mean over their turns of Σ over the turn's tokens
    ``token-sum``               Σ
    ==========================  =====================================================================================

    Args:
        values: [row, tok]; may be anything, NaN included, where ``mask`` is False.
        mask: [row, tok], the trained tokens.
        how: One of ``AGGREGATIONS``.
        normaliser: Global number of tokens (``token-mean``) or of sequences (``seq-…``); None: counted here, a row being a
            sequence.
        sequence_length: [row] length of the sequence the row belongs to, over all of that sequence's rows, in tokens
            (``seq-mean-token-mean``) or turns (``seq-mean-turn-mean``). A sequence is a trajectory, so splitting it into
            turn rows changes nothing. None: the row's own tokens; one turn.
        max_length: The constant of ``seq-mean-token-sum-norm``; None: the width of ``values``.

    Returns:
        A scalar; 0 where nothing is trained.

    Raises:
        ValueError: An unknown aggregation.
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {how!r}; expected one of {AGGREGATIONS}")
    rows = torch.where(mask, values, 0.0).sum(1)
    tokens = mask.sum(1)
    if how == "token-sum":
        return rows.sum()
    if how == "token-mean":
        return rows.sum() / _at_least_one(normaliser, tokens.sum())
    if how == "seq-mean-token-mean":
        rows = rows / (tokens if sequence_length is None else sequence_length).clamp(min=1)
    elif how == "seq-mean-turn-mean" and sequence_length is not None:
        rows = rows / sequence_length.clamp(min=1)
    elif how == "seq-mean-token-sum-norm":
        rows = rows / (values.shape[1] if max_length is None else max_length)
    return rows.sum() / _at_least_one(normaliser, (tokens > 0).sum())


def _at_least_one(normaliser: float | None, count: Tensor) -> float:
    return max(float(count) if normaliser is None else normaliser, 1.0)
