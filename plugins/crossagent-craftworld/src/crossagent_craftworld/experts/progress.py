"""The way from nothing to an item: what to gather, craft, place and smelt next. Closed-loop, like the other experts.

It knows of wood, stone, coal and iron; everything else follows from the recipes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from crossagent.plugin import ExpertStuck
from crossagent_craftworld import sight
from crossagent_craftworld.palette import NAMES
from crossagent_minecraft_data.blocks import BLOCKS, harvests
from crossagent_minecraft_data.cooking import smelts
from crossagent_minecraft_data.recipes import Recipe, recipes_for

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

TABLE, FURNACE = "crafting_table", "furnace"
PICKAXES = ("wooden_pickaxe", "stone_pickaxe", "iron_pickaxe", "diamond_pickaxe")
_GATHER: dict[str, tuple[str, ...]] = {
    "cobblestone": ("cobblestone", "stone"),
    "coal": ("coal_ore",),
    "iron_ore": ("iron_ore",),
}
_WOODS = ("oak", "birch", "spruce", "dark_oak", "jungle", "acacia")
_NEAR = 20.0
"""Blocks within which a table or furnace that stands somewhere is gone back to."""
_PER_COAL = 8


class Step(NamedTuple):
    """One thing to do."""

    act: str
    """mine, find, equip, craft, place, smelt or collect."""
    name: str


def next_step(env: CraftWorld, item: str) -> Step:
    """Return the next step towards one of ``item``; raises :class:`ExpertStuck` when there is no way."""
    have = Counter(env.world.inventory.totals())
    step = _need(env, item, have[item] + 1, have)
    if step is None:
        raise ExpertStuck(f"there is {item} enough")
    return step


def _planks(have: Counter[str]) -> int:
    return sum(n for item, n in have.items() if item.endswith("_planks"))


def _logs(have: Counter[str]) -> list[str]:
    return [f"{wood}_log" for wood in _WOODS if have[f"{wood}_log"]]


def _need(env: CraftWorld, item: str, count: int, have: Counter[str], within: tuple[str, ...] = ()) -> Step | None:
    """Return what to do first to have ``count`` of an item; None when they are there."""
    if item == "planks":
        return None if _planks(have) >= count else _wood(env, have)
    if have[item] >= count:
        return None
    if item in within:
        raise ExpertStuck(f"{item} needs itself")
    within = (*within, item)
    if item in _GATHER:
        return _gather(env, item, have, within)
    raw = next((r for r in _GATHER if smelts(r) == item and r != "cobblestone"), None)
    if raw is not None:
        missing = count - have[item]
        step = _need(env, raw, missing, have, within) or _need(env, "coal", -(-missing // _PER_COAL), have, within)
        return step or _station(env, FURNACE, have, within) or Step("smelt", item)
    for recipe in recipes_for(item):
        try:
            return _craft(env, item, recipe, have, within)
        except ExpertStuck:
            continue
    raise ExpertStuck(f"no way to {item}")


def _wood(env: CraftWorld, have: Counter[str]) -> Step:
    logs = _logs(have)
    if logs:
        return Step("craft", logs[0].replace("_log", "_planks"))
    return _out(env, tuple(f"{wood}_log" for wood in _WOODS))


def _craft(env: CraftWorld, item: str, recipe: Recipe, have: Counter[str], within: tuple[str, ...]) -> Step:
    need: Counter[str] = Counter()
    for options in recipe.cells:
        if options:
            planks = any(o.endswith("_planks") for o in options)
            held = next((o for o in options if have[o]), options[0])
            need["planks" if planks else held] += 1
    # what is made of another ingredient comes first: sticks before planks
    for name in sorted(need, key=lambda n: (n == "planks", n)):
        step = _need(env, name, need[name], have, within)
        if step is not None:
            return step
    if recipe.needs_table:
        step = _station(env, TABLE, have, within)
        if step is not None:
            return step
        if _planks(have) < need["planks"]:  # the table took them
            return _wood(env, have)
    return Step("craft", item)


def _gather(env: CraftWorld, item: str, have: Counter[str], within: tuple[str, ...]) -> Step:
    fallen = sight.find(env.world, f"drop_{item}", env.camera_quantum)
    if fallen is not None:
        return Step("collect", item)
    blocks = _GATHER[item]
    tools = [tool for tool in PICKAXES if harvests(blocks[-1], tool)] if BLOCKS[blocks[-1]].harvest_tools else []
    owned = [tool for tool in tools if have[tool]]
    if tools and not owned:
        step = _need(env, tools[0], 1, have, within)
        if step is not None:
            return step
    held = env.world.inventory.held()
    if owned and (held is None or held[0] not in owned):
        return Step("equip", owned[-1])
    return _out(env, blocks)


def _out(env: CraftWorld, blocks: tuple[str, ...]) -> Step:
    """Return the way to the nearest of some blocks: mine it when in sight, else look for what this land has."""
    seen = [t for name in blocks if (t := sight.find(env.world, name, env.camera_quantum)) is not None]
    if seen:
        return Step("mine", min(seen, key=lambda t: (t.distance, t.name)).name)
    there = {NAMES[state] for state in env.world.scene.features}
    name = next((name for name in blocks if name in there), None)
    if name is None:
        raise ExpertStuck(f"no {blocks[-1]} in this land")
    return Step("find", name)


def _station(env: CraftWorld, block: str, have: Counter[str], within: tuple[str, ...]) -> Step | None:
    """Return what to do to have a table or furnace in sight; None when there is one."""
    window = env.world.inventory.window
    if window is not None and window.kind == block:
        return None
    thing = sight.find(env.world, block, env.camera_quantum)
    if thing is not None and thing.distance < _NEAR:
        return None
    step = _need(env, block, 1, have, within)
    if step is not None:
        return step
    if all(stack is None or stack[0] != block for stack in env.world.inventory.stacks()[:9]):
        return Step("equip", block)
    return Step("place", block)
