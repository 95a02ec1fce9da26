"""Samplers: prompt ids in; response ids with their log-probs out.

:class:`GenerateSampler` runs transformers' ``generate`` and is the reference. Both samplers here draw tokens with
:func:`choose`: one uniform number per (row seed, position), from a counter-based generator, through the inverse of the
cumulative distribution. So a row's draw depends on its own seed alone, and requests are put in a canonical order before
they are batched: shuffled requests give the same samples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from crossagent.errors import CrossAgentError
from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.images import Pictures
from crossagent.policy.model import Policy
from crossagent.sampling.constrained import GrammarState, grammars_of
from crossagent.types import TokenSet

_BIN = 64
"""Tokens per bin of the two-level search in the cumulative distribution."""


@dataclass
class Timing:
    """What a sampler has done so far; plain counters, to be read and reset by whoever logs."""

    seconds: float = 0.0
    prompt_tokens: int = 0
    new_tokens: int = 0
    """Sampled ones; forced tokens count as prompt."""
    reused_tokens: int = 0
    """Prompt tokens that an earlier call had read already."""
    responses: int = 0
    by_phase: dict[str, float] = field(default_factory=lambda: {"prefill": 0.0, "decode": 0.0})
    """Seconds."""

    @property
    def tokens_per_second(self) -> float:
        """Prompt and new tokens together."""
        return (self.prompt_tokens + self.new_tokens) / self.seconds if self.seconds else 0.0

    @property
    def responses_per_second(self) -> float:
        """Turns."""
        return self.responses / self.seconds if self.seconds else 0.0


def uniforms(seeds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return one number in (0, 1) per (seed, position): SplitMix64 as a counter-based generator.

    Args:
        seeds: [row] uint64.
        positions: [row] position of the token in its response.
    """
    with np.errstate(over="ignore"):
        x = _mix(seeds.astype(np.uint64)) + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        bits = _mix(x) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def choose(logits: Tensor, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw one token per row and return (ids [row], log-probs [row] fp32).

    Args:
        logits: [row, vocab].
        u: [row] float64 in (0, 1); the token is where the cumulative probability passes it.
        temperature: 0 takes the likeliest token and reports its log-prob at temperature 1.
    """
    logits = logits.float()
    if temperature > 0 and temperature != 1.0:
        logits = logits / temperature
    top = logits.max(-1, keepdim=True).values
    weights = (logits - top).exp_()  # [row, vocab], unnormalised
    rows, vocab = weights.shape
    if temperature == 0:
        ids = logits.argmax(-1)
        total = weights.sum(-1)
    else:
        pad = -vocab % _BIN
        bins = torch.nn.functional.pad(weights, (0, pad)).view(rows, -1, _BIN)
        upto = bins.sum(-1).double().cumsum(-1)  # [row, bin]
        mass = upto[:, -1]
        at = u.to(mass.device) * mass
        bin_ = torch.searchsorted(upto, at.unsqueeze(-1), right=True).clamp_(max=upto.shape[1] - 1)
        before = torch.where(bin_ > 0, upto.gather(1, (bin_ - 1).clamp(min=0)), 0.0)
        inside = bins.gather(1, bin_.unsqueeze(-1).expand(-1, 1, _BIN)).squeeze(1).double()  # [row, _BIN]
        within = torch.searchsorted(inside.cumsum(-1), at.unsqueeze(-1) - before, right=True)
        # Rounding may run past the last token that has any weight: stay on it.
        last = (_BIN - 1) - (inside > 0).flip(-1).int().argmax(-1, keepdim=True)
        ids = (bin_ * _BIN + torch.minimum(within, last)).squeeze(-1)
        total = mass.float()
    logprobs = (logits.gather(-1, ids.unsqueeze(-1)) - top).squeeze(-1) - total.log()
    return ids, logprobs


def watched_logprobs(requests: Sequence[SampleRequest], logits: Tensor, temperature: float) -> list[tuple[float, ...]]:
    """Return the log-probs of each request's watched tokens; ``logits`` [row, vocab] are those of its first token."""
    width = max(len(request.watched_ids) for request in requests)
    if not width:
        return [()] * len(requests)
    logits = logits.float()
    if temperature > 0 and temperature != 1.0:
        logits = logits / temperature
    ids = torch.tensor([(*r.watched_ids, *(0,) * (width - len(r.watched_ids))) for r in requests], device=logits.device)
    rows = (logits.gather(-1, ids) - logits.logsumexp(-1, keepdim=True)).tolist()
    return [tuple(row[: len(request.watched_ids)]) for row, request in zip(rows, requests, strict=True)]


def canonical_order(requests: Sequence[SampleRequest]) -> list[int]:
    """Return the indices sorted by length, then content: neighbours pad little, and arrival order does not matter."""
    return sorted(
        range(len(requests)),
        key=lambda i: (
            len(requests[i].prompt_ids) + len(requests[i].forced_ids),
            requests[i].prompt_ids,
            requests[i].forced_ids,
            requests[i].seed,
            requests[i].images,
        ),
    )


@contextmanager
def sampling_mode(policy: Policy) -> Iterator[None]:
    """Evaluate without gradients; the mode of before comes back."""
    modes = [module for module in policy.modules() if module.training]
    policy.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in modes:
            module.training = True


class BatchedSampler:
    """What the samplers share: checks, order, batches, time. A subclass samples one batch."""

    def __init__(self, policy: Policy, batch_size: int = 256) -> None:
        """Sample from ``policy`` as it is at each call, at most ``batch_size`` rows at a time."""
        self.policy = policy
        self.batch_size = batch_size
        self.timing = Timing()
        limit = getattr(policy.backbone.config.get_text_config(), "max_position_embeddings", None)
        self._limit = int(limit) if limit else None

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        """Sample one response per request, in their order.

        Raises:
            CrossAgentError: A prompt is empty or too long for the model, or the parameters make no sense.
        """
        self._check(requests, params)
        start = time.perf_counter()
        order = canonical_order(requests)
        samples: list[Sample | None] = [None] * len(requests)
        with sampling_mode(self.policy):
            for at in range(0, len(order), self.batch_size):
                indices = order[at : at + self.batch_size]
                for index, sample in zip(indices, self._batch([requests[i] for i in indices], params), strict=True):
                    samples[index] = sample
        done = [sample for sample in samples if sample is not None]
        self.timing.seconds += time.perf_counter() - start
        self.timing.responses += len(done)
        self.timing.prompt_tokens += sum(len(r.prompt_ids) + len(r.forced_ids) for r in requests)
        self.timing.new_tokens += sum(len(s.response_ids) for s in done) - sum(len(r.forced_ids) for r in requests)
        return done

    def _batch(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        raise NotImplementedError

    def _check(self, requests: Sequence[SampleRequest], params: SamplingParams) -> None:
        if params.temperature < 0:
            raise CrossAgentError(f"temperature: got {params.temperature}; expected 0 (greedy) or more")
        places = self.policy.pictures.pad_id if self.policy.pictures is not None else None
        for request in requests:
            if not request.images and places in request.prompt_ids:
                raise CrossAgentError("sampler: a prompt holds places for pictures, but the request brings none")
            if not request.prompt_ids:
                raise CrossAgentError("sampler: a request has an empty prompt; expected at least one token")
            if len(request.forced_ids) >= params.max_new_tokens:
                raise CrossAgentError(
                    f"max_new_tokens: {params.max_new_tokens} leaves no room after {len(request.forced_ids)} forced tokens"
                )
            length = len(request.prompt_ids) + params.max_new_tokens
            if self._limit is not None and length > self._limit:
                raise CrossAgentError(
                    f"sampler: a prompt of {len(request.prompt_ids)} tokens and {params.max_new_tokens} new ones exceed the "
                    f"model's {self._limit} positions; show less history, or use a model with a longer context"
                )

    def _walk(self, requests: Sequence[SampleRequest], params: SamplingParams) -> GrammarState | None:
        """Return what keeps responses to their grammars; None where there is none."""
        if not any(request.grammar for request in requests):
            return None
        return grammars_of(self.policy.tokenizer, self.policy.eot_id).walk(requests, params.max_new_tokens)

    def _finish(
        self,
        request: SampleRequest,
        ids: Sequence[int],
        logprobs: Sequence[float],
        budget: int,
        watched: tuple[float, ...],
        allowed: tuple[TokenSet, ...] = (),
    ) -> Sample:
        """Cut at the end of turn or the budget, and put the forced tokens in front."""
        ids, logprobs = list(ids[:budget]), list(logprobs[:budget])
        stopped = self.policy.eot_id in ids
        if stopped:
            length = ids.index(self.policy.eot_id) + 1
            ids, logprobs = ids[:length], logprobs[:length]
        response = (*request.forced_ids, *ids)
        return Sample(
            response_ids=response,
            logprobs=(*(0.0 for _ in request.forced_ids), *logprobs),
            finish_reason="stop" if stopped else "length",
            watched_logprobs=watched,
            allowed=allowed[: len(response)],
        )


def left_padded(requests: Sequence[SampleRequest], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (ids, mask) [row, tok] of prompts with their forced tokens, padded on the left."""
    texts = [(*r.prompt_ids, *r.forced_ids) for r in requests]
    width = max(len(text) for text in texts)
    ids = np.full((len(texts), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(texts), width), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, width - len(text) :] = text
        mask[row, width - len(text) :] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


class GenerateSampler(BatchedSampler):
    """Sampling through transformers' ``generate``: works for every causal language model; the reference in tests."""

    def _batch(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        policy = self.policy
        ids, mask = left_padded(requests, policy.pad_id, policy.device)
        walk = self._walk(requests, params)
        chooser = _Chooser(requests, ids.shape[1], params.temperature, walk, policy.pictures)
        images = [request.images for request in requests]
        seen = policy.picture_inputs(ids, images) if any(images) else {}
        budgets = [params.max_new_tokens - len(r.forced_ids) for r in requests]
        start = time.perf_counter()
        out = policy.model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask,
            **seen,
            do_sample=False,  # the processor has chosen by then
            num_beams=1,
            max_new_tokens=max(budgets),
            eos_token_id=policy.eot_id,
            pad_token_id=policy.pad_id,
            logits_processor=LogitsProcessorList([chooser]),
        )
        self.timing.by_phase["decode"] += time.perf_counter() - start
        new = out[:, ids.shape[1] :].tolist()
        logprobs = torch.stack(chooser.logprobs, 1).tolist()
        allowed = [walk.allowed(i) if walk else () for i in range(len(requests))]
        rows = zip(requests, new, logprobs, budgets, chooser.watched, allowed, strict=True)
        return [self._finish(*row) for row in rows]


class _Chooser(LogitsProcessor):
    """Draws the token and leaves it as the only possible one."""

    def __init__(
        self,
        requests: Sequence[SampleRequest],
        width: int,
        temperature: float,
        walk: GrammarState | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self.requests, self.walk, self.pictures = requests, walk, pictures
        self.seeds = np.array([r.seed for r in requests], dtype=np.uint64)
        self.forced = np.array([len(r.forced_ids) for r in requests])
        self.width = width
        self.temperature = temperature
        self.logprobs: list[Tensor] = []
        self.watched: list[tuple[float, ...]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.pictures is not None:
            scores = self.pictures.hide(scores)
        rows = range(len(self.requests))
        if self.walk is not None:
            scores = self.walk.mask(scores, rows)
        if not self.logprobs:
            self.watched = watched_logprobs(self.requests, scores, self.temperature)
        positions = self.forced + (input_ids.shape[1] - self.width)
        ids, logprobs = choose(scores, torch.from_numpy(uniforms(self.seeds, positions)), self.temperature)
        self.logprobs.append(logprobs)
        if self.walk is not None:
            self.walk.take(rows, ids.tolist())
        return torch.full_like(scores, -torch.inf).scatter_(1, ids.unsqueeze(-1), 0.0)
