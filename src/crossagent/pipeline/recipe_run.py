"""A recipe's run, from demonstrations to the table. In: a :class:`Plan`; out: the run directory and its summary.

``run`` reads top to bottom as the run happens. Each step is skipped when ``state.json`` says that it has finished;
stages meet at checkpoints (docs/decisions/0002), so a continued run equals an unbroken one.

Where a launcher has started several processes, all of them run this, step by step together: each plays its part of the
episodes, and all get the whole. Rank 0 alone decides what is done already, writes files, tracks, and shows progress.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from crossagent.demonstrations.collect import CollectStats, collect, load_demonstrations, save_demonstrations
from crossagent.distributed import Ranks
from crossagent.envs.recording import MIXED, Demonstration
from crossagent.errors import DataError, RecipeError, StageInterrupted, TaskError
from crossagent.import_path import LISTENER, find_function
from crossagent.pipeline.directory import RunDirectory
from crossagent.pipeline.evaluation import Worlds, configure_torch, torch_seed
from crossagent.plugin import SamplingParams
from crossagent.policy.export import export_checkpoint
from crossagent.policy.model import Policy
from crossagent.recipe.checks import CheckedRecipe, validate
from crossagent.recipe.compose import plain
from crossagent.recipe.schema import RECIPE_FILE, Recipe, load_recipe
from crossagent.registry.plugin_set import PluginSet, load_plugins
from crossagent.rollout.credit import credit_file, save_credits
from crossagent.rollout.evaluate import evaluate_experts, evaluation_list
from crossagent.rollout.store import save_trajectories, step_file
from crossagent.seeding import derive
from crossagent.tracking import plots
from crossagent.tracking.files import read_json, write_json, write_text
from crossagent.tracking.listeners import Listeners
from crossagent.tracking.mlflow.tracker import Tracker, tracking_uri
from crossagent.tracking.model_card import model_card
from crossagent.tracking.progress import Mode, ProgressDisplay, ProgressTask
from crossagent.tracking.provenance import git_tags, plugin_versions
from crossagent.tracking.report.page import REPORT, write_report
from crossagent.tracking.summary import (
    cell_metrics,
    cell_rows,
    show,
    show_complete,
    versions,
    write_summary,
)
from crossagent.training.batch import rows_from_demonstrations
from crossagent.training.callbacks import METRICS, read_metrics
from crossagent.training.grpo import train_grpo
from crossagent.training.relabel import relabel
from crossagent.training.resume import RESUME, rows_done
from crossagent.training.sft import train_sft
from crossagent.training.sources import SURVEYED, MtrlSource, StrlSource
from crossagent.training.stage import Metrics, StageResult, StageRun
from crossagent.types import Trajectory

log = logging.getLogger(__name__)
T = TypeVar("T")
_LITTLE_CHOICE = 0.05
"""Below this share of states with a choice, STRL is said to teach nothing about choosing."""
UNTRAINED = "untrained"


def run(plan: CheckedRecipe, console: Console, mode: Mode = "auto") -> dict[str, Any]:
    """Run a recipe, or what is left of it, and print its table.

    Args:
        plan: The recipe, checked.
        console: Gets the table.
        mode: How progress is shown.

    Returns:
        The content of ``summary.json``.

    Raises:
        CrossAgentError: Something that is the user's to fix; the run goes on from there once it is.
    """
    ranks = Ranks.join(plan.recipe.trainer.accelerator)
    check_processes(plan.recipe, ranks)
    with ExitStack() as stack:
        stack.push(lambda kind, *_: None if kind else ranks.leave())
        directory = _open_directory(plan.recipe, ranks, stack)
        if directory.complete:
            return show_complete(directory.path, console) if ranks.is_rank_zero else {}
        work = _Work.open(plan, directory, stack, mode, ranks)
        if ranks.is_rank_zero:
            say_where(work)
            for text in plan.recipe.warnings:
                work.progress.warn(text)
        if not plan.recipe.makes_tokenizer:
            train(work, UNTRAINED)  # a model that cannot be loaded is found before anything is played
        if plan.recipe.needs_demonstrations:
            collect_demonstrations(work)
        for stage in (UNTRAINED, *plan.recipe.stages):
            train(work, stage)
            evaluate(work, stage)
        play_experts(work)
        summarize(work)
    return show(directory.path, console) if ranks.is_rank_zero else {}


def check_processes(recipe: Recipe, ranks: Ranks) -> None:
    """Raise :class:`RecipeError` unless there are as many processes as the recipe wants."""
    trainer = recipe.trainer
    if ranks.size != trainer.processes:
        raise RecipeError(
            f"trainer: the recipe is for {trainer.processes} processes (devices: {trainer.devices}, num_nodes: "
            f"{trainer.num_nodes}), but the launcher started {ranks.size}. Fix: trainer.devices={ranks.local_size} "
            f"trainer.num_nodes={max(1, ranks.size // ranks.local_size)}, or start it by `crossagent run` without a launcher"
        )


def _open_directory(recipe: Recipe, ranks: Ranks, stack: ExitStack) -> RunDirectory:
    """Open and lock the run's directory; ranks other than the first follow what rank 0 has found there."""
    directory = RunDirectory.open(recipe) if ranks.is_rank_zero else None
    if directory is not None:
        stack.enter_context(directory.locked())
        if not directory.complete:
            stack.push(lambda kind, *_: directory.discard_unstarted() if kind else None)
    steps = ranks.broadcast(directory.steps if directory is not None else {})
    return directory if directory is not None else RunDirectory.follow(recipe, steps)


