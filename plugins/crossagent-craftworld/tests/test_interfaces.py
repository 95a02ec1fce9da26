"""Pointer and skills: what they do, what they cannot, and that all interfaces come down to the same ticks."""

import math
import random
from contextlib import suppress

import pytest

from crossagent.plugin import Control, Pointer, SkillFailed, Skills, Task
from crossagent_craftworld import motor, sight
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.interfaces import TAPS
from crossagent_craftworld.palette import AIR, intern
from crossagent_craftworld.suite import suite

ENV = CraftWorld()
FULL = CraftWorld(skills="full")
MOUSE = motor.Limits(6, 300)


def start(env=ENV, seed=0, max_ticks=2000, **setup):
    env.reset(Task("test", "test", "", "craftworld", setup, max_ticks=max_ticks), seed)
    return env.world


def flat(env=ENV, **setup):
    """A player on a wide stone floor, looking along +z."""
    world = start(env, **setup)
    sx, sy, sz = world.scene.size
    for x in range(sx):
        for z in range(sz):
            for y in range(sy):
                world.grid.set(x, y, z, intern("stone") if y <= 7 else AIR)
    world.body.x, world.body.y, world.body.z = 24.5, 8.0, 24.5
    world.fell_from = 8.0
    world.yaw = world.pitch = 0
    world.moved += 1
    return world


def call(name, *args, env=ENV):
    env.interface("skills").call(name, *args)


def fails(name, *args, env=ENV):
    with pytest.raises(SkillFailed) as failed:
        call(name, *args, env=env)
    assert 1 <= len(str(failed.value).split()) <= 6
    return str(failed.value)


def test_protocols():
    assert isinstance(ENV.interface("control"), Control)
    assert isinstance(ENV.interface("pointer"), Pointer)
    assert isinstance(ENV.interface("skills"), Skills)
    with pytest.raises(KeyError):
        ENV.interface("browser")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"skills": "all"}, "skills"),
        ({"camera_quantum": 7}, "camera_quantum"),
        ({"camera_limit": 100}, "camera_limit"),
        ({"width": 5}, "width"),
        ({"scenes": 0}, "scenes"),
        ({"difficulty": "nightmare"}, "difficulty"),
    ],
)
def test_wrong_options_are_named(options, names):
    with pytest.raises(ValueError, match=names):
        CraftWorld(**options)


# -- one level below all ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["mine_block:oak_log", "mine_block:dirt", "kill_entity:cow"])
def test_skill_and_motor_begin_with_the_same_tick(name, seed):
    task = suite().get(name)
    goal = task.setup["goal"]["name"]
    ENV.reset(task, seed)
    thing = sight.find(ENV.world, goal, 6)
    step = motor.fight(ENV.world, thing.mob, MOUSE) if thing.mob else motor.dig(ENV.world, thing.cell, MOUSE)
    snapshot = ENV.snapshot()
    with ENV.tick_limit(1):
        call("mine" if thing.mob is None else "attack", goal)
    assert ENV.tick_log == [step]
    ENV.restore(snapshot)
    assert ENV.tick_log == []


@pytest.mark.parametrize("seed", range(8))
def test_a_click_moves_the_mouse_as_the_text_says(seed):
    """A target clicked by name is aimed at with the movement the observation shows."""
    world = start(seed=seed, target_block="melon", distance=4)
    thing = sight.find(world, "melon", 6)
    for _ in range(8):
        if abs(thing.dx) <= 240:
            break
        ENV.interface("control").step((), (), (300 if thing.dx > 0 else -300, 0))
        thing = sight.find(world, "melon", 6)
    pointer = ENV.interface("pointer")
    pointer.move_to(*pointer.targets()["melon"].center)
    pointer.click("left")
    assert ENV.tick_log[-1].camera == (thing.dx, thing.dy)
    assert ENV.tick_log[-1].buttons == ("left",)


