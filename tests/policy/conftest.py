from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from crossagent.policy.config import LoraConfig, PolicyConfig
from crossagent.policy.model import Policy

torch.set_num_threads(1)

OBSERVATION = (
    "pos 3 4 facing north\nnear: oak_log 3 n, stone 5 e, cow 7 sw\n"
    "inv: oak_planks 4, stick 2, wooden_pickaxe 1\nscreen: none\nlast: ok"
)
RESPONSES = (
    "Api: mine(oak_log)",
    "Gui: click(result)",
    "Action: move(40, -20) and press(w) and click(left)",
)
TEXTS = (OBSERVATION, *RESPONSES, "Craft 4 oak_planks.", "Kill a cow.")

TINY = {
    "gpt2": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 256,
    },
    "qwen2": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
        "max_position_embeddings": 256,
    },
    "qwen3": {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
    },
    "gemma3": {  # one layer with a sliding window, one without, each with rotations of its own
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        "max_position_embeddings": 256,
    },
    "mamba": {  # no attention at all: what our own decode loop leaves to generate
        "model_type": "mamba",
        "architectures": ["MambaForCausalLM"],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 4,
    },
    "gemma2": {  # sliding windows, soft-capped scores and logits, scaled embeddings
        "model_type": "gemma2",
        "architectures": ["Gemma2ForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 16,
        "final_logit_softcapping": 2.0,
        "max_position_embeddings": 256,
    },
}


def tiny_policy(kind: str, directory: Path, lora: LoraConfig | None = None, seed: int = 3, **options: bool) -> Policy:
    """A fresh model from a bare ``config.json``, or a scratch preset."""
    special = ("<|mine|>",)
    if kind.startswith("scratch"):
        return Policy.build(
            PolicyConfig(model=kind, lora=lora, **options), texts=TEXTS, special_tokens=special, seed=seed
        )
    path = directory / kind
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"vocab_size": 400, **TINY[kind]}))
    attention = "eager" if kind in ("gemma2", "mamba") else "sdpa"
    config = PolicyConfig(model=str(path), lora=lora, attention=attention, **options)
    return Policy.build(config, texts=TEXTS, special_tokens=special, seed=seed)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return tiny_policy("scratch-0.1m", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session", params=["scratch-0.1m", "gpt2", "qwen2", "gemma2"])
def any_policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return tiny_policy(request.param, tmp_path_factory.mktemp("models"))
