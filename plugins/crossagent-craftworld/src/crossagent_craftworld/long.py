"""Long tasks, from nothing: wood, table, pickaxe, stone, furnace, iron. An environment of their own, ``craftworld-long``.

They are ours, not the benchmark's, and play in the biomes, where every landscape has what they need.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from crossagent.plugin import Task
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.phrases import instruction
from crossagent_craftworld.suite import Suite

ENVIRONMENT = "craftworld-long"
_GOALS: dict[str, tuple[str, int, int]] = {
    "crafting_table": ("craft_item", 40, 1200),
    "wooden_pickaxe": ("craft_item", 60, 2000),
    "stone_pickaxe": ("craft_item", 80, 3000),
    "torch": ("craft_item", 80, 3000),
    "furnace": ("craft_item", 100, 4000),
    "iron_ingot": ("smelt_item", 150, 6000),
    "bucket": ("craft_item", 200, 8000),
    "iron_pickaxe": ("craft_item", 200, 8000),
}
"""item → event, turns of skills, ticks."""


class CraftWorldLong(CraftWorld):
    """CraftWorld in the biomes, with the full skill library unless told otherwise."""

    name = ENVIRONMENT

    def __init__(self, skills: Any = "full", terrain: str = "biomes", **options: Any) -> None:
        super().__init__(skills=skills, terrain=terrain, **options)


@cache
def _build() -> Suite:
    tasks = []
    for item, (event, turns, ticks) in _GOALS.items():
        setup = {"goal": {"event": event, "name": item}, "long": True, "terrain": "biomes"}
        tasks.append(
            Task(
                name=f"long:{item}",
                category="long",
                instruction=f"from nothing, {instruction(event, item)}",
                env=ENVIRONMENT,
                setup=setup,
                max_turns=turns,
                max_ticks=ticks,
                splits=("train",) if item in ("crafting_table", "wooden_pickaxe") else ("ood",),
            )
        )
    return Suite(sorted(tasks, key=lambda task: task.name))


def suite(**options: Any) -> Suite:
    """Return the suite."""
    return _build()
