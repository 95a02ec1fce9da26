"""The benchmark's task list: counts, a digest, and sense."""

import hashlib
import subprocess
import sys
import time
from collections import Counter

from crossagent_minecraft_data.items import ITEMS
from crossagent_minecraft_data.recipes import match, recipes_for
from crossagent_minecraft_data.tasks import benchmark_tasks

NOT_CRAFTABLE = {"fire_charge", "oak_planks", "quartz_slab", "quartz_stairs"}


def _line(task):
    return "|".join(
        (
            task.name, task.category, task.goal, ",".join(task.tools),
            ",".join(sorted(f"{item}:{n}" for item, n in task.inventory)), str(task.needs_table), str(task.needs_furnace),
        )
    )  # fmt: skip


def test_all_823():
    """The digest was taken when the list was equal, field by field, to CraftJarvis/OpenHA's file."""
    tasks = benchmark_tasks()
    assert Counter(t.category for t in tasks) == {
        "craft_item": 551, "mine_block": 153, "kill_entity": 61, "smelt_item": 45, "interact_block": 13
    }  # fmt: skip
    digest = hashlib.sha256("\n".join(sorted(map(_line, tasks))).encode()).hexdigest()
    assert digest[:16] == "3bf4a2aa361122bb"


def test_a_craft_task_can_be_crafted_from_what_it_gives():
    for task in benchmark_tasks():
        if task.category != "craft_item" or (task.goal in NOT_CRAFTABLE):
            continue
        have = Counter(dict(task.inventory))
        assert all(item in ITEMS for item in have)
        assert any(
            _craftable(recipe, have) and recipe.needs_table == task.needs_table for recipe in recipes_for(task.goal)
        )


def _craftable(recipe, have):
    left, grid = Counter(have), [None] * 9
    for cell, options in recipe.place(3):
        item = next((o for o in options if left[o]), None)
        if item is None:
            return False
        left[item] -= 1
        grid[cell] = item
    made = match(grid, 3)
    return made is not None and made.result == recipe.result


def test_import_is_fast():
    code = "import crossagent_minecraft_data.tasks, crossagent_minecraft_data.windows, crossagent_minecraft_data.loot"
    best = 9.0
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare = time.perf_counter() - start
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"], check=True)
        best = min(best, time.perf_counter() - start - bare)
    assert best < 0.5, f"{best:.2f} s; about 0.1 s on an idle machine"
