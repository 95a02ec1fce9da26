"""Advantages: one number per trajectory (GiGPO: per turn) from the returns of its group.

Sample unit and group membership are explicit: the baseline is over *trajectories*, never over turn rows, and a group
is whoever carries its id, wherever it stands. A return of NaN marks a dropped member (its world failed): it enters no
statistic and its advantage is NaN, which is not the same as a credit of zero.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BASELINES = ("none", "mean", "leave-one-out")
SCALES = ("none", "group", "batch", "whiten")


def _sums(values: Float[Tensor, " traj"], index: Int[Tensor, " traj"], groups: int) -> Float[Tensor, " group"]:
    return torch.zeros(groups, dtype=values.dtype).index_add_(0, index, values)


def group_stats(
    returns: Float[Tensor, " traj"], group: Int[Tensor, " traj"]
) -> tuple[Int[Tensor, " traj"], Float[Tensor, " group"], Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Return (index of each trajectory's group, live members, mean, range = max − min) per group, in fp64.

    A group whose range is 0, or which has fewer than two live members, can teach nothing.
    """
    _, index = torch.unique(group, return_inverse=True)
    groups = int(index.max()) + 1 if len(index) else 0
    live = ~returns.isnan()
    values = torch.where(live, returns, 0.0).double()
    count = _sums(live.double(), index, groups)
    mean = _sums(values, index, groups) / count.clamp(min=1)
    inf = float("inf")
    empty = torch.full((groups,), inf, dtype=torch.float64)
    high = (-empty).scatter_reduce(0, index, torch.where(live, values, -inf), "amax")
    low = empty.scatter_reduce(0, index, torch.where(live, values, inf), "amin")
    return index, count, mean, torch.where(count > 0, high - low, 0.0)


def group_advantages(
    returns: Float[Tensor, " traj"],
    group: Int[Tensor, " traj"],
    *,
    baseline: str = "mean",
    scale: str = "none",
    eps: float = 1e-6,
) -> Float[Tensor, " traj"]:
    """Centre returns within each group, then scale them.

    baseline ``mean``: A_i = R_i − mean(R) (Dr. GRPO, arXiv 2503.20783); its expected gradient is (G−1)/G of the truth.
    ``leave-one-out``: A_i = R_i − mean(R without i) (RLOO, arXiv 2402.14740), unbiased. ``none``: A_i = R_i.
    scale ``none``; ``group``: ÷ (std of the group, ddof 1, + eps) as in GRPO (arXiv 2402.03300); ``batch``: ÷ (std of all
    returns, ddof 1, + eps); ``whiten``: minus the mean, ÷ (std, ddof 1, + eps) of all centred returns: with baseline ``mean``
    REINFORCE++-baseline (arXiv 2501.03262), a group's mean first, then the global batch. The batch is whatever trajectories
    are given, one count each, however many turns or tokens they have; groups that do not train come as NaN.

    Args:
        returns: [traj], NaN for a dropped member.
        group: [traj] ids; only equality matters, not order or position.
        baseline: One of ``BASELINES``.
        scale: One of ``SCALES``.
        eps: Added to the standard deviation.

    Returns:
        [traj] fp32, NaN where ``returns`` is. With a baseline, a group with fewer than two live members gives 0, never the
        raw return, and so does, exactly, a group of equal returns. Empty in, empty out.

    Raises:
        ValueError: An unknown baseline or scale.
    """
    if baseline not in BASELINES:
        raise ValueError(f"unknown baseline {baseline!r}; expected one of {BASELINES}")
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; expected one of {SCALES}")
    if not len(returns):
        return returns.float()
    index, count, mean, spread = group_stats(returns, group)
    live = ~returns.isnan()
    values = torch.where(live, returns, 0.0).double()
    n = count[index]
    alive = spread[index] > 0  # so there are at least two members
    centred = values - mean[index]
    if baseline == "none":
        result = values
    elif baseline == "mean":
        result = torch.where(alive, centred, 0.0)
    else:  # R_i − (Σ R − R_i) / (n − 1) = (R_i − mean) · n / (n − 1)
        result = torch.where(alive, centred * n / (n - 1).clamp(min=1), 0.0)

    if scale == "group":
        squares = _sums(torch.where(live, centred**2, 0.0), index, len(count))
        std = (squares / (count - 1).clamp(min=1)).sqrt()
        result = torch.where(alive, result / (std[index] + eps), 0.0)
    elif scale in ("batch", "whiten"):
        pool = values[live] if scale == "batch" else result[live]
        if len(pool) > 1:
            # Centred returns have mean 0 already; subtracting its rounding error would move the exact zeros.
            shift = pool.mean() if scale == "whiten" and baseline == "none" else 0.0
            result = (result - shift) / (pool.std(correction=1) + eps)
    return torch.where(live, result, torch.nan).float()


def live_groups(
    returns: Float[Tensor, " traj"],
    group: Int[Tensor, " traj"],
    success: Bool[Tensor, " traj"] | None = None,
    *,
    drop_zero_variance: bool = True,
    drop_all_fail: bool = True,
) -> Bool[Tensor, " traj"]:
    """Return which trajectories train: live members of groups that can teach (dynamic sampling, DAPO arXiv 2503.14476).

    A group is dropped whole when fewer than two members are live; when its returns, before any normalisation, are all equal
    (``drop_zero_variance``); when no live member succeeded (``drop_all_fail``, needs ``success``): there only costs differ,
    and the cheapest inaction would win.
    """
    if not len(returns):
        return torch.zeros(0, dtype=torch.bool)
    index, count, _, spread = group_stats(returns, group)
    keep = count >= 2
    if drop_zero_variance:
        keep &= spread > 0
    live = ~returns.isnan()
    if drop_all_fail and success is not None:
        keep &= _sums((success & live).double(), index, len(count)) > 0
    return keep[index] & live


