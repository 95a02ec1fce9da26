"""Biomes, levels, day and night, and the long tasks."""

import math
import re
from collections import Counter

import pytest

from crossagent.plugin import Action, RawTick, SkillFailed, Task
from crossagent_craftworld import biomes, explore, night, sight, terrain
from crossagent_craftworld.ceilings import installed_spaces, play
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.experts.control import ControlExpert
from crossagent_craftworld.experts.pointer import PointerExpert
from crossagent_craftworld.experts.skills import SkillsExpert
from crossagent_craftworld.palette import NAMES, STATES, intern
from crossagent_craftworld.suite import suite

EXPERTS = {"control": ControlExpert(), "pointer": PointerExpert(), "skills": SkillsExpert()}
LONG = suite(tasks="long").tasks()


def start(env, seed=0, **setup):
    env.reset(Task("test", "test", "", "craftworld", setup, max_ticks=10**6), seed)
    return env.world


# -- biomes ----------------------------------------------------------------------------------------------------------
def names_in(scene):
    return Counter(NAMES[state] for state in scene.blocks)


def test_every_biome_has_its_ground_trees_and_what_long_tasks_need():
    seen = Counter()
    for index in range(20):
        scene = terrain.scene(index, 48, "biomes")
        biome = biomes.BIOMES[sorted(biomes.BIOMES)[index % len(biomes.BIOMES)]]
        there = names_in(scene)
        assert there[biome.ground] > 500
        assert any(there[f"{wood}_log"] >= 4 for wood in biome.woods), scene.name
        assert there["iron_ore"] >= 3
        assert there["coal_ore"] >= 1
        assert there["stone"] > 1000
        assert there["water"] > 8
        seen.update(there)
    woods = {name.removesuffix("_log") for name in seen if name.endswith("_log")}
    assert woods == {"oak", "birch", "spruce", "dark_oak", "jungle", "acacia"}
    for name in (
        "diamond_ore", "gold_ore", "redstone_ore", "lapis_ore", "cactus", "sugar_cane", "wheat", "carrots", "farmland",
        "crafting_table", "furnace", "chest", "bell", "hay_block", "clay", "gravel", "ice", "snow", "cocoa", "melon",
    ):  # fmt: skip
        assert seen[name], name


def test_scenes_are_the_same_again_and_named():
    one = terrain.scene(7, 48, "biomes")
    terrain.scene.cache_clear()
    two = terrain.scene(7, 48, "biomes")
    assert [STATES[s] for s in one.blocks] == [STATES[s] for s in two.blocks]
    assert one is not two
    assert terrain.named(one.name) == two
    assert terrain.named(terrain.scene(7).name).blocks == terrain.scene(7).blocks != one.blocks


def test_an_episode_begins_everywhere():
    env = CraftWorld(terrain="biomes")
    for seed in range(30):
        world = start(env, seed)
        b = world.body
        assert world.block_at((math.floor(b.x), math.floor(b.y), math.floor(b.z))) == "air"
        assert world.block_at((math.floor(b.x), math.floor(b.y) - 1, math.floor(b.z))) in ("grass_block", "sand")


# -- levels ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["mine_block:oak_log", "craft_item:paper", "kill_entity:cow"])
def test_level_two_is_farther_and_full_of_other_things(name):
    task = suite().get(name)
    one, two = CraftWorld(), CraftWorld(level=2)
    for seed in range(4):
        one.reset(task, seed)
        two.reset(task, seed)
        target = task.setup.get("target_block") or (task.setup.get("blocks") or [["", 0]])[0][0] or "cow"
        far = [sight.find(env.world, target, 6) for env in (one, two)]
        assert far[0] is not None
        assert far[1] is None or far[1].distance > 4.5  # nothing to reach from where one begins
        items = [len(env.world.inventory.totals()) for env in (one, two)]
        assert items[1] >= items[0] + 4
        assert len(two.world.mobs) == len(one.world.mobs) + 2
        for item, count in one.world.inventory.totals().items():
            assert two.world.inventory.totals()[item] >= count


