from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.errors import CrossAgentError
from crossagent.plugin import SampleRequest, SamplingParams
from crossagent.policy.config import LoraConfig
from crossagent.policy.model import Policy
from crossagent.sampling.base import GenerateSampler, choose, uniforms
from crossagent.sampling.fast import FastSampler

from .conftest import tiny_policy

PARAMS = SamplingParams(max_new_tokens=8)


def requests(policy: Policy, number: int = 24, seed: int = 0, lengths=(3, 40)) -> list[SampleRequest]:
    """Prompts of many lengths, some equal, some with a forced header."""
    draw = random.Random(seed)
    vocab = range(2, len(policy.tokenizer))
    prompts = [tuple(draw.choices(vocab, k=draw.randint(*lengths))) for _ in range(number)]
    prompts[1::4] = prompts[::4][: len(prompts[1::4])]
    forced = tuple(draw.choices(vocab, k=2))
    return [SampleRequest(p, draw.getrandbits(63), forced if i % 3 == 0 else ()) for i, p in enumerate(prompts)]


def training_logprobs(policy: Policy, request: SampleRequest, response: tuple[int, ...], temperature: float):
    """What training computes for the same tokens: alone in its batch, padded on the right."""
    text = [*request.prompt_ids, *response]
    ids = torch.tensor([[*text, policy.pad_id, policy.pad_id]])
    mask = torch.tensor([[1] * len(text) + [0, 0]])
    wanted = torch.zeros_like(mask, dtype=torch.bool)
    wanted[0, len(request.prompt_ids) : len(text)] = True
    with torch.no_grad():
        return policy.logprobs(ids, mask, wanted, temperature).logprobs[0, len(request.prompt_ids) : len(text)]


@pytest.fixture(params=[GenerateSampler, FastSampler])
def make(request: pytest.FixtureRequest):
    return request.param


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampler_logprobs_are_those_of_training(any_policy, make, temperature):
    params = SamplingParams(temperature=temperature, max_new_tokens=8)
    asked = requests(any_policy)
    samples = make(any_policy, batch_size=10).sample(asked, params)
    assert len(samples) == len(asked)
    for request, sample in zip(asked, samples, strict=True):
        forced = len(request.forced_ids)
        assert sample.response_ids[:forced] == request.forced_ids
        assert sample.logprobs[:forced] == (0.0,) * forced
        want = training_logprobs(any_policy, request, sample.response_ids, temperature)[forced:]
        torch.testing.assert_close(torch.tensor(sample.logprobs[forced:]), want, atol=1e-5, rtol=0)


def test_greedy_takes_the_likeliest_token_and_reports_temperature_one(any_policy, make):
    asked = requests(any_policy, 9)
    for request, sample in zip(asked, make(any_policy).sample(asked, SamplingParams(0.0, 6)), strict=True):
        text = [*request.prompt_ids, *request.forced_ids]
        for token in sample.response_ids[len(request.forced_ids) :]:
            with torch.no_grad():
                assert int(any_policy.model(torch.tensor([text])).logits[0, -1].argmax()) == token
            text.append(token)
        want = training_logprobs(any_policy, request, sample.response_ids, 1.0)[len(request.forced_ids) :]
        got = torch.tensor(sample.logprobs[len(request.forced_ids) :])
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["scratch-0.1m", "gpt2", "qwen2", "qwen3", "gemma2", "gemma3"])
def test_our_loop_runs_in_mixed_precision_and_says_what_training_says(tmp_path, kind):
    policy = tiny_policy(kind, tmp_path)
    sampler = FastSampler(policy)
    with torch.autocast("cpu", torch.bfloat16):
        assert sampler.supported
        assert policy.packs == (policy.config.attention == "sdpa")
        asked = requests(policy, 12)
        for _ in range(2):  # the second time prompts go on where the first ended
            samples = sampler.sample(asked, PARAMS)
            for request, sample in zip(asked, samples, strict=True):
                want = training_logprobs(policy, request, sample.response_ids, 1.0)[len(request.forced_ids) :]
                said = torch.tensor(sample.logprobs[len(request.forced_ids) :])
                torch.testing.assert_close(said, want, atol=0.1, rtol=0)
            asked = [
                SampleRequest((*r.prompt_ids, *s.response_ids, 9, 10), r.seed + 1)
                for r, s in zip(asked, samples, strict=True)
            ]
        assert sampler.timing.reused_tokens > 0
        half = [sample.logprobs for sample in samples]
    assert [sample.logprobs for sample in sampler.sample(asked, PARAMS)] != half


