"""A random generator whose whole state is one integer, so that snapshots and hashes of a world are cheap."""

from __future__ import annotations

import random
from typing import Any

_MASK = (1 << 64) - 1


class WorldRandom(random.Random):
    """SplitMix64 (Steele, Lea & Flood 2014) behind the interface of :class:`random.Random`."""

    state: int

    def __init__(self, seed: int = 0) -> None:
        super().__init__(0)
        self.state = seed & _MASK

    def _next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def random(self) -> float:
        """Return a float in [0, 1)."""
        return (self._next() >> 11) * 2.0**-53

    def getrandbits(self, k: int) -> int:
        """Return ``k`` random bits, k ≤ 64."""
        return self._next() >> (64 - k) if k > 0 else 0

    def seed(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; the state is set through :attr:`state`."""
