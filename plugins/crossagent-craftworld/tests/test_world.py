"""The engine: determinism, snapshots, digging, fighting, windows; no input can break it."""

import json
import math
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import digging, motor, sight
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.interfaces import BUTTONS, KEYS
from crossagent_craftworld.palette import AIR, NAMES, intern
from crossagent_minecraft_data.blocks import dig_ticks
from crossagent_minecraft_data.windows import slot_names

ENV = CraftWorld()


def task(max_ticks=600, **setup):
    return Task(name="test", category="test", instruction="", env="craftworld", setup=setup, max_ticks=max_ticks)


BUSY = task(
    max_ticks=10_000,
    hand="iron_pickaxe",
    inventory=[["oak_planks", 20], ["stick", 9], ["oak_log", 3], ["cobblestone", 40]],
    blocks=[["crafting_table", 3], ["chest", 3]],
    mobs=[["cow", 5], ["zombie", 7]],
)


def play(env, rng, ticks):
    """Random input, with windows opened now and then so that clicks find slots."""
    control = env.interface("control")
    for _ in range(ticks):
        keys = [k for k in KEYS if rng.random() < (0.02 if k in ("e", "escape", "q") else 0.15)]
        buttons = [b for b in BUTTONS if rng.random() < 0.4]
        control.step(keys, buttons, (rng.randrange(-60, 61), rng.randrange(-60, 61)))


def items(world):
    """Every item in the world: inventory, window, chests, on the ground."""
    total = Counter(world.inventory.totals())
    for drop in world.drops:
        total[drop.item] += drop.count
    for stacks in world.inventory.chests.values():
        for stack in stacks:
            if stack is not None:
                total[stack[0]] += stack[1]
    window = world.inventory.window
    if window is not None and window.kind == "chest":
        for stack in window.slots[:27]:
            if stack is not None:
                total[stack[0]] += stack[1]
    return +total


def flat(**setup):
    """A player on a wide stone floor, looking along +z, in the middle of nothing."""
    ENV.reset(task(**setup), 0)
    world = ENV.world
    sx, sy, sz = world.scene.size
    stone = intern("stone")
    for x in range(sx):
        for z in range(sz):
            for y in range(sy):
                world.grid.set(x, y, z, stone if y <= 7 else AIR)
    world.body.x, world.body.y, world.body.z = 24.5, 8.0, 24.5
    world.fell_from = 8.0
    world.yaw = world.pitch = 0
    world.moved += 1
    return world


# -- determinism -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_same_input_same_state(seed):
    hashes = []
    for _ in range(2):
        ENV.reset(BUSY, seed)
        play(ENV, random.Random(seed), 300)
        hashes.append((ENV.state_hash(), ENV.observe().text, tuple(ENV.events)))
    assert hashes[0] == hashes[1]
    ENV.reset(BUSY, seed)
    play(ENV, random.Random(seed + 100), 300)
    assert ENV.state_hash() != hashes[0][0]


def test_same_state_in_another_process():
    code = (
        "from crossagent.plugin import Task\nfrom crossagent_craftworld.env import CraftWorld\nimport json, sys\n"
        "env = CraftWorld(); setup = json.loads(sys.argv[1])\n"
        "env.reset(Task('test', 'test', '', 'craftworld', setup), 3)\n"
        "[env.interface('control').step(['w'], ['left'], (30, 12)) for _ in range(60)]\nprint(env.state_hash())"
    )
    setup = dict(BUSY.setup)
    here = CraftWorld()
    here.reset(Task("test", "test", "", "craftworld", setup), 3)
    for name in ("glass", "gold_block", "melon"):
        intern(name)  # ids of states differ between processes: hashes must not
    for _ in range(60):
        here.interface("control").step(["w"], ["left"], (30, 12))
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p), "PYTHONHASHSEED": "77"}
    out = subprocess.run(
        [sys.executable, "-c", code, json.dumps(setup)],
        capture_output=True,
        text=True,
        env=path,
        check=True,
        timeout=60,
    )
    assert out.stdout.strip() == here.state_hash()


