"""What the ranks of ``test_strategies.py`` train."""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training_kit import (
    SPACES,
    WORDS,
    WordSource,
    rows_of,
    stage,
    timeless,
    tiny_policy,
    toy_pool,
    toy_prompt,
    toy_tasks,
)

from crossagent.distributed import Ranks
from crossagent.envs.images import png
from crossagent.errors import StageInterrupted
from crossagent.policy.config import LoraConfig, PolicyConfig
from crossagent.policy.model import Policy
from crossagent.sampling.base import GenerateSampler
from crossagent.training.batch import Row
from crossagent.training.callbacks import MetricsWriter, read_metrics
from crossagent.training.config import GRPOConfig, SFTConfig
from crossagent.training.grpo import GRPOModule, train_grpo
from crossagent.training.resume import row_of
from crossagent.training.sft import train_sft
from crossagent.training.sources import MtrlSource

SFT = SFTConfig(epochs=10, batch_size=12, micro_batches=3, lr=1e-3, checkpoint_every=5)
"""20 steps; the gradients of the first ones are clipped."""
GRPO = GRPOConfig(
    iterations=10, groups=4, group_size=4, lr=1e-3, micro_batch_tokens=64, logprob_batch_tokens=300, minibatches=2,
    kl_coef=0.05, entropy_coef=0.01, drop_all_fail=False, checkpoint_every=5, max_grad_norm=0.5,
)  # fmt: skip
"""20 steps of several micro-batches each."""


LORA = LoraConfig(r=4)


def train(
    directory: str, kind: str, strategy: str = "auto", *, stop: int = 0, precision: str = "32-true", **policy: Any
) -> dict[str, Any]:
    """Train a tiny policy and return what there is to compare.

    Args:
        directory: Of the stage.
        kind: ``sft`` or ``grpo``, or with ``-lora``.
        strategy: Of the recipe.
        stop: The last rank is sent SIGTERM in this row; 0: never.
        precision: Of the recipe.
        policy: Options of the policy.
    """
    torch.set_num_threads(1)
    ranks = Ranks.join()
    lora = LORA if kind.endswith("-lora") else None
    learner = tiny_policy(lora=lora, **policy)
    if stop:
        _terminate_in(stop)
    run = stage(Path(directory), strategy=strategy, precision=precision)
    found: dict[str, Any] = {"interrupted": "", "resumed": 0, "steps": 0}
    try:
        if kind.startswith("sft"):
            result = train_sft(learner, rows_of(learner), SFT, run)
        else:
            player = tiny_policy(lora=lora, **policy)  # plays the same whatever has been learned
            result = train_grpo(learner, WordSource(player), GRPO, run)
        found |= {"resumed": result.resumed_from, "steps": result.steps}
    except StageInterrupted as stopped:
        found["interrupted"] = str(stopped)
    ranks.barrier()
    return {**found, "rows": timeless(read_metrics(Path(directory) / "metrics.jsonl"))}


