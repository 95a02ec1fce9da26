"""The default sampler: our own decode loop, for any transformers decoder whose layers ask transformers for attention.

What makes it faster than ``generate`` where a batch is many short turns: equal prompts (the members of a group start
alike) are read once, stored once and attended to together; prompts are read in chunks small enough to stay in the cache of
the CPU, padded on the right so that no mask is needed; a prompt that goes on where an earlier one stopped (the whole
history is shown) is read from there only; rows that have finished are dropped. See :mod:`crossagent.sampling.kv_cache`.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.model import Policy
from crossagent.sampling.base import BatchedSampler, GenerateSampler, choose, sampling_mode, uniforms, watched_logprobs
from crossagent.sampling.kv_cache import Layers, Prefixes, Rows, joined, our_attention
from crossagent.sampling.merged_lora import merged_weights, with_merged

log = logging.getLogger(__name__)
_CHUNK_TOKENS = 2048
"""Prompt tokens read at a time on a CPU: the activations of a small model then stay in its cache."""
_CHUNK_TOKENS_GPU = 65536
_DROP_AT = 0.75
"""Finished rows are dropped from the buffers when at most this share is left."""
_MISSES = 3
"""After so many calls none of which found a row to go on with, nothing is kept until :meth:`FastSampler.forget`."""

Ids = tuple[int, ...]


@dataclass(eq=False)
class _Block:
    """Rows of one batch that have finished their turn."""

    prefixes: Prefixes
    suffixes: Layers
    rows: dict[Ids, list[tuple[int, int, int]]]
    """What was read → (prefix, row, suffix tokens) of the rows that read it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A row to go on with."""

    block: _Block
    prefix: int
    row: int
    length: int
    read: int
    """Tokens, prefix included."""


class FastSampler(BatchedSampler):
    """Samples exactly like :class:`GenerateSampler`, faster; hands over to it, and says so, where the model's layers do not
    decode in our loop as they do in their own (which is tried once, on a few tokens). Prompts with pictures go to it too.
    """

    def __init__(
        self,
        policy: Policy,
        batch_size: int = 256,
        *,
        keep_kv: bool = True,
        keep_gib: float = 2.0,
        merge_lora: bool | None = None,
    ) -> None:
        """Sample from ``policy`` as it is at each call, at most ``batch_size`` rows at a time.

        Args:
            policy: The policy.
            batch_size: Rows.
            keep_kv: Keep keys and values for prompts that go on where an earlier one stopped, until the weights change.
            keep_gib: At most so much of them.
            merge_lora: Sample from weights with the adapters merged in (a second copy of them); None: in float32 only, as
                merging rounds other than applying does.
        """
        super().__init__(policy, batch_size)
        self._fallback = GenerateSampler(policy, batch_size)
        self._fallback.timing = self.timing
        self._keep_kv, self._keep_bytes = keep_kv, int(keep_gib * 2**30)
        dtype = next(policy.model.parameters()).dtype
        self._merge = policy.config.lora is not None and (dtype == torch.float32 if merge_lora is None else merge_lora)
        self._merged: dict[str, Tensor] = {}
        self._chunk = _CHUNK_TOKENS if policy.device.type == "cpu" else _CHUNK_TOKENS_GPU
        self._supported: bool | None = None
        self._weights: Any = None
        self._blocks: list[_Block] = []
        self._misses = 0

    @property
    def supported(self) -> bool:
        """False when every call goes to ``generate``."""
        if self._supported is None:
            with sampling_mode(self.policy):
                reason = self._unsupported()
            self._supported = not reason
            if reason:
                kind = self.policy.backbone.config.model_type
                log.warning("rollout.sampler: %s is sampled with transformers' generate, slower: %s", kind, reason)
        return self._supported

    def forget(self) -> None:
        """Drop what was kept: what is sampled next depends on no earlier call, not even in the last bit."""
        self._blocks, self._misses = [], 0

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        """See :meth:`BatchedSampler.sample`; what was kept of older weights is dropped first."""
        weights = fingerprint(self.policy)
        if weights != self._weights:
            self._weights, self._merged = weights, {}
            self.forget()
        if self._merge and not self._merged:
            self._merged = merged_weights(self.policy.model)
        with with_merged(self.policy.model, self._merged):
            return super().sample(requests, params)

    def _batch(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        if not self.supported or any(request.images for request in requests):
            return self._fallback._batch(requests, params)
        start = time.perf_counter()
        budgets = np.array([params.max_new_tokens - len(r.forced_ids) for r in requests])
        rows, live, logits = self._open(requests, self._find(requests), int(budgets.max()))
        walk = self._walk(requests, params)
        logits = walk.mask(logits, live) if walk else logits
        watched = watched_logprobs([requests[i] for i in live], logits, params.temperature)
        watched_of = {int(i): values for i, values in zip(live, watched, strict=True)}
        self.timing.by_phase["prefill"] += time.perf_counter() - start

        start = time.perf_counter()
        seeds = np.array([r.seed for r in requests], dtype=np.uint64)
        forced = np.array([len(r.forced_ids) for r in requests])
        ids = np.zeros((len(requests), int(budgets.max())), dtype=np.int64)
        logprobs = np.zeros(ids.shape, dtype=np.float32)
        lasting = _Lasting(rows, live)
        going = np.ones(len(live), dtype=bool)
        for step in range(ids.shape[1]):
            u = torch.from_numpy(uniforms(seeds[live], forced[live] + step))
            chosen, logp = choose(logits, u, params.temperature)
            ids[live, step] = chosen.cpu().numpy()
            logprobs[live, step] = logp.cpu().numpy()
            if walk:
                walk.take(live, ids[live, step].tolist())
            going &= (ids[live, step] != self.policy.eot_id) & (budgets[live] > step + 1)
            if not going.any():
                break
            if going.mean() <= _DROP_AT:
                if self._keeping:
                    lasting.add(rows, live, ~going)
                kept = going.nonzero()[0]
                rows.keep(kept)
                live, going = live[kept], going[kept]
                chosen = chosen[torch.from_numpy(kept).to(chosen.device)]
            logits = self._read(rows, slice(0, len(live)), chosen.unsqueeze(-1), np.ones(len(live), dtype=np.int64))
            logits = walk.mask(logits, live) if walk else logits
        samples = [
            self._finish(
                request,
                ids[i].tolist(),
                logprobs[i].tolist(),
                int(budgets[i]),
                watched_of[i],
                walk.allowed(i) if walk else (),
            )
            for i, request in enumerate(requests)
        ]
        if self._keeping:
            lasting.add(rows, live, np.ones(len(live), dtype=bool))
            self._blocks += lasting.blocks(requests, samples)
            while self._blocks and _size(self._blocks) > self._keep_bytes:
                del self._blocks[0]
        self.timing.by_phase["decode"] += time.perf_counter() - start
        return samples

    # -- reading prompts -----------------------------------------------------------------------------------------
    def _open(
        self, requests: Sequence[SampleRequest], found: dict[int, _Found], room: int
    ) -> tuple[Rows, np.ndarray, Tensor]:
        """Read the prompts; return the rows, the request of each, and the logits [row, vocab] after the prompts.

        ``requests`` are in canonical order: sorted by length, equal prompts side by side.
        """
        texts = [(*r.prompt_ids, *r.forced_ids) for r in requests]
        fresh = [i for i in range(len(requests)) if i not in found]
        parts, logits = [], []
        owners: dict[int, tuple[Prefixes, set[int]]] = {}
        for match in found.values():
            owners.setdefault(id(match.block.prefixes), (match.block.prefixes, set()))[1].add(match.prefix)
        first: dict[tuple[int, int], int] = {}
        for key, (prefixes, used) in owners.items():
            first |= {(key, p): len(first) + k for k, p in enumerate(sorted(used))}
            parts.append(prefixes.take(sorted(used)))
        going_on = sorted(found, key=lambda i: (first[id(found[i].block.prefixes), found[i].prefix], i))
        prefix = [first[id(found[i].block.prefixes), found[i].prefix] for i in going_on]
        if fresh:
            unique = [(text, len(list(same))) for text, same in groupby(texts[i] for i in fresh)]
            read, after = self._prefixes([text for text, _ in unique])
            parts.append(read)
            prefix += [len(first) + k for k, (_, times) in enumerate(unique) for _ in range(times)]
            times = torch.tensor([times for _, times in unique], device=after.device)
            logits.append(after.repeat_interleave(times, dim=0))
        live = np.array([*going_on, *fresh])
        lengths = np.array([found[i].length if i in found else 0 for i in live])
        new = [len(texts[i]) - found[i].read for i in going_on]
        slots = int(lengths.max()) + max(new, default=0) + room
        prefixes = joined(parts)
        suffixes: Layers = [_buffers(layer, len(live), slots) for layer in prefixes.layers]
        by_block: dict[int, list[tuple[int, int]]] = {}
        for row, i in enumerate(going_on):
            by_block.setdefault(id(found[i].block), []).append((row, i))
        for here in by_block.values():
            block = found[here[0][1]].block
            to = torch.tensor([row for row, _ in here], device=prefixes.layers[0][0].device)
            at = torch.tensor([found[i].row for _, i in here], device=to.device)
            width = max(found[i].length for _, i in here)
            for mine, theirs in zip(suffixes, block.suffixes, strict=True):
                for own, old in zip(mine, theirs, strict=True):
                    own[to, :, :width] = old[at, :, :width]
        rows = Rows(prefixes, np.array(prefix), lengths, suffixes)
        tails = [texts[i][found[i].read :] for i in going_on]
        self.timing.reused_tokens += sum(found[i].read for i in going_on)
        logits[:0] = [
            self._read(rows, at, *self._padded(tails[at])) for at in _chunks([len(t) for t in tails], self._chunk)
        ]
        return rows, live, torch.cat(logits)

    def _prefixes(self, texts: Sequence[Ids]) -> tuple[Prefixes, Tensor]:
        """Read prompts, sorted by length; return their keys and values, and the logits [prompt, vocab] after them."""
        lengths = np.array([len(text) for text in texts])
        layers: Layers = []
        logits = []
        for at in _chunks(lengths, self._chunk):
            ids, counts = self._padded(texts[at])
            cache: Any = DynamicCache()  # every layer whole: where there is a window, our attention keeps to it
            logits.append(self._logits(ids, counts, past_key_values=cache))
            if not layers:
                width = int(lengths.max())
                dtype = self.policy.compute_dtype  # under autocast the cache is wider than that
                layers = [_buffers((layer.keys, layer.values), len(texts), width, dtype) for layer in cache.layers]
            for buffers, layer in zip(layers, cache.layers, strict=True):
                for buffer, read in zip(buffers, (layer.keys, layer.values), strict=True):
                    buffer[at, :, : read.shape[2]] = read
        return Prefixes(layers, lengths), torch.cat(logits)

    def _read(self, rows: Rows, at: slice, ids: Tensor, counts: np.ndarray) -> Tensor:
        """Feed ids [row, tok], ``counts`` of them real, and return the logits [row, vocab] after the last real one."""
        with our_attention(self.policy.backbone.config), rows.reading(at, counts) as positions:
            return self._logits(ids, counts, past_key_values=rows, position_ids=positions)

    def _logits(self, ids: Tensor, counts: np.ndarray, **inputs: Any) -> Tensor:
        row = torch.arange(len(ids), device=ids.device)
        ends = torch.from_numpy(counts - 1).to(ids.device)
        return self.policy.logits_at(row, ends, input_ids=ids, use_cache=True, **inputs)

    def _padded(self, texts: Sequence[Ids]) -> tuple[Tensor, np.ndarray]:
        """Return ids [row, tok], padded on the right, and the tokens of each."""
        counts = np.array([len(text) for text in texts])
        ids = np.full((len(texts), int(counts.max())), self.policy.pad_id, dtype=np.int64)
        for index, text in enumerate(texts):
            ids[index, : len(text)] = text
        return torch.from_numpy(ids).to(self.policy.device), counts

    # -- what is kept between turns ------------------------------------------------------------------------------
    @property
    def _keeping(self) -> bool:
        return self._keep_kv and self._misses < _MISSES

    def _find(self, requests: Sequence[SampleRequest]) -> dict[int, _Found]:
        """Return request → the kept row that read the most of its prompt; a row is given away once."""
        found: dict[int, _Found] = {}
        known = sorted({ids for block in self._blocks for ids in block.rows})
        missed = bool(known)
        for index, request in enumerate(requests):
            text = (*request.prompt_ids, *request.forced_ids)
            ids = _longest_start(known, text[:-1])
            if ids is None:
                continue
            block = next(b for b in self._blocks if ids in b.rows)
            prefix, row, length = block.rows[ids].pop(0)
            found[index] = _Found(block, prefix, row, length, len(ids))
            if not block.rows[ids]:
                del block.rows[ids]
                if not any(ids in b.rows for b in self._blocks):
                    known.remove(ids)
        self._misses = self._misses + 1 if missed and not found else 0 if found else self._misses
        self._blocks = [block for block in self._blocks if block.rows] if self._keeping else []
        return found

    def _unsupported(self) -> str:
        """Return why our loop cannot decode this model, empty where it can: it reads a few tokens both ways."""
        policy = self.policy
        if not policy.takes_positions:
            return "its positions cannot be given"
        vocab = policy.backbone.get_input_embeddings().weight.shape[0]
        text = [(7 * i + 3) % min(vocab, 97) for i in range(14)]
        texts = [tuple(text[:12]), tuple(text[2:])]
        starts = [text[:5] for text in texts]
        ends = [9, 7]
        try:
            prefixes, _ = self._prefixes(starts)
            rows = Rows(prefixes, np.array([0, 1]), np.array([0, 0]), [_buffers(la, 2, 8) for la in prefixes.layers])
            self._read(rows, slice(0, 2), *self._padded([t[5:end] for t, end in zip(texts, ends, strict=True)]))
            after = [t[end : end + 1] for t, end in zip(texts, ends, strict=True)]
            ours = self._read(rows, slice(0, 2), *self._padded(after)).float()
            ids, counts = self._padded([t[: end + 1] for t, end in zip(texts, ends, strict=True)])
            theirs = self._logits(ids, counts).float()
        except Exception as error:  # whatever a model that does not ask transformers for attention does
            return f"{type(error).__name__}: {error}"
        some = theirs.isfinite()  # what is never sampled is −∞ in both
        far = float((ours[some] - theirs[some]).abs().max() / theirs[some].abs().max().clamp(min=1e-3))
        return "" if far <= policy.tolerance else f"its logits would be {far:.1g} of their size off"


class _Lasting:
    """Collects the rows of a batch as they finish."""

    def __init__(self, rows: Rows, live: np.ndarray) -> None:
        self.prefixes = rows.prefixes
        self.prefix = dict(zip(live.tolist(), rows.prefix.tolist(), strict=True))
        self.lengths = dict(zip(live.tolist(), rows.lengths.tolist(), strict=True))
        self.parts: list[tuple[Layers, list[int]]] = []

    def add(self, rows: Rows, live: np.ndarray, which: np.ndarray) -> None:
        """Take the rows of ``which`` over; what follows a row's response in its buffer does not count."""
        at = torch.from_numpy(which.nonzero()[0]).to(rows.device)
        width = int(rows.lengths[which].max())
        taken = [(k[at, :, :width], v[at, :, :width]) for k, v in rows.suffixes]
        self.parts.append((taken, live[which].tolist()))

    def blocks(self, requests: Sequence[SampleRequest], samples: Sequence[Sample]) -> list[_Block]:
        """Return what is kept. The last token of a response was never read."""
        blocks = []
        for layers, owners in self.parts:
            block = _Block(self.prefixes, layers, {})
            for row, i in enumerate(owners):
                read = (*requests[i].prompt_ids, *samples[i].response_ids[:-1])
                length = self.lengths[i] + len(samples[i].response_ids) - len(requests[i].forced_ids) - 1
                block.rows.setdefault(read, []).append((self.prefix[i], row, length))
            blocks.append(block)
        return blocks


