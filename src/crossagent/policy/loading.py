"""Where models come from: presets, directories, GGUF files, the hub; and what is put on top: new tokens, adapters.

In: a :class:`PolicyConfig`. Out: (model, tokenizer, source), the source being the directory or hub name that holds the
weights as they are now, or None when nothing does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from crossagent.errors import CheckpointError, MissingExtraError, RecipeError
from crossagent.policy import checkpoint, images
from crossagent.policy.config import SCRATCH, LoraConfig, PolicyConfig
from crossagent.policy.tokenizer import train_tokenizer

_Parts = tuple[Any, Any, "str | None"]


def from_scratch(config: PolicyConfig, texts: Iterable[str], special_tokens: Sequence[str]) -> _Parts:
    """Make a preset with fresh weights and a tokenizer of its texts."""
    tokenizer = _own_tokenizer(config, texts, special_tokens)
    size = SCRATCH[config.model]
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=config.max_length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=size.width**-0.5 / 2,
    )
    return _fresh(shape, config), tokenizer, None


def _fresh(shape: Any, config: PolicyConfig) -> Any:
    kind = _class_for(shape)
    return kind.from_config(shape, attn_implementation=config.attention).to(dtype=_dtype(config))


def _class_for(shape: Any) -> Any:
    """Return the class that makes a model of this config: one that writes text, having read text alone or pictures too."""
    return AutoModelForCausalLM if type(shape) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText


def load_weights(source: str | Path, config: PolicyConfig, **revision: str) -> Any:
    """Load a model from a directory, or by its name on the hub."""
    shape = AutoConfig.from_pretrained(source, **revision)
    return _class_for(shape).from_pretrained(source, **revision, **load_options(config))


def _own_tokenizer(config: PolicyConfig, texts: Iterable[str], special_tokens: Sequence[str]) -> Any:
    texts = list(texts)
    if not texts:
        raise RecipeError(
            f"policy.model {config.model!r} starts from nothing: Policy.build needs texts for its tokenizer"
        )
    return train_tokenizer(texts, config.tokenizer_vocab, special_tokens)


def stored_tokenizer(directory: Path) -> Any:
    """Load a directory's tokenizer as it is. For some model types AutoTokenizer puts a class of its own over the file,
    which splits text another way than the tokenizer that was saved.
    """
    path = directory / "tokenizer_config.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if stored.get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        return PreTrainedTokenizerFast.from_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def from_directory(
    directory: Path, config: PolicyConfig, texts: Iterable[str], special_tokens: Sequence[str]
) -> _Parts:
    """Load a Hugging Face directory, or a GGUF file in one; a bare ``config.json`` gets fresh weights."""
    weights = list(directory.glob("*.safetensors"))
    ggufs = sorted(path.name for path in directory.glob("*.gguf"))
    if not weights and ggufs:
        return from_gguf(directory, ggufs[0], config)
    if not (directory / "config.json").is_file():
        raise CheckpointError(
            f"policy.model: {directory} holds neither config.json nor a .gguf file; expected a Hugging Face model directory"
        )
    pickled = sorted(path.name for path in directory.glob("*.bin"))
    if pickled and not weights:
        raise CheckpointError(
            f"policy.model: {directory} holds its weights pickled ({pickled[0]}), which are not read; "
            "convert them to safetensors (save_pretrained of a recent transformers does)"
        )
    has_tokenizer = (directory / "tokenizer.json").is_file() or (directory / "tokenizer_config.json").is_file()
    if weights or (directory / "model.safetensors.index.json").is_file():
        checkpoint.check_weights(directory)
        return load_weights(directory, config), stored_tokenizer(directory), str(directory.resolve())
    shape = AutoConfig.from_pretrained(directory)
    own = (*special_tokens, *images.special_tokens(shape.model_type))
    tokenizer = stored_tokenizer(directory) if has_tokenizer else _own_tokenizer(config, texts, own)
    if not has_tokenizer:
        text = shape.get_text_config()
        text.vocab_size = len(tokenizer)
        text.pad_token_id, text.eos_token_id, text.bos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id, None
        images.prepare(shape, tokenizer)
    return _fresh(shape, config), tokenizer, None


def from_gguf(directory: Path, name: str, config: PolicyConfig) -> _Parts:
    """Load and dequantize a GGUF file with its tokenizer and chat template."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, gguf_file=name)
        model: Any = AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, **load_options(config))
    except ImportError as error:
        raise MissingExtraError(
            f"policy.model: {directory / name} needs the gguf package: pip install 'crossagent[gguf]'"
        ) from error
    except Exception as error:  # a reader of a binary format fails in many ways on a file that is not whole
        raise CheckpointError(
            f"policy.model: {directory / name} is no whole GGUF file ({error}); copy it anew"
        ) from error
    # Dequantized by now; transformers refuses to save a model that says it is not.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer, str((directory / name).resolve())


