"""A recipe's run, from demonstrations to the table. In: a :class:`Plan`; out: the run directory and its summary.

``run`` reads top to bottom as the run happens. Each step is skipped when ``state.json`` says that it has finished;
stages meet at checkpoints (docs/decisions/0002), so a continued run equals an unbroken one.
"""

from __future__ import annotations

import logging
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import transformers
from rich.console import Console

from crossagent.compose import plain
from crossagent.envs.recording import MIXED, Demonstration
from crossagent.envs.worker import WorkerPool
from crossagent.envs.world import Described, WorldConfig
from crossagent.errors import CheckpointError, RecipeError, TaskError, lookup
from crossagent.plugin import SamplingParams
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.policy.fast_sampler import FastSampler
from crossagent.recipe import RECIPE_FILE, Plan, Recipe
from crossagent.rollout.batch import rows_from_demonstrations
from crossagent.rollout.demos import CollectStats, collect, load_demonstrations, save_demonstrations
from crossagent.rollout.evaluate import evaluate as rollout_evaluate
from crossagent.rollout.evaluate import evaluate_experts as rollout_evaluate_experts
from crossagent.rollout.evaluate import evaluation_list
from crossagent.rollout.store import save_trajectories, step_file
from crossagent.run_directory import RunDirectory
from crossagent.seeding import derive
from crossagent.tracking import plots
from crossagent.tracking.files import read_json, write_json
from crossagent.tracking.mlflow import Tracker
from crossagent.tracking.progress import ProgressDisplay, ProgressTask
from crossagent.tracking.summary import print_wide, table, versions, write_summary
from crossagent.training.grpo import train_grpo
from crossagent.training.relabel import relabel
from crossagent.training.sft import train_sft
from crossagent.training.sources import MtrlSource, StrlSource
from crossagent.training.stage import StageResult, StageRun
from crossagent.types import Trajectory

T = TypeVar("T")
UNTRAINED = "untrained"


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Run a recipe, or what is left of it, and print its table.

    Returns:
        The content of ``summary.json``.

    Raises:
        CrossAgentError: Something that is the user's to fix; the run goes on from there once it is.
    """
    directory = RunDirectory.open(plan.recipe)
    with directory.locked(), ExitStack() as stack:
        if directory.done("summary"):
            console.print(f"{directory.path} is complete; nothing to do.", highlight=False)
            return show(directory.path, console)
        work = _Work.open(plan, directory, stack)
        collect_demonstrations(work)
        for stage in (UNTRAINED, *plan.recipe.stages):
            train(work, stage)
            evaluate(work, stage)
        evaluate_experts(work)
        summarize(work)
        return show(directory.path, console)


# -- the steps, in order --------------------------------------------------------------------------------------------
def collect_demonstrations(work: _Work) -> None:
    """Play the experts, or read the recipe's file, into ``demonstrations.parquet``."""
    config, directory = work.recipe.demonstrations, work.directory
    if directory.done("demonstrations"):
        return
    started = time.monotonic()
    if config.file is not None:
        demonstrations = load_demonstrations(config.file)
        stats = CollectStats()
    else:
        stats = CollectStats()
        mixture = config.mixture or {**dict.fromkeys(work.recipe.spaces, 1.0), **_mixed(work.recipe, 2.0)}
        with work.progress.task("demonstrations", config.episodes) as bar:
            demonstrations = collect(
                work.pool,
                work.plan.demonstration_tasks,
                episodes=config.episodes,
                mixture=mixture,
                seed=derive(work.recipe.seed, "demonstrations"),
                also_under_all=config.also_under_all,
                progress=lambda done, total: bar.update(done),
                stats=stats,
            )
    save_demonstrations(directory.demonstrations, demonstrations, {"recipe_sha256": work.recipe.sha256})
    directory.finish(
        "demonstrations",
        {"episodes": len(demonstrations), "seconds": time.monotonic() - started, "stats": asdict(stats)},
    )


