"""What can be eaten: points and saturation from minecraft-data, the rest from our reviewed table."""

from __future__ import annotations

from dataclasses import dataclass

from crossagent_minecraft_data._source import facts, table


@dataclass(frozen=True, slots=True)
class Food:
    """One food."""

    name: str
    points: int
    """Food points, two to a drumstick."""
    saturation: float
    ticks: int
    """Of eating it."""
    always: bool
    """May be eaten when not hungry."""
    leaves: str | None
    """What is left of it."""


def _build() -> dict[str, Food]:
    rules = facts()["eating"]
    return {
        row["name"]: Food(
            row["name"], int(row["foodPoints"]), float(row["saturation"]),
            rules["fast_ticks"] if row["name"] in rules["fast"] else rules["ticks"], row["name"] in rules["always"],
            rules["leaves"].get(row["name"]),
        )
        for row in table("foods")
        if row["name"] != "cake"  # eaten where it stands
    }  # fmt: skip


FOODS: dict[str, Food] = _build()
"""The 39 foods that are eaten out of the hand, by name."""
