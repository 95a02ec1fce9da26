"""Blocks: hardness, shapes, which tool suits them and how many ticks they take to break."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from crossagent_minecraft_data._source import facts, table, wildcard
from crossagent_minecraft_data.items import ITEMS

Box = tuple[float, float, float, float, float, float]
"""x0, y0, z0, x1, y1, z1 inside the block's cell, in blocks."""
CUBE: tuple[Box, ...] = ((0.0, 0.0, 0.0, 1.0, 1.0, 1.0),)
PLANT_OUTLINE: tuple[Box, ...] = ((0.1, 0.0, 0.1, 0.9, 0.8, 0.9),)

_TIERS = {"wooden": 2.0, "stone": 4.0, "iron": 6.0, "diamond": 8.0, "netherite": 9.0, "golden": 12.0}
_KINDS = ("pickaxe", "axe", "shovel", "hoe")
# What speeds a class of block up, besides the tool of that name. minecraft-data calls the classes `material`.
_TOOL_OF = {"rock": "pickaxe", "wood": "axe", "dirt": "shovel", "plant": "axe", "leaves": "hoe"}
_TOOL_OF |= {kind: kind for kind in _KINDS}
_SWORD = {"plant": 1.5, "melon": 1.5, "leaves": 1.5, "web": 15.0}
_FACING = {"north": (0, 0, -1), "south": (0, 0, 1), "west": (-1, 0, 0), "east": (1, 0, 0)}
_HALVES = {"lower": "upper", "upper": "lower", "foot": "head", "head": "foot"}
UNDER_WATER = ("kelp", "kelp_plant", "seagrass", "tall_seagrass")
"""What grows in water and leaves it behind."""
SWORD_INSTANT = ("bamboo", "bamboo_sapling")
"""Any sword breaks these at once: a rule in vanilla's code that no version of minecraft-data has."""
_SHEARS = {"web": 15.0, "leaves": 15.0, "wool": 5.0}


@dataclass(frozen=True, slots=True)
class Block:
    """One block in its default state."""

    name: str
    hardness: float
    """-1: cannot be broken."""
    resistance: float
    """Against explosions."""
    material: str
    """Class of tool that suits it: rock/pickaxe, wood/axe, dirt/shovel, hoe, plant, leaves, web, wool, melon, none."""
    harvest_tools: frozenset[str]
    """Items with which it drops; empty: it drops with anything."""
    boxes: tuple[Box, ...]
    """Collision boxes."""
    outline: tuple[Box, ...]
    """What a ray hits; empty for air and fluids."""
    replaceable: bool
    """A block may be placed into it."""
    transparent: bool

    @property
    def solid(self) -> bool:
        """True when it has any collision box."""
        return bool(self.boxes)

    @property
    def full(self) -> bool:
        """True when it fills its whole cell."""
        return self.boxes == CUBE


@cache
def _shapes() -> dict[str, tuple[Box, ...]]:
    return {key: tuple(tuple(box) for box in boxes) for key, boxes in table("blockCollisionShapes")["shapes"].items()}


@cache
def block_rows() -> dict[str, dict[str, Any]]:
    """Return minecraft-data's rows by block name, not to be changed."""
    return {row["name"]: row for row in table("blocks")}


def default_properties(name: str) -> dict[str, str]:
    """Return the properties of a block's default state; raises ``KeyError`` for an unknown block."""
    row = block_rows()[name]
    index, out = row["defaultState"] - row["minStateId"], {}
    for prop in reversed(row["states"]):
        values = property_values(prop)
        index, i = divmod(index, len(values))
        out[prop["name"]] = values[i]
    return out


def split_state(state: str) -> tuple[str, dict[str, str]]:
    """Split ``name[key=value,…]`` into the name and its properties."""
    name, _, rest = state.partition("[")
    props = {}
    for pair in rest.rstrip("]").split(","):
        key, equals, value = pair.partition("=")
        if equals:
            props[key] = value
    return name, props


def partner(state: str) -> tuple[tuple[int, int, int], str] | None:
    """Return where the other half of a door, bed or tall plant is, and its state text; None for a single block."""
    name, props = split_state(state)
    whole = {**default_properties(name), **props}
    key = next((k for k in ("half", "part") if whole.get(k) in _HALVES), None)
    if key is None:
        return None
    here = whole[key]
    x, y, z = _FACING[whole["facing"]] if key == "part" else (0, 1, 0)
    sign = 1 if here in ("lower", "foot") else -1
    return (x * sign, y * sign, z * sign), f"{name}[{key}={_HALVES[here]}]"


