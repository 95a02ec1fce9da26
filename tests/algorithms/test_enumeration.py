"""E[estimator] against the true gradient, with every group of G trajectories enumerated: no sampling error at all.

The estimator is the code under test, end to end: group_advantages → ratio → clipped_loss → aggregate → autograd, with a
trajectory as one row or with each of its turns as a row of its own.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.nn.functional import logsigmoid

from crossagent.algorithms import aggregate, clipped_loss, group_advantages, ratio

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "enumeration.json").read_text())


@dataclass(frozen=True)
class Mdp:
    """All trajectories of a small decision process."""

    theta: list[float]
    returns: list[float]
    logprobs: Callable[[torch.Tensor], torch.Tensor]
    """θ → [trajectory, turn, token]; 0 where there is no token."""
    mask: torch.Tensor
    """[trajectory, turn, token]"""

    def true_gradient(self) -> tuple[torch.Tensor, float]:
        parameter = torch.tensor(self.theta, dtype=torch.float64, requires_grad=True)
        probability = self.logprobs(parameter).sum((1, 2)).exp()
        assert float(probability.sum().detach()) == pytest.approx(1.0, abs=1e-12)
        value = (probability * torch.tensor(self.returns, dtype=torch.float64)).sum()
        value.backward()
        return parameter.grad, float(value.detach())


def stopping(theta: list[float], returns: list[float]) -> Mdp:
    """Decision k ends the episode with probability σ(−θ_k) and return R_k; going on after the third gives R_3.
    A decision is a turn of one token.
    """

    def logprobs(parameter: torch.Tensor) -> torch.Tensor:
        go, stop, zero = logsigmoid(parameter), logsigmoid(-parameter), torch.zeros((), dtype=parameter.dtype)
        rows = [[stop[0], zero, zero], [go[0], stop[1], zero], [go[0], go[1], stop[2]], [go[0], go[1], go[2]]]
        return torch.stack([torch.stack(row) for row in rows])[:, :, None]

    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]).bool()[:, :, None]
    return Mdp(theta, returns, logprobs, mask)


def two_tokens(theta: list[float], returns: list[float]) -> Mdp:
    """A turn is a binary token, and a second one only after a 1: turns of one or two tokens. A first turn that opens with 0
    ends the episode. Seven trajectories: 0 · 10 0 · 10 10 · 10 11 · 11 0 · 11 10 · 11 11.
    """
    responses = [(0,), (1, 0), (1, 1)]
    episodes = [[responses[0]]] + [[first, second] for first in responses[1:] for second in responses]
    mask = torch.tensor(
        [[[k < len(e) and j < len(e[k]) for j in range(2)] for k in range(2)] for e in episodes], dtype=torch.bool
    )

    def logprobs(parameter: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros((), dtype=parameter.dtype)
        rows = []
        for episode in episodes:
            for k in range(2):
                turn = episode[k] if k < len(episode) else ()
                rows += [logsigmoid((2 * t - 1) * parameter[2 * k + j]) for j, t in enumerate(turn)]
                rows += [zero] * (2 - len(turn))
        return torch.stack(rows).reshape(len(episodes), 2, 2)

    return Mdp(theta, returns, logprobs, mask)


MDPS = {
    "golden": (stopping(GOLDEN["theta"], GOLDEN["R"]), 3),
    "stopping-3": (stopping([-0.7, 0.2, 0.9], [0.0, 1.0, 0.3, 0.6]), 3),
    "stopping-2": (stopping([0.1, 0.5, -0.2], [0.5, 0.0, 0.0, 1.0]), 2),
    "stopping-4": (stopping([0.4, 0.4, -0.9], [0.1, 0.9, 0.2, 0.0]), 4),
    "two-tokens-2": (two_tokens([0.3, -0.5, 0.8, 0.1], [0.2, 0.0, 1.0, -0.4, 0.7, 0.0, 1.0]), 2),
    "two-tokens-3": (two_tokens([-0.2, 0.6, 0.4, -0.9], [1.0, 0.3, 0.0, 0.5, 0.0, -0.3, 0.8]), 3),
}


def over_rows(counts: torch.Tensor, returns: torch.Tensor, scaled: bool) -> torch.Tensor:
    """What we do not offer: a baseline, and a std, in which a trajectory counts once per turn row."""
    rows = returns.double().repeat_interleave(counts)
    centred = returns.double() - rows.mean()
    return (centred / (rows.std() + 1e-6) if scaled else centred).float()


def expected_gradient(
    mdp: Mdp, members: int, credit: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], how: str, split: bool
) -> torch.Tensor:
    """Σ over all groups of P(group) · −∇loss; ``credit`` maps (returns, turns per trajectory) to advantages."""
    parameter = torch.tensor(mdp.theta, requires_grad=True)
    everything, turns = mdp.logprobs(parameter), mdp.mask.any(2).sum(1)
    tokens = mdp.mask.sum((1, 2)).float()
    objective = torch.zeros((), dtype=torch.float64)
    for choice in itertools.product(range(len(mdp.returns)), repeat=members):
        index = torch.tensor(choice)
        logprobs, mask = everything[index], mdp.mask[index]
        advantages = credit(torch.tensor(mdp.returns)[index], turns[index])
        length = turns[index].float() if how == "seq-mean-turn-mean" else tokens[index]
        probability = float(logprobs.detach().double().sum().exp())
        if split:  # [trajectory · turn, token], turns that do not exist are no rows
            real = mask.any(2).reshape(-1)
            width = mask.shape[1]
            logprobs, mask = logprobs.flatten(0, 1)[real], mask.flatten(0, 1)[real]
            advantages, length = advantages.repeat_interleave(width)[real], length.repeat_interleave(width)[real]
        else:
            logprobs, mask = logprobs.flatten(1), mask.flatten(1)
        rho = ratio(logprobs, logprobs.detach(), mask)
        loss = aggregate(
            clipped_loss(rho, advantages[:, None].expand_as(rho)),
            mask,
            how,
            normaliser=float(mask.sum()) if how == "token-mean" else float(members),
            sequence_length=length,
        )
        objective = objective - probability * loss.double()
    (total,) = torch.autograd.grad(objective, parameter)
    return total.double()


def group(baseline: str, scale: str = "none") -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda returns, _: group_advantages(
        returns, torch.zeros(len(returns), dtype=torch.int64), baseline=baseline, scale=scale
    )


@pytest.mark.parametrize("split", [False, True], ids=["rows-are-trajectories", "rows-are-turns"])
@pytest.mark.parametrize("name", list(MDPS))
@pytest.mark.parametrize(
    ("baseline", "factor"), [("leave-one-out", lambda g: 1.0), ("mean", lambda g: (g - 1) / g), ("none", lambda g: 1.0)]
)
def test_summed_turns_give_the_true_gradient_times_a_known_factor(
    name: str, baseline: str, factor: Callable[[int], float], split: bool
) -> None:
    mdp, members = MDPS[name]
    truth, _ = mdp.true_gradient()
    got = expected_gradient(mdp, members, group(baseline), "seq-mean-token-sum", split)
    torch.testing.assert_close(got, factor(members) * truth, rtol=2e-5, atol=3e-7)


@pytest.mark.parametrize("how", ["token-mean", "seq-mean-token-mean", "seq-mean-turn-mean"])
@pytest.mark.parametrize("name", ["stopping-2", "two-tokens-2"])
def test_splitting_trajectories_into_turn_rows_changes_no_gradient(name: str, how: str) -> None:
    mdp, members = MDPS[name]
    whole, rows = (expected_gradient(mdp, members, group("leave-one-out"), how, split) for split in (False, True))
    torch.testing.assert_close(rows, whole, rtol=1e-5, atol=1e-7)
    assert whole.abs().max() > 1e-2


def test_the_golden_instance_is_this_mdp() -> None:
    truth, value = MDPS["golden"][0].true_gradient()
    assert value == pytest.approx(GOLDEN["J"], abs=1e-12)
    torch.testing.assert_close(truth, torch.tensor(GOLDEN["true"], dtype=torch.float64))
    assert MDPS["golden"][1] == GOLDEN["G"]


ESTIMATORS = {
    "reinforce": group("none"),
    "rloo": group("leave-one-out"),
    "mean (Dr.GRPO)": group("mean"),
    "mean/std (GRPO)": group("mean", "group"),
    # Not offered, and this is why: even summed over turns they point elsewhere.
    "mean over turn rows (verl-agent default)": lambda returns, turns: over_rows(turns, returns, False),
    "mean/std over turn rows (verl-agent gigpo mean_std_norm)": lambda returns, turns: over_rows(turns, returns, True),
}
AGGREGATED = {
    "sum over turns / G": "seq-mean-token-sum",
    "mean over turns, mean over traj": "seq-mean-turn-mean",
    "token-mean (all turns in group)": "token-mean",
}


@pytest.mark.parametrize("key", list(GOLDEN["results"]))
def test_every_estimator_has_exactly_its_documented_bias(key: str) -> None:
    truth = torch.tensor(GOLDEN["true"], dtype=torch.float64)
    estimator, how = key.split(" | ")
    got = expected_gradient(MDPS["golden"][0], GOLDEN["G"], ESTIMATORS[estimator], AGGREGATED[how], True)
    golden = GOLDEN["results"][key]
    assert float(torch.cosine_similarity(got, truth, dim=0)) == pytest.approx(golden["cos"], abs=2e-5)
    assert (got / truth).tolist() == pytest.approx(golden["ratio"], abs=3e-4)
