"""Parameters counted from a config equal those of the model that transformers builds from it."""

from __future__ import annotations

from typing import Any

import pytest

from crossagent.errors import RecipeError
from crossagent.estimate.shape import ModelShape, shape_of

TEXT: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
QWEN_VISION = {
    "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "patch_size": 14,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 64,
}  # fmt: skip
ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **TEXT, "tie_word_embeddings": True},
    "llama with biases": {"model_type": "llama", **TEXT, "attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral", **TEXT, "head_dim": 16},
    "qwen2": {"model_type": "qwen2", **TEXT, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", **TEXT, "head_dim": 32},
    "qwen2_vl": {
        "model_type": "qwen2_vl",
        "text_config": {**TEXT, "rope_parameters": ROPE},
        "vision_config": {
            "depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14,
            "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
    },
    "qwen2_5_vl": {
        "model_type": "qwen2_5_vl",
        "text_config": {**TEXT, "rope_parameters": ROPE},
        "vision_config": {**QWEN_VISION, "window_size": 56, "fullatt_block_indexes": [1]},
    },
    "qwen3_vl": {
        "model_type": "qwen3_vl",
        "text_config": {**TEXT, "head_dim": 16, "rope_parameters": {**ROPE, "mrope_interleaved": True}},
        "vision_config": {**QWEN_VISION, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
    },
}  # fmt: skip


def built(config: dict[str, Any]) -> Any:
    """The model that transformers makes of a config, without storage for its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    kind = AutoModelForImageTextToText if "vision_config" in config else AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(AutoConfig.for_model(**config))


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_model(name: str) -> None:
    assert shape_of(CONFIGS[name]).parameters == sum(p.numel() for p in built(CONFIGS[name]).parameters())


@pytest.mark.parametrize("name", ["llama", "qwen2_5_vl", "qwen3_vl"])
def test_adapters_are_those_that_peft_puts_on_every_linear_layer(name: str) -> None:
    from peft import LoraConfig, get_peft_model

    peft = get_peft_model(built(CONFIGS[name]), LoraConfig(r=4, target_modules="all-linear"))
    assert shape_of(CONFIGS[name]).adapters(4) == sum(p.numel() for p in peft.parameters() if p.requires_grad)


def test_an_image_is_whole_merged_patches() -> None:
    vision = shape_of(CONFIGS["qwen2_5_vl"]).vision
    assert vision is not None
    assert vision.patches(224, 224) == 16 * 16
    assert vision.patches(230, 110) == 16 * 8


def test_a_vocabulary_of_ones_own() -> None:
    tied, free = CONFIGS["llama"], CONFIGS["mistral"]
    assert shape_of(tied, vocab=420).parameters - shape_of(tied).parameters == 100 * 64
    assert shape_of(free, vocab=420).parameters - shape_of(free).parameters == 2 * 100 * 64


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"here\.json: model_type: got 'gpt2'"):
        shape_of({"model_type": "gpt2"}, where="here.json")
    with pytest.raises(RecipeError, match="hidden_size: got None; expected a whole number"):
        shape_of({"model_type": "llama"})
    with pytest.raises(RecipeError, match="vision_config: hidden_size"):
        shape_of({"model_type": "qwen3_vl", "text_config": {**TEXT, "head_dim": 16}})


def test_a_hand_counted_layer() -> None:
    shape = ModelShape(width=8, layers=1, heads=2, kv_heads=1, head_dim=4, feed_forward=16, vocab=10, tied=True)
    # q 8·8, k and v 2·8·4, o 8·8, feed-forward 3·8·16, two norms
    assert shape.layer_parameters == 64 + 64 + 64 + 384 + 16
    assert shape.parameters == 592 + 8 + 80
