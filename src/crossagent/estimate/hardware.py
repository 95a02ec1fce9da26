"""Devices as their makers publish them, and this machine's CPU as it measures itself.

Sources, all "dense" figures (without structured sparsity), GB = 10⁹ bytes:

- H100 SXM: NVIDIA H100 datasheet: 80 GB, 3.35 TB/s, BF16 989 TFLOPS (1,979 with sparsity), FP32 67 TFLOPS, NVLink 900 GB/s.
- H200 SXM: NVIDIA H200 datasheet: 141 GB, 4.8 TB/s, BF16 989 TFLOPS (1,979 with sparsity), FP32 67 TFLOPS, NVLink 900 GB/s.
- A100 SXM 80 GB: NVIDIA A100 datasheet: 80 GB, 2,039 GB/s, BF16 312 TFLOPS, FP32 19.5 TFLOPS, NVLink 600 GB/s.
- L40S: NVIDIA L40S datasheet: 48 GB, 864 GB/s, BF16 362 TFLOPS (733 with sparsity), FP32 91.6 TFLOPS, PCIe 4.0 ×16.
- RTX 4090: NVIDIA Ada GPU architecture whitepaper, appendix A: 24 GB, 1,008 GB/s, BF16 with FP32 accumulation
  165.2 TFLOPS, FP32 82.6 TFLOPS, PCIe 4.0 ×16.

Interconnects are given by their makers in both directions together; here one direction counts. Between nodes: what the
DGX of that generation has per GPU (DGX H100 and H200: 8 ConnectX-7 of 400 Gb/s; DGX A100: 8 ConnectX-6 of 200 Gb/s), and
25 Gb/s Ethernet for cards that come in single machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil

from crossagent.errors import RecipeError, did_you_mean

GB = 1e9


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device and its links."""

    name: str
    memory: float
    """Bytes."""
    bf16_flops: float
    """Peak dense bf16 operations per second."""
    fp32_flops: float
    """Peak fp32 operations per second; torch does not use TF32 unless told to."""
    bandwidth: float
    """Of its memory, bytes per second."""
    interconnect: float
    """To the other devices of its node, bytes per second and direction."""
    network: float
    """To other nodes, bytes per second and direction, per device."""
    kind: str = "cuda"
    """The accelerator it is of: ``cuda`` or ``cpu``."""

    def flops(self, half: bool) -> float:
        """Return the peak of matrix products in bf16, or in fp32."""
        return self.bf16_flops if half else self.fp32_flops


HARDWARE: dict[str, Hardware] = {
    h.name: h
    for h in (
        Hardware("h100", 80 * GB, 989e12, 67e12, 3.35e12, 450 * GB, 50 * GB),
        Hardware("h200", 141 * GB, 989e12, 67e12, 4.8e12, 450 * GB, 50 * GB),
        Hardware("a100", 80 * GB, 312e12, 19.5e12, 2.039e12, 300 * GB, 25 * GB),
        Hardware("l40s", 48 * GB, 362e12, 91.6e12, 864 * GB, 32 * GB, 3.125 * GB),
        Hardware("4090", 24 * GB, 165.2e12, 82.6e12, 1.008e12, 32 * GB, 3.125 * GB),
    )
}
"""By the names that a recipe may use; ``cpu`` is :func:`this_cpu`."""
NAMES = ("cpu", *HARDWARE)


def find(name: str, where: str = "plan.hardware") -> Hardware:
    """Return a device by its name.

    Raises:
        RecipeError: There is none of this name.
    """
    if name == "cpu":
        return this_cpu()
    if name not in HARDWARE:
        raise RecipeError(f"{where}: got {name!r}. {did_you_mean(name, NAMES)}")
    return HARDWARE[name]


def this_cpu(seconds: float = 0.05) -> Hardware:
    """Return one core of this machine: its memory, and products and copies timed for some CPU ``seconds`` each.

    bf16 counts as fp32: few CPUs have units for it. Processes of one machine meet in its memory.
    """
    side, copied = 64, np.ones(8 * 2**20, dtype=np.float32)  # a product so small that BLAS keeps to one core
    a = np.ones((side, side), dtype=np.float32)
    flops = 2 * side**3 / _fastest(lambda: a @ a, seconds)
    bandwidth = 2 * copied.nbytes / _fastest(copied.copy, seconds)
    return Hardware(
        "cpu", float(psutil.virtual_memory().total), flops, flops, bandwidth, bandwidth / 2, 3.125 * GB, "cpu"
    )


def _fastest(work: Callable[[], object], seconds: float) -> float:
    """Return the fewest CPU-seconds, of all threads, that ``work`` has taken: other processes do not count."""
    best, begun = float("inf"), time.process_time()
    while time.process_time() - begun < seconds:
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best
