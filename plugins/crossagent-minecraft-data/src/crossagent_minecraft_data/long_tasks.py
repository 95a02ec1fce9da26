"""Long tasks, from nothing: wood, table, pickaxe, stone, furnace, iron. Listed with ``tasks: long`` or ``all``.

They are ours, not the benchmark's, and play in the biomes, where every landscape has what they need.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossagent.plugin import Task
from crossagent_minecraft_data.phrases import instruction

LISTS = ("benchmark", "long", "all")
CATEGORY = "long"
GOALS: Mapping[str, tuple[str, int, int]] = {
    "crafting_table": ("craft_item", 600, 2400),
    "wooden_pickaxe": ("craft_item", 800, 3200),
    "stone_pickaxe": ("craft_item", 1000, 4000),
    "torch": ("craft_item", 1000, 4000),
    "furnace": ("craft_item", 1000, 4000),
    "iron_ingot": ("smelt_item", 1500, 6000),
    "bucket": ("craft_item", 2000, 8000),
    "iron_pickaxe": ("craft_item", 2000, 8000),
}
"""item → event, turns, ticks."""
_SHORT = ("crafting_table", "wooden_pickaxe")


def tasks(env: str, phrasing: str) -> list[Task]:
    """Return the long tasks; the two shortest are in ``long_train``, the others in ``long_ood``."""
    out = []
    for item, (event, turns, ticks) in GOALS.items():
        setup = {"goal": {"event": event, "name": item}, "long": True, "terrain": "biomes"}
        told = f"from nothing, {instruction(event, item, phrasing)}"
        split = "long_train" if item in _SHORT else "long_ood"
        out.append(Task(f"long:{item}", CATEGORY, told, env, setup, turns, ticks, ("long", split)))
    return out
