"""A recipe: one YAML file that says a whole run. Composes the components' configurations; loads no torch.

``load_recipe`` reads, composes and checks; ``validate`` adds the checks that look at the installed plugins. Both
raise before anything is written or any model is loaded.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import MISSING

from crossagent.compose import canonical_sha256, compose, plain
from crossagent.errors import MissingExtraError, RecipeError, TaskError, did_you_mean
from crossagent.policy.config import PolicyConfig, PromptConfig
from crossagent.registry import PluginSet
from crossagent.rollout.config import EvalConfig, RolloutConfig
from crossagent.training.config import GRPOConfig, RelabelConfig, SFTConfig
from crossagent.types import Task

STAGES = ("sft", "strl", "relabel", "mtrl")
"""Every stage, in the only order that makes sense; a recipe lists some of them."""


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
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the space."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise RecipeError(f"spaces.*.weight: got {self.weight}; expected ≥ 0: a cost is taken off the return")


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
    """Relative share of each kind: a space's name (that space alone) or ``mixed``. Empty: every space 1, mixed 2."""
    splits: list[str] = field(default_factory=lambda: ["train", "demo"])
    tasks: list[str] = field(default_factory=list)
    file: str | None = None
    """Use this parquet file of demonstrations instead of playing them."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise RecipeError(f"demonstrations.episodes: got {self.episodes}; expected at least 1")
        if any(share < 0 for share in self.mixture.values()) or (self.mixture and not sum(self.mixture.values())):
            raise RecipeError(f"demonstrations.mixture: got {dict(self.mixture)}; expected shares ≥ 0, one of them > 0")


@dataclass
class EvaluationConfig:
    """When and on what the agent is evaluated."""

    suites: dict[str, TaskSelection] = field(
        default_factory=lambda: {"id": TaskSelection(["train"]), "ood": TaskSelection(["ood"])}
    )
    episodes: int = 100
    """Episodes per suite and agent, spread evenly over the suite's tasks."""
    single_spaces_after: list[str] = field(default_factory=lambda: ["sft", "last"])
    """Stages after which each space is evaluated alone too; ``last`` is the recipe's last stage."""
    experts: bool = True
    """Evaluate the environment's experts, one interface at a time: the ceiling of each space."""
    temperature: float = 1.0
    seed: int = 1_000_003
    """Seeds of evaluation worlds derive from it alone: every recipe and every stage meets the same worlds."""


@dataclass
class TrackingConfig:
    """Where numbers go besides the run directory."""

    mlflow: bool = True
    uri: str | None = None
    """MLflow tracking URI; none: ``mlflow.db`` in the run directory."""
    experiment: str = "crossagent"
    plots: bool = True


@dataclass
class TrainerConfig:
    """How Lightning runs a stage."""

    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    threads: int = 1
    """Threads of the main process; 0 leaves torch's choice (and gives up bit-identical repetition)."""
    deterministic: bool = True
    """Only deterministic algorithms; an operation without one raises."""

    def __post_init__(self) -> None:
        if self.devices != 1:
            raise RecipeError(f"trainer.devices: got {self.devices}; expected 1: this version trains in one process")


@dataclass
class Recipe:
    """A whole run."""

    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    spaces: dict[str, SpaceConfig] = field(default_factory=dict)
    """name → how it is used; the order is the order in the prompt."""
    stages: list[str] = field(default_factory=lambda: list(STAGES))
    seed: int = 0
    """Everything random derives from it."""
    run_name: str = ""
    """Directory under ``runs_dir``; empty: the recipe's file name without its ending."""
    runs_dir: str = "runs"
    training_tasks: TaskSelection = field(default_factory=TaskSelection)
    """Tasks of STRL, relabel and MTRL."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    demonstrations: DemonstrationsConfig = field(default_factory=DemonstrationsConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    strl: GRPOConfig = field(default_factory=GRPOConfig)
    relabel: RelabelConfig = field(default_factory=RelabelConfig)
    mtrl: GRPOConfig = field(default_factory=GRPOConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
