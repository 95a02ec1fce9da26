"""A recipe: one YAML file that says a whole run. Composes the components' configurations; loads no torch.

``load_recipe`` reads, composes and checks; ``validate`` adds the checks that look at the installed plugins. Both
raise before anything is written or any model is loaded.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from crossagent.envs.workers.pool import WorkerPool
from crossagent.envs.world import WorldConfig
from crossagent.errors import (
    CheckpointError,
    MissingExtraError,
    PluginError,
    RecipeError,
    TaskError,
    did_you_mean,
    lookup,
)
from crossagent.import_path import LISTENER, find_function
from crossagent.plugin import ActionSpaceSpec, EnvironmentSpec
from crossagent.policy.checkpoint import MANIFEST
from crossagent.policy.config import SCRATCH, SEEING, PolicyConfig, PromptConfig
from crossagent.recipe.compose import canonical_sha256, compose, plain
from crossagent.recipe.estimate_config import PlanConfig
from crossagent.registry.loading import BUILT_IN_SAMPLERS, CONSTRAINING
from crossagent.registry.plugin_set import PluginSet, check_pairing
from crossagent.rollout.config import RolloutConfig
from crossagent.spaces.base import CostRule, SpaceSet
from crossagent.training.config import STRATEGIES, GRPOConfig, RelabelConfig, SFTConfig, StrlConfig
from crossagent.types import Task

STAGES = ("sft", "strl", "relabel", "mtrl")
"""Every stage, in the only order that makes sense; a recipe lists some of them."""
ACCELERATORS = ("cpu", "cuda", "mps", "auto")
MATMULS = ("auto", "highest", "high", "medium")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "64-true")
RECIPE_FILE = "recipe.yaml"
"""The composed recipe in a run directory."""


@dataclass
class EnvironmentConfig:
    """Which world."""

    name: str = MISSING
    """As ``crossagent plugins`` lists it."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""


