"""What SFT and GRPO share: the optimiser, an ordinary ``lightning.Trainer``, and going on where a stage stopped."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn
from torchdata.stateful_dataloader import StatefulDataLoader

from crossagent.distributed import Ranks
from crossagent.policy import checkpoint
from crossagent.policy.kernels import compile_layers, use_liger
from crossagent.seeding import derive
from crossagent.training.callbacks import METRICS, Evaluator, MetricsWriter, read_metrics, truncate_metrics
from crossagent.training.module import PolicyModule
from crossagent.training.resume import RESUME, STATE, Interruptible, ResumePoint, rows_done
from crossagent.training.stage import StageResult, StageRun
from crossagent.training.strategies import build_strategy, cluster_environment

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint"
"""The policy at the end, in a stage's directory."""


def adamw(
    module: nn.Module, lr: float, betas: Sequence[float], weight_decay: float, schedule: Callable[[int], float]
) -> dict[str, Any]:
    """Return what ``configure_optimizers`` returns: AdamW, decay on matrices only, lr × ``schedule(step)``."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=(betas[0], betas[1]),
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def warmup_cosine(total: int, warmup: int, floor: float) -> Callable[[int], float]:
    """Return step → factor: linear from 1/warmup to 1, then half a cosine to ``floor`` at ``total``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * done))

    return factor


def warmup_constant(warmup: int) -> Callable[[int], float]:
    """Return step → factor: linear from 1/warmup to 1, then 1."""
    return lambda step: min(1.0, (step + 1) / max(1, warmup))


def fit_stage(
    module: PolicyModule,
    data: Any,
    run: StageRun,
    *,
    per_step: int,
    checkpoint_every: int,
    max_grad_norm: float,
    callbacks: Sequence[lightning.Callback] = (),
    **trainer_options: Any,
) -> StageResult:
    """Train ``module`` on ``data`` from the beginning, or from the last resume point in the stage's directory.

    Called by every process of the run (:class:`crossagent.distributed.Ranks`); the first one writes.

    Args:
        module: Trains a policy; its ``metrics`` are the row of the step or iteration just done.
        data: A sized dataset; one item is one ``training_step``.
        run: Where, how, who listens.
        per_step: Items per row of metrics.
        checkpoint_every: Rows between resume points; 0: none.
        max_grad_norm: To which gradients are clipped.
        callbacks: More of them; they run before the row is written.
        trainer_options: Of ``lightning.Trainer``.

    Raises:
        StageInterrupted: SIGTERM came; a resume point was written.
        CheckpointError: The resume point does not fit the policy.
    """
    ranks = Ranks.current()
    resume, metrics_file = run.directory / RESUME, run.directory / METRICS
    begun = time.monotonic()
    if run.trainer.liger:
        use_liger(module.policy.backbone)
    if run.trainer.compile:
        compile_layers(module.policy.layers())
    done = ranks.broadcast(_prepare(run, resume, metrics_file) if ranks.is_rank_zero else 0)
    torch.manual_seed(derive(run.seed, "torch", run.name, *([ranks.rank] if ranks.rank else [])))
    with _quiet():
        trainer = lightning.Trainer(
            accelerator=run.trainer.accelerator,
            devices=ranks.local_size,
            num_nodes=ranks.size // ranks.local_size,
            strategy=build_strategy(
                run.trainer.strategy, accelerator=run.trainer.accelerator, ranks=ranks, max_grad_norm=max_grad_norm
            ),
            plugins=[cluster_environment(ranks)],
            precision=run.trainer.precision,  # type: ignore[arg-type]
            deterministic=run.trainer.deterministic,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[
                *callbacks,
                MetricsWriter(metrics_file, run, per_step, len(data) // per_step),
                ResumePoint(resume, per_step, checkpoint_every),
                Interruptible(resume, run.name, per_step),
            ],
            **trainer_options,
            **run.trainer_options,
        )
        # A batch is ids and masks, in a frozen dataclass that Lightning's half precision would fail to convert.
        trainer.precision_plugin.convert_input = lambda data: data  # type: ignore[method-assign]
        _fit(trainer, module, data, resume / STATE if done else None)
    if ranks.is_rank_zero:
        _finish(module, run, resume, [c for c in callbacks if isinstance(c, Evaluator) and c.keep_best])
    ranks.barrier()
    rows = read_metrics(metrics_file)
    return StageResult(
        stage=run.name,
        checkpoint=run.directory / CHECKPOINT,
        steps=int(trainer.global_step),
        seconds=time.monotonic() - begun,
        metrics=rows[-1] if rows else {},
        resumed_from=done,
    )


def _prepare(run: StageRun, resume: Path, metrics_file: Path) -> int:
    """Make the stage's directory as it was when its resume point was written; return the rows of metrics it holds."""
    run.directory.mkdir(parents=True, exist_ok=True)
    done = rows_done(resume)
    if done:
        log.info("stage %s goes on after row %d of its metrics", run.name, done)
        truncate_metrics(metrics_file, done)
    else:
        metrics_file.unlink(missing_ok=True)
    return done


def _finish(module: PolicyModule, run: StageRun, resume: Path, best: Sequence[Evaluator]) -> None:
    """Write the stage's checkpoint; then nothing of the way there is needed any more."""
    for evaluator in best:
        evaluator.restore_best(module.policy)
    module.policy.save(run.directory / CHECKPOINT)
    checkpoint.discard(resume)
    for evaluator in best:
        evaluator.clean()


def _fit(trainer: lightning.Trainer, module: PolicyModule, data: Any, state: Path | None) -> None:
    loader: StatefulDataLoader[Any] = StatefulDataLoader(data, batch_size=None, shuffle=False, num_workers=0)
    try:
        trainer.fit(module, loader, ckpt_path=None if state is None else str(state), weights_only=True)
    except SystemExit as end:
        if trainer.interrupted:  # Lightning turns Ctrl-C into exit(1), silently; who called decides what it means
            raise KeyboardInterrupt from end
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements, and its advice on choices made here on purpose, off the terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                "Found .* module\\(s\\) in eval mode",  # modes are set per phase
                "The 'train_dataloader' does not have many workers",
                ".*treespec, LeafSpec.*",  # Lightning-AI/pytorch-lightning: torch 2.13's deprecation
                "'set_vital' is deprecated",  # torchdata 0.11 on torch 2.13
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)
