"""LoRA adapters merged into copies of the weights for as long as something is sampled; training never sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return W + scale·B·A of every adapted linear layer, by its name in ``model`` (wrapped by peft)."""
    from peft.tuners.lora import LoraLayer

    merged = {}
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, LoraLayer) and isinstance(module.get_base_layer(), nn.Linear):
                layer: Any = module
                weight = layer.get_base_layer().weight
                merged[name] = weight + sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
    return merged


@contextmanager
def with_merged(model: nn.Module, merged: dict[str, Tensor]) -> Iterator[None]:
    """Let the layers of ``merged`` run on these weights, their adapters off. Tensors change places, none is written to."""
    layers: list[tuple[Any, Tensor]] = []
    for name, weight in merged.items():
        layer: Any = model.get_submodule(name)
        layers.append((layer, layer.get_base_layer().weight.data))
        layer.get_base_layer().weight.data = weight
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, weight in layers:
            layer.get_base_layer().weight.data = weight
            layer._disable_adapters = False
