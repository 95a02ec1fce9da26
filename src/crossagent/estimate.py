"""A recipe's memory, time and cost before it runs, from its numbers and its model's ``config.json`` alone. Loads no torch.

In: a :class:`crossagent.recipe.Plan`; out: an :class:`Estimate`, in lines for people and as JSON. What is counted, and
how: :mod:`crossagent.planning`.
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossagent.errors import RecipeError
from crossagent.planning.hardware import GB, Hardware, find
from crossagent.planning.memory import GIB, Job, MemoryPlan, Sampling, Scoring, Update, plan
from crossagent.planning.shape import ModelShape, shape_of
from crossagent.planning.sharding import Sharding
from crossagent.planning.steps import Rates, Setting, StepTime, Work, calibrated, iteration, supervised_step
from crossagent.policy.config import SCRATCH, LoraConfig
from crossagent.recipe import RECIPE_FILE, Plan, Recipe, load_recipe
from crossagent.training.config import GRPOConfig, SFTConfig

KEPT = 2 * GIB
"""What the default sampler keeps of keys and values between turns, at most."""
PROCESS = 700 * 2**20
"""Resident memory of a training process before it has a model: torch, transformers, Lightning (benchmarks/memory_plan.py)."""
_CHUNK_CPU, _CHUNK_GPU = 2048, 65_536


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
        found = []
        worst = max(self.stages, key=lambda stage: stage.memory.peak)
        if self.hardware.kind == "cuda" and worst.memory.peak > self.device_limit:
            phase = worst.memory.fullest
            items = sorted(worst.memory.phases[phase].items(), key=lambda item: -item[1])
            found.append(
                f"{worst.name} needs {_gib(worst.memory.peak)} on each device (at its fullest in {phase}: "
                f"{', '.join(f'{name} {_gib(value)}' for name, value in items if value > 0.01 * worst.memory.peak)}); "
                f"{self.hardware.name} has {_gib(self.hardware.memory)}, {_gib(self.recipe.plan.reserve_gib * GIB)} of it kept "
                f"free. Change: {'; '.join(self._advice(worst))}"
            )
        if self.host_limit is not None and self.host_peak > self.host_limit:
            found.append(
                f"{_gib(self.host_peak)} are needed in the memory of each machine; it has {_gib(self.host_limit)}. "
                "Change: fewer rollout.workers, fewer trainer.devices, or another trainer.strategy"
            )
        return found

    def _advice(self, stage: StageEstimate) -> list[str]:
        """Return what would help, every change tried, those first that change nothing of what is learned."""
        tried: list[tuple[float, str]] = []

        def needed(recipe: Recipe, sharding: Sharding | None = None) -> float:
            return plan(_job(recipe, stage.name, self.shape, self.hardware, sharding or self.sharding)).peak

        def halved(key: str, start: int, change: Callable[[int], Recipe]) -> None:
            """Try halves of a number until one fits."""
            for value in (start // 2**k for k in range(1, 12) if start // 2**k >= 1):
                peak = needed(change(value))
                if peak <= self.device_limit or value == 1:
                    tried.append((peak, f"{key}={value}"))
                    return

        r, s = self.recipe, self.sharding
        config = _config_of(r, stage.name)
        sampler = r.rollout.sampler
        rows = min(sampler.batch_size, _at_once(r, config, stage.name, s.ranks))
        halved(
            "rollout.sampler.batch_size",
            rows,
            lambda n: replace(r, rollout=replace(r.rollout, sampler=replace(sampler, batch_size=n))),
        )
        if isinstance(config, GRPOConfig):
            grpo = config

            def fewer(n: int) -> Recipe:
                update, scoring = min(n, grpo.micro_batch_tokens), min(n, grpo.logprob_batch_tokens)
                parts: dict[str, Any] = {
                    stage.name: replace(grpo, micro_batch_tokens=update, logprob_batch_tokens=scoring)
                }
                return replace(r, **parts)

            halved(
                f"{stage.name}.micro_batch_tokens and logprob_batch_tokens",
                max(config.micro_batch_tokens, config.logprob_batch_tokens),
                fewer,
            )
        else:
            sft = config
            at_once = math.ceil(sft.batch_size / sft.micro_batches)

            def smaller(n: int) -> Recipe:
                parts = replace(sft, micro_batches=min(sft.batch_size, math.ceil(sft.batch_size / n)))
                return (
                    replace(r, relabel=replace(r.relabel, sft=parts))
                    if stage.name == "relabel"
                    else replace(r, sft=parts)
                )

            halved(f"{stage.name}: batch_size / micro_batches", at_once, smaller)
        if not r.policy.gradient_checkpointing:
            changed = replace(r, policy=replace(r.policy, gradient_checkpointing=True))
            tried.append((needed(changed), "policy.gradient_checkpointing=true"))
        for name in ("deepspeed_stage_3", "deepspeed_stage_3_offload"):
            other = Sharding.of(name, s.per_node, max(1, s.ranks // s.per_node))
            if other != s and (s.ranks > 1 or other.offload_parameters):
                tried.append((needed(r, other), f"trainer.strategy={name}"))
        if r.policy.lora is None:
            changed = replace(r, policy=replace(r.policy, lora=LoraConfig()))
            tried.append((needed(changed), "policy.lora={}"))
        if r.trainer.precision == "32-true":
            half = replace(r.trainer, precision="bf16-true")
            changed = replace(r, trainer=half, policy=replace(r.policy, dtype="bfloat16"))
            tried.append((needed(changed), "trainer.precision=bf16-true policy.dtype=bfloat16"))
        useful = [(peak, text) for peak, text in tried if peak < stage.memory.peak * 0.99]
        enough = [f"{text} ({_gib(peak)})" for peak, text in useful if peak <= self.device_limit]
        if enough:
            return enough[:3]
        helps = [f"{text} ({_gib(peak)}, not enough alone)" for peak, text in sorted(useful)]
        return helps[:3] or ["another plan.hardware, or a smaller policy.model"]

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
        trained = "all of them train" if not recipe.policy.lora else f"{_count(self.trained)} train (LoRA)"
        lines = [
            f"model        {_count(self.shape.parameters)} parameters, {trained}; {recipe.trainer.precision}",
            f"runs on      {where}, strategy {recipe.trainer.strategy}",
        ]
        for stage in self.stages:
            peak, phase = stage.memory.peak, stage.memory.fullest
            lines.append(f"memory       {stage.name}: {_gib(peak)} per device, at its fullest in {phase}")
            items = sorted(stage.memory.phases[phase].items(), key=lambda item: -item[1])
            lines.append("             " + ", ".join(f"{n} {_gib(v)}" for n, v in items if v > 0.005 * peak))
        available = _gib(self.device_limit) if self.hardware.kind == "cuda" else "the machine's memory"
        lines.append(f"available    {available} per device")
        host = f"host memory  {_gib(self.host_peak)} per machine"
        limit = self.host_limit
        lines.append(
            host + (f" of {_gib(limit)}" if limit else "; plan.host_gib says what there is, to have it checked")
        )
        for stage in self.stages:
            what = "iteration" if stage.name in ("strl", "mtrl") else "optimiser step"
            share = stage.time.parts[stage.time.bottleneck] / stage.time.seconds
            total = "" if stage.seconds is None else f", {stage.steps} of them {_duration(stage.seconds)}"
            lines.append(
                f"time         {stage.name}: {_duration(stage.time.seconds)} per {what}{total}; "
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


def estimate(checked: Plan, run: Path | None = None) -> Estimate:
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
    if run is None:
        share = recipe.plan.efficiency
        rates = Rates(share, share, share)
        assumed.append(f"{100 * share:.0f} % of the device's peak is reached (--calibrate RUN measures it)")
        assumed.append("worlds take no time (--calibrate RUN measures it)")
    else:
        rates = rates_of(run, hardware)
        assumed.append(f"rates as measured in {rates.source}")
    turns = recipe.plan.turns
    if turns is None:
        turns = statistics.fmean(task.max_turns for task in checked.training_tasks)
        assumed.append(f"episodes of {turns:.0f} turns, the tasks' limit (plan.turns)")
    assumed.append(f"prompts of up to {recipe.plan.prompt_tokens:,} tokens (plan.prompt_tokens)")
    stages = []
    for name in recipe.stages:
        job = _job(recipe, name, shape, hardware, sharding)
        setting = _setting(recipe, shape, hardware, sharding)
        stages.append(StageEstimate(name, plan(job), *_time(recipe, name, setting, rates, turns)))
    trained = _job(recipe, recipe.stages[-1], shape, hardware, sharding).trained
    return Estimate(recipe, shape, hardware, sharding, rates, tuple(stages), trained, tuple(assumed))


# -- from a recipe ------------------------------------------------------------------------------------------------------
def policy_shape(recipe: Recipe) -> ModelShape:
    """Return the shape of a recipe's policy, from a preset, a directory's ``config.json``, ``plan.architecture``, or what the
    hub's client has in its cache; nothing is downloaded.

    Raises:
        RecipeError: None of them says it.
    """
    policy = recipe.policy
    if policy.model in SCRATCH:
        size = SCRATCH[policy.model]
        head = size.width // size.heads
        return ModelShape(
            size.width, size.layers, size.heads, size.heads, head, size.feed_forward, policy.tokenizer_vocab, tied=True
        )
    directory = Path(policy.model).expanduser()
    for path in (directory / "config.json", directory / "base" / "config.json"):
        if path.is_file():
            return _read_shape(path, policy.tokenizer_vocab if recipe.makes_tokenizer else None)
    if recipe.plan.architecture:
        return shape_of(recipe.plan.architecture, where="plan.architecture")
    cached = None if directory.suffix == ".gguf" or directory.is_dir() else _cached(policy.model, policy.revision)
    if cached is not None:
        return _read_shape(cached, None)
    raise RecipeError(
        f"policy.model: {policy.model!r} has no config.json on this machine, so its shape is not known. "
        "Fix: plan.architecture={…}, with the keys of its config.json"
    )


def _read_shape(path: Path, vocab: int | None) -> ModelShape:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: expected the keys of a model's config.json")
    return shape_of(content, vocab, str(path))


def _cached(model: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def hardware_of(recipe: Recipe) -> Hardware:
    """Return the device that a recipe is planned for, with what the recipe says otherwise of it.

    Raises:
        RecipeError: The recipe does not say, or names none that is known.
    """
    config = recipe.plan
    name = config.hardware or ("cpu" if recipe.trainer.accelerator == "cpu" else "")
    if not name:
        raise RecipeError(
            f"plan.hardware: not set, and trainer.accelerator is {recipe.trainer.accelerator!r}; expected the device that it "
            "will run on, e.g. plan.hardware=h100"
        )
    changes = {
        "memory": (config.memory_gib, GIB),
        "bf16_flops": (config.bf16_tflops, 1e12),
        "bandwidth": (config.bandwidth_gb_s, GB),
        "interconnect": (config.interconnect_gb_s, GB),
        "network": (config.network_gb_s, GB),
    }
    said: dict[str, Any] = {key: value * unit for key, (value, unit) in changes.items() if value is not None}
    return replace(find(name), **said)


def sharding_of(recipe: Recipe) -> Sharding:
    """Return what a recipe's strategy divides, over its processes."""
    trainer = recipe.trainer
    return Sharding.of(trainer.strategy, trainer.devices, trainer.num_nodes)


