"""E[estimator] against the true gradient, with every group of G trajectories enumerated: no sampling error at all.

The MDP: decision k ends the episode with probability σ(−θ_k) and return R_k; going on after the third gives R_3.
A decision is one token, so a trajectory has 1 to 3 tokens. The estimator is the code under test, end to end:
group_advantages → ratio → clipped_loss → aggregate → autograd.
"""

import itertools
import json
from pathlib import Path

import pytest
import torch

from crossagent.algorithms import aggregate, clipped_loss, group_advantages, ratio

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "enumeration.json").read_text())
MDPS = [
    (GOLDEN["theta"], GOLDEN["R"], 3),
    ([-0.7, 0.2, 0.9], [0.0, 1.0, 0.3, 0.6], 3),
    ([0.1, 0.5, -0.2], [0.5, 0.0, 0.0, 1.0], 2),
    ([0.4, 0.4, -0.9], [0.1, 0.9, 0.2, 0.0], 4),
]


def token_logprobs(theta: torch.Tensor) -> torch.Tensor:
    """[4 trajectories, 3 tokens]; 0 where the trajectory has ended."""
    go, stop = torch.nn.functional.logsigmoid(theta), torch.nn.functional.logsigmoid(-theta)
    zero = torch.zeros(())
    return torch.stack(
        [
            torch.stack([stop[0], zero, zero]),
            torch.stack([go[0], stop[1], zero]),
            torch.stack([go[0], go[1], stop[2]]),
            torch.stack([go[0], go[1], go[2]]),
        ]
    )


MASK = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]).bool()


def true_gradient(theta: list[float], returns: list[float]) -> tuple[torch.Tensor, float]:
    parameter = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    value = (token_logprobs(parameter).sum(1).exp() * torch.tensor(returns, dtype=torch.float64)).sum()
    value.backward()
    return parameter.grad, float(value.detach())


def expected_gradient(
    theta: list[float], returns: list[float], members: int, baseline: str, scale: str, how: str
) -> torch.Tensor:
    parameter = torch.tensor(theta, requires_grad=True)
    total = torch.zeros(3, dtype=torch.float64)
    for choice in itertools.product(range(4), repeat=members):
        index = torch.tensor(choice)
        logprobs = token_logprobs(parameter)[index]
        probability = float(logprobs.detach().double().sum().exp())
        advantages = group_advantages(
            torch.tensor(returns)[index], torch.zeros(members, dtype=torch.int64), baseline=baseline, scale=scale
        )
        rho = ratio(logprobs, logprobs.detach(), MASK[index])
        loss = aggregate(clipped_loss(rho, advantages[:, None].expand_as(rho)), MASK[index], how)
        (gradient,) = torch.autograd.grad(-loss, parameter)
        total += probability * gradient.double()
    return total


@pytest.mark.parametrize(("theta", "returns", "members"), MDPS)
@pytest.mark.parametrize(
    ("baseline", "factor"), [("leave-one-out", lambda g: 1.0), ("mean", lambda g: (g - 1) / g), ("none", lambda g: 1.0)]
)
def test_summed_turns_give_the_true_gradient_times_a_known_factor(
    theta: list[float], returns: list[float], members: int, baseline: str, factor: object
) -> None:
    truth, _ = true_gradient(theta, returns)
    got = expected_gradient(theta, returns, members, baseline, "none", "seq-mean-token-sum")
    torch.testing.assert_close(got, factor(members) * truth, rtol=2e-5, atol=2e-7)


def test_the_golden_instance_is_this_mdp() -> None:
    truth, value = true_gradient(GOLDEN["theta"], GOLDEN["R"])
    assert value == pytest.approx(GOLDEN["J"], abs=1e-12)
    torch.testing.assert_close(truth, torch.tensor(GOLDEN["true"], dtype=torch.float64))


@pytest.mark.parametrize(
    ("key", "baseline", "scale", "how"),
    [
        ("reinforce | mean over turns, mean over traj", "none", "none", "seq-mean-token-mean"),
        ("reinforce | token-mean (all turns in group)", "none", "none", "token-mean"),
        ("rloo | mean over turns, mean over traj", "leave-one-out", "none", "seq-mean-token-mean"),
        ("rloo | token-mean (all turns in group)", "leave-one-out", "none", "token-mean"),
        ("mean (Dr.GRPO) | mean over turns, mean over traj", "mean", "none", "seq-mean-token-mean"),
        ("mean/std (GRPO) | sum over turns / G", "mean", "group", "seq-mean-token-sum"),
        ("mean/std (GRPO) | mean over turns, mean over traj", "mean", "group", "seq-mean-token-mean"),
        ("mean/std (GRPO) | token-mean (all turns in group)", "mean", "group", "token-mean"),
    ],
)
def test_biased_estimators_have_exactly_their_documented_bias(key: str, baseline: str, scale: str, how: str) -> None:
    truth = torch.tensor(GOLDEN["true"], dtype=torch.float64)
    got = expected_gradient(GOLDEN["theta"], GOLDEN["R"], GOLDEN["G"], baseline, scale, how)
    golden = GOLDEN["results"][key]
    assert float(torch.cosine_similarity(got, truth, dim=0)) == pytest.approx(golden["cos"], abs=2e-5)
    assert (got / truth).tolist() == pytest.approx(golden["ratio"], abs=3e-4)