def say_where(work: _Work) -> None:
    """Say, of a run that was stopped, what is done and where it goes on."""
    directory, stages = work.directory, (UNTRAINED, *work.recipe.stages)
    done = [stage for stage in stages if directory.done(f"{stage}/train")]
    if not done and not directory.done("demonstrations"):
        return
    following = next((stage for stage in stages if stage not in done), None)
    text = f"{directory.path} goes on: {', '.join(done) or 'demonstrations'} done"
    if following is not None:
        rows = rows_done(directory.stage(following) / RESUME)
        what = "step" if following in ("sft", "relabel") else "iteration"
        text += f"; {following} " + (f"continues after {what} {rows}" if rows else "begins")
    work.progress.line(text)


def run_recipe(path: str | Path, changes: Sequence[str] = (), plugins: PluginSet | None = None) -> dict[str, Any]:
    """Run a recipe from Python, as ``crossagent run`` does.

    Args:
        path: The recipe's file.
        changes: ``key=value`` and overlays, as on the command line.
        plugins: What it may use; None: what is installed. ``load_plugins().with_(space=MySpace())`` adds a space that no
            package declares.

    Returns:
        The content of ``summary.json``.

    Raises:
        CrossAgentError: As :func:`run`; also a recipe that does not fit the plugins.
    """
    recipe = load_recipe(path, changes)
    return run(validate(recipe, load_plugins() if plugins is None else plugins), Console())


# -- the steps, in order --------------------------------------------------------------------------------------------
def collect_demonstrations(work: _Work) -> None:
    """Play the experts, or read the recipe's file, into ``demonstrations.parquet``."""
    config, directory = work.recipe.demonstrations, work.directory
    if directory.done("demonstrations"):
        return
    started = time.monotonic()
    stats = CollectStats()
    if config.file is not None:
        demonstrations = load_demonstrations(config.file)
        _check_spaces(config.file, demonstrations, work.recipe.spaces)
    else:
        mixture = config.mixture or {**dict.fromkeys(work.recipe.spaces, 1.0), **_mixed(work.recipe, 2.0)}
        with work.progress.task("demonstrations", config.episodes) as bar:
            demonstrations = collect(
                work.pool,
                work.plan.demonstration_tasks,
                ranks=work.ranks,
                episodes=config.episodes,
                mixture=mixture,
                seed=derive(work.recipe.seed, "demonstrations"),
                also_under_all=config.also_under_all,
                progress=lambda done, total: bar.update(done),
                stats=stats,
            )
    if work.ranks.is_rank_zero:
        save_demonstrations(directory.demonstrations, demonstrations, {"recipe_sha256": work.recipe.sha256})
    work.finish(
        "demonstrations",
        {"episodes": len(demonstrations), "seconds": time.monotonic() - started, "stats": asdict(stats)},
    )


