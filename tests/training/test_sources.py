from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import SPACES, SPECS, same_weights, stage, timeless, toy_pool, toy_prompt, toy_tasks, weights

from crossagent.demonstrations.collect import collect, load_demonstrations, save_demonstrations
from crossagent.envs.recording import Demonstration
from crossagent.envs.workers.pool import EnvFailure, WorkerPool
from crossagent.envs.world import LoweredAction, WorldConfig
from crossagent.errors import CrossAgentError, RecipeError
from crossagent.plugin import SamplingParams
from crossagent.policy.config import PolicyConfig
from crossagent.policy.matmul import is_intel
from crossagent.policy.model import Policy
from crossagent.rollout.evaluate import evaluate, evaluation_list
from crossagent.sampling.base import GenerateSampler
from crossagent.testing import faulty_environment
from crossagent.training.batch import rows_from_demonstrations, rows_from_trajectories
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig, RelabelConfig, SFTConfig, StrlConfig
from crossagent.training.grpo import GRPOModule, train_grpo
from crossagent.training.relabel import relabel
from crossagent.training.sft import train_sft
from crossagent.training.sources import MtrlSource, StrlSource, TaskPicker, live_trajectories
from crossagent.types import RawTick, StopReason

LAMBDA = {"api": 0.02, "gui": 0.02, "control": 0.02}
MIXTURE = {"api": 1, "gui": 1, "control": 1, "mixed": 2}


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with toy_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def demos(pool: WorkerPool) -> list[Demonstration]:
    return collect(pool, toy_tasks() + toy_tasks("demo"), episodes=300, mixture=MIXTURE, seed=0)


def toy_policy(demos: list[Demonstration]) -> Policy:
    texts = [text for d in demos for turn in d.turns for text in (turn.observation, turn.text)]
    texts += [task.instruction for task in toy_tasks() + toy_tasks("demo")]
    config = PolicyConfig(model="scratch-0.1m", tokenizer_vocab=512, max_length=256)
    return Policy.build(config, texts=texts, seed=0)


