"""What would make a stage fit: each change is planned before it is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crossagent.estimate.hardware import Hardware
from crossagent.estimate.inputs import config_of, job_of, rows_at_once
from crossagent.estimate.memory import plan
from crossagent.estimate.shape import ModelShape
from crossagent.estimate.sharding import Sharding
from crossagent.estimate.text import gib
from crossagent.policy.config import LoraConfig
from crossagent.recipe.schema import Recipe
from crossagent.training.config import GRPOConfig


def advice(
    recipe: Recipe, stage: str, shape: ModelShape, hardware: Hardware, sharding: Sharding, limit: float
) -> list[str]:
    """Return what would bring a stage's peak under ``limit`` bytes, every change tried; those first that change nothing of what
    is learned. Where none is enough alone, what helps most.
    """
    tried: list[tuple[float, str]] = []

    def needed(changed: Recipe, other: Sharding = sharding) -> float:
        return plan(job_of(changed, stage, shape, hardware, other)).peak

    def halved(key: str, start: int, change: Callable[[int], Recipe]) -> None:
        """Try halves of a number until one fits."""
        for value in (start // 2**k for k in range(1, 12) if start // 2**k >= 1):
            peak = needed(change(value))
            if peak <= limit or value == 1:
                tried.append((peak, f"{key}={value}"))
                return

    r, s, before = recipe, sharding, plan(job_of(recipe, stage, shape, hardware, sharding)).peak
    config = config_of(r, stage)
    sampler = r.rollout.sampler
    rows = min(sampler.batch_size, rows_at_once(r, config, stage, s.ranks))
    halved(
        "rollout.sampler.batch_size",
        rows,
        lambda n: replace(r, rollout=replace(r.rollout, sampler=replace(sampler, batch_size=n))),
    )
    if isinstance(config, GRPOConfig):
        grpo = config

        def fewer(n: int) -> Recipe:
            update, scoring = min(n, grpo.micro_batch_tokens), min(n, grpo.logprob_batch_tokens)
            parts: dict[str, Any] = {stage: replace(grpo, micro_batch_tokens=update, logprob_batch_tokens=scoring)}
            return replace(r, **parts)

        halved(
            f"{stage}.micro_batch_tokens and logprob_batch_tokens",
            max(config.micro_batch_tokens, config.logprob_batch_tokens),
            fewer,
        )
    else:
        sft = config
        at_once = math.ceil(sft.batch_size / sft.micro_batches)

        def smaller(n: int) -> Recipe:
            parts = replace(sft, micro_batches=min(sft.batch_size, math.ceil(sft.batch_size / n)))
            return replace(r, relabel=replace(r.relabel, sft=parts)) if stage == "relabel" else replace(r, sft=parts)

        halved(f"{stage}: batch_size / micro_batches", at_once, smaller)
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
    useful = [(peak, text) for peak, text in tried if peak < before * 0.99]
    enough = [f"{text} ({gib(peak)})" for peak, text in useful if peak <= limit]
    if enough:
        return enough[:3]
    helps = [f"{text} ({gib(peak)}, not enough alone)" for peak, text in sorted(useful)]
    return helps[:3] or ["another plan.hardware, or a smaller policy.model"]