def _check_spaces(file: str, demonstrations: Sequence[Demonstration], known: Iterable[str]) -> None:
    """Raise :class:`DataError` unless a file of demonstrations holds some, of the recipe's spaces alone."""
    if not demonstrations:
        raise DataError(f"demonstrations.file: {file} holds no demonstration")
    used = {name for demo in demonstrations for name in (*demo.spaces, *(turn.space for turn in demo.turns))}
    if foreign := sorted(used - set(known)):
        raise DataError(
            f"demonstrations.file: {file} has demonstrations in {', '.join(map(repr, foreign))}, which is no space of the recipe. "
            f"Fix: add `spaces: {{{foreign[0]}: {{}}}}`, or write the file without it."
        )


def train(work: _Work, stage: str) -> None:
    """Make the stage's checkpoint from that of the stage before; ``untrained`` builds the policy."""
    directory, recipe = work.directory, work.recipe
    if directory.done(f"{stage}/train"):
        return
    started = time.monotonic()
    work.track_stage(stage)
    torch_seed(derive(recipe.seed, "stage", stage))
    if stage == UNTRAINED:
        if work.ranks.is_rank_zero:
            policy = Policy.build(
                recipe.policy,
                texts=work.tokenizer_texts() if recipe.makes_tokenizer else (),
                special_tokens=work.worlds.described.special_tokens,
                seed=derive(recipe.seed, "policy"),
            )
            policy.save(directory.checkpoint(stage))
    else:
        stages = (UNTRAINED, *recipe.stages)
        policy = work.load(stages[stages.index(stage) - 1])
        with work.progress.task(stage, 1) as bar:
            _STAGES[stage](work, policy, work.stage_run(stage, policy, bar))
    # An interrupted stage counts the time since it was continued; its metrics know the rest.
    found = found_by(directory.stage(stage)) if work.ranks.is_rank_zero else {}
    work.finish(f"{stage}/train", {"seconds": time.monotonic() - started, "found": found})


def evaluate(work: _Work, stage: str) -> None:
    """Play every suite with the stage's checkpoint: the mixed agent, and each space alone where the recipe says."""
    directory, recipe = work.directory, work.recipe
    if directory.done(f"{stage}/eval"):
        return
    started = time.monotonic()
    policy = work.load(stage)
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
            if not work.ranks.is_rank_zero:
                continue
            save_trajectories(
                directory.stage(stage) / "trajectories" / f"evaluation-{suite}-{kind}.parquet",
                trajectories,
                {"stage": stage, "suite": suite, "agent": kind},
            )
            measured = {f"eval/{suite}/{kind}/{k}": v for k, v in cell_metrics(cell).items()}
            work.tracker.log_metrics("", measured, _step(recipe, stage))
            work.listeners(stage, _step(recipe, stage), measured)
            if kind == next(iter(kinds)):
                work.track_sample(f"{stage}-{suite}", trajectories, stage, suite=suite, agent=kind)
            work.progress.line(
                f"{stage}: {suite} {kind}: success {100 * cell['success']:.1f} % "
                f"[{100 * cell['ci95'][0]:.0f}–{100 * cell['ci95'][1]:.0f}], J {cell['return']:.3f}"
            )
    work.finish(f"{stage}/eval", {"seconds": time.monotonic() - started, "cells": cells})
    if work.ranks.is_rank_zero:
        publish(work, stage)
        work.tracker.log_table("evaluation.json", cell_rows(cells), stage)
        work.tracker.end(stage)


def play_experts(work: _Work) -> None:
    """Play the suites with the environment's experts: the ceiling of each space, and of all together."""
    recipe = work.recipe
    if work.directory.done("experts") or not recipe.evaluation.experts:
        return
    cells: dict[str, dict[str, Any]] = {}
    for suite, tasks in work.plan.suites.items():
        listed = evaluation_list(suite, tasks, recipe.evaluation.episodes, recipe.evaluation.seed)
        cells[suite] = {}
        for kind in [*_mixed(recipe, None), *recipe.spaces]:
            cell, _ = evaluate_experts(
                listed,
                kind=kind,
                pool=work.pool,
                seed=recipe.evaluation.seed,
                weights=recipe.weights,
                ranks=work.ranks,
            )
            spec = next((spec for spec in work.plan.spaces if spec.name == kind), None)
            cells[suite][kind] = {"interfaces": list(spec.requires) if spec else [], **cell}
    if work.ranks.is_rank_zero:
        write_json(work.directory.path / "experts.json", cells)
    work.finish("experts", {"cells": cells})


