import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_kit import WordSource, same_weights, stage, timeless, tiny_policy, weights

from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.config import LoraConfig
from crossagent.policy.model import Policy, make_reference
from crossagent.policy.token_sets import token_set
from crossagent.sampling.base import choose, uniforms
from crossagent.training.batch import rows_from_trajectories
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig, SFTConfig
from crossagent.training.grpo import GRPOModule, train_grpo
from crossagent.training.metrics import CollapseWatch, space_metrics
from crossagent.training.sft import train_sft
from crossagent.training.sources import Rollouts, live_trajectories, turn_rewards
from crossagent.training.update_stats import UpdateStats
from crossagent.types import StopReason, Trajectory, Turn

SMALL = GRPOConfig(iterations=2, groups=4, group_size=4, lr=1e-3, micro_batch_tokens=40, logprob_batch_tokens=300)
AGGREGATIONS = [
    "token-mean",
    "seq-mean-token-mean",
    "seq-mean-token-sum-norm",
    "seq-mean-token-sum",
    "seq-mean-turn-mean",
]


class Killed(Exception):
    """Stands for kill −9."""


def moved(policy: Policy, by: float = 0.02) -> Policy:
    """Shift the weights a little, so that ratios are not 1."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += by * torch.randn(parameter.shape, generator=generator)
    return policy


def gradient(config: GRPOConfig, played: Rollouts, shift: float = 0.02) -> tuple[list[torch.Tensor], UpdateStats]:
    """The gradient of one mini-batch that holds everything, by the module's own path."""
    policy = tiny_policy()
    module = GRPOModule(policy, WordSource(policy), config)
    rows = rows_from_trajectories(
        played.trajectories, concatenate=config.concatenate, train=live_trajectories(played, config)
    )
    scored = module.score(rows)
    advantages = module.advantages(played, scored)
    scored.rows = rows_from_trajectories(
        played.trajectories, advantages, concatenate=config.concatenate, train=live_trajectories(played, config)
    )
    moved(policy, shift)
    totals = UpdateStats()
    for loss in module.losses(scored, range(len(rows)), totals, True):
        loss.backward()
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None], totals


def close(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    scale = max(float(x.abs().max()) for x in a)
    assert scale > 1e-5
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=2e-5 * scale)


@pytest.fixture(scope="module")
def played() -> Rollouts:
    return WordSource(tiny_policy()).play(0)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("more", [{}, {"ratio": "sequence", "importance": "truncate"}])
def test_gradient_does_not_depend_on_micro_batches_or_on_turns_sharing_rows(
    played: Rollouts, aggregation: str, more: dict
) -> None:
    config = replace(SMALL, aggregation=aggregation, entropy_coef=0.01, **more)
    whole, _ = gradient(replace(config, micro_batch_tokens=100_000), played)
    close(whole, gradient(replace(config, micro_batch_tokens=1), played)[0])
    close(whole, gradient(replace(config, micro_batch_tokens=60, concatenate=True), played)[0])


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("concatenate", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"lora": LoraConfig(r=4, dropout=0.5)}, {"gradient_checkpointing": True}],
    ids=["full", "lora-dropout", "checkpointing"],
)
def test_ratio_is_one_on_the_first_pass(tmp_path: Path, temperature: float, concatenate: bool, options: dict) -> None:
    policy = tiny_policy(**options)
    source = WordSource(policy, temperature=temperature)
    config = replace(SMALL, temperature=temperature, concatenate=concatenate, drop_all_fail=False)
    train_grpo(policy, source, config, stage(tmp_path))
    for row in read_metrics(tmp_path / "metrics.jsonl"):
        assert row["train/optimizer_steps"] == 2
        assert row["train/ratio_first_deviation"] < 1e-6
        assert row["train/sampler_gap_max"] <= 1e-4
        assert row["train/ratio_max"] > 1 + 1e-5  # the second step is not the first


