"""Bodies that move through the grid: the player and land mobs. Minecraft 1.16.5, float64, one call is one tick.

Order and constants follow the reference traces this package is tested against (prismarine-physics 1.11.1 where it is
vanilla; where it is not, in water and on slime, vanilla's own rules): keys → acceleration → swept collisions y, x, z → step → gravity and drag.
"""

from __future__ import annotations

import math
from math import floor

from crossagent_craftworld.grid import Cell, Grid
from crossagent_craftworld.palette import BOXES, CLIMB, CODE, EMPTY, FLUID, FULL, NAMES, SLIP
from crossagent_minecraft_data.blocks import Box

GRAVITY = 0.08
VERTICAL_DRAG = 0.9800000190734863
JUMP = 0.41999998688697815
STANDING_VY = -GRAVITY * VERTICAL_DRAG
"""Vertical velocity of a body at rest on the ground."""
STEP = 0.6
_CUTOFF = 0.003
_SURFACE = 8 / 9
"""Height of a fluid's surface in its cell, when no more of it lies above."""
_WADE = 0.4
"""In water no deeper than this one jumps from the ground."""
_SLOW = ("soul_sand", "honey_block")


class Body:
    """A box that moves. Position is the centre of its feet; velocities in blocks per tick."""

    __slots__ = (
        "half", "height", "hit_wall", "in_lava", "in_water", "in_web", "jump_wait", "on_ground", "squeezed", "step",
        "vx", "vy", "vz", "x", "y", "z",
    )  # fmt: skip

    def __init__(self, x: float, y: float, z: float, width: float = 0.6, height: float = 1.8) -> None:
        self.x, self.y, self.z = x, y, z
        self.vx, self.vy, self.vz = 0.0, STANDING_VY, 0.0
        self.half, self.height, self.step = width / 2, height, STEP
        self.on_ground = True
        self.hit_wall = False
        """Collided horizontally in the last tick."""
        self.squeezed = False
        """Collided vertically in the last tick."""
        self.in_water = self.in_lava = self.in_web = False
        self.jump_wait = 0

    def save(self) -> tuple[float, ...]:
        """Return everything that changes, for :meth:`load`."""
        return (
            self.x, self.y, self.z, self.vx, self.vy, self.vz, self.on_ground, self.hit_wall, self.squeezed,
            self.in_water, self.in_lava, self.in_web, self.jump_wait, self.height,
        )  # fmt: skip

    def load(self, state: tuple[float, ...]) -> None:
        """Go back to a :meth:`save`."""
        (
            self.x, self.y, self.z, self.vx, self.vy, self.vz, self.on_ground, self.hit_wall, self.squeezed,
            self.in_water, self.in_lava, self.in_web, self.jump_wait, self.height,
        ) = state  # type: ignore[assignment]  # fmt: skip

    def box(self) -> Box:
        """Return its bounding box."""
        h = self.half
        return (self.x - h, self.y, self.z - h, self.x + h, self.y + self.height, self.z + h)

    def in_cell(self, cell: Cell) -> bool:
        """Return whether it reaches into a cell."""
        x, y, z = cell
        h = self.half
        return (
            self.x + h > x and self.x - h < x + 1 and self.y + self.height > y and self.y < y + 1
            and self.z + h > z and self.z - h < z + 1
        )  # fmt: skip


def boxes_in(grid: Grid, x0: float, y0: float, z0: float, x1: float, y1: float, z1: float) -> list[Box]:
    """Return the collision boxes of all cells touched by a box and of the layer below it (fences are 1.5 high)."""
    out: list[Box] = []
    for x, y, z, state in grid.filled(floor(x0), floor(y0) - 1, floor(z0), floor(x1), floor(y1), floor(z1)):
        code = CODE[state]
        if code == FULL:
            out.append((x, y, z, x + 1, y + 1, z + 1))
        elif code != EMPTY:
            for a, b, c, d, e, f in BOXES[state]:
                out.append((x + a, y + b, z + c, x + d, y + e, z + f))
    return out


def _slide_y(boxes: list[Box], b: tuple[float, ...], d: float) -> float:
    x0, y0, z0, x1, y1, z1 = b
    for p0, q0, r0, p1, q1, r1 in boxes:
        if p1 > x0 and p0 < x1 and r1 > z0 and r0 < z1:
            if d > 0.0 and q0 >= y1:
                d = min(q0 - y1, d)
            elif d < 0.0 and q1 <= y0:
                d = max(q1 - y0, d)
    return d