def _longest_start(known: Sequence[Ids], text: Ids) -> Ids | None:
    """Return the longest of ``known``, which is sorted, that ``text`` starts with."""
    while True:
        at = bisect_right(known, text)
        if not at:
            return None
        candidate = known[at - 1]
        same = next((k for k, (a, b) in enumerate(zip(candidate, text, strict=False)) if a != b), None)
        if same is None and len(candidate) <= len(text):
            return candidate
        text = text[:same]


def _chunks(lengths: Sequence[int] | np.ndarray, most: int) -> list[slice]:
    """Cut rows into slices of at most ``most`` padded tokens, a longer row alone."""
    found: list[slice] = []
    begin = widest = 0
    for k, length in enumerate(lengths):
        widest = max(widest, int(length))
        if k > begin and (k + 1 - begin) * widest > most:
            found.append(slice(begin, k))
            begin, widest = k, int(length)
    return [*found, slice(begin, len(lengths))] if len(lengths) else []


def _buffers(
    like: tuple[Tensor, Tensor], rows: int, slots: int, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    keys, values = (t.new_zeros(rows, t.shape[1], slots, t.shape[3], dtype=dtype) for t in like)
    return keys, values


def _size(blocks: Sequence[_Block]) -> int:
    """Return the bytes of what blocks hold, a prefix that several share once."""
    tensors = {id(t): t for b in blocks for layers in (b.prefixes.layers, b.suffixes) for kv in layers for t in kv}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def fingerprint(policy: Policy) -> tuple[Any, ...]:
    """Return what changes whenever a weight does: tensors count their changes; the sum finds changes behind their back."""
    parameters = list(policy.model.parameters())
    with torch.no_grad():
        probe = torch.stack([p.detach().reshape(-1)[:: max(1, p.numel() // 8)][:8].double().sum() for p in parameters])
    return (tuple((p._version, p.data_ptr()) for p in parameters), tuple(probe.tolist()))
