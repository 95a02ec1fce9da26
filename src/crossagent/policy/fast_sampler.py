"""The default sampler: our own decode loop, for any transformers decoder with full attention.

Three things make it faster than ``generate`` where a batch is many short turns of a small model: equal prompts (the
members of a group start alike) are read once; prompts are read in chunks small enough to stay in the cache of the CPU,
padded on the right so that no mask is needed; keys and values lie in buffers allocated once, out of which the rows
that have finished are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer

from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.model import Policy
from crossagent.policy.sampler import BatchedSampler, GenerateSampler, choose, uniforms, watched_logprobs

_CHUNK_TOKENS = 2048
"""Prompt tokens read at a time on a CPU: the activations of a small model then stay in its cache."""
_CHUNK_TOKENS_GPU = 65536
_DROP_AT = 0.75
"""Finished rows are dropped from the buffers when at most this share is left."""


class FastSampler(BatchedSampler):
    """Samples exactly like :class:`GenerateSampler`, faster; hands over to it for models it does not know to decode:
    those with sliding windows, recurrent layers, or positions that cannot be given.
    """

    def __init__(self, policy: Policy, batch_size: int = 256) -> None:
        """Sample from ``policy`` as it is at each call, at most ``batch_size`` rows at a time."""
        super().__init__(policy, batch_size)
        self._fallback = GenerateSampler(policy, batch_size)
        config = policy.backbone.config
        layers = DynamicCache(config=config).layers
        self._attention = str(config._attn_implementation)
        self.supported = (
            policy.takes_positions
            and self._attention in ("sdpa", "eager")
            and all(type(layer) is DynamicLayer for layer in layers)
        )
        """False when every call goes to ``generate``."""
        self._chunk = _CHUNK_TOKENS if policy.device.type == "cpu" else _CHUNK_TOKENS_GPU

    def _batch(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        if not self.supported:
            return self._fallback._batch(requests, params)
        start = time.perf_counter()
        budgets = np.array([params.max_new_tokens - len(r.forced_ids) for r in requests])
        state, logits = self._prefill(requests, int(budgets.max()) - 1)
        watched = watched_logprobs(requests, logits, params.temperature)
        self.timing.by_phase["prefill"] += time.perf_counter() - start

        start = time.perf_counter()
        seeds = np.array([r.seed for r in requests], dtype=np.uint64)
        forced = np.array([len(r.forced_ids) for r in requests])
        ids = np.zeros((len(requests), int(budgets.max())), dtype=np.int64)
        logprobs = np.zeros(ids.shape, dtype=np.float32)
        live = np.arange(len(requests))  # request of each row of the buffers
        for step in range(ids.shape[1]):
            u = torch.from_numpy(uniforms(seeds[live], forced[live] + step))
            chosen, logp = choose(logits, u, params.temperature)
            ids[live, step] = chosen.cpu().numpy()
            logprobs[live, step] = logp.cpu().numpy()
            going = (ids[live, step] != self.policy.eot_id) & (budgets[live] > step + 1) & ~state.done
            state.done = ~going
            if not going.any():
                break
            if going.mean() <= _DROP_AT:
                keep = torch.from_numpy(going.nonzero()[0]).to(logits.device)
                live, chosen = live[going], chosen[keep]
                state.keep(keep)
            logits = self._step(state, chosen)
        self.timing.by_phase["decode"] += time.perf_counter() - start
        return [
            self._finish(request, ids[row].tolist(), logprobs[row].tolist(), int(budgets[row]), watched[row])
            for row, request in enumerate(requests)
        ]

    def _prefill(self, requests: Sequence[SampleRequest], room: int) -> tuple[_State, Tensor]:
        """Read the prompts; return the buffers with ``room`` free slots, and the logits [row, vocab] after the prompts.

        ``requests`` are in canonical order: sorted by length, equal prompts side by side.
        """
        policy, device = self.policy, self.policy.device
        texts = [((*r.prompt_ids, *r.forced_ids)) for r in requests]
        unique = [(text, len(list(same))) for text, same in groupby(texts)]
        lengths = np.array([len(text) for text in texts])
        state: _State | None = None
        logits = []
        row = at = 0
        while at < len(unique):
            size = 1
            while at + size < len(unique) and (size + 1) * len(unique[at + size][0]) <= self._chunk:
                size += 1
            chunk = unique[at : at + size]
            width = len(chunk[-1][0])
            ids = np.full((size, width), policy.pad_id, dtype=np.int64)
            for index, (text, _) in enumerate(chunk):
                ids[index, : len(text)] = text
            ends = torch.tensor([len(text) - 1 for text, _ in chunk], device=device)
            cache = DynamicCache(config=policy.backbone.config)
            out = policy.logits_at(
                torch.arange(size, device=device),
                ends,
                input_ids=torch.from_numpy(ids).to(device),
                past_key_values=cache,
                use_cache=True,
            )
            times = torch.tensor([times for _, times in chunk], device=device)
            rows = torch.arange(size, device=device).repeat_interleave(times)
            if state is None:
                state = _State(cache, lengths, room, self._attention, device)
            state.fill(cache, rows, row)
            logits.append(out[rows])
            row += len(rows)
            at += size
        assert state is not None
        return state, torch.cat(logits)

    def _step(self, state: _State, chosen: Tensor) -> Tensor:
        """Feed one token per row and return the logits [row, vocab] after it."""
        mask, positions = state.advance()
        logits: Tensor = self.policy.model(
            input_ids=chosen.unsqueeze(-1),
            attention_mask=mask,
            position_ids=positions.unsqueeze(-1),
            past_key_values=state.cache,
            use_cache=True,
        ).logits
        return logits[:, -1]


class _State:
    """Keys, values and masks of a batch while it decodes."""

    def __init__(
        self, like: DynamicCache, lengths: np.ndarray, room: int, attention: str, device: torch.device
    ) -> None:
        self.width = int(lengths.max())
        slots, rows = self.width + room, len(lengths)
        self.slots = [_Slots(layer, rows, slots, self.width) for layer in like.layers]
        self.cache = Cache(layers=list(self.slots))
        self.lengths = torch.from_numpy(lengths).to(device)
        self.mask = torch.zeros(rows, slots, dtype=torch.bool, device=device)
        self.mask[:, : self.width] = torch.arange(self.width, device=device) < self.lengths.unsqueeze(-1)
        self.mask[:, self.width :] = True
        self.done = np.zeros(rows, dtype=bool)
        self.attention = attention
        self.steps = 0

    def fill(self, cache: DynamicCache, rows: Tensor, start: int) -> None:
        """Copy what a chunk of prompts left in its cache to the rows from ``start`` on."""
        layer: Any
        for slots, layer in zip(self.slots, cache.layers, strict=True):
            length = layer.keys.shape[2]
            slots.keys[start : start + len(rows), :, :length] = layer.keys[rows]
            slots.values[start : start + len(rows), :, :length] = layer.values[rows]

    def advance(self) -> tuple[Tensor, Tensor]:
        """Open the next slot; return the mask [row, 1, 1, slot] and the positions [row] of the new token."""
        positions = self.lengths + self.steps
        self.steps += 1
        mask = self.mask[:, None, None, : self.width + self.steps]
        if self.attention == "eager":
            dtype = self.slots[0].keys.dtype
            mask = torch.where(mask, 0.0, torch.finfo(dtype).min).to(dtype)
        return mask, positions

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self.lengths, self.mask = self.lengths[rows], self.mask[rows]
        self.done = self.done[rows.cpu().numpy()]
        for slots in self.slots:
            slots.keys, slots.values = slots.keys[rows], slots.values[rows]


class _Slots(CacheLayerMixin):
    """Keys and values of one layer, [row, head, slot, dim], written in place."""

    keys: Tensor
    values: Tensor

    def __init__(self, like: Any, rows: int, slots: int, filled: int) -> None:
        super().__init__()
        self.keys = like.keys.new_zeros(rows, like.keys.shape[1], slots, like.keys.shape[3])
        self.values = like.values.new_zeros(rows, like.values.shape[1], slots, like.values.shape[3])
        self.filled = filled
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the buffers are there."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one token per row into the next slot and return all filled ones."""
        self.keys[:, :, self.filled] = key_states[:, :, 0]
        self.values[:, :, self.filled] = value_states[:, :, 0]
        self.filled += 1
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset for mask creation."""
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        """Slots filled so far."""
        return self.filled

    def get_max_length(self) -> int:
        """Slots in all."""
        return self.keys.shape[2]
