"""A recipe: one YAML file that says a whole run. Composes the components' configurations; loads no torch.

``load_recipe`` reads, composes and checks; ``validate`` adds the checks that look at the installed plugins. Both
raise before anything is written or any model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from crossagent.demonstrations.config import DemonstrationsConfig
from crossagent.errors import (
    RecipeError,
    did_you_mean,
)
from crossagent.policy.config import SCRATCH, PolicyConfig, PromptConfig
from crossagent.recipe.compose import canonical_sha256, compose, plain
from crossagent.recipe.estimate_config import PlanConfig
from crossagent.rollout.config import EvaluationConfig, RolloutConfig, TaskSelection
from crossagent.spaces.base import CostRule
from crossagent.tracking.config import TrackingConfig
from crossagent.training.config import GRPOConfig, RelabelConfig, SFTConfig, StrlConfig, TrainerConfig

STAGES = ("sft", "strl", "relabel", "mtrl")
"""Every stage, in the only order that makes sense; a recipe lists some of them."""
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
class SpaceConfig:
    """One action space of the run."""

    weight: float = 0.0
    """λ of this space: what one unit of its cost takes off the return."""
    cost: CostRule = field(default_factory=CostRule)
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the space."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise RecipeError(f"weight: got {self.weight}; expected ≥ 0: a cost is taken off the return")


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


def _check_stages(stages: Sequence[str]) -> None:
    if not stages:
        raise RecipeError(f"stages: none is listed; expected some of {', '.join(STAGES)}, in this order")
    for stage in stages:
        if stage not in STAGES:
            raise RecipeError(f"stages: unknown stage {stage!r}. {did_you_mean(stage, STAGES)}")
    order = [stage for stage in STAGES if stage in stages]
    if list(stages) != order:
        raise RecipeError(f"stages: got [{', '.join(stages)}]; expected each once, in the order [{', '.join(order)}]")
