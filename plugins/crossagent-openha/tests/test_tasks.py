import pytest

from crossagent_minecraft_data.tasks import benchmark_tasks
from crossagent_openha.tasks import resolve

VERBS = {
    "mine_block": "mine",
    "craft_item": "Craft a",
    "kill_entity": "kill the",
    "smelt_item": "smelt",
    "interact_block": "interact with",
}


def test_all_823_names_resolve_to_themselves() -> None:
    tasks = benchmark_tasks()
    assert len(tasks) == 823
    assert all(resolve(task.name) is task for task in tasks)


def test_plain_words_resolve_too() -> None:
    for task in benchmark_tasks():
        found = resolve(f"{VERBS[task.category]} {task.goal.replace('_', ' ')}.")
        assert found is not None, task.name
        assert (found.category, found.goal) == (task.category, task.goal)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("craft_item:cooked_salmon", "smelt_item:cooked_salmon"),
        ("craft_item:netherite_scrap", "smelt_item:netherite_scrap"),
        ("interact_block:furnace", "custom:interact_with_furnace"),
        ("interact with the brewing stand", "custom:interact_with_brewingstand"),
        ("craft item crafting_table", "craft item crafting_table"),
        ("craft the item: light_blue_carpet", "craft_item:light_blue_carpet"),
    ],
)
def test_other_names(name: str, task: str) -> None:
    found = resolve(name)
    assert found is not None
    assert found.name == task


@pytest.mark.parametrize("name", ["", "mine", "fly away", "mine_block:oak_logg", "mine_block:"])
def test_what_is_none_is_none(name: str) -> None:
    assert resolve(name) is None
