"""Advantages, losses, KL, aggregation: pure functions on tensors. Imports torch and nothing else of ours."""

from crossagent.algorithms.advantages import (
    ADVANTAGES,
    BASELINES,
    SCALES,
    discounted_returns,
    gigpo_advantages,
    group_advantages,
    live_groups,
    overlong_penalty,
    trajectory_advantages,
)
from crossagent.algorithms.aggregate import AGGREGATIONS, aggregate
from crossagent.algorithms.importance import importance_weights
from crossagent.algorithms.kl import KL
from crossagent.algorithms.losses import LOSSES, RATIOS, clip_fractions, clipped_loss, entropy, ratio

__all__ = [
    "ADVANTAGES",
    "AGGREGATIONS",
    "BASELINES",
    "KL",
    "LOSSES",
    "RATIOS",
    "SCALES",
    "aggregate",
    "clip_fractions",
    "clipped_loss",
    "discounted_returns",
    "entropy",
    "gigpo_advantages",
    "group_advantages",
    "importance_weights",
    "live_groups",
    "overlong_penalty",
    "ratio",
    "trajectory_advantages",
]
