"""Numbers of an iteration by hand, and the warnings of collapse."""

import logging
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import WordSource, stage, tiny_policy

from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig
from crossagent.training.grpo import train_grpo
from crossagent.training.metrics import (
    CAUSES,
    CollapseWatch,
    dropped_metrics,
    rollout_metrics,
    space_entropy,
    space_metrics,
)
from crossagent.training.sources import Rollouts
from crossagent.types import StopReason, Trajectory, Turn

NAN = math.nan
TURN = Turn((1,), (2, 3), (0.0, 0.0), space="a", cost=2.0, ticks=3)
ONE = Trajectory("t", "c", "", 0, 0, 0, (TURN,), StopReason.terminated, True)
SMALL = GRPOConfig(iterations=1, groups=4, group_size=4, lr=1e-3)


def test_rollout_numbers_by_hand() -> None:
    cut = replace(
        TURN, response_ids=(1,) * 8, sampler_logprobs=(0.0,) * 8, finish_reason="length", invalid="no", cost=0.0
    )
    other = replace(ONE, turns=(TURN, cut), success=False, stop_reason=StopReason.cut, member=1)
    failed = replace(ONE, stop_reason=StopReason.failure, success=False, failure="hung: x", member=2)
    got = rollout_metrics([ONE, other, failed], [0.9, -0.2, NAN], {"a": 0.05})
    assert got["rollout/trajectories"] == 3
    assert got["rollout/dropped"] == 1
    assert got["rollout/success"] == 0.5
    assert got["rollout/return"] == pytest.approx(0.35)
    assert got["rollout/turns"] == 1.5
    assert got["rollout/cost"] == pytest.approx(0.1)
    assert got["rollout/invalid"] == pytest.approx(1 / 3)
    assert got["rollout/cut"] == pytest.approx(1 / 3)
    assert got["rollout/response_tokens"] == 4
    assert got["rollout/response_tokens_max"] == 8
    assert [got[f"stop/{s}"] for s in ("terminated", "cut", "failure", "max_turns")] == pytest.approx(
        [1 / 3, 1 / 3, 1 / 3, 0]
    )
    nothing = rollout_metrics([failed], [NAN], {})
    assert "rollout/success" not in nothing
    assert "rollout/response_tokens_max" not in nothing


def test_every_trajectory_that_does_not_train_has_one_cause() -> None:
    def of(group: int, success: bool, **more: object) -> Trajectory:
        return replace(ONE, group=group, success=success, **more)

    failure = StopReason.failure
    played = [
        (of(0, True), 1.0, True),
        (of(0, False), 0.0, True),
        (of(0, False, stop_reason=StopReason.cut), -0.1, False),  # its group trains: left out as overlong
        (of(0, False, stop_reason=failure, failure="hung: 30 s (task 't', seed 0)"), NAN, False),
        (of(1, False, stop_reason=failure, failure="raised: oops"), NAN, False),
        (of(1, False, stop_reason=failure, failure="something new"), NAN, False),
        (of(1, True), 1.0, False),
        (of(2, True), 1.0, False),
        (of(2, True), 1.0, False),
        (of(3, False), -0.1, False),
        (of(3, False), -0.2, False),
        (of(4, False, turns=()), NAN, False),
    ]
    trajectories, returns, trained = zip(*played, strict=True)
    got = dropped_metrics(trajectories, returns, trained, drop_all_fail=True)
    expected = Counter(overlong=1, hung=1, raised=1, other=1, group_too_small=1, zero_variance=2, all_fail=2, no_turn=1)
    assert got == {f"dropped/{cause}": float(expected[cause]) for cause in CAUSES}
    assert sum(got.values()) == trained.count(False)
    equal = [of(0, False), of(0, False)]
    assert dropped_metrics(equal, [0.0, 0.0], [False] * 2, drop_all_fail=False)["dropped/zero_variance"] == 2
    assert dropped_metrics(equal, [0.0, 0.0], [False] * 2, drop_all_fail=True)["dropped/all_fail"] == 2


