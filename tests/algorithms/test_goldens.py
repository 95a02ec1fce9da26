"""Values of the peers' own functions (tests/golden/README.md), at 1e-6. Every entry of the files has a check of its own."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

DIRECTORY = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((DIRECTORY / "grpo.json").read_text())
INPUTS = {"about", "inputs", "loss_inputs", "rows(group,traj,anchor,step_reward,episode_reward)", "gamma"}
"""What the file gives to compute with."""

RETURNS = torch.tensor(GOLDEN["inputs"]["rewards"])
GROUP = torch.tensor([ord(g) for g in GOLDEN["inputs"]["group"]])
LOSS = GOLDEN["loss_inputs"]
SHAPE = tuple(LOSS["shape"])
MASK = torch.tensor(LOSS["mask"]).bool().reshape(SHAPE)


def advantages(baseline: str, scale: str, eps: float = 1e-6) -> Callable[[], torch.Tensor]:
    return lambda: group_advantages(RETURNS, GROUP, baseline=baseline, scale=scale, eps=eps)


def with_population_std() -> torch.Tensor:
    """What we do not offer: the biased std makes every advantage larger by √(G / (G − 1))."""
    return group_advantages(RETURNS, GROUP, scale="group") * (4 / 3) ** 0.5


def gigpo(part: str) -> Callable[[], torch.Tensor]:
    golden = GOLDEN["gigpo"]
    rows = golden["rows(group,traj,anchor,step_reward,episode_reward)"]
    trajectory = torch.tensor([int(r[1][1:]) for r in rows])
    anchor = torch.tensor([int(r[2][1:]) for r in rows])
    rewards = torch.tensor([r[3] for r in rows])
    per_trajectory = {int(r[1][1:]): (r[4], int(r[0][1:])) for r in rows}
    returns = torch.tensor([per_trajectory[t][0] for t in range(4)])
    group = torch.tensor([per_trajectory[t][1] for t in range(4)])

    def value() -> torch.Tensor:
        if part == "returns":
            return discounted_returns(rewards, trajectory, golden["gamma"])
        args, options = (returns, group, rewards, trajectory, anchor), {"gamma": golden["gamma"]}
        episode = gigpo_advantages(*args, **options, step_weight=0.0)
        return episode if part == "episode" else gigpo_advantages(*args, **options, step_weight=1.0) - episode

    return value


def loss(how: str, part: str) -> Callable[[], torch.Tensor]:
    def value() -> torch.Tensor:
        new = torch.tensor(LOSS["new"], requires_grad=True)
        rho = ratio(new.reshape(SHAPE), torch.tensor(LOSS["old"]).reshape(SHAPE), MASK)
        credit = torch.tensor(LOSS["adv"])[:, None].expand(SHAPE)
        result = aggregate(clipped_loss(rho, credit, clip_low=0.2, clip_high=0.28), MASK, how)
        result.backward()
        return result.detach() if part == "value" else new.grad

    return value


def kl(name: str) -> Callable[[], torch.Tensor]:
    return lambda: KL[name](torch.tensor(LOSS["new"]), torch.tensor(LOSS["ref"]))


def reduced(how: str) -> Callable[[], torch.Tensor]:
    return lambda: aggregate(torch.arange(1.0, 9.0).reshape(2, 4), MASK, how)


CHECKS: dict[tuple[str, ...], Callable[[], torch.Tensor]] = {
    ("advantages", "group std (ddof 1, eps 1e-6) = verl = SkyRL = NeMo-RL without leave-one-out"): advantages(
        "mean", "group"
    ),
    ("advantages", "no std (Dr.GRPO)"): advantages("mean", "none"),
    ("advantages", "leave-one-out baseline (RLOO) = verl = SkyRL = rLLM"): advantages("leave-one-out", "none"),
    ("advantages", "for contrast: TRL (ddof 1, eps 1e-4)"): advantages("mean", "group", 1e-4),
    ("advantages", "batch std (TRL, eps 1e-4)"): advantages("mean", "batch", 1e-4),
    ("gigpo", "discounted_step_returns"): gigpo("returns"),
    (
        "gigpo",
        "episode part mean_norm with compute_mean_std_cross_all_data=False (paper Eq.3: over trajectories)",
    ): gigpo("episode"),
    ("gigpo", "step part mean_norm"): gigpo("step"),
    **{
        ("losses (clip 0.2 / 0.28)", key, part): loss(how, part)
        for key, how in {
            "token-mean = TRL dapo = TRL bnpo": "token-mean",
            "seq-mean-token-mean = TRL grpo": "seq-mean-token-mean",
            "seq-mean-token-sum-norm, L = 4 = TRL dr_grpo": "seq-mean-token-sum-norm",
        }.items()
        for part in ("value", "grad_new")
    },
    **{("kl", name): kl(name) for name in KL},
    **{
        ("aggregation of arange(1..8), shape 2x4, same mask", how): reduced(how)
        for how in ("token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")
    },
}
CONTRAST: dict[tuple[str, ...], Callable[[], torch.Tensor]] = {
    ("advantages", "for contrast: rLLM (ddof 0)"): with_population_std,
}
"""What a peer does and we do not; no eps there, so at 1e-5."""


def leaves(node: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every golden value of the file by its path; what is an input is left out."""
    if not isinstance(node, dict):
        return {path: node}
    inner = (leaves(value, (*path, key)) for key, value in node.items() if key not in INPUTS)
    return dict(itertools.chain.from_iterable(d.items() for d in inner))


@pytest.mark.parametrize("path", list(leaves(GOLDEN)), ids=lambda path: " / ".join(p[:40] for p in path))
def test_every_golden_value_is_ours(path: tuple[str, ...]) -> None:
    golden = torch.tensor(leaves(GOLDEN)[path])
    if path in CONTRAST:
        torch.testing.assert_close(CONTRAST[path](), golden, rtol=0, atol=1e-5)
        for baseline, scale in itertools.product(("mean", "leave-one-out"), ("none", "group", "batch", "whiten")):
            assert not torch.allclose(advantages(baseline, scale)(), golden, atol=1e-3)
        return
    assert path in CHECKS, f"{path}: nothing computes this golden value; add a check"
    torch.testing.assert_close(CHECKS[path](), golden, rtol=0, atol=1e-6)


def test_no_check_is_of_a_value_that_is_gone() -> None:
    assert set(CHECKS) | set(CONTRAST) == set(leaves(GOLDEN))
