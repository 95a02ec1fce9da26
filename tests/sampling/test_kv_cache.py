"""The two ways in which a part of a row's keys is attended to say the same."""

from __future__ import annotations

import pytest
import torch

from crossagent.sampling.kv_cache import _part


@pytest.mark.parametrize("biased", [False, True])
def test_torchs_kernel_says_what_plain_products_say(biased: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    query, keys, values = (torch.randn(3, 2, n, 8, generator=draw) for n in (5, 11, 11))
    bias = None
    if biased:
        bias = torch.zeros(3, 1, 5, 11).masked_fill_(torch.rand(3, 1, 5, 11, generator=draw) < 0.5, -torch.inf)
        bias[..., 0] = 0.0
    found, weight = _part(query, keys, values, None, bias)
    plain, plain_weight = _part(query, keys, values, None, bias, may_be_closed=True)
    torch.testing.assert_close(found, plain, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weight, plain_weight, atol=1e-6, rtol=1e-5)
    scores = query @ keys.transpose(-1, -2) + (0.0 if bias is None else bias)
    torch.testing.assert_close(weight, scores.logsumexp(-1, keepdim=True), atol=1e-6, rtol=1e-5)


def test_a_query_that_may_look_at_nothing_counts_for_nothing() -> None:
    query, keys = torch.ones(1, 1, 2, 4), torch.ones(1, 1, 3, 4)
    bias = torch.zeros(1, 1, 2, 3)
    bias[..., 1, :] = -torch.inf
    found, weight = _part(query, keys, keys, None, bias, may_be_closed=True)
    assert found.isfinite().all()
    assert weight[0, 0, 1, 0] == -torch.inf
    assert weight[0, 0, 0, 0].isfinite()
