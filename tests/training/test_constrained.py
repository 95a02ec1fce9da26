"""Reinforcement where only actions can be said: the sets that were drawn from go with each turn into every pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import SPACES, stage, toy_pool, toy_prompt, toy_tasks

from crossagent.demonstrations.collect import collect
from crossagent.envs.workers.pool import WorkerPool
from crossagent.plugin import SamplingParams
from crossagent.policy.config import PolicyConfig
from crossagent.policy.model import Policy
from crossagent.policy.prompt import PromptFormat
from crossagent.rollout.evaluate import evaluate, evaluation_list
from crossagent.rollout.store import load_trajectories, save_trajectories
from crossagent.sampling.constrained import allowed_tokens
from crossagent.sampling.fast import FastSampler
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig, RelabelConfig, StrlConfig
from crossagent.training.grpo import train_grpo
from crossagent.training.relabel import relabel
from crossagent.training.sources import GroupSource, MtrlSource, StrlSource

pytest.importorskip("llguidance", reason="pip install 'crossagent[constrained]'")

torch.set_num_threads(1)
LIMIT = 24
CONFIG = GRPOConfig(
    iterations=2,
    groups=3,
    group_size=3,
    lr=1e-3,
    temperature=0.8,
    minibatches=1,
    kl_coef=0.1,
    entropy_coef=0.01,
    explore_members=1,
    single_space_share=0.34,
    drop_all_fail=False,
    filter_zero_variance=False,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with toy_pool() as pool:
        yield pool


@pytest.fixture
def policy(pool: WorkerPool) -> Policy:
    """An untrained one."""
    texts = [*pool.describe().fragments.values(), *(task.instruction for task in toy_tasks())]
    return Policy.build(PolicyConfig(model="scratch-0.1m"), texts=texts, seed=1)


def mtrl(policy: Policy, pool: WorkerPool, prompt: PromptFormat) -> MtrlSource:
    tasks = [replace(task, max_turns=3) for task in toy_tasks()]
    return MtrlSource(
        CONFIG,
        tasks=tasks,
        spaces=SPACES,
        weights={"api": 0.02},
        pool=pool,
        sampler=FastSampler(policy),
        prompt=prompt,
        max_new_tokens=LIMIT,
        seed=3,
    )


def strl(policy: Policy, pool: WorkerPool, prompt: PromptFormat) -> StrlSource:
    tasks = toy_tasks()
    demonstrations = collect(pool, tasks, episodes=6, mixture={"mixed": 1.0}, seed=0)
    return StrlSource(
        StrlConfig(**{**vars(CONFIG), "single_space_share": 0.0}),
        demonstrations=demonstrations,
        tasks=tasks,
        spaces=SPACES,
        pool=pool,
        sampler=FastSampler(policy),
        prompt=prompt,
        max_new_tokens=LIMIT,
        seed=3,
    )


@pytest.mark.parametrize("concatenate", [False, True])
@pytest.mark.parametrize("make", [mtrl, strl])
def test_the_ratio_is_one_and_no_turn_is_invalid(
    make: object, concatenate: bool, policy: Policy, pool: WorkerPool, tmp_path: Path
) -> None:
    """With explorers, single-space groups, KL and an entropy bonus: all of them see the smaller distribution."""
    source: GroupSource = make(policy, pool, toy_prompt(policy, pool, constrained=True, history=-1))  # type: ignore[operator]
    config = replace(source.config, concatenate=concatenate)  # type: ignore[attr-defined]
    train_grpo(policy, source, config, stage(tmp_path))
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert len(rows) == 2
    for row in rows:
        assert row["train/optimizer_steps"] == 1
        assert row["train/skipped_steps"] == 0, "no gradient is NaN where a token may not follow"
        assert row["train/ratio_first_deviation"] < 1e-6
        assert row["train/sampler_gap_max"] <= 1e-4
        assert row["rollout/invalid"] == 0
        assert 0 < row["explore/weight"] < 3
    assert rows[0]["train/kl"] < 1e-9
    assert all(bool(p.isfinite().all()) for p in policy.parameters())


def test_what_was_drawn_from_is_not_stored_and_follows_from_what_is(
    policy: Policy, pool: WorkerPool, tmp_path: Path
) -> None:
    prompt = toy_prompt(policy, pool, constrained=True)
    played = mtrl(policy, pool, prompt).play(0).trajectories
    save_trajectories(tmp_path / "a.parquet", played)
    for one, stored in zip(played, load_trajectories(tmp_path / "a.parquet"), strict=True):
        for turn, again in zip(one.turns, stored.turns, strict=True):
            assert again.allowed == ()
            grammar = prompt.grammar(stored.spaces)
            given = again.forced + again.explored
            assert turn.allowed == allowed_tokens(
                policy.tokenizer, policy.eot_id, grammar, again.response_ids, LIMIT, given
            )
    explored = [turn for one in played for turn in one.turns if turn.explored]
    assert explored
    assert all(math.isclose(sum(turn.sampler_logprobs[: turn.explored]), -math.log(3)) for turn in explored)


def test_evaluation_and_relabelling_sample_actions_alone(policy: Policy, pool: WorkerPool) -> None:
    sampler, prompt = FastSampler(policy), toy_prompt(policy, pool, constrained=True)
    tasks, params = toy_tasks(), SamplingParams(1.0, LIMIT)
    listed = evaluation_list("id", tasks, 6, 0)
    shared = {"pool": pool, "sampler": sampler, "params": params, "seed": 0}
    for spaces in (SPACES, ("gui",), ("api", "control")):
        cell, _ = evaluate(listed, spaces=spaces, prompt=prompt, weights={}, **shared)
        assert cell["invalid"] == 0
        assert set(cell["shares"]) == set(spaces)
    free, _ = evaluate(listed, spaces=SPACES, prompt=toy_prompt(policy, pool), weights={}, **shared)
    assert free["invalid"] == 1
    demonstrations = collect(pool, tasks, episodes=6, mixture={"mixed": 1.0}, seed=0)
    by_name = {task.name: task for task in tasks}
    asked = RelabelConfig(states=8, samples=4)
    _, stats = relabel(demonstrations, asked, tasks=by_name, spaces=SPACES, prompt=prompt, **shared)
    assert stats.states == 8


def test_generators_stay_where_they_were(policy: Policy, pool: WorkerPool) -> None:
    before = torch.get_rng_state()
    mtrl(policy, pool, toy_prompt(policy, pool, constrained=True)).play(0)
    assert torch.equal(before, torch.get_rng_state())