@dataclass
class CostConfig:
    """What one valid action of a space costs before λ: the sum of these. As it is, what its plugin says.

    To price spaces alike, e.g. by their turns alone: ``cost: {plugin: 0, per_turn: 1}``.
    """

    plugin: float = 1.0
    """Times what the plugin says an action costs."""
    per_turn: float = 0.0
    """A constant."""
    per_tick: float = 0.0
    """Times the ticks that the action took."""
    per_token: float = 0.0
    """Times the tokens that were sampled; experts, who sample none, are not charged."""

    def __post_init__(self) -> None:
        for name in ("plugin", "per_turn", "per_tick", "per_token"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise RecipeError(f"cost.{name}: got {getattr(self, name)}; expected a number ≥ 0")


@dataclass
class SpaceConfig:
    """One action space of the run."""

    weight: float = 0.0
    """λ of this space: what one unit of its cost takes off the return."""
    cost: CostConfig = field(default_factory=CostConfig)
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the space."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise RecipeError(f"weight: got {self.weight}; expected ≥ 0: a cost is taken off the return")


@dataclass
class TaskSelection:
    """Which tasks of the environment's suite; unsolvable ones are never selected by a split."""

    splits: list[str] = field(default_factory=lambda: ["train"])
    """All tasks of any of these splits."""
    tasks: list[str] = field(default_factory=list)
    """Tasks by name, besides those of the splits."""


@dataclass
class DemonstrationsConfig:
    """What SFT, STRL and relabel learn from."""

    episodes: int = 1000
    """How many demonstrated episodes to keep."""
    mixture: dict[str, float] = field(default_factory=dict)
    """Relative share of each kind: a space's name (that space alone) or ``mixed``. Empty: every space 1, mixed 2.
    0 takes an inherited share out."""
    splits: list[str] = field(default_factory=lambda: ["train", "demo"])
    """Splits whose tasks are demonstrated."""
    tasks: list[str] = field(default_factory=list)
    """Tasks by name, besides those of the splits."""
    also_under_all: float = 0.0
    """Share of the single-space episodes that are shown once more under the prompt of all spaces."""
    file: str | None = None
    """Use this parquet file of demonstrations instead of playing them."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise RecipeError(f"episodes: got {self.episodes}; expected at least 1")
        if any(share < 0 for share in self.mixture.values()) or (self.mixture and not sum(self.mixture.values())):
            raise RecipeError(f"mixture: got {dict(self.mixture)}; expected shares ≥ 0, one of them > 0")


@dataclass
class EvaluationConfig:
    """When and on what the agent is evaluated."""

    suites: dict[str, TaskSelection] = field(
        default_factory=lambda: {"id": TaskSelection(["train"]), "ood": TaskSelection(["ood"])}
    )
    """Name → which tasks. A suite called ``ood`` may share no task with any stage."""
    episodes: int = 100
    """Episodes per suite and agent, spread evenly over the suite's tasks."""
    validation_episodes: int = 64
    """Episodes of the evaluations within a stage (``mtrl.evaluate_every``): training tasks, worlds of their own."""
    single_spaces_after: list[str] = field(default_factory=lambda: ["sft", "last"])
    """Stages after which each space is evaluated alone too; ``last`` is the recipe's last stage."""
    experts: bool = True
    """Evaluate the environment's experts, one interface at a time: the ceiling of each space."""
    temperature: float = 1.0
    """Of sampling; 0 is greedy."""
    seed: int = 0
    """Seeds of evaluation worlds derive from it alone: every recipe and every stage meets the same worlds."""


@dataclass
class TrackingConfig:
    """Where numbers go besides the run directory."""

    mlflow: bool = True
    """Whether to keep an MLflow store."""
    uri: str | None = None
    """MLflow tracking URI; none: what MLFLOW_TRACKING_URI says, else ``mlflow.db`` in the run directory."""
    experiment: str = "crossagent"
    """MLflow experiment."""
    system_metrics_s: float = 30.0
    """Seconds between samples of processor, memory, disk, network and GPU; 0: none."""
    trajectories: int = 4
    """Trajectories per suite that go to MLflow as traces after each stage; besides, one of each of the iterations 1, 2, 4, 8, …"""
    model: bool = True
    """Send the final model, in Hugging Face layout with a model card."""
    plots: bool = True
    """Draw curves as PNG."""
    report: bool = True
    """Write ``report.html`` after each stage."""
    listeners: list[str] = field(default_factory=list)
    """Functions of yours, ``module:function``, called with (stage, step, metrics) for each row of ``metrics.jsonl``, and with
    ``eval/SUITE/AGENT/…`` and the number of the stage after each evaluation. One that raises is called no more."""

    def __post_init__(self) -> None:
        if self.system_metrics_s < 0:
            raise RecipeError(f"system_metrics_s: got {self.system_metrics_s}; expected seconds, or 0 for none")
        if self.trajectories < 0:
            raise RecipeError(
                f"trajectories: got {self.trajectories}; expected a number of trajectories, or 0 for none"
            )


@dataclass
class TrainerConfig:
    """How Lightning runs a stage."""

    accelerator: str = "cpu"
    """``cpu``, ``cuda``, ``mps`` or ``auto``."""
    devices: int = 1
    """Processes per machine, each with a device (a CPU core, a GPU) and ``rollout.workers`` of its own. More than one:
    ``crossagent run`` starts them."""
    num_nodes: int = 1
    """Machines. More than one: a launcher starts the processes (docs/guides/launchers.md)."""
    strategy: str = "auto"
    """What each process keeps of the training's state: all of it (``auto``, ``ddp``), its part of the optimiser's states
    (``deepspeed_stage_1``), of the gradients too (``deepspeed_stage_2``), of the weights too (``deepspeed_stage_3``,
    ``fsdp2``). ``…_offload`` keeps its part of the optimiser's states, in stage 3 of the weights too, in the machine's memory
    (``deepspeed_stage_3_offload_optimizer``: not the weights). docs/guides/scaling.md."""
    precision: str = "32-true"
    """Of ``lightning.Trainer``, e.g. ``32-true``, ``bf16-mixed``."""
    threads: int = 1
    """Threads of the main process; 0 leaves torch's choice (and gives up bit-identical repetition)."""
    deterministic: bool = True
    """Only deterministic algorithms; an operation without one raises."""
    compile: bool = False
    """Compile the policy's layers (``torch.compile``) for the passes of training; sampling runs as it is. Needs a C++ compiler on
    a CPU, pays where a stage repeats them often."""
    liger: bool = False
    """Liger's kernels for rotary embedding, normalisation and gated layers, on GPUs. Needs ``crossagent[liger]``."""
    matmul: str = "auto"
    """Precision of float32 matrix products: ``highest``, ``high``, ``medium`` (torch.set_float32_matmul_precision), or ``auto``:
    on a CPU ``medium`` where that is another, faster library with the same precision, which is tried when a run begins; else
    ``highest``."""

    def __post_init__(self) -> None:
        lookup(self.accelerator, dict.fromkeys(ACCELERATORS, True), "trainer.accelerator:", RecipeError)
        lookup(self.precision, dict.fromkeys(PRECISIONS, True), "trainer.precision:", RecipeError)
        lookup(self.matmul, dict.fromkeys(MATMULS, True), "trainer.matmul:", RecipeError)
        lookup(self.strategy, STRATEGIES, "trainer.strategy:", RecipeError)
        unable = {"deepspeed": ("64-true",), "fsdp2": ("16-mixed", "64-true")}.get(self.strategy.partition("_")[0], ())
        if self.precision in unable:
            raise RecipeError(
                f"precision: got {self.precision!r}; {self.strategy!r} cannot, expected bf16-mixed or 32-true"
            )
        if self.liger and self.accelerator in ("cpu", "mps"):
            raise RecipeError(f"liger: its kernels run on GPUs; expected accelerator: cuda, got {self.accelerator!r}")
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}: got {getattr(self, name)}; expected at least 1")

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.devices * self.num_nodes


