"""Rows without padding, beginnings that are shared once: the same log-probs and gradients, and nothing from row to row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crossagent.policy.config import LoraConfig
from crossagent.policy.model import Policy, make_reference

from ..sampling.test_turns import qwen2_vl
from .conftest import tiny_policy

MODELS = ["scratch-0.1m", "gpt2", "qwen2", "qwen3", "gemma3", "qwen2_vl"]
BEGINNING = 21


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    if request.param == "qwen2_vl":
        return qwen2_vl()
    if request.param == "gemma3":  # its rows must not be longer than its window
        from .conftest import TINY

        directory = tmp_path_factory.mktemp("wide")
        TINY["wide"] = {**TINY["gemma3"], "sliding_window": 64}
        return tiny_policy("wide", directory)
    return tiny_policy(request.param, tmp_path_factory.mktemp("models"))


def batch(policy: Policy, side: str = "right", seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Five rows: three with the same beginning, one with another that is shared with nobody, one without."""
    draw = random.Random(seed)
    words = range(6, len(policy.tokenizer))
    beginnings = [draw.choices(words, k=BEGINNING) for _ in range(2)]
    texts = [[*beginnings[k], *draw.choices(words, k=n)] for k, n in ((0, 3), (0, 19), (1, 8), (0, 11))]
    texts.append(draw.choices(words, k=17))
    shared = torch.tensor([BEGINNING, BEGINNING, BEGINNING, BEGINNING, 0])
    ids = torch.full((5, 48), policy.pad_id)
    mask, wanted = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (text, first) in enumerate(zip(texts, shared.tolist(), strict=True)):
        at = 0 if side == "right" else 48 - len(text)
        ids[row, at : at + len(text)] = torch.tensor(text)
        mask[row, at : at + len(text)] = 1
        wanted[row, at + max(first, 1) : at + len(text)] = True
    return ids, mask, wanted, shared


def taken(
    policy: Policy, packs: bool, *asked: Tensor, shared: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return log-probs, and the gradient of a sum of them in which every target counts differently."""
    ids, mask, wanted = asked
    assert policy.packs, "this model can be packed"
    policy._packs = packs
    policy.zero_grad()
    try:
        with torch.enable_grad():
            out = policy.logprobs(ids, mask, wanted, 0.8, shared=shared)
            weight = torch.linspace(0.5, 1.5, out.logprobs.numel()).view_as(out.logprobs)
            ((out.logprobs + 0.3 * out.entropy) * weight).sum().backward()
        grads = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
        policy.zero_grad()
        return out.logprobs.detach(), grads
    finally:
        policy._packs = True


@pytest.mark.parametrize("side", ["right", "left"])
def test_packed_rows_are_what_padded_ones_are(model: Policy, side: str) -> None:
    *asked, shared = batch(model, side)
    padded, padded_grads = taken(model, False, *asked)
    for sharing in (None, shared):
        packed, grads = taken(model, True, *asked, shared=sharing)
        torch.testing.assert_close(packed, padded, atol=2e-6, rtol=0)
        assert grads.keys() == padded_grads.keys()
        for name, grad in grads.items():
            torch.testing.assert_close(grad, padded_grads[name], atol=1e-5 * float(grad.abs().max()) + 1e-7, rtol=1e-4)


def test_nothing_leaks_from_row_to_row(model: Policy) -> None:
    """Other tokens in the rest of one row change the bits of no other row; those of a beginning only of rows that share it."""
    ids, mask, wanted, shared = batch(model)
    before, _ = taken(model, True, ids, mask, wanted, shared=shared)
    for row in range(5):
        others = ids.clone()
        first = int(shared[row])
        others[row, first : int(mask[row].sum())] = 6 + (others[row, first : int(mask[row].sum())] % 5)
        after, _ = taken(model, True, others, mask, wanted, shared=shared)
        rest = [k for k in range(5) if k != row]
        assert torch.equal(after[rest], before[rest])
        assert not torch.equal(after[row], before[row])
    others = ids.clone()
    others[[0, 1, 3], 2] = 6 + (others[0, 2] + 1) % 5
    after, _ = taken(model, True, others, mask, wanted, shared=shared)
    assert torch.equal(after[[2, 4]], before[[2, 4]])
    assert all(not torch.equal(after[row], before[row]) for row in (0, 1, 3))


def test_a_row_is_the_same_bits_whoever_shares_with_it(model: Policy) -> None:
    ids, mask, wanted, shared = batch(model)
    together, _ = taken(model, True, ids, mask, wanted, shared=shared)
    for rows in ([0, 2], [1], [3, 0], [4, 3]):
        some, _ = taken(model, True, ids[rows], mask[rows], wanted[rows], shared=shared[rows])
        assert torch.equal(some, together[rows])


def test_what_runs_is_the_tokens_that_there_are(tmp_path: Path) -> None:
    policy = tiny_policy("scratch-0.1m", tmp_path)
    ids, mask, wanted, shared = batch(policy)
    assert policy.packs
    seen: list[int] = []
    handle = policy.backbone.get_input_embeddings().register_forward_hook(
        lambda m, a, out: seen.append(out[..., 0].numel())
    )
    with torch.no_grad():
        policy.logprobs(ids, mask, wanted)
        policy.logprobs(ids, mask, wanted, shared=shared)
    handle.remove()
    assert seen == [int(mask.sum()), int(mask.sum()) - 2 * BEGINNING]


def test_adapters_checkpointing_and_the_reference_are_packed_too(tmp_path: Path) -> None:
    policy = tiny_policy("qwen2", tmp_path, LoraConfig(r=4), gradient_checkpointing=True)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    policy.train()
    *asked, shared = batch(policy)
    padded, padded_grads = taken(policy, False, *asked)
    packed, grads = taken(policy, True, *asked, shared=shared)
    torch.testing.assert_close(packed, padded, atol=2e-6, rtol=0)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, padded_grads[name], atol=1e-5 * float(grad.abs().max()) + 1e-7, rtol=1e-4)
    assert torch.equal(make_reference(policy).logprobs(*asked, 0.8, shared=shared).logprobs, packed)


@pytest.mark.parametrize("kind", ["gemma2", "mamba"])
def test_a_model_that_cannot_be_packed_is_padded(kind: str, tmp_path: Path) -> None:
    policy = tiny_policy(kind, tmp_path)
    policy.config.attention = "sdpa"  # as a recipe that does not know better says
    assert not policy.packs
    ids, mask, wanted, shared = batch(policy)
    with torch.no_grad():
        assert torch.equal(
            policy.logprobs(ids, mask, wanted, shared=shared).logprobs, policy.logprobs(ids, mask, wanted).logprobs
        )


def test_a_row_longer_than_a_layer_looks_back_is_padded(tmp_path: Path) -> None:
    policy = tiny_policy("gemma3", tmp_path)  # window 16
    ids, mask, wanted, shared = batch(policy)
    assert policy.packs
    with torch.no_grad():
        ours = policy.logprobs(ids, mask, wanted, shared=shared).logprobs
        policy._packs = False
        assert torch.equal(ours, policy.logprobs(ids, mask, wanted).logprobs)
