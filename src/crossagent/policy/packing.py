"""A training pass over the tokens that there are: no padding, and a beginning that rows share runs through the model once.

In: padded rows, and how many first tokens each shares with others. Out: one sequence of all distinct tokens, for a model
whose layers ask transformers for attention (:func:`attend` is registered as ``crossagent-packed``). Rows that share a
beginning are a family: the beginning attends to itself, each row's rest to the beginning and to itself, to nothing else.
Everything but attention runs on single tokens, so nothing leaks from row to row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "crossagent-packed"
"""The name :func:`attend` is registered under."""
_SLOTS = 32
"""Rests are padded, within attention, to a multiple of this, and attend beside those of the same width alone: a CPU then sums in
the same order whoever else is there."""


@dataclass(frozen=True, slots=True)
class _Rests:
    """What rows have after their beginning, of one width."""

    tokens: int
    """How many there are; in the sequence they lie together."""
    place: Tensor
    """[member, slot] which of these tokens it is; any where there is none."""
    real: Tensor
    """[token] its place in ``place``, flat."""
    mask: Tensor | None
    """[slot, beginning + slot] 0 or −∞; None where there is no beginning: plain causal attention."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Rows that share a beginning, which may be empty; in the sequence its tokens lie together, the beginning first."""

    beginning: int
    """Tokens of the beginning."""
    rests: tuple[_Rests, ...]
    """From narrow to wide."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows as one sequence."""

    input_ids: Tensor
    """[1, token]."""
    position_ids: Tensor
    """[1, token], each token's place in its row."""
    index: Tensor
    """[row, tok] where in the sequence the token of a padded row is; 0 for padding."""
    longest: int
    """Tokens of the longest row."""
    families: tuple[_Family, ...]
    windows: set[int] = field(default_factory=set)
    """Sliding windows that layers asked for."""


