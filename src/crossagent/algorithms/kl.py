"""Estimates of KL(π ‖ π_ref) per token from log-probs of the sampled token (Schulman 2020, joschu.net/blog/kl-approx).

As a term of the loss, differentiated with the samples held fixed, k2's gradient is that of the reverse KL, and k3's is not
(k3's expected gradient is that of the forward KL); k1's expected gradient is 0. Multiplied by the ratio π/π_old, k1 and k3
have the gradient of the reverse KL, too (DeepSeek-V3.2, arXiv 2512.02556). All are [*shape] in, [*shape] out, in nats.
"""

from jaxtyping import Float
from torch import Tensor

_CAP = 20.0


def k1(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log π − log π_ref: unbiased, of either sign."""
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ½ (log π − log π_ref)²: low variance, biased in value."""
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return r − 1 − log r with r = π_ref/π: unbiased in value, never negative (GRPO, arXiv 2402.03300, eq. 4)."""
    log_r = (ref_logprobs - logprobs).clamp(-_CAP, _CAP)
    return log_r.exp() - 1.0 - log_r


KL = {"k1": k1, "k2": k2, "k3": k3}