@pytest.mark.parametrize("name", ["mine_block:hay_block", "craft_item:paper", "kill_entity:cow", "smelt_item:charcoal"])
def test_at_level_three_the_target_is_in_another_room(name):
    env = CraftWorld(level=3, skills="full")
    hidden = 0
    for seed in range(4):
        env.reset(suite().get(name), seed)
        setup = env.task.setup
        target = setup.get("target_block") or (setup.get("blocks") or setup.get("mobs"))[0][0]
        hidden += sight.find(env.world, target, 6) is None
        there = [c for c, s in env.world.grid.changed_cells() if NAMES[s] == target and c not in env.world.hidden]
        assert there or any(m.kind == target for m in env.world.mobs)
    assert hidden >= 3


@pytest.mark.parametrize("level", [2, 3])
def test_the_experts_solve_the_levels(level):
    env, spaces, won = CraftWorld(level=level, skills="full"), installed_spaces(), 0
    tasks = suite().split("train")[::3]
    for task in tasks:
        won += play(env, spaces, EXPERTS, task, 1, "api").success
    assert won >= len(tasks) - 1


# -- looking for things ----------------------------------------------------------------------------------------------
def test_find_looks_behind_the_walls_and_says_when_there_is_nothing():
    env = CraftWorld(level=3, skills="full")
    env.reset(suite().get("mine_block:hay_block"), 2)
    skills = env.interface("skills")
    with pytest.raises(SkillFailed, match="no hay_block in sight"):
        skills.call("goto", "hay_block")
    skills.call("find", "hay_block")
    assert sight.find(env.world, "hay_block", 6) is not None
    with pytest.raises(SkillFailed, match="there is no unicorn"):
        skills.call("find", "unicorn")
    for _ in range(12):
        with pytest.raises(SkillFailed, match=r"nowhere left to look|took too long") as failed:
            skills.call("find", "beacon")
        if "nowhere" in str(failed.value):
            break
    assert "nowhere" in str(failed.value)
    assert env.world.searched[0] == "beacon"


def test_what_was_searched_is_part_of_the_state():
    env = CraftWorld(level=3)
    env.reset(suite().get("mine_block:hay_block"), 2)
    before = env.state_hash()
    snapshot = env.snapshot()
    explore.look_round(env.world, "hay_block")
    assert env.state_hash() != before
    env.restore(snapshot)
    assert env.state_hash() == before


def test_deposit_fills_a_chest_and_says_when_it_is_full():
    env = CraftWorld(skills="full")
    world = start(env, blocks=[["chest", 3]], inventory=[["oak_log", 40], ["dirt", 3]])
    skills = env.interface("skills")
    skills.call("deposit", "oak_log")
    assert "oak_log" not in world.inventory.totals()
    (contents,) = world.inventory.chests.values()
    assert sum(stack[1] for stack in contents if stack is not None) == 40
    assert world.inventory.window is None
    with pytest.raises(SkillFailed, match="no oak_log"):
        skills.call("deposit", "oak_log")
    (at,) = world.inventory.chests
    world.inventory.chests[at] = (("stone", 64),) * 27
    with pytest.raises(SkillFailed, match="the chest is full"):
        skills.call("deposit", "dirt")
    assert world.inventory.totals()["dirt"] == 3


# -- day and night ---------------------------------------------------------------------------------------------------
def test_the_sky_darkens_as_in_minecraft():
    assert [night.darkening(t) for t in (0, 6000, 12000, 13000, 18000, 23000)] == [0, 0, 0, 6, 11, 6]
    assert all(night.darkening(t) >= 9 for t in range(14200, 21800, 100))


def test_light_falls_by_one_a_block_and_walls_stop_it():
    world = start(CraftWorld(day_night=True), 3, time=18000)
    x, y, z = (math.floor(c) for c in (world.body.x, world.body.y, world.body.z))
    assert night.light(world, (x, y, z)) == 4  # the night sky: 15 - 11
    for i in range(-4, 5):
        for k in range(-4, 5):
            for j in range(4):
                shell = max(abs(i), abs(k)) == 4 or j == 3
                world.grid.set(x + i, y + j, z + k, intern("stone" if shell else "air"))
            world.grid.set(x + i, y - 1, z + k, intern("stone"))
    assert night.light(world, (x, y, z)) == 0
    world.grid.set(x + 3, y, z, intern("torch"))
    assert [night.light(world, (x + i, y, z)) for i in (3, 2, 0, -3)] == [14, 13, 11, 8]