def train(work: _Work, stage: str) -> None:
    """Make the stage's checkpoint from that of the stage before; ``untrained`` builds the policy."""
    directory, recipe = work.directory, work.recipe
    if directory.done(f"{stage}/train"):
        return
    started = time.monotonic()
    torch_seed(derive(recipe.seed, "stage", stage))
    if stage == UNTRAINED:
        policy = Policy.build(
            recipe.policy,
            texts=work.tokenizer_texts(),
            special_tokens=work.worlds.described.special_tokens,
            seed=derive(recipe.seed, "policy"),
        )
        policy.save(directory.checkpoint(stage))
    else:
        stages = (UNTRAINED, *recipe.stages)
        policy = Policy.load(directory.checkpoint(stages[stages.index(stage) - 1]))
        with work.progress.task(stage, 1) as bar:
            _STAGES[stage](work, policy, work.stage_run(stage, policy, bar))
        work.tracker.end(stage)
    # An interrupted stage counts the time since it was continued; its metrics know the rest.
    directory.finish(f"{stage}/train", {"seconds": time.monotonic() - started})
    work.keep_tracking()


def evaluate(work: _Work, stage: str) -> None:
    """Play every suite with the stage's checkpoint: the mixed agent, and each space alone where the recipe says."""
    directory, recipe = work.directory, work.recipe
    if directory.done(f"{stage}/eval"):
        return
    started = time.monotonic()
    policy = Policy.load(directory.checkpoint(stage))
    names = tuple(recipe.spaces)
    after = recipe.evaluation.single_spaces_after
    alone = stage in after or ("last" in after and stage == recipe.stages[-1])
    kinds = {**_mixed(recipe, names), **({name: (name,) for name in names} if alone or len(names) == 1 else {})}
    cells: dict[str, dict[str, Any]] = {}
    for suite in work.plan.suites:
        cells[suite] = {}
        for kind, spaces in kinds.items():
            cell, trajectories = work.worlds.evaluate(policy, suite, spaces, work.progress, f"{stage}: {suite} {kind}")
            cells[suite][kind] = cell
            save_trajectories(
                directory.stage(stage) / "trajectories" / f"evaluation-{suite}-{kind}.parquet",
                trajectories,
                {"stage": stage, "suite": suite, "agent": kind},
            )
            numbers = {key: value for key, value in cell.items() if isinstance(value, (int, float))}
            numbers |= {f"share/{space}": share for space, share in cell["shares"].items()}
            work.tracker.log_metrics(
                "", {f"eval/{suite}/{kind}/{k}": v for k, v in numbers.items()}, _step(recipe, stage)
            )
            work.progress.line(
                f"{stage}: {suite} {kind}: success {100 * cell['success']:.1f} % "
                f"[{100 * cell['ci95'][0]:.0f}–{100 * cell['ci95'][1]:.0f}], J {cell['return']:.3f}"
            )
    directory.finish(f"{stage}/eval", {"seconds": time.monotonic() - started, "cells": cells})
    work.keep_tracking()


def evaluate_experts(work: _Work) -> None:
    """Play the suites with the environment's experts: the ceiling of each space, and of all together."""
    recipe = work.recipe
    if work.directory.done("experts") or not recipe.evaluation.experts:
        return
    cells: dict[str, dict[str, Any]] = {}
    for suite, tasks in work.plan.suites.items():
        listed = evaluation_list(suite, tasks, recipe.evaluation.episodes, recipe.evaluation.seed)
        cells[suite] = {}
        for kind in [*_mixed(recipe, None), *recipe.spaces]:
            cell, _ = rollout_evaluate_experts(
                listed, kind=kind, pool=work.worlds.pool, seed=recipe.evaluation.seed, weights=recipe.weights
            )
            spec = next((spec for spec in work.plan.spaces if spec.name == kind), None)
            cells[suite][kind] = {"interfaces": list(spec.requires) if spec else [], **cell}
    write_json(work.directory.path / "experts.json", cells)
    work.directory.finish("experts", {"cells": cells})


