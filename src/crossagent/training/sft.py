"""Supervised training: negative log-likelihood of the demonstrated tokens, automatic optimisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from crossagent.policy.model import Policy
from crossagent.rollout.batch import Row
from crossagent.seeding import derive
from crossagent.training.config import SFTConfig
from crossagent.training.data import SFTPart, SFTSchedule
from crossagent.training.fit import adamw, fit_stage, warmup_cosine
from crossagent.training.resume import load_module_state, restore_generators, save_module_state
from crossagent.training.stage import StageResult, StageRun


class SFTModule(lightning.LightningModule):
    """Trains a policy on :class:`SFTPart`s; the loss of a step is Σ −w·log p ÷ trained tokens of the whole step, w the weight
    of the token's segment (``segment_weights``, else 1).

    Lightning divides by ``accumulate_grad_batches`` and DDP by the number of ranks; both are multiplied back here, so the
    gradient depends on neither.
    """

    def __init__(self, policy: Policy, config: SFTConfig, total_steps: int) -> None:
        """Train ``policy`` for ``total_steps`` optimiser steps."""
        super().__init__()
        self.policy = policy
        self.config = config
        self.total_steps = total_steps
        self.metrics: dict[str, float] = {}
        """The last optimiser step."""
        self._sums = {"loss": 0.0, "tokens": 0.0}
        self._generators: Mapping[str, Any] | None = None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout, where the model has any, is on in supervised training; its generator goes on where it stopped."""
        self.policy.train()
        if self._generators is not None:
            restore_generators(self._generators)
            self._generators = None

    def transfer_batch_to_device(self, batch: SFTPart, device: torch.device, dataloader_idx: int) -> SFTPart:
        """Move a micro-batch."""
        return SFTPart(batch.batch.to(device), batch.tokens)

    def training_step(self, part: SFTPart, batch_idx: int) -> Tensor:
        """Return this micro-batch's share of the loss."""
        batch = part.batch
        output = self.policy.logprobs(
            batch.input_ids,
            batch.attention_mask,
            batch.loss_mask,
            dropout=True,
            entropy=False,
            images=batch.images,
            shared=batch.shared,
        )
        loss = -torch.where(batch.loss_mask, output.logprobs * batch.weights, 0.0).sum() / max(part.tokens, 1)
        self._sums["loss"] += float(loss.detach())
        self._sums["tokens"] += float(batch.loss_mask.sum())
        return loss * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the gradient's norm before it is clipped."""
        norms = [p.grad.norm() for p in self.policy.parameters() if p.grad is not None]
        self.metrics = {
            "sft/loss": self._sums["loss"],
            "sft/tokens": self._sums["tokens"],
            "sft/grad_norm": float(torch.stack(norms).norm()) if norms else 0.0,
            "sft/lr": float(optimizer.param_groups[0]["lr"]),
        }
        self._sums = dict.fromkeys(self._sums, 0.0)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        c = self.config
        schedule = warmup_cosine(self.total_steps, round(c.warmup * self.total_steps), c.min_lr_ratio)
        return adamw(self.policy, c.lr, c.betas, c.weight_decay, schedule)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not keep."""
        save_module_state(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back; the generators when the first batch begins: what Lightning draws until then must not count."""
        self._generators = load_module_state(self, checkpoint)


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
        accumulate_grad_batches=schedule.parts,
        gradient_clip_val=config.max_grad_norm,
    )