@pytest.mark.parametrize("minibatches", [1, 2])
def test_old_logprobs_of_the_first_step_can_be_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minibatches: int
) -> None:
    """Two epochs: in the second they are what they were in the first, not those of then."""
    logprobs = Policy.logprobs
    ends, rows, credits = {}, {}, {}
    for old_logprobs in ("recompute", "reuse"):
        policy = tiny_policy()
        asked: list[tuple[bool, int]] = []

        def counted(self, ids, *more, policy=policy, asked=asked, **named):
            if self is policy:
                asked.append((torch.is_grad_enabled(), len(ids)))
            return logprobs(self, ids, *more, **named)

        monkeypatch.setattr(Policy, "logprobs", counted)
        config = replace(
            SMALL,
            iterations=1,
            minibatches=minibatches,
            epochs=2,
            old_logprobs=old_logprobs,
            drop_all_fail=False,
            kl_coef=0.1,
        )
        seen = credits.setdefault(old_logprobs, [])
        run = stage(tmp_path / old_logprobs, on_credit=lambda *said, seen=seen: seen.append(said[2]))
        train_grpo(policy, WordSource(policy), config, run)
        (rows[old_logprobs],) = read_metrics(tmp_path / old_logprobs / "metrics.jsonl")
        ends[old_logprobs] = weights(policy)
        frozen, trained = (sum(n for graph, n in asked if graph is kind) for kind in (False, True))
        share = 1 if old_logprobs == "recompute" else 1 - 1 / minibatches
        assert frozen == pytest.approx(share * trained / 2), "rows of an epoch"
    assert rows["reuse"]["train/ratio_first_deviation"] == 0.0 < rows["reuse"]["train/ratio_max"] - 1
    for name in (
        "train/loss",
        "train/kl",
        "train/kl_old",
        "train/entropy",
        "train/sampler_gap_mean",
        "train/ratio_max",
    ):
        assert rows["reuse"][name] == pytest.approx(rows["recompute"][name], abs=1e-5), name
    for name, value in ends["reuse"].items():
        torch.testing.assert_close(value, ends["recompute"][name], atol=1e-4, rtol=0)
    for one, other in zip(credits["reuse"][0], credits["recompute"][0], strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert len(mine.logprobs) == len(theirs.logprobs)
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)
    assert any(turn.logprobs for own in credits["reuse"][0] for turn in own)


def test_the_reference_is_not_asked_while_it_is_the_policy(tmp_path: Path) -> None:
    policy = tiny_policy()
    module = GRPOModule(policy, WordSource(policy), replace(SMALL, kl_coef=0.1))
    module._reference = [make_reference(policy)]
    rows = rows_from_trajectories(module.source.play(0).trajectories)
    asked = module.score(rows)
    module._reference[0].logprobs = None  # whoever asks fails
    module._at_reference = True
    known = module.score(rows)
    for one, other in zip(known.ref, asked.ref, strict=True):
        assert torch.equal(one, other), "the same bits"

    calls = []
    score = GRPOModule.score

    def watched(self, *said):
        calls.append(self._at_reference)
        return score(self, *said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GRPOModule, "score", watched)
        train_grpo(policy, WordSource(policy), replace(SMALL, kl_coef=0.1, drop_all_fail=False), stage(tmp_path))
    assert calls == [True, False], "until the first optimiser step"