def publish(work: _Work, stage: str = "") -> dict[str, Any]:
    """Write ``summary.json``, the curves and the report of what there is so far, and send them."""
    directory, recipe = work.directory, work.recipe
    stages = []
    for name in (UNTRAINED, *recipe.stages):
        if directory.done(f"{name}/eval"):
            trained, evaluated = directory.result(f"{name}/train"), directory.result(f"{name}/eval")
            seconds = trained["seconds"] + evaluated["seconds"]
            found = {"found": trained["found"]} if trained.get("found") else {}
            stages.append({"stage": name, "seconds": round(seconds, 3), "eval": evaluated["cells"], **found})
    content = write_summary(directory.summary, stages, recipe.sha256, versions(work.plan.distributions))
    curves = directory.stage(stage) / "curves.png"
    if recipe.tracking.plots:
        experts = directory.result("experts")["cells"] if directory.done("experts") else {}
        plots.plot_stages(content, experts, directory.path / "stages.png")
        if stage:
            plots.plot_stage(directory.stage(stage) / "metrics.jsonl", curves, f"{recipe.run_name}: {stage}")
    if recipe.tracking.report:
        _report(directory)
    for path in [directory.summary, directory.path / REPORT, *sorted(directory.path.glob("*.png"))]:
        if path.is_file():
            work.tracker.log_artifact(path)
    if stage and curves.is_file():
        work.tracker.log_artifact(curves, run=stage)
    return content


def _report(directory: RunDirectory) -> None:
    try:
        write_report([directory.path], directory.path / REPORT)
    except Exception as error:  # a page about the run must not end the run
        log.warning("%s was not written (%s: %s)", directory.path / REPORT, type(error).__name__, error)


def summarize(work: _Work) -> None:
    """Write the final summary and report, and close the tracking: work of rank 0."""
    if not work.ranks.is_rank_zero:
        return
    directory, recipe = work.directory, work.recipe
    content = publish(work)
    for (
        stage
    ) in work.stages:  # again, for a run that was stopped between an evaluation and its table; else they are there
        work.tracker.log_table("evaluation.json", cell_rows(directory.result(f"{stage}/eval")["cells"]), stage)
    rows = [{"stage": s, **row} for s in work.stages for row in cell_rows(directory.result(f"{s}/eval")["cells"])]
    work.tracker.log_table("evaluation.json", rows)
    if recipe.tracking.mlflow and recipe.tracking.model:
        model = directory.path / "model"
        shutil.rmtree(model, ignore_errors=True)  # of an attempt that was interrupted
        export_checkpoint(directory.checkpoint(recipe.stages[-1]), model)
        write_text(model / "README.md", model_card(recipe.run_name, plain(recipe), content))
        work.tracker.log_artifact(model, "model")
    work.tracker.end()
    directory.finish("summary", {})


