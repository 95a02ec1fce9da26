"""Going on where a stage stopped, bit by bit: resume points, and an orderly end on SIGTERM.

A resume point holds what the next step depends on: trained weights, optimiser, scheduler, position in the data, shared
generators, and what a module adds (curriculum, reference). A rollout is no part of it: it follows from seeds and weights,
so an iteration that was cut short is played again and comes out the same.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

from crossagent.distributed import Ranks
from crossagent.errors import CheckpointError, StageInterrupted
from crossagent.policy import checkpoint

RESUME = "resume"
"""Directory of the resume point, in a stage's directory."""
STATE = "state.ckpt"
"""What Lightning wrote, in the resume point."""
_GENERATORS = "crossagent_generators"


def save_resume_point(trainer: Any, module: Any, path: Path, rows: int) -> None:
    """Write a resume point, whole or not at all: Lightning's checkpoint, and a manifest with its size and hash.

    All ranks collect what is in it, the first one writes it; when they return it is there.
    """
    first = trainer.is_global_zero
    with checkpoint.staged(path) if first else nullcontext(path) as stage:
        trainer.save_checkpoint(stage / STATE, weights_only=False)
        if first:
            checkpoint.write_manifest(stage, {"rows": rows})
    Ranks.current().barrier()  # one that ended now would have the others stopped while it is being put in its place


def rows_done(path: Path) -> int:
    """Return how many rows of metrics the resume point at ``path`` holds; 0: there is none.

    Raises:
        CheckpointError: It is damaged.
    """
    if not checkpoint.recover(path).exists():
        return 0
    try:
        return int(checkpoint.read_manifest(path)["rows"])
    except (CheckpointError, KeyError) as error:
        raise CheckpointError(
            f"resume point {path} cannot be used ({error}). Fix: remove it; the stage then begins anew"
        ) from error


def generator_states() -> dict[str, Any]:
    """Return the states of the generators that libraries share: python's, numpy's, torch's. No pickled objects."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def restore_generators(states: Mapping[str, Any]) -> None:
    """Put back what :func:`generator_states` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"][0].cpu())


def save_module_state(module: Any, state: dict[str, Any], ranks: Ranks) -> None:
    """Complete a Lightning checkpoint: every rank's generators in, and weights that do not train out (a LoRA stage's base)."""
    state[_GENERATORS] = ranks.all_gather(generator_states())
    trained = _trained(module)
    state["state_dict"] = {name: value for name, value in state["state_dict"].items() if name in trained}


def load_module_state(module: Any, state: Mapping[str, Any], ranks: Ranks) -> Mapping[str, Any] | None:
    """Check that a Lightning checkpoint fits ``module``; return this rank's generators, for :func:`restore_generators`.

    None where there were fewer ranks: one that is new begins with generators of its own.

    Raises:
        CheckpointError: It holds other weights than those that train.
    """
    expected, found = _trained(module), set(state["state_dict"])
    if expected != found:
        raise CheckpointError(
            f"the resume point holds other weights than this policy trains, e.g. {sorted(expected ^ found)[0]!r}; "
            "remove it, or go on with the recipe that wrote it"
        )
    module.strict_loading = False  # the weights that do not train are not in it
    generators: list[Mapping[str, Any]] = state[_GENERATORS]
    return generators[ranks.rank] if ranks.rank < len(generators) else None


def _trained(module: Any) -> set[str]:
    frozen = {n for n, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return set(module.state_dict()) - frozen


def row_of(batch_idx: int, per_step: int) -> int:
    """Return the number (1 is the first) of the row of metrics that this batch completes, 0 where it completes none."""
    return (batch_idx + 1) // per_step if (batch_idx + 1) % per_step == 0 else 0


class ResumePoint(lightning.Callback):
    """Keeps the last state from which the stage can go on bit by bit."""

    def __init__(self, path: Path, per_step: int, every: int) -> None:
        self.path, self.per_step, self.every = path, per_step, every

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write a resume point every ``every`` rows."""
        row = row_of(batch_idx, self.per_step)
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
        row = row_of(batch_idx, self.per_step)
        if row and Ranks.current().any(self._asked):  # all of them stop, at the same step
            save_resume_point(trainer, module, self.path, row)
            raise StageInterrupted(
                f"stage {self.stage!r} was stopped by SIGTERM after step {row}; the same command goes on from there"
            )

    def teardown(self, trainer: Any, module: Any, stage: str) -> None:
        """Put the old handler back."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
