"""A policy that sees: places in the prompt, the same log-probs in sampling and training, and what changes with a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossagent.envs.images import png
from crossagent.errors import CrossAgentError, RecipeError
from crossagent.plugin import SampleRequest, SamplingParams
from crossagent.policy.config import LoraConfig, PolicyConfig, PromptConfig
from crossagent.policy.model import Policy, make_reference
from crossagent.policy.prompt import PromptFormat
from crossagent.sampling.base import GenerateSampler
from crossagent.sampling.fast import FastSampler
from crossagent.training.batch import collate, rows_from_trajectories
from crossagent.training.config import GRPOConfig
from crossagent.training.grpo import GRPOModule
from crossagent.types import StopReason, Trajectory, Turn

from .conftest import TEXTS

Config = Callable[[str], dict[str, Any]]
KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def seeing_policy(config: dict[str, Any], directory: Path, lora: LoraConfig | None = None) -> Policy:
    """A fresh one, whose tokenizer is made of the tests' texts."""
    path = directory / "model"
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return Policy.build(PolicyConfig(model=str(path), lora=lora), texts=TEXTS, seed=3)


def picture(seed: int, height: int = 64, width: int = 96) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def written(policy: Policy, *pictures: bytes, style: str = "chat", history: int = -1) -> tuple[int, ...]:
    made = PromptFormat(
        policy.tokenizer, PromptConfig(style, history), {"api": "Api: go"}, {"api": "Api:"}, pictures=policy.pictures
    )
    past = [("near: cow", made.response_ids("Api: mine(oak_log)", "api"))] * (len(pictures) - 1)
    return made.prompt_ids("Kill a cow.", ["api"], past, "now", pictures)


@pytest.fixture(scope="module", params=KINDS)
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_vision: Config) -> Policy:
    return seeing_policy(tiny_vision(request.param), tmp_path_factory.mktemp("seeing"))


def logprobs(
    policy: Policy, ids: tuple[int, ...], start: int, images: tuple[bytes, ...], temperature: float = 1.0
) -> Any:
    """What training computes, alone in its batch, padded on the right."""
    tokens = torch.tensor([[*ids, policy.pad_id, policy.pad_id]])
    mask = torch.tensor([[1] * len(ids) + [0, 0]])
    wanted = torch.zeros_like(mask, dtype=torch.bool)
    wanted[0, start : len(ids)] = True
    with torch.no_grad():
        return policy.logprobs(tokens, mask, wanted, temperature, images=[images]).logprobs[0, start : len(ids)]


def test_a_picture_takes_a_place_per_merged_patch(policy: Policy) -> None:
    assert policy.pictures is not None
    tokens = policy.pictures.tokens(picture(0))
    side = policy.backbone.config.vision_config.patch_size * 2
    assert len(tokens) == 2 + round(64 / side) * round(96 / side)
    assert policy.tokenizer.decode([tokens[0], tokens[-1]]) == "<|vision_start|><|vision_end|>"
    large = policy.pictures.tokens(picture(0, 640, 1280))
    assert (len(large) - 2) * side * side <= policy.config.max_pixels


@pytest.mark.parametrize("make", [GenerateSampler, FastSampler])
def test_log_probs_of_sampling_are_those_of_training(policy: Policy, make: Any) -> None:
    """Prompts of several lengths, sizes and numbers of pictures, one without any, in one batch."""
    seen = [(picture(1),), (picture(2, 32, 40), picture(3)), (), (picture(4), picture(5), picture(6))]
    requests = [
        SampleRequest(written(policy, *(images or (b"",))), seed=i, images=images) for i, images in enumerate(seen)
    ]
    samples = make(policy).sample(requests, SamplingParams(0.7, 6))
    for request, sample in zip(requests, samples, strict=True):
        ids = (*request.prompt_ids, *sample.response_ids)
        want = logprobs(policy, ids, len(request.prompt_ids), request.images, 0.7)
        torch.testing.assert_close(torch.tensor(sample.logprobs), want, atol=2e-5, rtol=0)


def test_prompts_without_pictures_are_sampled_by_our_own_loop(policy: Policy) -> None:
    assert FastSampler(policy).supported


def test_what_is_seen_changes_what_is_said(policy: Policy) -> None:
    ids = written(policy, picture(7))
    response = (*ids, 10, 11, 12)
    one, same, other = (logprobs(policy, response, len(ids), (picture(seed),)) for seed in (7, 7, 8))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1e-6)


def test_rows_of_a_batch_see_their_own_pictures(policy: Policy) -> None:
    ids = written(policy, picture(7))
    tokens = torch.tensor([[*ids, 10, 11]] * 2)
    mask = torch.ones_like(tokens)
    wanted = torch.zeros_like(mask, dtype=torch.bool)
    wanted[:, len(ids) :] = True
    with torch.no_grad():
        both = policy.logprobs(tokens, mask, wanted, images=[(picture(7),), (picture(8),)]).logprobs[:, len(ids) :]
    for row, seed in enumerate((7, 8)):
        torch.testing.assert_close(
            both[row], logprobs(policy, (*ids, 10, 11), len(ids), (picture(seed),)), atol=1e-5, rtol=0
        )


