"""Options of GRPO that choose algorithms, from the configuration to what trains."""

import math
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import WordSource, stage, tiny_policy

from crossagent import import_path
from crossagent.algorithms import ADVANTAGES, LOSSES, clipped_loss, trajectory_advantages
from crossagent.errors import CrossAgentError, RecipeError
from crossagent.import_path import ESTIMATOR, LOSS, find_function
from crossagent.policy.model import Policy, make_reference
from crossagent.training.batch import rows_from_trajectories
from crossagent.training.callbacks import read_metrics
from crossagent.training.config import ESTIMATORS, GRPOConfig
from crossagent.training.grpo import GRPOModule, train_grpo
from crossagent.training.sources import Rollouts, live_trajectories, trained_trajectories, turn_rewards
from crossagent.training.update_stats import UpdateStats
from crossagent.types import StopReason

SMALL = GRPOConfig(iterations=1, groups=4, group_size=4, lr=1e-3)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny_policy()


@pytest.fixture(scope="module")
def played(policy: Policy) -> Rollouts:
    """Four groups of four; in the last one nobody succeeds, so that it does not train."""
    was = WordSource(policy).play(0)
    trajectories = tuple(replace(t, success=t.success and t.group != 3) for t in was.trajectories)
    rewards = tuple(turn_rewards(t, WordSource.weights, 0.1) for t in trajectories)
    return Rollouts(trajectories, rewards)


@pytest.fixture
def credit(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A user's module: an importable name for the duration of a test."""
    module = types.ModuleType("own_credit")
    monkeypatch.setitem(sys.modules, "own_credit", module)
    return module


def advantages(config: GRPOConfig, policy: Policy, played: Rollouts) -> list[list[float]]:
    module = GRPOModule(policy, WordSource(policy), config)
    return module.advantages(played, module.score([]))


def test_an_estimator_of_the_user_decides_the_advantages(
    credit: types.ModuleType, policy: Policy, played: Rollouts, tmp_path: Path
) -> None:
    seen: dict[str, object] = {}

    def last_turn(returns, group, rewards, trajectory, anchor, **options):
        seen.update(returns=returns, group=group, rewards=rewards, trajectory=trajectory, anchor=anchor, **options)
        return returns[trajectory] * torch.tensor([0.0, 2.0]).repeat(len(returns))

    credit.last_turn = last_turn
    config = replace(SMALL, estimator="own_credit:last_turn", baseline="none", gigpo_gamma=0.5, gigpo_weight=0.25)
    got = advantages(config, policy, played)
    live = live_trajectories(played, config)
    assert live == [t.group != 3 for t in played.trajectories]
    for alive, own, reward in zip(live, got, played.returns, strict=True):
        assert own == [0.0, pytest.approx(2 * reward)] if alive else all(math.isnan(a) for a in own)
    assert {k: seen[k] for k in ("baseline", "scale", "gamma", "step_weight")} == {
        "baseline": "none",
        "scale": "none",
        "gamma": 0.5,
        "step_weight": 0.25,
    }
    assert seen["rewards"].tolist() == pytest.approx([r for own in played.rewards for r in own])
    assert seen["trajectory"].tolist() == [i for i in range(16) for _ in range(2)]
    assert seen["anchor"].tolist() == [0, 1] * 16
    result = train_grpo(tiny_policy(), WordSource(tiny_policy()), config, stage(tmp_path))
    assert result.steps == 2


@pytest.mark.parametrize("value", [torch.zeros(3), [0.0] * 32, None])
def test_an_estimator_that_returns_something_else_is_named(
    credit: types.ModuleType, policy: Policy, played: Rollouts, value: object
) -> None:
    credit.wrong = lambda *_, **__: value
    with pytest.raises(RecipeError, match=r"estimator: 'own_credit:wrong' returned .*; expected a tensor of \(32,\)"):
        advantages(replace(SMALL, estimator="own_credit:wrong"), policy, played)


def test_functions_are_found_by_name_or_path_and_called_as_documented(credit: types.ModuleType) -> None:
    assert tuple(ADVANTAGES) == ESTIMATORS
    for name, function in ADVANTAGES.items():
        assert find_function(name, ADVANTAGES, ESTIMATOR) is function
    for name, function in LOSSES.items():
        assert find_function(name, LOSSES, LOSS) is function
    path = "crossagent.algorithms:trajectory_advantages"
    assert find_function(path, {}, ESTIMATOR) is trajectory_advantages
    assert find_function("crossagent.algorithms:clipped_loss", {}, LOSS) is clipped_loss
    credit.few = lambda returns, group: returns
    credit.number = 3
    for path, says in [
        ("own_credit:few", r"cannot be called as \(returns, group, rewards, trajectory, anchor, \*, baseline"),
        ("own_credit:number", "holds, but not as a function, 'number'"),
        ("own_credit:fwe", "has no function 'fwe'. Did you mean 'few'"),
        ("own_credit:", "expected module:function"),
        (":few", "expected module:function"),
        ("own_credit:few:few", "expected module:function"),
    ]:
        with pytest.raises(RecipeError, match=says):
            find_function(path, {}, ESTIMATOR)


def test_a_module_that_fails_while_it_is_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_credit.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecipeError, match=r"cannot import broken_credit \(RuntimeError: no licence\)"):
        import_path.find_function("broken_credit:estimate", {}, ESTIMATOR)


