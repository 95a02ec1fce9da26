"""What a stage of training gets from the pipeline and gives back. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossagent.training.config import TrainerConfig

Metrics = Mapping[str, float]


def _ignore(_: Any, *__: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class StageRun:
    """Where a stage writes, how it is seeded, and who listens."""

    name: str
    """``sft``, ``strl``, ``relabel``, ``mtrl``, or a name of yours; metrics and messages carry it."""
    directory: Path
    """Gets ``metrics.jsonl`` and ``checkpoint/``; ``resume/`` while the stage runs."""
    seed: int = 0
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """How Lightning runs the stage."""
    on_metrics: Callable[[int, Metrics], None] = _ignore
    """Called after each row of ``metrics.jsonl``: (optimiser step of SFT, or iteration of GRPO; 1 is the first)."""
    on_progress: Callable[[int, int, Metrics], None] = _ignore
    """Called with (done, total, metrics) after each step or iteration."""
    on_trajectories: Callable[[int, Any], None] = _ignore
    """GRPO: called with (iteration, the iteration's trajectories), to store them."""
    on_credit: Callable[[int, Any, Any], None] = _ignore
    """GRPO: called with (iteration, its trajectories, what training makes of them: :mod:`crossagent.rollout.credit`)."""
    evaluate: Callable[[int], float] | None = None
    """GRPO: called every ``evaluate_every`` iterations; its result decides which policy is ``best``."""
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    """More keyword arguments of ``lightning.Trainer``."""


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves."""

    stage: str
    checkpoint: Path
    """The policy's directory, Hugging Face layout."""
    steps: int
    """Optimiser steps."""
    seconds: float
    """Of this process; of an interrupted stage, the last part."""
    metrics: dict[str, float]
    """The last row of ``metrics.jsonl``."""
    resumed_from: int = 0
    """Step or iteration this process went on from; 0: from the beginning."""
