"""The benchmark's tasks: how each is set up, which of them CraftWorld's mechanics reach, and their splits.

A task is solvable when the mechanics reach it and what is given is enough; every other one is listed with its reason.
Splits: ``train``, ``demo`` (shown, never trained), ``ood`` (neither), and ``wide``: what the mechanics reach beyond these
three categories of plain things; it is in no demonstration either, and apart so that figures of ``ood`` stay comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

from crossagent.plugin import Task, TaskList
from crossagent_minecraft_data import long_tasks
from crossagent_minecraft_data.long_tasks import LISTS
from crossagent_minecraft_data.phrases import PHRASINGS, instruction
from crossagent_minecraft_data.task_setups import Plan, plan
from crossagent_minecraft_data.tasks import TaskFact, benchmark_tasks

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
PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "mine_block": TRAIN["mine_block"],
    "craft_item": (*TRAIN["craft_item"][:7], "netherite_scrap", "cooked_salmon", "cooked_cod"),
    "kill_entity": (*TRAIN["kill_entity"][:6], "salmon", "cod", "parrot", "slime"),
}
"""The 30 published training tasks; the split ``published``, beside our own ``train``."""
PUBLISHED_SPLIT = "published"
DEMO_PER_CATEGORY = {"mine_block": 24, "craft_item": 28, "kill_entity": 8}
"""Tasks shown in demonstrations beside the training tasks."""


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def _task(environment: str, fact: TaskFact, plan: Plan, splits: tuple[str, ...], phrasing: str) -> Task:
    goal = {"event": fact.category, "name": fact.goal}
    return Task(
        name=fact.name,
        category=fact.category,
        instruction=instruction(fact.category, fact.goal, phrasing),
        env=environment,
        setup={**plan.setup, "goal": goal, "level": 1} if not plan.reason else {},
        max_turns=plan.max_turns,
        max_ticks=plan.max_ticks,
        splits=splits,
        solvable=not plan.reason,
        reason=plan.reason,
    )


def _demo(category: str, names: list[str]) -> set[str]:
    """Draw the demonstration tasks of a category: the first by a hash of their names, so that any list gives the same."""
    rest = sorted(set(names) - {f"{category}:{goal}" for goal in TRAIN[category]}, key=_digest)
    return set(rest[: DEMO_PER_CATEGORY[category]])


@cache
def benchmark(environment: str, phrasing: str = "plain", listed: str = "benchmark") -> TaskList:
    """Return the tasks of the benchmark, of the long tasks or of both, for one environment.

    Args:
        environment: Its name.
        phrasing: How the tasks are told, one of :data:`PHRASINGS`.
        listed: One of :data:`LISTS`.

    Raises:
        ValueError: Another phrasing or list.
    """
    if phrasing not in PHRASINGS:
        raise ValueError(f"phrasing: got {phrasing!r}; expected one of {', '.join(PHRASINGS)}")
    if listed not in LISTS:
        raise ValueError(f"tasks: got {listed!r}; expected one of {', '.join(LISTS)}")
    rows = [(fact, plan(fact)) for fact in benchmark_tasks()] if listed != "long" else []
    demo: set[str] = set()
    for category in TRAIN:
        plain = [f.name for f, p in rows if f.category == category and not p.reason and not p.wide]
        demo |= _demo(category, plain)
    tasks = []
    for fact, p in rows:
        train = fact.goal in TRAIN.get(fact.category, ()) and fact.name.startswith(fact.category)
        split = "wide" if p.wide else "train" if train else "demo" if fact.name in demo else "ood"
        published = (PUBLISHED_SPLIT,) if fact.goal in PUBLISHED.get(_published_under(fact), ()) else ()
        tasks.append(_task(environment, fact, p, () if p.reason else (split, *published), phrasing))
    if listed != "benchmark":
        tasks += long_tasks.tasks(environment, phrasing)
    return TaskList(sorted(tasks, key=lambda task: task.name))


def _published_under(fact: TaskFact) -> str:
    """Return the list of the paper a task would be in: it counts three furnace tasks among the crafts."""
    if fact.name != f"{fact.category}:{fact.goal}":
        return ""  # listed a second time, under another name
    return "craft_item" if fact.category == "smelt_item" else fact.category
