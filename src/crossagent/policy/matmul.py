"""How exactly float32 matrices are multiplied, which on a CPU decides which library does it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

_EXACT = 4.0
"""Errors of ``medium`` may be at most so many times those of ``highest``: it then rounds as float32 does."""


def set_matmul_precision(choice: str, accelerator: str) -> str:
    """Set torch's precision of float32 matrix products; returns what it is.

    On a CPU torch leaves the products to MKL, which on others' processors than Intel's uses half the width of their vectors;
    ``medium`` leaves them to oneDNN. oneDNN may then compute in bfloat16, but does only where the processor has a unit for that.
    So ``auto`` is ``medium`` where it turns out to be exact and MKL is slow, and ``highest`` elsewhere: on Intel's processors
    MKL is the faster of the two (a GRPO step of a tiny model took 10.6 s and 14 s on an Ice Lake).

    Args:
        choice: ``auto``, or what torch.set_float32_matmul_precision takes.
        accelerator: Of the trainer; ``auto`` looks at a CPU alone.
    """
    if choice == "auto":
        slow = accelerator == "cpu" and torch.backends.mkl.is_available() and not is_intel()
        choice = "medium" if slow and _error("medium") <= _EXACT * _error("highest") else "highest"
    torch.set_float32_matmul_precision(choice)
    return choice


def is_intel() -> bool:
    """Return whether the processor is one of Intel's."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        about = platform.processor()
    return "GenuineIntel" in about


def _error(precision: str) -> float:
    """Return the largest error of a product of fixed matrices."""
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(64, 512, generator=generator) for _ in range(2))
    torch.set_float32_matmul_precision(precision)
    try:
        return float((one @ other.T - one.double() @ other.double().T).abs().max())
    finally:
        torch.set_float32_matmul_precision(before)
