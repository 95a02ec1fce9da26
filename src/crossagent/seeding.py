"""Every seed of a run, derived from the recipe's one seed and the place it is used at; never from order or time."""

from __future__ import annotations

import hashlib
import random
from operator import index


def derive(seed: int, *parts: int | str) -> int:
    """Return a 63-bit seed for the place that ``parts`` name, e.g. ``derive(seed, "sample", step, group, member, turn)``.

    Stable over processes, machines and versions of Python (no ``hash()``). Different parts give independent seeds, and
    1 and ``"1"`` are different parts; so two uses never share a seed as long as their first part differs.
    """
    place = (index(seed), *(part if isinstance(part, str) else index(part) for part in parts))
    return int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=8).digest(), "little") >> 1


def rng(seed: int, *parts: int | str) -> random.Random:
    """Return a generator seeded for the place that ``parts`` name."""
    return random.Random(derive(seed, *parts))