class Constrained:
    """A sampler that may draw only some ids at each position: those of one remainder by 3, and the end of turn."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def allowed(self, position: int) -> tuple[int, ...]:
        ids = range(position % 3, len(self.policy.tokenizer), 3)
        return tuple(sorted({*ids, self.policy.eot_id}))

    @torch.no_grad()
    def sample(self, requests: list[SampleRequest], params: SamplingParams) -> list[Sample]:
        samples = []
        for request in requests:
            ids, logprobs = list(request.prompt_ids), []
            for position in range(params.max_new_tokens):
                logits = self.policy.model(torch.tensor([ids])).logits[:, -1]
                only = torch.full_like(logits, -torch.inf)
                only[:, list(self.allowed(position))] = logits[:, list(self.allowed(position))]
                u = torch.from_numpy(uniforms(np.array([request.seed]), np.array([position])))
                chosen, logprob = choose(only, u, params.temperature)
                ids.append(int(chosen))
                logprobs.append(float(logprob))
                if ids[-1] == self.policy.eot_id:
                    break
            response = tuple(ids[len(request.prompt_ids) :])
            ended = response[-1] == self.policy.eot_id
            samples.append(Sample(response, tuple(logprobs), "stop" if ended else "length"))
        return samples


class ConstrainedSource(WordSource):
    """Stores with each turn what could be drawn."""

    told = True

    def __init__(self, policy: Policy, temperature: float) -> None:
        super().__init__(policy, temperature=temperature)
        self.sampler = Constrained(policy)  # type: ignore[assignment]

    def play(self, iteration: int) -> Rollouts:
        played = super().play(iteration)
        if not self.told:
            return played

        policy = self.sampler.policy  # type: ignore[attr-defined]

        def marked(turn: Turn) -> Turn:
            return replace(
                turn,
                allowed=tuple(
                    token_set(self.sampler.allowed(k), len(policy.tokenizer)) for k in range(len(turn.response_ids))
                ),
            )  # type: ignore[attr-defined]

        trajectories = (replace(t, turns=tuple(map(marked, t.turns))) for t in played.trajectories)
        return replace(played, trajectories=tuple(trajectories))


@pytest.mark.parametrize("concatenate", [False, True])
def test_ratio_is_one_under_constrained_decoding(tmp_path: Path, concatenate: bool) -> None:
    """The set of ids that could be drawn goes with the turn into every pass: old, new and reference."""
    policy = tiny_policy()
    config = replace(SMALL, temperature=0.7, concatenate=concatenate, drop_all_fail=False, kl_coef=0.1, minibatches=1)
    train_grpo(policy, ConstrainedSource(policy, 0.7), config, stage(tmp_path / "told"))
    rows = read_metrics(tmp_path / "told/metrics.jsonl")
    for row in rows:
        assert row["train/ratio_first_deviation"] < 1e-6
        assert row["train/sampler_gap_max"] <= 1e-4
        assert row["train/entropy"] < math.log(len(policy.tokenizer) / 3 + 1), "of what could be drawn"
    assert rows[0]["train/kl"] < 1e-9
    policy = tiny_policy()
    source = ConstrainedSource(policy, 0.7)
    source.told = False
    train_grpo(policy, source, config, stage(tmp_path / "untold"))
    assert read_metrics(tmp_path / "untold/metrics.jsonl")[0]["train/sampler_gap_max"] > 0.5, "else the log shows it"


def test_temperature_divides_the_logits_of_the_old_pass(tmp_path: Path) -> None:
    policy = tiny_policy()
    config = replace(SMALL, iterations=1, temperature=1.0, drop_all_fail=False)
    train_grpo(policy, WordSource(policy, temperature=0.7), config, stage(tmp_path))
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    assert row["train/sampler_gap_max"] > 0.01  # sampled at 0.7, trained at 1: the log shows it


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_reinforces_too(tmp_path: Path, precision: str) -> None:
    policy = tiny_policy(dtype="bfloat16" if precision == "bf16-true" else "float32")
    train_grpo(policy, WordSource(policy), replace(SMALL, kl_coef=0.1), stage(tmp_path, precision=precision))
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert sum(row["train/optimizer_steps"] for row in rows) > 0
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert max(row.get("train/ratio_first_deviation", 0.0) for row in rows) < 0.05


def test_two_runs_are_bit_identical(tmp_path: Path) -> None:
    ends, logs = [], []
    for name in ("a", "b"):
        policy = tiny_policy()
        train_grpo(policy, WordSource(policy), replace(SMALL, kl_coef=0.1), stage(tmp_path / name))
        ends.append(weights(policy))
        logs.append(timeless(read_metrics(tmp_path / name / "metrics.jsonl")))
    assert same_weights(*ends)
    assert logs[0] == logs[1]
    assert not same_weights(ends[0], weights(tiny_policy()))


@pytest.mark.parametrize("where", ["rollout", "update", "after"])
@pytest.mark.parametrize("lora", [None, LoraConfig(r=4)], ids=["full", "lora"])
def test_a_stage_killed_anywhere_goes_on_bit_by_bit(
    tmp_path: Path, where: str, lora: LoraConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(SMALL, iterations=4, kl_coef=0.1, drop_all_fail=False)
    whole = tiny_policy(lora=lora)
    train_grpo(whole, WordSource(whole), config, stage(tmp_path / "whole"))

    first = tiny_policy(lora=lora)
    source, run = WordSource(first), stage(tmp_path / "cut")
    play, clip = source.play, torch.nn.utils.clip_grad_norm_
    calls: list[int] = []

    def play_and_die(iteration: int) -> Rollouts:
        result = play(iteration)
        if iteration == 2:
            raise Killed
        return result

    def clip_and_die(parameters: object, norm: float) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 6:
            raise Killed
        return clip(parameters, norm)

    def log_and_die(step: int, _: object) -> None:
        if step == 3:
            raise Killed

    with monkeypatch.context() as patch:
        if where == "rollout":
            patch.setattr(source, "play", play_and_die)
        elif where == "update":
            patch.setattr(torch.nn.utils, "clip_grad_norm_", clip_and_die)
        else:
            run = replace(run, on_metrics=log_and_die)
        with pytest.raises(Killed):
            train_grpo(first, source, config, run)
    again = tiny_policy(lora=lora)
    result = train_grpo(again, WordSource(again), config, stage(tmp_path / "cut"))
    assert result.resumed_from == 2
    assert timeless(read_metrics(tmp_path / "cut/metrics.jsonl")) == timeless(
        read_metrics(tmp_path / "whole/metrics.jsonl")
    )
    assert same_weights(weights(again), weights(whole))


def test_a_member_whose_world_broke_is_dropped_and_counted(tmp_path: Path) -> None:
    policy = tiny_policy()
    source = WordSource(policy)
    source.fail = {(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2)}
    config = replace(SMALL, iterations=1, filter_zero_variance=False, drop_all_fail=False)
    train_grpo(policy, source, config, stage(tmp_path))
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    assert row["rollout/dropped"] == 4
    assert row["group/too_small"] == 1  # of group 1 one member is left: no baseline
    assert row["group/trained"] == 3
    assert row["stop/failure"] == 4 / 16
    module = GRPOModule(policy, source, config)
    played = source.play(0)
    advantages = module.advantages(played, module.score([]))
    failed = [t.stop_reason is StopReason.failure for t in played.trajectories]
    alone = [i == 7 for i in range(16)]  # the member left of group 1 trains nothing
    assert [math.isnan(a[0]) for a in advantages] == [f or a for f, a in zip(failed, alone, strict=True)]


def test_groups_that_cannot_teach_make_no_step_and_leave_the_policy_alone(tmp_path: Path) -> None:
    class Failing(WordSource):
        def play(self, iteration: int) -> Rollouts:
            played = super().play(iteration)
            return replace(played, trajectories=tuple(replace(t, success=False) for t in played.trajectories))

    policy = tiny_policy()
    before = weights(policy)
    result = train_grpo(policy, Failing(policy), replace(SMALL, weight_decay=0.1), stage(tmp_path))
    assert result.steps == 0
    assert same_weights(before, weights(policy))
    assert result.metrics["group/all_fail"] == 1
    assert result.metrics["train/optimizer_steps"] == 0


def test_number_of_steps_does_not_depend_on_turns_and_no_trajectory_is_split(played: Rollouts) -> None:
    policy = tiny_policy()
    module = GRPOModule(policy, WordSource(policy), replace(SMALL, minibatches=3), seed=1)
    for concatenate in (False, True):
        rows = rows_from_trajectories(played.trajectories, concatenate=concatenate)
        parts = module.minibatches(rows, 0, 0)
        assert len(parts) == 3
        assert sorted(i for part in parts for i in part) == list(range(len(rows)))
        owners = [{rows[i].trajectory for i in part} for part in parts]
        assert sum(map(len, owners)) == 16
    assert module.minibatches(rows, 0, 0) == parts
    assert module.minibatches(rows, 1, 0) != parts


def test_reward_is_success_minus_weighted_cost_minus_penalties() -> None:
    turn = Turn((1,), (2,), (0.0,), space="a", cost=3.0)
    turns = (turn, replace(turn, invalid="no", cost=0.0), replace(turn, space="b", cost=5.0))
    trajectory = Trajectory("t", "c", "", 0, 0, 0, turns, StopReason.terminated, True)
    rewards = turn_rewards(trajectory, {"a": 0.01, "b": 0.02}, 0.1)
    assert rewards == pytest.approx((-0.03, -0.1, 0.9))
    assert sum(rewards) == pytest.approx(1 - trajectory.weighted_cost({"a": 0.01, "b": 0.02}) - 0.1)
    assert turn_rewards(replace(trajectory, turns=(), success=True), {}, 0.1) == ()


def test_members_of_a_group_must_start_from_one_state(played: Rollouts) -> None:
    other = replace(played.trajectories[1], state_hash="elsewhere")
    with pytest.raises(ValueError, match="2 different states"):
        replace(played, trajectories=(played.trajectories[0], other, *played.trajectories[2:]))


def test_kl_in_the_reward_is_taken_off_the_return_and_not_added_to_the_loss(played: Rollouts) -> None:
    policy = tiny_policy()
    config = replace(SMALL, kl_coef=0.5, kl="k1", kl_in="reward", drop_all_fail=False)
    module = GRPOModule(policy, WordSource(policy), config)
    module._reference = [make_reference(policy)]
    moved(policy, 0.05)
    rows = rows_from_trajectories(played.trajectories)
    scored = module.score(rows)
    got = module.advantages(played, scored)
    returns = torch.tensor(played.returns)
    for row, old, ref in zip(rows, scored.old, scored.ref, strict=True):
        returns[row.trajectory] -= 0.5 * float((old - ref)[torch.tensor(row.loss_mask)].sum())
    for group in range(4):
        members = [i for i, t in enumerate(played.trajectories) if t.group == group]
        expected = returns[members] - returns[members].mean()
        assert [got[i][0] for i in members] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("estimator", ["group", "gigpo"])
def test_groups_are_told_by_their_id_wherever_members_stand_and_however_many_there_are(
    played: Rollouts, estimator: str
) -> None:
    """Turns, too, of unequal number: members of group 0 lose their second turn, one of group 1 is gone."""
    policy = tiny_policy()
    config = replace(SMALL, estimator=estimator, drop_all_fail=False, filter_zero_variance=False)
    module = GRPOModule(policy, WordSource(policy), config)

    def credit(order: list[int]) -> dict[tuple[int, int], list[float]]:
        members = [played.trajectories[i] for i in order]
        short = [replace(t, turns=t.turns[: 1 + (t.group != 0)]) for t in members]
        rewards = [turn_rewards(t, WordSource.weights, 0.1) for t in short]
        given = Rollouts(tuple(short), tuple(rewards))
        advantages = module.advantages(given, module.score([]))
        return {(t.group, t.member): a for t, a in zip(short, advantages, strict=True)}

    order = [i for i in range(16) if i != 5]
    expected, shuffled = credit(order), credit(order[::-2] + order[-2::-2])
    assert {k: pytest.approx(v, abs=1e-6) for k, v in expected.items()} == shuffled
    if estimator == "group":
        for group in range(4):
            assert sum(a[0] for (g, _), a in expected.items() if g == group) == pytest.approx(0, abs=1e-5)
        assert any(abs(a[0]) > 0.1 for a in expected.values())


def test_gigpo_credits_turns_in_the_same_state(played: Rollouts) -> None:
    policy = tiny_policy()
    module = GRPOModule(policy, WordSource(policy), replace(SMALL, estimator="gigpo", gigpo_gamma=1.0))
    got = module.advantages(played, module.score([]))
    # With gamma 1 the return from turn 0 on is the whole return: both parts of its advantage are equal.
    plain = GRPOModule(policy, WordSource(policy), SMALL).advantages(played, module.score([]))
    assert [a[0] for a in got] == pytest.approx([2 * a[0] for a in plain], abs=1e-6)
    assert any(a[0] != pytest.approx(a[1]) for a in got)


def test_turns_of_an_unknown_state_are_compared_with_nothing(played: Rollouts) -> None:
    blind = [replace(t, turns=tuple(replace(turn, anchor_key="") for turn in t.turns)) for t in played.trajectories]
    policy = tiny_policy()
    module = GRPOModule(policy, WordSource(policy), replace(SMALL, estimator="gigpo"))
    got = module.advantages(Rollouts(tuple(blind), played.rewards), module.score([]))
    plain = GRPOModule(policy, WordSource(policy), SMALL).advantages(played, module.score([]))
    for one, other in zip(got, plain, strict=True):
        assert one == pytest.approx(other, abs=1e-6, nan_ok=True)


def test_a_reference_is_the_policy_the_stage_began_with(tmp_path: Path) -> None:
    policy = tiny_policy()
    config = replace(SMALL, iterations=3, kl_coef=0.01, drop_all_fail=False)
    train_grpo(policy, WordSource(policy), config, stage(tmp_path))
    kl = [row["train/kl"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert kl[0] < kl[1] < kl[2]
    assert kl[0] < 1e-2


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, dropout=0.2)], ids=["full", "lora"])
def test_each_stage_refers_to_the_policy_it_began_with_and_not_to_the_bare_base(
    tmp_path: Path, lora: LoraConfig | None
) -> None:
    """SFT → STRL → MTRL through checkpoints: the KL of a stage's first pass is 0, whatever trained before (trl#3194)."""
    policy = tiny_policy(lora=lora)
    rows = rows_from_trajectories(WordSource(policy, groups=6).play(0).trajectories)
    path = train_sft(policy, rows, SFTConfig(epochs=3, batch_size=24, lr=2e-2), stage(tmp_path / "sft")).checkpoint
    config = replace(SMALL, iterations=2, minibatches=1, kl_coef=0.1, drop_all_fail=False, lr=1e-2)
    for name in ("strl", "mtrl"):
        policy = Policy.load(path)
        began = weights(policy)
        path = train_grpo(policy, WordSource(policy), config, stage(tmp_path / name)).checkpoint
        kl = [row["train/kl"] for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        assert kl[0] < 1e-9
        assert kl[1] > 1e-4
        frozen = [n for n, p in policy.named_parameters() if not p.requires_grad]
        assert all(torch.equal(began[n], weights(policy)[n]) for n in frozen)
        assert bool(frozen) == (lora is not None)
        assert not same_weights(began, weights(policy))
    if lora is not None:
        ids = torch.tensor([rows[0].input_ids])
        mask = torch.tensor([rows[0].loss_mask])
        now = policy.logprobs(ids, torch.ones_like(ids), mask).logprobs
        with policy.model.disable_adapter():  # type: ignore[operator]
            bare = policy.logprobs(ids, torch.ones_like(ids), mask).logprobs
        assert float((now - bare).abs().max()) > 0.1, "adapters off is another policy"


def test_the_best_evaluated_policy_is_kept(tmp_path: Path) -> None:
    policy = tiny_policy()
    seen: dict[int, dict[str, torch.Tensor]] = {}
    values = {0: 0.1, 1: 0.5, 2: 0.9, 3: 0.2}

    def evaluate(iteration: int) -> float:
        seen[iteration] = weights(policy)
        return values[iteration]

    config = replace(SMALL, iterations=3, evaluate_every=1, keep="best", drop_all_fail=False)
    result = train_grpo(policy, WordSource(policy), config, stage(tmp_path, evaluate=evaluate))
    assert sorted(seen) == [0, 1, 2, 3]
    assert same_weights(weights(policy), seen[2])
    assert not same_weights(seen[2], seen[3])
    assert same_weights(weights(Policy.load(result.checkpoint)), seen[2])
    assert result.metrics["eval/value"] == 0.2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "metrics.jsonl"]


