"""How many bytes a number takes: of weights, gradients, optimiser state and activations, at a precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Numbers:
    """Bytes per number of what training keeps, at a ``trainer.precision`` and a ``policy.dtype``."""

    weight: int
    gradient: int
    optimizer: int
    """Per trained number: Adam's two moments, and the fp32 copy that DeepSpeed keeps of the weights."""
    residual: int
    """The stream between layers."""
    upcast: int
    """The fp32 copy of the stream that a norm makes of 16-bit input; 0: there is none."""
    normal: int
    """The normalised stream, kept for the gradient of the norm's weight."""
    linear: int
    """Inputs and outputs of linear layers."""
    cast: int
    """Of autocast's copies of the weights; 0: there are none."""

    @classmethod
    def of(cls, precision: str, dtype: str, engine: str = "") -> Numbers:
        """Return them for a recipe's ``trainer.precision``, ``policy.dtype`` and the engine that trains."""
        zero = engine == "deepspeed"  # an fp32 copy of its part of the weights, whatever their type
        half = precision.startswith(("bf16", "16"))
        if (half and (zero or precision.endswith("true"))) or dtype != "float32":
            return cls(2, 2, 12 if zero else 4, 2, 4, 2, 2, 0)
        if half:
            return cls(4, 4, 8, 4, 0, 4, 2, 2)
        return cls(4, 4, 12 if zero else 8, 4, 0, 4, 4, 0)
