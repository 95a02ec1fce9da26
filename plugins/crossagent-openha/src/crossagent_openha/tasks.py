"""The benchmark's 823 tasks by the names that OpenHA's and CrossAgent's files give them."""

from __future__ import annotations

import re
from functools import cache

from crossagent_minecraft_data.tasks import TaskFact, benchmark_tasks

_VERBS = {
    "mine": "mine_block", "break": "mine_block", "collect": "mine_block", "craft": "craft_item", "make": "craft_item",
    "kill": "kill_entity", "smelt": "smelt_item", "cook": "smelt_item", "interact": "custom", "use": "custom",
}  # fmt: skip
_ELSEWHERE = {"craft_item": "smelt_item", "smelt_item": "craft_item"}
"""CrossAgent's list of training tasks has some smelting tasks as crafting."""


@cache
def _by_name() -> dict[str, TaskFact]:
    return {task.name: task for task in benchmark_tasks()}


def resolve(name: str) -> TaskFact | None:
    """Return the task of a name, None when there is none.

    Names are those of the benchmark, ``craft_item:cooked_salmon`` for a smelting task, ``interact_block:furnace``, and plain
    words: ``mine oak log``, ``Kill a cow.``
    """
    tasks = _by_name()
    if name in tasks:
        return tasks[name]
    words = re.sub(r"[.!\s]+", " ", name.replace(":", " ").lower()).strip().split(" ")
    while len(words) > 1 and words[1] in ("a", "an", "the", "with"):
        del words[1]
    if len(words) < 2:
        return None
    category = _VERBS.get(words[0], words[0])
    goals = ["_".join(words[1:])]  # craft item frame, craft item bread: an item frame, and bread
    goals += ["_".join(words[2:])] if words[1] in ("item", "block") else []
    if category in ("custom", "interact_block"):
        goals = [goal.removeprefix("interact_with_") for goal in goals]
        names = [f"custom:interact_with_{spelled}" for goal in goals for spelled in (goal, goal.replace("_", ""))]
    else:
        names = [f"{where}:{goal}" for goal in goals for where in (category, _ELSEWHERE.get(category, category))]
    return next((tasks[name] for name in names if name in tasks), None)
