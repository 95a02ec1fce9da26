"""The picture agrees with the world: rays, slots, mobs in front of blocks; and it depends on the state alone."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import palette
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.grid import Grid
from crossagent_craftworld.parity.motion import REACH, build
from crossagent_craftworld.render import blockart, kernel, models, shapes, sprites
from crossagent_craftworld.render.hud import Hud
from crossagent_craftworld.render.renderer import Renderer, daylight
from crossagent_craftworld.shots import Shot
from crossagent_craftworld.suite import suite
from crossagent_craftworld.world import EYE
from crossagent_minecraft_data.blocks import BLOCKS
from crossagent_minecraft_data.entities import MOBS
from crossagent_minecraft_data.items import ITEMS
from crossagent_minecraft_data.windows import SCREEN, slot_names, slot_rect

GOLDEN = Path(__file__).parents[3] / "tests/golden/minecraft/raycast.json"
ODD = (65, 65)
"""Odd sizes have a pixel in the middle, whose ray is the crosshair's."""
PLAIN = (np.zeros(17), np.ones((256, 3)), np.array([900.0, 1000.0]), np.full(4, -1))


def frame_of(yaw: float, pitch: float) -> np.ndarray:
    forward = np.array([-math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([-math.cos(yaw), 0.0, -math.sin(yaw)])
    return np.array([right, np.cross(right, forward), forward])


def look(renderer: Renderer, grid: Grid, eye: tuple[float, float, float], frame: np.ndarray) -> tuple[int, float]:
    """Return (index of the block in the middle, its distance)."""
    renderer.depth.fill(kernel.FAR)
    colour = np.zeros((renderer.size[1], renderer.size[0], 3), dtype=np.uint8)
    renderer.blocks(grid, np.array(eye) - grid.origin, frame, *PLAIN, colour)
    j, i = renderer.size[1] // 2, renderer.size[0] // 2
    return int(renderer.picked[j, i]), float(renderer.depth[j, i])


def world_with(setup: dict, seed: int = 0, **options):
    env = CraftWorld(**options)
    env.reset(Task("t", "t", "", "craftworld", setup=setup, max_ticks=10**6), seed)
    return env


def clearing(env: CraftWorld) -> None:
    """Turn the world into a stone floor with air above, the player in the middle looking along +z."""
    world = env.world
    sx, sy, sz = world.grid.size
    stone = palette.intern("stone")
    for x in range(sx):
        for z in range(sz):
            for y in range(sy):
                world.grid.set(x, y, z, stone if y < 5 else palette.AIR)
    world.body.x, world.body.y, world.body.z = sx / 2 + 0.5, 5.0, sz / 2 + 0.5
    world.yaw = world.pitch = 0
    world.moved += 1


@pytest.mark.skipif(not GOLDEN.exists(), reason="the goldens lie in the repository")
def test_the_pixel_in_the_middle_is_the_block_of_the_ray_goldens():
    document = json.loads(GOLDEN.read_text())
    renderer = Renderer(ODD)
    grids = [build(fills) for fills in document["worlds"]]
    hits = 0
    for case in document["cases"]:
        grid, want = grids[case["w"]], case["hit"]
        x, y, z = case["feet"]
        picked, distance = look(
            renderer, grid, (x, y + EYE, z), frame_of(math.radians(case["yaw"]), math.radians(case["pitch"]))
        )
        if want is None:
            assert picked == -1 or distance > REACH
            continue
        hits += 1
        assert picked == grid.index(*want["block"])
        assert distance == pytest.approx(want["dist"], abs=1e-6)
    assert hits > 100


def test_the_pixel_in_the_middle_is_the_worlds_own_target():
    renderer = Renderer(ODD)
    rng = np.random.default_rng(0)
    agreed = 0
    for seed in range(4):
        env = world_with({}, seed)
        world = env.world
        for _ in range(60):
            world.yaw, world.pitch = int(rng.integers(-1200, 1200)), int(rng.integers(-100, 600))
            world.moved += 1
            hit = world.crosshair()
            renderer.render(world)
            picked, distance = int(renderer.picked[32, 32]), float(renderer.depth[32, 32])
            plant = hit is not None and shapes.is_crossed(hit.name)
            if hit is None or plant:
                assert plant or picked == -1 or distance > 4.5 - 1e-9
                continue
            assert picked == world.grid.index(*hit.cell)
            assert distance == pytest.approx(hit.distance, abs=1e-9)
            agreed += 1
    assert agreed > 100


def test_what_the_pointer_names_is_drawn_where_it_says():
    renderer = Renderer(SCREEN)
    checked = 0
    for seed in range(6):
        env = world_with({"mobs": [["cow", 5], ["sheep", 7]]}, seed)
        pointer = env.interface("pointer")
        for _ in range(3):
            env.tick(RawTick((), (), (240, 0)))
            renderer.render(env.world)
            for thing in pointer._things():
                rect = pointer._project(thing)
                if rect is None or shapes.is_crossed(thing.name):
                    continue
                x, y = rect.center
                want = env.world.grid.index(*thing.cell) if thing.kind == "block" else -2
                assert renderer.picked[y, x] == want, thing
                checked += 1
    assert checked > 30


def test_every_block_is_drawn_inside_its_outline():
    """What is seen of a block is hit by a ray there; a whole cube is always seen where it is hit."""
    renderer = Renderer(ODD)
    rng = np.random.default_rng(1)
    size = (5, 5, 5)
    seen = 0
    for name in BLOCKS:
        state = palette.intern(name)
        kind = shapes.shape(state)[0]
        grid = Grid(array("H", bytes(2 * 125)), size)
        grid.set(2, 2, 2, state)
        for _ in range(3):
            eye = rng.uniform(0, 5, 3)
            if np.abs(eye - 2.5).max() < 0.75:
                continue
            ray = 2.5 + rng.uniform(-0.3, 0.3, 3) - eye
            yaw, pitch = math.atan2(-ray[0], ray[2]), -math.atan2(ray[1], math.hypot(ray[0], ray[2]))
            frame = frame_of(yaw, pitch)
            picked, distance = look(renderer, grid, tuple(eye), frame)
            found = grid.cast(*eye, *frame[2], 20.0)
            if picked >= 0:
                assert found is not None, name
                assert distance >= found[2] - 1e-6, name
                seen += 1
            elif kind == shapes.SOLID:
                assert found is None, name
    assert seen > 1000


def test_a_mob_is_seen_before_the_block_behind_it_and_hidden_by_one_before_it():
    env = world_with({"resistance": 5})
    clearing(env)
    world, renderer = env.world, Renderer(ODD)
    x, z = int(world.body.x), int(world.body.z)
    for y in (5, 6, 7):
        for dx in (-1, 0, 1):
            world.grid.set(x + dx, y, z + 5, palette.intern("bricks"))
    empty = renderer.render(world)
    assert renderer.picked[32, 32] == world.grid.index(x, 6, z + 5)
    mob = world.add_mob("zombie", world.body.x, 5.0, world.body.z + 3)
    with_mob = renderer.render(world)
    assert renderer.picked[32, 32] == -2
    assert (with_mob[32, 32] != empty[32, 32]).any()
    assert 2.3 < renderer.depth[32, 32] < 3.0
    mob.body.z = world.body.z + 8
    hidden = renderer.render(world)
    assert renderer.picked[32, 32] == world.grid.index(x, 6, z + 5)
    assert (hidden[32, 32] == empty[32, 32]).all()


@pytest.mark.parametrize(
    "kind", ["arrow", "potion", "small_fireball", "fireball", "wither_skull", "shulker_bullet", "fangs"]
)
def test_what_flies_is_seen(kind):
    env = world_with({})
    clearing(env)
    world, renderer = env.world, Renderer(SCREEN)
    assert (renderer.picked == -2).sum() == 0
    world.shots.append(Shot(kind, (world.body.x, world.body.y + 1.5, world.body.z + 3), (0.1, 0.2, -0.5), 1.0))
    renderer.render(world)
    assert (renderer.picked == -2).sum() > 100


def test_a_mob_in_water_is_seen_through_the_water():
    env = world_with({})
    clearing(env)
    world, renderer = env.world, Renderer(ODD)
    x, z = int(world.body.x), int(world.body.z)
    for y in (5, 6, 7):
        for dx in (-2, -1, 0, 1, 2):
            world.grid.set(x + dx, y, z + 2, palette.intern("water"))
    world.add_mob("sheep", world.body.x, 5.6, world.body.z + 4)
    through = renderer.render(world)[32, 32].astype(int)
    assert renderer.picked[32, 32] == -2
    for y in (5, 6, 7):
        for dx in (-2, -1, 0, 1, 2):
            world.grid.set(x + dx, y, z + 2, palette.AIR)
    plain = renderer.render(world)[32, 32].astype(int)
    assert through[2] - through[0] > plain[2] - plain[0] + 20


@pytest.mark.parametrize("kind", ["inventory", "crafting_table", "furnace", "chest"])
def test_the_pixels_of_a_slot_change_with_its_item_and_no_others(kind):
    env = world_with({"inventory": [["stone", 3]]})
    world, hud = env.world, Hud()
    world.inventory.open(kind, None if kind == "inventory" else (1, 1, 1))
    world.inventory.cursor = (5, 5)
    window = world.inventory.window
    bottom = SCREEN[1] - 50  # the hotbar is drawn there too, behind the window
    for slot in range(len(slot_names(kind))):
        layers = []
        for stack in (None, ("diamond", 1), ("diamond", 7)):
            window.slots[slot] = stack
            layers.append(hud.draw(world))
        x, y, w, h = slot_rect(kind, slot)
        changed = (layers[1] != layers[0]).any(axis=2)
        assert changed[y : y + h, x : x + w].sum() > 40, slot
        changed[y : y + h, x : x + w] = False
        assert not changed[:bottom].any(), slot
        counted = (layers[2] != layers[1]).any(axis=2)
        assert counted[y : y + h + 1, x : x + w + 2].sum() > 8, slot
    renderer, before = Renderer(SCREEN), layers[1]
    full = renderer.render(world)
    window.slots[slot] = None
    x, y, w, h = slot_rect(kind, slot)
    assert (full != renderer.render(world))[y : y + h, x : x + w].any()
    assert (before[..., 3] > 0).all()  # the world is darkened behind


def test_the_cursor_and_what_it_carries_are_drawn_where_it_is():
    env = world_with({})
    world, renderer = env.world, Renderer(SCREEN)
    world.inventory.open("inventory")
    world.inventory.cursor = (100, 50)
    before = renderer.render(world)
    world.inventory.window.cursor = ("oak_log", 5)
    changed = (renderer.render(world) != before).any(axis=2)
    assert changed[42:60, 92:111].sum() > 80
    changed[42:62, 92:112] = False
    assert not changed.any()


def test_what_lies_over_the_world():
    env = world_with({"hand": "iron_pickaxe", "inventory": [["bread", 2]]}, hunger=True)
    world, renderer = env.world, Renderer(SCREEN)
    first = renderer.render(world)

    def differs(rect) -> bool:
        x, y, w, h = rect
        return bool((renderer.render(world) != first)[y : y + h, x : x + w].any())

    hearts, food, hotbar, hand = (229, 321, 82, 9), (330, 321, 82, 9), (229, 337, 184, 23), (400, 150, 240, 150)
    assert not differs((0, 0, *SCREEN))
    world.health = 13.0
    assert differs(hearts)
    assert not differs(food)
    world.hunger.food = 7
    assert differs(food)
    world.inventory.selected = 4
    assert differs(hotbar)
    assert differs(hand)


def test_breaking_shows():
    env = world_with({})
    clearing(env)
    world, renderer = env.world, Renderer(SCREEN)
    world.grid.set(int(world.body.x), 6, int(world.body.z) + 2, palette.intern("white_wool"))
    pictures = []
    for progress in (0.0, 0.35, 0.85):
        world.dig.cell, world.dig.progress = (int(world.body.x), 6, int(world.body.z) + 2), progress
        pictures.append(renderer.render(world)[100:260, 240:400].astype(int).sum())
    assert pictures[0] > pictures[1] > pictures[2]


def test_night_is_dark_and_a_torch_lights_it():
    env = world_with({})
    clearing(env)
    world, renderer = env.world, Renderer((128, 72))
    world.pitch = 200
    day = renderer.render(world)[:40].mean()
    world.dawn = 18000
    night = renderer.render(world)[:40].mean()
    world.grid.set(int(world.body.x) + 2, 5, int(world.body.z) + 3, palette.intern("torch"))
    lit = renderer.render(world)[:40].mean()
    assert day > 2 * night
    assert lit > 1.2 * night
    assert daylight(6000)[1] == 1.0
    assert daylight(18000)[1] == 0.0


def test_every_size_shows_the_same_screen():
    env = world_with({"mobs": [["cow", 4]]}, 3)
    large = Renderer(SCREEN).render(env.world).astype(float)
    small = Renderer((128, 72)).render(env.world).astype(float)
    means = large.reshape(72, 5, 128, 5, 3).mean(axis=(1, 3))
    assert np.abs(means - small).mean() < 12
    assert Renderer((64, 64)).render(env.world).shape == (64, 64, 3)
    assert Renderer((101, 77)).render(env.world).shape == (77, 101, 3)


def test_a_picture_depends_on_the_state_alone():
    code = """
import hashlib
from crossagent.plugin import RawTick, Task
from crossagent_craftworld import palette
from crossagent_craftworld.env import CraftWorld
palette.intern("lantern"), palette.intern("oak_stairs")  # other ids than elsewhere
env = CraftWorld(observation="both", image_size=[96, 64])
seen = env.reset(Task("t", "t", "", "craftworld", setup={"mobs": [["cow", 4]], "hand": "torch"}, max_ticks=999), 7)
for _ in range(5):
    env.interface("control").step(("w",), ("left",), (60, 30))
print(hashlib.sha256(env.observe().image.tobytes()).hexdigest())
"""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=paths, check=True).stdout
    env = world_with({"mobs": [["cow", 4]], "hand": "torch"}, 7, observation="both", image_size=[96, 64])
    saved, hash_before = env.snapshot(), env.state_hash()
    first = env.observe()
    assert env.state_hash() == hash_before
    assert first.text
    for _ in range(5):
        env.interface("control").step(("w",), ("left",), (60, 30))
    later = env.observe().image
    assert hashlib.sha256(later.tobytes()).hexdigest() == out.strip()
    env.restore(saved)
    assert (env.observe().image == first.image).all()
    assert (later != first.image).any()


def test_the_kind_of_observation_is_an_option():
    assert world_with({}).observe().image is None
    pixels = world_with({}, observation="pixels", image_size=(64, 72)).observe()
    assert pixels.text == ""
    assert pixels.image.shape == (72, 64, 3)
    for options, words in (
        ({"observation": "video"}, "observation: got 'video'; expected one of text, pixels, both"),
        ({"image_size": (63, 64)}, "image_size: got .63, 64.; expected .width, height."),
        ({"image_size": 64}, "image_size: got 64"),
        ({"image_size": [64, "x"]}, "image_size: got"),
    ):
        with pytest.raises(ValueError, match=words):
            CraftWorld(**options)


def test_every_item_block_and_mob_has_a_look_of_its_own():
    icons = {}
    for item in ITEMS:
        icon = sprites.icon(item)
        assert icon.shape == (16, 16, 4)
        assert item == "air" or (icon[..., 3] > 0).sum() >= 10, item
        icons.setdefault(icon.tobytes(), []).append(item)
    same = [names for names in icons.values() if len(names) > 1]
    assert sum(map(len, same)) < 60, same
    for name in BLOCKS:
        kind, boxes, keys = shapes.shape(palette.intern(name))
        assert kind != shapes.PARTS or boxes, name
        for key in keys:
            assert blockart.texture(key).shape == (16, 16, 4)
    missing = [kind for kind in MOBS if kind not in models._KINDS]
    assert missing == []


def test_light_falls_spreads_and_stops():
    size = (9, 6, 9)
    grid = Grid(array("H", bytes(2 * 9 * 6 * 9)), size)
    for x in range(9):
        for z in range(9):
            grid.set(x, 4, z, palette.intern("stone"))
            grid.set(x, 0, z, palette.intern("stone"))
    for y in range(1, 4):
        for i in range(9):
            for x, z in ((0, i), (8, i), (i, 0), (i, 8)):
                grid.set(x, y, z, palette.intern("stone"))
    renderer = Renderer(ODD)

    def level(x, y, z):
        value = int(renderer._lighting(grid)[y + 1, z + 1, x + 1])
        return value >> 4, value & 15

    assert level(4, 5, 4) == (15, 0)
    assert level(4, 2, 4) == (0, 0)  # a closed room
    grid.set(4, 4, 4, palette.AIR)
    assert level(4, 1, 4) == (15, 0)
    assert level(6, 1, 4) == (13, 0)
    grid.set(4, 4, 4, palette.intern("stone"))
    grid.set(2, 1, 2, palette.intern("torch"))
    assert level(2, 1, 2) == (0, 14)
    assert level(5, 1, 4) == (0, 9)
    assert level(4, 4, 4) == (0, 0)


def test_tasks_of_every_kind_can_be_drawn():
    env = CraftWorld(observation="pixels", image_size=(64, 64), terrain="biomes", level=3, day_night=True, hunger=True)
    tasks = [task for task in suite().tasks() if task.solvable][::31]
    assert len({task.category for task in tasks}) == 5
    for seed, task in enumerate(tasks):
        env.reset(task, seed)
        env.tick(RawTick(("w",), ("left",), (0, 60)))
        assert env.observe().image.std() > 5, task.name


def test_building_the_environment_compiles_all_that_a_picture_needs():
    code = """
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
env = CraftWorld(observation="pixels", image_size=(64, 64))
from crossagent_craftworld.render import kernel
functions = [kernel.spread_light, kernel.entities, kernel.cast, kernel.lay_over, kernel.resize]
before = [f.signatures for f in functions]
env.reset(suite().tasks()[5], 0)
env.world.inventory.open("inventory")
env.observe()
print([f.signatures for f in functions] == before, [len(s) for s in before])
"""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=paths, check=True)
    assert out.stdout == "True [1, 1, 1, 1, 1]\n"


@pytest.mark.slow
def test_it_works_where_nothing_can_be_cached():
    code = """
import numba.core.caching as caching
caching.CacheImpl._locator_classes = []
from crossagent_craftworld.render.renderer import Renderer
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
env = CraftWorld(observation="pixels", image_size=(64, 64))
print(env.reset(suite().tasks()[5], 0).image.shape)
"""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=paths, check=True)
    assert out.stdout == "(64, 64, 3)\n"
