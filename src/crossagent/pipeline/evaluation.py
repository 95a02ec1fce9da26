"""Playing a recipe's suites with a checkpoint: the workers, the cells, and torch as the recipe wants it.

Needs no Lightning, so ``crossagent eval`` starts quickly. The pipeline uses the same :class:`Worlds` after each stage.
"""

from __future__ import annotations

import logging
import os
import random
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from crossagent.distributed import Ranks
from crossagent.envs.recording import MIXED
from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import Described
from crossagent.errors import RecipeError, lookup
from crossagent.plugin import Sampler, SamplingParams
from crossagent.policy.matmul import set_matmul_precision
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.recipe.checks import CheckedRecipe
from crossagent.recipe.compose import plain
from crossagent.recipe.schema import Recipe
from crossagent.rollout.evaluate import evaluate, evaluation_list
from crossagent.sampling.base import GenerateSampler
from crossagent.sampling.fast import FastSampler
from crossagent.seeding import derive
from crossagent.tracking.mlflow.tracker import Tracker, tracking_uri
from crossagent.tracking.progress import Mode, ProgressDisplay
from crossagent.tracking.summary import cell_metrics, cell_rows
from crossagent.types import Trajectory


class _SoFar:
    """What is worth seeing while episodes are played: success, share of each space, sampled tokens per second."""

    def __init__(self, spaces: Sequence[str]) -> None:
        self.episodes = self._wins = self._turns = self._tokens = 0
        self._used = dict.fromkeys(spaces, 0)
        self._begun = time.monotonic()

    def add(self, trajectories: Sequence[Trajectory]) -> None:
        for trajectory in trajectories:
            self.episodes += 1
            self._wins += trajectory.success
            self._turns += len(trajectory.turns)
            for turn in trajectory.turns:
                self._tokens += len(turn.response_ids) - turn.forced
                if turn.space in self._used:
                    self._used[turn.space] += 1

    def metrics(self) -> dict[str, float]:
        return {
            "success": self._wins / max(self.episodes, 1),
            **{f"space/{space}/share": used / max(self._turns, 1) for space, used in self._used.items()},
            "rollout/tokens_per_second": self._tokens / max(time.monotonic() - self._begun, 1e-9),
        }


class Worlds:
    """The environment workers of a recipe, and how a policy is evaluated in them; by several processes, each with its own
    workers, that all get every result.
    """

    def __init__(self, plan: CheckedRecipe, pool: WorkerPool, ranks: Ranks) -> None:
        self.plan, self.pool, self.ranks = plan, pool, ranks
        self.device = device_of(plan.recipe.trainer.accelerator, ranks)
        self.described: Described = pool.describe()

    @classmethod
    def open(cls, plan: CheckedRecipe, stack: ExitStack, ranks: Ranks | None = None) -> Worlds:
        """Start the workers; the stack ends them."""
        return cls(plan, stack.enter_context(plan.open_pool()), ranks or Ranks())

    def prompt(self, policy: Policy) -> PromptFormat:
        """Return how prompts are written for this policy."""
        recipe, told = self.plan.recipe, self.described
        if policy.pictures is None and recipe.environment.options.get("observation") == "pixels":
            raise RecipeError(
                f"environment.options.observation: got 'pixels', but policy.model {recipe.policy.model!r} reads text alone: it "
                "would act blindly. Fix: observation: both, or text"
            )
        grammars = told.grammars if recipe.rollout.constrained else None
        return PromptFormat(
            policy.tokenizer, recipe.prompt, told.fragments, told.headers, grammars, pictures=policy.pictures
        )

    def sampler(self, policy: Policy) -> Sampler:
        """Return what turns prompts into responses of this policy: built in, or a plugin's."""
        chosen = self.plan.recipe.rollout.sampler
        if chosen.name == "vllm":
            from crossagent.sampling.vllm import VllmSampler

            return VllmSampler(policy, chosen.batch_size, **chosen.options)
        built_in = {"fast": FastSampler, "generate": GenerateSampler}.get(chosen.name)
        return (
            built_in(policy, chosen.batch_size)
            if built_in
            else self.plan.plugins.build_sampler(chosen.name, policy, chosen.options)
        )

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
        so_far = _SoFar(spaces)
        with progress.task(name, len(self.ranks.local_items(listed))) as bar:

            def ended(trajectories: Sequence[Trajectory]) -> None:
                so_far.add(trajectories)
                bar.update(so_far.episodes, so_far.metrics())

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
                ranks=self.ranks,
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
            ranks=self.ranks,
        )
        return float(cell["return"])


