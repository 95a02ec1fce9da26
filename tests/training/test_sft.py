import math
from pathlib import Path

import pytest
import torch
from training_kit import rows_of, same_weights, stage, timeless, tiny_policy, weights

from crossagent.distributed import Ranks
from crossagent.errors import StageInterrupted
from crossagent.policy.config import LoraConfig
from crossagent.policy.model import Policy
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import SFTConfig
from crossagent.training.data import SFTSchedule
from crossagent.training.sft import train_sft


def test_it_learns_what_is_demonstrated(tmp_path: Path) -> None:
    policy = tiny_policy()
    result = train_sft(policy, rows_of(policy), SFTConfig(epochs=20, batch_size=12, lr=5e-3), stage(tmp_path))
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert len(rows) == result.steps == 40
    assert rows[0]["sft/loss"] > 4
    assert rows[-1]["sft/loss"] < 0.3
    assert rows[-1] == result.metrics
    assert same_weights(weights(Policy.load(result.checkpoint)), weights(policy))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "metrics.jsonl"]


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_micro_batches_change_nothing(tmp_path: Path, parts: int) -> None:
    one, many = tiny_policy(), tiny_policy()
    config = {"epochs": 1, "batch_size": 12, "lr": 1e-3, "max_grad_norm": 1e6}
    a = train_sft(one, rows_of(one), SFTConfig(**config), stage(tmp_path / "a"))
    b = train_sft(many, rows_of(many), SFTConfig(**config, micro_batches=parts), stage(tmp_path / "b"))
    assert a.steps == b.steps == 2
    for x, y in zip(
        read_metrics(tmp_path / "a/metrics.jsonl"), read_metrics(tmp_path / "b/metrics.jsonl"), strict=True
    ):
        assert x.keys() == y.keys()
        for name in x:
            assert x[name] == pytest.approx(y[name], rel=2e-4), name


def test_the_loss_is_the_mean_over_the_tokens_of_the_step(tmp_path: Path) -> None:
    policy = tiny_policy()
    rows = rows_of(policy, 10)
    with torch.no_grad():
        total, tokens = 0.0, 0
        for row in rows:
            ids, mask = torch.tensor([row.input_ids]), torch.tensor([row.loss_mask])
            total -= float(policy.logprobs(ids, torch.ones_like(ids), mask).logprobs.sum())
            tokens += row.trained_tokens
    train_sft(policy, rows, SFTConfig(epochs=1, batch_size=10, micro_batches=3), stage(tmp_path))
    (first,) = read_metrics(tmp_path / "metrics.jsonl")
    assert first["sft/loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert first["sft/tokens"] == tokens


def test_the_schedule_shows_every_row_once_an_epoch_and_normalises_over_the_step() -> None:
    policy = tiny_policy()
    rows = rows_of(policy)
    schedule = SFTSchedule(rows, SFTConfig(epochs=2, batch_size=8, micro_batches=3), policy.pad_id, seed=1)
    assert (schedule.steps, len(schedule)) == (6, 18)
    for epoch in range(2):
        seen = [row.trajectory for step in range(3) for row in schedule.step_rows(3 * epoch + step)]
        assert sorted(seen) == list(range(24))
    assert schedule.step_rows(0) != schedule.step_rows(3)
    for step in range(6):
        parts = [schedule[3 * step + k] for k in range(3)]
        assert {part.tokens for part in parts} == {sum(int(part.batch.loss_mask.sum()) for part in parts)}
    ranks = [SFTSchedule(rows, SFTConfig(batch_size=8), policy.pad_id, 1, Ranks(rank, 2))[0] for rank in (0, 1)]
    assert ranks[0].tokens == ranks[1].tokens == sum(int(rank.batch.loss_mask.sum()) for rank in ranks)


class Stopping(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, dropout=0.3)])
def test_a_stage_killed_between_resume_points_goes_on_bit_by_bit(tmp_path: Path, lora: LoraConfig | None) -> None:
    config = SFTConfig(epochs=4, batch_size=12, micro_batches=2, lr=2e-3, checkpoint_every=3)
    whole = tiny_policy(lora=lora)
    train_sft(whole, rows_of(whole), config, stage(tmp_path / "whole"))

    def kill(step: int, _: object) -> None:
        if step == 5:
            raise Stopping

    first = tiny_policy(lora=lora)
    with pytest.raises(Stopping):
        train_sft(first, rows_of(first), config, stage(tmp_path / "cut", on_metrics=kill))
    again = tiny_policy(lora=lora)
    result = train_sft(again, rows_of(again), config, stage(tmp_path / "cut"))
    assert result.resumed_from == 3
    assert read_metrics(tmp_path / "cut/metrics.jsonl") == read_metrics(tmp_path / "whole/metrics.jsonl")
    assert same_weights(weights(again), weights(whole))


def test_sigterm_saves_at_the_step_and_the_same_call_goes_on(tmp_path: Path) -> None:
    import os
    import signal

    config = SFTConfig(epochs=4, batch_size=12, checkpoint_every=0)
    whole = tiny_policy()
    train_sft(whole, rows_of(whole), config, stage(tmp_path / "whole"))
    before = signal.getsignal(signal.SIGTERM)
    cut = tiny_policy()

    def term(step: int, _: object) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StageInterrupted, match="after step 3"):
        train_sft(cut, rows_of(cut), config, stage(tmp_path / "cut", on_metrics=term))
    assert signal.getsignal(signal.SIGTERM) == before
    again = tiny_policy()
    assert train_sft(again, rows_of(again), config, stage(tmp_path / "cut")).resumed_from == 3
    assert same_weights(weights(again), weights(whole))
    assert timeless(read_metrics(tmp_path / "cut/metrics.jsonl")) == read_metrics(tmp_path / "whole/metrics.jsonl")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_learns_too(tmp_path: Path, precision: str) -> None:
    policy = tiny_policy(dtype="bfloat16" if precision == "bf16-true" else "float32")
    losses: list[float] = []
    run = stage(tmp_path, precision=precision, on_metrics=lambda _, metrics: losses.append(metrics["sft/loss"]))
    train_sft(policy, rows_of(policy), SFTConfig(epochs=6, batch_size=12, lr=5e-3, warmup=0.0), run)
    assert losses[-1] < losses[0] / 2


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="demonstrations are empty"):
        train_sft(tiny_policy(), [], SFTConfig(), stage(tmp_path))


def test_learning_rate_warms_up_and_falls(tmp_path: Path) -> None:
    policy = tiny_policy()
    train_sft(policy, rows_of(policy), SFTConfig(epochs=10, batch_size=12, lr=1e-3, warmup=0.2), stage(tmp_path))
    lr = [row["sft/lr"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert lr[0] == pytest.approx(2.5e-4)
    assert max(lr) == lr[4] == pytest.approx(1e-3)
    assert lr[-1] == pytest.approx(1e-3 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 15 / 16))))