def test_what_does_not_train_enters_no_statistic_of_the_batch(policy: Policy, played: Rollouts) -> None:
    for scale in ("batch", "whiten"):
        config = replace(SMALL, scale=scale)
        live = live_trajectories(played, config)
        got = advantages(config, policy, played)
        kept = torch.tensor([r for r, alive in zip(played.returns, live, strict=True) if alive])
        group = [t.group for t, alive in zip(played.trajectories, live, strict=True) if alive]
        mean = torch.stack([kept[[i for i, g in enumerate(group) if g == own]].mean() for own in group])
        pool = kept if scale == "batch" else kept - mean
        expected = (kept - mean) / (pool.std() + 1e-6)
        assert [own[0] for own, alive in zip(got, live, strict=True) if alive] == pytest.approx(
            expected.tolist(), abs=1e-5
        )
        everything = torch.tensor(played.returns).std()
        assert abs(float(everything - kept.std())) > 1e-3  # it makes a difference here


def test_overlong_responses_cost_up_to_the_weight_each(policy: Policy, played: Rollouts) -> None:
    trajectory = played.trajectories[0]
    lengths = [7, 10]
    turns = tuple(
        replace(t, response_ids=(1,) * n, sampler_logprobs=(0.0,) * n, invalid="", space="even")
        for t, n in zip(trajectory.turns, lengths, strict=True)
    )
    config = replace(SMALL, max_new_tokens=10, overlong_buffer=4, overlong_weight=0.5)
    long = replace(trajectory, turns=turns, success=False)
    assert turn_rewards(long, {}, 0.1, config.overlong(10)) == pytest.approx((-0.125, -0.5))
    assert turn_rewards(long, {}, 0.1, SMALL.overlong(10)) == (0.0, 0.0)
    assert turn_rewards(replace(long, success=True), {}, 0.1, config.overlong(10)) == pytest.approx((-0.125, 0.5))
    with pytest.raises(RecipeError, match="overlong_buffer: got 11; expected at most 10"):
        replace(config, overlong_buffer=11)


