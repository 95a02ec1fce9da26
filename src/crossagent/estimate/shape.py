"""The shape of a transformer, from the keys of its ``config.json``; how many parameters it has, without building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossagent.errors import RecipeError, did_you_mean


@dataclass(frozen=True, slots=True)
class VisionShape:
    """A vision tower of the Qwen-VL family: patches in, one token of the decoder per ``merge``² patches out."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    out_width: int
    patch: int
    """Pixels along one side of a patch."""
    merge: int = 2
    temporal: int = 2
    gated: bool = False
    """Three matrices in the feed-forward part, else two."""
    norm_bias: bool = True
    """LayerNorm; else RMSNorm."""
    patch_bias: bool = False
    positions: int = 0
    """Learned positions."""
    deepstack: int = 0
    """Further mergers, whose output joins the decoder's first layers."""

    @property
    def linears(self) -> list[tuple[int, int, int]]:
        """(in, out, how many) of the linear layers."""
        w, wide = self.width, self.width * self.merge**2
        mlp = [(w, self.feed_forward, 2 * self.layers)] if self.gated else [(w, self.feed_forward, self.layers)]
        return [
            (w, 3 * w, self.layers),
            (w, w, self.layers),
            *mlp,
            (self.feed_forward, w, self.layers),
            (wide, wide, 1 + self.deepstack),
            (wide, self.out_width, 1 + self.deepstack),
        ]

    @property
    def parameters(self) -> int:
        """All of them; every linear layer has a bias."""
        w, wide, norm = self.width, self.width * self.merge**2, 2 if self.norm_bias else 1
        linears = sum((a * b + b) * count for a, b, count in self.linears)
        patches = 3 * self.temporal * self.patch**2 * w + (w if self.patch_bias else 0)
        norms = 2 * norm * w * self.layers + norm * w + norm * wide * self.deepstack
        return linears + patches + norms + self.positions * w

    def patches(self, width: int, height: int) -> int:
        """Return the patches of an image of so many pixels, each side rounded to whole merged patches."""
        unit = self.patch * self.merge
        sides = [max(1, round(side / unit)) * self.merge for side in (width, height)]
        return sides[0] * sides[1]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder: RMSNorm, rotary positions, grouped-query attention, gated feed-forward; as Llama and Qwen are built."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocab: int
    tied: bool = False
    """Input and output rows are one matrix."""
    qkv_bias: bool = False
    out_bias: bool = False
    """The attention's output layer has a bias."""
    mlp_bias: bool = False
    qk_norm: bool = False
    vision: VisionShape | None = None

    @property
    def attention_width(self) -> int:
        """Numbers per token of all query heads."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Numbers per token of all key heads; values have as many."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> list[tuple[int, int, int]]:
        """(in, out, how many) of the decoder's linear layers, the output layer left out."""
        h, a, kv, f, n = self.width, self.attention_width, self.kv_width, self.feed_forward, self.layers
        return [(h, a, n), (h, kv, 2 * n), (a, h, n), (h, f, 2 * n), (f, h, n)]

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder layer."""
        h, a, kv, f = self.width, self.attention_width, self.kv_width, self.feed_forward
        weights = h * a + 2 * h * kv + a * h + 3 * h * f + 2 * h
        biases = (a + 2 * kv) * self.qkv_bias + h * self.out_bias + (2 * f + h) * self.mlp_bias
        return weights + biases + 2 * self.head_dim * self.qk_norm

    @property
    def decoder_parameters(self) -> int:
        """Parameters of the decoder, its token rows included."""
        return self.layers * self.layer_parameters + self.width + self.vocab * self.width * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All of them, the vision tower included."""
        return self.decoder_parameters + (self.vision.parameters if self.vision else 0)

    def adapters(self, rank: int, new_rows: int = 0) -> int:
        """Return the parameters of LoRA on every linear layer but the output: rank × (in + out) each (arXiv 2106.09685).

        Args:
            rank: r.
            new_rows: Rows of new special tokens that train too, in the input and, where it is another matrix, the output.
        """
        linears = [*self.linears, *(self.vision.linears if self.vision else [])]
        rows = new_rows * self.width * (1 if self.tied else 2)
        return rank * sum((a + b) * count for a, b, count in linears) + rows


