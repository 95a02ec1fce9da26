"""What a recipe says about the policy and its prompt. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from crossagent.errors import RecipeError, did_you_mean, lookup


@dataclass(frozen=True)
class ScratchSize:
    """A tiny Llama, trained from nothing. Parameters grow with the vocabulary (input and output tied)."""

    width: int
    layers: int
    heads: int
    feed_forward: int


SCRATCH: dict[str, ScratchSize] = {
    "scratch-0.1m": ScratchSize(width=64, layers=2, heads=4, feed_forward=128),
    "scratch-0.2m": ScratchSize(width=64, layers=2, heads=4, feed_forward=256),
    "scratch-0.4m": ScratchSize(width=96, layers=3, heads=4, feed_forward=256),
    "scratch-1m": ScratchSize(width=128, layers=4, heads=4, feed_forward=384),
    "scratch-3m": ScratchSize(width=192, layers=6, heads=6, feed_forward=512),
}
"""Presets of ``policy.model``; the names give the parameters with a vocabulary of about 1,000."""

SEEING = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Values of a config's ``model_type`` whose policies see pictures (:mod:`crossagent.policy.images`)."""
DTYPES = ("float32", "bfloat16", "float16", "auto")
ATTENTION = ("sdpa", "eager", "flash_attention_2")
STYLES = ("compact", "chat")
FRAGMENTS = ("full", "headers")


@dataclass
class LoraConfig:
    """Train low-rank adapters (and the rows of new special tokens) instead of all weights; arXiv 2106.09685."""

    r: int = 16
    """Rank."""
    alpha: int = 32
    """The update is scaled by alpha / r."""
    dropout: float = 0.0
    """On the adapters' input, in SFT only: log-probs are always taken without dropout."""
    targets: list[str] = field(default_factory=lambda: ["all-linear"])
    """Names of the linear modules to adapt; ``all-linear`` is every one but the output layer."""

    def __post_init__(self) -> None:
        if self.r < 1:
            raise RecipeError(f"policy.lora.r: got {self.r}; expected at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise RecipeError(f"policy.lora.dropout: got {self.dropout}; expected 0 ≤ dropout < 1")
        if not self.targets:
            raise RecipeError("policy.lora.targets is empty; expected module names, or all-linear")


@dataclass
class PolicyConfig:
    """Which model acts."""

    model: str = "scratch-0.2m"
    """A preset (``scratch-0.1m`` … ``scratch-3m``), a directory (weights, a GGUF file, a checkpoint of ours, or a bare
    ``config.json`` for fresh weights), or the name of a causal language model on the hub."""
    tokenizer_vocab: int = 2048
    """Upper bound of a scratch tokenizer's vocabulary; it takes what its texts need."""
    max_length: int = 2048
    """Longest sequence of a scratch model, in tokens."""
    dtype: str = "float32"
    """``float32``, ``bfloat16``, ``float16`` or ``auto`` (as stored)."""
    attention: str = "sdpa"
    """``sdpa``, ``eager`` or ``flash_attention_2``."""
    max_pixels: int = 50_176
    """Pictures with more pixels are scaled down to so many before a vision-language model sees them (224 × 224)."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    lora: LoraConfig | None = None
    """None trains all weights."""

    def __post_init__(self) -> None:
        if self.model.startswith("scratch"):
            lookup(self.model, SCRATCH, "policy.model preset", RecipeError)
        if not self.model:
            raise RecipeError("policy.model is empty; expected a preset such as scratch-0.2m, a directory or a name")
        if self.tokenizer_vocab < 300:
            raise RecipeError(
                f"policy.tokenizer_vocab: got {self.tokenizer_vocab}; expected at least 300 (256 bytes, special tokens)"
            )
        if self.max_length < 16:
            raise RecipeError(f"policy.max_length: got {self.max_length}; expected at least 16")
        if self.max_pixels < 1024:
            raise RecipeError(f"policy.max_pixels: got {self.max_pixels}; expected at least 1024 (32 × 32)")
        _one_of("policy.dtype", self.dtype, DTYPES)
        _one_of("policy.attention", self.attention, ATTENTION)


@dataclass
class VllmOptions:
    """``rollout.sampler.options`` of the sampler ``vllm``."""

    python: str = ""
    """Interpreter that has vLLM, e.g. of a virtual environment of its own; empty: the one that runs crossagent."""
    engine: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``vllm.LLM``, e.g. ``{dtype: bfloat16, max_model_len: 2048, gpu_memory_utilization: 0.4}``: on a GPU
    it shares its memory with training."""
    start_s: float = 600.0
    """How long it may take to start, and to load weights."""
    timeout_s: float = 600.0
    """How long one batch may take."""

    SET: ClassVar[tuple[str, ...]] = (
        "model", "tokenizer", "skip_tokenizer_init", "enable_prefix_caching", "generation_config", "logprobs_mode",
    )  # fmt: skip

    def __post_init__(self) -> None:
        where = "rollout.sampler.options"
        for key in ("start_s", "timeout_s"):
            if not getattr(self, key) > 0:
                raise RecipeError(f"{where}.{key}: got {getattr(self, key)}; expected > 0")
        for key in self.SET:
            if key in self.engine:
                raise RecipeError(f"{where}.engine.{key}: crossagent sets it itself; take it out")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> VllmOptions:
        """Return the options of a recipe; raises :class:`RecipeError` for one that does not exist."""
        known = [f.name for f in fields(cls)]
        for key in options:
            if key not in known:
                raise RecipeError(f"rollout.sampler.options: unknown option {key!r}. {did_you_mean(key, known)}")
        return cls(**options)


@dataclass
class PromptConfig:
    """What the policy is shown before a turn."""

    style: str = "chat"
    """``chat``: the tokenizer's own chat template, words around everything. ``compact``: special tokens and nothing
    else, for scratch models."""
    history: int = 0
    """Past turns shown: 0 none, k the last k, -1 all of them (each prompt then extends the one before)."""
    fragments: str = "full"
    """What is said of a space: ``full`` its whole fragment, ``headers`` its header alone."""
    pictures: bool = True
    """Show the pictures of observations to a policy that can see, where the environment has some."""

    def __post_init__(self) -> None:
        _one_of("prompt.style", self.style, STYLES)
        _one_of("prompt.fragments", self.fragments, FRAGMENTS)
        if self.history < -1:
            raise RecipeError(f"prompt.history: got {self.history}; expected -1 (all), 0 (none) or a number of turns")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    lookup(value, dict.fromkeys(known, True), f"{key} value", RecipeError)