def discounted_returns(
    rewards: Float[Tensor, " turn"], trajectory: Int[Tensor, " turn"], gamma: float
) -> Float[Tensor, " turn"]:
    """Return Σ_k γ^k · r_{t+k} within each trajectory; rows of one trajectory stand in turn order, adjacent or not."""
    result = torch.zeros(len(rewards), dtype=torch.float64)
    tail: dict[int, float] = {}
    for i in range(len(rewards) - 1, -1, -1):
        key = int(trajectory[i])
        tail[key] = float(rewards[i]) + gamma * tail.get(key, 0.0)
        result[i] = tail[key]
    return result.float()


def gigpo_advantages(
    returns: Float[Tensor, " traj"],
    group: Int[Tensor, " traj"],
    rewards: Float[Tensor, " turn"],
    trajectory: Int[Tensor, " turn"],
    anchor: Int[Tensor, " turn"],
    *,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    baseline: str = "mean",
    scale: str = "none",
    eps: float = 1e-6,
) -> Float[Tensor, " turn"]:
    """Group-in-group advantages: A_t = A^E(trajectory) + ω · A^S(turn) (GiGPO, arXiv 2505.10978, eq. 3, 7, 8).

    The episode part A^E is :func:`group_advantages` over trajectories. The step part A^S compares the discounted return from
    turn t on with those of the other turns of the same group that stood in the same anchor state.

    Args:
        returns: [traj], NaN for a dropped member; its turns get NaN.
        group: [traj] group ids.
        rewards: [turn] reward of each turn; rows of one trajectory in turn order.
        trajectory: [turn] index into ``returns``.
        anchor: [turn] id of the state before the turn, without clock and RNG; unique ids give a step part of 0.
        gamma: Discount per turn.
        step_weight: ω.
        baseline: Of both parts.
        scale: Of both parts.
        eps: Of both parts.

    Returns:
        [turn] fp32.
    """
    episode = group_advantages(returns, group, baseline=baseline, scale=scale, eps=eps)
    step_returns = discounted_returns(rewards, trajectory, gamma)
    step_returns = torch.where(returns[trajectory].isnan(), torch.nan, step_returns)
    if not len(rewards):
        return step_returns
    pairs = torch.stack([group[trajectory], anchor], dim=1)
    _, cell = torch.unique(pairs, dim=0, return_inverse=True)
    # Without a baseline there is nothing a single visit could be compared with: the step part always has one.
    step = group_advantages(
        step_returns, cell, baseline="mean" if baseline == "none" else baseline, scale=scale, eps=eps
    )
    return episode[trajectory] + step_weight * step


def trajectory_advantages(
    returns: Float[Tensor, " traj"],
    group: Int[Tensor, " traj"],
    rewards: Float[Tensor, " turn"],
    trajectory: Int[Tensor, " turn"],
    anchor: Int[Tensor, " turn"],
    *,
    baseline: str = "mean",
    scale: str = "none",
    **_: object,
) -> Float[Tensor, " turn"]:
    """Return :func:`group_advantages` of each turn's trajectory: every turn of a trajectory gets the same.

    This is the signature of every estimator: of those in ``ADVANTAGES``, and of one that a recipe names ``module:function``.

    Args:
        returns: [traj] R; NaN for a trajectory that does not train (its world failed, or its group cannot teach).
        group: [traj] group ids; only equality matters.
        rewards: [turn] what each turn earned; they add up to ``returns``. Rows of one trajectory in turn order.
        trajectory: [turn] index into ``returns``.
        anchor: [turn] id of the state before the turn, without clock and RNG.
        baseline: The recipe's.
        scale: The recipe's.
        _: More of the recipe's options: ``gamma`` and ``step_weight`` (``gigpo_gamma``, ``gigpo_weight``). An estimator takes
            the options it has no use for, too (``**_``).

    Returns:
        [turn] fp32, NaN where the trajectory's return is.
    """
    return group_advantages(returns, group, baseline=baseline, scale=scale)[trajectory]


ADVANTAGES = {"group": trajectory_advantages, "gigpo": gigpo_advantages}
"""Estimators by the name a recipe gives them."""


def overlong_penalty(
    lengths: Int[Tensor, " turn"], limit: int, buffer: int, weight: float = 1.0
) -> Float[Tensor, " turn"]:
    """Return the soft overlong punishment per response: 0 up to ``limit − buffer`` tokens, then linear, −weight from ``limit`` on.

    DAPO, arXiv 2503.14476, eq. 13 (``buffer`` is L_cache). Part of the return, so it is there before groups are filtered.

    Raises:
        ValueError: ``buffer`` is not in 1…limit.
    """
    if not 0 < buffer <= limit:
        raise ValueError(f"overlong buffer {buffer} must be in 1…{limit} (the limit)")
    return -weight * ((lengths.float() - (limit - buffer)) / buffer).clamp(0.0, 1.0)
