from __future__ import annotations

import random

import pytest
import torch

from crossagent.errors import RecipeError
from crossagent.policy.config import SCRATCH, LoraConfig, PolicyConfig
from crossagent.policy.model import Policy, make_reference

from .conftest import TEXTS, tiny_policy


def rows(policy: Policy, lengths: list[int], seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    return [draw.choices(range(2, len(policy.tokenizer)), k=length) for length in lengths]


def padded(policy: Policy, texts: list[list[int]], side: str, extra: int = 0):
    width = max(map(len, texts)) + extra
    ids = torch.full((len(texts), width), policy.pad_id)
    mask = torch.zeros(len(texts), width, dtype=torch.long)
    for row, text in enumerate(texts):
        at = slice(0, len(text)) if side == "right" else slice(width - len(text), width)
        ids[row, at] = torch.tensor(text)
        mask[row, at] = 1
    return ids, mask


def targets(mask: torch.Tensor, skip: int = 1) -> torch.Tensor:
    """All real tokens but the first ``skip`` of each row."""
    return mask.bool() & (mask.cumsum(-1) > skip)


def naive(policy: Policy, text: list[int], temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs and entropies by the book, one row, full logits, float64 log-softmax."""
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([text])).logits[0, :-1].double() / temperature
    logp = logits.log_softmax(-1)
    taken = logp.gather(-1, torch.tensor(text[1:]).unsqueeze(-1)).squeeze(-1)
    return taken.float(), torch.distributions.Categorical(logits=logits).entropy().float()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("side", ["right", "left"])
def test_logprobs_and_entropies_are_those_of_each_row_alone(any_policy, side, temperature):
    texts = rows(any_policy, [5, 17, 9, 30])
    ids, mask = padded(any_policy, texts, side, extra=3)
    wanted = targets(mask)
    with torch.no_grad():
        out = any_policy.logprobs(ids, mask, wanted, temperature)
    assert out.logprobs.dtype == torch.float32
    for row, text in enumerate(texts):
        logprobs, entropy = naive(any_policy, text, temperature)
        torch.testing.assert_close(out.logprobs[row][wanted[row]], logprobs, atol=1e-5, rtol=0)
        torch.testing.assert_close(out.entropy[row][wanted[row]], entropy, atol=1e-5, rtol=0)
    assert not out.logprobs[~wanted].any()
    assert not out.entropy[~wanted].any()


def test_targets_are_the_only_positions_the_output_layer_sees(scratch):
    texts = rows(scratch, [8, 12])
    ids, mask = padded(scratch, texts, "right")
    wanted = torch.zeros_like(mask, dtype=torch.bool)
    wanted[0, 3], wanted[1, 7], wanted[1, 11] = True, True, True
    assert scratch.packs, "tried by now"
    seen = []
    handle = scratch.backbone.get_output_embeddings().register_forward_hook(lambda m, a, out: seen.append(out.shape))
    try:
        some = scratch.logprobs(ids, mask, wanted).logprobs
    finally:
        handle.remove()
    assert [shape[:-1].numel() for shape in seen] == [4], "three targets, and one more row to multiply alike"
    every = scratch.logprobs(ids, mask, targets(mask)).logprobs
    torch.testing.assert_close(some[wanted], every[wanted], atol=1e-6, rtol=0)


def test_the_gradient_of_logprobs_is_the_true_one(any_policy):
    text = rows(any_policy, [12])[0]
    ids, mask = padded(any_policy, [text], "right", extra=2)
    weight = any_policy.backbone.get_input_embeddings().weight
    with torch.enable_grad():
        any_policy.zero_grad()
        any_policy.logprobs(ids, mask, targets(mask)).logprobs.sum().backward()
        mine = weight.grad.clone()
        any_policy.zero_grad()
        logits = any_policy.model(input_ids=torch.tensor([text])).logits[0, :-1]
        logits.log_softmax(-1).gather(-1, torch.tensor(text[1:]).unsqueeze(-1)).sum().backward()
    torch.testing.assert_close(mine, weight.grad, atol=1e-4, rtol=1e-4)
    any_policy.zero_grad()


def test_no_target_at_all_gives_zeros_with_zero_gradient(scratch):
    ids, mask = padded(scratch, rows(scratch, [4]), "right")
    out = scratch.logprobs(ids, mask, torch.zeros_like(mask, dtype=torch.bool))
    assert not out.logprobs.any()
    out.logprobs.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in scratch.parameters())
    scratch.zero_grad()


def test_a_first_token_is_no_target_and_temperature_is_positive(scratch):
    ids, mask = padded(scratch, rows(scratch, [4]), "right")
    with pytest.raises(ValueError, match="position 0"):
        scratch.logprobs(ids, mask, mask.bool())
    with pytest.raises(ValueError, match="temperature: got 0"):
        scratch.logprobs(ids, mask, targets(mask), 0.0)


def test_entropies_can_be_left_out(scratch):
    ids, mask = padded(scratch, rows(scratch, [4]), "right")
    out = scratch.logprobs(ids, mask, targets(mask), entropy=False)
    assert not out.entropy.any()
    assert torch.equal(out.logprobs, scratch.logprobs(ids, mask, targets(mask)).logprobs)


@pytest.mark.parametrize("kind", ["gpt2", "scratch-0.1m"])
def test_dropout_is_off_in_logprobs_in_training_mode_too(kind, tmp_path):
    policy = tiny_policy(kind, tmp_path, LoraConfig(r=4, dropout=0.5))
    stir_adapters(policy)
    ids, mask = padded(policy, rows(policy, [20, 20]), "right")
    policy.eval()
    still = policy.logprobs(ids, mask, targets(mask)).logprobs
    policy.train()
    assert torch.equal(policy.logprobs(ids, mask, targets(mask)).logprobs, still)
    assert policy.training
    assert all(module.training for module in policy.modules())
    assert not torch.equal(policy.logprobs(ids, mask, targets(mask), dropout=True).logprobs, still)


@pytest.mark.parametrize("kind", ["scratch-0.1m", "gpt2"])
@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, dropout=0.5)])
def test_gradient_checkpointing_changes_no_gradient_and_is_used(kind, lora, tmp_path):
    """Dropout is off in the second run of a layer too, which happens after logprobs has returned."""
    gradients = []
    for on in (False, True):
        policy = tiny_policy(kind, tmp_path, lora, gradient_checkpointing=on)
        policy.train()
        stir_adapters(policy)
        ids, mask = padded(policy, rows(policy, [12, 7]), "right")
        assert policy.packs, "tried by now"
        calls = []
        layers = policy.backbone.transformer.h if kind == "gpt2" else policy.backbone.model.layers
        norm = layers[0].ln_1 if kind == "gpt2" else layers[0].input_layernorm
        norm.register_forward_hook(lambda m, a, out, calls=calls: calls.append(1))
        policy.logprobs(ids, mask, targets(mask)).logprobs.sum().backward()
        assert len(calls) == (2 if on else 1)
        gradients.append([p.grad for p in policy.parameters() if p.requires_grad])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def stir_adapters(policy: Policy) -> None:
    """Adapters start as zero; what happens in front of them would not show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2, generator=generator)


# -- building --------------------------------------------------------------------------------------------------------
def test_the_seed_alone_decides_the_weights_and_the_global_generator_stays(tmp_path):
    for kind in ("scratch-0.1m", "gpt2"):
        torch.manual_seed(1)
        one = tiny_policy(kind, tmp_path, LoraConfig(r=2), seed=5)
        drawn = torch.rand(1)
        torch.manual_seed(2)
        two = tiny_policy(kind, tmp_path, LoraConfig(r=2), seed=5)
        other = tiny_policy(kind, tmp_path, LoraConfig(r=2), seed=6)
        states = [policy.state_dict() for policy in (one, two, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
        torch.manual_seed(1)
        assert torch.equal(torch.rand(1), drawn)


@pytest.mark.parametrize("name", SCRATCH)
def test_presets_have_about_the_parameters_their_names_say(name):
    words = " ".join(f"{a}{b}{c}" for a in "bcdfghjk" for b in "aeiou" for c in "lmnprst" for _ in "ab")
    policy = Policy.build(PolicyConfig(name, tokenizer_vocab=1024), texts=[words])
    said = float(name.removeprefix("scratch-").removesuffix("m")) * 1e6
    assert 0.6 * said < sum(p.numel() for p in policy.parameters()) < 1.6 * said


@pytest.mark.parametrize(
    ("config", "texts", "message"),
    [
        (PolicyConfig(), (), "needs texts for its tokenizer"),
        (PolicyConfig("./nowhere"), TEXTS, "no directory './nowhere'"),
    ],
)
def test_a_model_that_is_not_there_is_refused(config, texts, message):
    with pytest.raises(RecipeError, match=message):
        Policy.build(config, texts=texts)


def test_a_name_the_hub_does_not_give_is_refused_with_the_presets(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RecipeError, match=r"'no-such-model' is no preset \(scratch-0.1m.* the hub did not give it"):
        Policy.build(PolicyConfig("no-such-model"))


def test_bfloat16_weights_give_fp32_logprobs():
    policy = Policy.build(PolicyConfig("scratch-0.1m", dtype="bfloat16"), texts=TEXTS)
    ids, mask = padded(policy, rows(policy, [9]), "right")
    assert next(policy.parameters()).dtype == torch.bfloat16
    assert policy.logprobs(ids, mask, targets(mask)).logprobs.dtype == torch.float32


# -- LoRA and references ---------------------------------------------------------------------------------------------
def train(policy: Policy, text: list[int], steps: int = 3) -> None:
    ids, mask = padded(policy, [text], "right")
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        (-policy.logprobs(ids, mask, targets(mask)).logprobs.mean()).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["scratch-0.1m", "gpt2", "qwen2"])
def test_under_lora_only_adapters_and_the_rows_of_new_tokens_train(kind, tmp_path):
    policy = tiny_policy(kind, tmp_path, LoraConfig(r=4))
    names = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    assert names
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in names)
    assert sum("trainable_tokens_delta" in name for name in names) == (2 if kind == "qwen2" else 1)  # not tied there
    new = policy.tokenizer.convert_tokens_to_ids("<|mine|>")
    old = policy.tokenizer.convert_tokens_to_ids("<|end|>")
    embed = policy.backbone.get_input_embeddings()
    probe = torch.tensor([new, old])
    before = embed(probe).detach().clone()
    base = {n: p.detach().clone() for n, p in policy.named_parameters() if not p.requires_grad}
    train(policy, [5, new, old, new, 7, old, new])
    after = embed(probe).detach()
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1], before[1])
    assert all(torch.equal(p, base[n]) for n, p in policy.named_parameters() if n in base)


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4)])
def test_a_reference_is_the_policy_of_that_moment(lora, tmp_path):
    """After some training it is neither the policy of now, nor (LoRA) the bare base."""
    policy = tiny_policy("scratch-0.1m", tmp_path, lora)
    text = rows(policy, [15])[0]
    train(policy, text)
    ids, mask = padded(policy, [text], "right")
    wanted = targets(mask)
    then = policy.logprobs(ids, mask, wanted).logprobs.detach()
    reference = make_reference(policy)
    train(policy, rows(policy, [15], seed=9)[0])
    now = policy.logprobs(ids, mask, wanted).logprobs.detach()
    given = reference.logprobs(ids, mask, wanted)
    assert torch.equal(given.logprobs, then)
    assert not given.logprobs.requires_grad
    assert not torch.equal(now, then)
    assert torch.equal(policy.logprobs(ids, mask, wanted).logprobs.detach(), now)
    if lora is not None:
        with policy.model.disable_adapter():
            assert not torch.allclose(policy.logprobs(ids, mask, wanted).logprobs, then, atol=1e-3)