@dataclass
class Recipe:
    """A whole run."""

    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    spaces: dict[str, SpaceConfig] = field(default_factory=dict)
    """name → how it is used; the order is the order in the prompt."""
    stages: list[str] = field(default_factory=lambda: list(STAGES))
    """Which of ``sft``, ``strl``, ``relabel``, ``mtrl`` to run; always in this order."""
    seed: int = 0
    """Everything random derives from it."""
    run_name: str = ""
    """Directory under ``runs_dir``; empty: the recipe's file name without its ending."""
    runs_dir: str = "runs"
    """Where run directories are made; relative to where the command is started."""
    training_tasks: TaskSelection = field(default_factory=TaskSelection)
    """Tasks of STRL, relabel and MTRL."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    demonstrations: DemonstrationsConfig = field(default_factory=DemonstrationsConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    strl: StrlConfig = field(default_factory=StrlConfig)
    relabel: RelabelConfig = field(default_factory=RelabelConfig)
    mtrl: GRPOConfig = field(default_factory=GRPOConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)

    def __post_init__(self) -> None:
        _check_stages(self.stages)
        if not self.spaces:
            raise RecipeError("spaces: none is listed; expected at least one, e.g. spaces: {api: {weight: 0.02}}")
        if self.run_name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.run_name):
            raise RecipeError(f"run_name: got {self.run_name!r}; expected letters, digits, '.', '_' and '-'")
        for kind, share in self.demonstrations.mixture.items():
            if share and kind != "mixed" and kind not in self.spaces:
                raise RecipeError(
                    f"demonstrations.mixture: unknown kind {kind!r}. {did_you_mean(kind, ['mixed', *self.spaces])} "
                    f"To leave an inherited share out: {kind}: 0"
                )
        for name in self.evaluation.single_spaces_after:
            if name not in (*STAGES, "untrained", "last"):
                raise RecipeError(
                    f"evaluation.single_spaces_after: unknown stage {name!r}. "
                    f"{did_you_mean(name, [*STAGES, 'untrained', 'last'])}"
                )

        if self.rollout.schedule == "async" and self.trainer.deterministic:
            raise RecipeError(
                "rollout.schedule: 'async' samples by arrival, so a run cannot be repeated bit by bit, which "
                "trainer.deterministic: true promises. Set trainer.deterministic=false, or use rollout.schedule=halves"
            )
        if self.rollout.sampler.name == "vllm" and self.trainer.deterministic:
            raise RecipeError(
                "rollout.sampler.name: 'vllm' composes its batches itself, so a run cannot be repeated bit by bit, which "
                "trainer.deterministic: true promises. Set trainer.deterministic=false, or use rollout.sampler.name=fast"
            )
        if self.reinforced and self.trainer.precision == "16-mixed":
            raise RecipeError(
                "trainer.precision: got '16-mixed'; strl and mtrl clip gradients by their true norm, which a loss scaler hides; "
                "expected bf16-mixed or 32-true"
            )
        for name, config in self.reinforced:
            earlier = ["start", "untrained", *STAGES[: STAGES.index(name)]]
            known = [stage for stage in earlier if stage in ("start", "untrained") or stage in self.stages]
            if config.reference not in known:
                raise RecipeError(
                    f"{name}.reference: got {config.reference!r}; expected one of {', '.join(known)}: the KL is to a policy that "
                    f"exists when {name} begins"
                )
            try:
                config.check_overlong(config.max_new_tokens or self.rollout.max_new_tokens)
            except RecipeError as error:
                raise RecipeError(f"{name}.{error}") from error

    @property
    def reinforced(self) -> list[tuple[str, GRPOConfig]]:
        """The stages of the recipe that reinforce, with their configurations."""
        configs: dict[str, GRPOConfig] = {"strl": self.strl, "mtrl": self.mtrl}
        return [(name, config) for name, config in configs.items() if name in self.stages]

    @property
    def warnings(self) -> list[str]:
        """What works, but hardly as meant."""
        weights = {"strl": {}, "mtrl": self.weights}  # a single turn has no cost
        found = [f"{name}.{text}" for name, config in self.reinforced for text in config.warnings(weights[name])]
        half = self.trainer.precision.startswith("bf16") and self.trainer.strategy.startswith("deepspeed")
        if half and self.policy.dtype == "float32" and self.reinforced:
            found.append(
                "policy.dtype: float32 under deepspeed with bf16: the policy acts in fp32 and is trained by passes in bfloat16, so "
                "the ratio does not begin at 1; expected policy.dtype: bfloat16 (AdamW trains an fp32 copy all the same)"
            )
        return found

    @property
    def weights(self) -> dict[str, float]:
        """λ per space."""
        return {name: space.weight for name, space in self.spaces.items()}

    @property
    def run_directory(self) -> Path:
        """Where everything of this run is written."""
        return Path(self.runs_dir) / self.run_name

    def identity(self) -> dict[str, Any]:
        """Return what makes a run this run: all of the recipe but where its files go, who watches, what ``plan`` expects, and over
        how many processes it is dealt out: it may go on over fewer or more.
        """
        content = plain(self)
        for key in ("run_name", "runs_dir", "tracking", "plan"):
            del content[key]
        for key in ("devices", "num_nodes", "strategy"):
            del content["trainer"][key]
        content["order_of_spaces"] = list(self.spaces)  # JSON objects are compared without order, a prompt has one
        return content

    @property
    def needs_demonstrations(self) -> bool:
        """Whether a stage learns from demonstrations, or a fresh tokenizer from their words."""
        return self.makes_tokenizer or any(stage in self.stages for stage in ("sft", "strl", "relabel"))

    @property
    def makes_tokenizer(self) -> bool:
        """Whether the policy's tokenizer is made on the spot: a preset, or a directory with a bare ``config.json``."""
        directory = Path(self.policy.model).expanduser()
        stored = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
        bare = (directory / "config.json").is_file() and not any((directory / name).is_file() for name in stored)
        return self.policy.model in SCRATCH or bare

    @property
    def sha256(self) -> str:
        """Hash of :meth:`identity`."""
        return canonical_sha256(self.identity())


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
            costs={name: CostRule(**asdict(space.cost)) for name, space in self.recipe.spaces.items()},
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


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Return the composed recipe.

    Args:
        path: The recipe's file.
        changes: Overrides ``key=value``, and overlays: other YAML files, such as ``recipes/debug/one_step.yaml``.

    Returns:
        The recipe; ``run_name`` defaults to the names of the files, joined with ``-``.

    Raises:
        RecipeError: with everything that is wrong in the files and overrides.
    """
    overlays = [word for word in changes if "=" not in word and word.endswith((".yaml", ".yml"))]
    recipe = compose(Recipe, path, [word for word in changes if word not in overlays], overlays)
    if not recipe.run_name:
        recipe.run_name = "-".join(Path(file).stem for file in (path, *overlays))
    return recipe


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


def _check_stages(stages: Sequence[str]) -> None:
    if not stages:
        raise RecipeError(f"stages: none is listed; expected some of {', '.join(STAGES)}, in this order")
    for stage in stages:
        if stage not in STAGES:
            raise RecipeError(f"stages: unknown stage {stage!r}. {did_you_mean(stage, STAGES)}")
    order = [stage for stage in STAGES if stage in stages]
    if list(stages) != order:
        raise RecipeError(f"stages: got [{', '.join(stages)}]; expected each once, in the order [{', '.join(order)}]")


@dataclass(frozen=True)
class Found:
    """A checkpoint, and the recipe of the run it belongs to."""

    checkpoint: Path
    recipe: Path | None


def find_checkpoint(target: Path, recipe: Path | None = None) -> Found:
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
        return Found(target / done[-1] / "checkpoint", recipe or composed)
    if (target / "checkpoint").is_dir():
        target = target / "checkpoint"
    if recipe is None:
        composed = target.resolve().parent.parent / RECIPE_FILE
        recipe = composed if composed.is_file() else None
    return Found(target, recipe)