@pytest.mark.parametrize("seed", range(6))
def test_snapshot_and_restore(seed):
    rng = random.Random(seed)
    ENV.reset(BUSY, seed)
    play(ENV, rng, 150)
    before, text = ENV.state_hash(), ENV.observe().text
    snapshot, state = ENV.snapshot(), rng.getstate()
    after = []
    for _ in range(3):
        rng.setstate(state)
        play(ENV, rng, 80)
        after.append((ENV.state_hash(), ENV.observe().text, len(ENV.tick_log), tuple(ENV.events)))
        play(ENV, rng, 20)
        ENV.restore(snapshot)
        assert (ENV.state_hash(), ENV.observe().text) == (before, text)
    assert after[0] == after[1] == after[2]
    assert after[0][0] != before


_LONG = """
import hashlib, json, random, sys
from crossagent.plugin import Task
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.interfaces import BUTTONS, KEYS
def run(setup, restoring):
    env, rng = CraftWorld(), random.Random(9)
    env.reset(Task("test", "test", "", "craftworld", setup, max_ticks=10**6), 7)
    control, hashes = env.interface("control"), []
    actions = [
        ([k for k in KEYS if rng.random() < (0.02 if k in ("e", "escape", "q") else 0.15)],
         [b for b in BUTTONS if rng.random() < 0.4], (rng.randrange(-60, 61), rng.randrange(-60, 61)))
        for _ in range(1000)
    ]
    for i, action in enumerate(actions, 1):
        control.step(*action)
        if i % 100 == 0:
            hashes.append(env.state_hash())
            if restoring:
                saved = env.snapshot()
                for other in actions[:60]:
                    control.step(*other)
                env.restore(saved)
    return hashes
"""


def test_a_thousand_random_actions_give_one_state_through_snapshots_and_in_another_process():
    setup = {**BUSY.setup, "blocks": [["crafting_table", 3], ["chest", 3], ["furnace", 3]], "resistance": 5}
    scope: dict = {}
    exec(_LONG, scope)
    straight = scope["run"](setup, False)
    assert len(set(straight)) == 10
    assert scope["run"](setup, False) == straight
    assert scope["run"](setup, True) == straight
    out = subprocess.run(
        [sys.executable, "-c", _LONG + "print(json.dumps(run(json.loads(sys.argv[1]), True)))", json.dumps(setup)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PYTHONHASHSEED": "77"},
        check=True,
        timeout=120,
    )
    assert json.loads(out.stdout) == straight


def test_observing_changes_nothing():
    ENV.reset(BUSY, 1)
    play(ENV, random.Random(1), 50)
    before = ENV.state_hash()
    ENV.observe(), ENV.anchor_key(), ENV.interface("pointer").targets(), ENV.snapshot()
    assert ENV.state_hash() == before


def test_a_snapshot_ends_with_its_episode():
    ENV.reset(BUSY, 1)
    snapshot = ENV.snapshot()
    ENV.reset(BUSY, 1)
    with pytest.raises(ValueError, match="another episode"):
        ENV.restore(snapshot)


def test_anchor_key_ignores_clock_and_generator():
    ENV.reset(task(), 5)
    before, full = ENV.anchor_key(), ENV.state_hash()
    ENV.interface("control").step()
    assert ENV.anchor_key() == before
    assert ENV.state_hash() != full
    ENV.interface("control").step((), (), (300, 0))
    ENV.interface("control").step((), (), (300, 0))
    assert ENV.anchor_key() != before


# -- no input can break it -------------------------------------------------------------------------------------------
_junk = st.one_of(st.none(), st.integers(), st.text(max_size=6), st.floats(), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(_junk, max_size=3), st.lists(_junk, max_size=2), st.one_of(_junk, st.tuples(_junk, _junk))), max_size=12))  # fmt: skip
def test_malformed_control_never_raises(steps):
    ENV.reset(BUSY, 2)
    for keys, buttons, camera in steps:
        ENV.interface("control").step(keys, buttons, camera)
    assert len(ENV.tick_log) == len(steps)
    for raw in ENV.tick_log:
        assert set(raw.keys) <= set(KEYS)
        assert all(c % 6 == 0 and abs(c) <= 300 for c in raw.camera)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-50, 700), st.integers(-50, 400), st.sampled_from(["click", "right", "drag", "double", "shift", "e", "q", "1", "escape"])), max_size=25), st.integers(0, 3))  # fmt: skip
