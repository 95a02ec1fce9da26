"""Policy-gradient losses per token: importance ratio, clipping, entropy. fp32, no reduction: see ``aggregate``."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RATIOS = ("token", "sequence")
_LOG_CAP = 20.0
"""|log ratio| is capped here: e^20 is far outside any clip range and still finite in fp32."""


def segment_ids(
    mask: Bool[Tensor, "row tok"], segments: Int[Tensor, "row tok"] | None
) -> tuple[Int[Tensor, "row tok"], int]:
    """Return a dense id per (row, segment) and their number; without ``segments`` a row is one segment."""
    rows = torch.arange(mask.shape[0], device=mask.device)[:, None].expand(mask.shape)
    if segments is None:
        return rows, mask.shape[0]
    pairs = torch.stack([rows, torch.where(mask, segments, -1)], dim=-1).reshape(-1, 2)
    unique, index = torch.unique(pairs, dim=0, return_inverse=True)
    return index.reshape(mask.shape), len(unique)


def ratio(
    logprobs: Float[Tensor, "row tok"],
    old_logprobs: Float[Tensor, "row tok"],
    mask: Bool[Tensor, "row tok"],
    *,
    level: str = "token",
    segments: Int[Tensor, "row tok"] | None = None,
) -> Float[Tensor, "row tok"]:
    """Return π/π_old per token, 1 where ``mask`` is False.

    level ``token``: exp(log π − log π_old) (PPO, arXiv 1707.06347). ``sequence``: the geometric mean over the response, the
    same number at each of its tokens (GSPO, arXiv 2507.18071, eq. 7). A sequence is one *turn* (``segments`` tells turns of
    a concatenated row apart), so the result does not depend on whether turns share a row.

    Raises:
        ValueError: An unknown level.
    """
    if level not in RATIOS:
        raise ValueError(f"unknown ratio level {level!r}; expected one of {RATIOS}")
    log_ratio = torch.where(mask, logprobs.float() - old_logprobs.float(), 0.0)
    if level == "sequence":
        index, count = segment_ids(mask, segments)
        flat, ones = index.reshape(-1), mask.reshape(-1).float()
        total = torch.zeros(count, device=mask.device).index_add(0, flat, log_ratio.reshape(-1))
        length = torch.zeros(count, device=mask.device).index_add(0, flat, ones)
        log_ratio = torch.where(mask, (total / length.clamp(min=1))[index], 0.0)
    return log_ratio.clamp(-_LOG_CAP, _LOG_CAP).exp()


def clipped_loss(
    ratio: Float[Tensor, "row tok"],
    advantages: Float[Tensor, "row tok"],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Float[Tensor, "row tok"]:
    """Return −min(ρ Â, clip(ρ, 1−ε_low, 1+ε_high) Â) per token.

    PPO (arXiv 1707.06347, eq. 7); ε_high > ε_low is clip-higher (DAPO, arXiv 2503.14476). With ``dual_clip`` c > 1 and Â < 0
    the loss is at most −c Â (dual-clip PPO, arXiv 1912.09729, eq. 5), which bounds the step on tokens whose ratio exploded.
    """
    loss = torch.maximum(-ratio * advantages, -ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages)
    if dual_clip is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)
    return loss


def reinforce_loss(
    ratio: Float[Tensor, "row tok"],
    advantages: Float[Tensor, "row tok"],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Float[Tensor, "row tok"]:
    """Return −ρ Â per token: the unclipped surrogate, whose gradient at ρ = 1 is REINFORCE. The clips are ignored."""
    return -ratio * advantages


def clip_fractions(
    ratio: Float[Tensor, "row tok"],
    advantages: Float[Tensor, "row tok"],
    mask: Bool[Tensor, "row tok"],
    *,
    clip_low: float,
    clip_high: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return how many masked tokens are clipped (low: Â < 0 below 1−ε_low; high: Â > 0 above 1+ε_high), as sums."""
    low = mask & (advantages < 0) & (ratio < 1.0 - clip_low)
    high = mask & (advantages > 0) & (ratio > 1.0 + clip_high)
    return low.sum().float(), high.sum().float()


def entropy(logits: Float[Tensor, "*shape vocab"]) -> Float[Tensor, "*shape"]:
    """Return H(softmax(logits)) in nats, in fp32; divide the logits by the sampling temperature first."""
    logprobs = logits.float().log_softmax(-1)
    # A masked token has logit −inf: p log p is 0 there, not 0 · (−inf).
    return -torch.where(logprobs.isneginf(), 0.0, logprobs.exp() * logprobs).sum(-1)


LOSSES = {"clip": clipped_loss, "reinforce": reinforce_loss}
