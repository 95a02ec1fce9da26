"""What the ranks of ``test_strategies.py`` train."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from training_kit import WordSource, rows_of, stage, timeless, tiny_policy

from crossagent.errors import StageInterrupted
from crossagent.policy.config import LoraConfig
from crossagent.training.callbacks import MetricsWriter, read_metrics
from crossagent.training.config import GRPOConfig, SFTConfig
from crossagent.training.grpo import train_grpo
from crossagent.training.ranks import Ranks
from crossagent.training.resume import row_of
from crossagent.training.sft import train_sft

SFT = SFTConfig(epochs=10, batch_size=12, micro_batches=3, lr=1e-3, checkpoint_every=5)
"""20 steps; the gradients of the first ones are clipped."""
GRPO = GRPOConfig(
    iterations=10, groups=4, group_size=4, lr=1e-3, micro_batch_tokens=64, logprob_batch_tokens=300, minibatches=2,
    kl_coef=0.05, entropy_coef=0.01, drop_all_fail=False, checkpoint_every=5, max_grad_norm=0.5,
)  # fmt: skip
"""20 steps of several micro-batches each."""


LORA = LoraConfig(r=4)


def train(
    directory: str, kind: str, strategy: str = "auto", *, stop: int = 0, precision: str = "32-true", **policy: Any
) -> dict[str, Any]:
    """Train a tiny policy and return what there is to compare.

    Args:
        directory: Of the stage.
        kind: ``sft`` or ``grpo``, or with ``-lora``.
        strategy: Of the recipe.
        stop: The last rank is sent SIGTERM in this row; 0: never.
        precision: Of the recipe.
        policy: Options of the policy.
    """
    torch.set_num_threads(1)
    ranks = Ranks.join()
    lora = LORA if kind.endswith("-lora") else None
    learner = tiny_policy(lora=lora, **policy)
    if stop:
        _terminate_in(stop)
    run = stage(Path(directory), strategy=strategy, precision=precision)
    found: dict[str, Any] = {"interrupted": "", "resumed": 0, "steps": 0}
    try:
        if kind.startswith("sft"):
            result = train_sft(learner, rows_of(learner), SFT, run)
        else:
            player = tiny_policy(lora=lora, **policy)  # plays the same whatever has been learned
            result = train_grpo(learner, WordSource(player), GRPO, run)
        found |= {"resumed": result.resumed_from, "steps": result.steps}
    except StageInterrupted as stopped:
        found["interrupted"] = str(stopped)
    ranks.wait()
    return {**found, "rows": timeless(read_metrics(Path(directory) / "metrics.jsonl"))}


def _terminate_in(stop: int) -> None:
    write = MetricsWriter.on_train_batch_end

    def asked(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if row_of(batch_idx, self.per_step) == stop and trainer.global_rank == trainer.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        write(self, trainer, module, outputs, batch, batch_idx)

    MetricsWriter.on_train_batch_end = asked  # type: ignore[method-assign]