def test_it_learns_the_scripted_task(tmp_path: Path) -> None:
    """Chance is 1/3; no demonstrations."""
    policy = tiny_policy()
    config = replace(SMALL, iterations=80, groups=10, group_size=8, lr=2e-3, micro_batch_tokens=8000)
    train_grpo(policy, WordSource(policy, groups=10, size=8), config, stage(tmp_path))
    success = [row["rollout/success"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert sum(success[:5]) / 5 < 0.45
    assert sum(success[-5:]) / 5 > 0.6


def test_space_metrics_count_turns_users_and_validity() -> None:
    a = Turn((1,), (2,), (0.0,), space="a", cost=2.0)
    bad = replace(a, space="b", invalid="no", cost=0.0)
    one = Trajectory("t", "c", "", 0, 0, 0, (a, a, bad), StopReason.terminated, True)
    two = replace(one, turns=(a,), success=False, member=1)
    got = space_metrics([one, two], [[0.5] * 3, [-0.5]], ("a", "b", "c"))
    assert got["space/a/share"] == 0.75
    assert got["space/a/success"] == 0.5
    assert got["space/a/advantage"] == pytest.approx(0.5 / 3)
    assert (got["space/b/valid"], got["space/b/success"], got["space/c/share"]) == (0.0, 1.0, 0.0)
    assert "space/c/success" not in got


def test_collapse_is_said_once() -> None:
    watch = CollapseWatch()
    assert watch.look(1, {"space/a/share": 0.5, "space/b/share": 0.0, "train/entropy": 2.0}) == []
    warnings = watch.look(2, {"space/a/share": 0.0, "space/b/share": 0.0, "train/entropy": 0.05})
    assert len(warnings) == 2
    assert "nobody used space 'a'" in warnings[0]
    assert "entropy fell from 2 to 0.05" in warnings[1]
    assert watch.look(3, {"space/a/share": 0.0, "train/entropy": 0.05}) == []


def test_a_trajectory_without_turns_is_dropped() -> None:
    empty = Trajectory("t", "c", "", 0, 0, 0, (), StopReason.cut, False)
    assert math.isnan(Rollouts((empty,), ((),)).returns[0])
