"""Larger sets of demonstrated tasks, and what they leave for ``ood``: draws that never change.

The 600 tasks of the split ``ood`` are in no stage of a recipe that demonstrates ``train`` and ``demo``. A recipe that
demonstrates more of them needs a smaller ``ood``. Three draws, each stratified by category and, among crafts, by the last
word of the name, the family of recipes that share a layout (``fence``, ``stairs``):

- ``demo-200`` and ``demo-400``: with ``train``, 200 and 400 tasks; they hold ``demo``, and each holds the one before.
- ``ood-400``: tasks outside ``demo-400``, on which results are reported.
- ``tune-400``: other tasks outside ``demo-400``, on which settings may be chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

TRAINED = 30
"""Tasks of the split ``train``."""
TUNE = 100
"""Tasks of ``tune-400``; ``ood-400`` has the rest."""


def _digest(name: str) -> str:
    return hashlib.blake2b(f"split {name}".encode(), digest_size=8).hexdigest()


def _stratum(name: str) -> tuple[str, str]:
    category, _, goal = name.partition(":")
    return category, goal.rsplit("_", 1)[-1] if category == "craft_item" else ""


def draw(names: Iterable[str], count: int) -> list[str]:
    """Return ``count`` of the names: every k-th of those in the order of their strata, within one by a hash of the name.

    Each stratum so gives its share, up to one. The same names give the same draw, in whatever order they come.
    """
    ordered = sorted(names, key=lambda name: (_stratum(name), _digest(name)))
    if count > len(ordered):
        raise ValueError(f"got {len(ordered)} names; expected at least {count}")
    return [ordered[(2 * k + 1) * len(ordered) // (2 * count)] for k in range(count)]


def larger_splits(demo: Collection[str], ood: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return name → further splits.

    Args:
        demo: The tasks of the split ``demo``.
        ood: Those of the split ``ood``.
    """
    shown_400 = draw(ood, 400 - TRAINED - len(demo))
    shown_200 = draw(shown_400, 200 - TRAINED - len(demo))
    hidden = sorted(set(ood) - set(shown_400))
    tune = draw(hidden, TUNE)
    members = {
        "demo-200": {*demo, *shown_200},
        "demo-400": {*demo, *shown_400},
        "ood-400": set(hidden) - set(tune),
        "tune-400": set(tune),
    }
    return {name: tuple(split for split, inside in members.items() if name in inside) for name in (*demo, *ood)}
