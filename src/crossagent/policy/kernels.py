"""Faster forms of what a model computes: its layers compiled by torch, Liger's kernels on GPUs. They round differently, no more."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from crossagent.errors import MissingExtraError, RecipeError

_on = False
"""Whether compiled layers run compiled. Of the process: a layer runs again, on the way back, in a thread of autograd's."""


def compile_layers(layers: Sequence[nn.Module]) -> None:
    """Let layers run compiled within :func:`compiled`, and as they are elsewhere.

    Training repeats a few shapes; sampling grows by a token at a time, which would be compiled over and over. Shapes are
    symbols, and layers of a kind share what was compiled.
    """
    kinds: dict[type[nn.Module], type[nn.Module]] = {}
    for layer in layers:
        kind = type(layer)
        if kind not in kinds:
            kinds[kind] = _with_two_forms(kind)
        # Another class, as FSDP2 gives it too, and not another function: a copy of the layer keeps its own weights, and
        # transformers puts gradient checkpointing around the new class's forward.
        layer.__class__ = kinds[kind]


def _with_two_forms(kind: type[nn.Module]) -> type[nn.Module]:
    plain: Callable[..., Any] = kind.forward
    fast = torch.compile(plain, dynamic=True)

    @functools.wraps(plain)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return (fast if _on else plain)(self, *args, **kwargs)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


@contextmanager
def compiled() -> Iterator[None]:
    """Run compiled layers compiled; where none was, this does nothing."""
    global _on
    before, _on = _on, True
    try:
        yield
    finally:
        _on = before


def use_liger(model: Any) -> None:
    """Put Liger's kernels (arXiv 2410.10989) into a transformers model: rotary embedding, normalisation, gated layers.

    Its losses stay out: log-probs are taken at single positions, with temperature and constraints.

    Raises:
        MissingExtraError: Liger is not installed.
        RecipeError: There is no GPU, or Liger knows no kernels for this kind of model.
    """
    if importlib.util.find_spec("liger_kernel") is None:
        raise MissingExtraError(
            "trainer.liger: needs the package liger-kernel, which is not installed. Fix: pip install 'crossagent[liger]'"
        )
    if not torch.cuda.is_available():
        raise RecipeError(
            "trainer.liger: its kernels run on GPUs, and there is none here; expected trainer.liger: false"
        )
    from liger_kernel.transformers import _apply_liger_kernel_to_instance
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as KNOWN

    if model.config.model_type not in KNOWN:
        raise RecipeError(
            f"trainer.liger: there are no kernels for models of type {model.config.model_type!r}; expected "
            "trainer.liger: false, or a model of another type"
        )
    _apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)
