"""Checks of a recipe against the installed plugins, before anything is written or any model is loaded."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossagent.demonstrations.config import DemonstrationsConfig
from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.errors import MissingExtraError, PluginError, RecipeError, TaskError, did_you_mean, lookup
from crossagent.import_path import LISTENER, find_function
from crossagent.plugin import ActionSpaceSpec, EnvironmentSpec
from crossagent.policy.config import SCRATCH, SEEING
from crossagent.recipe.schema import Recipe
from crossagent.registry.loading import BUILT_IN_SAMPLERS, CONSTRAINING
from crossagent.registry.plugin_set import PluginSet, check_pairing
from crossagent.rollout.config import TaskSelection
from crossagent.spaces.base import SpaceSet
from crossagent.types import Task


@dataclass(frozen=True)
class CheckedRecipe:
    """A recipe that was checked against the installed plugins: the specs and tasks it names, found."""

    recipe: Recipe
    plugins: PluginSet
    environment: EnvironmentSpec
    spaces: tuple[ActionSpaceSpec, ...]
    demonstration_tasks: tuple[Task, ...]
    training_tasks: tuple[Task, ...]
    suites: Mapping[str, tuple[Task, ...]]

    @property
    def distributions(self) -> list[str]:
        """Names of the packages that the run's environment, spaces and sampler come from."""
        origins = self.plugins.origins
        names = [("environment", self.environment.name), *(("action space", spec.name) for spec in self.spaces)]
        names.append(("sampler", self.recipe.rollout.sampler.name))
        return sorted({origins[name].distribution for name in names if name in origins} - {""})

    def open_pool(self) -> WorkerPool:
        """Start the environment workers; the caller closes the pool."""
        rollout = self.recipe.rollout
        config = WorldConfig(
            env=self.environment,
            env_options=self.recipe.environment.options,
            spaces=tuple((spec, self.recipe.spaces[spec.name].options) for spec in self.spaces),
            costs={name: space.cost for name, space in self.recipe.spaces.items()},
        )
        kind = WorkerPool
        if rollout.pool == "ray":
            from crossagent.envs.workers.ray_pool import RayPool as kind
        return kind(
            config,
            rollout.workers,
            rollout.worlds_per_worker,
            rollout.timeout_s,
            reset_timeout_s=rollout.reset_timeout_s,
            memory_mb=rollout.memory_mb,
            retries=rollout.retries,
            max_failed=rollout.max_failed,
        )

    def describe(self) -> list[str]:
        """Return what a run would do, in lines for people."""
        recipe = self.recipe
        suites = ", ".join(f"{name} ({len(tasks)} tasks)" for name, tasks in self.suites.items())
        return [
            f"recipe       {recipe.run_name}, sha256 {recipe.sha256[:12]}, seed {recipe.seed}",
            f"environment  {self.environment.name} {self.environment.version}",
            f"spaces       {', '.join(f'{s.name} {s.version} (λ {recipe.spaces[s.name].weight:g})' for s in self.spaces)}",
            f"policy       {recipe.policy.model}",
            f"demos        {recipe.demonstrations.episodes} episodes of {len(self.demonstration_tasks)} tasks",
            f"stages       {' → '.join(recipe.stages)}; reinforced on {len(self.training_tasks)} tasks",
            f"evaluation   {suites}; {recipe.evaluation.episodes} episodes a cell",
            f"writes       {recipe.run_directory}",
            *(f"warning      {text}" for text in recipe.warnings),
        ]


def validate(recipe: Recipe, plugins: PluginSet) -> CheckedRecipe:
    """Check a recipe against what is installed, before anything is loaded or written.

    Raises:
        PluginError: An unknown or broken space, environment or sampler, or a space whose interface the environment lacks.
        TaskError: An unknown task or split, a split without solvable tasks.
        RecipeError: A suite called ``ood`` that shares tasks with the training; a function named ``module:function`` that
            cannot be found.
        MissingExtraError: The recipe needs an optional dependency.
    """
    environment = plugins.environment(recipe.environment.name)
    spaces = tuple(plugins.space(name) for name in recipe.spaces)
    for space in spaces:
        check_pairing(space, environment)
    plugins.check_environment_options(environment.name, recipe.environment.options)
    _check_observation(recipe)
    built = plugins.build_space_set(
        {name: space.options for name, space in recipe.spaces.items()}
    )  # checks the options
    for name, config in recipe.reinforced:
        try:
            config.check_functions()
        except RecipeError as error:
            raise RecipeError(f"{name}.{error}") from error
    for name in recipe.tracking.listeners:
        try:
            find_function(name, {}, LISTENER)
        except RecipeError as error:
            raise RecipeError(f"tracking.{error}") from error
    _check_segments(recipe, built)
    _check_exploration(recipe)
    sampler = recipe.rollout.sampler
    if sampler.name not in BUILT_IN_SAMPLERS:
        try:
            plugins.check_sampler_options(sampler.name, sampler.options)
        except PluginError as error:
            raise PluginError(f"rollout.sampler: {error} Built in: {', '.join(BUILT_IN_SAMPLERS)}.") from error
    if recipe.rollout.pool == "ray" and not _installed("ray"):
        raise MissingExtraError(
            "rollout.pool: 'ray' needs the package ray, which is not installed. Fix: pip install 'crossagent[ray]'"
        )
    if recipe.rollout.constrained:
        if sampler.name not in CONSTRAINING and (
            sampler.name in BUILT_IN_SAMPLERS or not plugins.sampler(sampler.name).constrains
        ):
            raise RecipeError(
                f"rollout.constrained: the sampler {sampler.name!r} does not declare that it keeps to a grammar; expected one of "
                f"{', '.join(CONSTRAINING)}, or a plugin's whose SamplerSpec says constrains=True"
            )
        if not _installed("llguidance"):
            raise MissingExtraError(
                "rollout.constrained: needs the package llguidance, which is not installed. "
                "Fix: pip install 'crossagent[constrained]'"
            )
    if recipe.trainer.strategy.startswith("deepspeed") and not _installed("deepspeed"):
        raise MissingExtraError(
            f"trainer.strategy: {recipe.trainer.strategy!r} needs the package deepspeed, which is not installed. "
            "Fix: pip install 'crossagent[deepspeed]'"
        )
    if recipe.trainer.liger and not _installed("liger_kernel"):
        raise MissingExtraError(
            "trainer.liger: needs the package liger-kernel, which is not installed. Fix: pip install 'crossagent[liger]'"
        )
    known = suite_tasks(plugins, environment.name, recipe.environment.options)
    evaluation = recipe.evaluation
    plan = CheckedRecipe(
        recipe=recipe,
        plugins=plugins,
        environment=environment,
        spaces=spaces,
        demonstration_tasks=_select(known, recipe.demonstrations, "demonstrations", environment.name),
        training_tasks=_select(known, recipe.training_tasks, "training_tasks", environment.name),
        suites={
            name: _select(known, selection, f"evaluation.suites.{name}", environment.name)
            for name, selection in evaluation.suites.items()
        },
    )
    trained = {task.name for task in (*plan.demonstration_tasks, *plan.training_tasks)}
    leaked = sorted(trained & {task.name for task in plan.suites.get("ood", ())})
    if leaked:
        raise RecipeError(
            f"evaluation.suites.ood: {len(leaked)} of its tasks are trained or demonstrated too, e.g. {leaked[0]!r}; "
            "expected tasks that no stage has seen. Take them out of the suite, or give the suite another name."
        )
    return plan