def test_hostile_mobs_come_at_night_only_and_the_undead_burn():
    day = start(CraftWorld(day_night=True), 1)
    for _ in range(1200):
        day.tick(RawTick())
    assert not day.mobs
    zombie = day.add_mob("zombie", day.body.x + 12, day.body.y + 1, day.body.z)
    cow = day.add_mob("cow", day.body.x - 6, day.body.y + 1, day.body.z)
    day.resistance = 5
    for _ in range(600):
        day.tick(RawTick())
    assert zombie not in day.mobs
    assert cow in day.mobs
    env = CraftWorld(day_night=True)
    dark = start(env, 1, time=16000, resistance=5)
    for _ in range(1200):
        dark.tick(RawTick())
    assert 1 <= sum(m.info.hostile for m in dark.mobs) <= 4
    assert "night" in env.observe().text.split()
    plain = CraftWorld()
    world = start(plain, 1, time=16000, resistance=5)
    for _ in range(400):
        world.tick(RawTick())
    assert not world.mobs
    assert world.daytime() == 16000


# -- long tasks ------------------------------------------------------------------------------------------------------
def test_long_tasks_are_listed_on_demand():
    assert len(suite().tasks()) == 823
    assert {t.name for t in suite(tasks="all").tasks()} == {t.name for t in (*suite().tasks(), *LONG)}
    assert {t.category for t in LONG} == {"long"}
    assert all(t.setup["terrain"] == "biomes" and "inventory" not in t.setup for t in LONG)
    with pytest.raises(ValueError, match="tasks"):
        suite(tasks="short")


@pytest.mark.parametrize("name", ["long:wooden_pickaxe", "long:iron_ingot"])
def test_from_nothing(name):
    env = CraftWorld(skills="full", tasks="all")
    played = play(env, installed_spaces(), EXPERTS, suite(tasks="all").get(name), 1, "api")
    assert played.success, played.log
    assert played.ticks > 200


@pytest.mark.slow
def test_every_long_task_is_solved_from_three_seeds():
    env, spaces = CraftWorld(skills="full", tasks="long"), installed_spaces()
    lost = [
        (task.name, seed) for task in LONG for seed in range(3)
        if not play(env, spaces, EXPERTS, task, seed, "api").success
    ]  # fmt: skip
    assert len(lost) <= 1, lost


# -- the text --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options", [{}, {"level": 2, "terrain": "biomes", "hunger": True, "skills": "full"}, {"level": 3, "skills": "full"}]
)
def test_the_text_stays_within_150_tokens_through_whole_episodes(options):
    """Pieces of letters, digits and signs, counted one each: more than OpenAI's cl100k makes of these texts (at most 113)."""
    env, spaces, longest = CraftWorld(**options), installed_spaces(), 0
    observe = env.observe

    def counted():
        nonlocal longest
        seen = observe()
        longest = max(longest, len(re.findall(r"[a-z]+|\d|-", seen.text)))
        return seen

    env.observe = counted
    for task in [t for t in suite().tasks() if t.solvable][::60]:
        play(env, spaces, EXPERTS, task, 3, "mixed")
        counted()
    assert 20 < longest <= 150


def test_the_text_tells_a_failure_and_what_is_open():
    env, spaces = CraftWorld(), installed_spaces()
    env.reset(suite().get("craft_item:paper"), 1)
    outcome = spaces["api"].executor.execute(Action("api", ("craft", "diamond")), env)
    assert outcome.error
    spaces["api"].executor.execute(Action("api", ("open", "inventory")), env)
    words = env.observe().text.split()
    assert words[:2] == ["window", "inventory"]
    assert {"cursor", "grid", "result", "sugar_cane"} <= set(words)
