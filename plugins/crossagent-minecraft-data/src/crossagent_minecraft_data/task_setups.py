"""How the benchmark's tasks are set up, and why some cannot be: one rule per category.

``wide`` marks what is done beyond the suite whose figures are published (furnaces, things to use, blocks that hang,
are double, grow in water or take long, mobs that swim, fly, shoot or split): such tasks have a split of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from crossagent_minecraft_data.blocks import BLOCKS, dig_ticks, harvests
from crossagent_minecraft_data.entities import FLYERS, MOBS, RANGED, SPLITTING, SWIMMERS
from crossagent_minecraft_data.recipes import recipes_for
from crossagent_minecraft_data.tasks import TaskFact

MAX_TURNS = 24
MAX_TICKS = 600
_LONG_TURNS = 150
"""Turns of what takes more than 240 ticks of holding or waiting: control acts 4 ticks a turn."""
_LONG = 240
_BOSSES = ("ender_dragon", "wither")
_BOSS_TURNS, _BOSS_TICKS = 300, 1200
"""29 and 45 full blows of a diamond sword, 13 ticks each, are more than 600 ticks leave."""
_BLASTS = ("creeper", "evoker", "ghast", "wither")
_LONGEST = 500
_ABSENT = "no block of that name in Minecraft 1.16.5"
_WIDE_BLOCKS = frozenset(
    [
        "kelp",
        "kelp_plant",
        "lily_pad",
        "sea_pickle",
        "bell",
        "cocoa",
        "ladder",
        "vine",
        "wall_torch",
        "rail",
        "redstone_torch",
        "farmland",
        "large_fern",
        "lilac",
        "peony",
        "rose_bush",
        "sunflower",
        "tall_grass",
    ]
)
_WIDE_ENDS = ("_door", "_bed", "_trapdoor")
# Swimmers, flyers, what splits, and walkers whose other ways (teleporting, lava, charging) CraftWorld leaves out.
_WIDE_MOBS = SWIMMERS | FLYERS | RANGED | {*SPLITTING, "drowned", "turtle", "piglin", "enderman", "strider", "ravager"}
# What the block stands on, where the ground of the scene will not do.
SUPPORT = {"cactus": "sand", "dead_bush": "sand", "sugar_cane": "sand", "bamboo": "dirt", "wheat": "farmland"}
SUPPORT |= {"carrots": "farmland", "potatoes": "farmland"}


class Plan(NamedTuple):
    """How a task is played."""

    setup: dict[str, Any]
    reason: str = ""
    """Why it cannot be done; empty when it can."""
    wide: bool = False
    """Beyond the suite whose figures are published."""
    max_turns: int = MAX_TURNS
    max_ticks: int = MAX_TICKS


def _mine(fact: TaskFact) -> Plan:
    name = fact.goal
    # The first tool offered with which the block drops; else the first, since the break is what counts.
    tools = [tool or None for tool in fact.tools]
    known = name in BLOCKS
    tool = next((t for t in tools if known and harvests(name, t)), tools[0])
    setup: dict[str, Any] = {"target_block": name, "hand": tool}
    if name in SUPPORT:
        setup["support"] = SUPPORT[name]
    if not known:
        return Plan(setup, _ABSENT)
    ticks = dig_ticks(name, tool)
    if not 0 <= ticks <= _LONGEST:
        return Plan(setup, f"takes {ticks} ticks to break with what is given")
    if ticks > _LONG:
        return Plan(setup, wide=True, max_turns=_LONG_TURNS)
    return Plan(setup, wide=name in _WIDE_BLOCKS or name.endswith(_WIDE_ENDS))


def _craft(fact: TaskFact) -> Plan:
    setup: dict[str, Any] = {"inventory": [list(stack) for stack in fact.inventory]}
    if fact.needs_table:
        setup["blocks"] = [["crafting_table", 3]]
    have = dict(fact.inventory)
    for recipe in recipes_for(fact.goal):
        left = dict(have)
        for options in recipe.cells:
            item = next((o for o in options if left.get(o, 0) > 0), None)
            if item is not None:
                left[item] -= 1
            elif options:
                break
        else:
            return Plan(setup, wide=not fact.name.startswith("craft_item:"))
    return Plan(setup, "no recipe makes it of what is given")


def _kill(fact: TaskFact) -> Plan:
    name = fact.goal
    far = MOBS[name].width / 2 if MOBS[name].width > 3 else 0  # from the edge of the largest
    setup: dict[str, Any] = {"mobs": [[name, 4 + far]], "hand": fact.tools[0] or None}
    if MOBS[name].attack * MOBS[name].health > 400 or name in _BLASTS:
        setup["resistance"] = 4  # what strikes this hard and long is not fought in plain clothes
    if name in _BOSSES:
        return Plan(setup, wide=True, max_turns=_BOSS_TURNS, max_ticks=_BOSS_TICKS)
    return Plan(setup, wide=name in _WIDE_MOBS)


def _smelt(fact: TaskFact) -> Plan:
    setup = {"inventory": [list(stack) for stack in fact.inventory], "blocks": [["furnace", 3]]}
    return Plan(setup, wide=True, max_turns=_LONG_TURNS)


def _interact(fact: TaskFact) -> Plan:
    setup = {"target_block": fact.goal, "distance": 4}
    return Plan(setup, "" if fact.goal in BLOCKS else _ABSENT, wide=True)


_MAKERS: Mapping[str, Callable[[TaskFact], Plan]] = {
    "mine_block": _mine, "craft_item": _craft, "kill_entity": _kill, "smelt_item": _smelt, "interact_block": _interact,
}  # fmt: skip


def plan(fact: TaskFact) -> Plan:
    """Return how a task of the benchmark is played."""
    return _MAKERS[fact.category](fact)
