"""Mobs and weapons: sizes from minecraft-data, health, speed and damage from our reviewed table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from crossagent_minecraft_data._source import facts, table

Temper = Literal["passive", "neutral", "hostile", "ambient", "boss"]
SWIMMERS = frozenset(("cod", "dolphin", "elder_guardian", "guardian", "pufferfish", "salmon", "squid", "tropical_fish"))
"""Mobs that live in water."""
FLYERS = frozenset(("bat", "bee", "blaze", "parrot", "phantom", "vex"))
"""Mobs that fly and do not shoot."""
SPLITTING = ("slime", "magma_cube")
"""Mobs that split into smaller ones when they die."""
RANGED = frozenset(
    ("skeleton", "stray", "pillager", "creeper", "witch", "evoker", "shulker", "ghast", "wither", "ender_dragon")
)
"""Mobs that do not fight hand to hand: they shoot, cast spells or explode."""


@dataclass(frozen=True, slots=True)
class Mob:
    """One kind of mob."""

    name: str
    width: float
    """Blocks."""
    height: float
    health: float
    speed: float
    """Movement speed attribute; on the ground a mob walks ``2.1586 · speed²`` blocks a tick."""
    attack: float
    """Melee damage at normal difficulty."""
    armor: float
    kind: Temper
    pace: float
    """What its goals multiply the speed by when it walks about; panic is 1.5 times that."""

    @property
    def hostile(self) -> bool:
        """True when it attacks players unprovoked."""
        return self.kind in ("hostile", "boss")


def _mobs() -> dict[str, Mob]:
    sizes = {row["name"]: (row["width"], row["height"]) for row in table("entities")}
    return {
        name: Mob(name, *sizes[name], health, speed, attack, armor, kind, facts()["mob_pace"].get(name, 1.0))
        for name, (health, speed, attack, armor, kind) in facts()["mobs"].items()
    }


MOBS: dict[str, Mob] = _mobs()
"""Every mob by name."""


def _weapons() -> dict[str, tuple[float, float]]:
    table_ = dict(facts()["weapons"])
    tiers = table_.pop("tiers")
    out = {"trident": (float(table_["trident"]["damage"][0]), float(table_["trident"]["speed"][0]))}
    del table_["trident"]
    for kind, row in table_.items():
        for tier, damage, speed in zip(tiers, row["damage"], row["speed"], strict=True):
            out[f"{tier}_{kind}"] = (float(damage), float(speed))
    return out


WEAPONS: dict[str, tuple[float, float]] = _weapons()
"""item → (damage at full charge, attacks per second)."""


def weapon(item: str | None) -> tuple[float, float]:
    """Return (damage at full charge, attacks per second) of what is held; anything else hits like the hand: (1, 4)."""
    return WEAPONS.get(item or "", (1.0, 4.0))


def attack_charge(item: str | None, ticks_since_swing: int) -> float:
    """Return how full, 0…1, a blow ``ticks_since_swing`` ticks after the last swing is."""
    return min(1.0, max(0.0, (ticks_since_swing + 0.5) / (20.0 / weapon(item)[1])))


def attack_damage(item: str | None, ticks_since_swing: int) -> float:
    """Return the damage of a hit ``ticks_since_swing`` ticks after the last swing, before armour."""
    damage, charge = weapon(item)[0], attack_charge(item, ticks_since_swing)
    return damage * (0.2 + 0.8 * charge * charge)


def after_armor(damage: float, armor: float, toughness: float = 0.0) -> float:
    """Return what armour points, of so much toughness, leave of ``damage``."""
    least = max(armor / 5.0, armor - damage / (2.0 + toughness / 4.0))
    return damage * (1.0 - min(20.0, least) / 25.0)


@cache
def _armor(item: str) -> tuple[float, float]:
    row = facts()["armor"]
    tier, _, piece = item.rpartition("_")
    if item in row:
        return float(row[item]), 0.0
    if tier not in row["points"] or piece not in row["pieces"]:
        return 0.0, 0.0
    return float(row["points"][tier][row["pieces"].index(piece)]), float(row["toughness"].get(tier, 0))


def worn_armor(items: Iterable[str]) -> tuple[float, float]:
    """Return (armour points, toughness) of all that is worn."""
    pieces = [_armor(item) for item in items]
    return sum(p for p, _ in pieces), sum(t for _, t in pieces)
