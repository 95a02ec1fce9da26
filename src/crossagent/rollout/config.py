"""What a recipe says about playing episodes. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from crossagent.declarations import BUILT_IN_SAMPLERS
from crossagent.errors import RecipeError

Schedule = Literal["halves", "lockstep", "async"]
"""Who is sampled when; see :mod:`crossagent.rollout.loop`."""
NOT_OFFERED: Mapping[str, str] = MappingProxyType(
    {
        name: f"{name} is not offered in training: it makes the sampler another policy than the one whose log-probs are "
        "trained, so the ratio would not be 1 on the first pass; remove it, and use temperature"
        for name in ("top_p", "top_k", "min_p")
    }
)
"""Options of sampling that a recipe may well try, and why they are not there."""


@dataclass
class SamplerConfig:
    """Who turns prompts into responses."""

    name: str = "fast"
    """``fast``; ``generate``, which is transformers' own loop with the same results; or the name of a plugin's sampler."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of a plugin's sampler."""

    def __post_init__(self) -> None:
        if self.options and self.name in BUILT_IN_SAMPLERS:
            raise RecipeError(f"rollout.sampler.options: {self.name!r} is built in and takes none; take them out")


@dataclass
class RolloutConfig:
    """Where worlds live, and how long a response may be."""

    workers: int = 2
    """Processes that hold worlds; 0 keeps them in the main process."""
    worlds_per_worker: int = 32
    """Worlds in each of them; workers × worlds_per_worker episodes are played at a time."""
    timeout_s: float = 30.0
    """A world that shows no sign of life for so long has hung; its episode is dropped and its worker replaced."""
    max_new_tokens: int = 24
    """Longest response; one that is longer is cut, which ends its trajectory."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    NOT_OFFERED: ClassVar[Mapping[str, str]] = NOT_OFFERED

    def __post_init__(self) -> None:
        for key, ok, expected in (
            ("workers", self.workers >= 0, "≥ 0"),
            ("worlds_per_worker", self.worlds_per_worker >= 1, "≥ 1"),
            ("timeout_s", self.timeout_s > 0, "> 0"),
            ("max_new_tokens", self.max_new_tokens >= 2, "≥ 2: one token and the end of turn"),
        ):
            if not ok:
                raise RecipeError(f"rollout.{key}: got {getattr(self, key)}; expected {expected}")
