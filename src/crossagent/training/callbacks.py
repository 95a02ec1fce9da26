"""What happens beside training: rows of metrics, resume points, an orderly end on SIGTERM, evaluation in between."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch

from crossagent.errors import StageInterrupted
from crossagent.training.stage import StageRun

log = logging.getLogger(__name__)
METRICS = "metrics.jsonl"
RESUME = "resume.ckpt"
BEST = "best"


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``metrics.jsonl``; a torn last line (the process was killed while writing) is left out."""
    rows: list[dict[str, float]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def truncate_metrics(path: Path, rows: int) -> None:
    """Keep the first ``rows`` rows: those of steps that a resume point holds."""
    kept = read_metrics(path)[:rows]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    os.replace(temporary, path)


def _row(batch_idx: int, per_step: int) -> int:
    """Return the number (1 is the first) of the row that this batch completes, 0 where it completes none."""
    return (batch_idx + 1) // per_step if (batch_idx + 1) % per_step == 0 else 0


class MetricsWriter(lightning.Callback):
    """Appends ``module.metrics`` to ``metrics.jsonl`` after each step (SFT) or iteration (GRPO), and tells the hooks."""

    def __init__(self, path: Path, run: StageRun, per_step: int, total: int) -> None:
        self.path, self.run, self.per_step, self.total = path, run, per_step, total

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write one row."""
        row = _row(batch_idx, self.per_step)
        if not row or not trainer.is_global_zero:
            return
        metrics = {"step": row, **{name: float(value) for name, value in sorted(module.metrics.items())}}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        self.run.on_metrics(row, metrics)
        self.run.on_progress(row, self.total, metrics)


def save_resume_point(trainer: Any, module: Any, path: Path, rows: int) -> None:
    """Write a Lightning checkpoint, whole or not at all."""
    module.rows_done = rows
    temporary = path.with_suffix(".tmp")
    trainer.save_checkpoint(temporary, weights_only=False)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


class ResumePoint(lightning.Callback):
    """Keeps the last state from which the stage can go on bit by bit."""

    def __init__(self, path: Path, per_step: int, every: int) -> None:
        self.path, self.per_step, self.every = path, per_step, every

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write a resume point every ``every`` rows."""
        row = _row(batch_idx, self.per_step)
        if row and self.every and row % self.every == 0:
            save_resume_point(trainer, module, self.path, row)


class Interruptible(lightning.Callback):
    """On SIGTERM: finish the step, write a resume point, stop with :class:`StageInterrupted`."""

    def __init__(self, path: Path, stage: str, per_step: int) -> None:
        self.path, self.stage, self.per_step = path, stage, per_step
        self._asked = False
        self._before: Any = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Install the handler (Lightning's own, installed earlier, ends without a checkpoint)."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop here if asked to."""
        row = _row(batch_idx, self.per_step)
        if self._asked and row:
            save_resume_point(trainer, module, self.path, row)
            raise StageInterrupted(
                f"stage {self.stage!r} was stopped by SIGTERM after step {row}; the same command goes on from there"
            )

    def teardown(self, trainer: Any, module: Any, stage: str) -> None:
        """Put the old handler back."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None


class Evaluator(lightning.Callback):
    """Evaluates every so many iterations, and keeps the best policy in ``best/``."""

    def __init__(self, evaluate: Callable[[int], float], every: int, keep_best: bool, directory: Path) -> None:
        self.evaluate, self.every, self.keep_best, self.directory = evaluate, every, keep_best, directory
        self.best_value, self.best_iteration = float("-inf"), -1

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Evaluate the policy the stage begins with: a stage that only harms must not win."""
        if self.keep_best and self.best_iteration < 0:
            self._consider(module, 0)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Evaluate after every ``every``-th iteration."""
        if (batch_idx + 1) % self.every == 0:
            module.metrics["eval/value"] = self._consider(module, batch_idx + 1)

    def _consider(self, module: Any, iteration: int) -> float:
        value = float(self.evaluate(iteration))
        if self.keep_best and value > self.best_value:
            self.best_value, self.best_iteration = value, iteration
            module.policy.save(self.directory / BEST)
        return value

    def restore_best(self, policy: Any) -> None:
        """Put the best policy's weights into ``policy``; ``best/`` is removed."""
        from crossagent.policy.model import Policy

        best = Policy.load(self.directory / BEST)
        own = {name: value for name, value in best.named_parameters() if name in dict(policy.named_parameters())}
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if name in own:
                    parameter.copy_(own[name])
        log.info("kept the policy of iteration %d (evaluated %.4g)", self.best_iteration, self.best_value)
        shutil.rmtree(self.directory / BEST, ignore_errors=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed stage needs."""
        return {"value": self.best_value, "iteration": self.best_iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.best_value, self.best_iteration = state_dict["value"], state_dict["iteration"]