def pack(input_ids: Tensor, attention_mask: Tensor, shared: Tensor | None, dtype: torch.dtype) -> Packed:
    """Lay rows out as one sequence.

    Args:
        input_ids: [row, tok], padded on either side.
        attention_mask: [row, tok], 1 for real tokens; each row has one.
        shared: [row] first tokens that a row shares with those that begin alike and share as many; None: nothing is shared.
        dtype: Of the model.
    """
    ids, mask = input_ids.cpu().numpy(), attention_mask.cpu().numpy().astype(bool)
    counts = np.zeros(len(ids), dtype=np.int64) if shared is None else shared.cpu().numpy()
    rows = [row[real] for row, real in zip(ids, mask, strict=True)]
    members: dict[tuple[int, bytes], list[int]] = {}
    for number, (row, count) in enumerate(zip(rows, counts, strict=True)):
        members.setdefault((int(count), row[:count].tobytes()), []).append(number)
    index = np.zeros(ids.shape, dtype=np.int64)
    sequence: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    families: list[_Family] = []
    at = 0
    for (count, _), family in members.items():
        begin, at = at, at + count
        sequence.append(rows[family[0]][:count])
        positions.append(np.arange(count))
        width = {number: -(-(len(rows[number]) - count) // _SLOTS) * _SLOTS for number in family}
        rests = []
        for slots, alike in itertools.groupby(sorted(family, key=width.__getitem__), key=width.__getitem__):
            start, lengths, places = at, [], []
            for number in alike:
                own = rows[number][count:]
                sequence.append(own)
                positions.append(np.arange(count, count + len(own)))
                tokens = np.arange(at, at + len(own))
                index[number, mask[number]] = np.concatenate([np.arange(begin, begin + count), tokens])
                places.append(np.pad(tokens - start, (0, slots - len(own))))
                lengths.append(len(own))
                at += len(own)
            real = (np.arange(slots) < np.array(lengths)[:, None]).reshape(-1).nonzero()[0]
            open_ = _mask(count, slots, dtype)
            open_ = None if open_ is None else open_.to(input_ids.device)
            rests.append(_Rests(at - start, _on(np.stack(places), input_ids), _on(real, input_ids), open_))
        families.append(_Family(count, tuple(rests)))
    return Packed(
        _on(np.concatenate(sequence), input_ids).unsqueeze(0),
        _on(np.concatenate(positions), input_ids).unsqueeze(0),
        _on(index, input_ids),
        max(len(row) for row in rows),
        tuple(families),
    )


def _on(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device)


def _mask(count: int, slots: int, dtype: torch.dtype) -> Tensor | None:
    if not count:
        return None
    later = torch.full((slots, slots), -torch.inf, dtype=dtype).triu(1)
    return torch.cat([torch.zeros(slots, count, dtype=dtype), later], dim=1)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    packed: Packed | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **said: Any,
) -> tuple[Tensor, None]:
    """Attention within families, [1, token, head, dim]; what transformers calls for ``crossagent-packed``.

    Args:
        module: The layer.
        query: [1, head, token, dim].
        key: [1, shared head, token, dim].
        value: As ``key``.
        attention_mask: None; transformers makes none for an attention it does not know.
        scaling: Of the scores; None: dim ** −0.5.
        dropout: Of the weights.
        packed: The rows.
        sliding_window: Not applied: no row is longer, who calls sees to that.
        softcap: Not supported.
        s_aux: Not supported.
        said: What else layers say.

    Raises:
        NotImplementedError: The layer wants what is not supported; who calls tries once (``Policy.packs``).
    """
    if packed is None or softcap is not None or s_aux is not None or not getattr(module, "is_causal", True):
        raise NotImplementedError("this layer's attention cannot be packed")
    if sliding_window is not None:
        packed.windows.add(sliding_window)
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    found: list[Tensor] = []
    # Tokens first, as models lay them out; split once, as a slice's way back would fill a whole sequence with zeros.
    lengths = [n for family in packed.families for n in (family.beginning, *(rests.tokens for rests in family.rests))]
    pieces = zip(*(x[0].transpose(0, 1).split(lengths) for x in (query, key, value)), strict=True)
    for family in packed.families:
        beginning = [x.transpose(0, 1).unsqueeze(0) for x in next(pieces)]
        if family.beginning:
            q, k, v = beginning
            own = scaled_dot_product_attention(q, _repeated(k, groups), _repeated(v, groups), is_causal=True, **options)
            found.append(own[0].transpose(0, 1))
        for rests in family.rests:
            q, k, v = (_placed(x, rests.place) for x in next(pieces))
            if rests.mask is None:
                k, v = _repeated(k, groups), _repeated(v, groups)
                own = scaled_dot_product_attention(q, k, v, is_causal=True, **options)
            else:
                k, v = (
                    torch.cat([before.expand(len(rest), -1, -1, -1), rest], dim=2)
                    for before, rest in zip(beginning[1:], (k, v), strict=True)
                )
                members, _, slots, dim = q.shape
                # Heads that share a key are one product with it.
                q = q.reshape(members, heads // groups, groups * slots, dim)
                own = scaled_dot_product_attention(q, k, v, attn_mask=rests.mask.repeat(groups, 1), **options)
                own = own.reshape(members, heads, slots, dim)
            found.append(own.transpose(1, 2).flatten(0, 1).index_select(0, rests.real))
    return torch.cat(found).unsqueeze(0), None


def _placed(states: Tensor, place: Tensor) -> Tensor:
    """Return [member, head, slot, dim] of [token, head, dim]."""
    placed: Tensor = states.index_select(0, place.reshape(-1)).unflatten(0, place.shape).transpose(1, 2)
    return placed


def _repeated(states: Tensor, times: int) -> Tensor:
    return states if times == 1 else states.repeat_interleave(times, dim=1)


AttentionInterface.register(ATTENTION, attend)


@contextmanager
def packed_attention(config: Any) -> Iterator[None]:
    """Let the decoder of this configuration attend with :func:`attend`."""
    config = config.get_text_config(decoder=True)
    before = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
