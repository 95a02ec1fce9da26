"""Block states as small integers, with the boxes they collide and are aimed at with.

A state is written as in Minecraft's own debug text, ``stone_slab[type=top]``; a bare name is the block's default state.
Ids are handed out on first use, so they differ between processes: whatever is hashed or stored uses names.
"""

from __future__ import annotations

import functools

from crossagent_minecraft_data.blocks import (
    BLOCKS,
    CUBE,
    PLANT_OUTLINE,
    Box,
    default_properties,
    partner,
    split_state,
    state_boxes,
)

EMPTY, FULL, PARTIAL, TALL = 0, 1, 2, 3
"""How a state collides: not at all, as the whole cell, as some boxes, as boxes higher than the cell."""
SLIPPERINESS = {"ice": 0.98, "packed_ice": 0.98, "frosted_ice": 0.98, "blue_ice": 0.989, "slime_block": 0.8}
CLIMBABLE = frozenset({"ladder", "vine", "weeping_vines", "twisting_vines", "scaffolding"})
# Outlines of things one walks through, where the plant's would be far off.
_OUTLINES: dict[str, Box] = {
    "cobweb": CUBE[0],
    "wheat": CUBE[0],
    "kelp": CUBE[0],
    "kelp_plant": CUBE[0],
    "tall_grass": CUBE[0],
    "large_fern": CUBE[0],
    "carrots": (0.0, 0.0, 0.0, 1.0, 0.5, 1.0),
    "potatoes": (0.0, 0.0, 0.0, 1.0, 0.5, 1.0),
    "snow": (0.0, 0.0, 0.0, 1.0, 0.125, 1.0),
    "rail": (0.0, 0.0, 0.0, 1.0, 0.125, 1.0),
    "torch": (0.4, 0.0, 0.4, 0.6, 0.6, 0.6),
    "redstone_torch": (0.4, 0.0, 0.4, 0.6, 0.6, 0.6),
    "soul_torch": (0.4, 0.0, 0.4, 0.6, 0.6, 0.6),
}


def collision_boxes(state: str) -> tuple[Box, ...]:
    """Return what a body bumps into. Raises ``KeyError`` for an unknown block, ``ValueError`` for a property it lacks."""
    name, props = split_state(state)
    return state_boxes(name, props) if props else BLOCKS[name].boxes


def outline_boxes(state: str) -> tuple[Box, ...]:
    """Return what a ray from the eye hits; empty for air and fluids. No outline is higher than its cell."""
    name, _ = split_state(state)
    if not BLOCKS[name].outline:
        return ()
    boxes = collision_boxes(state)
    if boxes:
        return tuple((x0, y0, z0, x1, min(y1, 1.0), z1) for x0, y0, z0, x1, y1, z1 in boxes)
    if name.endswith(("_button", "_pressure_plate")):
        return ((0.0625, 0.0, 0.0625, 0.9375, 0.125, 0.9375),)
    return (_OUTLINES[name],) if name in _OUTLINES else PLANT_OUTLINE


def opened(state: str) -> str | None:
    """Return a door, trapdoor or gate that a hand moves, the other way round: opened or shut; None for anything else."""
    name, props = split_state(state)
    if not name.endswith(("_door", "_trapdoor", "_fence_gate")) or name.startswith("iron_"):
        return None
    whole = {**default_properties(name), **props}
    whole["open"] = "false" if whole["open"] == "true" else "true"
    return f"{name}[{','.join(f'{key}={value}' for key, value in sorted(whole.items()))}]"


NAMES: list[str] = []
"""Block name of each state id, without properties."""
STATES: list[str] = []
"""Full state text of each id."""
CODE: list[int] = []
"""EMPTY, FULL, PARTIAL or TALL of each id."""
BOXES: list[tuple[Box, ...]] = []
"""Collision boxes of each id."""
OUTLINES: list[tuple[Box, ...]] = []
"""Outline boxes of each id; empty where a ray passes (air, fluids)."""
OPAQUE: list[bool] = []
"""True where the outline is the whole cell: no ray passes."""
SLIP: list[float] = []
"""Slipperiness of each id."""
FLUID: list[int] = []
"""0 none, 1 water, 2 lava."""
STICKY: list[bool] = []
"""Webs, soul sand and honey, which slow what is in or on them."""
CLIMB: list[bool] = []
"""Ladders and vines."""
REPLACEABLE: list[bool] = []
"""A block may be placed into it."""
PARTNER: list[tuple[tuple[int, int, int], str] | None] = []
"""Of doors, beds and tall plants: (offset of the other half, its state text); None of single blocks."""


@functools.cache
def intern(state: str) -> int:
    """Return the id of a state, making one on first use. ``air`` is 0. Raises ``KeyError`` for an unknown block."""
    name, _ = split_state(state)
    boxes, outline = collision_boxes(state), outline_boxes(state)
    code = FULL if boxes == CUBE else PARTIAL if boxes else EMPTY
    if any(box[4] > 1.0 for box in boxes):
        code = TALL
    NAMES.append(name)
    STATES.append(state)
    CODE.append(code)
    BOXES.append(boxes)
    OUTLINES.append(outline)
    OPAQUE.append(outline == CUBE)
    SLIP.append(SLIPPERINESS.get(name, 0.6))
    FLUID.append({"water": 1, "lava": 2}.get(name, 0))
    STICKY.append(name in ("cobweb", "soul_sand", "honey_block"))
    CLIMB.append(name in CLIMBABLE)
    REPLACEABLE.append(BLOCKS[name].replaceable)
    PARTNER.append(partner(state))
    return len(NAMES) - 1


AIR = intern("air")
"""Id of air, 0."""
BARRIER = intern("barrier")
"""Id of what lies outside the scene."""
