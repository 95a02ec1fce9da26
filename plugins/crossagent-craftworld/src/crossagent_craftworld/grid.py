"""The blocks of one episode: a copy of a scene, its changes, and rays through it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from crossagent_craftworld import palette
from crossagent_craftworld.palette import AIR, BARRIER, NAMES, OPAQUE, OUTLINES, STICKY
from crossagent_minecraft_data.blocks import Box

Cell = tuple[int, int, int]
_INF = math.inf
FACES: tuple[Cell, ...] = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))


class Grid:
    """Block states in a box of cells; outside it there is air above and an invisible wall elsewhere."""

    __slots__ = ("base", "blocks", "changes", "origin", "size", "sticky", "stride_y", "stride_z", "version")

    def __init__(self, base: array[int], size: Cell, origin: Cell = (0, 0, 0), sticky: bool = True) -> None:
        """``base`` is [y, z, x] row-major state ids and is never changed; ``origin`` is the cell of its corner.

        ``sticky`` says whether there may be webs, soul sand or honey: without any, bodies need not look for them.
        """
        self.sticky = sticky
        self.base = base
        self.size = size
        self.origin = origin
        self.stride_z = size[0]
        self.stride_y = size[0] * size[2]
        self.blocks = base[:]
        self.changes: dict[int, int] = {}
        self.version = 0

    def index(self, x: int, y: int, z: int) -> int:
        """Return the flat index of a cell, -1 outside."""
        ox, oy, oz = self.origin
        x -= ox
        y -= oy
        z -= oz
        sx, sy, sz = self.size
        if 0 <= x < sx and 0 <= y < sy and 0 <= z < sz:
            return y * self.stride_y + z * self.stride_z + x
        return -1

    def get(self, x: int, y: int, z: int) -> int:
        """Return the state id at a cell."""
        ox, oy, oz = self.origin
        x -= ox
        y -= oy
        z -= oz
        sx, sy, sz = self.size
        if 0 <= x < sx and 0 <= z < sz:
            if 0 <= y < sy:
                return self.blocks[y * self.stride_y + z * self.stride_z + x]
            if y >= sy:
                return AIR
        return BARRIER

    def filled(self, x0: int, y0: int, z0: int, x1: int, y1: int, z1: int) -> list[tuple[int, int, int, int]]:
        """Return (x, y, z, state id) of every cell in a box, ends included, that is not air; by y, z, x."""
        ox, oy, oz = self.origin
        sx, sy, sz = self.size
        out: list[tuple[int, int, int, int]] = []
        if x0 < ox or z0 < oz or y0 < oy or x1 >= ox + sx or z1 >= oz + sz or y1 >= oy + sy:
            for y in range(y0, y1 + 1):
                for z in range(z0, z1 + 1):
                    for x in range(x0, x1 + 1):
                        state = self.get(x, y, z)
                        if state:
                            out.append((x, y, z, state))
            return out
        blocks, stride = self.blocks, self.stride_z
        xs = range(x0, x1 + 1)
        for y in range(y0, y1 + 1):
            start = (y - oy) * self.stride_y + (z0 - oz) * stride - ox
            for z in range(z0, z1 + 1):
                for x in xs:
                    if state := blocks[start + x]:
                        out.append((x, y, z, state))
                start += stride
        return out

    def name(self, x: int, y: int, z: int) -> str:
        """Return the block name at a cell."""
        return NAMES[self.get(x, y, z)]

    def set(self, x: int, y: int, z: int, state: int) -> None:
        """Put a state at a cell; cells outside stay as they are."""
        i = self.index(x, y, z)
        if i < 0 or self.blocks[i] == state:
            return
        self.blocks[i] = state
        if STICKY[state]:
            self.sticky = True
        if self.base[i] == state:
            self.changes.pop(i, None)
        else:
            self.changes[i] = state
        self.version += 1

    def changed_cells(self) -> list[tuple[Cell, int]]:
        """Return (cell, state id) of every cell that differs from the scene, in a fixed order."""
        ox, oy, oz = self.origin
        out = []
        for i in sorted(self.changes):
            y, rest = divmod(i, self.stride_y)
            z, x = divmod(rest, self.stride_z)
            out.append(((x + ox, y + oy, z + oz), self.changes[i]))
        return out

    def canonical(self) -> list[tuple[int, str]]:
        """Return the changes by state text, sorted: what a hash of the state needs besides the scene's name."""
        return [(i, palette.STATES[self.changes[i]]) for i in sorted(self.changes)]

    def save(self) -> dict[int, int]:
        """Return the changes, for :meth:`load`."""
        return dict(self.changes)

    def load(self, changes: dict[int, int]) -> None:
        """Go back to the blocks of a :meth:`save`."""
        if changes == self.changes:
            return
        for i in self.changes:
            if i not in changes:
                self.blocks[i] = self.base[i]
        for i, state in changes.items():
            self.blocks[i] = state
        self.changes = dict(changes)
        self.version += 1

    def cast(
        self, x: float, y: float, z: float, dx: float, dy: float, dz: float, reach: float
    ) -> tuple[Cell, Cell, float] | None:
        """Return (cell, outward normal of the face, distance) of the first outline along a unit vector, or None.

        Walks the cells the ray crosses (Amanatides & Woo 1987). Nothing outside the scene is hit.
        """
        cx, cy, cz = math.floor(x), math.floor(y), math.floor(z)
        sx, tx, stx = _axis(x, cx, dx)
        sy, ty, sty = _axis(y, cy, dy)
        sz, tz, stz = _axis(z, cz, dz)
        ox, oy, oz = self.origin
        wx, wy, wz = self.size
        blocks, stride_y, stride_z = self.blocks, self.stride_y, self.stride_z
        gx, gy, gz = cx - ox, cy - oy, cz - oz
        face: Cell = (0, 0, 0)
        t = 0.0
        while t <= reach:
            if 0 <= gx < wx and 0 <= gz < wz and 0 <= gy < wy:
                state = blocks[gy * stride_y + gz * stride_z + gx]
                if state:
                    if OPAQUE[state] and t > 0.0:
                        return (gx + ox, gy + oy, gz + oz), face, t
                    boxes = OUTLINES[state]
                    if boxes:
                        hit = ray_boxes(boxes, x - gx - ox, y - gy - oy, z - gz - oz, dx, dy, dz)
                        if hit is not None and hit[0] <= reach:
                            return (gx + ox, gy + oy, gz + oz), hit[1], hit[0]
            if tx < ty:
                if tx < tz:
                    t, gx, tx, face = tx, gx + sx, tx + stx, (-sx, 0, 0)
                else:
                    t, gz, tz, face = tz, gz + sz, tz + stz, (0, 0, -sz)
            elif ty < tz:
                t, gy, ty, face = ty, gy + sy, ty + sty, (0, -sy, 0)
            else:
                t, gz, tz, face = tz, gz + sz, tz + stz, (0, 0, -sz)
        return None