_TEXT = {
    # model_type: (bias on q, k, v; norm of q and k); None: as the config's attention_bias says
    "llama": (None, False),
    "mistral": (False, False),
    "qwen2": (True, False),
    "qwen2_vl_text": (True, False),
    "qwen2_5_vl_text": (True, False),
    "qwen3": (None, True),
    "qwen3_vl_text": (None, True),
}
_VISION = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
KNOWN = (*_TEXT, *_VISION)
"""Values of ``model_type`` that :func:`shape_of` reads."""


def shape_of(config: Mapping[str, Any], vocab: int | None = None, where: str = "config.json") -> ModelShape:
    """Return the shape that a Hugging Face ``config.json`` describes.

    Args:
        config: Its keys.
        vocab: Rows of the token matrices, where they are not as the file says (a tokenizer of one's own).
        where: Names the source in messages.

    Raises:
        RecipeError: A ``model_type`` that is not known here, or a key that is missing.
    """
    kind = str(config.get("model_type", ""))
    if kind in _VISION:
        text = {"model_type": f"{kind}_text", **config.get("text_config", config)}
        text["model_type"] = f"{kind}_text"
        text["tie_word_embeddings"] = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
        shape = shape_of(text, vocab, where)
        vision = _vision(kind, config.get("vision_config", {}), f"{where}: vision_config")
        return ModelShape(**{f: getattr(shape, f) for f in shape.__slots__ if f != "vision"}, vision=vision)
    if kind not in _TEXT:
        raise RecipeError(
            f"{where}: model_type: got {kind!r}; its shape is not known here, so nothing can be planned. "
            f"{did_you_mean(kind, KNOWN)}"
        )
    bias, norm = _TEXT[kind]
    width, heads = (_number(config, key, where) for key in ("hidden_size", "num_attention_heads"))
    attention_bias = bool(config.get("attention_bias", False))
    return ModelShape(
        width=width,
        layers=_number(config, "num_hidden_layers", where),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or (128 if norm else width // heads)),
        feed_forward=_number(config, "intermediate_size", where),
        vocab=vocab or _number(config, "vocab_size", where),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=attention_bias if bias is None else bias,
        out_bias=attention_bias if bias is None else False,
        mlp_bias=bool(config.get("mlp_bias", False)),
        qk_norm=norm,
    )


def _vision(kind: str, config: Mapping[str, Any], where: str) -> VisionShape:
    old = kind == "qwen2_vl"
    width = _number(config, "embed_dim" if old else "hidden_size", where)
    if old:
        feed_forward = int(width * float(config.get("mlp_ratio", 4)))
        out_width = _number(config, "hidden_size", where)
    else:
        feed_forward, out_width = (_number(config, key, where) for key in ("intermediate_size", "out_hidden_size"))
    return VisionShape(
        width=width,
        layers=_number(config, "depth", where),
        heads=_number(config, "num_heads", where),
        feed_forward=feed_forward,
        out_width=out_width,
        patch=_number(config, "patch_size", where),
        merge=int(config.get("spatial_merge_size", 2)),
        temporal=int(config.get("temporal_patch_size", 2)),
        gated=kind == "qwen2_5_vl",
        norm_bias=kind != "qwen2_5_vl",
        patch_bias=kind == "qwen3_vl",
        positions=int(config.get("num_position_embeddings", 2304)) if kind == "qwen3_vl" else 0,
        deepstack=len(config.get("deepstack_visual_indexes", (8, 16, 24))) if kind == "qwen3_vl" else 0,
    )


def _number(config: Mapping[str, Any], key: str, where: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RecipeError(f"{where}: {key}: got {value!r}; expected a whole number ≥ 1, as in the model's config.json")
    return value