def test_windows_agree_on_the_movement_to_a_slot():
    world = flat(inventory=[])
    world.inventory.own[3] = ("stick", 2)
    pointer = ENV.interface("pointer")
    pointer.press("e")
    for name in ("hot4", "grid3", "result", "inv27", "hot1"):
        rect = pointer.targets()[name]
        slot = next(i for i, n in enumerate(sorted_slots()) if n == name)
        raw = motor.click_slot(world, slot, "left", MOUSE)
        if not raw.buttons:  # the button is still down from the click before
            raw = type(raw)((), ("left",), raw.camera)
        before = len(ENV.tick_log)
        pointer.move_to(*rect.center)
        pointer.click("left")
        moved = [sum(t.camera[i] for t in ENV.tick_log[before:]) for i in (0, 1)]
        assert tuple(moved) == raw.camera
        assert world.inventory.hovered() == slot


def sorted_slots():
    from crossagent_minecraft_data.windows import slot_names

    return slot_names("inventory")


# -- pointer ---------------------------------------------------------------------------------------------------------
def test_clicks_on_the_screen_project_back():
    """Clicking a pixel turns the view by the angle of that pixel."""
    world = flat()
    pointer = ENV.interface("pointer")
    rng = random.Random(0)
    focal = 180 / math.tan(math.radians(35))
    for _ in range(40):
        world.yaw, world.pitch = rng.randrange(-200, 200) * 6, 0
        world.moved += 1
        sin, cos = world.yaw_sin_cos()
        x, y = rng.randrange(40, 600), rng.randrange(60, 300)
        right, up = (x + 0.5 - 320) / focal, (180 - y - 0.5) / focal
        want = (-sin - right * cos, up, cos - right * sin)
        pointer.move_to(x, y)
        pointer.click("left")
        got = world.view()
        angle = math.acos(min(1.0, sum(a * b for a, b in zip(want, got, strict=True)) / math.hypot(*want)))
        assert math.degrees(angle) < 0.65, (x, y)  # half a quantum along both axes


def test_a_tap_breaks_only_what_breaks_at_once():
    world = flat()
    world.grid.set(24, 9, 26, intern("stone"))
    pointer = ENV.interface("pointer")
    for _ in range(30):
        pointer.move_to(320, 180)
        pointer.click("left")
    assert world.block_at((24, 9, 26)) == "stone"
    world.grid.set(24, 9, 26, intern("poppy"))
    pointer.move_to(*pointer.targets()["poppy"].center)
    pointer.click("left")
    assert world.block_at((24, 9, 26)) == "air"


def test_targets_are_on_the_screen_and_named_apart():
    world = flat()
    for x in (22, 26):
        world.add_mob("cow", x + 0.5, 8.0, 30.5)
    world.add_mob("pig", 24.5, 8.0, 20.5)
    targets = ENV.interface("pointer").targets()
    assert list(targets) == ["cow", "cow_2"]
    for rect in targets.values():
        assert 0 <= rect.center[0] < 640
        assert 0 <= rect.center[1] < 360
    assert targets["cow"].center[0] != targets["cow_2"].center[0]


def test_pointer_opens_a_table_in_reach_and_crafts():
    world = flat(inventory=[])
    world.grid.set(25, 8, 26, intern("crafting_table"))
    world.inventory.own[1] = ("oak_planks", 3)
    pointer = ENV.interface("pointer")
    pointer.move_to(*pointer.targets()["crafting_table"].center)
    pointer.click("right")
    assert world.inventory.window.kind == "crafting_table"
    targets = pointer.targets()
    pointer.move_to(*targets["hot2"].center)
    pointer.click("left")
    pointer.move_to(*targets["grid1"].center)
    pointer.drag(*targets["grid3"].center)
    pointer.move_to(*targets["result"].center)
    pointer.click("left", 1, ("shift",))
    used = ("interact_block", "crafting_table", 1)
    assert [(e.kind, e.name, e.count) for e in ENV.events] == [used, ("craft_item", "oak_slab", 6)]
    assert world.inventory.totals() == {"oak_slab": 6}
    pointer.press("escape")
    assert world.inventory.window is None


def test_scrolling_selects_hotbar_slots():
    world = flat()
    pointer = ENV.interface("pointer")
    pointer.scroll(2)
    assert world.inventory.selected == 2
    pointer.scroll(-3)
    assert world.inventory.selected == 8
    assert pointer.keys() == TAPS
    pointer.press("w")
    assert (world.body.x, world.body.z) == (24.5, 24.5)