def _axis(p: float, c: int, d: float) -> tuple[int, float, float]:
    """Return (step, distance to the first boundary, distance between boundaries) along one axis."""
    if d > 1e-12:
        return 1, (c + 1 - p) / d, 1.0 / d
    if d < -1e-12:
        return -1, (c - p) / d, -1.0 / d
    return 0, _INF, _INF


def ray_boxes(
    boxes: Sequence[Box], x: float, y: float, z: float, dx: float, dy: float, dz: float
) -> tuple[float, Cell] | None:
    """Return (distance, face normal) where a ray first enters one of the boxes, or None; from inside: distance 0."""
    best: tuple[float, Cell] | None = None
    for x0, y0, z0, x1, y1, z1 in boxes:
        near, far = -_INF, _INF
        face: Cell = (0, 0, 0)
        miss = False
        for axis, (p, d, low, high) in enumerate(((x, dx, x0, x1), (y, dy, y0, y1), (z, dz, z0, z1))):
            if -1e-12 < d < 1e-12:
                if not low <= p <= high:
                    miss = True
                    break
                continue
            a, b = (low - p) / d, (high - p) / d
            step = -1
            if a > b:
                a, b, step = b, a, 1
            if a > near:
                near = a
                face = (step if axis == 0 else 0, step if axis == 1 else 0, step if axis == 2 else 0)
            far = min(far, b)
        if miss or near > far or far < 0.0:
            continue
        near = max(near, 0.0)
        if best is None or near < best[0]:
            best = (near, face)
    return best