def _slide_x(boxes: list[Box], b: tuple[float, ...], d: float) -> float:
    x0, y0, z0, x1, y1, z1 = b
    for p0, q0, r0, p1, q1, r1 in boxes:
        if q1 > y0 and q0 < y1 and r1 > z0 and r0 < z1:
            if d > 0.0 and p0 >= x1:
                d = min(p0 - x1, d)
            elif d < 0.0 and p1 <= x0:
                d = max(p1 - x0, d)
    return d


def _slide_z(boxes: list[Box], b: tuple[float, ...], d: float) -> float:
    x0, y0, z0, x1, y1, z1 = b
    for p0, q0, r0, p1, q1, r1 in boxes:
        if p1 > x0 and p0 < x1 and q1 > y0 and q0 < y1:
            if d > 0.0 and r0 >= z1:
                d = min(r0 - z1, d)
            elif d < 0.0 and r1 <= z0:
                d = max(r1 - z0, d)
    return d


def _shift(b: Box, dx: float, dy: float, dz: float) -> Box:
    return (b[0] + dx, b[1] + dy, b[2] + dz, b[3] + dx, b[4] + dy, b[5] + dz)


def _around(grid: Grid, b: Box, dx: float, dy: float, dz: float) -> list[Box]:
    return boxes_in(
        grid,
        b[0] + min(dx, 0.0), b[1] + min(dy, 0.0), b[2] + min(dz, 0.0),
        b[3] + max(dx, 0.0), b[4] + max(dy, 0.0), b[5] + max(dz, 0.0),
    )  # fmt: skip


def _guard_edge(grid: Grid, box: Box, dx: float, dz: float) -> tuple[float, float]:
    """Shorten a sneaking step until something is underneath; the reference looks one layer below the feet."""

    def empty(ex: float, ez: float) -> bool:
        b = _shift(box, ex, 0.0, ez)
        return not boxes_in(grid, *b)

    def less(d: float) -> float:
        return 0.0 if -0.05 <= d < 0.05 else d - 0.05 if d > 0 else d + 0.05

    while dx != 0.0 and empty(dx, 0.0):
        dx = less(dx)
    while dz != 0.0 and empty(0.0, dz):
        dz = less(dz)
    while dx != 0.0 and dz != 0.0 and empty(dx, dz):
        dx, dz = less(dx), less(dz)
    return dx, dz


def move(body: Body, grid: Grid, sneak: bool = False) -> None:
    """Move a body by its velocity against the blocks: collisions, steps, ground flag, sticky blocks."""
    dx, dy, dz = body.vx, body.vy, body.vz
    if body.in_web:
        dx, dy, dz = dx * 0.25, dy * 0.05, dz * 0.25
        body.vx = body.vy = body.vz = 0.0
        body.in_web = False
    start = body.box()
    if sneak and body.on_ground:
        dx, dz = _guard_edge(grid, start, dx, dz)
    want_x, want_y, want_z = dx, dy, dz
    near = _around(grid, start, dx, dy, dz)
    box = start
    if near:
        dy = _slide_y(near, box, dy)
        box = _shift(box, 0.0, dy, 0.0)
        if dx:
            dx = _slide_x(near, box, dx)
            box = _shift(box, dx, 0.0, 0.0)
        if dz:
            dz = _slide_z(near, box, dz)
            box = _shift(box, 0.0, 0.0, dz)
        if (dx != want_x or dz != want_z) and (body.on_ground or (dy != want_y and want_y < 0.0)):
            box, dx, dy, dz = _step_up(grid, body.step, start, box, (dx, dy, dz), want_x, want_z)
    else:
        box = _shift(box, dx, dy, dz)
    body.x, body.y, body.z = box[0] + body.half, box[1], box[2] + body.half
    body.hit_wall = dx != want_x or dz != want_z
    body.squeezed = dy != want_y
    body.on_ground = body.squeezed and want_y < 0.0
    if dx != want_x:
        body.vx = 0.0
    if dz != want_z:
        body.vz = 0.0
    if body.squeezed:
        below = NAMES[grid.get(floor(body.x), floor(body.y - 0.2), floor(body.z))]
        body.vy = -body.vy if below == "slime_block" and not sneak else 0.0
        if body.vy and body.on_ground and body.vy < 0.1:  # slime under one's steps
            body.vx *= 0.4 + body.vy * 0.2
            body.vz *= 0.4 + body.vy * 0.2
    _stick(body, grid, box)