def test_a_reference_in_use_does_not_disturb_a_graph_that_waits_for_its_backward_pass(tmp_path):
    policy = tiny_policy("scratch-0.1m", tmp_path, LoraConfig(r=4))
    ids, mask = padded(policy, rows(policy, [15]), "right")
    train(policy, rows(policy, [15], seed=4)[0])
    reference = make_reference(policy)
    train(policy, rows(policy, [15], seed=5)[0])
    gradients = []
    for use in (False, True):
        policy.zero_grad()
        out = policy.logprobs(ids, mask, targets(mask)).logprobs
        if use:
            reference.logprobs(ids, mask, targets(mask))
        out.sum().backward()
        gradients.append([p.grad.clone() for p in policy.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4)])
def test_a_reference_can_be_stored_and_put_back(lora, tmp_path):
    policy = tiny_policy("scratch-0.1m", tmp_path, lora)
    text = rows(policy, [15])[0]
    train(policy, text)
    ids, mask = padded(policy, [text], "right")
    reference = make_reference(policy)
    want = reference.logprobs(ids, mask, targets(mask)).logprobs
    state = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    train(policy, text)
    other = make_reference(policy)
    assert not torch.equal(other.logprobs(ids, mask, targets(mask)).logprobs, want)
    other.load_state_dict(state)
    assert torch.equal(other.logprobs(ids, mask, targets(mask)).logprobs, want)


def bytes_of(*tensors: torch.Tensor) -> int:
    """Memory behind some tensors, shared storage counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


@pytest.mark.parametrize("kind", ["scratch-0.1m", "qwen2"])
def test_a_reference_under_lora_takes_the_memory_of_its_adapters_and_no_more(kind, tmp_path):
    policy = tiny_policy(kind, tmp_path, LoraConfig(r=2))
    own = bytes_of(*policy.state_dict().values())
    adapters = sum(p.numel() * p.element_size() for p in policy.parameters() if p.requires_grad)
    reference = make_reference(policy)
    both = bytes_of(*policy.state_dict().values(), *reference.state_dict().values())
    assert both - own == adapters < own / 4
    full = tiny_policy(kind, tmp_path)
    copy = make_reference(full)
    assert bytes_of(*full.state_dict().values(), *copy.state_dict().values()) == 2 * bytes_of(
        *full.state_dict().values()
    )
    spare = make_reference(full, spare=True)  # a policy loaded for nothing else is not copied
    assert bytes_of(*full.state_dict().values(), *spare.state_dict().values()) == bytes_of(*full.state_dict().values())
    assert not any(p.requires_grad for p in full.parameters())
