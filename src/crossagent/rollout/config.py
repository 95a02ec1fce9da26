"""What a recipe says about playing episodes. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

from crossagent.errors import RecipeError, lookup
from crossagent.policy.config import VllmOptions
from crossagent.registry.loading import BUILT_IN_SAMPLERS

Pool = Literal["processes", "ray"]
"""Where the workers of the worlds are; see :mod:`crossagent.envs.workers.pool` and :mod:`crossagent.envs.workers.ray_pool`."""
POOLS: tuple[Pool, ...] = get_args(Pool)
Schedule = Literal["halves", "lockstep", "async"]
"""Who is sampled when; see :mod:`crossagent.rollout.loop`."""
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
NOT_OFFERED: Mapping[str, str] = MappingProxyType(
    {
        name: f"{name} is not offered in training: it makes the sampler another policy than the one whose log-probs are "
        "trained, so the ratio would not be 1 on the first pass; remove it, and use temperature"
        for name in ("top_p", "top_k", "min_p")
    }
)
"""Options of sampling that a recipe may well try, and why they are not there."""


@dataclass
class SamplerConfig:
    """Who turns prompts into responses."""

    name: str = "fast"
    """``fast``; ``generate``, which is transformers' own loop with the same results; ``vllm``, a process that runs vLLM (extra
    ``vllm``, needs ``trainer.deterministic: false``); or the name of a plugin's sampler."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of a plugin's sampler, or of ``vllm``: ``python``, ``engine``, ``start_s``, ``timeout_s``
    (docs/guides/sampler.md)."""
    batch_size: int = 256
    """Responses that a built-in sampler has in the making at a time, at most; what its keys and values take grows with it."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecipeError(f"rollout.sampler.batch_size: got {self.batch_size}; expected at least 1")
        if self.name == "vllm":
            VllmOptions.of(self.options)
        elif self.options and self.name in BUILT_IN_SAMPLERS:
            raise RecipeError(f"rollout.sampler.options: {self.name!r} is built in and takes none; take them out")


@dataclass
class RolloutConfig:
    """Where worlds live, and how long a response may be."""

    workers: int = 2
    """Processes that hold worlds; 0 keeps them in the main process."""
    worlds_per_worker: int = 32
    """Worlds in each of them; workers × worlds_per_worker episodes are played at a time."""
    pool: str = "processes"
    """Where those processes are. ``processes``: on this machine. ``ray``: on the machines of the Ray cluster that ``RAY_ADDRESS``
    names, else in a Ray started here; the same bits, and it needs ``crossagent[ray]``."""
    timeout_s: float = 30.0
    """A turn that takes longer has hung; its episode is dropped and its worker replaced."""
    reset_timeout_s: float | None = None
    """The same for the start of an episode; none: ``timeout_s``."""
    memory_mb: int = 0
    """Resident MiB of a worker beyond which it is replaced, and the episode dropped that made it grow most; 0: no limit."""
    retries: int = 3
    """How often an episode is begun again, from its seed in a fresh world, that was lost to no fault of its own."""
    max_failed: float = 0.5
    """Share of the episodes of one iteration or evaluation that may be lost; more abort the run. 1: never."""
    schedule: str = "halves"
    """Who is sampled when, in training. ``halves``: half the episodes, while the worlds of the other half act; the same bits
    for any number of workers. ``lockstep``: all, then all act. ``async``: whatever has arrived; equal distributions only, so
    it needs ``trainer.deterministic: false``. Evaluations play ``halves`` where this says ``async``."""
    max_new_tokens: int = 24
    """Longest response; one that is longer is cut, which ends its trajectory."""
    constrained: bool = False
    """Sample among the tokens alone that the grammars of the active spaces allow, so that every response is an action; in
    training and evaluation alike. Log-probs are then of the distribution over these tokens. Near ``max_new_tokens`` the
    shortest end is taken, so leave room. Needs ``crossagent[constrained]``."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    NOT_OFFERED: ClassVar[Mapping[str, str]] = {
        **NOT_OFFERED,
        "async": "it is a schedule: rollout.schedule=async",
    }

    def __post_init__(self) -> None:
        for key, ok, expected in (
            ("workers", self.workers >= 0, "≥ 0"),
            ("worlds_per_worker", self.worlds_per_worker >= 1, "≥ 1"),
            ("timeout_s", self.timeout_s > 0, "> 0"),
            ("reset_timeout_s", self.reset_timeout_s is None or self.reset_timeout_s > 0, "> 0, or null"),
            ("memory_mb", self.memory_mb >= 0, "≥ 0"),
            ("retries", self.retries >= 0, "≥ 0"),
            ("max_failed", 0 <= self.max_failed <= 1, "0 to 1"),
            ("max_new_tokens", self.max_new_tokens >= 2, "≥ 2: one token and the end of turn"),
        ):
            if not ok:
                raise RecipeError(f"rollout.{key}: got {getattr(self, key)}; expected {expected}")
        lookup(self.schedule, dict.fromkeys(SCHEDULES, True), "rollout.schedule:", RecipeError)
        lookup(self.pool, dict.fromkeys(POOLS, True), "rollout.pool:", RecipeError)
        if self.workers == 0 and self.pool != "processes":
            raise RecipeError(
                f"rollout.pool: {self.pool} needs rollout.workers ≥ 1; with 0 worlds are in the main process"
            )
        if self.workers == 0 and self.memory_mb:
            raise RecipeError("rollout.memory_mb: needs rollout.workers ≥ 1: worlds in the main process have no limit")


@dataclass
class TaskSelection:
    """Which tasks of the environment's suite; unsolvable ones are never selected by a split."""

    splits: list[str] = field(default_factory=lambda: ["train"])
    """All tasks of any of these splits."""
    tasks: list[str] = field(default_factory=list)
    """Tasks by name, besides those of the splits."""


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
