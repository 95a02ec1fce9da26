"""The task suite: the benchmark's tasks, which of them CraftWorld can do, and their splits.

A task is solvable when the mechanics reach it: its block stands on the ground as one block, its mob walks on land and
fights hand to hand, its recipe is a crafting recipe that the given items cover. Every other benchmark task is listed
with the reason why not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from crossagent.plugin import Task
from crossagent_minecraft_data.blocks import BLOCKS, dig_ticks, harvests
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.recipes import recipes_for
from crossagent_minecraft_data.tasks import TaskFact, benchmark_tasks

ENVIRONMENT = "craftworld"
MAX_TURNS = 24
MAX_TICKS = 600

# The published training tasks (arXiv 2512.09706) that the mechanics reach; after the bar, ours in place of the others:
# craft netherite_scrap, cooked_salmon and cooked_cod are furnace tasks; salmon, cod, parrot and slime swim, fly or split.
# Ours keep the benchmark's proportion of crafts that need a table (375 of 546).
TRAIN: Mapping[str, tuple[str, ...]] = {
    "mine_block": (
        "crafting_table", "sugar_cane", "hay_block", "oak_log", "grass_block", "sand", "dirt", "oak_leaves",
        "birch_log", "chest",
    ),
    "craft_item": (
        "honeycomb_block", "sea_lantern", "paper", "enchanting_table", "emerald", "arrow", "shulker_box",
        # | ours
        "birch_planks", "bread", "stone_pickaxe",
    ),
    "kill_entity": (
        "sheep", "zombie", "chicken", "iron_golem", "villager", "cow",
        # | ours
        "pig", "rabbit", "spider", "husk",
    ),
}  # fmt: skip
DEMO_PER_CATEGORY = {"mine_block": 24, "craft_item": 28, "kill_entity": 8}
"""Tasks shown in demonstrations beside the training tasks."""

_ABSENT = "no block of that name in Minecraft 1.16.5"
_SWIM = "needs swimming or standing water, which CraftWorld has not"
_WALL = "hangs on a wall or another block; targets stand on the ground"
_DOUBLE = "two blocks high or long; targets are single blocks"
_FURNACE = "needs a furnace, which CraftWorld has not"
_FLY = "flies"
_RANGED = "shoots, casts or explodes; CraftWorld's mobs fight hand to hand"
_BLOCK_REASONS = (
    dict.fromkeys(("kelp", "kelp_plant", "lily_pad", "sea_pickle"), _SWIM)
    | dict.fromkeys(("bell", "cocoa", "ladder", "vine", "wall_torch", "rail", "redstone_torch"), _WALL)
    | dict.fromkeys(("large_fern", "lilac", "peony", "rose_bush", "sunflower", "tall_grass"), _DOUBLE)
    | {"farmland": "turns to dirt under the walker's feet; CraftWorld has no farming"}
)
_MOB_REASONS = (
    dict.fromkeys(("cod", "dolphin", "drowned", "elder_guardian", "guardian", "pufferfish", "salmon"), _SWIM)
    | dict.fromkeys(("squid", "tropical_fish", "turtle"), _SWIM)
    | dict.fromkeys(("bat", "bee", "ender_dragon", "ghast", "parrot", "phantom", "vex", "wither", "blaze"), _FLY)
    | dict.fromkeys(("creeper", "evoker", "pillager", "skeleton", "stray", "witch", "shulker", "piglin"), _RANGED)
    | dict.fromkeys(("slime", "magma_cube"), "splits into smaller ones")
    | {"enderman": "teleports", "strider": "lives in lava", "ravager": "breaks blocks and throws its victim"}
)
# What the block stands on, where the ground of the scene will not do.
SUPPORT = {"cactus": "sand", "dead_bush": "sand", "sugar_cane": "sand", "bamboo": "dirt", "wheat": "farmland"}
SUPPORT |= {"carrots": "farmland", "potatoes": "farmland"}


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def _mine(fact: TaskFact) -> tuple[dict[str, Any], str]:
    name = fact.goal
    # The first tool offered with which the block drops; else the first, since the break is what counts.
    tools = [tool or None for tool in fact.tools]
    known = name in BLOCKS
    tool = next((t for t in tools if known and harvests(name, t)), tools[0])
    setup: dict[str, Any] = {"target_block": name, "hand": tool}
    if name in SUPPORT:
        setup["support"] = SUPPORT[name]
    if not known:
        return setup, _ABSENT
    if name.endswith(("_door", "_bed")):
        return setup, _DOUBLE
    if name.endswith("_trapdoor"):
        return setup, _WALL
    reason = _BLOCK_REASONS.get(name, "")
    if not reason and not 0 <= dig_ticks(name, tool) <= 240:
        reason = f"takes {dig_ticks(name, tool)} ticks to break with what is given"
    return setup, reason


def _craft(fact: TaskFact) -> tuple[dict[str, Any], str]:
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
            return setup, ""
    return setup, "no recipe makes it of what is given"


def _kill(fact: TaskFact) -> tuple[dict[str, Any], str]:
    setup: dict[str, Any] = {"mobs": [[fact.goal, 4]], "hand": fact.tools[0] or None}
    if MOBS[fact.goal].attack * MOBS[fact.goal].health > 400:
        setup["resistance"] = 4  # what strikes this hard and long is not fought in plain clothes
    return setup, _MOB_REASONS.get(fact.goal, "")


class Suite:
    """The benchmark's 823 tasks; see the module. A :class:`crossagent.plugin.TaskSuite`."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)
        self._by_name = {task.name: task for task in self._tasks}

    def tasks(self) -> Sequence[Task]:
        """Return every task, sorted by name."""
        return self._tasks

    def get(self, name: str) -> Task:
        """Return one task; raises ``KeyError``."""
        return self._by_name[name]

    def split(self, name: str) -> tuple[Task, ...]:
        """Return the tasks of a split: train, demo or ood."""
        return tuple(task for task in self._tasks if name in task.splits)


