"""A checkpoint as a plain transformers directory, for other tools."""

from __future__ import annotations

from pathlib import Path

import transformers

from crossagent.errors import CheckpointError
from crossagent.policy.model import Policy


def export_checkpoint(checkpoint: Path, directory: Path) -> None:
    """Write a checkpoint as a plain transformers directory: adapters merged, special tokens and chat template included.

    Raises:
        CheckpointError: The checkpoint is unreadable, or ``directory`` holds something already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"{directory}: exists and is not empty; expected a new directory to write to")
    transformers.utils.logging.disable_progress_bar()
    Policy.load(checkpoint).merged().save(directory)
