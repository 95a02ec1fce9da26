"""Our loss against TRL's own trainer on the same tiny model: log-probs, entropy, loss and every parameter's gradient.

Needs ``pip install 'crossagent[differential]'`` (make test-all installs it).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_kit import WordSource, tiny_policy

from crossagent.policy.model import Policy, make_reference
from crossagent.training.batch import rows_from_trajectories
from crossagent.training.config import GRPOConfig
from crossagent.training.grpo import GRPOModule, Scored
from crossagent.training.sources import Rollouts
from crossagent.training.update_stats import UpdateStats

trl = pytest.importorskip("trl", reason="TRL is not installed: pip install 'crossagent[differential]'")
datasets = pytest.importorskip(
    "datasets", reason="datasets (of TRL) is not installed: pip install 'crossagent[differential]'"
)
pytestmark = [pytest.mark.trl, pytest.mark.slow]

TEMPERATURE, MAX_LENGTH = 0.7, 24
AGGREGATIONS = {"grpo": "seq-mean-token-mean", "dapo": "token-mean", "dr_grpo": "seq-mean-token-sum-norm"}
CONFIG = GRPOConfig(
    groups=4, group_size=4, temperature=TEMPERATURE, max_length=MAX_LENGTH, concatenate=True, scale="group",
    filter_zero_variance=False, drop_all_fail=False, micro_batch_tokens=60,
)  # fmt: skip


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny_policy()


@pytest.fixture(scope="module")
def played(policy: Policy) -> Rollouts:
    return WordSource(policy, temperature=TEMPERATURE).play(0)


def first_turns(played: Rollouts) -> Rollouts:
    """The same groups, one turn each: a row is one response, which is what TRL calls a sequence."""
    trajectories = tuple(replace(t, turns=t.turns[:1]) for t in played.trajectories)
    return Rollouts(trajectories, tuple((sum(r),) for r in played.rewards))


def trainer(policy: Policy, directory: Path, **options: Any) -> Any:
    """A real ``GRPOTrainer`` around a copy of the model."""
    config = trl.GRPOConfig(
        output_dir=str(directory), use_cpu=True, bf16=False, report_to=[], num_generations=4, disable_dropout=True,
        per_device_train_batch_size=16, max_completion_length=MAX_LENGTH, temperature=TEMPERATURE,
        epsilon=CONFIG.clip_low, epsilon_high=CONFIG.clip_high, **options,
    )  # fmt: skip
    return trl.GRPOTrainer(
        model=copy.deepcopy(policy.model),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=datasets.Dataset.from_list([{"prompt": "one"}] * 16),
        processing_class=policy.tokenizer,
    )


def theirs(scored: Scored, pad: int) -> dict[str, torch.Tensor]:
    """Our rows as TRL's inputs: prompts padded on the left, completions on the right, other tokens masked as a tool's."""
    starts = [row.response_mask.index(True) for row in scored.rows]
    longest = max(starts)
    width = max(len(row) - start for row, start in zip(scored.rows, starts, strict=True))
    count = len(scored.rows)
    inputs = {
        "prompt_ids": torch.full((count, longest), pad),
        "prompt_mask": torch.zeros(count, longest, dtype=torch.int64),
        "completion_ids": torch.full((count, width), pad),
        "completion_mask": torch.zeros(count, width, dtype=torch.int64),
        "tool_mask": torch.zeros(count, width, dtype=torch.int64),
        "old_per_token_logps": torch.zeros(count, width),
        "ref_per_token_logps": torch.zeros(count, width),
        "advantages": torch.zeros(count),
    }
    for i, (row, start) in enumerate(zip(scored.rows, starts, strict=True)):
        rest = len(row) - start
        inputs["prompt_ids"][i, longest - start :] = torch.tensor(row.input_ids[:start])
        inputs["prompt_mask"][i, longest - start :] = 1
        inputs["completion_ids"][i, :rest] = torch.tensor(row.input_ids[start:])
        inputs["completion_mask"][i, :rest] = 1
        inputs["tool_mask"][i, :rest] = torch.tensor(row.loss_mask[start:]).long()
        inputs["old_per_token_logps"][i, :rest] = scored.old[i][start:]
        if scored.ref is not None:
            inputs["ref_per_token_logps"][i, :rest] = scored.ref[i][start:]
        inputs["advantages"][i] = row.advantages[start]
    inputs["num_items_in_batch"] = inputs["tool_mask"].sum()
    return inputs


def scored_rows(module: GRPOModule, played: Rollouts) -> Scored:
    rows = rows_from_trajectories(played.trajectories, concatenate=True)
    scored = module.score(rows)
    scored.rows = rows_from_trajectories(played.trajectories, module.advantages(played, scored), concatenate=True)
    assert len(scored.rows) == 16
    return scored


@pytest.mark.parametrize("loss_type", list(AGGREGATIONS))
@pytest.mark.parametrize(
    ("turns", "level", "dual", "beta", "correction"),
    [
        (2, "token", None, 0.0, False),
        (2, "token", 1.4, 0.05, False),
        (2, "token", None, 0.05, True),
        (1, "token", None, 0.05, False),
        (1, "sequence", 1.4, 0.0, False),
        (1, "sequence", None, 0.05, True),
    ],
)
def test_loss_and_gradient_equal_trls(
    policy: Policy,
    played: Rollouts,
    tmp_path: Path,
    loss_type: str,
    turns: int,
    level: str,
    dual: float | None,
    beta: float,
    correction: bool,
) -> None:
    played = played if turns == 2 else first_turns(played)
    config = replace(
        CONFIG, aggregation=AGGREGATIONS[loss_type], ratio=level, dual_clip=dual, kl_coef=beta, kl_correction=correction
    )
    mine = copy.deepcopy(policy)
    module = GRPOModule(mine, WordSource(mine), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a reference elsewhere, then an old policy, then the new one
        for stage in ("reference", "old"):
            if stage == "reference" and beta:
                module._reference = [make_reference(mine)]
            if stage == "old":
                scored = scored_rows(module, played)
            for parameter in mine.parameters():
                parameter += 0.03 * torch.randn(parameter.shape, generator=generator)
    totals = UpdateStats()
    totals.steps = 1
    ours = sum(loss for loss in module.losses(scored, range(len(scored.rows)), totals, True) if loss.backward() is None)
    assert totals.low + totals.high > 0  # something is clipped

    other = trainer(
        mine,
        tmp_path,
        loss_type=loss_type,
        importance_sampling_level=level,
        delta=dual,
        use_bias_correction_kl=correction,
    )
    other.beta = beta  # set late: TRL would load a reference by the model's name, which it has none
    other.model.train()
    other.current_gradient_accumulation_steps = 1
    inputs = theirs(scored, mine.pad_id)
    loss = other._compute_loss(other.model, inputs)
    loss.backward()
    torch.testing.assert_close(ours.detach(), loss.detach(), rtol=1e-5, atol=1e-6)
    reference = dict(other.model.named_parameters())
    for name, parameter in mine.model.named_parameters():
        if parameter.requires_grad:
            scale = float(reference[name].grad.abs().max())
            assert scale > 0, name
            torch.testing.assert_close(
                parameter.grad, reference[name].grad, rtol=1e-3, atol=2e-5 * scale + 1e-8, msg=name
            )
    counted = float(inputs["tool_mask"].sum())
    if level == "token":
        (low,), (high,) = (other._metrics["train"][f"clip_ratio/{side}_mean"] for side in ("low", "high"))
        assert (totals.low / counted, totals.high / counted) == pytest.approx((low, high), abs=1e-6)
    if beta and not correction:  # TRL logs the corrected one
        assert totals.means()["train/kl"] == pytest.approx(other._metrics["train"]["kl"][0], rel=1e-4)


def test_logprobs_and_entropy_equal_trls_at_the_sampling_temperature(
    policy: Policy, played: Rollouts, tmp_path: Path
) -> None:
    module = GRPOModule(policy, WordSource(policy), CONFIG)
    scored = scored_rows(module, played)
    other = trainer(policy, tmp_path)
    inputs = theirs(scored, policy.pad_id)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    with torch.no_grad():
        logprobs, entropy, _ = other._get_per_token_logps_and_entropies(
            other.model, ids, attention, inputs["completion_ids"].shape[1], compute_entropy=True
        )
    mask = inputs["tool_mask"].bool()
    taken = [torch.tensor(row.loss_mask) for row in scored.rows]
    for got, expected in ((scored.old, logprobs), (scored.entropy, entropy)):
        mine = torch.cat([own[m] for own, m in zip(got, taken, strict=True)])
        torch.testing.assert_close(mine, expected[mask], rtol=1e-5, atol=2e-5)
    sampled = torch.cat([torch.tensor(row.sampler_logprobs)[m] for row, m in zip(scored.rows, taken, strict=True)])
    torch.testing.assert_close(sampled, logprobs[mask], rtol=1e-4, atol=1e-4)