def _step_up(
    grid: Grid, height: float, start: Box, stopped: Box, got: tuple[float, float, float], want_x: float, want_z: float
) -> tuple[Box, float, float, float]:
    """Try the same motion ``height`` higher, two ways; keep it when it goes farther than ``got``."""
    near = _around(grid, start, want_x, height, want_z)
    wide = (
        start[0] + min(got[0], 0.0), start[1], start[2] + min(got[2], 0.0),
        start[3] + max(got[0], 0.0), start[4], start[5] + max(got[2], 0.0),
    )  # fmt: skip
    best: tuple[float, Box, float, float, float] | None = None
    for probe in (wide, start):
        up = _slide_y(near, probe, height)
        box = _shift(start, 0.0, up, 0.0)
        dx = _slide_x(near, box, want_x)
        box = _shift(box, dx, 0.0, 0.0)
        dz = _slide_z(near, box, want_z)
        box = _shift(box, 0.0, 0.0, dz)
        far = dx * dx + dz * dz
        if best is None or not best[0] > far:
            best = (far, box, dx, up, dz)
    assert best is not None
    far, box, dx, up, dz = best
    down = _slide_y(near, box, -up)
    box = _shift(box, 0.0, down, 0.0)
    if got[0] * got[0] + got[2] * got[2] >= far:
        return stopped, *got
    return box, dx, down, dz


def _stick(body: Body, grid: Grid, box: Box) -> None:
    """Webs around the body catch it; soul sand and honey slow it: around its feet, else half a block below them."""
    if not grid.sticky:
        return
    if _touches(grid, box, "cobweb"):
        body.in_web = True
    x, z = floor(body.x), floor(body.z)
    if NAMES[grid.get(x, floor(body.y), z)] in _SLOW or NAMES[grid.get(x, floor(body.y - 0.5000001), z)] in _SLOW:
        body.vx *= 0.4
        body.vz *= 0.4


def _within(grid: Grid, box: Box, inset: float, inset_y: float) -> list[tuple[int, int, int, int]]:
    return grid.filled(
        floor(box[0] + inset), floor(box[1] + inset_y), floor(box[2] + inset),
        floor(box[3] - inset), floor(box[4] - inset_y), floor(box[5] - inset),
    )  # fmt: skip


def _touches(grid: Grid, box: Box, name: str) -> bool:
    cells = _within(grid, box, 0.001, 0.001)
    return bool(cells) and any(NAMES[cell[3]] == name for cell in cells)


def _in_fluid(grid: Grid, box: Box, inset: float, inset_y: float, fluid: int) -> bool:
    cells = _within(grid, box, inset, inset_y)
    return bool(cells) and any(FLUID[cell[3]] == fluid for cell in cells)


def depth(grid: Grid, box: Box) -> float:
    """Return how far water rises above the bottom of a box, 0 when it touches none. Vanilla since 1.13."""
    most, low = 0.0, box[1] + 0.001
    for x, y, z, state in _within(grid, box, 0.001, 0.001):
        if FLUID[state] == 1:
            top = y + (1.0 if FLUID[grid.get(x, y + 1, z)] == 1 else _SURFACE)
            if top >= low:
                most = max(most, top - low)
    return most


def submerged(grid: Grid, x: float, y: float, z: float) -> bool:
    """Return whether an eye at a point is under water."""
    y -= 0.11111111
    cell = (floor(x), floor(y), floor(z))
    if FLUID[grid.get(*cell)] != 1:
        return False
    return FLUID[grid.get(cell[0], cell[1] + 1, cell[2])] == 1 or cell[1] + _SURFACE > y


def climbing(body: Body, grid: Grid) -> bool:
    """Return whether the feet are in a ladder or a vine."""
    return CLIMB[grid.get(floor(body.x), floor(body.y), floor(body.z))]


