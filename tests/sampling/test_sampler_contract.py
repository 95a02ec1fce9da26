"""Our samplers keep the contract that a rollout backend of a third party must keep; broken ones are found by their rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.model import Policy
from crossagent.sampling.base import GenerateSampler
from crossagent.sampling.fast import FastSampler
from crossagent.testing import SamplerContract, check_sampler
from crossagent.testing.checks.sampler import SAMPLER_RULES, Logits

from .conftest import tiny_policy


def plain_logits(policy: Policy) -> Logits:
    """Return token ids → logits of the next token: one row, no cache, no padding."""

    def logits(ids: Sequence[int]) -> Sequence[float]:
        with torch.no_grad():
            return policy.model(torch.tensor([list(ids)])).logits[0, -1].tolist()  # type: ignore[no-any-return]

    return logits


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A model that ends a turn about every third token, so that both ends of a response are seen."""
    policy = tiny_policy("scratch-0.1m", tmp_path_factory.mktemp("models"))
    head = policy.backbone.get_output_embeddings()
    bias = torch.zeros(head.weight.shape[0])
    bias[policy.eot_id] = 5.0
    head.register_forward_hook(lambda module, args, out: out + bias)
    return policy


@pytest.fixture(params=[GenerateSampler, FastSampler], scope="module")
def ours(request: pytest.FixtureRequest, policy: Policy) -> type[SamplerContract]:
    class Ours(SamplerContract):
        eot_id, vocabulary, logits = policy.eot_id, range(2, len(policy.tokenizer)), plain_logits(policy)

        @classmethod
        def sampler(cls) -> Any:
            return request.param(policy, batch_size=7)

    return Ours


@pytest.mark.parametrize("rule", [rule.__name__ for rule in SAMPLER_RULES])
def test_our_samplers_keep(rule: str, ours: type[SamplerContract]) -> None:
    getattr(ours(), f"test_{rule}")()


class Broken:
    """FastSampler with one fault: a change of the requests, of the parameters, or of the samples."""

    def __init__(
        self,
        policy: Policy,
        *,
        ask: Callable[[int, SampleRequest], SampleRequest] = lambda i, r: r,
        params: Callable[[SamplingParams], SamplingParams] = lambda p: p,
        answer: Callable[[SampleRequest, Sample], Sample] = lambda r, s: s,
        gather: Callable[[list[Sample]], Any] = lambda samples: samples,
    ) -> None:
        self.inner, self.ask, self.params, self.answer, self.gather = FastSampler(policy), ask, params, answer, gather

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> Any:
        asked = [self.ask(i, request) for i, request in enumerate(requests)]
        samples = self.inner.sample(asked, self.params(params))
        return self.gather([self.answer(r, s) for r, s in zip(asked, samples, strict=True)])


class TopK:
    """Cuts the vocabulary to its likeliest tokens, and reports what the whole would say."""

    def __init__(self, policy: Policy, k: int) -> None:
        self.inner, self.policy, self.k = FastSampler(policy), policy, k

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> Any:
        if params.max_new_tokens > 1 or params.temperature == 0:
            return self.inner.sample(requests, params)
        out = []
        for request in requests:
            logits = torch.tensor(plain_logits(self.policy)(request.prompt_ids)) / params.temperature
            top = logits.topk(self.k).indices
            generator = torch.Generator().manual_seed(request.seed)
            token = int(top[torch.multinomial(logits[top].softmax(-1), 1, generator=generator)])
            out.append(Sample((token,), (float(logits.log_softmax(-1)[token]),), "length"))
        return out


def _draws_globally(i: int, request: SampleRequest) -> SampleRequest:
    return replace(request, seed=int(torch.randint(2**31, ())))


BROKEN: dict[str, Callable[[Policy], Any]] = {
    "one-sample-per-request": lambda p: Broken(p, gather=lambda samples: samples[:-1]),
    "forced-tokens-come-first": lambda p: Broken(p, answer=lambda r, s: replace(s, response_ids=s.response_ids[len(r.forced_ids) :], logprobs=s.logprobs[len(r.forced_ids) :])),
    "logprobs-are-logprobs": lambda p: Broken(p, answer=lambda r, s: replace(s, logprobs=tuple(-x for x in s.logprobs))),
    "a-response-ends": lambda p: Broken(p, answer=lambda r, s: replace(s, finish_reason="stop")),
    "order-is-irrelevant": lambda p: Broken(p, ask=lambda i, r: replace(r, seed=r.seed + i)),
    "seeds-decide": lambda p: Broken(p, ask=_draws_globally),
    "temperature-zero-is-greedy": lambda p: Broken(p, params=lambda q: replace(q, temperature=q.temperature or 1.0)),
    "logprobs-match-a-forward-pass": lambda p: Broken(p, answer=lambda r, s: replace(s, logprobs=tuple(x * 1.01 for x in s.logprobs))),
    "draws-follow-the-model": lambda p: TopK(p, 40),
}  # fmt: skip


def test_there_is_a_broken_sampler_for_every_rule() -> None:
    assert set(BROKEN) == {rule.__name__.replace("_", "-") for rule in SAMPLER_RULES}


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_a_broken_sampler_is_found_by_its_rule(rule: str, policy: Policy) -> None:
    found = check_sampler(
        BROKEN[rule](policy),
        eot_id=policy.eot_id,
        vocabulary=range(2, len(policy.tokenizer)),
        logits=plain_logits(policy),
    )
    assert rule in {finding.rule for finding in found}, found
    assert all(len(finding.message) > 20 for finding in found)


def test_without_logits_a_sampler_is_checked_for_the_rest(policy: Policy, tmp_path: Path) -> None:
    wrong = BROKEN["logprobs-match-a-forward-pass"](policy)
    assert check_sampler(wrong, eot_id=policy.eot_id, vocabulary=range(2, 200)) == []
    unseeded = BROKEN["seeds-decide"](policy)
    found = {finding.rule for finding in check_sampler(unseeded, eot_id=policy.eot_id, vocabulary=range(2, 200))}
    assert "seeds-decide" in found
