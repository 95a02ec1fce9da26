"""The camera of VPT and MineStudio: degrees in a few bins, finer near zero (mu-law; arXiv 2206.11795, appendix).

The learned policies behind OpenHA's motion and grounding speak in these bins; its texts speak in mouse pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DEGREES_PER_PIXEL = 360.0 / 2400.0
"""Of mouse movement, in Minecraft at the default sensitivity."""


@dataclass(frozen=True, slots=True)
class CameraBins:
    """Camera movement along one axis as a bin in 0 … ``count`` − 1, the middle one resting.

    ``CameraBins()`` is OpenHA's motion and grounding policy (and VPT's), 11 bins; ``CameraBins(binsize=1, mu=20)`` that of
    its reserved tokens, 21 bins.
    """

    maxval: int = 10
    """Degrees of the outermost bins; more is clipped to them."""
    binsize: int = 2
    mu: float = 10.0
    scheme: Literal["mu_law", "linear"] = "mu_law"

    def __post_init__(self) -> None:
        if self.maxval <= 0 or self.binsize <= 0 or 2 * self.maxval % self.binsize:
            raise ValueError(f"maxval {self.maxval}, binsize {self.binsize}; expected bins that divide 2 * maxval")
        if self.mu <= 0:
            raise ValueError(f"mu: got {self.mu}; expected more than 0")

    @property
    def count(self) -> int:
        """Number of bins along one axis."""
        return 2 * self.maxval // self.binsize + 1

    def encode(self, degrees: Sequence[float]) -> tuple[int, ...]:
        """Return the bin of each angle."""
        return tuple(self._bin(float(angle)) for angle in degrees)

    def decode(self, bins: Sequence[int]) -> tuple[float, ...]:
        """Return the angle in the middle of each bin; raises ``ValueError`` for a bin that is none."""
        return tuple(self._degrees(int(index)) for index in bins)

    def _bin(self, angle: float) -> int:
        if not math.isfinite(angle):
            raise ValueError(f"camera: got {angle}; expected a finite number of degrees")
        value = max(-float(self.maxval), min(float(self.maxval), angle))
        if self.scheme == "mu_law":
            size = math.log1p(self.mu * abs(value) / self.maxval) / math.log1p(self.mu)
            value = math.copysign(size * self.maxval, value)
        return round((value + self.maxval) / self.binsize)

    def _degrees(self, index: int) -> float:
        if not 0 <= index < self.count:
            raise ValueError(f"camera bin {index}; expected 0 to {self.count - 1}")
        value = float(index * self.binsize - self.maxval)
        if self.scheme == "mu_law":
            size = ((1.0 + self.mu) ** (abs(value) / self.maxval) - 1.0) / self.mu
            value = math.copysign(size * self.maxval, value)
        return value