def test_no_place_for_a_picture_is_ever_sampled(policy: Policy) -> None:
    assert policy.pictures is not None
    with torch.no_grad():
        head = policy.backbone.get_output_embeddings()
        ids = torch.tensor([written(policy, picture(1))])
        logits = policy.logits_at(
            torch.tensor([0]),
            torch.tensor([ids.shape[1] - 1]),
            input_ids=ids,
            **policy.picture_inputs(ids, [(picture(1),)]),
        )
    assert logits[0, policy.pictures.pad_id] == -torch.inf
    assert torch.isfinite(logits).sum() == head.weight.shape[0] - 1
    out = policy.logprobs(ids, torch.ones_like(ids), ids.cumsum(-1) > ids.sum() - 1, images=[(picture(1),)])
    assert torch.isfinite(out.entropy).all()


def test_a_checkpoint_sees_as_the_policy_did(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "kept")
    loaded = Policy.load(tmp_path / "kept")
    ids = written(policy, picture(1))
    assert written(loaded, picture(1)) == ids
    want, got = (logprobs(p, (*ids, 10, 11), len(ids), (picture(1),)) for p in (policy, loaded))
    assert torch.equal(want, got)
    again = Policy.build(PolicyConfig(model=str(tmp_path / "kept")), seed=5)
    assert torch.equal(want, logprobs(again, (*ids, 10, 11), len(ids), (picture(1),)))


def test_adapters_reach_the_eyes(tmp_path: Path, tiny_vision: Config) -> None:
    policy = seeing_policy(tiny_vision("qwen2_5_vl"), tmp_path, LoraConfig(r=2))
    ids = torch.tensor([[*written(policy, picture(1)), 10, 11]])
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, -2:] = True
    with torch.no_grad():  # B begins as 0, and would leave A without a gradient
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    reference = make_reference(policy)
    out = policy.logprobs(ids, torch.ones_like(ids), wanted, images=[(picture(1),)])
    kept = reference.logprobs(ids, torch.ones_like(ids), wanted, images=[(picture(1),)])
    torch.testing.assert_close(out.logprobs.detach(), kept.logprobs)
    out.logprobs.sum().backward()
    moved = [n for n, p in policy.named_parameters() if p.requires_grad and p.grad is not None and bool(p.grad.any())]
    assert any("visual" in name for name in moved)
    assert any("language_model" in name for name in moved)
    policy.save(tmp_path / "kept")
    loaded = Policy.load(tmp_path / "kept")
    want, got = (logprobs(p, tuple(ids[0].tolist()), ids.shape[1] - 2, (picture(1),)) for p in (policy, loaded))
    torch.testing.assert_close(want, got, atol=1e-6, rtol=0)
    merged = loaded.merged()
    assert merged.pictures is not None
    torch.testing.assert_close(
        want, logprobs(merged, tuple(ids[0].tolist()), ids.shape[1] - 2, (picture(1),)), atol=1e-5, rtol=0
    )


def test_a_prompt_shows_the_pictures_of_the_turns_that_it_shows(policy: Policy) -> None:
    assert policy.pictures is not None
    made = PromptFormat(
        policy.tokenizer, PromptConfig("chat", 1), {"api": "Api: go"}, {"api": "Api:"}, pictures=policy.pictures
    )
    past = [("far", made.response_ids("Api: mine(oak_log)", "api"))] * 3
    images = [picture(1), picture(2), b"", picture(4)]
    ids = made.prompt_ids("Kill a cow.", ["api"], past, "now", images)
    assert made.shown(images) == (picture(4),)
    assert ids.count(policy.pictures.pad_id) == policy.pictures.tokens(picture(4)).count(policy.pictures.pad_id)
    assert made.shown(images[:2]) == (picture(1), picture(2))
    off = PromptFormat(
        policy.tokenizer,
        PromptConfig("chat", 1, pictures=False),
        {"api": "Api: go"},
        {"api": "Api:"},
        pictures=policy.pictures,
    )
    assert off.shown(images) == ()
    assert off.prompt_ids("Kill a cow.", ["api"], past, "now", images) == off.prompt_ids(
        "Kill a cow.", ["api"], past, "now"
    )


def test_text_that_looks_like_a_picture_is_only_text(policy: Policy) -> None:
    assert policy.pictures is not None
    made = PromptFormat(
        policy.tokenizer, PromptConfig("chat", 0), {"api": "Api: go"}, {"api": "Api:"}, pictures=policy.pictures
    )
    ids = made.prompt_ids("Kill a cow.", ["api"], [], "a sign says <|image_pad|>", [picture(1)])
    assert ids.count(policy.pictures.pad_id) == policy.pictures.tokens(picture(1)).count(policy.pictures.pad_id)


