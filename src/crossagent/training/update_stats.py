"""What GRPO's micro-batches say of themselves, added up over an iteration and over ranks: the metrics ``train/…``."""

from __future__ import annotations

import torch
from torch import Tensor

from crossagent.algorithms import clip_fractions
from crossagent.distributed import Ranks
from crossagent.training.batch import Batch


class UpdateStats:
    """Sums over the micro-batches of an iteration, divided once."""

    def __init__(self) -> None:
        self.steps = self.skipped = 0
        self.norm = self.loss = 0.0
        self.tokens = self.low = self.high = self.ratio = self.kl = self.kl_old = self.gap = 0.0
        self.ratio_max = self.gap_max = self.first_deviation = 0.0
        self._kl_known = False

    def add(
        self,
        loss: Tensor,
        rho: Tensor,
        moved: Tensor,
        old: Tensor,
        batch: Batch,
        clips: dict[str, float],
        kl: Tensor | None,
        first: bool,
    ) -> None:
        """Add a micro-batch.

        Args:
            loss: Its part of the step's.
            rho: [row, tok] ratio of new to old probabilities.
            moved: [row, tok] estimate of KL(old ‖ new).
            old: [row, tok] old log-probs.
            batch: Its rows.
            clips: Bounds of the ratio.
            kl: [row, tok] to the reference; None: there is none.
            first: Whether no optimiser step came before it in this iteration.
        """
        mask = batch.loss_mask
        self.loss += float(loss)
        self.tokens += float(mask.sum())
        low, high = clip_fractions(rho, batch.advantages, mask, **clips)
        self.low, self.high = self.low + float(low), self.high + float(high)
        taken = rho[mask]
        self.ratio += float(taken.sum())
        self.kl_old += float(moved[mask].sum())
        self.ratio_max = max(self.ratio_max, float(taken.max()))
        gap = torch.where(batch.explored, 0.0, old - batch.sampler_logprobs)[mask].abs()
        self.gap, self.gap_max = self.gap + float(gap.sum()), max(self.gap_max, float(gap.max()))
        if first:
            self.first_deviation = max(self.first_deviation, float((taken - 1.0).abs().max()))
        if kl is not None:
            self._kl_known, self.kl = True, self.kl + float(kl[mask].sum())

    def over(self, ranks: Ranks) -> UpdateStats:
        """Return the sums and maxima over all ranks; what is counted per step is the same on all of them."""
        if ranks.size == 1:
            return self
        everyone, whole = ranks.all_gather(self), UpdateStats()
        whole.steps, whole.skipped, whole.norm = self.steps, self.skipped, self.norm
        for name in ("loss", "tokens", "low", "high", "ratio", "kl", "kl_old", "gap"):
            setattr(whole, name, sum(getattr(one, name) for one in everyone))
        for name in ("ratio_max", "gap_max", "first_deviation", "_kl_known"):
            setattr(whole, name, max(getattr(one, name) for one in everyone))
        return whole

    def means(self) -> dict[str, float]:
        """Return the metrics: means over trained tokens, and what was largest."""
        metrics = {
            "train/optimizer_steps": float(self.steps - self.skipped),
            "train/skipped_steps": float(self.skipped),
        }
        if self.steps:
            n = max(self.tokens, 1.0)
            metrics |= {
                "train/loss": self.loss / self.steps,
                "train/grad_norm": self.norm / max(self.steps - self.skipped, 1),
                "train/tokens": self.tokens,
                "train/ratio_mean": self.ratio / n,
                "train/ratio_max": self.ratio_max,
                "train/ratio_first_deviation": self.first_deviation,
                "train/kl_old": self.kl_old / n,
                "train/clip_low": self.low / n,
                "train/clip_high": self.high / n,
                "train/sampler_gap_mean": self.gap / n,
                "train/sampler_gap_max": self.gap_max,
            }
            if self._kl_known:
                metrics["train/kl"] = self.kl / n
        return metrics
