from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossagent.errors import CheckpointError, MissingExtraError
from crossagent.policy import checkpoint
from crossagent.policy.config import LoraConfig, PolicyConfig
from crossagent.policy.export import export_checkpoint
from crossagent.policy.model import Policy

from .conftest import OBSERVATION, TEXTS, tiny_policy


def outputs(policy: Policy) -> torch.Tensor:
    ids = torch.tensor([policy.tokenizer.encode(f"{OBSERVATION}<|mine|> oak", add_special_tokens=False)])
    wanted = torch.ones_like(ids, dtype=torch.bool)
    wanted[:, 0] = False
    with torch.no_grad():
        return policy.logprobs(ids, torch.ones_like(ids), wanted).logprobs


def stir(policy: Policy) -> Policy:
    """Make the trained weights other than fresh ones."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return policy


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4, targets=["all-linear"])])
@pytest.mark.parametrize("kind", ["scratch-0.1m", "gpt2", "qwen2"])
def test_what_was_saved_is_loaded_bit_for_bit(kind, lora, tmp_path):
    policy = stir(tiny_policy(kind, tmp_path, lora))
    policy.save(tmp_path / "checkpoint")
    again = Policy.load(tmp_path / "checkpoint")
    assert again.config == policy.config
    old, new = policy.state_dict(), again.state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert torch.equal(outputs(policy), outputs(again))
    assert [p.requires_grad for p in policy.parameters()] == [p.requires_grad for p in again.parameters()]
    assert not [path for path in (tmp_path / "checkpoint").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    again.save(tmp_path / "checkpoint")  # over the old one
    assert torch.equal(outputs(policy), outputs(Policy.load(tmp_path / "checkpoint")))


@pytest.mark.parametrize("lora", [None, LoraConfig(r=4)])
def test_an_export_is_an_ordinary_directory_of_the_same_function(lora, tmp_path):
    policy = stir(tiny_policy("gpt2", tmp_path, lora))
    policy.export(tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    ids = torch.tensor([tokenizer.encode(f"{OBSERVATION}<|mine|> oak", add_special_tokens=False)])
    with torch.no_grad():
        logp = model(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(outputs(policy)[:, 1:], logp, atol=1e-5, rtol=0)
    built = Policy.build(PolicyConfig(str(tmp_path / "plain")))
    torch.testing.assert_close(outputs(policy), outputs(built), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tokens", [[], ["<|dig|>"]])
@pytest.mark.parametrize("named", [False, True])
def test_exported_adapters_load_with_plain_transformers_and_peft(tokens, named, tmp_path):
    base = tiny_policy("qwen2", tmp_path)
    base.export(tmp_path / "plain") if named else base.save(tmp_path / "plain")
    policy = Policy.build(PolicyConfig(str(tmp_path / "plain"), lora=LoraConfig(r=4)), special_tokens=tokens)
    stir(policy).save(tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "adapter", adapter=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "adapter")
    ids = torch.tensor([tokenizer.encode(f"{OBSERVATION}<|mine|> oak{''.join(tokens)}", add_special_tokens=False)])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, policy.model(input_ids=ids).logits)
    size = sum(file.stat().st_size for file in (tmp_path / "adapter").glob("*.safetensors"))
    assert size < (tmp_path / "plain/model.safetensors").stat().st_size / 2, "the adapters alone"
    assert not (tmp_path / "adapter/README.md").exists()


def test_what_has_no_adapters_exports_none(tmp_path):
    tiny_policy("qwen2", tmp_path).save(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="has no adapters"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "adapter", adapter=True)
    assert not (tmp_path / "adapter").exists()


def test_lora_on_a_directory_keeps_the_base_where_it_is_and_says_when_it_is_gone(tmp_path):
    tiny_policy("qwen2", tmp_path).export(tmp_path / "plain")
    policy = stir(Policy.build(PolicyConfig(str(tmp_path / "plain"), lora=LoraConfig(r=4)), special_tokens=["<|dig|>"]))
    policy.save(tmp_path / "adapters")
    assert not (tmp_path / "adapters" / "base").exists()
    assert torch.equal(outputs(policy), outputs(Policy.load(tmp_path / "adapters")))
    shutil.rmtree(tmp_path / "plain")
    with pytest.raises(CheckpointError, match=r"its adapters go on top of .*plain.*Put that model back"):
        Policy.load(tmp_path / "adapters")


def test_a_checkpoint_is_a_model_to_go_on_from(tmp_path):
    full = stir(tiny_policy("scratch-0.1m", tmp_path))
    full.save(tmp_path / "full")
    assert torch.equal(outputs(full), outputs(Policy.build(PolicyConfig(str(tmp_path / "full")))))
    lora = Policy.build(PolicyConfig(str(tmp_path / "full"), lora=LoraConfig(r=4)), special_tokens=["<|mine|>"])
    assert torch.equal(outputs(full), outputs(lora))
    assert lora.config.lora is not None
    stir(lora).save(tmp_path / "lora")
    path = str(tmp_path / "lora")
    on = Policy.build(PolicyConfig(path, lora=LoraConfig(r=4)), special_tokens=["<|mine|>"])
    assert torch.equal(outputs(lora), outputs(on)), "the same adapters train on"
    for config in (None, LoraConfig(r=8), LoraConfig(r=4, targets=["q_proj"])):
        other = Policy.build(PolicyConfig(path, lora=config), special_tokens=["<|mine|>"])
        assert other.config.lora == config
        torch.testing.assert_close(outputs(lora), outputs(other), atol=1e-5, rtol=0)
        stir(other).save(tmp_path / "next")
        assert torch.equal(outputs(other), outputs(Policy.load(tmp_path / "next")))
    more = Policy.build(PolicyConfig(path, lora=LoraConfig(r=4)), special_tokens=["<|dig|>"])
    assert "<|dig|>" in more.tokenizer.get_vocab()
    torch.testing.assert_close(outputs(lora), outputs(more), atol=2e-2, rtol=0)  # one token more in the softmax


@pytest.mark.parametrize("kind", ["scratch-0.1m", "qwen2"])
def test_saving_a_lora_policy_copies_no_weights(kind, tmp_path, monkeypatch):
    policy = stir(tiny_policy(kind, tmp_path, LoraConfig(r=4)))
    storages = {name: value.data_ptr() for name, value in policy.backbone.state_dict().items()}
    base = policy._base_weights()
    assert {value.data_ptr() for value in base.values()} < set(storages.values())
    monkeypatch.setattr(torch.nn.Parameter, "__deepcopy__", lambda *_: pytest.fail("a copy of the model"))
    policy.save(tmp_path / "checkpoint")
    monkeypatch.undo()
    assert torch.equal(outputs(policy), outputs(Policy.load(tmp_path / "checkpoint")))


@pytest.mark.parametrize("kind", ["scratch-0.1m", "qwen2"])
def test_a_special_token_trained_under_lora_is_exported(kind, tmp_path):
    """Tied or not: the rows that trained are those that an export, merged, writes."""
    policy = stir(tiny_policy(kind, tmp_path, LoraConfig(r=4)))
    token = policy.tokenizer.convert_tokens_to_ids("<|mine|>")
    trained = policy.backbone.get_input_embeddings()(torch.tensor([token])).detach()
    fresh = tiny_policy(kind, tmp_path, LoraConfig(r=4)).backbone.get_input_embeddings()(torch.tensor([token])).detach()
    assert not torch.allclose(trained, fresh, atol=1e-2)
    policy.save(tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    torch.testing.assert_close(model.get_input_embeddings().weight[token], trained[0])
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (kind != "qwen2")
    if not tied:
        assert not torch.equal(model.get_output_embeddings().weight[token], model.get_input_embeddings().weight[token])
    torch.testing.assert_close(outputs(policy), outputs(Policy.load(tmp_path / "plain")), atol=1e-5, rtol=0)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    Policy.build(PolicyConfig("scratch-0.1m"), texts=TEXTS).save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", cut, r"model\.safetensors is truncated: \d+ bytes, expected \d+"),
        ("model.safetensors", flip, r"model\.safetensors is corrupted"),
        ("model.safetensors", Path.unlink, r"model\.safetensors is missing"),
        ("tokenizer.json", flip, r"tokenizer\.json is corrupted"),
        ("crossagent.json", cut, r"crossagent\.json is unreadable"),
        ("crossagent.json", Path.unlink, r"no crossagent\.json; a plain model directory\? Give it as policy\.model"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_refused(saved, name, damage, message):
    damage(saved / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        Policy.load(saved)
    assert str(saved) in str(caught.value)


def test_weights_truncated_before_the_manifest_was_written_are_refused_too(saved):
    """The hash agrees with what is there; opening the file does not."""
    cut(saved / "model.safetensors")
    meta = json.loads((saved / "crossagent.json").read_text())
    checkpoint.write_manifest(saved, {k: v for k, v in meta.items() if k not in ("files", "format")})
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated or corrupted"):
        Policy.load(saved)


def test_a_truncated_model_directory_is_refused(saved):
    (saved / "crossagent.json").unlink()
    cut(saved / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated or corrupted"):
        Policy.build(PolicyConfig(str(saved)))


def test_a_lost_shard_is_named(saved):
    (saved / "crossagent.json").unlink()
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model-00002\.safetensors is missing, but model\.safetensors\.index"):
        Policy.build(PolicyConfig(str(saved)))


def test_a_missing_or_empty_directory_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such directory"):
        Policy.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no crossagent\.json; not ours"):
        Policy.load(tmp_path / "empty")
    with pytest.raises(CheckpointError, match=r"neither config\.json nor a \.gguf file"):
        Policy.build(PolicyConfig(str(tmp_path / "empty")))


def test_another_format_is_refused(saved):
    meta = json.loads((saved / "crossagent.json").read_text())
    (saved / "crossagent.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99; this version of crossagent reads 1"):
        Policy.load(saved)


def test_a_save_that_fails_leaves_the_checkpoint_of_before(saved, monkeypatch):
    before = outputs(Policy.load(saved))
    policy = stir(Policy.load(saved))

    def broken(directory: Path, meta: dict) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "write_manifest", broken)
    with pytest.raises(OSError, match="disk full"):
        policy.save(saved)
    assert torch.equal(outputs(Policy.load(saved)), before)
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


def test_a_save_killed_between_its_two_renames_is_undone_by_the_next_load(saved, monkeypatch):
    before = outputs(Policy.load(saved))
    policy = stir(Policy.load(saved))
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target) == saved:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            policy.save(saved)
    assert not saved.exists()
    assert torch.equal(outputs(Policy.load(saved)), before)
    policy.save(saved)
    assert torch.equal(outputs(Policy.load(saved)), outputs(policy))


def test_pickled_weights_are_not_read(saved):
    (saved / "crossagent.json").unlink()
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"weights pickled \(pytorch_model\.bin\), which are not read"):
        Policy.build(PolicyConfig(str(saved)))


def test_a_truncated_gguf_file_is_named(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(20))
    for name in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(
            (CheckpointError, MissingExtraError), match=r"model\.gguf (is no whole GGUF file|needs the gguf package)"
        ):
            Policy.build(PolicyConfig(str(name)))
