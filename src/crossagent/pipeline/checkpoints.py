"""Which checkpoint a path means: a run's last finished stage, or a checkpoint itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossagent.errors import CheckpointError
from crossagent.policy.checkpoint import MANIFEST
from crossagent.recipe.schema import RECIPE_FILE, STAGES


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint, and the recipe of the run it belongs to."""

    checkpoint: Path
    recipe: Path | None


def find_checkpoint(target: Path, recipe: Path | None = None) -> FoundCheckpoint:
    """Return the checkpoint that ``target`` means: a run directory's last finished stage, or the directory itself.

    Raises:
        CheckpointError: There is none, or the run has finished no stage.
    """
    if not target.is_dir():
        raise CheckpointError(f"{target}: no such directory; expected a run, e.g. runs/quickstart, or a checkpoint")
    composed = target / RECIPE_FILE
    if composed.is_file():
        done = [stage for stage in STAGES if (target / stage / "checkpoint" / MANIFEST).is_file()]
        if not done:
            raise CheckpointError(f"{target}: the run has finished no stage yet; run its recipe first")
        return FoundCheckpoint(target / done[-1] / "checkpoint", recipe or composed)
    if (target / "checkpoint").is_dir():
        target = target / "checkpoint"
    if recipe is None:
        composed = target.resolve().parent.parent / RECIPE_FILE
        recipe = composed if composed.is_file() else None
    return FoundCheckpoint(target, recipe)
