"""MineRL 0.4.4's missions: which actions and macro choices each has, and when it is won. Checked against MineRL by a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOVES = frozenset({"attack", "back", "camera", "forward", "jump", "left", "right", "sneak", "sprint"})
ITEMS: Mapping[str, str] = {
    "log": "oak_log", "planks": "oak_planks", "log#0": "oak_log", "log#1": "spruce_log", "log2#0": "acacia_log",
    "planks#0": "oak_planks", "planks#1": "spruce_planks", "planks#4": "acacia_planks", "fence": "oak_fence",
    "fence_gate": "oak_fence_gate", "wooden_door": "oak_door", "wooden_pressure_plate": "oak_pressure_plate",
    "red_flower": "poppy", "sandstone#0": "sandstone", "sandstone#2": "smooth_sandstone",
    "stone_stairs": "cobblestone_stairs",
}  # fmt: skip
"""Item of Minecraft 1.11 → of 1.16, where they differ. MineRL counts every kind of log as ``log``."""


@dataclass(frozen=True)
class Mission:
    """One mission."""

    instruction: str
    max_ticks: int
    actions: frozenset[str]
    goal: Mapping[str, Any] = field(default_factory=dict)
    """Empty: MineRL itself cannot tell."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Macro action → what it takes, in our names."""


_TOOLS = ("iron_axe", "iron_pickaxe", "stone_axe", "stone_pickaxe", "wooden_axe", "wooden_pickaxe")
_OBTAIN: Mapping[str, tuple[str, ...]] = {
    "craft": ("crafting_table", "oak_planks", "stick", "torch"),
    "nearbyCraft": ("furnace", *_TOOLS),
    "nearbySmelt": ("coal", "iron_ingot"),
    "place": ("cobblestone", "crafting_table", "dirt", "furnace", "stone", "torch"),
    "equip": _TOOLS,
}
_BY_HAND = MOVES | {"place"}
_WITH_TOOLS = MOVES | frozenset(_OBTAIN)
_BUILDER = MOVES | {"equip", "use"}
_PEN = (
    "bucket", "carrot", "cobblestone", "oak_fence", "oak_fence_gate", "snowball", "stone_pickaxe", "stone_shovel",
    "water_bucket", "wheat", "wheat_seeds",
)  # fmt: skip
_HOUSE = (
    "acacia_door", "acacia_fence", "cactus", "cobblestone", "dirt", "oak_fence", "flower_pot", "glass", "ladder", "oak_log",
    "spruce_log", "acacia_log", "oak_planks", "spruce_planks", "acacia_planks", "poppy", "sand", "sandstone",
    "smooth_sandstone", "sandstone_stairs", "snowball", "spruce_door", "spruce_fence", "stone_axe", "stone_pickaxe",
    "cobblestone_stairs", "torch", "oak_door", "oak_pressure_plate",
)  # fmt: skip


def _navigate(instruction: str, reward: float) -> Mission:
    return Mission(instruction, 6000, _BY_HAND, {"reward": reward}, {"place": ("dirt",)})


def _obtain(item: str, max_ticks: int) -> Mission:
    goal: dict[str, Any] = {"event": "obtain", "name": item}
    if item == "diamond":  # it is in no inventory that MineRL shows: only its reward tells
        goal = {"reward": 1024.0, "once": True}
    return Mission(f"obtain {item}", max_ticks, _WITH_TOOLS, goal, _OBTAIN)


def _basalt(instruction: str, max_ticks: int, items: tuple[str, ...]) -> Mission:
    return Mission(instruction, max_ticks, _BUILDER, {}, {"equip": items})


MISSIONS: Mapping[str, Mission] = {
    "Treechop": Mission("chop 64 logs", 8000, MOVES, {"reward": 64.0}),
    "Navigate": _navigate("go to the diamond block, where the compass points", 100.0),
    "NavigateDense": _navigate("go to the diamond block, where the compass points", 160.0),
    "NavigateExtreme": _navigate("cross the mountains to the diamond block, where the compass points", 100.0),
    "NavigateExtremeDense": _navigate("cross the mountains to the diamond block, where the compass points", 160.0),
    "ObtainIronPickaxe": _obtain("iron_pickaxe", 6000),
    "ObtainIronPickaxeDense": _obtain("iron_pickaxe", 6000),
    "ObtainDiamond": _obtain("diamond", 18000),
    "ObtainDiamondDense": _obtain("diamond", 18000),
    "BasaltFindCave": _basalt("find a cave", 3600, _PEN),
    "BasaltMakeWaterfall": _basalt("make a waterfall and look at it", 6000, _PEN),
    "BasaltCreatePlainsAnimalPen": _basalt("build a pen with two animals of a kind beside a house", 6000, _PEN),
    "BasaltCreateVillageAnimalPen": _basalt("build a pen with two animals of a kind in a village", 6000, _PEN),
    "BasaltBuildVillageHouse": _basalt("build a house in the style of the village", 14400, _HOUSE),
}
"""Name, as in ``MineRL<name>-v0`` → mission."""
