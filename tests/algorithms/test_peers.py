"""Values of TRL 1.16.0 and verl, computed by ``tests/golden/peers.py`` on inputs of ours, at 1e-6; gradients too."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from crossagent.algorithms import (
    KL,
    aggregate,
    clip_fractions,
    clipped_loss,
    group_advantages,
    importance_weights,
    ratio,
)

PEERS = json.loads((Path(__file__).parents[1] / "golden" / "peers.json").read_text())
GIVEN = {k: torch.tensor(v) for k, v in PEERS["inputs"].items() if k not in ("group", "mask")}
MASK = torch.tensor(PEERS["inputs"]["mask"])
CLIPS = {"clip_low": PEERS["inputs"]["clip_low"], "clip_high": PEERS["inputs"]["clip_high"]}
DUAL, BETA = PEERS["inputs"]["dual_clip"], PEERS["inputs"]["beta"]
WIDE = GIVEN["advantages"][:, None].expand(MASK.shape)
TRL_AGGREGATIONS = {"grpo": "seq-mean-token-mean", "dapo": "token-mean", "dr_grpo": "seq-mean-token-sum-norm"}


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6
    )


def ours(
    how: str,
    level: str = "token",
    *,
    dual: float | None = None,
    beta: float = 0.0,
    weighted: bool = False,
    entropy: float = 0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, its gradient by the log-probs, ratio)"""
    new = GIVEN["new"].clone().requires_grad_()
    rho = ratio(new, GIVEN["old"], MASK, level=level)
    per_token = clipped_loss(rho, WIDE, **CLIPS, dual_clip=dual)
    if weighted:
        per_token = per_token * importance_weights(GIVEN["old"], GIVEN["sampler"], MASK, cap=2.0)
    per_token = per_token + beta * KL["k3"](new, GIVEN["ref"]) - entropy * GIVEN["entropy"]
    loss = aggregate(per_token, MASK, how, max_length=int(GIVEN["max_length"]))
    loss.backward()
    return loss.detach(), new.grad, rho.detach()


def options(name: str) -> dict[str, str]:
    return dict(part.split("=") for part in name.split("|") if "=" in part)


@pytest.mark.parametrize("name", list(PEERS["trl"]))
def test_loss_gradient_and_telemetry_equal_trl(name: str) -> None:
    golden, more = PEERS["trl"][name], options(name)
    loss_type, level = name.split("|")[:2]
    delta = None if more["delta"] == "None" else float(more["delta"])
    loss, gradient, rho = ours(
        TRL_AGGREGATIONS[loss_type],
        level,
        dual=delta,
        beta=float(more["beta"]),
        weighted=more["importance"] == "True",
        entropy=float(more["entropy"]),
    )
    close(loss, golden["value"])
    close(gradient, golden["grad_new"])
    if float(more["beta"]):
        close(KL["k3"](GIVEN["new"], GIVEN["ref"])[MASK].mean(), golden["kl"])
    low, high = clip_fractions(rho, WIDE, MASK, **CLIPS)
    counted = float(MASK.sum())
    if level == "token":
        close([low / counted, high / counted], [golden["clip_ratio/low_mean"], golden["clip_ratio/high_mean"]])
    else:  # TRL counts sequences, we count their tokens
        first = [int(row.nonzero()[0]) for row in MASK]
        sequences = rho[range(len(first)), first][:, None]
        low, high = clip_fractions(sequences, WIDE[:, :1], MASK[:, :1], **CLIPS)
        close([low / 6, high / 6], [golden["clip_ratio/low_mean"], golden["clip_ratio/high_mean"]])
        assert low > 0
        assert high > 0


@pytest.mark.parametrize("name", list(PEERS["verl"]["loss"]))
def test_loss_and_gradient_equal_verl(name: str) -> None:
    golden, more = PEERS["verl"]["loss"][name], options(name)
    if name == "gspo":
        loss, gradient, _ = ours("seq-mean-token-mean", "sequence")
        close(loss, golden["value"])
        close(gradient, golden["grad_new"])
        return
    how = name.split("|")[1]
    bound = float(more["c"])
    loss, gradient, _ = ours(how, dual=None if bound > 100 else bound, weighted=more["importance"] == "True")
    # This verl divides Σ over tokens by a constant only; ours, as TRL and the paper, by the number of sequences too.
    factor = 1.0 if how != "seq-mean-token-sum-norm" else len(MASK) * int(GIVEN["max_length"]) / MASK.shape[1]
    close(loss * factor, golden["value"])
    close(gradient * factor, golden["grad_new"])


def test_aggregations_equal_verl() -> None:
    for how, golden in PEERS["verl"]["aggregate"].items():
        factor = 1.0 if how != "seq-mean-token-sum-norm" else len(MASK)
        close(aggregate(GIVEN["new"], MASK, how) * factor, golden)


@pytest.mark.parametrize("name", list(PEERS["verl"]["kl"]))
def test_kl_estimates_and_their_gradients_equal_verl(name: str) -> None:
    new = GIVEN["new"].clone().requires_grad_()
    value = KL[name](new, GIVEN["ref"])
    aggregate(value, MASK, "token-sum").backward()
    close(value.detach(), PEERS["verl"]["kl"][name]["value"])
    close(new.grad, PEERS["verl"]["kl"][name]["grad_of_masked_sum"])


ADVANTAGES = {
    "grpo": {"scale": "group"},
    "grpo without std": {},
    "rloo": {"baseline": "leave-one-out"},
    "reinforce++ baseline": {"scale": "whiten", "eps": 1e-8},
}


@pytest.mark.parametrize("name", list(PEERS["verl"]["advantages"]))
def test_advantages_equal_verl(name: str) -> None:
    group = torch.tensor([ord(g) for g in PEERS["inputs"]["group"]])
    close(group_advantages(GIVEN["returns"], group, **ADVANTAGES[name]), PEERS["verl"]["advantages"][name])


@pytest.mark.parametrize("level", list(PEERS["verl"]["importance"]))
def test_truncated_importance_weights_equal_verl(level: str) -> None:
    got = importance_weights(GIVEN["old"], GIVEN["sampler"], MASK, cap=1.5, level=level)
    close(torch.where(MASK, got, 0.0), PEERS["verl"]["importance"][level])
    assert got[MASK].max() == 1.5
