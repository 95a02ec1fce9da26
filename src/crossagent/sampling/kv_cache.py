"""Keys and values while we decode: prompts that rows share are stored, read and attended to once.

Every row of a batch is a shared prefix (the prompt its group began with) and a suffix of its own (responses, later
observations). :class:`Rows` holds both in buffers that are allocated once; a row's suffix ends where it ends, no row is
padded to another. The model runs as transformers wrote it: :class:`Rows` is its cache, and :func:`attend`, registered as
the attention ``crossagent``, is what its layers call. Query heads that share a key head are one matrix product with it, and
so are the rows that share a prefix; what the two parts say is joined by their log-sum-exp.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, Cache
from transformers.cache_utils import CacheLayerMixin

ATTENTION = "crossagent"
"""The name :func:`attend` is registered under."""
Layers = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Prompts that were read, side by side; never written to again."""

    layers: Layers
    """[prefix, head, slot, dim]; slots behind a prefix's end hold anything finite."""
    lengths: np.ndarray
    """[prefix]."""

    def take(self, indices: Sequence[int]) -> Prefixes:
        """Return some of them, as they are if these are all."""
        if list(indices) == list(range(len(self.lengths))):
            return self
        lengths, at = self.lengths[list(indices)], torch.tensor(indices, device=self.layers[0][0].device)
        width = int(lengths.max())
        return Prefixes([(k[at, :, :width], v[at, :, :width]) for k, v in self.layers], lengths)


def joined(parts: Sequence[Prefixes]) -> Prefixes:
    """Return several as one."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([part.lengths for part in parts])
    width = int(lengths.max())
    layers = []
    for pairs in zip(*(part.layers for part in parts), strict=True):
        both = []
        for which in (0, 1):
            like = pairs[0][which]
            whole = like.new_zeros(len(lengths), like.shape[1], width, like.shape[3])
            at = 0
            for pair in pairs:
                whole[at : at + len(pair[which]), :, : pair[which].shape[2]] = pair[which]
                at += len(pair[which])
            both.append(whole)
        layers.append((both[0], both[1]))
    return Prefixes(layers, lengths)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one forward pass needs to know of its rows; the same for all layers."""

    rows: slice
    prefixes: slice
    table: Tensor | None
    """[prefix × member] row of the pass, any row where a prefix has fewer; None: the rows in their order."""
    members: int
    place: Tensor | None
    """[row] its place in ``table``."""
    prefix_ends: Tensor | None
    """[prefix], None where all are as long as the buffer."""
    member_offsets: Tensor
    """[prefix × member] prefix length + suffix length of the row there."""
    starts: Tensor
    """[row] suffix tokens before this pass."""
    width: int
    """Suffix slots to look at."""
    at: int | None
    """The slot of the first new token, None where rows differ."""
    tokens: int
    """New tokens per row, padding included."""


