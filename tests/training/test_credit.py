"""What training tells the trajectory store: which tokens train, with what advantage, and both log-probs."""

import math

import pytest
import torch
from training_kit import WordSource, stage, tiny_policy

from crossagent.errors import DataError
from crossagent.rollout.credit import TurnCredit, credit_file, load_credits, save_credits
from crossagent.rollout.store import save_trajectories
from crossagent.training.config import GRPOConfig
from crossagent.training.grpo import train_grpo
from crossagent.training.scoring import credits_of


@pytest.fixture(params=[False, True], ids=["a row a turn", "one row"])
def told(request, tmp_path):
    """What one iteration with a reference reported: (trajectories, credit), and its policy before the update."""
    policy = tiny_policy()
    before = tiny_policy()
    heard = []
    config = GRPOConfig(
        iterations=1, groups=3, group_size=3, kl_coef=0.1, lr=1e-2, concatenate=request.param, drop_all_fail=False
    )
    run = stage(tmp_path, on_credit=lambda step, trajectories, credits: heard.append((step, trajectories, credits)))
    source = WordSource(policy, groups=3, size=3)
    source.fail = {(0, 1, 2)}
    train_grpo(policy, source, config, run)
    ((step, trajectories, credits),) = heard
    assert step == 1
    return trajectories, credits, before


def test_every_trained_token_has_the_numbers_that_its_loss_is_made_of(told):
    trajectories, credits, before = told
    trained = 0
    for trajectory, turns in zip(trajectories, credits, strict=True):
        assert len(turns) == len(trajectory.turns)
        for turn, credit in zip(trajectory.turns, turns, strict=True):
            if math.isnan(credit.advantage):
                assert credit.loss_mask == credit.logprobs == credit.ref_logprobs == ()
                continue
            trained += 1
            assert credit.loss_mask == (True,) * len(turn.response_ids)
            ids = torch.tensor([[*turn.prompt_ids, *turn.response_ids]])
            wanted = torch.zeros_like(ids, dtype=torch.bool)
            wanted[0, len(turn.prompt_ids) :] = True
            with torch.no_grad():
                logprobs = before.logprobs(ids, torch.ones_like(ids), wanted, 1.0).logprobs[0, len(turn.prompt_ids) :]
            assert credit.logprobs == pytest.approx(logprobs.tolist(), abs=1e-4)
            assert credit.ref_logprobs == pytest.approx(credit.logprobs, abs=1e-6), (
                "the reference is the policy of before"
            )
    assert trained
    failed = [c for t, c in zip(trajectories, credits, strict=True) if t.stop_reason == "failure"]
    assert failed
    assert all(math.isnan(turn.advantage) for turns in failed for turn in turns)
    groups = {}
    for trajectory, turns in zip(trajectories, credits, strict=True):
        groups.setdefault(trajectory.group, []).append(turns[0].advantage)
    live = [[a for a in own if not math.isnan(a)] for own in groups.values()]
    assert any(max(own, default=0) > 0 for own in live)
    for own in live:
        assert sum(own) == pytest.approx(0, abs=1e-5), "advantages of a group are centred"


def test_forced_tokens_do_not_train(told):
    from dataclasses import replace

    from crossagent.training.batch import rows_from_trajectories

    (trajectory, *_), _, _ = told
    turn = replace(trajectory.turns[0], forced=1)
    forced = replace(trajectory, turns=(turn,))
    rows = rows_from_trajectories([forced], [[0.5]])
    ((credit,),) = credits_of([forced], [[0.5]], rows, [[-1.0] * len(rows[0])], None)
    n = len(turn.response_ids)
    assert credit == TurnCredit(0.5, (False,) + (True,) * (n - 1), (0.0,) + (-1.0,) * (n - 1), ())


def test_what_is_saved_is_what_is_loaded(told, tmp_path):
    trajectories, credits, _ = told
    path = credit_file(tmp_path / "t", 7)
    assert path.name == "credit-000007.parquet"
    save_credits(path, trajectories, credits, {"step": 7})
    loaded = load_credits(path)
    assert list(loaded) == [(t.group, t.member) for t in trajectories]
    for before, after in zip(credits, loaded.values(), strict=True):
        for one, other in zip(before, after, strict=True):
            assert one.loss_mask == other.loss_mask
            assert other.logprobs == pytest.approx(one.logprobs, abs=1e-6)
            assert other.ref_logprobs == pytest.approx(one.ref_logprobs, abs=1e-6)
            assert other.advantage == pytest.approx(one.advantage, nan_ok=True)
    save_trajectories(path, trajectories)
    with pytest.raises(DataError, match="holds trajectories; expected credit"):
        load_credits(path)
