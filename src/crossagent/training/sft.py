"""Supervised training: negative log-likelihood of the demonstrated tokens, automatic optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossagent.distributed import Ranks
from crossagent.policy.model import Policy
from crossagent.seeding import derive
from crossagent.training.batch import Row
from crossagent.training.config import SFTConfig
from crossagent.training.data import SFTPart, SFTSchedule
from crossagent.training.fit import adamw, fit_stage, warmup_cosine
from crossagent.training.module import PolicyModule
from crossagent.training.stage import StageResult, StageRun
from crossagent.training.strategies import DeepSpeed, fill_gradients, gradient_norm


class SFTModule(PolicyModule):
    """Trains a policy on :class:`SFTPart`s; the loss of a step is Σ −w·log p ÷ trained tokens of the whole step, w the weight
    of the token's segment (``segment_weights``, else 1).

    Lightning divides by ``accumulate_grad_batches``, and gradients are averaged over ranks; both are multiplied back here, so
    the gradient depends on neither.
    """

    def __init__(self, policy: Policy, config: SFTConfig, total_steps: int) -> None:
        """Train ``policy`` for ``total_steps`` optimiser steps."""
        super().__init__(policy)
        self.config = config
        self.total_steps = total_steps
        self._sums = {"loss": 0.0, "tokens": 0.0}
        self._norm = 0.0

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout, where the model has any, is on in supervised training; its generator goes on where it stopped."""
        self.trained.train()
        super().on_train_batch_start(batch, batch_idx)

    def transfer_batch_to_device(self, batch: SFTPart, device: torch.device, dataloader_idx: int) -> SFTPart:
        """Move a micro-batch."""
        return SFTPart(batch.batch.to(device), batch.tokens, batch.pictures)

    def training_step(self, part: SFTPart, batch_idx: int) -> Tensor:
        """Return this micro-batch's share of the loss."""
        batch = part.batch
        output = self.trained.logprobs(
            batch.input_ids,
            batch.attention_mask,
            batch.loss_mask,
            dropout=True,
            entropy=False,
            images=batch.images,
            shared=batch.shared,
            looks=self.looks(part.pictures),
        )
        loss = -torch.where(batch.loss_mask, output.logprobs * batch.weights, 0.0).sum() / max(part.tokens, 1)
        self._sums["loss"] += float(loss.detach())
        self._sums["tokens"] += float(batch.loss_mask.sum())
        return loss * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the gradient's norm before it is clipped."""
        fill_gradients(self.trainer.strategy, self.trained_parameters)
        self._norm = gradient_norm(self.trained_parameters)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Make the step, and its row of metrics: sums over all ranks."""
        lr = float(optimizer.param_groups[0]["lr"])
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        sums = Ranks.current().all_reduce_sum(self._sums)
        strategy = self.trainer.strategy
        norm = strategy.last_norm if isinstance(strategy, DeepSpeed) else self._norm
        self.metrics = {
            "sft/loss": sums["loss"], "sft/tokens": sums["tokens"], "sft/grad_norm": norm, "sft/lr": lr,
        }  # fmt: skip
        self._sums = dict.fromkeys(self._sums, 0.0)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        c = self.config
        schedule = warmup_cosine(self.total_steps, round(c.warmup * self.total_steps), c.min_lr_ratio)
        return adamw(self.trained, c.lr, c.betas, c.weight_decay, schedule)


def train_sft(policy: Policy, rows: Sequence[Row], config: SFTConfig, run: StageRun) -> StageResult:
    """Train ``policy`` in place on ``rows``; writes ``metrics.jsonl`` and ``checkpoint/`` into the stage's directory.

    A stage that was stopped goes on from its resume point. One row of metrics per optimiser step.

    Raises:
        ValueError: Nothing to train on.
        StageInterrupted: SIGTERM came.
    """
    schedule = SFTSchedule(rows, config, policy.pad_id, derive(run.seed, run.name))
    module = SFTModule(policy, config, schedule.steps)
    return fit_stage(
        module,
        schedule,
        run,
        per_step=schedule.parts,
        checkpoint_every=config.checkpoint_every,
        max_grad_norm=config.max_grad_norm,
        accumulate_grad_batches=schedule.parts,
        gradient_clip_val=config.max_grad_norm,
    )
