"""What the embedded server is told of items and blocks: our reviewed tables as one JSON file, written once."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from crossagent_craftworld.digging import needs_floor
from crossagent_craftworld.palette import intern
from crossagent_minecraft.node import home
from crossagent_minecraft_data.blocks import BLOCKS, INTERACTIVE, UNDER_WATER, harvests
from crossagent_minecraft_data.cooking import LEFT_BY_FUEL, fuel_ticks, smelts
from crossagent_minecraft_data.entities import FLYERS, MOBS, RANGED, SPLITTING, SWIMMERS, WEAPONS, worn_armor
from crossagent_minecraft_data.items import ITEMS
from crossagent_minecraft_data.loot import block_pools, mob_pools
from crossagent_minecraft_data.recipes import LEFTOVERS, RECIPES
from crossagent_minecraft_data.windows import WORN

WALKERS = frozenset(MOBS) - SWIMMERS - FLYERS - RANGED - set(SPLITTING)
"""Mobs of the embedded server: those that walk and strike."""
_TOOLS = tuple(
    item for item in ITEMS if item == "shears" or item.endswith(("_pickaxe", "_axe", "_shovel", "_hoe", "_sword"))
)


def collect() -> dict[str, Any]:
    """Return the tables as JSON-able data, in a fixed order."""
    return {
        "recipes": [
            {"result": r.result, "count": r.count, "shaped": r.shaped, "width": r.width, "cells": r.cells}
            for rows in RECIPES.values()
            for r in rows
        ],
        "leftovers": LEFTOVERS,
        "smelts": {item: result for item in ITEMS if (result := smelts(item))},
        "fuel": {item: ticks for item in ITEMS if (ticks := fuel_ticks(item))},
        "left_by_fuel": LEFT_BY_FUEL,
        "worn": WORN,
        "loot": {name: pools for name in BLOCKS if (pools := block_pools(name)) is not None},
        "harvest": {
            name: [tool for tool in _TOOLS if harvests(name, tool)] for name in BLOCKS if not harvests(name, None)
        },
        "interactive": sorted(INTERACTIVE),
        "replaceable": sorted(name for name, block in BLOCKS.items() if block.replaceable),
        "under_water": sorted(UNDER_WATER),
        "mobs": {
            name: {
                "width": mob.width,
                "height": mob.height,
                "health": mob.health,
                "speed": mob.speed,
                "pace": mob.pace,
                "attack": mob.attack,
                "armor": mob.armor,
                "hostile": mob.hostile,
                "neutral": mob.kind == "neutral",
                "loot": mob_pools(name),
            }
            for name, mob in MOBS.items()
            if name in WALKERS
        },
        "weapons": WEAPONS,
        "armor": {item: worn for item in ITEMS if any(worn := worn_armor([item]))},
        "needs_floor": sorted(name for name in BLOCKS if needs_floor(intern(name))),
    }


@cache
def path() -> Path:
    """Return the file with the tables, writing it (atomically) when it is not there yet; named by what it contains."""
    text = json.dumps(collect())
    target = home() / f"facts-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        part.write_text(text)
        part.replace(target)
    return target
