"""A checkpoint as a plain transformers directory, for other tools."""

from __future__ import annotations

from pathlib import Path

import transformers

from crossagent.errors import CheckpointError
from crossagent.policy.model import Policy


def export_checkpoint(checkpoint: Path, directory: Path, adapter: bool = False) -> None:
    """Write a checkpoint as a plain transformers directory, special tokens and chat template included.

    Args:
        checkpoint: Of a policy.
        directory: New.
        adapter: Write the adapters alone, as PEFT does; else they are merged into the weights.

    Raises:
        CheckpointError: The checkpoint is unreadable, or has no adapters; or ``directory`` holds something already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"{directory}: exists and is not empty; expected a new directory to write to")
    transformers.utils.logging.disable_progress_bar()
    policy = Policy.load(checkpoint)
    if not adapter:
        policy.merged().save(directory)
    elif policy.config.lora is None:
        raise CheckpointError(
            f"{checkpoint}: has no adapters, all its weights were trained. Fix: export it without --adapter"
        )
    else:
        policy.export_adapter(directory)
