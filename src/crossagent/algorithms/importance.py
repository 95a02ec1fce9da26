"""Correction for a sampler that is not quite the trained policy: other kernels, other precision, stale weights."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossagent.algorithms.losses import segment_ids

MODES = ("truncate", "mask")
_LOG_CAP = 20.0


def importance_weights(
    old_logprobs: Float[Tensor, "row tok"],
    sampler_logprobs: Float[Tensor, "row tok"],
    mask: Bool[Tensor, "row tok"],
    *,
    cap: float = 2.0,
    level: str = "token",
    mode: str = "truncate",
    segments: Int[Tensor, "row tok"] | None = None,
) -> Float[Tensor, "row tok"]:
    """Return w = π_old(trainer) / π(sampler), to multiply the policy loss with; no gradient, 1 where ``mask`` is False.

    mode ``truncate``: min(w, cap) (truncated importance sampling, Ionides 2008; Yao et al. 2025, "Your efficient RL framework
    secretly brings you off-policy RL training"). ``mask``: w inside [1/cap, cap], else 0 (IcePop, 2025). level ``token``, or
    ``sequence``: the product over the response, a response being a turn (see :func:`crossagent.algorithms.losses.ratio`).

    Raises:
        ValueError: An unknown level or mode, or a cap below 1.
    """
    if mode not in MODES:
        raise ValueError(f"unknown importance mode {mode!r}; expected one of {MODES}")
    if level not in ("token", "sequence"):
        raise ValueError(f"unknown importance level {level!r}; expected 'token' or 'sequence'")
    if cap < 1.0:
        raise ValueError(f"importance cap {cap} must be at least 1")
    log_w = torch.where(mask, (old_logprobs - sampler_logprobs).float(), 0.0).detach()
    if level == "sequence":
        index, count = segment_ids(mask, segments)
        total = torch.zeros(count, device=mask.device).index_add(0, index.reshape(-1), log_w.reshape(-1))
        log_w = torch.where(mask, total[index], 0.0)
    weights = log_w.clamp(-_LOG_CAP, _LOG_CAP).exp()
    if mode == "mask":
        return torch.where((weights <= cap) & (weights >= 1.0 / cap), weights, 0.0)
    return weights.clamp(max=cap)