@pytest.fixture(scope="module")
def learner(demos: list[Demonstration], pool: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy after half-hearted SFT: it acts, and is far from its experts."""
    policy = toy_policy(demos)
    rows = rows_from_demonstrations(demos, toy_prompt(policy, pool))
    config = SFTConfig(epochs=10, batch_size=64, lr=4e-3, micro_batches=2)
    return train_sft(policy, rows, config, stage(tmp_path_factory.mktemp("sft"))).checkpoint


def mtrl(config: GRPOConfig, policy: Policy, pool: WorkerPool, **more: object) -> MtrlSource:
    options = {"tasks": toy_tasks(), "spaces": SPACES, "weights": LAMBDA, "max_new_tokens": 24, "seed": 7} | more
    return MtrlSource(config, pool=pool, sampler=GenerateSampler(policy), prompt=toy_prompt(policy, pool), **options)


def strl(config: StrlConfig, policy: Policy, pool: WorkerPool, demos: list[Demonstration]) -> StrlSource:
    return StrlSource(
        config,
        demonstrations=demos,
        tasks=toy_tasks(),
        spaces=SPACES,
        pool=pool,
        sampler=GenerateSampler(policy),
        prompt=toy_prompt(policy, pool),
        max_new_tokens=24,
        seed=7,
    )


def test_members_share_task_seed_and_state_and_iterations_do_not(learner: Path, pool: WorkerPool) -> None:
    source = mtrl(GRPOConfig(groups=6, group_size=3, minibatches=1), Policy.load(learner), pool)
    first, second = source.play(0), source.play(1)
    for played in (first, second):
        assert [(t.group, t.member) for t in played.trajectories] == [(g, m) for g in range(6) for m in range(3)]
        starts = {(t.group, t.task, t.seed, t.state_hash) for t in played.trajectories}
        assert len(starts) == 6
        assert sorted(task for _, task, _, _ in starts) == sorted(task.name for task in toy_tasks())
    assert not {t.seed for t in first.trajectories} & {t.seed for t in second.trajectories}
    assert min(first.metrics["time/generate"], first.metrics["time/environment"]) > 0
    for trajectory, rewards in zip(first.trajectories, first.rewards, strict=True):
        expected = trajectory.success - trajectory.weighted_cost(LAMBDA) - 0.1 * trajectory.invalid_turns
        assert sum(rewards) == pytest.approx(expected)


def test_a_share_of_the_groups_may_use_one_space_alone_each_in_turn(
    learner: Path, pool: WorkerPool, tmp_path: Path
) -> None:
    config = GRPOConfig(
        iterations=3, groups=4, group_size=3, single_space_share=0.5, curriculum="uncertain", explore_members=1, explore_turns=1,
        drop_all_fail=False, filter_zero_variance=False, lr=1e-3,
    )  # fmt: skip
    policy = Policy.load(learner)
    source, prompt = mtrl(config, policy, pool), toy_prompt(policy, pool)
    alone = []
    for iteration in range(3):
        before = source.picker.state_dict()
        played = source.play(iteration)
        groups = {g: [t for t in played.trajectories if t.group == g] for g in range(4)}
        for members in groups.values():
            assert len({t.spaces for t in members}) == 1
        alone += [members[0].spaces for members in groups.values() if len(members[0].spaces) == 1]
        for t in (t for t in played.trajectories if len(t.spaces) == 1):
            assert all(turn.space == t.spaces[0] and not turn.explored for turn in t.turns)
            assert all(turn.forced == len(prompt.forced_ids(t.spaces[0])) for turn in t.turns)
        assert any(turn.explored for t in played.trajectories for turn in t.turns)
        noted = sum(a != b for a, b in zip(before["played"], source.picker.state_dict()["played"], strict=True))
        assert noted <= 2, "the curriculum looks at the other two groups alone"
    assert alone == [(space,) for space in SPACES] * 2

    policy = Policy.load(learner)
    train_grpo(policy, mtrl(config, policy, pool), config, stage(tmp_path))
    rows = read_metrics(tmp_path / "metrics.jsonl")
    told = [{name.split("/")[1] for name in row if name.startswith("single/")} for row in rows]
    assert told == [{"api", "gui"}, {"control", "api"}, {"gui", "control"}]
    for row in rows:
        assert row["rollout/trajectories"] == 2 * 3
        assert row["group/trained"] == 4
        assert row["train/ratio_first_deviation"] < 1e-6


def test_without_a_share_every_group_may_use_every_space(learner: Path, pool: WorkerPool) -> None:
    source = mtrl(GRPOConfig(groups=4, group_size=2), Policy.load(learner), pool)
    assert {t.spaces for t in source.play(0).trajectories} == {SPACES}


def test_play_does_not_depend_on_the_number_of_worlds(learner: Path) -> None:
    config = GRPOConfig(groups=3, group_size=3, minibatches=1)
    results = []
    for worlds in (2, 16):
        with toy_pool(worlds=worlds) as own:
            results.append(mtrl(config, Policy.load(learner), own).play(0))
    texts = [[(t.success, [turn.text for turn in t.turns]) for t in played.trajectories] for played in results]
    assert texts[0] == texts[1]
    assert results[0].rewards == results[1].rewards


def test_groups_that_cannot_teach_are_replaced_up_to_the_cap(learner: Path, pool: WorkerPool) -> None:
    config = GRPOConfig(groups=6, group_size=2, minibatches=1, resample_rounds=3)
    policy = Policy.load(learner)
    played = mtrl(config, policy, pool).play(0)
    plain = mtrl(replace(config, resample_rounds=0), policy, pool).play(0)
    assert played.trajectories[: len(plain.trajectories)] == plain.trajectories
    alive = {t.group for t, k in zip(played.trajectories, live_trajectories(played, config), strict=True) if k}
    before = {t.group for t, k in zip(plain.trajectories, live_trajectories(plain, config), strict=True) if k}
    assert len(before) < len(alive) <= 6
    assert played.metrics["rollout/resampled"] >= 6 - len(before)
    assert played.metrics["rollout/groups"] <= 6 * 4
    groups = sorted({t.group for t in played.trajectories})
    assert groups == list(range(len(groups)))


def test_a_world_that_breaks_costs_its_trajectory_and_never_the_iteration(learner: Path) -> None:
    spec = faulty_environment()
    config = WorldConfig(env=spec, env_options={"fault": "raise", "tick": 2}, spaces=tuple((s, {}) for s in SPECS))
    with WorkerPool(config, 0, 8, 10.0) as broken:
        played = mtrl(GRPOConfig(groups=2, group_size=4, minibatches=1), Policy.load(learner), broken).play(0)
    stops = Counter(t.stop_reason for t in played.trajectories)
    assert stops[StopReason.failure] > 0
    assert len(played.trajectories) == 8
    keep = live_trajectories(played, GRPOConfig())
    assert not any(k for k, t in zip(keep, played.trajectories, strict=True) if t.stop_reason is StopReason.failure)


def test_the_curriculum_prefers_what_is_uncertain_and_can_be_resumed() -> None:
    tasks = toy_tasks()
    config = GRPOConfig(groups=2, curriculum="uncertain", curriculum_floor=0.01)
    picker = TaskPicker(tasks, config, seed=1)

    def outcome(successes: list[bool]) -> list:
        from crossagent.types import Trajectory

        return [Trajectory("t", "c", "", 0, 0, i, (), StopReason.terminated, s) for i, s in enumerate(successes)]

    for _ in range(20):
        picker.update(0, outcome([True] * 4))
        picker.update(1, outcome([False] * 4))
        picker.update(2, outcome([True, False] * 2))
    picked = Counter(i for iteration in range(300) for i in picker.pick(iteration, 0, 2))
    assert picked[2] > 3 * picked[0]
    assert picked[2] > 3 * picked[1]
    assert picked[0] > 0
    other = TaskPicker(tasks, config, seed=1)
    other.load_state_dict(picker.state_dict())
    assert [other.pick(i, 0, 2) for i in range(20)] == [picker.pick(i, 0, 2) for i in range(20)]
    with pytest.raises(CrossAgentError, match="other training tasks"):
        TaskPicker(tasks[:2], config, seed=1).load_state_dict(picker.state_dict())


def test_uniform_plays_every_task_equally_often() -> None:
    picker = TaskPicker(toy_tasks(), GRPOConfig(groups=4), seed=1)
    picked = Counter(i for iteration in range(6) for i in picker.pick(iteration, 0, 4))
    assert set(picked.values()) == {4}
    with pytest.raises(RecipeError, match="no task to play"):
        TaskPicker([], GRPOConfig(), 0)


def test_strl_rewards_what_comes_to_the_demonstrated_action(
    learner: Path, pool: WorkerPool, demos: list[Demonstration]
) -> None:
    config = StrlConfig(iterations=2, groups=24, group_size=4)
    source = strl(config, Policy.load(learner), pool, demos)
    played = source.play(0)
    assert len(played.trajectories) == 96
    assert 0 < played.metrics["strl/two_spaces_can_earn"] <= 1
    assert min(played.metrics["time/generate"], played.metrics["time/environment"]) > 0
    hits = [t for t in played.trajectories if t.success]
    assert hits
    for trajectory, rewards in zip(played.trajectories, played.rewards, strict=True):
        (turn,) = trajectory.turns
        assert rewards[0] == pytest.approx(float(trajectory.success) - 0.1 * bool(turn.invalid))
        if turn.text == (turn.payload or {}).get("demonstrated"):
            assert trajectory.success  # the same text is the same action
        assert not (trajectory.success and turn.invalid)
    assert source.play(0).rewards == played.rewards
    assert [t.turns[0].prompt_ids for t in source.play(1).trajectories] != [
        t.turns[0].prompt_ids for t in played.trajectories
    ]
    with pytest.raises(RecipeError, match="no demonstration is of a training task"):
        strl(config, Policy.load(learner), pool, [])


def test_the_survey_counts_states_in_which_experts_of_two_spaces_come_to_the_same(
    learner: Path, pool: WorkerPool, demos: list[Demonstration]
) -> None:
    source = strl(StrlConfig(iterations=1, groups=5, group_size=2), Policy.load(learner), pool, demos)
    walk, wait = (RawTick(("d",)),), ()

    class Answers:
        """One answer per state: what the demonstrated action comes to, then what the experts' do."""

        def spread(self, method: str, jobs: list) -> list:
            assert (method, len(jobs)) == ("alternatives", 5)
            spaces = [state.space for state in source.states[:5]]
            own, other = spaces, ["gui" if space != "gui" else "api" for space in spaces]
            ticks = [(walk, walk, walk), (walk, walk, wait), (walk, walk, None), (walk, walk, (RawTick(("a",)),))]
            found = [
                tuple(LoweredAction(s, t, "") for s, t in zip((own[k], own[k], other[k]), row, strict=True))
                for k, row in enumerate(ticks)
            ]
            return [*found, EnvFailure("raised", "broken", "t", 0)]

    source.pool = Answers()  # type: ignore[assignment]
    assert source.survey() == {"strl/two_spaces_can_earn": 1 / 4}


def success_of(policy: Policy, pool: WorkerPool) -> dict:
    cell, _ = evaluate(
        evaluation_list("id", toy_tasks(), 150, 99),
        spaces=SPACES,
        pool=pool,
        sampler=GenerateSampler(policy),
        prompt=toy_prompt(policy, pool),
        params=SamplingParams(1.0, 24),
        seed=5,
        weights=LAMBDA,
    )
    return cell


@pytest.mark.slow
def test_reinforcement_raises_success_on_worlds_never_trained(
    learner: Path, pool: WorkerPool, demos: list[Demonstration], tmp_path: Path
) -> None:
    """SFT → STRL → relabel → SFT → MTRL on the toy world; intervals of before and after do not touch."""
    policy = Policy.load(learner)
    before = success_of(policy, pool)
    config = StrlConfig(iterations=12, groups=32, lr=3e-4)
    train_grpo(policy, strl(config, policy, pool, demos), config, stage(tmp_path / "strl"))
    single = read_metrics(tmp_path / "strl/metrics.jsonl")
    assert sum(r["rollout/success"] for r in single[-3:]) > sum(r["rollout/success"] for r in single[:3])

    relabelled, stats = relabel(
        demos,
        RelabelConfig(states=300, samples=4),
        tasks={task.name: task for task in toy_tasks() + toy_tasks("demo")},
        spaces=SPACES,
        pool=pool,
        sampler=GenerateSampler(policy),
        prompt=toy_prompt(policy, pool),
        params=SamplingParams(1.0, 24),
        seed=1,
    )
    assert stats.accepted > 50
    save_demonstrations(tmp_path / "relabelled.parquet", relabelled)
    rows = rows_from_demonstrations(
        load_demonstrations(tmp_path / "relabelled.parquet"), toy_prompt(policy, pool), last_only=True
    )
    assert len(rows) == stats.kept
    train_sft(policy, rows, SFTConfig(epochs=2, batch_size=64, lr=3e-4), stage(tmp_path / "relabel"))

    reinforcement = GRPOConfig(iterations=25, groups=8, group_size=8, lr=5e-4)
    train_grpo(policy, mtrl(reinforcement, policy, pool), reinforcement, stage(tmp_path / "mtrl"))
    after = success_of(policy, pool)
    assert after["ci95"][0] > before["ci95"][1]
    assert after["return"] > before["return"]
    for row in read_metrics(tmp_path / "mtrl/metrics.jsonl"):
        assert row.get("train/ratio_first_deviation", 0.0) < 1e-6
        assert row.get("train/sampler_gap_max", 0.0) < 1e-4


def test_logprobs_do_not_depend_on_the_batch_a_row_stands_in(learner: Path, pool: WorkerPool) -> None:
    """Ratio 1, for a policy sharp enough that rounding shows: exactly, where MKL gives each row of a product the same bits however
    many rows there are, as it does on an Intel with AVX-512; others do not promise that.
    """
    policy = Policy.load(learner)
    source = mtrl(GRPOConfig(groups=12, group_size=8), policy, pool)
    rows = rows_from_trajectories(source.play(0).trajectories)
    masks = [torch.tensor(row.loss_mask) for row in rows]
    whole, *others = (
        GRPOModule(policy, source, GRPOConfig(logprob_batch_tokens=budget)).score(rows) for budget in (8192, 300, 1)
    )
    assert sum(int(m.sum()) for m in masks) > 1000
    for other in others:
        ratios = torch.cat([(a - b)[m].exp() for a, b, m in zip(whole.old, other.old, masks, strict=True)])
        assert float((ratios - 1).abs().max()) < (1e-6 if torch.backends.mkl.is_available() and is_intel() else 5e-6)
    gaps = [(a - torch.tensor(r.sampler_logprobs))[m].abs() for a, r, m in zip(whole.old, rows, masks, strict=True)]
    assert 0 < float(torch.cat(gaps).max()) <= 1e-4  # another engine: it decodes token by token


def test_two_runs_in_live_worlds_are_bit_identical(learner: Path, tmp_path: Path) -> None:
    config = GRPOConfig(iterations=2, groups=3, group_size=4, lr=5e-4, curriculum="uncertain", drop_all_fail=False)
    ends, logs = [], []
    for name, workers, worlds in (("a", 0, 6), ("b", 2, 3), ("c", 2, 3)):
        with toy_pool(workers=workers, worlds=worlds) as own:
            policy = Policy.load(learner)
            train_grpo(policy, mtrl(config, policy, own), config, stage(tmp_path / name))
            ends.append(weights(policy))
            logs.append(timeless(read_metrics(tmp_path / name / "metrics.jsonl")))
    assert logs[0] == logs[1] == logs[2]
    assert same_weights(ends[0], ends[1])
    assert same_weights(ends[0], ends[2])
    assert not same_weights(ends[0], weights(Policy.load(learner)))
