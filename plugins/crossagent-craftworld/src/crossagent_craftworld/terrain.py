"""Scenes: small seeded landscapes, generated once per process and shared by all episodes that play in them."""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld import biomes
from crossagent_craftworld.builder import CLEAR, HEIGHT, Builder
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import AIR, STICKY, intern
from crossagent_craftworld.rng import WorldRandom

TERRAINS = ("plains", "biomes")
_PLAINS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("oak", ("dandelion", "poppy")),
    ("birch", ("oxeye_daisy", "cornflower")),
    ("spruce", ("fern", "poppy")),
    ("dark_oak", ("lily_of_the_valley", "azure_bluet")),
    ("oak", ("orange_tulip", "allium")),
    ("birch", ("dandelion", "blue_orchid")),
)


@dataclass(frozen=True)
class Scene:
    """One landscape. Cells are (x, y, z) from (0, 0, 0); nothing in it ever changes."""

    name: str
    size: Cell
    blocks: array[int]
    """[y, z, x] state ids."""
    surface: tuple[int, ...]
    """[z, x] y of the topmost ground block."""
    features: Mapping[int, tuple[Cell, ...]]
    """State id → cells of the things that stand on the ground: what an observation may name."""
    sticky: bool = True
    """Whether there may be webs, soul sand or honey in it."""


def _pool(b: Builder) -> None:
    """Water one block deep in a bed of sand."""
    cx, cz = b.spot(6, CLEAR + 4)
    level = b.height(cx, cz)
    sand, water = intern("sand"), intern("water")
    for z in range(cz - 4, cz + 5):
        for x in range(cx - 4, cx + 5):
            r = math.hypot(x - cx, z - cz)
            if r <= 4.2:
                for y in range(level + 1, HEIGHT):
                    b.put(x, y, z, AIR)
                b.put(x, level, z, water if r <= 2.6 else sand)
                b.put(x, level - 1, z, sand)
                b.surface[z * b.size[0] + x] = level


def _outcrop(b: Builder) -> None:
    """A heap of stone with ores on its face."""
    cx, cz = b.spot(5, CLEAR + 2)
    stone, coal, iron = intern("stone"), intern("coal_ore"), intern("iron_ore")
    for z in range(cz - 2, cz + 3):
        for x in range(cx - 2, cx + 3):
            r = math.hypot(x - cx, z - cz)
            for up in range(1, (3 if r < 1.3 else 2 if r < 2.3 else 1) + (r < 0.5)):
                roll = b.rng.random()
                ore = coal if roll < 0.2 else iron if roll < 0.3 else stone
                b.put(x, b.height(x, z) + up, z, ore, feature=True)


def _tree(b: Builder, wood: str) -> None:
    x, z = b.spot(4, CLEAR)
    ground = b.height(x, z)
    if b.blocks[(ground * b.size[2] + z) * b.size[0] + x] != intern("grass_block"):
        return
    if b.near_feature(x, z, 4):
        return
    log, leaves = intern(f"{wood}_log"), intern(f"{wood}_leaves")
    tall = b.rng.randint(4, 5)
    for up in range(1, tall + 1):
        b.put(x, ground + up, z, log, feature=True)
    for up, radius in ((tall - 1, 2), (tall, 1), (tall + 1, 1)):
        for dz in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if abs(dx) + abs(dz) <= radius + (radius > 1):
                    b.put(x + dx, ground + up, z + dz, leaves, feature=True)


@functools.lru_cache(maxsize=256)
def scene(index: int, width: int = 48, terrain: str = "plains") -> Scene:
    """Return scene ``index`` of a kind of terrain; equal arguments give an equal scene in any process."""
    rng = WorldRandom(0x5CE4E * (index + 1))
    build = Builder((width, HEIGHT, width), rng)
    if terrain == "biomes":
        biomes.build(index, build)
    else:
        _plains(build)
    return Scene(
        name=f"{width}:{index}" if terrain == "plains" else f"{width}:{index}:{terrain}",
        size=build.size,
        blocks=build.blocks,
        surface=tuple(build.surface),
        sticky=any(STICKY[state] for state in set(build.blocks)),
        features=MappingProxyType({state: tuple(cells) for state, cells in build.features.items()}),
    )


def named(name: str) -> Scene:
    """Return the scene of a :attr:`Scene.name`."""
    width, index, *terrain = name.split(":")
    return scene(int(index), int(width), *terrain)


Marks = tuple[NDArray[np.float64], list[Cell], list[int]]
"""Middles [n, 3], cells and state ids of what an observation may name."""


def marks_of(scene: Scene) -> Marks:
    """Return the landmarks of a landscape."""
    rows = [(cell, state) for state, cells in scene.features.items() for cell in cells]
    middles = np.array([cell for cell, _ in rows], dtype=np.float64).reshape(-1, 3) + 0.5
    return middles, [cell for cell, _ in rows], [state for _, state in rows]


@functools.lru_cache(maxsize=256)
def marks(name: str) -> Marks:
    """Return the landmarks of the scene of a :attr:`Scene.name`."""
    return marks_of(named(name))


def _plains(build: Builder) -> None:
    rng = build.rng
    wood, flowers = _PLAINS[rng.randrange(len(_PLAINS))]
    build.ground()
    _pool(build)
    _outcrop(build)
    for _ in range(4):
        _tree(build, wood)
    build.plants(flowers[rng.randrange(len(flowers))], 4)
    build.plants("grass", 6)