# -- skills: what they do --------------------------------------------------------------------------------------------
def test_mine_digs_and_picks_up():
    for seed in range(6):
        world = start(seed=seed, target_block="oak_log", hand="iron_axe", distance=6)
        call("mine", "oak_log")
        assert [e.name for e in ENV.events if e.kind == "mine_block"] == ["oak_log"]
        assert world.inventory.totals().get("oak_log") == 1
        assert len(ENV.tick_log) <= 240


def test_goto_look_at_collect():
    world = start(seed=3, target_block="pumpkin", distance=8)
    call("look_at", "pumpkin")
    assert sight.find(world, "pumpkin", 6)[2:4] == (0, 0)
    assert world.crosshair() is None
    call("goto", "pumpkin")
    assert world.crosshair().name == "pumpkin"
    world = flat(hand="stick")
    ENV.interface("control").step(["q"])
    for _ in range(40):
        ENV.interface("control").step(["s"])
    call("collect", "stick")
    assert world.inventory.totals() == {"stick": 1}


def test_around_a_wall():
    world = flat(hand="iron_axe")
    world.grid.set(24, 8, 32, intern("oak_log"))
    for x in range(21, 28):
        world.grid.set(x, 8, 28, intern("stone"))
        if x != 24:  # a slit to look through, too narrow to see more than the log
            world.grid.set(x, 9, 28, intern("stone"))
    world.grid.set(24, 10, 28, intern("stone"))
    assert sight.find(world, "oak_log", 6) is not None
    call("mine", "oak_log")
    assert world.block_at((24, 8, 32)) == "air"


def test_attack_kills():
    for kind in ("cow", "zombie"):
        world = start(seed=1, hand="diamond_sword", mobs=[[kind, 6]])
        call("attack", kind)
        assert not world.mobs
        assert ("kill_entity", kind) in [(e.kind, e.name) for e in ENV.events]


def test_equip_from_hotbar_and_from_inside():
    world = flat()
    world.inventory.own[4] = ("iron_axe", 1)
    world.inventory.own[20] = ("diamond_sword", 1)
    call("equip", "iron_axe")
    assert world.inventory.selected == 4
    call("equip", "diamond_sword")
    assert world.inventory.held() == ("diamond_sword", 1)
    assert world.inventory.window is None
    assert world.inventory.totals() == {"iron_axe": 1, "diamond_sword": 1}


def test_place_and_open_and_close():
    world = start(seed=2, inventory=[])
    world.inventory.own[2] = ("crafting_table", 1)
    call("place", "crafting_table")
    assert [(e.kind, e.name) for e in ENV.events] == [("place_block", "crafting_table")]
    call("open", "crafting_table")
    assert world.inventory.window.kind == "crafting_table"
    call("open", "inventory")
    assert world.inventory.window.kind == "inventory"
    call("close")
    assert world.inventory.window is None


def test_craft_clicks_through_the_window():
    world = flat()
    world.inventory.own[5] = ("oak_log", 2)
    call("craft", "oak_planks")
    assert world.inventory.totals() == {"oak_log": 1, "oak_planks": 4}
    assert world.inventory.window is None
    assert ENV.tick_log[0].keys == ("e",)
    call("craft", "stick")
    assert world.inventory.totals() == {"oak_log": 1, "oak_planks": 2, "stick": 4}


def test_full_library_crafts_at_a_table():
    setup = {"inventory": [["cobblestone", 8]], "blocks": [["crafting_table", 4]]}
    world = start(seed=4, **setup)
    assert fails("craft", "furnace") == "furnace needs a table"
    assert not ENV.tick_log
    world = start(FULL, seed=4, **setup)
    call("craft", "furnace", env=FULL)
    assert world.inventory.totals() == {"furnace": 1}