@pytest.mark.parametrize("params", [SamplingParams(0.0, 12), SamplingParams(1.0, 12), SamplingParams(0.5, 12)])
def test_both_samplers_agree(any_policy, params):
    asked = requests(any_policy, 40)
    reference = GenerateSampler(any_policy, 16).sample(asked, params)
    fast = FastSampler(any_policy, 40).sample(asked, params)
    assert [s.response_ids for s in fast] == [s.response_ids for s in reference]
    assert [s.finish_reason for s in fast] == [s.finish_reason for s in reference]
    for one, other in zip(fast, reference, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_watched_tokens_have_the_log_prob_they_would_have_been_sampled_with(scratch, make, temperature):
    prompts = [tuple(range(6, 12)), tuple(range(8, 20)), (9, 9, 9)]
    asked = [
        SampleRequest(p, 7 + i, watched_ids=w)
        for i, (p, w) in enumerate(zip(prompts, [(3, 5, 9), (), (4,)], strict=True))
    ]
    params = SamplingParams(temperature=temperature, max_new_tokens=4)
    samples = make(scratch).sample(asked, params)
    for request, sample in zip(asked, samples, strict=True):
        want = [float(training_logprobs(scratch, request, (i,), temperature or 1.0)[0]) for i in request.watched_ids]
        assert sample.watched_logprobs == pytest.approx(want, abs=1e-5)
    plain = make(scratch).sample([SampleRequest(r.prompt_ids, r.seed) for r in asked], params)
    assert [s.response_ids for s in plain] == [s.response_ids for s in samples], "looking changes nothing"


def test_our_loop_is_used_where_it_should_be(any_policy):
    assert FastSampler(any_policy).supported


def test_the_order_of_requests_does_not_matter(scratch, make):
    asked = requests(scratch, 30)
    first = make(scratch, batch_size=7).sample(asked, PARAMS)
    order = list(range(30))
    random.Random(3).shuffle(order)
    again = make(scratch, batch_size=7).sample([asked[i] for i in order], PARAMS)
    assert [first[i] for i in order] == again  # log-probs bit for bit


def test_a_row_does_not_depend_on_its_neighbours(scratch, make):
    asked = requests(scratch, 12)
    together = make(scratch).sample(asked, PARAMS)
    for request, sample in zip(asked, together, strict=True):
        [alone] = make(scratch).sample([request], PARAMS)
        assert alone.response_ids == sample.response_ids
        assert alone.logprobs == pytest.approx(sample.logprobs, abs=1e-5)


def test_torch_s_generator_is_neither_used_nor_moved(scratch, make):
    asked = requests(scratch, 8)
    torch.manual_seed(1)
    first = make(scratch).sample(asked, PARAMS)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), after)
    torch.manual_seed(2)
    assert make(scratch).sample(asked, PARAMS) == first


def test_equal_prompts_with_other_seeds_give_other_responses(scratch, make):
    asked = [SampleRequest((20, 21, 22), seed) for seed in range(16)]
    samples = make(scratch).sample(asked, PARAMS)
    assert len({s.response_ids for s in samples}) > 12


@pytest.fixture
def stopping(tmp_path) -> Policy:
    """Ends its turn with probability of about a half at each token."""
    policy = tiny_policy("scratch-0.1m", tmp_path)
    head = policy.backbone.get_output_embeddings()
    bias = torch.zeros(head.weight.shape[0])
    bias[policy.eot_id] = 5.8
    head.register_forward_hook(lambda module, args, out: out + bias)
    return policy


def test_a_response_ends_with_its_end_of_turn_or_at_the_limit(stopping, make):
    asked = requests(stopping, 60)
    samples = make(stopping, batch_size=32).sample(asked, SamplingParams(max_new_tokens=5))
    lengths = set()
    for request, sample in zip(asked, samples, strict=True):
        sampled = sample.response_ids[len(request.forced_ids) :]
        assert stopping.eot_id not in sampled[:-1]
        assert (sample.finish_reason == "stop") == (sampled[-1] == stopping.eot_id)
        if sample.finish_reason == "length":
            assert len(sample.response_ids) == 5
        lengths.add(len(sampled))
    assert {1, 2, 3} <= lengths
    assert {s.finish_reason for s in samples} == {"stop", "length"}
    reference = GenerateSampler(stopping, 16).sample(asked, SamplingParams(max_new_tokens=5))
    assert [s.response_ids for s in samples] == [s.response_ids for s in reference]


