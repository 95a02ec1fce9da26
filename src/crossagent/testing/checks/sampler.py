"""``check_sampler``: the contract of a sampler, as rules. Loads no torch itself."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossagent.plugin import Sample, Sampler, SampleRequest, SamplingParams
from crossagent.testing.checks.findings import Finding, run_rules

Logits = Callable[[Sequence[int]], Sequence[float]]
"""Token ids → logits [vocab] of the next token, by a plain forward pass of the model."""
_DRAWS = 400
"""First tokens drawn to compare their distribution with the model's."""
_KS = 1.95
"""Kolmogorov-Smirnov bound × √n at which a right sampler fails once in 1,000 sets of seeds; a case has one set."""


@dataclass
class SamplerCase:
    """What the rules look at."""

    sampler: Sampler
    eot_id: int
    requests: list[SampleRequest]
    max_new_tokens: int
    tolerance: float
    logits: Logits | None
    seed: int
    _forward: dict[tuple[int, ...], NDArray[np.float64]] = field(default_factory=dict)

    def sample(
        self, requests: Sequence[SampleRequest], temperature: float = 1.0, limit: int | None = None
    ) -> list[Sample]:
        """Ask the sampler."""
        return self.sampler.sample(requests, SamplingParams(temperature, limit or self.max_new_tokens))

    @cached_property
    def samples(self) -> list[Sample]:
        """The answers at temperature 1."""
        return self.sample(self.requests)

    def pairs(self) -> Iterator[tuple[int, SampleRequest, Sample]]:
        """Yield index, request and its answer at temperature 1."""
        for index, (request, sample) in enumerate(zip(self.requests, self.samples, strict=False)):
            yield index, request, sample

    def logprobs_after(self, ids: Sequence[int], temperature: float) -> NDArray[np.float64]:
        """Return the model's log-probs [vocab] of the next token."""
        assert self.logits is not None
        key = tuple(ids)
        if key not in self._forward:
            self._forward[key] = np.asarray(self.logits(key), dtype=np.float64)
        scaled = self._forward[key] / temperature
        top = scaled.max()
        shifted: NDArray[np.float64] = scaled - top - math.log(np.exp(scaled - top).sum())
        return shifted

    def plain_logprobs(self, request: SampleRequest, sample: Sample, temperature: float) -> list[float]:
        """Return what a plain forward pass says of the sampled tokens."""
        forced = len(request.forced_ids)
        text = [*request.prompt_ids, *sample.response_ids]
        first = len(request.prompt_ids) + forced
        return [float(self.logprobs_after(text[:at], temperature)[text[at]]) for at in range(first, len(text))]