def _check_observation(recipe: Recipe) -> None:
    if recipe.environment.options.get("observation") != "pixels":
        return
    kind = model_type(recipe)
    if kind in SEEING and recipe.prompt.pictures:
        return
    if kind is None and recipe.prompt.pictures:  # found out when the model is loaded
        return
    why = "prompt.pictures is false" if kind in SEEING else f"policy.model {recipe.policy.model!r} reads text alone"
    raise RecipeError(
        f"environment.options.observation: got 'pixels', which leaves the text empty, but {why}: it would act blindly. "
        f"Fix: observation: both, or text; or a model that sees ({', '.join(SEEING)})"
    )


def model_type(recipe: Recipe) -> str | None:
    """Return the ``model_type`` of a recipe's policy as far as this machine knows; None for a model elsewhere."""
    if recipe.policy.model in SCRATCH:
        return "llama"
    directory = Path(recipe.policy.model).expanduser()
    for path in (directory / "config.json", directory / "base" / "config.json"):
        if path.is_file():
            try:
                return str(json.loads(path.read_text(encoding="utf-8")).get("model_type", ""))
            except (OSError, ValueError, AttributeError):
                return None  # whoever loads it says what is wrong with it
    said = recipe.plan.architecture.get("model_type")
    return None if said is None else str(said)


def _check_segments(recipe: Recipe, spaces: SpaceSet) -> None:
    known = sorted({part for space in spaces.spaces.values() for part in space.tokenizer.segment_names})
    for where, weights in (
        ("sft", recipe.sft.segment_weights),
        ("strl", recipe.strl.segment_weights),
        ("relabel.sft", recipe.relabel.sft.segment_weights),
        ("mtrl", recipe.mtrl.segment_weights),
    ):
        for part in weights:
            if part not in known:
                hint = did_you_mean(part, known) if known else "No space of this recipe tells parts of an action apart."
                raise RecipeError(f"{where}.segment_weights: unknown part {part!r}. {hint}")


def _check_exploration(recipe: Recipe) -> None:
    for where, config in (("strl", recipe.strl), ("mtrl", recipe.mtrl)):
        if config.explore_members and len(recipe.spaces) == 1:
            raise RecipeError(f"{where}.explore_members: got {config.explore_members}; a single space leaves no choice")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def suite_tasks(plugins: PluginSet, environment: str, options: Mapping[str, Any]) -> tuple[Task, ...]:
    """Return every task of an environment's suite, in its order."""
    return tuple(plugins.suite(environment, options).tasks())


def tasks_of_split(tasks: Sequence[Task], split: str, environment: str, solvable_only: bool = True) -> tuple[Task, ...]:
    """Return the tasks of one split. Raises :class:`TaskError` for a split that no task names."""
    splits = sorted({name for task in tasks for name in task.splits})
    if split not in splits:
        raise TaskError(f"unknown split {split!r} of the tasks of {environment!r}. {did_you_mean(split, splits)}")
    return tuple(task for task in tasks if split in task.splits and (task.solvable or not solvable_only))


def _select(
    known: Sequence[Task], selection: TaskSelection | DemonstrationsConfig, where: str, environment: str
) -> tuple[Task, ...]:
    by_name = {task.name: task for task in known}
    chosen: dict[str, Task] = {}
    try:
        for split in selection.splits:
            chosen |= {task.name: task for task in tasks_of_split(known, split, environment)}
    except TaskError as error:
        raise TaskError(f"{where}.splits: {error}") from error
    for name in selection.tasks:
        task = lookup(name, by_name, f"task of {environment!r} in {where}.tasks:", TaskError)
        if not task.solvable:
            raise TaskError(f"{where}.tasks: {name!r} cannot be solved in {environment!r}: {task.reason}")
        chosen[name] = task
    if not chosen:
        raise TaskError(f"{where}: selects no solvable task of {environment!r}; name other splits or tasks")
    return tuple(task for task in known if task.name in chosen)
