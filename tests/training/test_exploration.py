"""One turn in a space drawn uniformly: the gradient stays that of the policy, and no space starves."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import SPACES, same_weights, stage, toy_pool, toy_prompt, toy_tasks, weights

from crossagent.algorithms import group_advantages
from crossagent.demonstrations.collect import collect
from crossagent.envs.recording import Demonstration
from crossagent.envs.workers.pool import WorkerPool
from crossagent.errors import RecipeError
from crossagent.policy.config import PolicyConfig
from crossagent.policy.model import Policy
from crossagent.rollout.explore import draw_space, explored_turn, header_logprobs
from crossagent.rollout.store import load_trajectories, save_trajectories
from crossagent.sampling.base import GenerateSampler
from crossagent.training.batch import rows_from_demonstrations, rows_from_trajectories
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig, SFTConfig, StrlConfig
from crossagent.training.grpo import GRPOModule, exploration_weights, train_grpo
from crossagent.training.sft import train_sft
from crossagent.training.sources import MtrlSource, StrlSource
from crossagent.training.update_stats import UpdateStats
from crossagent.types import StopReason, Trajectory, Turn

HEADERS = {"x": (0,), "y": (1,)}
GROUP = 2


def choices() -> Iterator[tuple[int, int, int, int]]:
    """Every trajectory of a world of two turns: (header, action) twice."""
    yield from itertools.product(range(2), repeat=4)  # type: ignore[misc]


class Table:
    """A policy that is a table: what follows any beginning of an episode, with logits of its own."""

    def __init__(self) -> None:
        self.logits = torch.randn(15, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.logits = (2 * self.logits).requires_grad_()

    def logprobs(self, taken: tuple[int, ...]) -> list[torch.Tensor]:
        """log π of each of the four decisions of an episode."""
        state, found = 0, []
        for choice in taken:
            found.append(self.logits[state].log_softmax(-1)[choice])
            state = 2 * state + 1 + choice
        return found


def episode(taken: tuple[int, ...], member: int, explored: int | None) -> Trajectory:
    """Tell a table's episode with the types of the real thing."""
    turns, prompt = [], (9,)
    for number in range(2):
        header, action = taken[2 * number], taken[2 * number + 1]
        drawn = header_logprobs(HEADERS, "xy"[header]) if number == explored else (0.5,)
        turns.append(
            Turn(prompt, (header, 2 + action), (*drawn, 0.25), explored=int(number == explored), space="xy"[header])
        )
        prompt = (*prompt, header, 2 + action, 9)
    return Trajectory("t", "c", "", 0, 0, member, tuple(turns), StopReason.terminated, True)


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("concatenate", [True, False])
def test_the_gradient_of_a_group_with_an_explorer_is_unbiased_and_without_its_weight_it_is_not(
    paid: bool, concatenate: bool
) -> None:
    """Every group of an explorer (either of its two turns) and a follower, enumerated; leave-one-out baseline."""
    table = Table()
    reward = {taken: float(value) for taken, value in zip(choices(), torch.randn(16).tolist(), strict=True)}
    logs = {taken: table.logprobs(taken) for taken in choices()}
    total = {taken: torch.stack(logs[taken]).sum() for taken in choices()}
    truth = sum(total[taken].exp() * reward[taken] for taken in choices())
    (expected,) = torch.autograd.grad(truth, table.logits, retain_graph=True)

    surrogate = torch.zeros((), dtype=torch.float64)
    weighed = 0.0
    for turn in range(2):
        for one, other in itertools.product(choices(), repeat=2):
            likely = [float(x.detach()) for x in logs[one]]
            likely[2 * turn] = math.log(1 / 2)  # μ
            chance = 0.5 * math.exp(sum(likely)) * float(total[other].detach().exp())
            group = [episode(one, 0, turn), episode(other, 1, None)]
            rows = rows_from_trajectories(group, concatenate=concatenate)
            assert len(rows) == (2 if concatenate else 4)
            old = []
            for row in rows:
                values, at = [0.0] * len(row), iter(logs[(one, other)[row.trajectory]])
                if not concatenate:
                    at = itertools.islice(at, 2 * row.turns[-1], None)
                for token, sampled in enumerate(row.response_mask):
                    values[token] = float(next(at).detach()) if sampled else 0.0
                old.append(torch.tensor(values, dtype=torch.float64))
            found = exploration_weights(rows, old)
            assert set(found) == {0}
            weighed += chance * found[0]
            assert found[0] <= 2 + 1e-9, "at most the number of spaces"
            returns = torch.tensor([reward[one], reward[other]])
            advantages = group_advantages(returns, torch.tensor([0, 0]), baseline="leave-one-out")
            for index, taken in enumerate((one, other)):
                factor = found.get(index, 1.0) if paid else 1.0
                surrogate = surrogate + chance * factor * float(advantages[index]) * total[taken] / GROUP
    (got,) = torch.autograd.grad(surrogate, table.logits)
    assert weighed == pytest.approx(1.0), "E[π/μ] is 1"
    error = float((got - expected).abs().max() / expected.abs().max())
    assert error < 1e-6 if paid else error > 0.05


