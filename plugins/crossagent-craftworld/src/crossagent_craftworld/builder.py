"""Blocks of a landscape being made, and the parts all landscapes share."""

from __future__ import annotations

import math
from array import array

from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import AIR, NAMES, intern
from crossagent_craftworld.rng import WorldRandom

HEIGHT = 20
GROUND = 7
"""Mean y of the topmost ground block."""
CLEAR = 6.5
"""Nothing large within this distance of the middle, where episodes begin."""


class Builder:
    """A box of blocks with the height of its ground, and what stands on it."""

    def __init__(self, size: Cell, rng: WorldRandom) -> None:
        self.size, self.rng = size, rng
        self.blocks = array("H", bytes(2 * size[0] * size[1] * size[2]))
        self.surface = [GROUND] * (size[0] * size[2])
        self.features: dict[int, list[Cell]] = {}
        """State id → cells of the things that stand on the ground."""

    def put(self, x: int, y: int, z: int, state: int, feature: bool = False) -> None:
        """Put a state into a cell; a feature only where there is air."""
        sx, sy, sz = self.size
        if not (0 <= x < sx and 0 <= y < sy and 0 <= z < sz):
            return
        index = (y * sz + z) * sx + x
        if feature and self.blocks[index] != AIR:
            return
        self.blocks[index] = state
        if feature:
            self.features.setdefault(state, []).append((x, y, z))

    def replace(self, x: int, y: int, z: int, state: int) -> None:
        """Put a state where a feature is; it is one in its place, unless it is air."""
        for cells in self.features.values():
            if (x, y, z) in cells:
                cells.remove((x, y, z))
                break
        self.put(x, y, z, AIR)
        if state != AIR:
            self.put(x, y, z, state, feature=True)

    def is_at(self, x: int, y: int, z: int, name: str) -> bool:
        """Return whether a block of that name is in a cell."""
        sx, sy, sz = self.size
        inside = 0 <= x < sx and 0 <= y < sy and 0 <= z < sz
        return inside and NAMES[self.blocks[(y * sz + z) * sx + x]] == name

    def near_feature(self, x: int, z: int, reach: float) -> bool:
        """Return whether anything stands within a distance of a column."""
        return any(math.hypot(x - a, z - b) < reach for cells in self.features.values() for a, _, b in cells)

    def height(self, x: int, z: int) -> int:
        """Return the y of the topmost ground block of a column, of the nearest one when it lies outside."""
        sx, _, sz = self.size
        return self.surface[min(max(z, 0), sz - 1) * sx + min(max(x, 0), sx - 1)]

    def set_height(self, x: int, z: int, y: int) -> None:
        """Say where the ground of a column now ends."""
        self.surface[z * self.size[0] + x] = y

    def level(self, x0: int, z0: int, x1: int, z1: int, y: int, ground: str) -> None:
        """Make the ground even."""
        top, soil = intern(ground), intern("dirt")
        for z in range(max(z0, 0), min(z1, self.size[2] - 1) + 1):
            for x in range(max(x0, 0), min(x1, self.size[0] - 1) + 1):
                for up in range(self.height(x, z) + 1, y):
                    self.put(x, up, z, soil)
                for up in range(y + 1, HEIGHT):
                    if not self.is_at(x, up, z, "air"):
                        self.replace(x, up, z, AIR)
                self.put(x, y, z, top)
                self.set_height(x, z, y)

    def spot(self, margin: int, clear: float) -> tuple[int, int]:
        """Return a column away from the border and from the middle."""
        sx, _, sz = self.size
        while True:
            x, z = self.rng.randrange(margin, sx - margin), self.rng.randrange(margin, sz - margin)
            if math.hypot(x - sx // 2, z - sz // 2) >= clear:
                return x, z

    def ground(self, ground: str = "grass_block", soil: str = "dirt", relief: float = 0.38) -> None:
        """Lay ground in gentle waves over stone."""
        sx, _, sz = self.size
        waves = [
            (self.rng.uniform(0.06, 0.14), self.rng.uniform(0, math.tau), self.rng.uniform(0, math.tau))
            for _ in range(3)
        ]
        stone, dirt, grass, bedrock = intern("stone"), intern(soil), intern(ground), intern("bedrock")
        for z in range(sz):
            for x in range(sx):
                lift = sum(math.cos(f * (x * math.cos(a) + z * math.sin(a)) * math.tau / 2 + p) for f, a, p in waves)
                top = GROUND + round(relief * lift)
                self.surface[z * sx + x] = top
                self.put(x, 0, z, bedrock)
                for y in range(1, top - 2):
                    self.put(x, y, z, stone)
                self.put(x, top - 2, z, dirt)
                self.put(x, top - 1, z, dirt)
                self.put(x, top, z, grass)

    def plants(self, kind: str, count: int, ground: str = "grass_block") -> None:
        """Put single plants on the ground."""
        for _ in range(count):
            x, z = self.spot(2, 4)
            y = self.height(x, z)
            if self.is_at(x, y, z, ground):
                self.put(x, y + 1, z, intern(kind), feature=True)
