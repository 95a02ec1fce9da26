"""The 823 benchmark tasks (OpenHA), by rules over the data and the exceptions in tasks.toml."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from crossagent_minecraft_data._source import facts
from crossagent_minecraft_data.cooking import smelts
from crossagent_minecraft_data.recipes import RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class TaskFact:
    """One task of the benchmark."""

    name: str
    """As the benchmark writes it, e.g. ``mine_block:oak_log``."""
    category: str
    """mine_block, craft_item, kill_entity, smelt_item or interact_block."""
    goal: str
    """The block, item or mob."""
    tools: tuple[str, ...] = ()
    """Tools it may be given; "" is the bare hand. Mining and killing only."""
    inventory: tuple[tuple[str, int], ...] = ()
    """(item, least count) given at the start. Crafting and smelting only."""
    needs_table: bool = False
    needs_furnace: bool = False


def _craft(rules: dict[str, Any]) -> Iterator[TaskFact]:
    picks: dict[str, list[str]] = {}
    for ingredient, goals in rules["picks"].items():
        for goal in goals:
            picks.setdefault(goal, []).append(ingredient)
    for goal in sorted(RECIPES):
        if goal in rules["skip"]:
            continue
        index = 1 if goal in rules["second"] else 3 if goal in rules["fourth"] else 0
        recipe: Recipe = RECIPES[goal][index]
        need: Counter[str] = Counter()
        for options in recipe.cells:
            if options:
                need[next((p for p in picks.get(goal, ()) if p in options), options[0])] += 1
        inventory = tuple((rules["given"].get(goal) or need).items())
        yield TaskFact(f"craft_item:{goal}", "craft_item", goal, inventory=inventory, needs_table=recipe.needs_table)
        if goal == "crafting_table":  # listed a second time, under another name and with oak
            name = "craft item crafting_table"
            yield TaskFact(name, "craft_item", goal, inventory=(("oak_planks", 4),))


def _smelt(rules: dict[str, Any]) -> Iterator[TaskFact]:
    inputs: dict[str, str] = {}
    for names in facts()["smelting"].values():
        for name in names:
            if "*" not in name and (result := smelts(name)):
                inputs.setdefault(result, name)
    colors = ("white", "orange", "magenta", "light_blue", "yellow", "lime", "pink", "gray", "light_gray", "cyan")
    for color in (*colors, "purple", "blue", "brown", "green", "red", "black"):
        inputs[f"{color}_glazed_terracotta"] = f"{color}_terracotta"
    inputs |= rules["picks"]
    for goal in sorted(inputs):
        if goal not in rules["skip"]:
            given = ((inputs[goal], 1), ("coal", rules["coal"]))
            yield TaskFact(f"smelt_item:{goal}", "smelt_item", goal, inventory=given, needs_furnace=True)


def _with_tools(category: str, rules: dict[str, str]) -> Iterator[TaskFact]:
    for tools, goals in rules.items():
        given = tuple("" if tool in ("-", "air") else tool for tool in tools.split())
        for goal in goals.split():
            yield TaskFact(f"{category}:{goal}", category, goal, tools=given)


@cache
def benchmark_tasks() -> tuple[TaskFact, ...]:
    """Return the 823 tasks, sorted by name."""
    rules = tomllib.loads((files(__package__) / "tasks.toml").read_text())
    tasks = [
        *_craft(rules["craft"]),
        *_smelt(rules["smelt"]),
        *_with_tools("mine_block", rules["mine"]),
        *_with_tools("kill_entity", rules["kill"]),
        *(TaskFact(f"custom:interact_with_{b}", "interact_block", b) for b in rules["interact"]["blocks"]),
    ]
    return tuple(sorted(tasks, key=lambda task: task.name))