def test_a_header_of_several_tokens_is_drawn_as_one() -> None:
    headers = {"api": (5, 1), "gui": (5, 2), "control": (7,)}
    found = {space: header_logprobs(headers, space) for space in headers}
    assert found["api"] == found["gui"] == pytest.approx((math.log(2 / 3), math.log(1 / 2)))
    assert found["control"] == pytest.approx((math.log(1 / 3),))
    assert [sum(own) for own in found.values()] == pytest.approx([-math.log(3)] * 3)


def test_who_explores_when_and_where_follows_from_the_place_alone() -> None:
    turns = [explored_turn(m, 2, 3, 1, 0, g) for g in range(60) for m in range(4)]
    assert [turns[k] for k in range(240) if k % 4 >= 2] == [None] * 120
    assert Counter(t for t in turns if t is not None).keys() == {0, 1, 2}
    drawn = Counter(draw_space(SPACES, 1, 0, g, 0, 0) for g in range(600))
    assert all(150 < drawn[space] < 250 for space in SPACES)
    assert draw_space(SPACES, 1, 0, 5, 0, 0) == draw_space(SPACES, 1, 0, 5, 0, 0)


# -- in worlds ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with toy_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def demos(pool: WorkerPool) -> list[Demonstration]:
    """Nobody shows how to use ``gui``: a policy that imitates them never tries it."""
    return collect(pool, toy_tasks(), episodes=80, mixture={"api": 1, "control": 1}, seed=0, also_under_all=1.0)