def check_sampler(
    sampler: Sampler,
    *,
    eot_id: int,
    vocabulary: Sequence[int],
    logits: Logits | None = None,
    max_new_tokens: int = 6,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> list[Finding]:
    """Check a sampler.

    Args:
        sampler: The sampler.
        eot_id: The end-of-turn token.
        vocabulary: Token ids to make prompts of; without ``eot_id``.
        logits: Token ids → logits [vocab] of the next token, by a plain forward pass of the same weights. Without it,
            log-probs and the distribution of what is drawn are not checked.
        max_new_tokens: Longest response.
        tolerance: Largest difference between a reported log-prob and that of the plain pass, in nats.
        seed: Everything drawn depends on it alone.

    Returns:
        What is wrong, empty for a good sampler. Never raises for a fault of the sampler.
    """
    case = sampler_case(
        sampler,
        eot_id=eot_id,
        vocabulary=vocabulary,
        logits=logits,
        max_new_tokens=max_new_tokens,
        tolerance=tolerance,
        seed=seed,
    )
    return run_rules(SAMPLER_RULES, case)


def sampler_case(
    sampler: Sampler,
    *,
    eot_id: int,
    vocabulary: Sequence[int],
    logits: Logits | None = None,
    max_new_tokens: int = 6,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> SamplerCase:
    """Return what the rules of :func:`check_sampler` look at: prompts of many lengths, some equal, some with a header."""
    draw = random.Random(seed)
    words = [token for token in vocabulary if token != eot_id]
    prompts = [tuple(draw.choices(words, k=draw.randint(1, 12))) for _ in range(12)]
    prompts[1::4] = prompts[::4]
    forced = tuple(draw.choices(words, k=2))
    requests = [
        SampleRequest(prompt, draw.getrandbits(63), forced if i % 3 == 0 else ()) for i, prompt in enumerate(prompts)
    ]
    return SamplerCase(sampler, eot_id, requests, max_new_tokens, tolerance, logits, seed)


# -- rules -----------------------------------------------------------------------------------------------------------
def one_sample_per_request(case: SamplerCase) -> Iterator[str]:
    """There is one sample per request, in the order of the requests, with as many log-probs as tokens."""
    if len(case.samples) != len(case.requests):
        yield f"{len(case.requests)} requests gave {len(case.samples)} samples; return one for each, in their order"
    if (nothing := case.sample([])) != []:
        yield f"no request gave {nothing!r}; return []"
    for index, _, sample in case.pairs():
        if not sample.response_ids:
            yield f"request {index}: no token was sampled; a response has at least one, the end-of-turn token if nothing else"
        if len(sample.response_ids) != len(sample.logprobs):
            yield f"request {index}: {len(sample.response_ids)} tokens but {len(sample.logprobs)} log-probs; report one for each"


def forced_tokens_come_first(case: SamplerCase) -> Iterator[str]:
    """A response opens with the tokens that were given, whose log-prob is 0."""
    for index, request, sample in case.pairs():
        n = len(request.forced_ids)
        if sample.response_ids[:n] != request.forced_ids:
            yield f"request {index}: the response opens with {sample.response_ids[:n]}; expected the forced {request.forced_ids}"
        elif any(sample.logprobs[:n]):
            yield f"request {index}: forced tokens have the log-probs {sample.logprobs[:n]}; report 0.0, they were not sampled"


def logprobs_are_logprobs(case: SamplerCase) -> Iterator[str]:
    """A log-prob is finite and at most 0."""
    for index, _, sample in case.pairs():
        if bad := [p for p in sample.logprobs if not math.isfinite(p) or p > 1e-6]:
            yield f"request {index}: log-prob {bad[0]}; report log p of the token that was drawn, a finite number ≤ 0"


def a_response_ends(case: SamplerCase) -> Iterator[str]:
    """A response ends with its end-of-turn token (``stop``) or at ``max_new_tokens`` (``length``), forced ones counted."""
    for limit in (case.max_new_tokens, 3):
        for index, (request, sample) in enumerate(
            zip(case.requests, case.sample(case.requests, limit=limit), strict=False)
        ):
            drawn = sample.response_ids[len(request.forced_ids) :]
            if case.eot_id in drawn[:-1]:
                yield f"request {index}: goes on after the end-of-turn token; cut the response behind it"
            stopped = drawn[-1:] == (case.eot_id,)
            if (sample.finish_reason == "stop") != stopped:
                yield (
                    f"request {index}: finish_reason is {sample.finish_reason!r} and the last token {drawn[-1:]}; "
                    f"'stop' means that {case.eot_id} was sampled, 'length' that it was not"
                )
            if len(sample.response_ids) > limit or (not stopped and len(sample.response_ids) != limit):
                yield f"request {index}: {len(sample.response_ids)} tokens without an end, max_new_tokens is {limit} (forced ones included)"


def order_is_irrelevant(case: SamplerCase) -> Iterator[str]:
    """A sample depends on its request alone, not on its place nor on its neighbours."""
    order = list(range(len(case.requests)))
    random.Random(case.seed).shuffle(order)
    shuffled = case.sample([case.requests[i] for i in order])
    for place, index in enumerate(order):
        if shuffled[place].response_ids != case.samples[index].response_ids:
            yield f"request {index} gives other tokens at place {place}; draw from SampleRequest.seed alone, put batches in an order of your own"
    for index, request, sample in case.pairs():
        (alone,) = case.sample([request])
        if alone.response_ids != sample.response_ids:
            yield f"request {index} gives other tokens alone than beside others; mind padding, positions and masks"


def seeds_decide(case: SamplerCase) -> Iterator[str]:
    """Equal seeds give equal tokens whatever the global generators are; they stay untouched; other seeds give others."""
    torch: Any = sys.modules.get("torch")
    states: list[Any] = []
    for number in (1, 2):
        random.seed(number)
        np.random.seed(number)
        if torch is not None:
            torch.manual_seed(number)
        before = _generators(torch)
        again = case.sample(case.requests)
        if _generators(torch) != before:
            yield "sampling moves a global random generator (random, numpy or torch); draw from a generator seeded per row"
        states.append([s.response_ids for s in again])
    if states[0] != states[1]:
        yield "the same requests give other tokens after the global generators were seeded anew; draw from SampleRequest.seed"
    prompt = case.requests[0].prompt_ids
    others = case.sample([SampleRequest(prompt, seed) for seed in range(16)])
    if len({s.response_ids for s in others}) == 1:
        yield "16 seeds give one response at temperature 1; let SampleRequest.seed decide what is drawn"


def _generators(torch: Any) -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    state = torch.get_rng_state().numpy().tobytes() if torch is not None else b""
    return random.getstate(), kind, np.asarray(keys).tobytes(), rest, state


def temperature_zero_is_greedy(case: SamplerCase) -> Iterator[str]:
    """At temperature 0 the likeliest token is taken, whatever the seed; reported are the log-probs of temperature 1."""
    requests = case.requests[:4]
    greedy = case.sample(requests, 0.0)
    reseeded = case.sample([SampleRequest(r.prompt_ids, r.seed + 1, r.forced_ids) for r in requests], 0.0)
    for index, (request, sample, other) in enumerate(zip(requests, greedy, reseeded, strict=True)):
        if sample.response_ids != other.response_ids:
            yield f"request {index}: two seeds give two responses at temperature 0; take the likeliest token"
        elif case.logits is not None:
            text, at = [*request.prompt_ids, *sample.response_ids], len(request.prompt_ids) + len(request.forced_ids)
            for place in range(at, len(text)):
                said = case.logprobs_after(text[:place], 1.0)
                if said[text[place]] < said.max() - case.tolerance:
                    yield f"request {index}: token {text[place]} was taken at temperature 0, {int(said.argmax())} is likelier"
            yield from _compare(
                case, request, sample, 1.0, f"request {index} at temperature 0, which reports those of 1"
            )


def logprobs_match_a_forward_pass(case: SamplerCase) -> Iterator[str]:
    """Reported log-probs are those of a plain forward pass at the sampling temperature."""
    if case.logits is None:
        return
    for temperature in (1.0, 0.6):
        requests = case.requests[:6]
        for index, (request, sample) in enumerate(zip(requests, case.sample(requests, temperature), strict=False)):
            yield from _compare(case, request, sample, temperature, f"request {index} at temperature {temperature}")


def _compare(
    case: SamplerCase, request: SampleRequest, sample: Sample, temperature: float, where: str
) -> Iterator[str]:
    plain = case.plain_logprobs(request, sample, temperature)
    reported = sample.logprobs[len(request.forced_ids) :]
    worst = max((abs(a - b) for a, b in zip(reported, plain, strict=False)), default=0.0)
    if not worst <= case.tolerance:
        yield (
            f"{where}: log-probs are {worst:.2g} nats from those of a plain forward pass (allowed {case.tolerance:g}); "
            "report log softmax(logits / temperature) over the whole vocabulary, before any filter"
        )


def draws_follow_the_model(case: SamplerCase) -> Iterator[str]:
    """First tokens are distributed as softmax(logits / temperature) says: no top-k, no top-p, no other temperature."""
    if case.logits is None:
        return
    prompt = case.requests[0].prompt_ids
    for temperature in (1.0, 0.5):
        draws = case.sample([SampleRequest(prompt, case.seed + i) for i in range(_DRAWS)], temperature, limit=1)
        p = np.exp(case.logprobs_after(prompt, temperature))
        ranked = np.argsort(-p, kind="stable")  # likeliest first: what a filter cuts off is the end
        upto = np.empty_like(p)
        upto[ranked] = np.cumsum(p[ranked])
        jitter = random.Random(case.seed)
        tokens = [sample.response_ids[0] for sample in draws]
        # the probability integral transform, made continuous: uniform on [0, 1] when the draws are right
        uniform = np.sort([upto[t] - p[t] * jitter.random() for t in tokens])
        steps = np.arange(len(uniform) + 1) / len(uniform)
        distance = float(max(np.abs(uniform - steps[1:]).max(), np.abs(uniform - steps[:-1]).max()))
        if distance * math.sqrt(len(uniform)) > _KS:
            yield (
                f"{_DRAWS} first tokens at temperature {temperature} are not distributed as the model says (KS distance "
                f"{distance:.3f}); sample from softmax(logits / temperature) over the whole vocabulary: no top-k, no top-p"
            )


SAMPLER_RULES: tuple[Callable[[SamplerCase], Iterator[str]], ...] = (
    one_sample_per_request,
    forced_tokens_come_first,
    logprobs_are_logprobs,
    a_response_ends,
    order_is_irrelevant,
    seeds_decide,
    temperature_zero_is_greedy,
    logprobs_match_a_forward_pass,
    draws_follow_the_model,
)
"""Every rule, in the order in which findings are listed."""