def evaluate_checkpoint(
    plan: CheckedRecipe,
    checkpoint: Path,
    suites: Sequence[str],
    spaces: Sequence[str],
    episodes: int | None,
    *,
    run: Path | None = None,
    mode: Mode = "auto",
) -> dict[str, dict[str, Any]]:
    """Evaluate one checkpoint; writes nothing but what MLflow gets, unless the recipe says ``tracking.mlflow: false``.

    Args:
        plan: Says the environment, the spaces and the suites.
        checkpoint: A directory that :meth:`Policy.save` wrote.
        suites: Names of suites; empty: all of the recipe's.
        spaces: The spaces the agent may use; empty: all. The prompt lists these only.
        episodes: Per suite; None: as the recipe says.
        run: The run directory the checkpoint lies in: the evaluation becomes a nested run of its MLflow run. None: it is
            logged only where a tracking URI is given, and waits under ``RUNS_DIR/evaluations`` while a server is away.
        mode: How progress is shown.

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
    policy = Policy.load(checkpoint).to(device_of(recipe.trainer.accelerator, Ranks()))
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressDisplay(mode))
        worlds = Worlds.open(plan, stack)
        cells = {
            suite: {kind: worlds.evaluate(policy, suite, chosen, progress, f"{suite} {kind}", episodes)[0]}
            for suite in (suites or plan.suites)
        }
        _track(plan, checkpoint, cells, run)
    return cells


def _track(plan: CheckedRecipe, checkpoint: Path, cells: dict[str, dict[str, Any]], run: Path | None) -> None:
    recipe = plan.recipe
    uri = tracking_uri(recipe.tracking.uri, run) if recipe.tracking.mlflow else ""
    if not uri:
        return
    stage = checkpoint.parent.name if checkpoint.name == "checkpoint" else checkpoint.name
    name = f"eval-{stage}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    home = run if run is not None else Path(recipe.runs_dir) / "evaluations" / name
    tracker = Tracker(uri, recipe.tracking.experiment, recipe.run_name, home)
    tracker.resume({**plain(recipe), "checkpoint": str(checkpoint)}, {"recipe_sha256": recipe.sha256})
    tracker.begin(
        name, params={"checkpoint": checkpoint, **{k: v for k, v in plain(recipe.evaluation).items() if k != "suites"}}
    )
    for suite, kinds in cells.items():
        for kind, cell in kinds.items():
            tracker.log_metrics(name, {f"eval/{suite}/{kind}/{k}": v for k, v in cell_metrics(cell).items()}, 0)
    tracker.log_table("evaluation.json", cell_rows(cells), name)
    tracker.end(name)
    tracker.close()


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
    set_matmul_precision(recipe.trainer.matmul, recipe.trainer.accelerator)
    torch_seed(recipe.seed)
    quiet()


def device_of(accelerator: str, ranks: Ranks) -> torch.device:
    """Return where this process's policy plays before and after Lightning has it: on the GPU it trains on, if it does."""
    if accelerator in ("cuda", "auto") and torch.cuda.is_available():
        return torch.device("cuda", ranks.local_rank)
    if accelerator in ("mps", "auto") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def quiet() -> None:
    """Keep to ourselves what libraries say about what we chose on purpose."""
    transformers.utils.logging.disable_progress_bar()  # ours show what matters; one per loaded file does not
    if (
        not torch.cuda.is_available()
    ):  # where deepspeed is installed, saving a model loads it; else it says so, on stdout
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*module\\(s\\) in eval mode at the start of training",  # modes are set per phase, see training
        ".*does not have many workers",  # the data is a list in memory
        ".*isinstance\\(treespec, LeafSpec\\)",  # Lightning 2.6 on torch 2.13
        ".*'set_vital' is deprecated",  # torchdata 0.11 on torch 2.13
        ".*`srun` command is available",  # who starts processes is crossagent.launch's business
    ):
        warnings.filterwarnings("ignore", message)


def torch_seed(seed: int) -> None:
    """Seed what libraries may draw from besides our own derived generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