def from_hub(config: PolicyConfig) -> _Parts:
    """Load a model by its name on the hub."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.model, revision=config.revision or "main")
        model = load_weights(config.model, config, revision=config.revision or "main")
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"policy.model: {config.model!r} is no preset ({', '.join(SCRATCH)}), no directory here, and the hub did not "
            f"give it: {str(error).splitlines()[0]}"
        ) from error
    return model, tokenizer, config.model


def base_model(config: PolicyConfig, directory: Path, source: str | None) -> Any:
    """Load what a LoRA checkpoint's adapters go on top of."""
    if source is None:
        return load_weights(directory / "base", config)
    path = Path(source)
    if path.suffix == ".gguf":
        return from_gguf(path.parent, path.name, config)[0]
    if path.is_dir():
        checkpoint.check_weights(path)
    revision = {} if path.is_dir() else {"revision": config.revision or "main"}
    return load_weights(source, config, **revision)


def looks_like_path(name: str) -> bool:
    """Tell a directory that is missing from a name on the hub."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(".gguf")


def _dtype(config: PolicyConfig) -> torch.dtype:
    return torch.float32 if config.dtype == "auto" else getattr(torch, config.dtype)


def load_options(config: PolicyConfig) -> dict[str, Any]:
    """Return what every ``from_pretrained`` is given. Weights are never unpickled."""
    dtype = "auto" if config.dtype == "auto" else _dtype(config)
    return {"dtype": dtype, "attn_implementation": config.attention, "use_safetensors": True}


# -- new tokens, adapters --------------------------------------------------------------------------------------------
def add_tokens(model: Any, tokenizer: Any, tokens: Sequence[str]) -> list[int]:
    """Add special tokens, give each new one a row near the mean of all, and return the ids of all of them."""
    missing = [token for token in tokens if token not in tokenizer.get_vocab()]
    if missing:
        tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
    resize(model, len(tokenizer))
    ids = [int(tokenizer.convert_tokens_to_ids(token)) for token in missing]
    if ids:  # rows that say the same would get the same gradient: a little noise tells them apart
        for layer in _token_layers(model):
            weight = layer.weight.data
            old = torch.ones(weight.shape[0], dtype=torch.bool)
            old[ids] = False
            noise = torch.randn(len(ids), weight.shape[1]) * float(weight[old].float().std()) * 0.1
            weight[ids] = (weight[old].float().mean(0) + noise.to(weight.device)).to(weight.dtype)
    return sorted({int(tokenizer.convert_tokens_to_ids(token)) for token in tokens})


def _token_layers(model: Any) -> list[Any]:
    """Return the layers with a row per token: input and output, or the one where they are tied."""
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    return layers[:1] if layers[0].weight is layers[1].weight else layers


def resize(model: Any, vocab: int) -> None:
    """Make room for this many tokens; spare rows that a model may have stay."""
    if model.get_input_embeddings().weight.shape[0] < vocab:
        model.resize_token_embeddings(vocab, mean_resizing=False)


def with_lora(model: Any, lora: LoraConfig, new_ids: list[int]) -> Any:
    """Put adapters on a model and let the rows of these tokens train."""
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    rows: dict[str, list[int]] = {}
    for layer in _token_layers(model):  # tied: the output layer follows the input's
        name = next(name for name, module in model.named_modules() if module is layer)
        rows[name.rpartition(".")[2]] = new_ids
    return get_peft_model(
        model,
        PeftLora(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets[0] if lora.targets == ["all-linear"] else list(lora.targets),
            trainable_token_indices=rows if new_ids else None,
            task_type="CAUSAL_LM",
        ),
    )
