"""What a recipe says about demonstrations. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossagent.errors import RecipeError


@dataclass
class DemonstrationsConfig:
    """What SFT, STRL and relabel learn from."""

    episodes: int = 1000
    """How many demonstrated episodes to keep."""
    mixture: dict[str, float] = field(default_factory=dict)
    """Relative share of each kind: a space's name (that space alone) or ``mixed``. Empty: every space 1, mixed 2.
    0 takes an inherited share out."""
    splits: list[str] = field(default_factory=lambda: ["train", "demo"])
    """Splits whose tasks are demonstrated."""
    tasks: list[str] = field(default_factory=list)
    """Tasks by name, besides those of the splits."""
    also_under_all: float = 0.0
    """Share of the single-space episodes that are shown once more under the prompt of all spaces."""
    file: str | None = None
    """Use this parquet file of demonstrations instead of playing them."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise RecipeError(f"episodes: got {self.episodes}; expected at least 1")
        if any(share < 0 for share in self.mixture.values()) or (self.mixture and not sum(self.mixture.values())):
            raise RecipeError(f"mixture: got {dict(self.mixture)}; expected shares ≥ 0, one of them > 0")
