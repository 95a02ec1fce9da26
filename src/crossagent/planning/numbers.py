"""How many bytes a number takes: of weights, gradients, optimiser state and activations, at a precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Numbers:
    """Bytes per number of what training keeps, at a ``trainer.precision`` and a ``policy.dtype``."""

    weight: int
    gradient: int
    optimizer: int
    """Per trained number: Adam's two moments, and the fp32 copy that DeepSpeed keeps of 16-bit weights."""
    residual: int
    """The stream between layers."""
    normal: int
    """The normalised stream, and the fp32 copy of the stream that a norm makes of 16-bit input."""
    linear: int
    """Inputs and outputs of linear layers."""
    cast: int
    """Of autocast's copies of the weights; 0: there are none."""

    @classmethod
    def of(cls, precision: str, dtype: str, engine: str = "") -> Numbers:
        """Return them for a recipe's ``trainer.precision``, ``policy.dtype`` and the engine that trains."""
        half = precision.startswith(("bf16", "16"))
        if half and (engine == "deepspeed" or precision.endswith("true")):
            # DeepSpeed runs in 16 bits whatever the suffix, with fp32 master weights beside fp32 moments.
            return cls(2, 2, 12 if engine == "deepspeed" else 4, 2, 6, 2, 0)
        stored = 4 if dtype == "float32" or engine == "deepspeed" else 2
        if stored == 2:
            return cls(2, 2, 4, 2, 6, 2, 0)
        if half:
            return cls(4, 4, 8, 4, 4, 2, 2)
        return cls(4, 4, 8, 4, 4, 4, 0)
