"""The clicking plan, on windows alone: every craft task of the suite, and interrupted ones."""

import random

import pytest

from crossagent.plugin import ExpertStuck
from crossagent_craftworld.experts.crafting import next_click
from crossagent_craftworld.suite import suite
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.windows import PLAYER_SLOTS, Window

TASKS = [t for t in suite().tasks() if t.solvable and t.category == "craft_item"]


def _window(task, rng):
    window = Window("crafting_table" if "blocks" in task.setup else "inventory")
    slots = list(PLAYER_SLOTS[window.kind])
    rng.shuffle(slots)
    for item, count in task.setup["inventory"]:
        while count > 0:
            window.slots[slots.pop()] = (item, min(count, stack_size(item)))
            count -= stack_size(item)
    return window


def _finish(window, item, rng, limit=60):
    for clicks in range(1, limit):
        click = next_click(item, window)
        events = window.click(click.slot, rng.choice(click.buttons))
        if any(e.kind == "craft" and e.item == item for e in events):
            return clicks
    raise AssertionError(f"{item}: not crafted in {limit} clicks")


@pytest.mark.parametrize("seed", [0, 1])
def test_every_craft_task_is_finished(seed):
    rng = random.Random(seed)
    for task in TASKS:
        goal = task.setup["goal"]["name"]
        assert _finish(_window(task, rng), goal, rng) <= 24, task.name


def test_whatever_was_clicked_before_is_put_right():
    rng = random.Random(3)
    for task in rng.sample(TASKS, 120):
        window = _window(task, rng)
        for _ in range(5):
            try:
                window.click(rng.choice([1, 2, 3, 4, *PLAYER_SLOTS[window.kind]]), rng.choice(["left", "right"]))
                click = next_click(task.setup["goal"]["name"], window)
                if click.slot:
                    window.click(click.slot, click.buttons[0])
            except ExpertStuck as stuck:
                raise AssertionError(f"{task.name}: {stuck}") from stuck
        _finish(window, task.setup["goal"]["name"], rng)


def test_stuck_without_ingredients_or_table():
    with pytest.raises(ExpertStuck, match="not crafted in the inventory"):
        next_click("chest", Window("inventory"))
    with pytest.raises(ExpertStuck, match="missing"):
        next_click("chest", Window("crafting_table"))
