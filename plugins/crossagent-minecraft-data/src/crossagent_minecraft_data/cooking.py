"""Furnaces and the stations like them: what is cooked, how long, for how much experience; fuels; cutting, smithing.

minecraft-data has none of it: the tables are ours (facts.toml).
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

from crossagent_minecraft_data._source import facts, wildcard
from crossagent_minecraft_data.items import ITEMS

Station = Literal["smelting", "blasting", "smoking", "campfire"]
STATIONS: tuple[Station, ...] = ("smelting", "blasting", "smoking", "campfire")
SMELT_TICKS = 200
"""Ticks a furnace takes for one item."""
_TICKS: dict[Station, int] = {"smelting": SMELT_TICKS, "blasting": 100, "smoking": 100, "campfire": 600}


class Cooked(NamedTuple):
    """What cooking one item gives."""

    result: str
    ticks: int
    xp: float


@cache
def _smelting() -> dict[str, str]:
    out: dict[str, str] = {}
    for result, inputs in facts()["smelting"].items():
        for pattern in inputs:
            for item in ITEMS:
                part = wildcard(pattern, item)
                if part is not None and result.format(part) in ITEMS:
                    out.setdefault(item, result.format(part))
    return out


def smelts(item: str) -> str | None:
    """Return what a furnace makes of ``item`` in 200 ticks, or None."""
    return _smelting().get(item)


def cook(station: Station, item: str) -> Cooked | None:
    """Return what a furnace (``smelting``), blast furnace, smoker or campfire makes of ``item``, or None."""
    result = smelts(item)
    rules = facts()["cooking"]
    if result is None or (
        station != "smelting" and result not in rules["blasting" if station == "blasting" else "food"]
    ):
        return None
    xp = rules["xp"]
    kind = next((k for k in xp if wildcard(k, result) is not None), None)
    return Cooked(result, _TICKS[station], xp[kind] if kind is not None else rules["xp_else"])


@cache
def _fuel() -> dict[str, int]:
    out: dict[str, int] = {}
    rock = {name for name in ITEMS if name.startswith(("crimson", "warped", "stripped_crimson", "stripped_warped"))}
    wooden = tuple(f"{wood}_" for wood in ("oak", "spruce", "birch", "jungle", "acacia", "dark_oak"))
    for pattern, ticks in facts()["fuel"].items():
        for item in ITEMS:
            part = wildcard(pattern, item)
            if part is None or item in rock:
                continue
            kind = pattern[1:]
            needs_wood = kind in ("_stairs", "_slab", "_fence", "_fence_gate", "_trapdoor", "_pressure_plate", "_door")
            needs_wood = needs_wood or kind in ("_sign", "_button", "_planks")
            if "*" in pattern and needs_wood and not item.startswith(wooden):
                continue
            out.setdefault(item, ticks)
    return out


def fuel_ticks(item: str) -> int:
    """Return how many ticks ``item`` burns in a furnace; 0 when it is no fuel."""
    return _fuel().get(item, 0)


LEFT_BY_FUEL = {"lava_bucket": "bucket"}
"""What stays in the fuel slot of the fuels that come in a container."""


def cuts(item: str) -> dict[str, int]:
    """Return what a stonecutter makes of one ``item``: result → count."""
    return {result: 2 if result.endswith("_slab") else 1 for result in facts()["stonecutting"].get(item, ())}


def smiths(base: str, addition: str) -> str | None:
    """Return what a smithing table makes of two items, or None."""
    tier, _, kind = base.partition("_")
    made = f"netherite_{kind}"
    return made if tier == "diamond" and addition == "netherite_ingot" and made in ITEMS and kind != "block" else None