def test_entropy_of_spaces_is_over_tokens_and_that_of_shares_over_spaces() -> None:
    turns = [("a", 2.0, 1), ("a", 1.0, 5), ("b", 3.0, 2), (None, 9.0, 1)]
    assert space_entropy(turns, ("a", "b", "c")) == {"space/a/entropy": 0.5, "space/b/entropy": 1.5}
    b = replace(TURN, space="b")
    half = replace(ONE, turns=(TURN, b, TURN, b))
    got = space_metrics([half], [[0.1] * 4], ("a", "b", "c"))
    assert got["rollout/space_entropy"] == pytest.approx(math.log(2))
    assert space_metrics([ONE], [[0.1]], ("a", "b"))["rollout/space_entropy"] == 0.0


@pytest.mark.parametrize("old_logprobs", ["recompute", "reuse", "sampler"])
def test_entropy_is_taken_at_the_sampling_temperature_overall_and_per_space(tmp_path: Path, old_logprobs: str) -> None:
    policy = tiny_policy()
    source = WordSource(policy, temperature=0.7)
    played = source.play(0)
    config = replace(SMALL, old_logprobs=old_logprobs, temperature=0.7, drop_all_fail=False, filter_zero_variance=False)
    sums: dict[str, list[float]] = {"even": [], "odd": []}
    with torch.no_grad():
        for trajectory in played.trajectories:
            for turn in trajectory.turns:
                ids = torch.tensor([[*turn.prompt_ids, *turn.response_ids]])
                logits = policy.model(ids).logits[0, len(turn.prompt_ids) - 1 : -1] / 0.7
                logp = logits.log_softmax(-1)
                sums[turn.space] += (-(logp.exp() * logp).sum(-1)).tolist()
    train_grpo(policy, source, replace(config, minibatches=1), stage(tmp_path))
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    everything = sums["even"] + sums["odd"]
    assert row["train/entropy"] == pytest.approx(sum(everything) / len(everything), abs=1e-4)
    for space, own in sums.items():
        assert row[f"space/{space}/entropy"] == pytest.approx(sum(own) / len(own), abs=1e-4)
    assert 0 <= row["train/kl_old"] < 1e-3
    assert row["rollout/episodes_per_second"] > 0


def test_what_is_dropped_is_what_does_not_train(tmp_path: Path) -> None:
    policy = tiny_policy()
    source = WordSource(policy)
    source.fail = {(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2)}
    train_grpo(policy, source, SMALL, stage(tmp_path))
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    causes = {name: value for name, value in row.items() if name.startswith("dropped/")}
    assert causes["dropped/other"] == row["rollout/dropped"] == 4
    assert causes["dropped/group_too_small"] == 1
    assert row["group/trained"] * 4 == 16 - sum(causes.values()) + 1  # of group 0 three members train


def test_a_collapse_is_said_once_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of spaces and of entropy, through a whole training."""

    class Narrowing(WordSource):
        """From the second iteration on every turn is in one space."""

        def play(self, iteration: int) -> Rollouts:
            was = super().play(iteration)
            if not iteration:
                return was
            one = tuple(
                replace(t, turns=tuple(replace(turn, space="even") for turn in t.turns)) for t in was.trajectories
            )
            return replace(was, trajectories=one)

    policy = tiny_policy()
    with caplog.at_level(logging.WARNING):
        train_grpo(policy, Narrowing(policy), replace(SMALL, iterations=4), stage(tmp_path))
    said = [record.getMessage() for record in caplog.records if "nobody used" in record.getMessage()]
    assert said == ["iteration 2: nobody used space 'odd' any more"]


def test_the_watch_warns_of_a_fall_and_not_of_what_was_never_there() -> None:
    watch = CollapseWatch(entropy_share=0.1)
    assert (
        watch.look(1, {"space/a/share": 0.2, "space/b/share": 0.0, "space/none/share": 0.8, "train/entropy": 1.0}) == []
    )
    assert (
        watch.look(2, {"space/a/share": 0.1, "space/b/share": 0.0, "space/none/share": 0.0, "train/entropy": 0.2}) == []
    )
    assert len(watch.look(3, {"space/a/share": 0.0, "train/entropy": 0.09})) == 2
    assert watch.look(4, {"space/a/share": 0.3, "train/entropy": 2.0}) == []
    assert watch.look(5, {"space/a/share": 0.0, "train/entropy": 0.01}) == []