# -- skills: why they fail -------------------------------------------------------------------------------------------
def test_honest_failures():
    world = flat(inventory=[])
    assert fails("mine", "diamond_ore") == "no diamond_ore in sight"
    assert fails("mine", "cow") == "cow is no block"
    assert fails("attack", "cow") == "no cow in sight"
    assert fails("goto", "nowhere") == "no nowhere in sight"
    assert fails("collect", "stick") == "no drop_stick in sight"
    assert fails("equip", "stick") == "no stick"
    assert fails("place", "stick") == "stick is no block"
    assert fails("place", "dirt") == "no dirt"
    assert fails("open", "furnace") == "no furnace in sight"
    assert fails("open", "stone") == "stone has no window"
    assert fails("open", "chest") == "no chest in sight"
    assert fails("craft", "dirt") == "dirt is not crafted"
    assert fails("craft", "stick") == "ingredients of stick are missing"
    assert fails("close") == "no window is open"
    assert fails("fly") == "no skill fly"
    assert fails("mine") == "mine takes 1 name"
    assert fails("mine", 3) == "mine takes 1 name"
    world.inventory.own[20] = ("dirt", 1)
    assert fails("place", "dirt") == "dirt is not in the hotbar"
    world.grid.set(24, 9, 27, intern("obsidian"))
    assert fails("mine", "obsidian") == "obsidian is too hard"
    assert not ENV.tick_log


def test_no_path():
    world = flat(hand="iron_pickaxe")
    world.grid.set(24, 17, 31, intern("gold_block"))
    assert fails("mine", "gold_block") == "too high or too low"
    for x, z in ((23, 24), (25, 24), (24, 23), (24, 25), (23, 23), (25, 25), (23, 25), (25, 23)):
        world.grid.set(x, 8, z, intern("bedrock"))
        world.grid.set(x, 9, z, intern("oak_fence"))
    world.grid.set(26, 8, 32, intern("hay_block"))
    assert fails("goto", "hay_block") == "no path"


def test_a_skill_ends_within_its_budget():
    world = flat()
    golem = world.add_mob("iron_golem", 24.5, 8.0, 30.5)
    golem.health = 1000.0
    world.resistance = 5
    assert fails("attack", "iron_golem") == "took too long"
    assert len(ENV.tick_log) <= 240


def test_nothing_happens_once_the_episode_is_over():
    start(max_ticks=3, target_block="dirt", distance=8)
    call("goto", "dirt")
    assert ENV.truncated
    call("mine", "dirt")
    ENV.interface("pointer").move_to(3, 3)
    ENV.interface("pointer").click()
    ENV.interface("pointer").press("e")
    assert len(ENV.tick_log) == 3


@pytest.mark.parametrize("seed", range(12))
def test_any_skill_in_any_state_ends_or_fails(seed):
    """Random skills on random names, between random input: never anything but SkillFailed, never beyond the budget."""
    rng = random.Random(seed)
    env = FULL if seed % 2 else ENV
    world = start(
        env, seed=seed, max_ticks=3000, inventory=[["oak_planks", 9], ["stick", 4], ["chest", 2], ["stone_pickaxe", 1]],
        blocks=[["crafting_table", 4], ["chest", 5]], mobs=[["cow", 5], ["spider", 8]],
    )  # fmt: skip
    specs = env.interface("skills").list()
    names = ["cow", "spider", "stone", "water", "air", "grass", "stick", "chest", "crafting_table", "oak_log", "grass_block",
             "oak_planks", "inventory", "drop_stick", "stone_pickaxe", "bedrock", "x"]  # fmt: skip
    for _ in range(25):
        for _ in range(rng.randrange(6)):
            keys = rng.sample(["w", "a", "space", "e", "q", "3", "left.shift"], rng.randrange(3))
            env.interface("control").step(
                keys, rng.sample(["left", "right"], rng.randrange(2)), (rng.randrange(-90, 90), 6)
            )
        spec = rng.choice(specs)
        before, snapshot = len(env.tick_log), env.snapshot()
        args = [rng.choice(names) for _ in spec.params]
        with suppress(SkillFailed):
            env.interface("skills").call(spec.name, *args)
        assert len(env.tick_log) - before <= 240
        if rng.random() < 0.2:
            env.restore(snapshot)
            assert len(env.tick_log) == before
        env.observe()
    assert world is env.world
