"""Chain-of-action responses: parts found on the sampled ids, and trained with weights of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import PLAN, SPECS, PlanSpace, stage, toy_pool, toy_prompt, toy_tasks

from crossagent.demonstrations.collect import collect, load_demonstrations, save_demonstrations
from crossagent.envs.recording import Demonstration
from crossagent.envs.workers.pool import WorkerPool
from crossagent.policy.config import PolicyConfig
from crossagent.policy.model import Policy
from crossagent.rollout.segments import token_segments
from crossagent.sampling.base import GenerateSampler
from crossagent.training.batch import Row, rows_from_demonstrations, rows_from_trajectories
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig, SFTConfig
from crossagent.training.grpo import GRPOModule, train_grpo
from crossagent.training.sft import train_sft
from crossagent.training.sources import MtrlSource
from crossagent.training.update_stats import UpdateStats
from crossagent.types import Trajectory

NAMES = (*(spec.name for spec in SPECS), "plan")


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with toy_pool(specs=(*SPECS, PLAN)) as pool:
        yield pool


@pytest.fixture(scope="module")
def demos(pool: WorkerPool) -> list[Demonstration]:
    tasks = [task for task in toy_tasks() if task.category == "get"]
    return collect(pool, tasks, episodes=80, mixture={"plan": 3, "mixed": 1}, seed=0)


@pytest.fixture(scope="module")
def learner(demos: list[Demonstration], pool: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [text for d in demos for turn in d.turns for text in (turn.observation, turn.text)]
    texts += [task.instruction for task in toy_tasks()]
    policy = Policy.build(PolicyConfig(model="scratch-0.1m", tokenizer_vocab=512, max_length=256), texts=texts, seed=0)
    rows = rows_from_demonstrations(demos, toy_prompt(policy, pool))
    config = SFTConfig(epochs=24, batch_size=32, lr=4e-3)
    return train_sft(policy, rows, config, stage(tmp_path_factory.mktemp("sft"))).checkpoint


@pytest.fixture(scope="module")
def played(learner: Path, pool: WorkerPool) -> list[Trajectory]:
    return list(source(Policy.load(learner), pool, GRPOConfig(groups=8, group_size=8)).play(0).trajectories)


def source(policy: Policy, pool: WorkerPool, config: GRPOConfig) -> MtrlSource:
    tasks = [task for task in toy_tasks() if task.category == "get"]
    common = {"pool": pool, "sampler": GenerateSampler(policy), "prompt": toy_prompt(policy, pool)}
    return MtrlSource(config, tasks=tasks, spaces=NAMES, weights={}, max_new_tokens=32, seed=7, **common)


def test_segments_of_what_was_sampled_are_those_of_its_text(
    learner: Path, pool: WorkerPool, played: list[Trajectory]
) -> None:
    prompt = toy_prompt(Policy.load(learner), pool)
    turns = [turn for t in played for turn in t.turns if turn.space == "plan" and turn.finish_reason == "stop"]
    assert len(turns) > 10
    assert sum(len(turn.segments) == 3 for turn in turns) > 5
    for turn in turns:
        expected = PlanSpace().tokenizer.segments(turn.text)
        ends = [start for _, start in turn.segments[1:]] + [len(turn.response_ids)]
        texts = [prompt.decode(turn.response_ids[a:b]).strip() for (_, a), b in zip(turn.segments, ends, strict=True)]
        borders = [start for _, start in expected[1:]] + [len(turn.text)]
        assert [n for n, _ in turn.segments] == [n for n, _ in expected]
        assert texts == [turn.text[a:b].strip() for (_, a), b in zip(expected, borders, strict=True)]
    assert all(turn.segments == () for t in played for turn in t.turns if turn.space in ("api", "gui", "control"))


def test_a_token_across_a_border_belongs_to_the_later_part_and_a_part_that_was_cut_is_left_out() -> None:
    pieces = ["Pl", "an:", " go", "\nA", "ct", "é"[:1]]

    def decode(ids: object) -> str:
        return "".join(pieces[i] for i in ids)  # type: ignore[attr-defined]

    text = "".join(pieces)
    parts = (("header", 0), ("abstract", 5), ("action", 9))
    assert token_segments(range(6), text, parts, decode) == (("header", 0), ("abstract", 2), ("action", 3))
    assert token_segments(range(3), text[:8], parts, decode) == (("header", 0), ("abstract", 2))
    assert token_segments(range(6), text, (), decode) == ()


def gradient(policy: Policy, rows: list[Row]) -> list[torch.Tensor]:
    module = GRPOModule(policy, None, GRPOConfig(aggregation="token-mean"))  # type: ignore[arg-type]
    scored = module.score(rows)
    policy.zero_grad()
    for loss in module.losses(scored, range(len(rows)), UpdateStats(), True):
        loss.backward()
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None]


def test_the_gradient_is_the_weighted_sum_of_the_parts(learner: Path, played: list[Trajectory]) -> None:
    policy = Policy.load(learner)
    plans = [replace(t, turns=tuple(u for u in t.turns if u.space == "plan")) for t in played]
    plans = [t for t in plans if t.turns][:4]
    credit = [1.0, -0.5, 0.7, -1.0][: len(plans)]

    def rows(**weights: float) -> list[Row]:
        return rows_from_trajectories(plans, credit, segment_weights=weights)

    tokens = sum(row.trained_tokens for row in rows())
    parts = []
    for name in ("header", "abstract", "action"):
        alone = rows(**{n: float(n == name) for n in ("header", "abstract", "action")})
        share = sum(row.trained_tokens for row in alone) / tokens  # a weight of 0 takes tokens out of the mean too
        assert 0 < share < 1
        parts.append([share * g for g in gradient(policy, alone)])
    weighted = gradient(policy, rows(abstract=0.25, header=2.0))
    for got, header, abstract, action in zip(weighted, *parts, strict=True):
        expected = 2.0 * header + 0.25 * abstract + action
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()) + 1e-8)


def test_stages_take_segment_weights(
    learner: Path, pool: WorkerPool, demos: list[Demonstration], tmp_path: Path
) -> None:
    policy = Policy.load(learner)
    save_demonstrations(tmp_path / "demos.parquet", demos)
    stored = load_demonstrations(tmp_path / "demos.parquet")
    assert stored == demos
    rows = rows_from_demonstrations(stored, toy_prompt(policy, pool), segment_weights={"abstract": 0.0})
    whole = rows_from_demonstrations(stored, toy_prompt(policy, pool))
    assert sum(row.trained_tokens for row in rows) < sum(row.trained_tokens for row in whole)
    config = GRPOConfig(
        iterations=2, groups=3, group_size=4, lr=1e-3, segment_weights={"abstract": 0.5}, drop_all_fail=False,
        filter_zero_variance=False,
    )  # fmt: skip
    train_grpo(policy, source(policy, pool, config), config, stage(tmp_path))
    for row in read_metrics(tmp_path / "metrics.jsonl"):
        assert row["space/plan/share"] > 0
        assert row["train/ratio_first_deviation"] < 1e-6