def test_the_overlong_filter_trains_nothing_that_was_cut_and_keeps_it_in_the_baseline(
    policy: Policy, played: Rollouts, tmp_path: Path
) -> None:
    config = replace(SMALL, overlong_filter=True)
    live = live_trajectories(played, SMALL)
    first = live.index(True)
    cut = replace(played.trajectories[first], stop_reason=StopReason.cut)
    shorter = replace(played, trajectories=(*played.trajectories[:first], cut, *played.trajectories[first + 1 :]))
    assert trained_trajectories(shorter, SMALL) == live == live_trajectories(shorter, config)
    assert trained_trajectories(shorter, config) == [a and i != first for i, a in enumerate(live)]
    torch.testing.assert_close(
        torch.tensor(advantages(config, policy, shorter)),
        torch.tensor(advantages(SMALL, policy, played)),
        equal_nan=True,
    )

    class Cutting(WordSource):
        def play(self, iteration: int) -> Rollouts:
            was = super().play(iteration)
            return replace(was, trajectories=tuple(replace(t, stop_reason=StopReason.cut) for t in was.trajectories))

    learner = tiny_policy()
    result = train_grpo(learner, Cutting(learner), config, stage(tmp_path))
    assert result.steps == 0


def test_the_kl_is_to_the_reference_that_was_given(tmp_path: Path) -> None:
    config = replace(SMALL, kl_coef=0.01, drop_all_fail=False)
    other = tiny_policy(seed=1)
    kl = []
    for name, reference in (("start", None), ("other", other)):
        policy = tiny_policy()
        train_grpo(policy, WordSource(policy), config, stage(tmp_path / name), reference=reference)
        kl.append(read_metrics(tmp_path / name / "metrics.jsonl")[0]["train/kl"])
    assert kl[0] < 1e-2 < kl[1]


def test_the_entropy_bonus_is_taken_off_the_loss_and_kl_is_added_to_it(policy: Policy, played: Rollouts) -> None:
    def loss(**options: object) -> tuple[float, float, float]:
        module = GRPOModule(policy, WordSource(policy), replace(SMALL, aggregation="token-mean", **options))
        if module.config.kl_coef:
            module._reference = [make_reference(tiny_policy(seed=1))]
        scored = module.score(rows_from_trajectories(played.trajectories))
        totals = UpdateStats()
        with torch.no_grad():
            value = sum(float(part) for part in module.losses(scored, range(len(scored.rows)), totals, True))
        masks = [torch.tensor(row.loss_mask) for row in scored.rows]
        entropy = torch.cat([own[m] for own, m in zip(scored.entropy, masks, strict=True)]).mean()
        return value, float(entropy), totals.kl / totals.tokens

    plain, entropy, _ = loss()
    assert entropy > 1
    assert loss(entropy_coef=0.5)[0] - plain == pytest.approx(-0.5 * entropy, rel=1e-4)
    with_kl, _, kl = loss(kl_coef=0.5)
    assert kl > 0.1
    assert with_kl - plain == pytest.approx(0.5 * kl, rel=1e-4)


def test_the_corrected_kl_has_the_gradient_of_the_reverse_kl(played: Rollouts) -> None:
    """On the first pass k3 · π/π_old is k3, and its gradient that of k2, which alone is that of the reverse KL."""

    def gradient(**options: object) -> torch.Tensor:
        policy = tiny_policy()
        module = GRPOModule(policy, WordSource(policy), replace(SMALL, kl_coef=1.0, **options))
        module._reference = [make_reference(tiny_policy(seed=1))]
        scored = module.score(rows_from_trajectories(played.trajectories))
        for loss in module.losses(scored, range(len(scored.rows)), UpdateStats(), True):
            loss.backward()
        return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])

    k2, k3, corrected = gradient(kl="k2"), gradient(kl="k3"), gradient(kl="k3", kl_correction=True)
    scale = float(k2.abs().max())
    torch.testing.assert_close(corrected, k2, rtol=1e-3, atol=1e-4 * scale)
    assert float((k3 - k2).abs().max()) > 0.1 * scale


def test_a_loss_scaler_is_refused_before_anything_is_played(policy: Policy) -> None:
    class Scaling:
        world_size = 1
        precision_plugin = types.SimpleNamespace(scaler=object())

    trainer = Scaling()
    module = GRPOModule(policy, WordSource(policy), SMALL)
    module.trainer = trainer  # type: ignore[assignment]
    with pytest.raises(CrossAgentError, match="a loss scaler"):
        module.on_fit_start()