def property_values(prop: Mapping[str, Any]) -> list[str]:
    """Return the values of a block property in the order in which states count them."""
    if prop["type"] == "bool":
        return ["true", "false"]
    return prop.get("values") or [str(i) for i in range(prop["num_values"])]


def state_boxes(name: str, properties: Mapping[str, str]) -> tuple[Box, ...]:
    """Return the collision boxes of a block state; properties not given are the default state's.

    Raises ``KeyError`` for an unknown block and ``ValueError`` for a property or value that the block has not.
    """
    row = block_rows()[name]
    ids = table("blockCollisionShapes")["blocks"].get(name, 0)
    if isinstance(ids, int):
        return _shapes()[str(ids)]
    whole = {**default_properties(name), **properties}
    index, place = 0, 1
    for prop in reversed(row["states"]):  # the last property counts fastest
        values, value = property_values(prop), whole.pop(prop["name"])
        if value not in values:
            raise ValueError(f"{name} has no state {prop['name']}={value}; expected one of {', '.join(values)}")
        index += place * values.index(value)
        place *= len(values)
    if whole:
        raise ValueError(f"{name} has no property {sorted(whole)[0]!r}")
    return _shapes()[str(ids[index])]


def _build() -> dict[str, Block]:
    item_names = {row["id"]: row["name"] for row in table("items")}
    replaceable = set(facts()["replaceable"]["blocks"])
    blocks: dict[str, Block] = {}
    for row in table("blocks"):
        name = row["name"]
        material = row.get("material") or "none"
        harvest = frozenset(item_names[int(key)] for key in row.get("harvestTools") or {})
        for fact in facts()["tools"]:
            if any(wildcard(pattern, name) is not None for pattern in fact["blocks"]):
                material = fact["class"]
                harvest = frozenset(f"{tier}_{material}" for tier in _TIERS) if fact["need"] else frozenset()
        boxes = state_boxes(name, {})
        fluid = name in ("water", "lava", "bubble_column") or name.endswith("air")
        outline = () if fluid else boxes or PLANT_OUTLINE
        diggable = row["diggable"] and row["hardness"] is not None and not fluid
        hardness = float(row["hardness"]) if diggable else -1.0
        blocks[name] = Block(
            name,
            hardness,
            float(row["resistance"]),
            material,
            harvest,
            boxes,
            outline,
            name in replaceable,
            bool(row["transparent"]),
        )
    return blocks


BLOCKS: dict[str, Block] = _build()
"""All 763 blocks by name."""
INTERACTIVE: frozenset[str] = frozenset(facts()["interactive"]["blocks"])
"""Blocks that do something when used."""


def harvests(block: str, tool: str | None) -> bool:
    """True when breaking ``block`` with ``tool`` (None: the hand) yields its drops."""
    need = BLOCKS[block].harvest_tools
    return not need or tool in need


def tool_speed(block: str, tool: str | None) -> float:
    """Return the speed multiplier of ``tool`` on ``block``; 1 when it does not suit."""
    if tool is None or tool not in ITEMS:
        return 1.0
    material = BLOCKS[block].material
    if tool == "shears":
        return _SHEARS.get(material, 1.0)
    tier, _, kind = tool.rpartition("_")
    if kind == "sword":
        return _SWORD.get(material, 1.0)
    return _TIERS.get(tier, 1.0) if kind == _TOOL_OF.get(material) else 1.0


def dig_ticks(block: str, tool: str | None, *, in_water: bool = False, on_ground: bool = True) -> int:
    """Return the ticks of held attack that break ``block``: 0 at once, -1 never.

    ``ceil(1 / delta)`` in float64 with delta = speed / hardness / (30 if harvestable else 100); water and air divide
    the speed by 5 each. Minecraft accumulates delta in float32, which differs by one tick for a third of the pairs.
    """
    hardness = BLOCKS[block].hardness
    if hardness < 0:
        return -1
    if hardness == 0:
        return 0
    if block in SWORD_INSTANT and tool is not None and tool.endswith("_sword"):
        return 0
    speed = tool_speed(block, tool) / (5.0 if in_water else 1.0) / (1.0 if on_ground else 5.0)
    delta = speed / hardness / (30.0 if harvests(block, tool) else 100.0)
    return 0 if delta >= 1 else math.ceil(1 / delta)
