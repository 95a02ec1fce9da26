"""Make the pictures of docs/craftworld.md, every screen and some scenes: python docs/images/craftworld.py [NAME …].

Everything is seeded; the same code writes the same files.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from crossagent.plugin import RawTick, Task
from crossagent_craftworld import palette
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.furnace import Furnace
from crossagent_craftworld.render.renderer import Renderer
from crossagent_craftworld.shots import Shot
from crossagent_craftworld.suite import suite
from crossagent_craftworld.world import World

HERE = Path(__file__).parent / "craftworld"
BAG = [
    ["oak_planks", 40],
    ["stick", 7],
    ["cobblestone", 64],
    ["iron_ore", 5],
    ["coal", 12],
    ["bread", 3],
    ["torch", 13],
]
NOON, DUSK, NIGHT = 6000, 12400, 17500


def start(task: str | None = None, seed: int = 0, setup: dict | None = None, **options: object) -> World:
    """Return the world of a task, or of a set-up of our own, after a moment."""
    env = CraftWorld(**options)  # type: ignore[arg-type]
    chosen = suite().get(task) if task is not None else Task("picture", "", "", "craftworld", setup=setup or {})
    env.reset(chosen, seed)
    for _ in range(4):
        env.tick(RawTick())
    world = env.world
    world.dawn = world.dawn or NOON
    return world


def look_at(world: World, x: float, y: float, z: float) -> None:
    """Turn to a point."""
    ex, ey, ez = world.eye()
    flat = math.hypot(x - ex, z - ez)
    world.yaw = round(math.degrees(math.atan2(ex - x, z - ez)) / 0.15)
    world.pitch = round(-math.degrees(math.atan2(y - ey, flat)) / 0.15)
    world.moved += 1


def ground(world: World, x: int, z: int) -> int:
    """Return the y on which one stands in a column."""
    return world.surface(x, z) + 1


def put(world: World, x: int, y: int, z: int, *states: str) -> None:
    """Pile states up from a cell."""
    for up, state in enumerate(states):
        world.grid.set(x, y + up, z, palette.intern(state))


def meet(world: World, *kinds: str, away: float = 5.0, seed: float = 0.0) -> None:
    """Let mobs stand in a row before the player, facing him."""
    sin, cos = world.yaw_sin_cos()
    for i, kind in enumerate(kinds):
        across = (i - (len(kinds) - 1) / 2) * 2.1
        x, z = world.body.x - sin * away + cos * across, world.body.z + cos * away + sin * across
        mob = world.add_mob(kind, x, ground(world, math.floor(x), math.floor(z)), z)
        mob.yaw = math.atan2(-(world.body.x - x), world.body.z - z) + 0.25 * math.sin(seed + i)


# -- screens --------------------------------------------------------------------------------------------------------
def window(kind: str) -> World:
    """Return a world with a window open and something going on in it."""
    world = start(setup={"hand": "iron_axe", "inventory": BAG}, seed=5)
    at = (20, 8, 20)
    if kind == "furnace":
        fire = world.inventory.furnaces[at] = Furnace()
        fire.burn, fire.burn_total, fire.progress = 1000, 1600, 120
    world.inventory.open(kind, None if kind == "inventory" else at)  # type: ignore[arg-type]
    slots = world.inventory.window.slots  # type: ignore[union-attr]
    if kind == "inventory":
        slots[5], slots[1], slots[0] = ("iron_helmet", 1), ("oak_log", 3), ("oak_planks", 4)
        world.inventory.window.cursor = ("cobblestone", 32)  # type: ignore[union-attr]
    elif kind == "crafting_table":
        for cell in (1, 2, 3):
            slots[cell] = ("oak_planks", 1)
        slots[5] = slots[8] = ("stick", 1)
        slots[0] = ("wooden_pickaxe", 1)
    elif kind == "furnace":
        slots[:3] = [("iron_ore", 5), ("coal", 3), ("iron_ingot", 2)]
    else:
        things = ("golden_apple", "diamond", "oak_sapling", "arrow", "bow", "emerald", "cake", "book", "saddle")
        for i, thing in enumerate(things):
            slots[(i * 4 + i // 3) % 27] = (thing, 1 + i % 4)
    world.inventory.cursor = (372, 196)
    return world


def screen_world() -> World:
    """The first screen: the world with its bars."""
    world = start("mine_block:oak_log", 2, hunger=True)
    world.health = 17.0
    world.hunger.food = 15  # type: ignore[union-attr]
    return world


# -- scenes ---------------------------------------------------------------------------------------------------------
def meadow() -> World:
    """Animals by day."""
    world = start(setup={}, seed=4)
    meet(world, "cow", "sheep", "pig", "chicken", away=5.5)
    return world


def dusk() -> World:
    """What comes out in the evening."""
    world = start(setup={"hand": "diamond_sword"}, seed=7)
    world.dawn, world.health = DUSK, 11.0
    meet(world, "skeleton", "zombie", "creeper", "spider", away=5.0)
    return world


def night() -> World:
    """Torches, stars, an enderman."""
    world = start(setup={"hand": "torch"}, seed=3)
    world.dawn = NIGHT
    sin, cos = world.yaw_sin_cos()
    for ahead, across in ((3.0, -1.6), (5.0, 2.0), (8.0, -3.0)):
        x, z = (
            math.floor(world.body.x - sin * ahead + cos * across),
            math.floor(world.body.z + cos * ahead + sin * across),
        )
        put(world, x, ground(world, x, z), z, "torch")
    meet(world, "enderman", away=7)
    return world


def digging() -> World:
    """Ores, and one being dug."""
    world = start("mine_block:diamond_ore", 1)
    x, z = math.floor(world.body.x), math.floor(world.body.z)
    y = ground(world, x, z)
    for dx in range(-3, 4):
        ores = ("stone", "coal_ore", "iron_ore", "diamond_ore", "gold_ore", "redstone_ore", "lapis_ore")
        put(world, x + dx, y, z + 3, "stone", ores[dx + 3], ores[(2 * dx + 5) % 7], "stone")
    put(world, x, y + 1, z + 3, "diamond_ore")
    look_at(world, x + 0.5, y + 1.5, z + 3)
    world.dig.cell, world.dig.progress, world.time = (x, y + 1, z + 3), 0.55, 2
    return world


def pool() -> World:
    """Water with lilies, sugar cane and fish."""
    world = start(setup={}, seed=11)
    x, z = math.floor(world.body.x), math.floor(world.body.z)
    y = ground(world, x, z) - 1
    for dx in range(-5, 6):
        for dz in range(2, 10):
            edge = abs(dx) == 5 or dz in (2, 9)
            for up in range(1, 8):
                put(world, x + dx, y + up, z + dz, "air")
            put(world, x + dx, y - 2, z + dz, "gravel", "sand" if edge else "water", "sand" if edge else "water")
    for dx, dz, plant in ((-3, 4, "lily_pad"), (2, 6, "lily_pad"), (3, 5, "lily_pad")):
        put(world, x + dx, y + 1, z + dz, plant)
    for dx in (-5, 5):
        put(world, x + dx, y + 1, z + 4, "sugar_cane", "sugar_cane", "sugar_cane")
    look_at(world, x + 0.5, y, z + 6)
    world.add_mob("cod", x - 1.0, y - 0.6, z + 4.5).yaw = 1.2
    world.add_mob("salmon", x + 1.5, y - 0.5, z + 5.0).yaw = -0.7
    return world


def under_water() -> World:
    """In that pool."""
    world = pool()
    world.body.y -= 2.0
    world.body.z += 3.5
    world.body.in_water = True
    world.air = 190
    look_at(world, world.body.x, world.body.y + 1.2, world.body.z + 5)
    world.add_mob("squid", world.body.x + 1.4, world.body.y + 0.6, world.body.z + 3.4)
    return world


def workshop() -> World:
    """A room with everything one works at."""
    world = start(setup={"hand": "iron_ingot", "inventory": BAG}, seed=6)
    x, z = math.floor(world.body.x), math.floor(world.body.z)
    y = ground(world, x, z)
    for dx in range(-4, 5):
        for dz in range(-2, 7):
            wall = abs(dx) == 4 or dz in (-2, 6)
            put(
                world,
                x + dx,
                y - 1,
                z + dz,
                "oak_planks",
                *(("stone_bricks",) * 4 if wall else ("air",) * 4),
                "spruce_planks",
            )
    for dx in (-2, 2):
        put(world, x + dx, y + 1, z + 6, "glass_pane", "glass_pane")
    row = ("chest[facing=north]", "crafting_table", "furnace[facing=north,lit=true]", "bookshelf", "anvil")
    for dx, state in zip(range(-2, 3), row, strict=True):
        put(world, x + dx, y, z + 5, state)
    put(world, x - 3, y, z + 3, "enchanting_table")
    put(world, x + 3, y, z + 3, "barrel", "lantern")
    put(world, x - 3, y, z + 5, "bookshelf", "torch")
    look_at(world, x + 0.5, y + 1.0, z + 5)
    return world


def farm() -> World:
    """Crops, a fence, a villager."""
    world = start(setup={"hand": "iron_hoe"}, seed=9)
    x, z = math.floor(world.body.x), math.floor(world.body.z)
    y = ground(world, x, z)
    rows = ("hay_block", "wheat[age=7]", "carrots[age=7]", "potatoes[age=7]", "beetroots[age=3]", "melon", "pumpkin")
    for dx in range(-5, 6):
        for dz in range(2, 9):
            kind = rows[(dx + 5) * 7 // 11]
            put(world, x + dx, y - 1, z + dz, "farmland", kind if dx or dz % 2 else "air", *("air",) * 4)
    for dx in range(-6, 7):
        put(world, x + dx, y - 1, z + 9, "grass_block", "oak_fence", "air")
    meet(world, "villager", away=6)
    look_at(world, x + 0.5, y + 0.3, z + 6)
    return world


def nether() -> World:
    """Blocks of the nether, as tasks place them."""
    world = start(setup={"hand": "golden_sword"}, seed=10)
    x, z = math.floor(world.body.x), math.floor(world.body.z)
    y = ground(world, x, z)
    for dx in range(-8, 9):
        for dz in range(-2, 13):
            floor = ("netherrack", "soul_sand", "crimson_nylium", "netherrack", "nether_gold_ore")[
                (dx * 3 + dz * 5) % 5
            ]
            wall = "nether_bricks" if abs(dx) == 8 or dz in (-2, 12) else None
            put(
                world,
                x + dx,
                y - 1,
                z + dz,
                floor,
                *((wall or "air",) * 6),
                "glowstone" if (dx + dz) % 4 == 0 else "netherrack",
            )
    for dx, dz, state in (
        (-3, 5, "fire"),
        (-4, 6, "fire"),
        (4, 7, "magma_block"),
        (3, 4, "nether_wart"),
        (5, 5, "crimson_fungus"),
    ):
        put(world, x + dx, y, z + dz, state)
    for dx in (-6, -5, -4):
        put(world, x + dx, y - 1, z + 9, "lava")
    for up in range(5):
        put(world, x + 5, y + up, z + 10, "obsidian")
        put(world, x + 2, y + up, z + 10, "obsidian")
    for dx in (3, 4):
        put(world, x + dx, y, z + 10, "obsidian", "nether_portal", "nether_portal", "nether_portal", "obsidian")
    world.dawn = NIGHT
    look_at(world, x + 0.5, y + 1.2, z + 6)
    meet(world, "zombified_piglin", "blaze", away=6.5)
    return world


def forest() -> World:
    """A task in the biomes."""
    return start("mine_block:spruce_log", 5, terrain="biomes")


def hamlet() -> World:
    """A house with its field, in the first biomes that have one with room before it."""
    for seed in range(100):
        world = start(setup={}, seed=seed, terrain="biomes")
        bells = [c for state, cells in world.scene.features.items() if palette.NAMES[state] == "bell" for c in cells]
        if bells and bells[0][2] > 14:
            x, y, z = bells[0]
            column = (x - 3, z - 12)
            world.body.x, world.body.z = column[0] + 0.5, column[1] + 0.5
            world.body.y = ground(world, *column)
            look_at(world, x - 6.0, y + 1.0, z - 3.0)
            meet(world, "villager", away=6)
            return world
    raise RuntimeError("no seed has a hamlet")


def shooting() -> World:
    """What flies."""
    world = start(setup={"hand": "shield"}, seed=13)
    meet(world, "skeleton", "witch", away=7)
    sin, cos = world.yaw_sin_cos()
    for away, across, kind in ((3.0, -0.7, "arrow"), (4.2, 0.9, "potion"), (5.0, -1.4, "arrow")):
        at = (world.body.x - sin * away + cos * across, world.body.y + 1.5, world.body.z + cos * away + sin * across)
        world.shots.append(Shot(kind, at, (0.9 * sin, 0.05, -0.9 * cos), 2.0))
    return world


PICTURES: dict[str, Callable[[], World]] = {
    "screen-world": screen_world,
    "screen-inventory": lambda: window("inventory"),
    "screen-crafting-table": lambda: window("crafting_table"),
    "screen-furnace": lambda: window("furnace"),
    "screen-chest": lambda: window("chest"),
    "meadow": meadow,
    "dusk": dusk,
    "night": night,
    "digging": digging,
    "pool": pool,
    "under-water": under_water,
    "workshop": workshop,
    "farm": farm,
    "nether": nether,
    "forest": forest,
    "hamlet": hamlet,
    "shooting": shooting,
}


def main() -> None:
    """Write the pictures named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}")
    parser.add_argument("--to", type=Path, default=HERE, help="the folder (default: beside this file)")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    for name in args.names or PICTURES:
        picture = Image.fromarray(Renderer().render(PICTURES[name]()))
        # 256 colours: a third of the size
        picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            args.to / f"{name}.png", optimize=True
        )
        print(f"wrote {args.to / name}.png")


if __name__ == "__main__":
    main()
