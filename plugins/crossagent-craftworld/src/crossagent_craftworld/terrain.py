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

from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import AIR, intern
from crossagent_craftworld.rng import WorldRandom

HEIGHT = 20
GROUND = 7
"""Mean y of the topmost ground block."""
_CLEAR = 6.5
"""Nothing large within this distance of the middle, where episodes begin."""
_BIOMES: tuple[tuple[str, tuple[str, ...]], ...] = (
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


class _Builder:
    def __init__(self, size: Cell, rng: WorldRandom) -> None:
        self.size, self.rng = size, rng
        self.blocks = array("H", bytes(2 * size[0] * size[1] * size[2]))
        self.surface = [GROUND] * (size[0] * size[2])
        self.features: dict[int, list[Cell]] = {}

    def put(self, x: int, y: int, z: int, state: int, feature: bool = False) -> None:
        sx, sy, sz = self.size
        if not (0 <= x < sx and 0 <= y < sy and 0 <= z < sz):
            return
        index = (y * sz + z) * sx + x
        if feature and self.blocks[index] != AIR:
            return
        self.blocks[index] = state
        if feature:
            self.features.setdefault(state, []).append((x, y, z))

    def height(self, x: int, z: int) -> int:
        return self.surface[z * self.size[0] + x]

    def spot(self, margin: int, clear: float) -> tuple[int, int]:
        """Return a column away from the border and from the middle."""
        sx, _, sz = self.size
        while True:
            x, z = self.rng.randrange(margin, sx - margin), self.rng.randrange(margin, sz - margin)
            if math.hypot(x - sx // 2, z - sz // 2) >= clear:
                return x, z

    def ground(self) -> None:
        sx, _, sz = self.size
        waves = [
            (self.rng.uniform(0.06, 0.14), self.rng.uniform(0, math.tau), self.rng.uniform(0, math.tau))
            for _ in range(3)
        ]
        stone, dirt, grass, bedrock = intern("stone"), intern("dirt"), intern("grass_block"), intern("bedrock")
        for z in range(sz):
            for x in range(sx):
                lift = sum(math.cos(f * (x * math.cos(a) + z * math.sin(a)) * math.tau / 2 + p) for f, a, p in waves)
                top = GROUND + round(0.38 * lift)
                self.surface[z * sx + x] = top
                self.put(x, 0, z, bedrock)
                for y in range(1, top - 2):
                    self.put(x, y, z, stone)
                self.put(x, top - 2, z, dirt)
                self.put(x, top - 1, z, dirt)
                self.put(x, top, z, grass)

    def pool(self) -> None:
        """Water one block deep in a bed of sand."""
        cx, cz = self.spot(6, _CLEAR + 4)
        level = self.height(cx, cz)
        sand, water = intern("sand"), intern("water")
        for z in range(cz - 4, cz + 5):
            for x in range(cx - 4, cx + 5):
                r = math.hypot(x - cx, z - cz)
                if r <= 4.2:
                    for y in range(level + 1, HEIGHT):
                        self.put(x, y, z, AIR)
                    self.put(x, level, z, water if r <= 2.6 else sand)
                    self.put(x, level - 1, z, sand)
                    self.surface[z * self.size[0] + x] = level

    def outcrop(self) -> None:
        """A heap of stone with ores on its face."""
        cx, cz = self.spot(5, _CLEAR + 2)
        stone, coal, iron = intern("stone"), intern("coal_ore"), intern("iron_ore")
        for z in range(cz - 2, cz + 3):
            for x in range(cx - 2, cx + 3):
                r = math.hypot(x - cx, z - cz)
                for up in range(1, (3 if r < 1.3 else 2 if r < 2.3 else 1) + (r < 0.5)):
                    roll = self.rng.random()
                    ore = coal if roll < 0.2 else iron if roll < 0.3 else stone
                    self.put(x, self.height(x, z) + up, z, ore, feature=True)

    def tree(self, wood: str) -> None:
        x, z = self.spot(4, _CLEAR)
        ground = self.height(x, z)
        if self.blocks[(ground * self.size[2] + z) * self.size[0] + x] != intern("grass_block"):
            return
        if any(math.hypot(x - a, z - b) < 4 for cells in self.features.values() for a, _, b in cells):
            return
        log, leaves = intern(f"{wood}_log"), intern(f"{wood}_leaves")
        tall = self.rng.randint(4, 5)
        for up in range(1, tall + 1):
            self.put(x, ground + up, z, log, feature=True)
        for up, radius in ((tall - 1, 2), (tall, 1), (tall + 1, 1)):
            for dz in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    if abs(dx) + abs(dz) <= radius + (radius > 1):
                        self.put(x + dx, ground + up, z + dz, leaves, feature=True)

    def plants(self, kind: str, count: int) -> None:
        for _ in range(count):
            x, z = self.spot(2, 4)
            y = self.height(x, z)
            if self.blocks[(y * self.size[2] + z) * self.size[0] + x] == intern("grass_block"):
                self.put(x, y + 1, z, intern(kind), feature=True)


@functools.lru_cache(maxsize=256)
def scene(index: int, width: int = 48) -> Scene:
    """Return scene ``index``; equal arguments give an equal scene in any process."""
    rng = WorldRandom(0x5CE4E * (index + 1))
    build = _Builder((width, HEIGHT, width), rng)
    wood, flowers = _BIOMES[rng.randrange(len(_BIOMES))]
    build.ground()
    build.pool()
    build.outcrop()
    for _ in range(4):
        build.tree(wood)
    build.plants(flowers[rng.randrange(len(flowers))], 4)
    build.plants("grass", 6)
    return Scene(
        name=f"{width}:{index}",
        size=build.size,
        blocks=build.blocks,
        surface=tuple(build.surface),
        features=MappingProxyType({state: tuple(cells) for state, cells in build.features.items()}),
    )


Marks = tuple[NDArray[np.float64], list[Cell], list[int]]
"""Middles [n, 3], cells and state ids of what an observation may name."""


def marks_of(scene: Scene) -> Marks:
    """Return the landmarks of a landscape."""
    rows = [(cell, state) for state, cells in scene.features.items() for cell in cells]
    middles = np.array([cell for cell, _ in rows], dtype=np.float64).reshape(-1, 3) + 0.5
    return middles, [cell for cell, _ in rows], [state for _, state in rows]


@functools.lru_cache(maxsize=256)
def marks(name: str) -> Marks:
    """Return the landmarks of the landscape of this name."""
    width, index = (int(part) for part in name.split(":"))
    return marks_of(scene(index, width))