class Rows(Cache):
    """A batch while it decodes; what a model takes as ``past_key_values``."""

    def __init__(self, prefixes: Prefixes, prefix: np.ndarray, lengths: np.ndarray, suffixes: Layers) -> None:
        """Make a batch.

        Args:
            prefixes: The prompts.
            prefix: [row] which of them, ascending.
            lengths: [row] tokens of the suffix that are there.
            suffixes: [row, head, slot, dim]; written to.
        """
        super().__init__(layers=[_Layer(self, i) for i in range(len(suffixes))])
        self.prefixes, self.prefix, self.lengths, self.suffixes = prefixes, prefix, lengths, suffixes
        self._plan: _Plan | None = None
        self._biases: dict[Any, Tensor | None] = {}

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.suffixes[0][0].device

    def keep(self, rows: np.ndarray) -> None:
        """Drop all other rows, and the prefixes that nobody needs any more once they are a quarter of all."""
        at = torch.from_numpy(rows).to(self.device)
        self.suffixes = [(k[at], v[at]) for k, v in self.suffixes]
        self.prefix, self.lengths = self.prefix[rows], self.lengths[rows]
        used = np.unique(self.prefix)
        if len(used) <= 0.75 * len(self.prefixes.lengths):
            self.prefixes = self.prefixes.take(used.tolist())
            self.prefix = np.searchsorted(used, self.prefix)
        self._plan = None

    @contextmanager
    def reading(self, rows: slice, counts: np.ndarray) -> Iterator[Tensor]:
        """Make room for ``counts`` [row] new tokens in these rows, padded to the longest; the model runs in the context.

        Gives the positions [row, tok] of the new tokens.
        """
        old, self._plan = self._plan, self._planned(rows, int(counts.max()))
        same = old is not None and old.prefix_ends is self._plan.prefix_ends and old.prefixes == self._plan.prefixes
        kept = ("prefix", None)
        self._biases = {kept: self._biases[kept]} if same and kept in self._biases else {}
        before = getattr(_active, "rows", None)
        _active.rows = self
        try:
            starts = torch.from_numpy((self.prefixes.lengths[self.prefix] + self.lengths)[rows]).to(self.device)
            yield starts.unsqueeze(-1) + torch.arange(self._plan.tokens, device=self.device)
        finally:
            _active.rows = before
        self.lengths[rows] += counts

    def _planned(self, rows: slice, tokens: int) -> _Plan:
        """Plan a pass; the plan of the step before is moved on by one where nothing else changed."""
        lengths, device, old = self.lengths[rows], self.device, self._plan
        even = bool((lengths == lengths[0]).all())
        width = int(lengths.max()) + tokens
        if old is not None and old.rows == rows and old.tokens == tokens == 1:
            return replace(
                old,
                starts=old.starts + 1,
                member_offsets=old.member_offsets + 1,
                width=width,
                at=int(lengths[0]) if even else None,
            )
        mine = self.prefix[rows]
        first, last = int(mine[0]), int(mine[-1]) + 1
        counts = np.bincount(mine - first, minlength=last - first)
        members = int(counts.max())
        place = (mine - first) * members + np.arange(len(mine)) - np.searchsorted(mine, mine)
        table = np.zeros((last - first) * members, dtype=np.int64)
        table[place] = np.arange(len(mine))
        ends = self.prefixes.lengths[first:last]
        whole = bool((ends == self.prefixes.layers[0][0].shape[2]).all())
        plain = len(table) == len(mine)
        offsets = (self.prefixes.lengths[mine] + lengths)[table]

        def to(array: np.ndarray) -> Tensor:
            return torch.tensor(array, device=device)  # a copy: lengths change

        return _Plan(
            rows=rows,
            prefixes=slice(first, last),
            table=None if plain else to(table),
            members=members,
            place=None if plain else to(place),
            prefix_ends=None if whole else to(ends),
            member_offsets=to(offsets),
            starts=to(lengths),
            width=width,
            at=int(lengths[0]) if even else None,
            tokens=tokens,
        )

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new tokens' keys and values [row, head, tok, dim] behind the suffixes; return the suffixes."""
        plan = self._plan
        assert plan is not None
        k, v = (buffer[plan.rows] for buffer in self.suffixes[layer])
        if plan.at is not None:
            k[:, :, plan.at : plan.at + plan.tokens] = keys
            v[:, :, plan.at : plan.at + plan.tokens] = values
        else:
            if "slots" not in self._biases:
                self._biases["slots"] = plan.starts.unsqueeze(-1) + torch.arange(plan.tokens, device=self.device)
            slots = self._biases["slots"]
            row = torch.arange(len(keys), device=self.device).unsqueeze(-1)
            k[row, :, slots] = keys.transpose(1, 2).to(k.dtype)
            v[row, :, slots] = values.transpose(1, 2).to(v.dtype)
        return k[:, :, : plan.width], v[:, :, : plan.width]

    def attend(
        self,
        layer: int,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        scale: float,
        window: int | None,
        cap: float | None,
    ) -> Tensor:
        """Return what the queries [row, head, tok, dim] find in their prefix and suffix, [row, tok, head, dim]."""
        plan = self._plan
        assert plan is not None
        batch, heads, tokens, dim = query.shape
        shared = keys.shape[1]
        group, dtype = heads // shared, query.dtype
        query = (query * scale).to(keys.dtype).reshape(batch, shared, group * tokens, dim)
        own, own_weight = _part(query, keys, values, cap, self._own_bias(window, group))

        pk, pv = (buffer[plan.prefixes] for buffer in self.prefixes.layers[layer])
        prefixes, members = len(pk), plan.members
        there = query if plan.table is None else query[plan.table]
        there = there.reshape(prefixes, members, shared, group * tokens, dim).transpose(1, 2)
        there = there.reshape(prefixes, shared, members * group * tokens, dim)
        near = self._window_of_prefix(window)
        parts = _part(there, pk, pv, cap, self._prefix_bias(near, group), may_be_closed=near is not None)

        def back(part: Tensor) -> Tensor:
            part = part.reshape(prefixes, shared, members, group * tokens, -1).transpose(1, 2)
            part = part.reshape(prefixes * members, shared, group * tokens, -1)
            return part if plan.place is None else part[plan.place]

        found, weight = (back(part) for part in parts)
        # Σ exp of all scores is exp(weight) + exp(own_weight): each part counts for its share of that.
        result = torch.lerp(found, own, torch.sigmoid(own_weight - weight)).to(dtype)
        return result.reshape(batch, heads, tokens, dim).transpose(1, 2)

    def _own_bias(self, window: int | None, group: int) -> Tensor | None:
        """Return 0 or −∞ [row, 1, group × tok, slot] for the suffix, None where every slot is open."""
        plan = self._plan
        assert plan is not None
        if window is not None and plan.width <= window:
            window = None
        if ("own", window) not in self._biases:
            if plan.tokens == 1 and plan.at is not None and window is None:
                self._biases["own", window] = None
            else:
                slots = torch.arange(plan.width, device=self.device)
                at = plan.starts.unsqueeze(-1) + torch.arange(plan.tokens, device=self.device)  # [row, tok]
                open_ = slots <= at.unsqueeze(-1)
                if window is not None:
                    open_ &= slots > at.unsqueeze(-1) - window
                self._biases["own", window] = self._bias(open_[:, None, None], (group, plan.tokens))
        return self._biases["own", window]

    def _window_of_prefix(self, window: int | None) -> int | None:
        """Return the window if it may close a part of the prefix."""
        plan = self._plan
        assert plan is not None
        slots_there = self.prefixes.layers[0][0].shape[2]
        return None if window is not None and slots_there + plan.width <= window else window

    def _prefix_bias(self, window: int | None, group: int) -> Tensor | None:
        """Return 0 or −∞ [prefix, 1, member × group × tok, slot], None where every slot is open."""
        plan = self._plan
        assert plan is not None
        if ("prefix", window) not in self._biases:
            slots = torch.arange(self.prefixes.layers[0][0].shape[2], device=self.device)
            open_: Tensor | None = None
            if plan.prefix_ends is not None:
                open_ = (slots < plan.prefix_ends.unsqueeze(-1))[:, None, None, None, None]
            if window is not None:
                at = plan.member_offsets.view(-1, 1, plan.members, 1, 1, 1)
                at = at + torch.arange(plan.tokens, device=self.device).unsqueeze(-1)
                near = slots > at - window
                open_ = near if open_ is None else open_ & near
            inner = (plan.members, group, plan.tokens)
            self._biases["prefix", window] = None if open_ is None else self._bias(open_, inner)
        return self._biases["prefix", window]

    def _bias(self, open_: Tensor, inner: tuple[int, ...]) -> Tensor:
        """Return 0 where ``open_`` [batch, 1, *inner or ones, slot] and −∞ elsewhere, [batch, 1, queries, slot]."""
        closed = self.suffixes[0][0].new_zeros(open_.shape).masked_fill_(~open_, -torch.inf)
        return closed.expand(*closed.shape[:2], *inner, -1).flatten(2, -2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots of the longest row."""
        return int((self.prefixes.lengths[self.prefix] + self.lengths).max())


_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _part(
    query: Tensor, keys: Tensor, values: Tensor, cap: float | None, bias: Tensor | None, may_be_closed: bool = False
) -> tuple[Tensor, Tensor]:
    """Return what each query finds [batch, head, query, dim], and log Σ exp(score) [batch, head, query, 1], in float32.

    On a CPU torch's own kernel does it, whose scores stay in the cache; of a query that may look at nothing it says 0.

    Args:
        query: [batch, head, query, dim], scaled.
        keys: [batch, head, slot, dim].
        values: As ``keys``.
        cap: Scores become cap·tanh(score / cap).
        bias: Added to the scores, of the queries' type; [batch, 1, query, slot].
        may_be_closed: Some query may have a bias of −∞ everywhere; what it finds is finite, and its log Σ −∞.
    """
    if query.device.type == "cpu" and cap is None and not may_be_closed and values.shape[-1] == query.shape[-1]:
        found, weight = _flash(query, keys, values, 0.0, False, attn_mask=bias, scale=1.0)
        return found.float(), weight.unsqueeze(-1)
    scores = torch.matmul(query, keys.transpose(-1, -2)).float()  # [batch, head, query, slot]
    if cap is not None:
        scores = torch.tanh_(scores.div_(cap)).mul_(cap)
    if bias is not None:
        scores.add_(bias)
    top = scores.amax(-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)  # a window may close a whole part
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    found = torch.matmul(weights.to(values.dtype), values).float() / total.clamp_min(1.0)  # ≥ 1 where anything is open
    return found, top + total.log()


class _Layer(CacheLayerMixin):
    """One layer of :class:`Rows`, as transformers sees it."""

    is_sliding = False

    def __init__(self, rows: Rows, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows, self.index, self.is_initialized = rows, index, True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the buffers are there."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens and return all suffixes."""
        return self.rows.write(self.index, key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset for mask creation."""
        return self.rows.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Slots of the longest row."""
        return self.rows.get_seq_length()

    def get_max_length(self) -> int:
        """No bound that a model has to know."""
        return -1


_active = threading.local()


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **said: Any
) -> tuple[Tensor, None]:
    """Attention over the rows that are being read; what transformers calls for ``crossagent``."""
    scale = said.get("scaling")
    rows: Rows = _active.rows
    found = rows.attend(
        module.layer_idx,
        query,
        key,
        value,
        query.shape[-1] ** -0.5 if scale is None else float(scale),
        said.get("sliding_window"),
        said.get("softcap"),
    )
    return found, None


AttentionInterface.register(ATTENTION, attend)


@contextmanager
def our_attention(config: Any) -> Iterator[None]:
    """Let the decoder of this configuration attend with :func:`attend`."""
    config = config.get_text_config(decoder=True)
    before = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
