"""Constrained decoding: every response is an action, drawn from what the policy says of the tokens that may follow."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from crossagent.errors import CrossAgentError, MissingExtraError
from crossagent.plugin import Action, ChainSpace, Sample, SampleRequest, SamplingParams, SpaceSet
from crossagent.policy.model import Policy
from crossagent.policy.token_sets import masked, members, token_set
from crossagent.sampling.base import GenerateSampler
from crossagent.sampling.constrained import Grammars, allowed_tokens, grammars_of
from crossagent.sampling.fast import FastSampler
from crossagent.testing import SamplerContract, ToyWorld
from crossagent.testing.checks.sampler import SAMPLER_RULES
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace
from crossagent_gui.space import GuiSpace

from .conftest import tiny_policy

pytest.importorskip("llguidance", reason="pip install 'crossagent[constrained]'")

SPACES = SpaceSet(
    {
        "api": ApiSpace(),
        "gui": GuiSpace(),
        "control": ControlSpace(),
        "plan": ChainSpace("plan", "Plan:", abstract=ApiSpace(), executable=ControlSpace()),
    }
)
GRAMMAR = SPACES.grammar(ToyWorld())
LIMIT = 40


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return tiny_policy("scratch-0.1m", tmp_path_factory.mktemp("models"))


def text_of(policy: Policy, sample: Sample) -> str:
    ids = sample.response_ids[:-1] if sample.finish_reason == "stop" else sample.response_ids
    return str(policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def requests(number: int, grammar: str = GRAMMAR, forced: tuple[int, ...] = ()) -> list[SampleRequest]:
    return [SampleRequest((9, 12, 40 + k % 3), k, forced, grammar=grammar) for k in range(number)]


def test_every_response_of_an_untrained_model_is_an_action(policy: Policy) -> None:
    samples = FastSampler(policy).sample(requests(1024), SamplingParams(1.0, LIMIT))
    decoded = [SPACES.decode(text_of(policy, sample)) for sample in samples]
    assert all(isinstance(action, Action) for _, action in decoded)
    assert {sample.finish_reason for sample in samples} == {"stop"}
    assert min(Counter(space for space, _ in decoded).values()) > 20, "no space is left out"
    assert len({sample.response_ids for sample in samples}) > 900
    free = FastSampler(policy).sample(requests(64, ""), SamplingParams(1.0, LIMIT))
    assert not any(isinstance(SPACES.decode(text_of(policy, sample))[1], Action) for sample in free)
    assert not any(sample.allowed for sample in free)


@pytest.mark.parametrize("kind", ["gpt2", "mamba"])
def test_so_it_is_with_other_models_and_through_generate(kind: str, tmp_path: Path) -> None:
    policy = tiny_policy(kind, tmp_path)
    fast, plain = (
        sampler(policy).sample(requests(24), SamplingParams(1.0, LIMIT)) for sampler in (FastSampler, GenerateSampler)
    )
    assert all(isinstance(SPACES.decode(text_of(policy, sample))[1], Action) for sample in fast)
    for one, other in zip(fast, plain, strict=True):
        assert one.response_ids == other.response_ids
        assert one.allowed == other.allowed
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_only_the_spaces_of_the_request_are_used(policy: Policy) -> None:
    some = SPACES.grammar(ToyWorld(), ["gui", "control"])
    forced = tuple(policy.tokenizer.encode("Action:", add_special_tokens=False))
    mixed = [*requests(40, some), *requests(10, some, forced), *requests(3, "")]
    samples = FastSampler(policy, batch_size=64).sample(mixed, SamplingParams(1.0, LIMIT))
    assert {SPACES.space_of(text_of(policy, sample)) for sample in samples[:40]} == {"gui", "control"}
    assert {SPACES.space_of(text_of(policy, sample)) for sample in samples[40:50]} == {"control"}
    assert not any(sample.allowed for sample in samples[50:])


class Constrained:
    """A sampler whose requests carry a grammar of some words."""

    def __init__(self, policy: Policy) -> None:
        self.inner = FastSampler(policy, batch_size=7)

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        asked = [SampleRequest(r.prompt_ids, r.seed, r.forced_ids, grammar="start: | /[a-z ]+/") for r in requests]
        return self.inner.sample(asked, params)


@pytest.mark.parametrize("rule", [rule.__name__ for rule in SAMPLER_RULES])
def test_the_contract_of_samplers_is_kept_under_a_grammar(rule: str, policy: Policy) -> None:
    tokenizer = policy.tokenizer
    words = [
        k for k in range(6, len(tokenizer)) if (t := tokenizer.decode([k])).islower() and t.isascii() and t.isalpha()
    ]

    class Ours(SamplerContract):
        eot_id, vocabulary = policy.eot_id, words

        @classmethod
        def sampler(cls) -> Any:
            return Constrained(policy)

    getattr(Ours(), f"test_{rule}")()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_over_what_could_be_drawn(policy: Policy, temperature: float) -> None:
    samples = FastSampler(policy).sample(requests(12), SamplingParams(temperature, LIMIT))
    for request, sample in zip(requests(12), samples, strict=True):
        ids = torch.tensor([[*request.prompt_ids, *sample.response_ids]])
        target = torch.arange(ids.shape[1]).unsqueeze(0) >= 3
        allowed = [(0, 3 + k, tokens) for k, tokens in enumerate(sample.allowed)]
        with torch.no_grad():
            under = policy.logprobs(ids, torch.ones_like(ids), target, temperature, allowed=allowed).logprobs[0, 3:]
            free = policy.logprobs(ids, torch.ones_like(ids), target, temperature).logprobs[0, 3:]
        torch.testing.assert_close(torch.tensor(sample.logprobs), under, atol=1e-4, rtol=0)
        assert float((under - free).max()) > 1
        assert all(token in members(tokens) for token, tokens in zip(sample.response_ids, sample.allowed, strict=True))


def test_a_word_may_be_written_with_any_tokens_and_is_not_forced(policy: Policy) -> None:
    """llguidance's own way would allow the tokens alone that its tokenizer writes: another distribution than the policy's."""
    (sample,) = FastSampler(policy).sample(requests(1), SamplingParams(1.0, LIMIT))
    first = {policy.tokenizer.decode([k]) for k in members(sample.allowed[0])}
    assert {"A", "Api", "G", "Gui", "Action", "P"} <= first
    assert all(header.startswith(tuple(first)) for header in ("Api:", "Gui:", "Action:", "Plan:"))


def test_watched_logprobs_are_under_the_grammar_too(policy: Policy) -> None:
    api = policy.tokenizer.encode("Api:", add_special_tokens=False)[0]
    request = SampleRequest((9,), 0, watched_ids=(api,), grammar=GRAMMAR)
    (under,) = FastSampler(policy).sample([request], SamplingParams(1.0, LIMIT))
    logits = policy.model(torch.tensor([[9]])).logits[0, -1:].detach()
    expected = masked(logits, under.allowed[:1]).log_softmax(-1)[0, api]
    assert under.watched_logprobs == pytest.approx((float(expected),), abs=1e-4)


def test_the_sets_follow_from_the_grammar_and_the_ids(policy: Policy) -> None:
    forced = tuple(policy.tokenizer.encode("Api:", add_special_tokens=False))
    for given in ((), forced):
        for sample in FastSampler(policy).sample(requests(8, forced=given), SamplingParams(1.0, LIMIT)):
            again = allowed_tokens(policy.tokenizer, policy.eot_id, GRAMMAR, sample.response_ids, LIMIT, len(given))
            assert again == sample.allowed
    with pytest.raises(CrossAgentError, match="token 300 at place 0"):
        allowed_tokens(policy.tokenizer, policy.eot_id, GRAMMAR, (300,), LIMIT)


def test_near_the_limit_a_response_is_ended_by_the_shortest_way(policy: Policy) -> None:
    reserve = grammars_of(policy.tokenizer, policy.eot_id).compile(GRAMMAR).reserve
    samples = FastSampler(policy).sample(requests(64), SamplingParams(1.0, LIMIT))
    long = [sample for sample in samples if len(sample.response_ids) > LIMIT - reserve]
    assert len(long) > 10, "an untrained model rarely ends by itself"
    for sample in long:
        ending = sample.allowed[LIMIT - reserve :]
        assert all(len(members(tokens)) == 1 for tokens in ending)
        assert sample.logprobs[LIMIT - reserve :] == (0.0,) * len(ending)
    short = [sample for sample in samples if len(sample.response_ids) <= LIMIT - reserve]
    assert short, "and now and then it does"


def test_where_nothing_ends_in_time_the_response_is_cut(policy: Policy) -> None:
    for sample in FastSampler(policy).sample(requests(8), SamplingParams(1.0, 2)):
        assert sample.finish_reason == "length"
        assert len(sample.allowed) == len(sample.response_ids) == 2
        assert "Action: Api: Gui: Plan:".find(text_of(policy, sample)) >= 0


def test_which_way_is_taken_does_not_depend_on_what_was_sampled_before(policy: Policy) -> None:
    asked = requests(32)
    together = FastSampler(policy).sample(asked, SamplingParams(1.0, 14))
    fresh = Grammars(policy.tokenizer, policy.eot_id)
    for request, sample in list(zip(asked, together, strict=True))[::-1]:
        walk = fresh.walk([request], 14)
        assert walk is not None
        for token in sample.response_ids:
            walk.mask(torch.zeros(1, len(policy.tokenizer)), [0])
            walk.take([0], [token])
        assert walk.allowed(0) == sample.allowed


def test_what_cannot_be_kept_to_is_said(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = FastSampler(policy)
    with pytest.raises(CrossAgentError, match="the forced token 40"):
        sampler.sample(requests(1, forced=(40,)), SamplingParams(1.0, LIMIT))
    with pytest.raises(CrossAgentError, match=r"cannot be compiled: NoExtensionBias\. Fix"):
        sampler.sample(requests(1, "start: x\nx: x\n"), SamplingParams(1.0, LIMIT))
    with pytest.raises(CrossAgentError, match="needs a fast tokenizer"):
        Grammars(object(), 1)
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossagent\[constrained\]'"):
        Grammars(policy.tokenizer, policy.eot_id)


def test_logits_know_of_sets() -> None:
    logits = torch.randn(4, 10, requires_grad=True)
    sets = [token_set([1, 9], 10), b"", token_set([1, 9], 10), token_set([3], 10)]
    found = masked(logits, sets)
    assert members(sets[0]) == [1, 9]
    for row, only in enumerate(([1, 9], range(10), [1, 9], [3])):
        assert set(found[row].isfinite().nonzero().flatten().tolist()) == set(only)
    assert masked(logits, [b""] * 4) is logits
    wide = masked(torch.zeros(1, 24), sets[:1])  # a model with more rows than its tokenizer has tokens
    assert wide.isfinite().nonzero()[:, 1].tolist() == [1, 9]


def test_the_gradient_of_logprobs_and_entropies_is_that_of_the_smaller_distribution(policy: Policy) -> None:
    """By the book: a softmax over the allowed logits alone; what may not follow gets no gradient, and nothing is NaN."""
    ids = torch.tensor([[9, 12, 40, 41]])
    target = torch.tensor([[False, False, True, True]])
    allowed = [(0, 2, token_set([3, 40, 77], 300)), (0, 3, token_set([41], 300))]
    parameters = [p for p in policy.model.parameters() if p.requires_grad]
    output = policy.logprobs(ids, torch.ones_like(ids), target, 0.8, allowed=allowed)
    got = torch.autograd.grad(output.logprobs.sum() + 0.3 * output.entropy.sum(), parameters)
    few = policy.model(ids).logits[0, 1, [3, 40, 77]].double() / 0.8
    expected = few.log_softmax(-1)[1] + 0.3 * torch.distributions.Categorical(logits=few).entropy()
    for a, b in zip(got, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)
    assert not output.logprobs[0, 3].detach().any()
    assert not output.entropy[0, 3].detach().any()
