"""Values of the peers' own functions (tests/golden/README.md), at 1e-6."""

import json
from pathlib import Path

import pytest
import torch

from crossagent.algorithms import (
    KL,
    aggregate,
    clipped_loss,
    discounted_returns,
    gigpo_advantages,
    group_advantages,
    ratio,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "grpo.json").read_text())
ADV = GOLDEN["advantages"]


def close(actual: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=0, atol=1e-6)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(GOLDEN["inputs"]["rewards"]), torch.tensor([ord(g) for g in GOLDEN["inputs"]["group"]])


@pytest.mark.parametrize(
    ("key", "baseline", "scale", "eps"),
    [
        ("group std (ddof 1, eps 1e-6) = verl = SkyRL = NeMo-RL without leave-one-out", "mean", "group", 1e-6),
        ("no std (Dr.GRPO)", "mean", "none", 1e-6),
        ("leave-one-out baseline (RLOO) = verl = SkyRL = rLLM", "leave-one-out", "none", 1e-6),
        ("for contrast: TRL (ddof 1, eps 1e-4)", "mean", "group", 1e-4),
        ("batch std (TRL, eps 1e-4)", "mean", "batch", 1e-4),
    ],
)
def test_advantages_equal_the_peers(key: str, baseline: str, scale: str, eps: float) -> None:
    returns, group = inputs()
    close(group_advantages(returns, group, baseline=baseline, scale=scale, eps=eps), ADV[key])


def test_gigpo_equals_verl_agent_with_the_baseline_over_trajectories() -> None:
    golden = GOLDEN["gigpo"]
    rows = golden["rows(group,traj,anchor,step_reward,episode_reward)"]
    trajectory = torch.tensor([int(r[1][1:]) for r in rows])
    anchor = torch.tensor([int(r[2][1:]) for r in rows])
    rewards = torch.tensor([r[3] for r in rows])
    per_trajectory = {int(r[1][1:]): (r[4], int(r[0][1:])) for r in rows}
    returns = torch.tensor([per_trajectory[t][0] for t in range(4)])
    group = torch.tensor([per_trajectory[t][1] for t in range(4)])
    close(discounted_returns(rewards, trajectory, 0.95), golden["discounted_step_returns"])
    args = (returns, group, rewards, trajectory, anchor)
    episode = gigpo_advantages(*args, gamma=0.95, step_weight=0.0)
    both = gigpo_advantages(*args, gamma=0.95, step_weight=1.0)
    close(episode, golden[next(k for k in golden if k.startswith("episode part"))])
    close(both - episode, golden["step part mean_norm"])


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_kl_estimates_equal_the_peers(name: str) -> None:
    given = GOLDEN["loss_inputs"]
    close(KL[name](torch.tensor(given["new"]), torch.tensor(given["ref"])), GOLDEN["kl"][name])


@pytest.mark.parametrize(
    ("key", "how"),
    [
        ("token-mean = TRL dapo = TRL bnpo", "token-mean"),
        ("seq-mean-token-mean = TRL grpo", "seq-mean-token-mean"),
        ("seq-mean-token-sum-norm, L = 4 = TRL dr_grpo", "seq-mean-token-sum-norm"),
    ],
)
def test_clipped_loss_and_its_gradient_equal_trl(key: str, how: str) -> None:
    given = GOLDEN["loss_inputs"]
    shape = tuple(given["shape"])
    new = torch.tensor(given["new"], requires_grad=True)
    mask = torch.tensor(given["mask"]).bool().reshape(shape)
    rho = ratio(new.reshape(shape), torch.tensor(given["old"]).reshape(shape), mask)
    advantages = torch.tensor(given["adv"])[:, None].expand(shape)
    loss = aggregate(clipped_loss(rho, advantages, clip_low=0.2, clip_high=0.28), mask, how)
    loss.backward()
    golden = GOLDEN["losses (clip 0.2 / 0.28)"][key]
    close(loss.detach(), golden["value"])
    close(new.grad, golden["grad_new"])


def test_aggregations_equal_the_peers() -> None:
    golden = GOLDEN["aggregation of arange(1..8), shape 2x4, same mask"]
    mask = torch.tensor(GOLDEN["loss_inputs"]["mask"]).bool().reshape(2, 4)
    values = torch.arange(1.0, 9.0).reshape(2, 4)
    assert len(golden) == 5
    for how, expected in golden.items():
        close(aggregate(values, mask, how), expected)
