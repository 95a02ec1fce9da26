"""Set-ups as commands: every solvable task of the suite, in the game's own syntax."""

import re

from crossagent_minecraft_data.blocks import BLOCKS, split_state
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.items import ITEMS, stack_size
from crossagent_minestudio.setups import mission
from crossagent_minestudio.suite import suite

SOLVABLE = [task for task in suite().tasks() if task.solvable]
NUMBER = r"-?\d+(?:\.\d+)?"
SETBLOCK = re.compile(
    rf"/execute as @p at @p rotated ~ 0 run setblock \^{NUMBER} \^{NUMBER} \^{NUMBER} minecraft:(\S+)"
)
SUMMON = re.compile(rf"/execute as @p at @p rotated ~ 0 run summon minecraft:(\S+) \^{NUMBER} \^{NUMBER} \^{NUMBER}")


def test_every_set_up_is_made_of_known_blocks_mobs_and_items():
    assert len(SOLVABLE) > 800
    for task in SOLVABLE:
        said = mission(task, 0)
        blocks = [split_state(m[1])[0] for c in said["commands"] if (m := SETBLOCK.fullmatch(c))]
        mobs = [m[1] for c in said["commands"] if (m := SUMMON.fullmatch(c))]
        assert set(blocks) <= set(BLOCKS), task.name
        assert set(mobs) <= set(MOBS), task.name
        wanted = [name for name, _ in task.setup.get("blocks", ())]
        wanted += [task.setup["target_block"]] if task.setup.get("target_block") else []
        assert set(wanted) <= set(blocks), task.name
        assert mobs == [name for name, _ in task.setup.get("mobs", ())]
        others = [c for c in said["commands"] if "setblock" in c or "summon" in c]
        assert len(others) == len(blocks) + len(mobs), task.name


def test_every_inventory_fits_and_holds_what_the_task_gives():
    for task in SOLVABLE:
        rows = mission(task, 1)["inventory"]
        assert len({row["slot"] for row in rows}) == len(rows) <= 36
        given = {}
        for row in rows:
            assert row["type"] in ITEMS
            assert 1 <= row["quantity"] <= stack_size(row["type"])
            given[row["type"]] = given.get(row["type"], 0) + row["quantity"]
        expected = {}
        for item, count in [
            *task.setup.get("inventory", ()),
            *([(task.setup["hand"], 1)] if task.setup.get("hand") else []),
        ]:
            expected[item] = expected.get(item, 0) + count
        assert given == expected, task.name


def test_equal_seeds_give_equal_missions_and_others_another():
    task = suite().get("craft_item:crafting_table")
    assert mission(task, 3) == mission(task, 3)
    assert len({str(mission(task, seed)) for seed in range(5)}) == 5


def test_the_goal_is_the_games_reward():
    (reward,) = mission(suite().get("kill_entity:cow"), 0)["rewards"]
    assert (reward["event"], reward["objects"], reward["max_reward_times"]) == ("kill_entity", ["cow"], 1)