def test_the_policy_of_now_is_sampled_and_its_modes_come_back(tmp_path, make):
    policy = tiny_policy("scratch-0.1m", tmp_path, LoraConfig(r=4, dropout=0.5))
    policy.train()
    sampler = make(policy)
    asked = requests(policy, 6)
    before = sampler.sample(asked, PARAMS)
    assert sampler.sample(asked, PARAMS) == before  # dropout is off
    assert all(module.training for module in policy.modules())
    assert all(p.grad is None for p in policy.parameters())
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    assert sampler.sample(asked, PARAMS) != before


def test_the_counters_count(scratch, make):
    sampler = make(scratch, batch_size=8)
    asked = requests(scratch, 20)
    samples = sampler.sample(asked, PARAMS)
    assert sampler.timing.responses == 20
    assert sampler.timing.new_tokens == sum(
        len(s.response_ids) - len(r.forced_ids) for r, s in zip(asked, samples, strict=True)
    )
    assert sampler.timing.prompt_tokens == sum(len(r.prompt_ids) + len(r.forced_ids) for r in asked)
    assert sampler.timing.tokens_per_second > 0
    assert sampler.sample([], PARAMS) == []


@pytest.mark.parametrize(
    ("request_", "params", "message"),
    [
        (SampleRequest((), 1), PARAMS, "empty prompt"),
        (SampleRequest((5,), 1, (6, 7)), SamplingParams(1.0, 2), "max_new_tokens: 2 leaves no room after 2 forced"),
        (SampleRequest((5,), 1), SamplingParams(-1.0, 2), "temperature: got -1.0"),
        (SampleRequest((5,) * 2048, 1), PARAMS, "2048 tokens and 8 new ones exceed the model's 2048 positions"),
    ],
)
def test_what_cannot_be_sampled_is_refused(scratch, make, request_, params, message):
    with pytest.raises(CrossAgentError, match=message):
        make(scratch).sample([request_], params)


# -- drawing ---------------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    vocab=st.integers(1, 300),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    scale=st.sampled_from([0.0, 1.0, 30.0, 500.0]),
    seed=st.integers(0, 1000),
)
def test_a_draw_is_the_inverse_of_the_cumulative_distribution(vocab, temperature, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(16, vocab, generator=generator) * scale
    u = torch.rand(16, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    ids, logprobs = choose(logits, u, temperature)
    exact = (logits.double() / temperature).softmax(-1)
    upto = exact.cumsum(-1)
    at = torch.arange(16)
    assert bool((upto[at, ids] >= u - 1e-5).all())
    assert bool((upto[at, ids] - exact[at, ids] <= u + 1e-5).all())
    assert bool((exact[at, ids] > 0).all())
    rounding = 4 * torch.finfo(torch.float32).eps * scale / temperature  # of logits / temperature, in fp32
    torch.testing.assert_close(logprobs.double(), exact[at, ids].log(), atol=2e-5 + rounding, rtol=2e-6)


def test_draws_follow_the_distribution():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0]).expand(40_000, 4)
    seeds = np.arange(40_000, dtype=np.uint64)
    ids, _ = choose(logits, torch.from_numpy(uniforms(seeds, np.full(40_000, 3))), 1.0)
    shares = torch.bincount(ids, minlength=4) / 40_000
    torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.01, rtol=0)


def test_an_impossible_token_is_never_drawn():
    logits = torch.zeros(3, 130)
    logits[:, 100:] = -torch.inf
    logits[:, 0] = -torch.inf
    u = torch.tensor([1e-300, 0.5, 1 - 1e-16], dtype=torch.float64)
    ids, logprobs = choose(logits, u, 1.0)
    assert ids.tolist() == [1, 50, 99]
    torch.testing.assert_close(logprobs, torch.full((3,), -float(np.log(99))))


def test_uniforms_are_uniform_and_independent_over_seeds_and_positions():
    seeds, positions = np.divmod(np.arange(60_000, dtype=np.uint64), np.uint64(20))
    u = uniforms(seeds, positions).reshape(3000, 20)
    assert 0 < u.min() < u.max() < 1
    assert np.histogram(u, bins=10, range=(0, 1))[0] == pytest.approx(6000, rel=0.06)
    correlations = np.corrcoef(u.T) - np.eye(20)
    assert np.abs(correlations).max() < 0.09
    assert np.abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 0.02
    assert (
        uniforms(np.array([7], dtype=np.uint64), np.array([0]))[0]
        == uniforms(np.array([7, 8], dtype=np.uint64), np.array([0, 0]))[0]
    )
