import math

import pytest
import torch

from crossagent.algorithms import (
    AGGREGATIONS,
    KL,
    LOSSES,
    aggregate,
    clip_fractions,
    clipped_loss,
    entropy,
    importance_weights,
    ratio,
)

T = torch.tensor


def test_clipping_by_hand() -> None:
    rho = T([[0.5, 1.0, 1.5, 0.5, 1.0, 1.5]])
    a = T([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
    torch.testing.assert_close(clipped_loss(rho, a), T([[-0.5, -1.0, -1.2, 0.8, 1.0, 1.5]]))
    torch.testing.assert_close(clipped_loss(rho, a, clip_high=0.28)[0, 2], T(-1.28))
    low, high = clip_fractions(rho, a, torch.ones(1, 6).bool(), clip_low=0.2, clip_high=0.28)
    assert (low.item(), high.item()) == (1.0, 1.0)
    untrained = T([[True, True, False, False, True, True]])
    counts = clip_fractions(rho, a, untrained, clip_low=0.2, clip_high=0.28)
    assert [float(count) for count in counts] == [0.0, 0.0]


def test_reinforce_is_unclipped_and_its_gradient_at_ratio_one_is_that_of_the_log_probs() -> None:
    a = T([[1.5, -2.0]])
    torch.testing.assert_close(LOSSES["reinforce"](T([[9.0, 0.1]]), a, clip_low=0.2, clip_high=0.2), T([[-13.5, 0.2]]))
    new = T([[-0.3, -1.2]], requires_grad=True)
    rho = ratio(new, new.detach(), torch.ones(1, 2).bool())
    LOSSES["reinforce"](rho, a).sum().backward()
    torch.testing.assert_close(new.grad, -a)


def test_dual_clip_bounds_the_loss_of_bad_tokens_only() -> None:
    rho = T([[10.0, 10.0]])
    torch.testing.assert_close(clipped_loss(rho, T([[-1.0, 1.0]]), dual_clip=3.0), T([[3.0, -1.2]]))


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_a_row_that_trains_nothing_is_no_sequence_and_nothing_at_all_is_zero(how: str) -> None:
    values, mask = T([[1.0, 5.0], [2.0, 4.0], [7.0, 7.0]]), T([[True, False], [True, True], [False, False]])
    torch.testing.assert_close(aggregate(values, mask, how), aggregate(values[:2], mask[:2], how))
    assert aggregate(values, torch.zeros_like(mask), how) == 0.0


def test_values_outside_the_mask_may_be_nan_and_give_no_gradient() -> None:
    new = T([[0.1, math.nan]], requires_grad=True)
    mask = T([[True, False]])
    rho = ratio(new, T([[0.0, math.nan]]), mask)
    aggregate(clipped_loss(rho, T([[1.0, 0.0]])), mask, "token-mean").backward()
    assert new.grad.tolist() == [[pytest.approx(-math.exp(0.1)), 0.0]]


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("segments", [None, [[0, -1, 0]]])
def test_ratio_and_importance_are_one_outside_the_mask_whatever_stands_there(
    level: str, segments: list[list[int]] | None
) -> None:
    mask, turns = T([[True, False, True]]), None if segments is None else T(segments)
    one, other = T([[0.1, math.nan, 0.3]]), T([[0.0, math.inf, 0.0]])
    inside = {"token": [0.1, 0.3], "sequence": [0.2, 0.2]}[level]
    expected = T([[inside[0], 0.0, inside[1]]]).exp()
    torch.testing.assert_close(ratio(one, other, mask, level=level, segments=turns), expected)
    weights = importance_weights(one, other, mask, level=level, segments=turns, cap=9.0)
    if level == "sequence":
        expected = T([[0.4, 0.0, 0.4]]).exp()
    torch.testing.assert_close(weights, expected)


def test_sequence_ratio_is_the_geometric_mean_of_each_turn() -> None:
    old = torch.zeros(1, 5)
    new = T([[0.1, 0.3, 9.0, -0.4, -0.2]])
    mask = T([[True, True, False, True, True]])
    turns = T([[0, 0, -1, 1, 1]])
    got = ratio(new, old, mask, level="sequence", segments=turns)
    expected = T([[0.2, 0.2, 0.0, -0.3, -0.3]]).exp()
    torch.testing.assert_close(got, expected)
    apart = ratio(T([[0.1, 0.3], [-0.4, -0.2]]), torch.zeros(2, 2), torch.ones(2, 2).bool(), level="sequence")
    torch.testing.assert_close(apart, T([[0.2, 0.2], [-0.3, -0.3]]).exp())


def test_importance_weights_truncate_or_mask() -> None:
    old, sampler = T([[math.log(4.0), 0.0, math.log(0.3), 5.0]]), torch.zeros(1, 4)
    mask = T([[True, True, True, False]])
    torch.testing.assert_close(importance_weights(old, sampler, mask), T([[2.0, 1.0, 0.3, 1.0]]))
    torch.testing.assert_close(importance_weights(old, sampler, mask, mode="mask"), T([[0.0, 1.0, 0.0, 1.0]]))
    torch.testing.assert_close(
        importance_weights(old, sampler, mask, level="sequence", cap=9.0), T([[1.2, 1.2, 1.2, 1.0]])
    )


def test_importance_weights_carry_no_gradient() -> None:
    old = T([[0.3]], requires_grad=True)
    assert not importance_weights(old, T([[0.1]]), T([[True]])).requires_grad


def test_entropy_of_a_uniform_and_of_a_masked_distribution() -> None:
    assert entropy(torch.zeros(7)).item() == pytest.approx(math.log(7))
    assert entropy(T([0.0, 0.0, -math.inf])).item() == pytest.approx(math.log(2))


def test_gradients_of_the_kl_estimates_in_the_loss() -> None:
    """Exactly, over a 3-way softmax: E[∇k2] = ∇KL(π‖ref); E[∇k3] = ∇KL(ref‖π); E[∇k1] = 0; E[∇ρ·k] = ∇KL(π‖ref)."""
    theta = T([0.2, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    ref = T([-0.3, 0.4, 0.1], dtype=torch.float64).log_softmax(0)

    def grad(value: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value, theta, retain_graph=True)[0]

    logp = theta.log_softmax(0)
    p = logp.detach().exp()
    reverse = grad((logp.exp() * (logp - ref)).sum())
    forward = grad((ref.exp() * (ref - logp)).sum())
    got = {name: grad((p * fn(logp, ref)).sum()) for name, fn in KL.items()}
    torch.testing.assert_close(got["k2"], reverse)
    torch.testing.assert_close(got["k3"], forward)
    torch.testing.assert_close(got["k1"], torch.zeros(3, dtype=torch.float64))
    assert not torch.allclose(forward, reverse, atol=1e-3)
    rho = (logp - logp.detach()).exp()
    for name in ("k1", "k3"):
        torch.testing.assert_close(grad((p * rho * KL[name](logp, ref)).sum()), reverse)
