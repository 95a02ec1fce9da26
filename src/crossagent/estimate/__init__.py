"""A recipe's memory, time and cost before it runs, from its numbers and its model's ``config.json`` alone. Loads no torch.

In: a :class:`crossagent.recipe.Plan`; out: an :class:`Estimate`, in lines for people and as JSON. What is counted, and
how: :mod:`crossagent.planning`.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossagent.errors import RecipeError
from crossagent.estimate.advice import advice
from crossagent.estimate.hardware import Hardware
from crossagent.estimate.inputs import hardware_of, job_of, policy_shape, setting_of, sharding_of, time_of
from crossagent.estimate.memory import GIB, MemoryPlan, plan
from crossagent.estimate.rates import measured
from crossagent.estimate.shape import ModelShape
from crossagent.estimate.sharding import Sharding
from crossagent.estimate.steps import Rates, StepTime
from crossagent.estimate.text import count, duration, gib
from crossagent.recipe.checks import CheckedRecipe
from crossagent.recipe.schema import Recipe

PROCESS = 700 * 2**20
"""Resident memory of a training process before it has a model: torch, transformers, Lightning (benchmarks/memory_plan.py)."""


@dataclass(frozen=True)
class StageEstimate:
    """One stage."""

    name: str
    memory: MemoryPlan
    time: StepTime
    """Of one iteration, or of one optimiser step of SFT."""
    steps: int | None
    """How many of them; None: not known before there are demonstrations."""

    @property
    def seconds(self) -> float | None:
        """Of the stage."""
        return None if self.steps is None else self.steps * self.time.seconds


@dataclass(frozen=True)
class Estimate:
    """What a recipe will need."""

    recipe: Recipe
    shape: ModelShape
    hardware: Hardware
    sharding: Sharding
    rates: Rates
    stages: tuple[StageEstimate, ...]
    trained: int
    """Numbers that train."""
    assumed: tuple[str, ...]
    """What was taken for granted, for people."""
    calibrated: bool = False
    """Whether the rates were measured on a run."""

    @property
    def device_limit(self) -> float:
        """Bytes of one device that a run may fill."""
        reserve = self.recipe.plan.reserve_gib * GIB if self.hardware.kind == "cuda" else 0.0
        return self.hardware.memory - reserve

    @property
    def host_limit(self) -> float | None:
        """Bytes of one node; None: not known."""
        if self.recipe.plan.host_gib is not None:
            return self.recipe.plan.host_gib * GIB
        return self.hardware.memory if self.hardware.kind == "cpu" else None

    @property
    def device_peak(self) -> float:
        """Of the stage that needs most."""
        return max(stage.memory.peak for stage in self.stages)

    @property
    def host_peak(self) -> float:
        """Of one node, of the stage that needs most; on a CPU what its devices hold is in it."""
        local = min(self.sharding.per_node, self.sharding.ranks)
        own = local * (PROCESS + (self.device_peak if self.hardware.kind == "cpu" else 0.0))
        return own + max(stage.memory.host_peak for stage in self.stages)

    @property
    def seconds(self) -> float | None:
        """Of all stages whose length is known; None: of none it is."""
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if known else None

    @property
    def cost(self) -> float | None:
        """Seconds × devices × price; None without a price."""
        price, seconds = self.recipe.plan.price_per_device_hour, self.seconds
        return None if price is None or seconds is None else seconds / 3600 * self.sharding.ranks * price

    # -- what it says --------------------------------------------------------------------------------------------
    def problems(self) -> list[str]:
        """Return why it cannot run, each with what is needed, what there is, and what to change."""
        found, recipe = [], self.recipe
        worst = max(self.stages, key=lambda stage: stage.memory.peak)
        if self.hardware.kind == "cuda" and worst.memory.peak > self.device_limit:
            phase = worst.memory.fullest
            items = sorted(worst.memory.phases[phase].items(), key=lambda item: -item[1])
            found.append(
                f"{worst.name} needs {gib(worst.memory.peak)} on each device (at its fullest in {phase}: "
                f"{', '.join(f'{name} {gib(value)}' for name, value in items if value > 0.01 * worst.memory.peak)}); "
                f"{self.hardware.name} has {gib(self.hardware.memory)}, {gib(recipe.plan.reserve_gib * GIB)} of it kept "
                f"free. Change: {'; '.join(advice(recipe, worst.name, self.shape, self.hardware, self.sharding, self.device_limit))}"
            )
        if self.host_limit is not None and self.host_peak > self.host_limit:
            found.append(
                f"{gib(self.host_peak)} are needed in the memory of each machine; it has {gib(self.host_limit)}. "
                "Change: fewer rollout.workers, fewer trainer.devices, or another trainer.strategy"
            )
        return found

    def check(self) -> None:
        """Refuse what cannot fit.

        Raises:
            RecipeError: One message: what is needed, what there is, what to change.
        """
        problems = self.problems()
        if problems:
            raise RecipeError(f"{self.recipe.run_name} does not fit: " + "\n".join(problems))

    def describe(self) -> list[str]:
        """Return it in lines for people."""
        recipe, s = self.recipe, self.sharding
        nodes = max(1, s.ranks // s.per_node)
        where = f"{s.ranks} × {self.hardware.name}" + (f" on {nodes} nodes" if nodes > 1 else "")
        trained = "all of them train" if not recipe.policy.lora else f"{count(self.trained)} train (LoRA)"
        lines = [
            f"model        {count(self.shape.parameters)} parameters, {trained}; {recipe.trainer.precision}",
            f"runs on      {where}, strategy {recipe.trainer.strategy}",
        ]
        for stage in self.stages:
            peak, phase = stage.memory.peak, stage.memory.fullest
            lines.append(f"memory       {stage.name}: {gib(peak)} per device, at its fullest in {phase}")
            items = sorted(stage.memory.phases[phase].items(), key=lambda item: -item[1])
            lines.append("             " + ", ".join(f"{n} {gib(v)}" for n, v in items if v > 0.005 * peak))
        available = gib(self.device_limit) if self.hardware.kind == "cuda" else "the machine's memory"
        lines.append(f"available    {available} per device")
        host = f"host memory  {gib(self.host_peak)} per machine"
        limit = self.host_limit
        lines.append(
            host + (f" of {gib(limit)}" if limit else "; plan.host_gib says what there is, to have it checked")
        )
        timed = self.calibrated or self.hardware.kind != "cpu"
        if not timed:  # what a core does in a second depends on its neighbours
            lines.append("time         not known on a CPU: crossagent plan RECIPE --calibrate RUN, of a run made here")
        for stage in self.stages if timed else ():
            what = "iteration" if stage.name in ("strl", "mtrl") else "optimiser step"
            share = stage.time.parts[stage.time.bottleneck] / stage.time.seconds
            total = "" if stage.seconds is None else f", {stage.steps} of them {duration(stage.seconds)}"
            lines.append(
                f"time         {stage.name}: {duration(stage.time.seconds)} per {what}{total}; "
                f"{100 * share:.0f} % of it {stage.time.bottleneck}"
            )
        if self.cost is not None:
            lines.append(f"cost         {self.cost:,.2f} at {recipe.plan.price_per_device_hour:g} per device and hour")
        else:
            lines.append("cost         not known: plan.price_per_device_hour=PRICE")
        return [*lines, *(f"assumes      {text}" for text in self.assumed)]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: bytes, seconds."""
        return {
            "recipe": self.recipe.run_name,
            "parameters": self.shape.parameters,
            "trained": self.trained,
            "hardware": self.hardware.name,
            "devices": self.sharding.ranks,
            "device_bytes": self.device_peak,
            "device_limit": self.device_limit,
            "host_bytes": self.host_peak,
            "host_limit": self.host_limit,
            "rates": {name: getattr(self.rates, name) for name in self.rates.__slots__},
            "seconds": self.seconds,
            "cost": self.cost,
            "stages": [
                {
                    "stage": stage.name,
                    "phases": {phase: dict(items) for phase, items in stage.memory.phases.items()},
                    "host": {phase: dict(items) for phase, items in stage.memory.host.items()},
                    "peak": stage.memory.peak,
                    "fullest": stage.memory.fullest,
                    "seconds_per_step": stage.time.seconds,
                    "parts": dict(stage.time.parts),
                    "bottleneck": stage.time.bottleneck,
                    "steps": stage.steps,
                    "seconds": stage.seconds,
                }
                for stage in self.stages
            ],
            "assumed": list(self.assumed),
            "problems": self.problems(),
        }


