"""Mobs and weapons: sizes, health, speed, damage, hits needed, the cooldown of a blow."""

from __future__ import annotations

from typing import Any

from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_minecraft_data.entities import MOBS, after_armor, attack_charge, attack_damage, weapon

TOLERANCE = 1e-6


def hits_needed(name: str, item: str | None) -> int:
    """Return how many full blows with ``item`` kill a mob."""
    return int(-(-MOBS[name].health // after_armor(weapon(item)[0], MOBS[name].armor)))


def _within(got: float, want: Any) -> bool:
    """Vanilla draws some figures from a range; CraftWorld has one value in it."""
    return bool(min(want) <= got <= max(want) if isinstance(want, list) else got == want)


def mobs(document: Document) -> Tally:
    """One case is one mob: every figure of its row, exact (within the range where the row gives one)."""
    tally = Tally("mobs")
    for name, row in document["mobs"].items():
        if name not in MOBS:
            tally.case(name, False, "no such mob here")
            continue
        mob, wrong = MOBS[name], []
        figures = {"w": mob.width, "h": mob.height, "health": mob.health, "speed": mob.speed, "armor": mob.armor}
        figures["attack_normal"] = mob.attack
        for key, value in row.items():
            if key in figures and not _within(figures[key], value):
                wrong.append(f"{key} is {figures[key]}, expected {value}")
        if "kind" in row and mob.kind != row["kind"]:
            wrong.append(f"kind is {mob.kind}, expected {row['kind']}")
        if "armor" not in row and mob.armor and not isinstance(row["health"], list):
            wrong.append(f"armor is {mob.armor}, expected none")
        for item, hits in row.get("full_charge_hits", {}).items():
            got = hits_needed(name, None if item == "hand" else item)
            if got != hits:
                wrong.append(f"{got} hits with {item}, expected {hits}")
        tally.case(name, not wrong, "; ".join(wrong))
    return tally


def weapons(document: Document) -> Tally:
    """Damage at full charge, attacks per second, cooldown in ticks."""
    tally = Tally("weapons")
    for item, row in document["weapons"].items():
        damage, speed = weapon(None if item == "hand" else item)
        tally.check(item, (damage, speed), (row["damage"], row["attack_speed"]))
        tally.near(f"{item} cooldown", 20 / speed, row["cooldown_ticks"], 1e-4)
    return tally


def cooldown(document: Document) -> Tally:
    """Charge and damage so many ticks after the last swing."""
    tally = Tally("cooldown_vectors")
    for item, ticks, charge, damage in document["cooldown_vectors"]:
        held = None if item == "hand" else item
        tally.near(f"{item} charge after {ticks}", attack_charge(held, ticks), charge, 1e-5)
        tally.near(f"{item} damage after {ticks}", attack_damage(held, ticks), damage, 1e-5)
    return tally
