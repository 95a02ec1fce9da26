"""The benchmark's task list: counts, a digest, and sense."""

import hashlib
import subprocess
import sys
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


def test_import_reads_a_few_tables_and_loads_nothing_heavy():
    """What makes it slow, not the time it takes: minecraft_data's own loader parses all its files."""
    code = (
        "import crossagent_minecraft_data.tasks, crossagent_minecraft_data.windows, crossagent_minecraft_data.loot\n"
        "from crossagent_minecraft_data import _source\n"
        "print(_source.table.cache_info().currsize, *(m for m in ('torch', 'numpy', 'lightning') if m in sys.modules))"
    )
    run = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    out = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    assert len(out) == 1, out
    assert 1 <= int(out[0]) <= 6