def _config_of(recipe: Recipe, stage: str) -> SFTConfig | GRPOConfig:
    configs: dict[str, SFTConfig | GRPOConfig] = {
        "sft": recipe.sft,
        "strl": recipe.strl,
        "relabel": recipe.relabel.sft,
        "mtrl": recipe.mtrl,
    }
    return configs[stage]


def _setting(recipe: Recipe, shape: ModelShape, hardware: Hardware, sharding: Sharding) -> Setting:
    policy, trainer = recipe.policy, recipe.trainer
    return Setting(
        shape,
        hardware,
        sharding,
        trainer.precision,
        _dtype(recipe),
        policy.lora.r if policy.lora else 0,
        policy.gradient_checkpointing,
        max(1, trainer.threads),
    )


def _dtype(recipe: Recipe) -> str:
    # "auto" is what the weights are stored in; those of the models that are planned for are stored in bf16.
    return "bfloat16" if recipe.policy.dtype == "auto" else recipe.policy.dtype


def _responses(recipe: Recipe, config: SFTConfig | GRPOConfig) -> int:
    return getattr(config, "max_new_tokens", 0) or recipe.rollout.max_new_tokens


def _job(
    recipe: Recipe,
    stage: str,
    shape: ModelShape,
    hardware: Hardware,
    sharding: Sharding,
    config: SFTConfig | GRPOConfig | None = None,
) -> Job:
    """Return what decides the memory of a stage; ``config`` instead of the recipe's."""
    config = config or _config_of(recipe, stage)
    prompt, response = recipe.plan.prompt_tokens, _responses(recipe, config)
    length = prompt + response
    policy, rollout = recipe.policy, recipe.rollout
    update: Update
    seen = _patches(recipe, shape)
    scoring = sampling = None
    reference = False
    if isinstance(config, SFTConfig):
        rows = math.ceil(config.batch_size / config.micro_batches / sharding.ranks)
        update = Update(rows, length, rows * response, rows * seen, accumulates=config.micro_batches > 1)
    else:
        rows = max(1, config.micro_batch_tokens // length)
        update = Update(rows, length, rows * response, rows * seen, entropy=config.entropy_coef > 0)
        rows = max(1, config.logprob_batch_tokens // length)
        scoring = Scoring(rows, length, rows * response, rows * seen)
        reference = config.kl_coef > 0
    if isinstance(config, GRPOConfig) or stage == "relabel":
        asked = _at_once(recipe, config, stage, sharding.ranks)
        cache = 2 * shape.layers * shape.kv_width * (4 if _dtype(recipe) == "float32" else 2)
        fast = (
            rollout.sampler.name == "fast" and not seen
        )  # prompts with pictures go to generate, which reads all at once
        same = 1 if stage == "mtrl" or not fast else recipe.relabel.samples
        if isinstance(config, GRPOConfig) and stage == "strl" and fast:
            same = config.group_size
        sampling = Sampling(
            asked,
            prompt,
            response,
            (_CHUNK_CPU if hardware.kind == "cpu" else _CHUNK_GPU) if fast else 0,
            min(asked, same),
            min(KEPT, asked * length * cache) if fast else 0,
            asked * seen,
        )
    return Job(
        shape,
        sharding,
        recipe.trainer.precision,
        _dtype(recipe),
        policy.lora.r if policy.lora else 0,
        0,
        policy.gradient_checkpointing,
        policy.attention == "eager",
        update,
        scoring,
        sampling,
        reference,
        foreach=hardware.kind != "cpu",
        worker_processes=max(1, rollout.workers),
        worker_bytes=recipe.plan.worker_mib * 2**20,
    )


def _patches(recipe: Recipe, shape: ModelShape) -> int:
    """Return the patches of the pictures in one prompt, at most; with the whole history, of one picture."""
    shows = recipe.environment.options.get("observation") in ("pixels", "both")
    if shape.vision is None or not shows or not recipe.prompt.pictures:
        return 0
    side = math.isqrt(recipe.policy.max_pixels)
    return shape.vision.patches(side, side) * (1 + max(0, recipe.prompt.history))


def _at_once(recipe: Recipe, config: SFTConfig | GRPOConfig, stage: str, ranks: int) -> int:
    """Return the responses that one rank's sampler holds at a time."""
    if isinstance(config, SFTConfig):
        wanted = recipe.relabel.samples * recipe.relabel.states
    else:
        wanted = config.groups * config.group_size
    own = -(-wanted // ranks)
    if stage == "mtrl":
        rollout = recipe.rollout
        own = min(own, max(1, rollout.workers) * rollout.worlds_per_worker)
        own = -(-own // 2) if rollout.schedule == "halves" else own
    return max(1, min(recipe.rollout.sampler.batch_size, own))


def _time(recipe: Recipe, stage: str, setting: Setting, rates: Rates, turns: float) -> tuple[StepTime, int | None]:
    config = _config_of(recipe, stage)
    response = recipe.plan.response_tokens or float(_responses(recipe, config))
    prompt = float(recipe.plan.prompt_tokens)
    if isinstance(config, SFTConfig):
        time = supervised_step(setting, config.batch_size, prompt + response, response, config.micro_batches, rates)
        rows = recipe.relabel.states if stage == "relabel" else None
        return time, None if rows is None else max(1, round(config.epochs * rows / config.batch_size))
    work = replace(
        _work(recipe, stage, config, turns, prompt, response), patches=float(_patches(recipe, setting.shape))
    )
    return iteration(setting, work, rates), config.iterations


def _work(recipe: Recipe, stage: str, config: GRPOConfig, turns: float, prompt: float, response: float) -> Work:
    rollout = recipe.rollout
    workers = max(1, rollout.workers)
    return Work(
        trajectories=config.groups * config.group_size,
        turns=turns if stage == "mtrl" else 1.0,
        prompt=prompt,
        response=response,
        steps=config.minibatches * config.epochs,
        epochs=config.epochs,
        old=config.old_logprobs == "recompute",
        reference=config.kl_coef > 0,
        micro_tokens=config.micro_batch_tokens,
        scoring_tokens=config.logprob_batch_tokens,
        workers=workers,
        worlds=workers * rollout.worlds_per_worker if stage == "mtrl" else config.groups * config.group_size,
        batch=rollout.sampler.batch_size,
        overlap=rollout.schedule == "halves" and stage == "mtrl",
    )


# -- from a run -------------------------------------------------------------------------------------------------------
def rates_of(run: Path, hardware: Hardware) -> Rates:
    """Return the rates at which the model agrees with a run's metrics; the run was on ``hardware``.

    Raises:
        RecipeError: Not a run, or one without iterations of STRL or MTRL.
    """
    composed = run / RECIPE_FILE
    if not composed.is_file():
        raise RecipeError(f"--calibrate: {run} is no run: no {RECIPE_FILE} in it; expected e.g. runs/quickstart")
    recipe = load_recipe(composed)
    for stage in ("mtrl", "strl"):
        rows = _metrics(run / stage / "metrics.jsonl")
        if rows:
            break
    else:
        raise RecipeError(f"--calibrate: {run} has no metrics of strl or mtrl yet; expected a run that has reinforced")
    config = _config_of(recipe, stage)
    assert isinstance(config, GRPOConfig)
    mean = {key: statistics.fmean(row.get(key, 0.0) for row in rows) for key in {k for row in rows for k in row}}
    turns = mean.get("rollout/turns", 1.0)
    response = mean.get("rollout/response_tokens", float(_responses(recipe, config)))
    trained = mean.get("group/trained", 0.0) / max(1.0, mean.get("rollout/groups", 1.0))
    played = max(1.0, mean.get("rollout/trajectories", 1.0))
    tokens = statistics.fmean(
        row.get("rollout/tokens_per_second", 0.0) * row.get("time/iteration", 0.0) for row in rows
    )
    prompt = max(1.0, tokens / max(1.0, trained * played * turns) - response)
    work = replace(
        _work(recipe, stage, config, turns, prompt, response), trajectories=round(played), trained=min(1.0, trained)
    )
    sharding = sharding_of(recipe)
    return calibrated(_setting(recipe, policy_shape(recipe), hardware, sharding), work, rows, str(run))


def _metrics(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


# -- how it is started --------------------------------------------------------------------------------------------------
def launch_line(recipe: Recipe, words: Sequence[str]) -> str:
    """Return the command that starts a recipe on its devices; ``words`` are those after ``crossagent``."""
    trainer, command = recipe.trainer, " ".join(shlex.quote(word) for word in words)
    if trainer.devices * trainer.num_nodes == 1:
        return f"crossagent {command}"
    if trainer.num_nodes == 1:
        return f"torchrun --standalone --nproc-per-node {trainer.devices} -m crossagent {command}"
    return (
        f"torchrun --nnodes {trainer.num_nodes} --nproc-per-node {trainer.devices} --rdzv-backend c10d "
        f"--rdzv-endpoint FIRST_HOST:29500 -m crossagent {command}"
    )


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= 0.1 * GIB else f"{size / 2**20:,.0f} MiB"


def _count(number: float) -> str:
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:,.2f} {name}"
    return f"{number:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
