import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.algorithms import KL, aggregate, clip_fractions, clipped_loss, entropy, importance_weights, ratio

T = torch.tensor


def test_clipping_by_hand() -> None:
    rho = T([[0.5, 1.0, 1.5, 0.5, 1.0, 1.5]])
    a = T([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
    torch.testing.assert_close(clipped_loss(rho, a), T([[-0.5, -1.0, -1.2, 0.8, 1.0, 1.5]]))
    torch.testing.assert_close(clipped_loss(rho, a, clip_high=0.28)[0, 2], T(-1.28))
    low, high = clip_fractions(rho, a, torch.ones(1, 6).bool(), clip_low=0.2, clip_high=0.28)
    assert (low.item(), high.item()) == (1.0, 1.0)


def test_dual_clip_bounds_the_loss_of_bad_tokens_only() -> None:
    rho = T([[10.0, 10.0]])
    torch.testing.assert_close(clipped_loss(rho, T([[-1.0, 1.0]]), dual_clip=3.0), T([[3.0, -1.2]]))


def test_values_outside_the_mask_may_be_nan_and_give_no_gradient() -> None:
    new = T([[0.1, math.nan]], requires_grad=True)
    mask = T([[True, False]])
    rho = ratio(new, T([[0.0, math.nan]]), mask)
    aggregate(clipped_loss(rho, T([[1.0, 0.0]])), mask, "token-mean").backward()
    assert new.grad.tolist() == [[pytest.approx(-math.exp(0.1)), 0.0]]


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


def test_entropy_of_a_uniform_and_of_a_masked_distribution() -> None:
    assert entropy(torch.zeros(7)).item() == pytest.approx(math.log(7))
    assert entropy(T([0.0, 0.0, -math.inf])).item() == pytest.approx(math.log(2))


def test_gradients_of_the_kl_estimates_in_the_loss() -> None:
    """Exactly, over a 3-way softmax: E[∇k2] = ∇KL(π‖ref); E[∇k3] = ∇KL(ref‖π); E[∇k1] = 0."""
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


HOWS = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm", "seq-mean-token-sum", "seq-mean-turn-mean"]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(HOWS), st.sampled_from(["token", "sequence"]))
def test_loss_does_not_depend_on_micro_batches_row_order_or_turn_splitting(
    data: st.DataObject, how: str, level: str
) -> None:
    """One set of trajectories, laid out as turn rows, as concatenated rows, shuffled, and in micro-batches."""
    seed = data.draw(st.integers(0, 10_000))
    g = torch.Generator().manual_seed(seed)
    turns = [
        [int(torch.randint(1, 5, (), generator=g)) for _ in range(data.draw(st.integers(1, 4)))]
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    flat = [(t, k, n) for t, lengths in enumerate(turns) for k, n in enumerate(lengths)]
    new = {(t, k): torch.randn(n, generator=g) * 0.3 for t, k, n in flat}
    old = {key: v + torch.randn(v.shape, generator=g) * 0.3 for key, v in new.items()}
    adv = torch.randn(len(turns), generator=g)
    tokens = [float(sum(lengths)) for lengths in turns]
    length = [float(len(lengths)) for lengths in turns] if how == "seq-mean-turn-mean" else tokens
    normaliser = sum(tokens) if how == "token-mean" else float(len(turns))

    def loss(rows: list[list[tuple[int, int]]]) -> torch.Tensor:
        width = max(sum(len(new[key]) + 1 for key in row) for row in rows)  # one prompt token before each turn
        value, reference = torch.full((len(rows), width), math.nan), torch.full((len(rows), width), math.nan)
        mask, segment = torch.zeros(len(rows), width).bool(), torch.full((len(rows), width), -1)
        for i, row in enumerate(rows):
            at = 0
            for t, k in row:
                n = len(new[t, k])
                value[i, at + 1 : at + 1 + n], reference[i, at + 1 : at + 1 + n] = new[t, k], old[t, k]
                mask[i, at + 1 : at + 1 + n], segment[i, at + 1 : at + 1 + n] = True, k
                at += n + 1
        who = T([row[0][0] for row in rows])
        rho = ratio(value, reference, mask, level=level, segments=segment)
        per_token = clipped_loss(rho, adv[who][:, None].expand_as(rho))
        return aggregate(per_token, mask, how, normaliser=normaliser, sequence_length=T(length)[who], max_length=32)

    concatenated = [[(t, k) for k in range(len(lengths))] for t, lengths in enumerate(turns)]
    whole = loss(concatenated)
    split = [[(t, k)] for t, k, _ in flat]
    order = torch.randperm(len(split), generator=g).tolist()
    shuffled = [split[i] for i in order]
    size = data.draw(st.integers(1, len(split)))
    parts = [loss(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]
    torch.testing.assert_close(loss(shuffled), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sum(parts), whole, rtol=1e-5, atol=1e-6)
    # Two "ranks" whose gradients DDP averages: each multiplies by the world size.
    ranks = [shuffled[0::2], shuffled[1::2]]
    averaged = sum(2 * loss(rank) for rank in ranks if rank) / 2
    torch.testing.assert_close(averaged, whole, rtol=1e-5, atol=1e-6)
