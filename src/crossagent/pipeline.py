"""A recipe's run, from demonstrations to the table. In: a :class:`Plan`; out: the run directory and its summary.

``run`` reads top to bottom as the run happens. Each step is skipped when ``state.json`` says that it has finished;
stages meet at checkpoints (docs/decisions/0002), so a continued run equals an unbroken one.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from crossagent.compose import plain
from crossagent.envs.worker import WorkerPool
from crossagent.envs.world import Described, WorldConfig
from crossagent.errors import CheckpointError, CrossAgentError, RecipeError, lookup
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.recipe import Plan, Recipe
from crossagent.run_directory import RunDirectory
from crossagent.seeding import derive
from crossagent.tracking import plots, summary
from crossagent.tracking.files import MetricsFile, read_json, write_json
from crossagent.tracking.mlflow import Tracker
from crossagent.tracking.progress import ProgressDisplay

log = logging.getLogger(__name__)
UNTRAINED = "untrained"
MIXED = "mixed"


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Run a recipe, or what is left of it, and print its table.

    Returns:
        The content of ``summary.json``.

    Raises:
        CrossAgentError: Something that is the user's to fix; the run goes on from there once it is.
    """
    directory = RunDirectory.open(plan.recipe)
    with directory.locked():
        if directory.result("summary") is not None:
            console.print(f"{directory.path} is complete; its table:", highlight=False)
            return _show(directory, console)
        with ExitStack() as stack:
            progress = stack.enter_context(ProgressDisplay())
            context = _Context.open(plan, directory, progress, stack)
            _collect_demonstrations(context)
            for stage in (UNTRAINED, *plan.recipe.stages):
                _train(context, stage)
                _evaluate(context, stage)
            _evaluate_experts(context)
            _summarize(context)
        return _show(directory, console)


def evaluate_checkpoint(
    plan: Plan, checkpoint: Path, suites: Sequence[str], spaces: Sequence[str], episodes: int | None
) -> dict[str, dict[str, Any]]:
    """Evaluate one checkpoint; writes nothing.

    Args:
        plan: Says the environment, the spaces and the suites.
        checkpoint: A directory that :meth:`Policy.save` wrote.
        suites: Names of suites; empty: all of the recipe's.
        spaces: The spaces the agent may use; empty: all. The prompt lists these only.
        episodes: Per suite; None: as the recipe says.

    Returns:
        suite → kind → cell, kind being ``mixed``, a space's name, or several joined with ``+``.

    Raises:
        CrossAgentError: An unknown suite or space, or an unreadable checkpoint.
    """
    recipe = plan.recipe
    for suite in suites:
        lookup(suite, plan.suites, "suite", RecipeError)
    for space in spaces:
        lookup(space, recipe.spaces, "space of this recipe", RecipeError)
    chosen = tuple(name for name in recipe.spaces if name in spaces) if spaces else tuple(recipe.spaces)
    kind = MIXED if len(chosen) == len(recipe.spaces) and len(chosen) > 1 else "+".join(chosen)
    configure_torch(recipe)
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressDisplay())
        policy = Policy.load(checkpoint)
        agent = Agent.open(plan, stack)
        return {
            suite: {kind: agent.evaluate(policy, suite, chosen, episodes or recipe.evaluation.episodes, progress)[0]}
            for suite in (suites or plan.suites)
        }


def export_checkpoint(checkpoint: Path, directory: Path) -> None:
    """Write a checkpoint as a plain transformers directory: adapters merged, special tokens and chat template included.

    Raises:
        CheckpointError: The checkpoint is unreadable, or ``directory`` holds something already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"{directory}: exists and is not empty; expected a new directory to write to")
    Policy.load(checkpoint).export(directory)


def configure_torch(recipe: Recipe) -> None:
    """Set threads, seed and determinism of the main process as the recipe says."""
    import torch

    if recipe.trainer.threads:
        torch.set_num_threads(recipe.trainer.threads)
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(recipe.trainer.deterministic)
