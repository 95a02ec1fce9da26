"""Episodes of several turns through the sampler that keeps keys and values, against ``generate``, which keeps nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from crossagent.plugin import Sample, Sampler, SampleRequest, SamplingParams
from crossagent.policy.config import LoraConfig, PolicyConfig
from crossagent.policy.model import Policy
from crossagent.sampling.base import GenerateSampler
from crossagent.sampling.fast import FastSampler

from .conftest import tiny_policy

PARAMS = SamplingParams(max_new_tokens=6)
GREEDY = SamplingParams(temperature=0.0, max_new_tokens=6)
MODELS = ["scratch-0.1m", "gpt2", "qwen2", "qwen3", "gemma2", "gemma3", "qwen2_vl"]


def qwen2_vl() -> Policy:
    """The language side of a vision-language model, its own top-level class around it."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    other = tiny_policy("scratch-0.1m", Path())
    torch.manual_seed(0)
    text = {
        "vocab_size": len(other.tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    }
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    config = Qwen2VLConfig(text_config=text, vision_config=vision)
    return Policy(Qwen2VLForConditionalGeneration(config), other.tokenizer, PolicyConfig())


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    if request.param == "qwen2_vl":
        return qwen2_vl()
    return tiny_policy(request.param, tmp_path_factory.mktemp("models"))


def episodes(policy: Policy, sampler: Sampler, params: SamplingParams, *, turns: int = 4) -> Iterator[list[Sample]]:
    """Three groups of four, whose prompts grow by a response and an observation a turn; rows leave, others join."""
    draw = random.Random(1)
    words = range(6, len(policy.tokenizer))
    starts = [tuple(draw.choices(words, k=n)) for n in (9, 23, 24, 5)]
    prompts = {(g, m): starts[g] for g in range(3) for m in range(4)}
    for turn in range(turns):
        keys = sorted(prompts)
        requests = [
            SampleRequest(prompts[key], 1000 * turn + 10 * key[0] + key[1], (7, 8) if key[1] == 3 else ())
            for key in keys
        ]
        samples = sampler.sample(requests, params)
        yield samples
        for key, sample in zip(keys, samples, strict=True):
            observation = tuple(random.Random(f"{turn}{key}").choices(words, k=3 + key[1] + key[0]))
            prompts[key] = (*prompts[key], *sample.response_ids, *observation)
        if turn == 0:
            del prompts[1, 2]
        if turn == 1:
            prompts |= {(3, m): starts[3] for m in range(4)}
            prompts = {key: text for key, text in prompts.items() if key[0] != 0}


@pytest.mark.parametrize("params", [GREEDY, PARAMS], ids=["greedy", "sampled"])
def test_turns_are_those_of_generate(model: Policy, params: SamplingParams) -> None:
    fast = FastSampler(model)
    assert fast.supported
    played = zip(episodes(model, fast, params), episodes(model, GenerateSampler(model), params), strict=True)
    for ours, theirs in played:
        assert [s.response_ids for s in ours] == [s.response_ids for s in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)
    assert fast.timing.reused_tokens > 0.5 * fast.timing.prompt_tokens


@pytest.mark.parametrize("options", [{"keep_kv": False}, {"keep_gib": 0.0}, {"batch_size": 5}])
def test_what_is_kept_changes_no_token(model: Policy, options: dict[str, float]) -> None:
    plain = [[s.response_ids for s in turn] for turn in episodes(model, FastSampler(model), PARAMS)]
    other = FastSampler(model, **options)  # type: ignore[arg-type]
    assert [[s.response_ids for s in turn] for turn in episodes(model, other, PARAMS)] == plain
    assert (other.timing.reused_tokens > 0) == ("batch_size" in options)


def test_only_what_is_new_is_read(scratch: Policy) -> None:
    read: list[int] = []
    hook = scratch.backbone.model.layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs.get("hidden_states", args[0] if args else None).shape[:2].numel()),
        with_kwargs=True,
    )
    sampler = FastSampler(scratch)
    assert sampler.supported
    prompt = tuple(range(20, 60))
    try:
        read.clear()
        first = sampler.sample([SampleRequest(prompt, seed) for seed in range(4)], GREEDY)
        assert read[0] == 40, "the prompt of a group is read once"
        assert read[1:] == [4] * (len(read) - 1)
        observation = tuple(range(30, 35))
        longer = [SampleRequest((*prompt, *s.response_ids, *observation), 9 + i) for i, s in enumerate(first)]
        read.clear()
        sampler.sample(longer, GREEDY)
        assert read[0] == 4 * (1 + 5), "the last token of the response, which was never read, and the observation"
    finally:
        hook.remove()


def test_the_same_calls_give_the_same_bits(scratch: Policy) -> None:
    sampler = FastSampler(scratch)
    first = list(episodes(scratch, sampler, PARAMS))
    sampler.forget()
    assert list(episodes(scratch, sampler, PARAMS)) == first
    assert list(episodes(scratch, FastSampler(scratch), PARAMS)) == first


def test_new_weights_read_everything_anew(tmp_path: Path) -> None:
    policy = tiny_policy("scratch-0.1m", tmp_path)
    sampler = FastSampler(policy)
    prompt = tuple(range(20, 50))
    [first] = sampler.sample([SampleRequest(prompt, 1)], GREEDY)
    longer = [SampleRequest((*prompt, *first.response_ids, 30, 31), 2)]
    for change in (lambda p: p.add_(0.3), lambda p: p.data.mul_(-1.0)):  # the second is not counted by torch
        reused = sampler.timing.reused_tokens
        with torch.no_grad():
            for parameter in policy.parameters():
                change(parameter)
        changed = sampler.sample(longer, GREEDY)
        assert sampler.timing.reused_tokens == reused
        assert changed[0].response_ids == GenerateSampler(policy).sample(longer, GREEDY)[0].response_ids


def test_prompts_that_never_go_on_are_not_kept(scratch: Policy) -> None:
    sampler = FastSampler(scratch)
    for turn in range(6):
        sampler.sample([SampleRequest(tuple(range(20 + turn, 40)), seed) for seed in range(3)], PARAMS)
    assert not sampler._blocks
    assert sampler.timing.reused_tokens == 0


@pytest.mark.parametrize("kind", ["scratch-0.1m", "qwen2"])
def test_merged_adapters_sample_what_applied_ones_do(kind: str, tmp_path: Path) -> None:
    policy = tiny_policy(kind, tmp_path, LoraConfig(r=4))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    reference = list(episodes(policy, GenerateSampler(policy), GREEDY))
    for merge in (True, False):
        sampler = FastSampler(policy, merge_lora=merge)
        for ours, theirs in zip(episodes(policy, sampler, GREEDY), reference, strict=True):
            assert [s.response_ids for s in ours] == [s.response_ids for s in theirs]
            for one, other in zip(ours, theirs, strict=True):
                assert one.logprobs == pytest.approx(other.logprobs, abs=5e-5)
        assert bool(sampler._merged) == merge
    assert all(torch.equal(before[name], p) for name, p in policy.named_parameters()), "weights are as they were"


def test_a_model_without_attention_goes_to_generate_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = tiny_policy("mamba", tmp_path)
    sampler = FastSampler(policy)
    prompts = [SampleRequest(tuple(range(20, 26)), seed) for seed in range(3)]
    assert sampler.sample(prompts, GREEDY) == GenerateSampler(policy).sample(prompts, GREEDY)
    assert not sampler.supported
    assert "mamba is sampled with transformers' generate" in caplog.text
