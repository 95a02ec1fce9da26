"""Landscapes with biomes: each scene is one of them, with its trees, plants and pool, a cliff of ores, now and then a hamlet.

Taken with ``terrain: biomes``, and by long tasks: every scene has wood, stone, coal and iron to be seen from some way off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from crossagent_craftworld.builder import CLEAR, HEIGHT, Builder
from crossagent_craftworld.palette import AIR, intern


@dataclass(frozen=True, slots=True)
class Biome:
    """What grows where."""

    ground: str
    soil: str
    woods: tuple[str, ...]
    trees: int
    plants: tuple[tuple[str, int], ...]
    """(block, how many)"""
    bank: str = "sand"
    cover: str = ""
    """What lies on the ground."""
    frozen: bool = False
    relief: float = 0.4
    """Blocks of height per wave."""
    hamlet: bool = False


BIOMES: dict[str, Biome] = {
    "plains": Biome("grass_block", "dirt", ("oak",), 3, (("grass", 14), ("dandelion", 3), ("poppy", 3)), hamlet=True),
    "forest": Biome("grass_block", "dirt", ("oak", "birch"), 8, (("grass", 6), ("lilac", 2), ("rose_bush", 2))),
    "dark_forest": Biome("grass_block", "dirt", ("dark_oak",), 7, (("red_mushroom", 3), ("brown_mushroom", 3))),
    "taiga": Biome("grass_block", "dirt", ("spruce",), 8, (("fern", 8), ("sweet_berry_bush", 3)), bank="gravel"),
    "jungle": Biome("grass_block", "dirt", ("jungle",), 8, (("melon", 2), ("bamboo", 5), ("fern", 6)), relief=0.7),
    "savanna": Biome("grass_block", "dirt", ("acacia",), 5, (("grass", 16), ("tall_grass", 6)), hamlet=True),
    "desert": Biome("sand", "sandstone", ("acacia",), 2, (("cactus", 4), ("dead_bush", 5)), hamlet=True),
    "snowy_tundra": Biome("grass_block", "dirt", ("spruce",), 4, (), cover="snow", frozen=True),
    "swamp": Biome("grass_block", "dirt", ("oak",), 5, (("blue_orchid", 4), ("brown_mushroom", 2)), bank="clay"),
    "hills": Biome("grass_block", "dirt", ("spruce", "oak"), 4, (("grass", 6), ("azure_bluet", 3)), relief=1.2),
}
# Ores in the face of the cliff: share of its blocks, and the lowest of them are the rarer ones.
_ORES = (("coal_ore", 0.16), ("iron_ore", 0.12), ("gold_ore", 0.03), ("redstone_ore", 0.03), ("lapis_ore", 0.02))
_DEEP = (("diamond_ore", 0.02), ("iron_ore", 0.03), ("coal_ore", 0.03))
_LEAST = {"coal_ore": 4, "iron_ore": 5}
"""What every cliff has at least, at its foot and in sight."""


def build(index: int, build_: Builder) -> str:
    """Fill a builder with scene ``index``; return the name of its biome."""
    names = sorted(BIOMES)
    name = names[index % len(names)]
    biome = BIOMES[name]
    build_.ground(biome.ground, biome.soil, biome.relief)
    _ores_below(build_)
    pool(build_, biome)
    cliff(build_)
    if biome.hamlet and index % 2 == 0:
        hamlet(build_, biome)
    for n in range(biome.trees):
        tree(build_, biome.woods[n % len(biome.woods)], biome.ground)
    for plant, count in biome.plants:
        build_.plants(plant, count, biome.ground)
    build_.plants("sugar_cane", 3, biome.bank)
    if name == "swamp":
        build_.plants("lily_pad", 3, "water")
    if biome.cover:
        _cover(build_, biome)
    return name


def _ores_below(b: Builder) -> None:
    stone = intern("stone")
    for z in range(b.size[2]):
        for x in range(b.size[0]):
            for y in range(1, b.height(x, z) - 2):
                roll = b.rng.random()
                for ore, share in _DEEP:
                    if roll < share:
                        b.put(x, y, z, intern(ore))
                        break
                    roll -= share
                else:
                    b.put(x, y, z, stone)


def pool(b: Builder, biome: Biome) -> None:
    """Water up to two deep, with banks."""
    cx, cz = b.spot(6, CLEAR + 4)
    level = b.height(cx, cz)
    water, bank, ice = intern("water"), intern(biome.bank), intern("ice")
    for z in range(cz - 5, cz + 6):
        for x in range(cx - 5, cx + 6):
            r = math.hypot(x - cx, z - cz)
            if r <= 5.2 and 0 <= x < b.size[0] and 0 <= z < b.size[2]:
                for y in range(level + 1, HEIGHT):
                    b.put(x, y, z, AIR)
                wet = r <= 3.6
                b.put(x, level, z, (ice if biome.frozen else water) if wet else bank)
                b.put(x, level - 1, z, water if r <= 2.2 else bank)
                b.put(x, level - 2, z, bank)
                b.set_height(x, z, level)


def cliff(b: Builder) -> None:
    """A hill of stone with ores in its faces, four blocks high and steep."""
    cx, cz = b.spot(7, CLEAR + 5)
    faces: list[tuple[int, int, int]] = []
    for z in range(cz - 5, cz + 6):
        for x in range(cx - 5, cx + 6):
            r = math.hypot(x - cx, z - cz) + b.rng.uniform(-0.4, 0.4)
            tall = 4 if r < 2.5 else 3 if r < 3.6 else 2 if r < 4.4 else 1 if r < 5 else 0
            for up in range(1, tall + 1):
                y = b.height(x, z) + up
                roll, block = b.rng.random(), "stone"
                for ore, share in _ORES:
                    if roll < share:
                        block = ore
                        break
                    roll -= share
                b.put(x, y, z, intern(block), feature=True)
                if r > 3.2 and up <= 2:
                    faces.append((x, y, z))
    for ore, least in _LEAST.items():
        for _ in range(least):
            if faces:
                b.replace(*faces.pop(b.rng.randrange(len(faces))), intern(ore))


def tree(b: Builder, wood: str, ground: str) -> None:
    """One tree in the shape of its wood, with a trunk that can be reached."""
    x, z = b.spot(4, CLEAR)
    y = b.height(x, z)
    if not b.is_at(x, y, z, ground) or b.near_feature(x, z, 4):
        return
    log, leaves = intern(f"{wood}_log"), intern(f"{wood}_leaves")
    tall = b.rng.randint(4, 5) + (wood in ("spruce", "jungle"))
    if ground == "sand":
        b.put(x, y, z, intern("grass_block"))  # a patch of earth, as in a desert's hamlet
    for up in range(1, tall + 1):
        b.put(x, y + up, z, log, feature=True)
    crown: dict[str, tuple[tuple[int, int], ...]] = {
        "spruce": ((tall - 2, 2), (tall - 1, 1), (tall, 1), (tall + 1, 0)),
        "acacia": ((tall, 3), (tall + 1, 2)),
        "jungle": ((tall - 1, 2), (tall, 2), (tall + 1, 1)),
    }
    for up, radius in crown.get(wood, ((tall - 1, 2), (tall, 1), (tall + 1, 1))):
        for dz in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if abs(dx) + abs(dz) <= radius + (radius > 1):
                    b.put(x + dx, y + up, z + dz, leaves, feature=True)
    if wood == "jungle":
        b.put(x, y + 2, z + 1, intern("cocoa[facing=north]"), feature=True)


def _cover(b: Builder, biome: Biome) -> None:
    cover, ground = intern(biome.cover), biome.ground
    for z in range(b.size[2]):
        for x in range(b.size[0]):
            y = b.height(x, z)
            away = math.hypot(x - b.size[0] / 2, z - b.size[2] / 2) > CLEAR  # one begins on bare ground
            if away and b.is_at(x, y, z, ground) and b.is_at(x, y + 1, z, "air") and b.rng.random() < 0.6:
                b.put(x, y + 1, z, cover)


def hamlet(b: Builder, biome: Biome) -> None:
    """A house with what a house has, a field, and the blocks villagers work at."""
    x0, z0 = b.spot(9, CLEAR + 5)
    wall = "sandstone" if biome.ground == "sand" else "cobblestone"
    planks = f"{biome.woods[0]}_planks"
    level = b.height(x0, z0)
    b.level(x0 - 1, z0 - 1, x0 + 14, z0 + 6, level, biome.ground)
    for x in range(x0, x0 + 6):
        for z in range(z0, z0 + 6):
            edge = x in (x0, x0 + 5) or z in (z0, z0 + 5)
            b.put(x, level, z, intern(planks))
            for up in (1, 2, 3):
                if edge:
                    b.put(x, level + up, z, intern(wall), feature=True)
            b.put(x, level + 4, z, intern(planks), feature=True)
    for up in (1, 2):
        b.replace(x0 + 2, level + up, z0, AIR)
    b.replace(x0 + 5, level + 2, z0 + 2, intern("glass"))
    inside = ("crafting_table", "furnace", "chest", "bookshelf")
    for i, name in enumerate(inside):
        b.put(x0 + 1 + i, level + 1, z0 + 4, intern(name), feature=True)
    b.put(x0 + 1, level + 1, z0 + 2, intern("torch"), feature=True)
    for i, name in enumerate(("composter", "hay_block", "stonecutter", "smithing_table", "bell")):
        b.put(x0 + 7 + i, level + 1, z0 + 5, intern(name), feature=True)
    crops = ("wheat[age=7]", "carrots[age=7]", "potatoes[age=7]")
    for i in range(6):
        for k in range(3):
            if i == 3:
                b.put(x0 + 7 + i, level, z0 + k, intern("water"))
            else:
                b.put(x0 + 7 + i, level, z0 + k, intern("farmland"))
                b.put(x0 + 7 + i, level + 1, z0 + k, intern(crops[k]), feature=True)