def _task(fact: TaskFact, setup: dict[str, Any], reason: str, splits: tuple[str, ...]) -> Task:
    verb = {"mine_block": "mine", "craft_item": "craft", "kill_entity": "kill", "smelt_item": "smelt"}
    goal = {"event": fact.category, "name": fact.goal}
    return Task(
        name=fact.name,
        category=fact.category,
        instruction=f"{verb.get(fact.category, 'use')} {fact.goal}",
        env=ENVIRONMENT,
        setup={**setup, "goal": goal, "level": 1} if not reason else {},
        max_turns=MAX_TURNS,
        max_ticks=MAX_TICKS,
        splits=splits,
        solvable=not reason,
        reason=reason,
    )


def _demo(category: str, names: list[str]) -> set[str]:
    """Draw the demonstration tasks of a category: the first by a hash of their names, so that any list gives the same."""
    rest = sorted(set(names) - {f"{category}:{goal}" for goal in TRAIN[category]}, key=_digest)
    return set(rest[: DEMO_PER_CATEGORY[category]])


@cache
def _build() -> Suite:
    makers = {"mine_block": _mine, "craft_item": _craft, "kill_entity": _kill}
    rows: list[tuple[TaskFact, dict[str, Any], str]] = []
    for fact in benchmark_tasks():
        if fact.category in makers:
            setup, reason = makers[fact.category](fact)
            if fact.name == "craft item crafting_table":
                reason = "the same as craft_item:crafting_table"
        else:
            setup, reason = {}, _FURNACE if fact.category == "smelt_item" else "CraftWorld has no such block to use"
        rows.append((fact, setup, reason))
    demo: set[str] = set()
    for category in makers:
        demo |= _demo(category, [fact.name for fact, _, reason in rows if fact.category == category and not reason])
    tasks = []
    for fact, setup, reason in rows:
        train = fact.goal in TRAIN.get(fact.category, ()) and fact.name.startswith(fact.category)
        split = "train" if train else "demo" if fact.name in demo else "ood"
        tasks.append(_task(fact, setup, reason, () if reason else (split,)))
    return Suite(tasks)


def suite(**options: Any) -> Suite:
    """Return the suite; the environment's options (skills, terrain, …) change how tasks are solved, not which exist."""
    return _build()
