"""What a recipe says, as the planner wants it: shape, hardware, sharding, and each stage's memory job and work."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossagent.errors import RecipeError
from crossagent.estimate.hardware import GB, Hardware, find
from crossagent.estimate.memory import GIB, Job, Sampling, Scoring, Update
from crossagent.estimate.shape import ModelShape, shape_of
from crossagent.estimate.sharding import Sharding
from crossagent.estimate.steps import Rates, Setting, StepTime, Work, iteration, supervised_step
from crossagent.policy.config import SCRATCH
from crossagent.recipe.schema import Recipe
from crossagent.training.config import GRPOConfig, SFTConfig

KEPT = 2 * GIB
"""What the default sampler keeps of keys and values between turns, at most."""
_CHUNK_CPU, _CHUNK_GPU = 2048, 65_536
"""Prompt tokens that it reads at a time."""


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


def config_of(recipe: Recipe, stage: str) -> SFTConfig | GRPOConfig:
    """Return what a stage trains by."""
    configs: dict[str, SFTConfig | GRPOConfig] = {
        "sft": recipe.sft,
        "strl": recipe.strl,
        "relabel": recipe.relabel.sft,
        "mtrl": recipe.mtrl,
    }
    return configs[stage]


def setting_of(recipe: Recipe, shape: ModelShape, hardware: Hardware, sharding: Sharding) -> Setting:
    """Return who does the work, and on what."""
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


def response_tokens(recipe: Recipe, config: SFTConfig | GRPOConfig) -> int:
    """Return the longest response of a stage."""
    return getattr(config, "max_new_tokens", 0) or recipe.rollout.max_new_tokens


def job_of(
    recipe: Recipe,
    stage: str,
    shape: ModelShape,
    hardware: Hardware,
    sharding: Sharding,
    config: SFTConfig | GRPOConfig | None = None,
) -> Job:
    """Return what decides the memory of a stage; ``config`` instead of the recipe's."""
    config = config or config_of(recipe, stage)
    prompt, response = recipe.plan.prompt_tokens, response_tokens(recipe, config)
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
        asked = rows_at_once(recipe, config, stage, sharding.ranks)
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


def rows_at_once(recipe: Recipe, config: SFTConfig | GRPOConfig, stage: str, ranks: int) -> int:
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


def time_of(
    recipe: Recipe, stage: str, setting: Setting, rates: Rates, turns: float, prompt: float, response: float | None
) -> tuple[StepTime, int | None]:
    """Return (the time of one step, how many there are; None where that depends on the demonstrations).

    Args:
        recipe: The recipe.
        stage: Of it.
        setting: Who does the work.
        rates: What is reached.
        turns: Per trajectory, to expect.
        prompt: Tokens, to expect.
        response: Tokens, to expect; None: the longest allowed.
    """
    config = config_of(recipe, stage)
    response = response or float(response_tokens(recipe, config))
    if isinstance(config, SFTConfig):
        time = supervised_step(setting, config.batch_size, prompt + response, response, config.micro_batches, rates)
        rows = recipe.relabel.states if stage == "relabel" else None
        return time, None if rows is None else max(1, round(config.epochs * rows / config.batch_size))
    work = replace(
        work_of(recipe, stage, config, turns, prompt, response), patches=float(_patches(recipe, setting.shape))
    )
    return iteration(setting, work, rates), config.iterations


def work_of(recipe: Recipe, stage: str, config: GRPOConfig, turns: float, prompt: float, response: float) -> Work:
    """Return what one iteration of a stage does, with episodes of so many turns and tokens."""
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