def play(strategy: str, groups: int) -> dict[str, Any]:
    """Train on episodes of live worlds, of which each rank plays its groups; with one group the last rank plays none."""
    torch.set_num_threads(1)
    ranks = Ranks.join()
    policy = tiny_policy()
    config = GRPOConfig(
        iterations=2, groups=groups, group_size=2, lr=1e-3, drop_all_fail=False, filter_zero_variance=False,
        micro_batch_tokens=64, entropy_coef=0.1,
    )  # fmt: skip
    begun = _sum(policy)
    sampler, pool = GenerateSampler(policy), toy_pool(worlds=4)
    sampled: list[int] = []
    sample = sampler.sample

    def counting(requests: Any, params: Any) -> Any:
        sampled.append(len(requests))
        return sample(requests, params)

    sampler.sample = counting  # type: ignore[method-assign]
    source = MtrlSource(
        config, tasks=toy_tasks(), spaces=SPACES, weights={}, pool=pool, sampler=sampler,
        prompt=toy_prompt(policy, pool), max_new_tokens=4 + 4 * ranks.rank, seed=7, ranks=ranks,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:  # each rank's own: the first one writes
        train_grpo(policy, source, config, stage(Path(ranks.broadcast(directory)), strategy=strategy))
        ranks.barrier()
    return {"calls": len(sampled), "moved": _sum(policy) - begun, "weights": _sum(policy)}


def overflow(strategy: str) -> dict[str, Any]:
    """Train an iteration whose first step has a gradient that is not finite, on one rank alone."""
    torch.set_num_threads(1)
    ranks = Ranks.join()
    policy = tiny_policy()
    losses, count = GRPOModule.losses, iter(range(1000))

    def broken(self: Any, *args: Any) -> Any:
        infinite = math.inf if next(count) == 0 and ranks.rank == ranks.size - 1 else 1.0
        return (loss * infinite for loss in losses(self, *args))

    GRPOModule.losses = broken  # type: ignore[method-assign]
    found = []

    def listen(_: int, metrics: Any) -> None:
        found.append(dict(metrics))

    config = replace(GRPO, iterations=1, checkpoint_every=0)
    with tempfile.TemporaryDirectory() as directory:
        run = stage(Path(ranks.broadcast(directory)), strategy=strategy, on_metrics=listen)
        train_grpo(policy, WordSource(tiny_policy()), config, run)
        ranks.barrier()
    return {"rows": timeless(found), "weights": _sum(policy)}


def look(kind: str, model: dict[str, Any], strategy: str = "auto") -> dict[str, Any]:
    """Train a policy that sees on rows of which few have a picture: in most passes one rank has some, and the other none.

    Args:
        kind: ``sft`` or ``grpo``.
        model: Its config.json.
        strategy: Of the recipe.
    """
    torch.set_num_threads(1)
    ranks = Ranks.join()
    learner, found = _seeing(model), []

    def listen(_: int, metrics: Any) -> None:
        found.append(dict(metrics))

    with tempfile.TemporaryDirectory() as directory:
        run = stage(Path(ranks.broadcast(directory)), strategy=strategy, on_metrics=listen)
        if kind == "sft":
            rows = rows_of(learner)
            place = learner.pictures.tokens(PICTURE)  # type: ignore[union-attr]
            seen = [replace(_begun_with(row, place), images=(PICTURE,)) for row in rows[::12]]
            train_sft(learner, [*seen, *rows], replace(SFT, epochs=2), run)
        else:
            config = replace(GRPO, iterations=3, checkpoint_every=0)
            train_grpo(learner, SeeingSource(_seeing(model)), config, run)
        ranks.barrier()
    vision = [p for name, p in learner.named_parameters() if "visual" in name]
    return {
        "rows": timeless(found),
        "weights": _sum(learner),
        "vision": sum(float(p.double().abs().sum()) for p in vision),
    }


PICTURE = png(np.random.default_rng(0).integers(0, 255, (56, 56, 3), dtype=np.uint8))


def _seeing(model: dict[str, Any]) -> Policy:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "config.json").write_text(json.dumps(model))
        return Policy.build(PolicyConfig(model=directory), texts=[" ".join(WORDS)], seed=3)


def _begun_with(row: Row, ids: tuple[int, ...]) -> Row:
    """Return a row with so many more tokens before it, none of which trains."""
    none = (False,) * len(ids)
    return replace(
        row,
        input_ids=(*ids, *row.input_ids),
        response_mask=(*none, *row.response_mask),
        loss_mask=(*none, *row.loss_mask),
        sampler_logprobs=(*(0.0,) * len(ids), *row.sampler_logprobs),
        advantages=(*(0.0,) * len(ids), *row.advantages),
        turns=(*(-1,) * len(ids), *row.turns),
    )


class SeeingSource(WordSource):
    """Shows a picture with the first word."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        place = policy.pictures.tokens(PICTURE)  # type: ignore[union-attr]
        self.prompts[0] = (*place, *self.prompts[0])
        sample, self.start = self.sampler.sample, place[0]

        def shown(requests: Any, params: Any) -> Any:
            return sample([replace(r, images=self.shown(r.prompt_ids)) for r in requests], params)

        self.sampler.sample = shown  # type: ignore[method-assign]

    def shown(self, ids: tuple[int, ...]) -> tuple[bytes, ...]:
        return (PICTURE,) * ids.count(self.start)

    def play(self, iteration: int) -> Any:
        played = super().play(iteration)
        trajectories = tuple(
            replace(
                t, turns=tuple(replace(turn, image=PICTURE, pictures=self.shown(turn.prompt_ids)) for turn in t.turns)
            )
            for t in played.trajectories
        )
        return replace(played, trajectories=trajectories)


def _sum(policy: Policy) -> float:
    return float(torch.stack([p.detach().double().abs().sum() for p in policy.parameters()]).sum())


def _terminate_in(stop: int) -> None:
    write = MetricsWriter.on_train_batch_end

    def asked(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if row_of(batch_idx, self.per_step) == stop and trainer.global_rank == trainer.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        write(self, trainer, module, outputs, batch, batch_idx)

    MetricsWriter.on_train_batch_end = asked  # type: ignore[method-assign]