@pytest.fixture(scope="module")
def one_sided(demos: list[Demonstration], pool: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [text for d in demos for turn in d.turns for text in (turn.observation, turn.text)]
    config = PolicyConfig(model="scratch-0.1m", tokenizer_vocab=512, max_length=256)
    texts += [*(task.instruction for task in toy_tasks()), "Gui: click(apple)"]
    policy = Policy.build(config, texts=texts, seed=0)
    rows = [r for r in rows_from_demonstrations(demos, toy_prompt(policy, pool)) if r.loss_mask[-2]]
    sft = SFTConfig(epochs=8, batch_size=64, lr=4e-3)
    return train_sft(policy, rows, sft, stage(tmp_path_factory.mktemp("sft"))).checkpoint


def mtrl(policy: Policy, pool: WorkerPool, config: GRPOConfig) -> MtrlSource:
    common = {"pool": pool, "sampler": GenerateSampler(policy), "prompt": toy_prompt(policy, pool)}
    return MtrlSource(config, tasks=toy_tasks(), spaces=SPACES, weights={}, max_new_tokens=24, seed=7, **common)


PLAY = GRPOConfig(
    iterations=2, groups=6, group_size=4, lr=1e-3, drop_all_fail=False, filter_zero_variance=False, minibatches=1,
    entropy_coef=0.01,
)  # fmt: skip


def test_a_space_that_the_policy_never_tries_is_tried_and_paid_for(one_sided: Path, pool: WorkerPool) -> None:
    policy = Policy.load(one_sided)
    config = replace(PLAY, explore_members=2, explore_turns=2)
    plain, played = (mtrl(policy, pool, c).play(0) for c in (PLAY, config))
    assert not any(turn.space == "gui" for t in plain.trajectories for turn in t.turns)
    explored = [(t, k) for t in played.trajectories for k, turn in enumerate(t.turns) if turn.explored]
    assert {t.member for t, _ in explored} == {0, 1}
    assert {k for _, k in explored} == {0, 1}
    assert {t.turns[k].space for t, k in explored} == set(SPACES)
    assert all(t.turns[k].forced == 0 for t, k in explored)
    prompt = toy_prompt(policy, pool)
    for t, k in explored:
        turn = t.turns[k]
        header = prompt.forced_ids(turn.space)
        assert turn.response_ids[: turn.explored] == header
        assert sum(turn.sampler_logprobs[: turn.explored]) == pytest.approx(-math.log(3))
    followers = [i for i, t in enumerate(played.trajectories) if t.member >= 2]
    for i in followers:
        one, other = played.trajectories[i], plain.trajectories[i]
        assert [turn.response_ids for turn in one.turns] == [turn.response_ids for turn in other.turns]

    module = GRPOModule(policy, mtrl(policy, pool, config), config)
    rows = rows_from_trajectories(played.trajectories)
    assert all(row.explored == () or any(row.explored) for row in rows)
    assert all(m for row in rows for e, m in zip(row.explored, row.loss_mask, strict=False) if e), "headers train"
    scored = module.score(rows)
    paid = exploration_weights(rows, scored.old)
    assert set(paid) == {i for i, t in enumerate(played.trajectories) if any(turn.explored for turn in t.turns)}
    for index, weight in paid.items():
        trajectory = played.trajectories[index]
        (space,) = (turn.space for turn in trajectory.turns if turn.explored)
        assert 0 <= weight <= 3 + 1e-5
        if space == "gui":
            assert weight < 0.05, "what the policy would not do hardly counts"


def test_a_drawn_header_is_weighed_where_headers_do_not_train(one_sided: Path, pool: WorkerPool) -> None:
    policy = Policy.load(one_sided)
    config = replace(PLAY, explore_members=2)
    played = mtrl(policy, pool, config).play(0).trajectories
    split = [
        replace(t, turns=tuple(replace(u, segments=(("header", 0), ("action", u.explored))) for u in t.turns))
        for t in played
    ]
    module = GRPOModule(policy, mtrl(policy, pool, config), config)
    paid = []
    for weights_of in ({}, {"header": 0.0}):
        rows = rows_from_trajectories(split, segment_weights=weights_of)
        trained = [m for row in rows for e, m in zip(row.explored, row.loss_mask, strict=False) if e]
        assert set(trained) == {not weights_of}
        paid.append(exploration_weights(rows, module.score(rows).old))
    assert len(paid[0]) == 12
    assert paid[1] == pytest.approx(paid[0], rel=1e-5)


def test_the_uniform_draw_is_no_difference_between_sampler_and_trainer_to_correct(
    one_sided: Path, pool: WorkerPool
) -> None:
    losses = []
    for importance, level in (("none", "token"), ("truncate", "token"), ("truncate", "sequence"), ("mask", "sequence")):
        policy = Policy.load(one_sided)
        config = replace(PLAY, explore_members=2, importance=importance, importance_level=level, entropy_coef=0.0)
        module = GRPOModule(policy, mtrl(policy, pool, config), config)
        scored = module.score(rows_from_trajectories(module.source.play(0).trajectories))
        assert any(any(row.explored) for row in scored.rows)
        for number, row in enumerate(scored.rows):
            scored.rows[number] = replace(row, advantages=(1.0,) * len(row))
        with torch.no_grad():
            losses.append(sum(map(float, module.losses(scored, range(len(scored.rows)), UpdateStats(), True))))
    assert losses[1:] == pytest.approx(losses[:1] * 3, rel=1e-3)


def test_training_with_explorers_logs_it_and_multiplies_their_advantages(
    one_sided: Path, pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[int, float]] = []
    config = replace(PLAY, explore_members=2, explore_turns=1, importance="truncate")

    def fixed(rows: list, old: list) -> dict[int, float]:
        seen.append(exploration_weights(rows, old))
        return seen[-1]

    ends = []
    for name, function in (("a", fixed), ("b", lambda rows, old: {})):
        monkeypatch.setattr("crossagent.training.grpo.exploration_weights", function)
        policy = Policy.load(one_sided)
        train_grpo(policy, mtrl(policy, pool, config), config, stage(tmp_path / name))
        ends.append(weights(policy))
    assert not same_weights(*ends)
    for row, paid in zip(read_metrics(tmp_path / "a/metrics.jsonl"), seen, strict=True):
        assert row["explore/trajectories"] == len(paid) == 12
        assert row["explore/weight"] == pytest.approx(sum(paid.values()) / 12)
        assert row["train/sampler_gap_max"] <= 1e-4, "the uniform draw is no gap between sampler and trainer"
        assert row["train/ratio_first_deviation"] < 1e-6


def test_single_turns_explore_too_and_files_remember_it(
    one_sided: Path, pool: WorkerPool, demos: list[Demonstration], tmp_path: Path
) -> None:
    policy = Policy.load(one_sided)
    config = StrlConfig(iterations=1, groups=12, group_size=4, minibatches=1, explore_members=1)
    source = StrlSource(
        config, demonstrations=demos, tasks=toy_tasks(), spaces=SPACES, pool=pool, sampler=GenerateSampler(policy),
        prompt=toy_prompt(policy, pool), max_new_tokens=24, seed=7,
    )  # fmt: skip
    played = source.play(0)
    explored = [t for t in played.trajectories if t.turns[0].explored]
    assert [t.member for t in explored] == [0] * 12
    assert {t.turns[0].space for t in explored} == set(SPACES)
    save_trajectories(tmp_path / "t.parquet", played.trajectories)
    assert [t.turns[0].explored for t in load_trajectories(tmp_path / "t.parquet")] == [
        t.turns[0].explored for t in played.trajectories
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"explore_members": 8}, "fewer than group_size"),
        ({"explore_members": 1, "old_logprobs": "sampler"}, "needs old_logprobs: recompute"),
        ({"explore_members": 1, "explore_turns": 0}, "explore_turns: got 0"),
        ({"segment_weights": {"action": -1.0}}, r"segment_weights\.action: got -1"),
    ],
)
def test_what_cannot_work_is_refused(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        GRPOConfig(**options)