def summarize(work: _Work) -> None:
    """Write ``summary.json`` and the curves, and close the tracking."""
    directory, recipe = work.directory, work.recipe
    stages = []
    for stage in (UNTRAINED, *recipe.stages):
        trained, evaluated = directory.result(f"{stage}/train"), directory.result(f"{stage}/eval")
        seconds = trained["seconds"] + evaluated["seconds"]
        stages.append({"stage": stage, "seconds": round(seconds, 3), "eval": evaluated["cells"]})
    content = write_summary(directory.summary, stages, recipe.sha256, versions(work.plan.distributions))
    if recipe.tracking.plots:
        draw(directory, content, recipe)
    for path in [directory.path / RECIPE_FILE, directory.summary, *sorted(directory.path.glob("*.png"))]:
        work.tracker.log_artifact(path)
    for stage in recipe.stages:
        for path in sorted(directory.stage(stage).glob("*.png")):
            work.tracker.log_artifact(path, stage)
    work.tracker.end()
    directory.finish("summary", {})


def draw(directory: RunDirectory, content: dict[str, Any], recipe: Recipe) -> None:
    """Draw the run's curves from its files."""
    experts = directory.result("experts")["cells"] if directory.done("experts") else {}
    plots.plot_stages(content, experts, directory.path / "stages.png")
    for stage in recipe.stages:
        plots.plot_stage(
            directory.stage(stage) / "metrics.jsonl",
            directory.stage(stage) / "curves.png",
            f"{recipe.run_name}: {stage}",
        )


def show(path: Path, console: Console) -> dict[str, Any]:
    """Print the table of a complete run and return its summary."""
    content: dict[str, Any] = read_json(path / "summary.json")
    experts = path / "experts.json"
    print_wide(console, table(content, read_json(experts) if experts.is_file() else {}))
    total = sum(stage["seconds"] for stage in content["stages"])
    console.print(f"{path / 'summary.json'}: {len(content['stages'])} stages in {total:.0f} s", highlight=False)
    return content


