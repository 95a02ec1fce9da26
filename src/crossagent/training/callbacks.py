"""What happens beside training: rows of metrics, evaluation in between."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch

from crossagent.distributed import Ranks
from crossagent.policy import checkpoint
from crossagent.training.resume import row_of
from crossagent.training.stage import StageRun

log = logging.getLogger(__name__)
METRICS = "metrics.jsonl"
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


class MetricsWriter(lightning.Callback):
    """Appends ``module.metrics`` to ``metrics.jsonl`` after each step (SFT) or iteration (GRPO), and tells the hooks."""

    def __init__(self, path: Path, run: StageRun, per_step: int, total: int) -> None:
        self.path, self.run, self.per_step, self.total = path, run, per_step, total

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write one row."""
        row = row_of(batch_idx, self.per_step)
        if not row or not trainer.is_global_zero:
            return
        metrics = {"step": row, **{name: float(value) for name, value in sorted(module.metrics.items())}}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        self.run.on_metrics(row, metrics)
        self.run.on_progress(row, self.total, metrics)


class Evaluator(lightning.Callback):
    """Evaluates every so many iterations, and keeps the best policy in ``best/``.

    ``evaluate`` is called on all ranks; what it returns on rank 0 counts.
    """

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
        ranks = Ranks.current()
        value = ranks.broadcast(float(self.evaluate(iteration)))
        if self.keep_best and value > self.best_value:
            self.best_value, self.best_iteration = value, iteration
            if ranks.is_rank_zero:
                module.policy.save(self.directory / BEST)
        return value

    def restore_best(self, policy: Any) -> None:
        """Put the best policy's weights into ``policy``."""
        from crossagent.policy.model import Policy

        best = Policy.load(self.directory / BEST)
        own = {name: value for name, value in best.named_parameters() if name in dict(policy.named_parameters())}
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if name in own:
                    parameter.copy_(own[name])
        log.info("kept the policy of iteration %d (evaluated %.4g)", self.best_iteration, self.best_value)

    def clean(self) -> None:
        """Remove ``best/``, once the stage's checkpoint is written."""
        checkpoint.discard(self.directory / BEST)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed stage needs."""
        return {"value": self.best_value, "iteration": self.best_iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.best_value, self.best_iteration = state_dict["value"], state_dict["iteration"]