# -- the stages -----------------------------------------------------------------------------------------------------
def _sft(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Imitate the demonstrations."""
    config = work.recipe.sft
    rows = rows_from_demonstrations(
        work.demonstrations,
        work.worlds.prompt(policy),
        concatenate=config.concatenate,
        segment_weights=config.segment_weights,
    )
    return train_sft(policy, rows, config, run)


def _strl(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Reinforce single turns of the demonstrations: any action that comes to the demonstrated one is right."""
    config = work.recipe.strl
    source = StrlSource(config, demonstrations=work.demonstrations, **work.playing(policy, run))
    result = train_grpo(policy, source, config, run, reference=work.reference(config.reference))
    if work.ranks.is_rank_zero:
        share = found_by(run.directory).get("two_spaces_can_earn", 1.0)
        teaches = "" if share >= _LITTLE_CHOICE else ": this stage teaches next to nothing about choosing a space"
        work.progress.line(
            f"{run.name}: in {100 * share:.0f} % of the states two or more spaces can earn the reward{teaches}"
        )
    return result


def _relabel(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Write demonstrated actions as the policy would, where that comes to the same, and imitate the result."""
    config, recipe = work.recipe.relabel, work.recipe
    tasks = {task.name: task for task in work.plan.training_tasks}
    prompt, file = work.worlds.prompt(policy), run.directory / "demonstrations.parquet"
    if work.ranks.broadcast(not file.exists()):  # else the stage was interrupted after it had begun to train
        relabelled, stats = relabel(
            [demonstration for demonstration in work.demonstrations if demonstration.task in tasks],
            config,
            tasks=tasks,
            spaces=tuple(recipe.spaces),
            pool=work.pool,
            sampler=work.worlds.sampler(policy),
            prompt=prompt,
            params=SamplingParams(config.temperature, config.max_new_tokens or recipe.rollout.max_new_tokens),
            seed=run.seed,
            ranks=work.ranks,
        )
        if not relabelled:
            raise TaskError("relabel: no demonstration of a training task could be replayed; check training_tasks")
        if work.ranks.is_rank_zero:
            write_json(run.directory / "relabel.json", asdict(stats))
            save_demonstrations(file, relabelled, {"stage": run.name})
        work.ranks.barrier()
    rows = rows_from_demonstrations(
        load_demonstrations(file),
        prompt,
        concatenate=config.sft.concatenate,
        last_only=True,
        segment_weights=config.sft.segment_weights,
    )
    return train_sft(policy, rows, config.sft, run)


def _mtrl(work: _Work, policy: Policy, run: StageRun) -> StageResult:
    """Reinforce whole episodes in live worlds."""
    config = work.recipe.mtrl
    schedule = work.recipe.rollout.schedule
    source = MtrlSource(config, weights=work.recipe.weights, schedule=schedule, **work.playing(policy, run))
    return train_grpo(policy, source, config, run, reference=work.reference(config.reference))


_STAGES: dict[str, Callable[[_Work, Policy, StageRun], StageResult]] = {
    "sft": _sft,
    "strl": _strl,
    "relabel": _relabel,
    "mtrl": _mtrl,
}


def found_by(directory: Path) -> dict[str, float]:
    """Return what a finished stage found out about choosing a space, by the files it left; empty for SFT and MTRL.

    ``two_spaces_can_earn`` share of STRL's states in which the experts of two or more spaces come to the demonstrated
    action · ``accepted``, ``moved``, ``choice`` shares of relabelled states; see ``RelabelStats``.
    """
    if (directory / "relabel.json").is_file():
        stats = read_json(directory / "relabel.json")
        return {name: stats[name] / max(1, stats["states"]) for name in ("accepted", "moved", "choice")}
    rows = read_metrics(directory / METRICS)
    return {"two_spaces_can_earn": rows[0][SURVEYED]} if rows and SURVEYED in rows[0] else {}


# -- what the steps share -------------------------------------------------------------------------------------------
class _Work:
    """Everything the steps of one run share."""

    def __init__(
        self, plan: CheckedRecipe, directory: RunDirectory, worlds: Worlds, tracker: Tracker, progress: ProgressDisplay
    ) -> None:
        self.plan, self.recipe, self.directory = plan, plan.recipe, directory
        self.worlds, self.pool, self.tracker, self.progress = worlds, worlds.pool, tracker, progress
        self.ranks = worlds.ranks
        self.listeners = Listeners({name: find_function(name, {}, LISTENER) for name in plan.recipe.tracking.listeners})
        self._demonstrations: list[Demonstration] | None = None

    @classmethod
    def open(cls, plan: CheckedRecipe, directory: RunDirectory, stack: ExitStack, mode: Mode, ranks: Ranks) -> _Work:
        recipe = plan.recipe
        configure_torch(recipe)
        progress = stack.enter_context(ProgressDisplay(mode, rank=ranks.rank))
        worlds = Worlds.open(plan, stack, ranks)
        tracking = recipe.tracking
        uri = tracking_uri(tracking.uri, directory.path) if tracking.mlflow and ranks.is_rank_zero else ""
        tracker = Tracker(uri, tracking.experiment, recipe.run_name, directory.path)
        work = cls(plan, directory, worlds, tracker, progress)
        stack.push(work.close_tracking)
        source = {"mlflow.source.name": "crossagent run", "mlflow.source.type": "LOCAL"}
        tags = {"recipe_sha256": recipe.sha256, **source, **git_tags(Path.cwd())}
        plugins = plugin_versions(plan.plugins.listing(), [recipe.environment.name, *recipe.spaces])
        version = {f"version/{name}": value for name, value in versions(plan.distributions).items()}
        tracker.start({**plain(recipe), **version, **plugins}, tags, tracking.system_metrics_s)
        tracker.log_artifact(directory.path / RECIPE_FILE)
        return work

    def close_tracking(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the MLflow run as the run has ended, and send what is left; after a failure without much patience."""
        if kind is not None:
            self.tracker.end(status="KILLED" if kind in (KeyboardInterrupt, StageInterrupted) else "FAILED")
        patience = (
            None if kind is None else 5.0 if self.directory.begun else 0.0
        )  # else the directory goes, spool and all
        self.tracker.close(patience)

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage of the run, in order."""
        return (UNTRAINED, *self.recipe.stages)

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
            "sampler": self.worlds.sampler(policy),
            "prompt": self.worlds.prompt(policy),
            "max_new_tokens": self.recipe.rollout.max_new_tokens,
            "seed": run.seed,
            "ranks": self.ranks,
        }

    def load(self, stage: str) -> Policy:
        """Return the policy at the end of a stage, where this process plays."""
        return Policy.load(self.directory.checkpoint(stage)).to(self.worlds.device)

    def finish(self, step: str, result: Mapping[str, Any]) -> None:
        """Note that a step has finished; no process goes on before rank 0 has written all of it."""
        self.directory.finish(step, result)
        self.ranks.barrier()

    def reference(self, stage: str) -> Policy | None:
        """Return the policy of an earlier stage that the KL is to; None for ``start``: the policy a stage begins with."""
        return None if stage == "start" else self.load(stage)

    def stage_run(self, stage: str, policy: Policy, bar: ProgressTask) -> StageRun:
        """Return what a training stage gets: its directory and seed, and who listens."""
        directory = self.directory.stage(stage)
        run = StageRun(
            name=stage,
            directory=directory,
            seed=derive(self.recipe.seed, "stage", stage),
            trainer=self.recipe.trainer,
            evaluate=lambda iteration: self.worlds.validate(policy),
        )
        if not self.ranks.is_rank_zero:
            return run
        return replace(
            run,
            on_metrics=lambda step, metrics: self._tell(stage, step, metrics),
            on_progress=lambda done, total, metrics: bar.update(done, metrics, total),
            on_trajectories=lambda step, trajectories: self._keep(stage, step, trajectories),
            on_credit=lambda step, trajectories, credits: save_credits(
                credit_file(directory / "trajectories", step), trajectories, credits, {"stage": stage, "step": step}
            ),
        )

    def track_stage(self, stage: str) -> None:
        """Begin the stage's nested MLflow run, with its configuration and what it learns from."""
        if not self.ranks.is_rank_zero:
            return
        config = plain(self.recipe).get(stage, {})
        self.tracker.begin(stage, params=config, tags={"stage": stage})
        if stage in ("sft", "strl", "relabel") and self.directory.demonstrations.is_file():
            profile = {"num_rows": len(self.demonstrations)}
            self.tracker.log_dataset(self.directory.demonstrations, "demonstrations", "training", profile, stage)

    def track_sample(self, name: str, trajectories: Sequence[Trajectory], stage: str, **tags: str) -> None:
        """Send a sample of trajectories to MLflow, as traces of the stage's run."""
        count = self.recipe.tracking.trajectories
        self.tracker.log_trajectories(
            trajectories, name, self.recipe.weights, {"stage": stage, **tags}, count, run=stage
        )

    def _tell(self, stage: str, step: int, metrics: Metrics) -> None:
        self.tracker.log_metrics(stage, metrics, step)
        self.listeners(stage, step, metrics)

    def _keep(self, stage: str, step: int, trajectories: Sequence[Trajectory]) -> None:
        save_trajectories(
            step_file(self.directory.stage(stage) / "trajectories", step), trajectories, {"stage": stage, "step": step}
        )
        if step & (step - 1) == 0:  # 1, 2, 4, 8, …: the beginning shows most, and a long stage does not flood
            self.track_sample(f"{stage}-step-{step:06d}", trajectories[:1], stage, step=str(step))


def _mixed(recipe: Recipe, value: T) -> dict[str, T]:
    """Return the entry of the mixed agent; none where a single space leaves nothing to choose."""
    return {MIXED: value} if len(recipe.spaces) > 1 else {}


def _step(recipe: Recipe, stage: str) -> int:
    return (UNTRAINED, *recipe.stages).index(stage)