def test_turns_in_one_row_keep_their_pictures_in_order(policy: Policy) -> None:
    """With the whole history, the row of an episode shows every picture once; turn by turn, each row its own."""
    assert policy.pictures is not None
    made = PromptFormat(
        policy.tokenizer, PromptConfig("chat", -1), {"api": "Api: go"}, {"api": "Api:"}, pictures=policy.pictures
    )
    images, history, turns = [picture(1), picture(2), picture(3)], [], []
    response = made.response_ids("Api: mine(oak_log)", "api")
    for number in range(3):
        seen = images[: number + 1]
        ids = made.prompt_ids("Kill a cow.", ["api"], history, "now", seen)
        turns.append(Turn(ids, response, (0.0,) * len(response), image=seen[-1], pictures=made.shown(seen)))
        history.append(("now", response))
    played = [Trajectory("t", "c", "e", 0, 0, 0, tuple(turns), StopReason.terminated, True)]
    (row,) = rows_from_trajectories(played, concatenate=True)
    assert row.images == tuple(images)
    single = rows_from_trajectories(played)
    assert [one.images for one in single] == [tuple(images[:1]), tuple(images[:2]), tuple(images)]
    with torch.no_grad():
        batches = [collate(rows, policy.pad_id) for rows in ([row], single)]
        whole, parts = (
            policy.logprobs(b.input_ids, b.attention_mask, b.loss_mask, images=b.images).logprobs for b in batches
        )
    torch.testing.assert_close(whole.sum(), parts.sum(), atol=1e-3, rtol=0)
    assert whole.sum() != 0


def test_pictures_that_do_not_fill_their_places_are_refused(policy: Policy) -> None:
    ids = torch.tensor([written(policy, picture(1))])
    with pytest.raises(ValueError, match="places for pictures"):
        policy.picture_inputs(ids, [(picture(1), picture(2))])


def test_places_without_pictures_are_refused_so_that_nothing_trains_blindly(policy: Policy) -> None:
    ids = torch.tensor([written(policy, picture(1))])
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, -1] = True
    with pytest.raises(ValueError, match="places for pictures"):
        policy.logprobs(ids, torch.ones_like(ids), wanted)
    with pytest.raises(CrossAgentError, match="places for pictures"):
        FastSampler(policy).sample([SampleRequest(tuple(ids[0].tolist()), seed=0)], SamplingParams(1.0, 4))


def test_a_policy_that_reads_text_alone_is_given_no_pictures(scratch: Policy) -> None:
    assert scratch.pictures is None
    with pytest.raises(ValueError, match="reads text alone"):
        scratch.picture_inputs(torch.ones(1, 4, dtype=torch.long), [(picture(1),)])


def test_a_tokenizer_without_the_tokens_of_pictures_is_refused(
    scratch: Policy, tmp_path: Path, tiny_vision: Config
) -> None:
    path = tmp_path / "wrong"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(tiny_vision("qwen2_5_vl")))
    scratch.tokenizer.save_pretrained(path)
    with pytest.raises(RecipeError, match=r"its tokenizer has no <\|vision_start\|>"):
        Policy.build(PolicyConfig(model=str(path)))


def test_a_blank_picture_beside_the_rows_changes_nothing_of_them_and_gives_what_reads_pictures_a_gradient(
    policy: Policy,
) -> None:
    rows = [written(policy, b"")[:n] for n in (9, 4)]
    ids = torch.tensor([[*row, *[policy.pad_id] * (9 - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (9 - len(row)) for row in rows])
    wanted = mask.bool().clone()
    wanted[:, 0] = False
    eyes = [p for name, p in policy.named_parameters() if "visual" in name]
    found = {}
    for looks in (False, True):
        policy.zero_grad()
        out = policy.logprobs(ids, mask, wanted, looks=looks)
        assert out.logprobs.shape == out.entropy.shape == ids.shape
        out.logprobs.sum().backward()
        others = {name: p.grad for name, p in policy.named_parameters() if "visual" not in name}
        found[looks] = out.logprobs.detach(), out.entropy.detach(), others
        assert [p.grad is not None and not p.grad.any() for p in eyes] == [looks] * len(eyes)
    torch.testing.assert_close(found[True][:2], found[False][:2], atol=1e-5, rtol=0)
    for name, gradient in found[False][2].items():
        torch.testing.assert_close(found[True][2][name], gradient, atol=1e-4, rtol=1e-4)
    policy.zero_grad()


def test_ranks_that_look_cut_their_rows_as_the_padded_rows_they_are_computed_as(policy: Policy) -> None:
    """Under DDP a policy that sees is shown a blank picture beside text alone: nothing is packed then, and no beginning is shared."""
    prompt = written(policy, b"")
    played = [
        Trajectory("t", "c", "", 0, 0, k, (Turn(prompt, (10, k), (0.0, 0.0)),), StopReason.terminated, True)
        for k in range(8)
    ]
    rows = rows_from_trajectories(played)
    assert policy.packs
    assert rows[0].shared
    width = -(-len(rows[0]) // 16) * 16
    module = GRPOModule(policy, None, GRPOConfig(micro_batch_tokens=2 * width))  # type: ignore[arg-type]
    for looks, most in ((False, 8), (True, 2)):
        for parts in module.shares(rows, range(8), 2, looks):
            assert max(len(part) for part in parts) == min(most, 4)
