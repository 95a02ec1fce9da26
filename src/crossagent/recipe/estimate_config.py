"""What a recipe says for ``crossagent plan``. Changes no run; loads nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from crossagent.errors import RecipeError


@dataclass
class PlanConfig:
    """For ``crossagent plan`` and ``run --dry-run``: on what it would run, and what to expect. Changes no run."""

    hardware: str = ""
    """``h100``, ``h200``, ``a100`` (80 GB), ``l40s``, ``4090`` or ``cpu`` (this machine); empty: ``cpu`` where the trainer's
    accelerator is."""
    memory_gib: float | None = None
    """Memory of one device, GiB; none: what the hardware has."""
    bf16_tflops: float | None = None
    """Peak dense bf16 operations per second of one device, 10¹²; none: the hardware's."""
    bandwidth_gb_s: float | None = None
    """Bandwidth of its memory, 10⁹ bytes per second; none: the hardware's."""
    interconnect_gb_s: float | None = None
    """To other devices of its node, 10⁹ bytes per second and direction; none: the hardware's."""
    network_gb_s: float | None = None
    """To other nodes, 10⁹ bytes per second and direction, per device; none: the hardware's."""
    host_gib: float | None = None
    """Memory of one node, GiB; none: not checked (``cpu``: this machine's)."""
    reserve_gib: float = 2.0
    """Left free on each GPU, GiB: its context, buffers of communication, fragmentation."""
    price_per_device_hour: float | None = None
    """What one device costs per hour, in any currency; none: no cost is given."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """Keys of the model's ``config.json``, for a model that is not on this machine."""
    prompt_tokens: int = 1024
    """Tokens of the longest prompt to expect, history included."""
    turns: float | None = None
    """Turns per trajectory to expect; none: the tasks' limit, on average."""
    response_tokens: float | None = None
    """Tokens of a response to expect, on average; none: the longest allowed."""
    worker_mib: float = 300.0
    """Resident memory of one worker process, MiB."""
    efficiency: float = 0.4
    """Share of a device's peak that is reached, where no run was measured (``--calibrate``)."""

    def __post_init__(self) -> None:
        positive = {
            name: getattr(self, name)
            for name in (
                "memory_gib", "bf16_tflops", "bandwidth_gb_s", "interconnect_gb_s", "network_gb_s", "host_gib",
                "prompt_tokens", "turns", "response_tokens",
            )
        }  # fmt: skip
        for name, value in positive.items():
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise RecipeError(f"{name}: got {value}; expected a number > 0")
        for name in ("reserve_gib", "price_per_device_hour", "worker_mib"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise RecipeError(f"{name}: got {value}; expected a number ≥ 0")
        if not 0 < self.efficiency <= 1:
            raise RecipeError(f"efficiency: got {self.efficiency}; expected 0 < efficiency ≤ 1")