# -- the stages -----------------------------------------------------------------------------------------------------
def _sft(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Imitate the demonstrations."""
    config = work.recipe.sft
    rows = rows_from_demonstrations(work.demonstrations, work.worlds.prompt(policy), concatenate=config.concatenate)
    return train_sft(policy, rows, config, run)


def _strl(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Reinforce single turns of the demonstrations: any action that comes to the demonstrated one is right."""
    config = work.recipe.strl
    source = StrlSource(config, demonstrations=work.demonstrations, **work.playing(policy, run))
    return train_grpo(policy, source, config, run)


def _relabel(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Write demonstrated actions as the policy would, where that comes to the same, and imitate the result."""
    config, recipe = work.recipe.relabel, work.recipe
    tasks = {task.name: task for task in work.plan.training_tasks}
    prompt, file = work.worlds.prompt(policy), run.directory / "demonstrations.parquet"
    if not file.exists():  # else the stage was interrupted after it had begun to train
        relabelled, stats = relabel(
            [demonstration for demonstration in work.demonstrations if demonstration.task in tasks],
            config,
            tasks=tasks,
            spaces=tuple(recipe.spaces),
            pool=work.pool,
            sampler=FastSampler(policy),
            prompt=prompt,
            params=SamplingParams(config.temperature, config.max_new_tokens or recipe.rollout.max_new_tokens),
            seed=run.seed,
        )
        if not relabelled:
            raise TaskError("relabel: no demonstration of a training task could be replayed; check training_tasks")
        write_json(run.directory / "relabel.json", asdict(stats))
        save_demonstrations(file, relabelled, {"stage": run.name})
    rows = rows_from_demonstrations(
        load_demonstrations(file), prompt, concatenate=config.sft.concatenate, last_only=True
    )
    return train_sft(policy, rows, config.sft, run)


def _mtrl(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Reinforce whole episodes in live worlds."""
    config = work.recipe.mtrl
    source = MtrlSource(config, weights=work.recipe.weights, **work.playing(policy, run))
    return train_grpo(policy, source, config, run)


_STAGES: dict[str, Callable[[_Work, Policy, StageRun], StageResult]] = {
    "sft": _sft,
    "strl": _strl,
    "relabel": _relabel,
    "mtrl": _mtrl,
}


# -- what the steps share -------------------------------------------------------------------------------------------
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
        )
        pool = WorkerPool(config, rollout.workers, rollout.worlds_per_worker, rollout.timeout_s)
        return cls(plan, stack.enter_context(pool))

    def prompt(self, policy: Policy) -> PromptFormat:
        """Return how prompts are written for this policy."""
        return PromptFormat(policy.tokenizer, self.plan.recipe.prompt, self.described.fragments, self.described.headers)

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

            return rollout_evaluate(
                listed,
                spaces=spaces,
                pool=self.pool,
                sampler=FastSampler(policy),
                prompt=self.prompt(policy),
                params=SamplingParams(config.temperature, recipe.rollout.max_new_tokens),
                seed=config.seed,
                weights=recipe.weights,
                progress=ended,
            )


class _Work:
    """Everything the steps of one run share."""

    def __init__(
        self, plan: Plan, directory: RunDirectory, worlds: Worlds, tracker: Tracker, progress: ProgressDisplay
    ) -> None:
        self.plan, self.recipe, self.directory = plan, plan.recipe, directory
        self.worlds, self.pool, self.tracker, self.progress = worlds, worlds.pool, tracker, progress
        self._demonstrations: list[Demonstration] | None = None

    @classmethod
    def open(cls, plan: Plan, directory: RunDirectory, stack: ExitStack) -> _Work:
        recipe = plan.recipe
        configure_torch(recipe)
        progress = stack.enter_context(ProgressDisplay())
        worlds = Worlds.open(plan, stack)
        uri = (recipe.tracking.uri or f"sqlite:///{directory.path / 'mlflow.db'}") if recipe.tracking.mlflow else ""
        tracker = Tracker(uri, recipe.tracking.experiment, recipe.run_name, directory.mlflow_runs)
        tracker.start(plain(recipe), directory.path / "mlflow-artifacts", {"recipe_sha256": recipe.sha256})
        stack.push(
            lambda kind, *_: tracker.end(status="KILLED" if kind is KeyboardInterrupt else "FAILED") if kind else None
        )
        work = cls(plan, directory, worlds, tracker, progress)
        work.keep_tracking()
        return work

    @property
    def demonstrations(self) -> list[Demonstration]:
        """The run's demonstrations, from its file."""
        if self._demonstrations is None:
            self._demonstrations = load_demonstrations(self.directory.demonstrations)
        return self._demonstrations

    def tokenizer_texts(self) -> list[str]:
        """Return what prompts and responses look like, without the tasks that no stage sees: a word that is never
        trained must not become a token of its own (it could not be copied).
        """
        tasks = {task.name: task for task in (*self.plan.demonstration_tasks, *self.plan.training_tasks)}
        texts = [*self.worlds.described.fragments.values(), *self.worlds.described.headers.values()]
        texts += [task.instruction for task in tasks.values()]
        for demonstration in self.demonstrations:
            texts += [text for turn in demonstration.turns for text in (turn.observation, turn.text)]
        return texts

    def playing(self, policy: Policy, run: StageRun) -> dict[str, Any]:
        """Return what the sources of groups have in common: tasks, spaces, worlds, and this policy's sampler."""
        return {
            "tasks": self.plan.training_tasks,
            "spaces": tuple(self.recipe.spaces),
            "pool": self.pool,
            "sampler": FastSampler(policy),
            "prompt": self.worlds.prompt(policy),
            "max_new_tokens": self.recipe.rollout.max_new_tokens,
            "seed": run.seed,
        }

    def validate(self, policy: Policy) -> float:
        """Return J of the mixed agent on training tasks, in worlds that neither training nor a suite uses."""
        recipe = self.recipe
        seed = derive(recipe.evaluation.seed, "validation")
        episodes = recipe.evaluation.validation_episodes
        cell, _ = rollout_evaluate(
            evaluation_list("validation", self.plan.training_tasks, episodes, seed),
            spaces=tuple(recipe.spaces),
            pool=self.pool,
            sampler=FastSampler(policy),
            prompt=self.worlds.prompt(policy),
            params=SamplingParams(recipe.evaluation.temperature, recipe.rollout.max_new_tokens),
            seed=seed,
            weights=recipe.weights,
        )
        return float(cell["return"])

    def stage_run(self, stage: str, policy: Policy, bar: ProgressTask) -> StageRun:
        """Return what a training stage gets: its directory and seed, and who listens."""
        trainer = self.recipe.trainer
        directory = self.directory.stage(stage)
        return StageRun(
            name=stage,
            directory=directory,
            seed=derive(self.recipe.seed, "stage", stage),
            accelerator=trainer.accelerator,
            devices=trainer.devices,
            strategy=trainer.strategy,
            precision=trainer.precision,
            deterministic=trainer.deterministic,
            on_metrics=lambda step, metrics: self.tracker.log_metrics(stage, metrics, step),
            on_progress=lambda done, total, metrics: bar.update(done, _headline(metrics), total),
            on_trajectories=lambda step, trajectories: save_trajectories(
                step_file(directory / "trajectories", step), trajectories, {"stage": stage, "step": step}
            ),
            evaluate=lambda iteration: self.validate(policy),
        )

    def keep_tracking(self) -> None:
        """Remember MLflow's run ids, so that a continued run continues there."""
        self.directory.keep_mlflow_runs(self.tracker.run_ids)


def _mixed(recipe: Recipe, value: T) -> dict[str, T]:
    """Return the entry of the mixed agent; none where a single space leaves nothing to choose."""
    return {MIXED: value} if len(recipe.spaces) > 1 else {}


def _step(recipe: Recipe, stage: str) -> int:
    return (UNTRAINED, *recipe.stages).index(stage)


def _headline(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the few numbers worth a place beside a progress bar."""
    words = ("success", "return", "reward", "loss", "entropy")
    found = {word: next((m for m in metrics if m.rpartition("/")[2].startswith(word)), None) for word in words}
    return {name: metrics[name] for name in found.values() if name is not None}


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
    policy = Policy.load(checkpoint)
    configure_torch(recipe)
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressDisplay())
        worlds = Worlds.open(plan, stack)
        return {
            suite: {kind: worlds.evaluate(policy, suite, chosen, progress, f"{suite} {kind}", episodes)[0]}
            for suite in (suites or plan.suites)
        }


def export_checkpoint(checkpoint: Path, directory: Path) -> None:
    """Write a checkpoint as a plain transformers directory: adapters merged, special tokens and chat template included.

    Raises:
        CheckpointError: The checkpoint is unreadable, or ``directory`` holds something already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"{directory}: exists and is not empty; expected a new directory to write to")
    policy = Policy.load(checkpoint)
    if policy.config.lora is not None:
        merged = policy.model.merge_and_unload()  # type: ignore[operator]
        policy = Policy(merged, policy.tokenizer, replace(policy.config, lora=None))
    policy.save(directory)


def configure_torch(recipe: Recipe) -> None:
    """Set threads and determinism of the main process as the recipe says."""
    if recipe.trainer.threads:
        torch.set_num_threads(recipe.trainer.threads)
    torch.use_deterministic_algorithms(recipe.trainer.deterministic)
    torch_seed(recipe.seed)
    _quiet()


def _quiet() -> None:
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
