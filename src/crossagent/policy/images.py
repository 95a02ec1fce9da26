"""How a vision-language policy is shown pictures: tokens that hold their places in a prompt, and pixels for the model.

For the Qwen-VL family (Qwen2-VL, 2.5-VL, 3-VL): a picture is ``<|vision_start|>``, one ``<|image_pad|>`` per merged patch,
``<|vision_end|>``. The same bytes always give the same tokens and the same pixels. Needs no torchvision.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from crossagent.errors import RecipeError
from crossagent.policy.config import SEEING

START, PAD, END, VIDEO = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"
TOKENS = (START, PAD, END, VIDEO)
"""What a tokenizer needs; a video has no place in a prompt of ours, but the models want its token to exist."""


class Pictures:
    """The pictures of one policy."""

    def __init__(self, processor: Any, tokenizer: Any, image_token_id: int) -> None:
        """Use an image processor of transformers; ``image_token_id`` is the one that the model looks for."""
        self.processor = processor
        self.pad_id = image_token_id
        self._start, self._end = (int(tokenizer.convert_tokens_to_ids(token)) for token in (START, END))
        self._sizes: dict[tuple[int, int], int] = {}

    @classmethod
    def of(
        cls, model: Any, tokenizer: Any, stored: str | Path | None, max_pixels: int, revision: str | None = None
    ) -> Pictures | None:
        """Return those of a model, or None for one that reads text alone.

        Args:
            model: Of transformers.
            tokenizer: Its tokenizer.
            stored: A directory that may hold ``preprocessor_config.json``, or a model's name on the hub.
            max_pixels: Larger pictures are scaled down to so many.
            revision: Of the model on the hub.

        Raises:
            RecipeError: Its tokenizer lacks the tokens of pictures.
        """
        config = model.config
        if config.model_type not in SEEING:
            return None
        missing = [token for token in TOKENS if token not in tokenizer.get_vocab()]
        if missing:
            raise RecipeError(
                f"policy.model: its tokenizer has no {', '.join(missing)}, which a {config.model_type} needs for pictures; "
                "expected the tokenizer that belongs to the model"
            )
        processor = _processor(config, stored, max_pixels, revision)
        return cls(processor, tokenizer, int(config.image_token_id))

    @property
    def hidden_ids(self) -> list[int]:
        """Tokens that the policy never samples: only a picture may stand where one is."""
        return [self.pad_id]

    def tokens(self, picture: bytes) -> tuple[int, ...]:
        """Return the ids that hold the place of a picture, PNG bytes."""
        with Image.open(io.BytesIO(picture)) as image:
            size = image.size
        if size not in self._sizes:
            patches = self.processor.get_number_of_image_patches(size[1], size[0], {})
            self._sizes[size] = int(patches) // self.processor.merge_size**2
        return (self._start, *([self.pad_id] * self._sizes[size]), self._end)

    def inputs(self, input_ids: Tensor, rows: Sequence[Sequence[bytes]]) -> dict[str, Tensor]:
        """Return what a model takes beside ``input_ids`` [row, tok]: pixels, grids, and which tokens are pictures.

        Args:
            input_ids: Prompts, or whole sequences.
            rows: The pictures of each row, PNG bytes, in the order of their places.

        Raises:
            ValueError: A row has other places than its pictures fill.
        """
        marks = (input_ids == self.pad_id).long()
        pictures = [picture for row in rows for picture in row]
        made = (
            self.processor(images=[_opened(picture) for picture in pictures], return_tensors="pt") if pictures else {}
        )
        sizes = iter((made["image_grid_thw"].prod(-1) // self.processor.merge_size**2).tolist() if pictures else ())
        wanted = [sum(next(sizes) for _ in row) for row in rows] or [0] * len(input_ids)
        if wanted != marks.sum(-1).tolist():
            raise ValueError(f"places for pictures per row: {marks.sum(-1).tolist()}; the pictures fill {wanted}")
        if not pictures:
            return {"mm_token_type_ids": marks}
        device = input_ids.device
        return {
            "mm_token_type_ids": marks,
            "pixel_values": made["pixel_values"].to(device),
            "image_grid_thw": made["image_grid_thw"].to(device),
        }

    def with_blank(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, list[tuple[bytes, ...]]]:
        """Return a batch that has no pictures with one more row, which is a blank picture; and the pictures of its rows."""
        row = torch.tensor(self.tokens(_BLANK), dtype=input_ids.dtype, device=input_ids.device)
        rows, width = len(input_ids), max(input_ids.shape[1], len(row))
        ids = input_ids.new_zeros((rows + 1, width))
        mask = attention_mask.new_zeros((rows + 1, width))
        ids[:rows, : input_ids.shape[1]], mask[:rows, : input_ids.shape[1]] = input_ids, attention_mask
        ids[rows, : len(row)], mask[rows, : len(row)] = row, 1
        return ids, mask, [*([()] * rows), (_BLANK,)]

    def hide(self, logits: Tensor) -> Tensor:
        """Return logits [..., vocab] under which no place for a picture can be sampled."""
        return logits.index_fill(-1, torch.tensor(self.hidden_ids, device=logits.device), -torch.inf)

    def save(self, directory: Path) -> None:
        """Write ``preprocessor_config.json``."""
        self.processor.save_pretrained(directory)


def prepare(config: Any, tokenizer: Any) -> None:
    """Tell the config of a fresh model the ids of its pictures' tokens, in place."""
    if config.model_type in SEEING:
        ids = [int(tokenizer.convert_tokens_to_ids(token)) for token in TOKENS]
        config.vision_start_token_id, config.image_token_id, config.vision_end_token_id, config.video_token_id = ids


def special_tokens(model_type: str) -> Iterable[str]:
    """Return the tokens that a tokenizer made for this kind of model needs."""
    return TOKENS if model_type in SEEING else ()


def _processor(config: Any, stored: str | Path | None, max_pixels: int, revision: str | None) -> Any:
    from transformers import Qwen2VLImageProcessorPil

    vision = config.vision_config
    least = (vision.patch_size * vision.spatial_merge_size) ** 2
    size = {"shortest_edge": least, "longest_edge": max(max_pixels, least)}
    local = stored is None or Path(stored).exists()
    if stored is not None and (not local or (Path(stored) / "preprocessor_config.json").is_file()):
        return Qwen2VLImageProcessorPil.from_pretrained(stored, size=size, revision=revision or "main")
    # Qwen3-VL's pictures are −1…1, those of the others normalised as CLIP's.
    half: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3} if config.model_type == "qwen3_vl" else {}
    return Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        size=size,
        **half,
    )


def _blank() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (32, 32)).save(made, "PNG")
    return made.getvalue()


_BLANK = _blank()


def _opened(picture: bytes) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as image:
        return image.convert("RGB")