def tick(
    body: Body,
    grid: Grid,
    yaw_sin: float = 0.0,
    yaw_cos: float = 1.0,
    forward: float = 0.0,
    strafe: float = 0.0,
    *,
    jump: bool = False,
    sprint: bool = False,
    sneak: bool = False,
    speed: float = 0.1,
    dive: float | None = None,
) -> None:
    """Advance one tick.

    Args:
        body: what moves; changed in place.
        grid: what it moves through.
        yaw_sin: sine of the vanilla yaw (0 looks along +z, 90° along -x).
        yaw_cos: its cosine.
        forward: 1 forward, -1 back, before the factor 0.98.
        strafe: 1 right, -1 left.
        jump: jump key held.
        sprint: sprinting in this tick (a flag, not the key: who may sprint is the caller's rule).
        sneak: sneaking in this tick.
        speed: movement speed attribute.
        dive: of a swimmer (flat in the water, sprinting), the y of the unit vector he looks along; None of all others.
    """
    box = body.box()
    body.in_water = body.in_lava = False
    water = 0.0
    if _within(grid, box, 0.0, 0.0):  # most bodies stand in air
        water = depth(grid, box)
        body.in_water = water > 0.0
        body.in_lava = _in_fluid(grid, box, 0.1, 0.4, 2)
    if -_CUTOFF < body.vx < _CUTOFF:
        body.vx = 0.0
    if -_CUTOFF < body.vy < _CUTOFF:
        body.vy = 0.0
    if -_CUTOFF < body.vz < _CUTOFF:
        body.vz = 0.0
    wet = body.in_water or body.in_lava
    if jump:
        if body.jump_wait > 0:
            body.jump_wait -= 1
        if wet and (body.in_lava or not body.on_ground or water > _WADE):
            body.vy += 0.04
        elif body.on_ground and body.jump_wait == 0:
            honey = NAMES[grid.get(floor(body.x), floor(body.y - 0.5000001), floor(body.z))] == "honey_block"
            body.vy = JUMP * (0.5 if honey else 1.0)
            if sprint:
                body.vx -= yaw_sin * 0.2
                body.vz += yaw_cos * 0.2
            body.jump_wait = 10
    else:
        body.jump_wait = 0
    if sneak and body.in_water:
        body.vy -= 0.04
    forward *= 0.98
    strafe *= 0.98
    if sneak:
        forward *= 0.3
        strafe *= 0.3
    if wet:
        if dive is not None and (
            dive <= 0.0 or jump or FLUID[grid.get(floor(body.x), floor(body.y + 0.9), floor(body.z))]
        ):
            body.vy += (dive - body.vy) * (0.085 if dive < -0.2 else 0.06)
        _swim(body, grid, yaw_sin, yaw_cos, forward, strafe, sneak, sprint)
        return
    if body.on_ground:
        drag = SLIP[grid.get(floor(body.x), floor(body.y - 1.0), floor(body.z))] * 0.91
        accel = speed * (1.3 if sprint else 1.0) * (0.1627714 / (drag * drag * drag))
    else:
        drag = 0.91
        accel = 0.026 if sprint else 0.02
    _push(body, yaw_sin, yaw_cos, forward, strafe, accel)
    ladder = climbing(body, grid)
    if ladder:
        body.vx = min(max(body.vx, -0.15), 0.15)
        body.vz = min(max(body.vz, -0.15), 0.15)
        body.vy = max(body.vy, 0.0 if sneak else -0.15)
    move(body, grid, sneak)
    if (body.hit_wall or jump) and climbing(body, grid):
        body.vy = 0.2
    body.vy = (body.vy - GRAVITY) * VERTICAL_DRAG
    body.vx *= drag
    body.vz *= drag


def _push(body: Body, yaw_sin: float, yaw_cos: float, forward: float, strafe: float, accel: float) -> None:
    length = math.sqrt(forward * forward + strafe * strafe)
    if length < 0.01:
        return
    scale = accel / max(length, 1.0)
    body.vx -= (strafe * yaw_cos + forward * yaw_sin) * scale
    body.vz += (forward * yaw_cos - strafe * yaw_sin) * scale


def _swim(
    body: Body, grid: Grid, yaw_sin: float, yaw_cos: float, forward: float, strafe: float, sneak: bool, sprint: bool
) -> None:
    """Water and lava: weak push, strong drag, slow sinking (none for a sprinter), a hop out at a bank."""
    before = body.y
    inertia, gravity = (0.8, 0.005) if body.in_water else (0.5, 0.02)
    fast = sprint and body.in_water
    _push(body, yaw_sin, yaw_cos, forward, strafe, 0.02)
    move(body, grid, sneak)
    if body.in_water and body.hit_wall and climbing(body, grid):
        body.vy = 0.2
    body.vy = body.vy * inertia - (0.0 if fast else gravity)
    body.vx *= 0.9 if fast else inertia
    body.vz *= 0.9 if fast else inertia
    if body.hit_wall:
        hop = _shift(body.box(), body.vx, body.vy + 0.6 - body.y + before, body.vz)
        if not any(_overlap(hop, b) for b in boxes_in(grid, *hop)) and not _wet(grid, hop):
            body.vy = 0.3


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[3] and a[3] > b[0] and a[1] < b[4] and a[4] > b[1] and a[2] < b[5] and a[5] > b[2]


def _wet(grid: Grid, box: Box) -> bool:
    return _in_fluid(grid, box, 0.0, 0.0, 1) or _in_fluid(grid, box, 0.0, 0.0, 2)


def overlaps_blocks(grid: Grid, box: Box) -> bool:
    """Return whether a box is inside any block."""
    return any(_overlap(box, b) for b in boxes_in(grid, *box))
