"""Sets of token ids as bit masks, and logits that know of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from crossagent.types import TokenSet

Allowed = Sequence[tuple[int, int, TokenSet]]
"""(row, token, the ids that could be drawn there) of a batch, where its sampler was constrained."""


def token_set(ids: Iterable[int], size: int) -> TokenSet:
    """Return the set of ``ids``, each below ``size``."""
    bits = np.zeros(size, dtype=np.bool_)
    bits[list(ids)] = True
    return np.packbits(bits, bitorder="little").tobytes()


def members(tokens: TokenSet) -> list[int]:
    """Return the ids of a set, sorted."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(tokens, np.uint8), bitorder="little")).tolist()


def masked(logits: Tensor, sets: Sequence[TokenSet]) -> Tensor:
    """Return logits [row, vocab] with −∞ at every id outside the row's set; an empty set is any id."""
    number = {tokens: k for k, tokens in enumerate(dict.fromkeys(sets))}
    if not any(number):
        return logits
    vocab = logits.shape[-1]
    table = np.zeros((len(number), vocab), dtype=np.bool_)
    for tokens, k in number.items():
        bits = np.unpackbits(np.frombuffer(tokens, np.uint8), bitorder="little")[:vocab]
        table[k, : len(bits)] = bits
        table[k] |= not tokens
    closed = torch.from_numpy(~table).to(logits.device)
    row = torch.tensor([number[tokens] for tokens in sets], device=logits.device)
    return logits.masked_fill(closed[row], -torch.inf)