def estimate(checked: CheckedRecipe, run: Path | None = None) -> Estimate:
    """Return what a recipe will need.

    Args:
        checked: The recipe.
        run: A finished run, or one with metrics, that the rates are measured on; None: they are assumed.

    Raises:
        RecipeError: The model's shape is not known, or the run has no metrics.
    """
    recipe = checked.recipe
    shape, hardware, sharding = policy_shape(recipe), hardware_of(recipe), sharding_of(recipe)
    assumed = []
    prompt, response, turns = float(recipe.plan.prompt_tokens), recipe.plan.response_tokens, recipe.plan.turns
    if run is None:
        share = recipe.plan.efficiency
        rates = Rates(share, share, share)
        assumed.append(f"{100 * share:.0f} % of the device's peak is reached (--calibrate RUN measures it)")
        assumed.append("worlds take no time (--calibrate RUN measures it)")
    else:
        seen = measured(run, hardware)
        rates, prompt = seen.rates, seen.prompt
        turns, response = turns or seen.turns, response or seen.response
        assumed.append(
            f"times as in {run}: {turns:.1f} turns an episode, prompts of {prompt:,.0f} tokens, responses of {response:.0f}"
        )
    if turns is None:
        turns = statistics.fmean(task.max_turns for task in checked.training_tasks)
        assumed.append(f"episodes of {turns:.0f} turns, the tasks' limit (plan.turns)")
    assumed.append(f"prompts of up to {recipe.plan.prompt_tokens:,} tokens (plan.prompt_tokens)")
    stages = []
    for name in recipe.stages:
        job = job_of(recipe, name, shape, hardware, sharding)
        setting = setting_of(recipe, shape, hardware, sharding)
        times = time_of(recipe, name, setting, rates, turns, prompt, response)
        stages.append(StageEstimate(name, plan(job), *times))
    trained = job_of(recipe, recipe.stages[-1], shape, hardware, sharding).trained
    return Estimate(recipe, shape, hardware, sharding, rates, tuple(stages), trained, tuple(assumed), run is not None)
