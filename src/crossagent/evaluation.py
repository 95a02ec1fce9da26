"""Playing a recipe's suites with a checkpoint: the workers, the cells, and torch as the recipe wants it.

Needs no Lightning, so ``crossagent eval`` starts quickly. The pipeline uses the same :class:`Worlds` after each stage.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from crossagent.envs.recording import MIXED
from crossagent.envs.worker import WorkerPool
from crossagent.envs.world import Described, WorldConfig
from crossagent.errors import RecipeError, lookup
from crossagent.plugin import Sampler, SamplingParams
from crossagent.policy.fast_sampler import FastSampler
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.policy.sampler import GenerateSampler
from crossagent.recipe import Plan, Recipe
from crossagent.rollout.evaluate import evaluate, evaluation_list
from crossagent.seeding import derive
from crossagent.spaces import CostRule
from crossagent.tracking.progress import ProgressDisplay
from crossagent.types import Trajectory


class Worlds:
    """The environment workers of a recipe, and how a policy is evaluated in them."""

    def __init__(self, plan: Plan, pool: WorkerPool) -> None:
        self.plan, self.pool = plan, pool
        self.described: Described = pool.describe()

    @classmethod
    def open(cls, plan: Plan, stack: ExitStack) -> Worlds:
        """Start the workers; the stack ends them."""
        rollout = plan.recipe.rollout
        config = WorldConfig(
            env=plan.environment,
            env_options=plan.recipe.environment.options,
            spaces=tuple((spec, plan.recipe.spaces[spec.name].options) for spec in plan.spaces),
            costs={name: CostRule(**asdict(space.cost)) for name, space in plan.recipe.spaces.items()},
        )
        pool = WorkerPool(config, rollout.workers, rollout.worlds_per_worker, rollout.timeout_s)
        return cls(plan, stack.enter_context(pool))

    def prompt(self, policy: Policy) -> PromptFormat:
        """Return how prompts are written for this policy."""
        return PromptFormat(policy.tokenizer, self.plan.recipe.prompt, self.described.fragments, self.described.headers)

    def sampler(self, policy: Policy) -> Sampler:
        """Return what turns prompts into responses of this policy: built in, or a plugin's."""
        chosen = self.plan.recipe.rollout.sampler
        built_in = {"fast": FastSampler, "generate": GenerateSampler}.get(chosen.name)
        return built_in(policy) if built_in else self.plan.plugins.build_sampler(chosen.name, policy, chosen.options)

    def evaluate(
        self,
        policy: Policy,
        suite: str,
        spaces: Sequence[str],
        progress: ProgressDisplay,
        name: str,
        episodes: int | None = None,
    ) -> tuple[dict[str, Any], list[Trajectory]]:
        """Play one cell: a suite, with a prompt that lists these spaces only."""
        recipe = self.plan.recipe
        config = recipe.evaluation
        listed = evaluation_list(suite, self.plan.suites[suite], episodes or config.episodes, config.seed)
        wins = 0
        with progress.task(name, len(listed)) as bar:
            done = 0

            def ended(trajectories: Sequence[Trajectory]) -> None:
                nonlocal done, wins
                done += len(trajectories)
                wins += sum(t.success for t in trajectories)
                bar.update(done, {"success": wins / done})

            return evaluate(
                listed,
                spaces=spaces,
                pool=self.pool,
                sampler=self.sampler(policy),
                prompt=self.prompt(policy),
                params=SamplingParams(config.temperature, recipe.rollout.max_new_tokens),
                seed=config.seed,
                weights=recipe.weights,
                progress=ended,
            )

    def validate(self, policy: Policy) -> float:
        """Return J of the mixed agent on training tasks, in worlds that neither training nor a suite uses."""
        recipe = self.plan.recipe
        seed = derive(recipe.evaluation.seed, "validation")
        cell, _ = evaluate(
            evaluation_list("validation", self.plan.training_tasks, recipe.evaluation.validation_episodes, seed),
            spaces=tuple(recipe.spaces),
            pool=self.pool,
            sampler=self.sampler(policy),
            prompt=self.prompt(policy),
            params=SamplingParams(recipe.evaluation.temperature, recipe.rollout.max_new_tokens),
            seed=seed,
            weights=recipe.weights,
        )
        return float(cell["return"])


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
    policy = Policy.load(checkpoint)
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressDisplay())
        worlds = Worlds.open(plan, stack)
        return {
            suite: {kind: worlds.evaluate(policy, suite, chosen, progress, f"{suite} {kind}", episodes)[0]}
            for suite in (suites or plan.suites)
        }


def configure_torch(recipe: Recipe) -> None:
    """Set threads and determinism of the main process as the recipe says.

    Raises:
        RecipeError: The accelerator is not there.
    """
    absent = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if absent.get(recipe.trainer.accelerator, False):
        raise RecipeError(
            f"trainer.accelerator: {recipe.trainer.accelerator!r} is not available here; use trainer.accelerator=cpu"
        )
    if recipe.trainer.threads:
        torch.set_num_threads(recipe.trainer.threads)
    torch.use_deterministic_algorithms(recipe.trainer.deterministic)
    torch_seed(recipe.seed)
    quiet()


def quiet() -> None:
    """Keep to ourselves what libraries say about what we chose on purpose."""
    transformers.utils.logging.disable_progress_bar()  # ours show what matters; one per loaded file does not
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*module\\(s\\) in eval mode at the start of training",  # modes are set per phase, see training
        ".*does not have many workers",  # the data is a list in memory
        ".*isinstance\\(treespec, LeafSpec\\)",  # Lightning 2.6 on torch 2.13
        ".*'set_vital' is deprecated",  # torchdata 0.11 on torch 2.13
    ):
        warnings.filterwarnings("ignore", message)


def torch_seed(seed: int) -> None:
    """Seed what libraries may draw from besides our own derived generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
