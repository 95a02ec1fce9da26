"""Our side of ``rollout_vs_trl.py``: GRPOModule on MtrlSource, or SFTModule, under an ordinary Trainer."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common
import lightning
import torch

from crossagent.envs.workers.pool import WorkerPool
from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.config import PolicyConfig
from crossagent.policy.matmul import set_matmul_precision
from crossagent.policy.model import Policy
from crossagent.sampling.fast import FastSampler
from crossagent.training.batch import Row
from crossagent.training.config import GRPOConfig, SFTConfig
from crossagent.training.data import RolloutDataModule, SFTDataModule
from crossagent.training.grpo import GRPOModule
from crossagent.training.sft import SFTModule
from crossagent.training.sources import MtrlSource, Rollouts


class Unending:
    """A sampler whose cut responses count as ended: an untrained model ends none, and three turns are to be played."""

    def __init__(self, sampler: FastSampler) -> None:
        self.sampler, self.forget = sampler, sampler.forget

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        return [replace(sample, finish_reason="stop") for sample in self.sampler.sample(requests, params)]


class Vowels(MtrlSource):
    """Episodes, paid by the share of vowels in what was said."""

    def play(self, iteration: int) -> Rollouts:
        played = super().play(iteration)
        rewards = []
        for trajectory in played.trajectories:
            own = [0.0] * len(trajectory.turns)
            own[-1] = common.reward([turn.text for turn in trajectory.turns])
            rewards.append(tuple(own))
        return Rollouts(played.trajectories, tuple(rewards), played.metrics)


class Gate(lightning.Callback):
    """Takes a step when the driver says so; ``parts`` batches of the loader are one step."""

    def __init__(self, stepper: common.Stepper, parts: int = 1) -> None:
        self.stepper, self.parts = stepper, parts

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        if index % self.parts == 0:
            self.stepper.wait()
        if isinstance(module, SFTModule):
            about = self.stepper.about
            about["tokens"] = about.get("tokens", 0) + int(batch.batch.attention_mask.sum())
            about["trained"] = about.get("trained", 0) + int(batch.batch.loss_mask.sum())

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index % self.parts == self.parts - 1:
            self.stepper.done()


def trainer(gate: Gate, **more: Any) -> lightning.Trainer:
    """Return a Trainer without what TRL does not do either."""
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[gate],
        **more,
    )


def policy_of(case: common.Case) -> Policy:
    """Return the policy, as ``policy.*`` of a recipe would make it."""
    tokenizer, model = common.load(case)
    return Policy(model, tokenizer, PolicyConfig(dtype=case.dtype))


def grpo(case: common.Case, stepper: common.Stepper) -> None:
    """Take GRPO steps."""
    policy = policy_of(case)
    config = GRPOConfig(
        iterations=1000,
        groups=case.groups,
        group_size=common.GROUP,
        lr=case.lr,
        minibatches=1,
        old_logprobs="reuse",  # as TRL does
        concatenate=True,
        scale="group",
        aggregation="token-mean",
        drop_all_fail=False,
        max_new_tokens=common.NEW + len(common.prompt_format(policy.tokenizer).forced_ids("say")),
    )
    with WorkerPool(common.world(policy.tokenizer, case), 0, case.episodes, 600.0) as pool:
        source = Vowels(
            config,
            tasks=common.tasks(),
            spaces=("say",),
            weights={},
            pool=pool,
            sampler=Unending(FastSampler(policy)),
            prompt=common.prompt_format(policy.tokenizer),
            max_new_tokens=common.NEW,
            seed=0,
            schedule="lockstep",  # worlds that cost nothing leave nothing to overlap
        )
        play = stepper.timed("rollout", source.play)

        def counted(iteration: int) -> Rollouts:
            played = play(iteration)
            stepper.about["samples"] = len(played.trajectories)
            stepper.about["tokens"] = sum(
                len(t.response_ids) - t.forced for tr in played.trajectories for t in tr.turns
            )
            return played

        source.play = counted  # type: ignore[method-assign]
        trainer(Gate(stepper)).fit(GRPOModule(policy, source, config), RolloutDataModule(config.iterations))


def sft(case: common.Case, stepper: common.Stepper) -> None:
    """Take SFT steps of 32 rows."""
    policy = policy_of(case)
    rows = []
    for index, (prompt, response) in enumerate(common.sft_pairs(policy.tokenizer, case)):
        length, trained = len(prompt) + len(response), (False,) * len(prompt) + (True,) * len(response)
        rows.append(
            Row(
                (*prompt, *response), trained, trained, (0.0,) * length, (0.0,) * length, (-1,) * len(prompt) + (0,) * len(response), index
            )
        )  # fmt: skip
    config = SFTConfig(epochs=1000, lr=case.lr, batch_size=32, micro_batches=8)
    data = SFTDataModule(rows, config, policy.pad_id)
    gate = Gate(stepper, data.schedule.parts)
    trainer(gate, accumulate_grad_batches=data.schedule.parts, gradient_clip_val=1.0).fit(
        SFTModule(policy, config, data.schedule.steps), data
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    set_matmul_precision("auto", "cpu")  # as a recipe does
    {"grpo": grpo, "sft": sft}[sys.argv[2]](common.case_from(sys.argv[1:]), common.Stepper())