def test_pointer_never_raises_and_keeps_items(gestures, seed):
    ENV.reset(task(inventory=[["oak_planks", 20], ["stick", 9], ["cake", 1]]), seed)
    pointer, world = ENV.interface("pointer"), ENV.world
    pointer.press("e")
    made: Counter[str] = Counter()
    for x, y, gesture in gestures:
        before, events = items(world), len(ENV.events)
        pointer.move_to(x, y)
        if gesture in ("e", "q", "1", "escape"):
            pointer.press(gesture)
        elif gesture == "drag":
            pointer.drag(320 - x // 10, 180 + y // 10)
        else:
            kind = {"click": ("left", 1, ()), "right": ("right", 1, ()), "double": ("left", 2, ())}
            pointer.click(*kind.get(gesture, ("left", 1, ("shift",))))
        made = Counter(e.kind for e in ENV.events[events:])
        if not made["craft_item"] and not made["mine_block"] and not made["place_block"]:
            assert items(world) == before
    ENV.observe()


@pytest.mark.parametrize("seed", range(8))
def test_items_are_conserved_under_random_play(seed):
    """Whatever is clicked, thrown and picked up: items change only by crafting, placing and digging."""
    ENV.reset(
        task(max_ticks=10_000, inventory=[["oak_planks", 30], ["stick", 9], ["diamond", 5]], blocks=[["chest", 2]]),
        seed,
    )
    rng, world = random.Random(seed), ENV.world
    control = ENV.interface("control")
    for _ in range(500):
        before, events = items(world), len(ENV.events)
        window = world.inventory.window
        camera = (rng.randrange(-40, 41), rng.randrange(-40, 41))
        if window is None:
            keys = ["e"] if rng.random() < 0.3 else ["q"] if rng.random() < 0.1 else ["w"]
            control.step(keys, [], camera)
        else:
            slot = rng.randrange(len(slot_names(window.kind)))
            keys = [k for k in ("left.shift", "q", "3", "escape") if rng.random() < 0.04]
            buttons = [b for b in BUTTONS if rng.random() < 0.5]
            control.step(keys, buttons, world.inventory.slot_offset(slot) if rng.random() < 0.8 else camera)
        if all(e.kind == "pickup" for e in ENV.events[events:]):
            assert items(world) == before


def test_items_survive_a_full_window_closing():
    world = flat(inventory=[["oak_planks", 64]])
    world.inventory.own = [("cobblestone", 64)] * 36
    world.inventory.own[0] = ("oak_log", 2)
    control = ENV.interface("control")
    control.step(["e"])
    control.step([], ["left"], sight.slot_move(world, slot_names("inventory").index("hot1"), 6))
    control.step()
    control.step([], ["left"], sight.slot_move(world, 1, 6))
    before = items(world)
    assert world.inventory.window.slots[1] == ("oak_log", 2)
    world.inventory.window.slots[36] = ("dirt", 64)
    before["dirt"] += 64
    control.step(["escape"])
    assert world.inventory.window is None
    assert items(world) == before
    assert [d.item for d in world.drops] == ["oak_log"]


# -- digging ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("block", "tool"), [("dirt", None), ("oak_log", "iron_axe"), ("stone", "iron_pickaxe"), ("poppy", None)])  # fmt: skip
def test_digging_takes_the_ticks_of_the_data(block, tool):
    world = flat(hand=tool, goal={"event": "mine_block", "name": block})
    world.grid.set(24, 9, 26, intern(block))
    world.grid.set(24, 8, 26, intern("stone"))
    raw = motor.look(world, (24.5, 9.4, 26.5), motor.Limits(6, 300))
    ENV.tick(raw or RawTick())
    assert world.crosshair().name == block
    ticks = max(dig_ticks(block, tool), 1)
    for i in range(ticks):
        assert not ENV.success, i
        ENV.interface("control").step([], ["left"])
    assert ENV.success
    assert ENV.total_reward == 1.0
    assert ENV.over


def test_progress_is_lost_when_the_button_is_let_go_or_the_tool_changes():
    world = flat(hand="iron_pickaxe")
    world.grid.set(24, 9, 26, intern("stone"))
    step = ENV.interface("control").step
    step([], ["left"])
    step([], ["left"])
    assert world.dig.progress == pytest.approx(2 / 8)
    assert "crack 2" in ENV.observe().text
    step()
    assert world.dig.progress == 0
    step([], ["left"])
    step(["2"], ["left"])
    assert world.dig.progress == pytest.approx(1 / 150)


def test_a_pause_follows_a_broken_block():
    world = flat(hand="iron_shovel")
    for z in (26, 27):
        world.grid.set(24, 9, z, intern("dirt"))
    step = ENV.interface("control").step
    for _ in range(3):
        step([], ["left"])
    assert world.grid.name(24, 9, 26) == "air"
    for _ in range(5 + 2):
        step([], ["left"])
    assert world.grid.name(24, 9, 27) == "dirt"
    step([], ["left"])
    assert world.grid.name(24, 9, 27) == "air"


def test_what_stands_on_a_block_falls_with_it():
    world = flat(hand="iron_shovel")
    world.grid.set(24, 9, 26, intern("dirt"))
    world.grid.set(24, 10, 26, intern("poppy"))
    for _ in range(3):
        ENV.interface("control").step([], ["left"])
    assert world.grid.get(24, 10, 26) == AIR
    assert sorted(d.item for d in world.drops) == ["dirt", "poppy"]
    assert [e.name for e in ENV.events] == ["dirt"]


@pytest.mark.parametrize("name", ["oak_door", "white_bed", "sunflower", "tall_grass"])
def test_the_halves_of_a_block_break_together(name):
    for half in (0, 1):
        ENV.reset(task(target_block=name, distance=4), 1)
        world = ENV.world
        cells = [cell for cell, state in world.grid.changed_cells() if NAMES[state] == name]
        assert len(cells) == 2
        digging.destroy(world, cells[half], "shears")
        assert all(world.grid.get(*cell) == AIR for cell in cells)
        assert [e.name for e in ENV.events if e.kind == "mine_block"] == [name]
        assert sum(d.count for d in world.drops) == 1


def test_water_plants_leave_water_and_ladders_hang_on_stone():
    ENV.reset(task(target_block="kelp", distance=4), 1)
    (cell,) = [cell for cell, state in ENV.world.grid.changed_cells() if NAMES[state] == "kelp"]
    digging.destroy(ENV.world, cell, None)
    assert ENV.world.block_at(cell) == "water"
    ENV.reset(task(target_block="ladder", distance=4), 1)
    assert sorted(NAMES[state] for _, state in ENV.world.grid.changed_cells()) == ["ladder", "stone"]


def test_a_door_is_placed_whole_or_not_at_all():
    ENV.reset(task(hand="oak_door"), 2)
    world = ENV.world
    control = ENV.interface("control")
    world.yaw, world.pitch = 0, 240
    world.moved += 1
    for roof in (True, False):
        hit = world.crosshair()
        above = (hit.cell[0], hit.cell[1] + 2, hit.cell[2])
        world.grid.set(*above, intern("stone") if roof else AIR)
        control.step((), ("right",))
        control.step()
        doors = [cell for cell, state in world.grid.changed_cells() if NAMES[state] == "oak_door"]
        assert len(doors) == (0 if roof else 2)
    assert world.inventory.held() is None


def test_drops_fall_and_are_picked_up():
    world = flat(hand="iron_shovel")
    world.grid.set(24, 8, 26, intern("dirt"))
    step = ENV.interface("control").step
    step([], [], (0, 180))
    for _ in range(3):
        step([], ["left"])
    for _ in range(40):
        step()
    assert world.drops[0].resting
    assert world.inventory.totals().get("dirt") is None
    for _ in range(12):
        step(["w"])
    assert world.inventory.totals()["dirt"] == 1
    assert not world.drops


# -- placing, windows ------------------------------------------------------------------------------------------------
def test_placing_needs_room_and_an_item():
    world = flat(inventory=[])
    world.inventory.own[0] = ("cobblestone", 2)
    step = ENV.interface("control").step
    step([], [], (0, 300))
    step([], ["right"])
    cell = (24, 8, 26)
    assert world.block_at(cell) == "cobblestone"
    assert world.inventory.held() == ("cobblestone", 1)
    step()
    step([], [], (0, 300))  # straight down: the player himself is in the way
    step([], ["right"])
    assert world.inventory.held() == ("cobblestone", 1)
    assert [e.kind for e in ENV.events] == ["place_block"]


def test_a_table_opens_and_keys_act_on_the_window_alone():
    world = flat(inventory=[])
    world.grid.set(24, 9, 26, intern("crafting_table"))
    step = ENV.interface("control").step
    step([], ["right"])
    assert world.inventory.window.kind == "crafting_table"
    here = (world.body.x, world.body.z, world.yaw)
    for _ in range(5):
        step(["w"], ["left"], (30, 0))
    assert (world.body.x, world.body.z, world.yaw) == here
    assert world.inventory.cursor == (320 + 150, 180)
    step(["e"])
    assert world.inventory.window is None


def test_dragging_spreads_a_stack_over_the_slots_passed():
    world = flat(inventory=[])
    world.grid.set(24, 9, 26, intern("crafting_table"))
    world.inventory.own[0] = ("oak_planks", 7)
    step = ENV.interface("control").step
    names = slot_names("crafting_table")
    step([], ["right"])
    step()
    step([], ["left"], sight.slot_move(world, names.index("hot1"), 6))
    window = world.inventory.window
    assert window.cursor == ("oak_planks", 7)
    step([], [], sight.slot_move(world, 1, 6))
    step([], ["left"])
    assert window.slots[1] == ("oak_planks", 7)  # what letting go now would give
    step([], ["left"], sight.slot_move(world, 3, 6))
    assert window.slots[1:4] == [("oak_planks", 2)] * 3
    assert window.cursor == ("oak_planks", 1)
    assert window.slots[0] == ("oak_slab", 6)
    step([], [], (0, 60))
    step([], ["left"])
    assert window.slots[1:4] == [("oak_planks", 2)] * 3


def test_a_double_click_gathers():
    world = flat(inventory=[])
    world.inventory.own[:3] = [("stick", 3), ("stick", 4), ("stick", 5)]
    pointer = ENV.interface("pointer")
    pointer.press("e")
    pointer.move_to(*pointer.targets()["hot2"].center)
    pointer.click("left", 2)
    assert world.inventory.window.cursor == ("stick", 12)


# -- fighting --------------------------------------------------------------------------------------------------------
def test_a_blow_hurts_once_per_ten_ticks_and_by_its_charge():
    world = flat(hand="diamond_sword")
    cow = world.add_mob("cow", 24.5, 8.0, 26.5)
    step = ENV.interface("control").step
    step([], [], (0, 60))
    world.swing = 100
    step([], ["left"])
    assert cow.health == pytest.approx(10 - 7)
    step()
    health = cow.health
    step([], ["left"])  # a tick later: hardly charged, and the cow is still invulnerable
    assert cow.health == health
    assert cow.panic > 0
    assert cow.body.vz > 0


def test_a_dead_mob_leaves_an_event_and_its_loot():
    world = flat(hand="diamond_axe", goal={"event": "kill_entity", "name": "chicken"})
    world.add_mob("chicken", 24.5, 8.0, 26.0)
    thing = sight.mob(world, world.mobs[0], 6)
    ENV.interface("control").step([], ["left"], (thing.dx, thing.dy))
    assert ENV.success
    assert not world.mobs
    assert "chicken" in [d.item for d in world.drops]


def test_a_zombie_hunts_and_kills():
    world = flat(max_ticks=5000)
    world.add_mob("zombie", 24.5, 8.0, 30.5)
    for _ in range(900):
        ENV.interface("control").step()
        if ENV.over:
            break
    assert ENV.terminated
    assert not ENV.success
    assert ENV.events[-1].kind == "death"
    ticks = len(ENV.tick_log)
    ENV.interface("control").step(["w"])
    assert len(ENV.tick_log) == ticks


def test_peace_and_resistance():
    peaceful = CraftWorld(difficulty="peaceful")
    peaceful.reset(task(mobs=[["zombie", 3]]), 0)
    for _ in range(200):
        peaceful.interface("control").step()
    assert peaceful.world.health == 20
    ENV.reset(task(mobs=[["zombie", 3]], resistance=5), 0)
    for _ in range(200):
        ENV.interface("control").step()
    assert ENV.world.health == 20


def test_falling_hurts_and_water_does_not():
    world = flat()
    world.body.y = world.fell_from = 13.0
    world.body.on_ground = False
    for _ in range(40):
        ENV.interface("control").step()
    assert world.health == 20 - 2
    assert "health 18" in ENV.observe().text


def test_the_tick_limit_truncates():
    ENV.reset(task(max_ticks=5), 0)
    for _ in range(9):
        ENV.interface("control").step()
    assert len(ENV.tick_log) == 5
    assert ENV.truncated
    assert not ENV.terminated


# -- sight and text --------------------------------------------------------------------------------------------------
def read(text):
    """Parse an observation of the scene into its parts."""
    words = text.split()
    out, key = {}, ""
    for word in words:
        if word in ("aim", "crack", "see", "hand", "have", "health", "holding"):
            key = word
            out[key] = []
        else:
            out[key].append(word)
    out["see"] = [tuple(out["see"][i : i + 4]) for i in range(0, len(out["see"]), 4)]
    return out


@pytest.mark.parametrize("seed", range(12))
def test_copying_an_entry_aims_at_it(seed):
    """The two numbers of an entry, made as mouse movements, put its name under the crosshair."""
    ENV.reset(task(target_block="pumpkin", distance=3, mobs=[["cow", 3]]), seed)
    names = {entry[0] for entry in read(ENV.observe().text)["see"]}
    assert "pumpkin" in names
    for _ in range(8):
        entry = next(e for e in read(ENV.observe().text)["see"] if e[0] == "pumpkin")
        if (entry[1], entry[2]) == ("0", "0"):
            break
        ENV.interface("control").step((), (), (int(entry[1]), int(entry[2])))
    assert int(entry[3]) <= 4
    assert read(ENV.observe().text)["aim"][0] in ("pumpkin", "cow")


def test_text_is_short_and_regular():
    for seed in range(20):
        text = ENV.reset(BUSY, seed).text
        assert len(text.split()) <= 60
        parts = read(text)
        distances = [int(e[3]) for e in parts["see"]]
        assert distances == sorted(distances)
        assert 1 <= len(distances) <= 4
        for _, dx, dy, _ in parts["see"]:
            assert int(dx) % 6 == 0
            assert abs(int(dx)) <= 300
            assert abs(int(dy)) <= 300
        assert parts["hand"] == ["iron_pickaxe"]


def test_text_of_a_window_gives_the_movement_to_each_slot():
    world = flat(inventory=[])
    world.inventory.own[4] = ("oak_log", 5)
    step = ENV.interface("control").step
    step(["e"])
    words = ENV.observe().text.split()
    assert words[:8] == ["window", "inventory", "cursor", "none", "over", "inv5", "grid", "-"]
    at = words.index("hot5")
    assert words[at : at + 3] == ["hot5", "oak_log", "5"]
    step([], ["left"], (int(words[at + 3]), int(words[at + 4])))
    words = ENV.observe().text.split()
    assert words[2:7] == ["cursor", "oak_log", "5", "over", "hot5"]
    columns, rows = words.index("cols"), words.index("rows")
    step([], [], (int(words[columns + 2]), int(words[rows + 1])))
    assert "over grid2" in ENV.observe().text
    step([], ["right"])
    text = ENV.observe().text
    assert "grid - oak_log - -" in text
    assert "result oak_planks 4" in text


def test_walls_hide():
    world = flat()
    world.grid.set(24, 8, 30, intern("pumpkin"))
    assert sight.find(world, "pumpkin", 6) is not None
    for x in range(20, 29):
        for y in range(8, 13):
            world.grid.set(x, y, 28, intern("stone_bricks"))
    assert sight.find(world, "pumpkin", 6) is None


def test_every_scene_is_sane():
    for seed in range(40):
        ENV.reset(task(target_block="hay_block"), seed)
        world = ENV.world
        assert (
            world.block_at((math.floor(world.body.x), math.floor(world.body.y) - 1, math.floor(world.body.z)))
            == "grass_block"
        )
        assert "hay_block" in [t.name for t in sight.things(world, 6)]
        ENV.reset(task(mobs=[["pig", 5]]), seed)
        assert "pig" in [t.name for t in sight.things(ENV.world, 6)]
