"""What the player can see from where he stands, and the mouse movement that would aim at it.

Looks all around, not only ahead: a thing is visible when nothing stands between it and the eye. Bearings are mouse
movements rounded to the quantum, exactly those the motor controller makes.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from crossagent_craftworld.grid import Cell, ray_boxes
from crossagent_craftworld.mobs import Mob
from crossagent_craftworld.palette import AIR, NAMES, OUTLINES
from crossagent_craftworld.world import TURN, World

RANGE = 24.0
_NEAR = 6.0
"""Up to here a block counts as visible only when the rounded movement really puts the crosshair on it."""
_FAR = 10.0
"""Beyond this a block counts as visible only by its middle."""
_WIDE = 1.5
"""Half width of mobs that are aimed at where they are nearest."""
_TRIES = 3
"""Cells of one kind that are looked at, nearest first."""
_PIXELS_PER_RADIAN = TURN / math.tau


class Thing(NamedTuple):
    """Something visible."""

    name: str
    """Block or mob name; ``drop_`` and the item for a stack on the ground."""
    kind: str
    """``block``, ``mob`` or ``drop``."""
    dx: int
    """Mouse pixels that aim at it, a multiple of the quantum, not clipped."""
    dy: int
    distance: float
    """From the eye to where the ray enters it, in blocks."""
    cell: Cell
    """The block's cell; of a mob or stack, the cell of its feet."""
    point: tuple[float, float, float]
    """Where to aim."""
    mob: Mob | None = None


def snap(pixels: float, quantum: int) -> int:
    """Round to a multiple of the quantum, halves away from zero."""
    size = math.floor(abs(pixels) / quantum + 0.5) * quantum
    return size if pixels >= 0 else -size


def settle(pixels: float, quantum: int) -> int:
    """Round to a multiple of the quantum, halves towards zero: a cursor that is as near as it gets stays."""
    size = math.ceil(abs(pixels) / quantum - 0.5) * quantum
    return size if pixels >= 0 else -size


def aim(world: World, point: tuple[float, float, float], quantum: int) -> tuple[int, int]:
    """Return the mouse movement (dx, dy) that puts a point under the crosshair, rounded to the quantum."""
    ex, ey, ez = world.eye()
    dx, dy, dz = point[0] - ex, point[1] - ey, point[2] - ez
    flat = math.hypot(dx, dz)
    yaw = math.atan2(-dx, dz) * _PIXELS_PER_RADIAN if flat > 1e-9 else float(world.yaw)
    pitch = -math.atan2(dy, flat) * _PIXELS_PER_RADIAN
    turn = (yaw - world.yaw + TURN / 2) % TURN - TURN / 2
    return snap(turn, quantum), snap(pitch - world.pitch, quantum)


@functools.cache
def _spots(state: int, faces: tuple[bool, bool]) -> tuple[tuple[float, float, float], ...]:
    """Return where to aim at a block, inside its cell: the middle of its outline, near its top, its faces to the eye.

    ``faces``: whether the eye is on the low side along x and z.
    """
    boxes = OUTLINES[state]
    x0, y0, z0 = min(b[0] for b in boxes), min(b[1] for b in boxes), min(b[2] for b in boxes)
    x1, y1, z1 = max(b[3] for b in boxes), max(b[4] for b in boxes), max(b[5] for b in boxes)
    mx, my, mz = (x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2
    near_x = x0 + 0.1 * (x1 - x0) if faces[0] else x1 - 0.1 * (x1 - x0)
    near_z = z0 + 0.1 * (z1 - z0) if faces[1] else z1 - 0.1 * (z1 - z0)
    return ((mx, my, mz), (mx, y1 - 0.1 * (y1 - y0), mz), (mx, my, near_z), (near_x, my, mz))


def block(world: World, cell: Cell, quantum: int) -> Thing | None:
    """Return a block as a visible thing, or None when it is air, hidden or out of range."""
    state = world.grid.get(*cell)
    if not OUTLINES[state]:
        return None
    ex, ey, ez = world.eye()
    cast = world.grid.cast
    x, y, z = cell
    for i, (px, py, pz) in enumerate(_spots(state, (ex < x + 0.5, ez < z + 0.5))):
        dx, dy, dz = x + px - ex, y + py - ey, z + pz - ez
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        if length > RANGE or (i and length > _FAR) or length < 1e-6:
            return None
        point = (x + px, y + py, z + pz)
        turn = None
        if length <= _NEAR:
            turn = aim(world, point, quantum)
            found = cast(ex, ey, ez, *world.view(*turn), length + 1.0)
        else:
            found = cast(ex, ey, ez, dx / length, dy / length, dz / length, length + 1.0)
        if found is not None and found[0] == cell:
            turn = turn or aim(world, point, quantum)
            return Thing(NAMES[state], "block", *turn, found[2], cell, point)
    return None


def mob(world: World, who: Mob, quantum: int) -> Thing | None:
    """Return a mob as a visible thing, or None."""
    b = who.body
    parts = [(b.x, b.y + b.height * share, b.z) for share in (0.5, 0.85, 0.15)]
    ex, ey, ez = world.eye()
    if b.half > _WIDE:  # of the largest one sees a side before the middle
        near = [min(max(e, low), high) for e, low, high in zip((ex, ey, ez), b.box()[:3], b.box()[3:], strict=True)]
        parts.insert(0, (near[0], near[1], near[2]))
    point = next((p for p in parts if world.sees(p, RANGE)), None)
    if point is None:
        return None
    length = max(1e-6, math.dist((ex, ey, ez), point))
    box = (-b.half, 0.0, -b.half, b.half, b.height, b.half)
    ray = ((point[0] - ex) / length, (point[1] - ey) / length, (point[2] - ez) / length)
    hit = ray_boxes((box,), ex - b.x, ey - b.y, ez - b.z, *ray)
    turn, tilt = aim(world, point, quantum)
    cell = (math.floor(b.x), math.floor(b.y), math.floor(b.z))
    return Thing(who.kind, "mob", turn, tilt, hit[0] if hit else length, cell, point, who)


def landmarks(world: World, quantum: int, only: str | None = None, most: int | None = None) -> list[Thing]:
    """Return the nearest visible block of each kind of landmark, nearest first: the scene's and what was put there.

    Args:
        world: where.
        quantum: of the mouse, in pixels.
        only: look for this kind alone, and at more of its cells.
        most: stop when so many kinds are found.
    """
    ex, ey, ez = world.eye()
    grid = world.grid
    middles, cells, states = world.marks()
    away = middles - np.array((ex, ey, ez))
    squares = np.einsum("ij,ij->i", away, away)
    order = np.argsort(squares, kind="stable").tolist()
    lengths = squares.tolist()
    changed = []
    for cell, state in grid.changed_cells() if grid.changes else ():
        if state != AIR and OUTLINES[state] and cell not in world.hidden:
            square = (cell[0] + 0.5 - ex) ** 2 + (cell[1] + 0.5 - ey) ** 2 + (cell[2] + 0.5 - ez) ** 2
            changed.append((square, cell, state))
    changed.sort(reverse=True)
    blocks, stride_y, stride_z = grid.blocks, grid.stride_y, grid.stride_z
    tries: dict[int, int] = {}
    found: list[Thing] = []
    budget = _TRIES if only is None else 24
    wanted = 1 if only is not None else most
    limit = RANGE * RANGE

    def enough(cell: Cell, state: int) -> bool:
        """Look at one cell; return whether that was the last thing wanted."""
        if tries.get(state, 0) >= budget or (only is not None and NAMES[state] != only):
            return False
        if blocks[cell[1] * stride_y + cell[2] * stride_z + cell[0]] != state:
            return False
        thing = block(world, cell, quantum)
        tries[state] = budget if thing is not None else tries.get(state, 0) + 1
        if thing is not None:
            found.append(thing)
        return len(found) == wanted

    for i in order:
        here = lengths[i]
        if here > limit:
            break
        while changed and changed[-1][0] <= here:
            if enough(*changed.pop()[1:]):
                return found
        state = states[i]
        if tries.get(state, 0) < budget and enough(cells[i], state):
            return found
    while changed and changed[-1][0] <= limit:
        if enough(*changed.pop()[1:]):
            break
    return found


def creatures(world: World, quantum: int) -> list[Thing]:
    """Return every visible mob and stack on the ground, nearest first."""
    found = [thing for m in world.mobs if (thing := mob(world, m, quantum)) is not None]
    for drop in world.drops:
        b = drop.body
        point = (b.x, b.y + 0.125, b.z)
        if world.sees(point, RANGE):
            cell = (math.floor(b.x), math.floor(b.y), math.floor(b.z))
            found.append(
                Thing(
                    f"drop_{drop.item}", "drop", *aim(world, point, quantum), math.dist(world.eye(), point), cell, point
                )
            )
    found.sort(key=lambda t: t.distance)
    return found


def things(world: World, quantum: int, most: int = 4) -> list[Thing]:
    """Return the nearest visible thing of each kind, nearest first, at most ``most``. Cached while nothing moves."""
    key = (world.moved, world.grid.version, world.time if world.drops else -1, quantum, most)
    cached = world.memory.get("things")
    if cached is not None and cached[0] == key:
        return list(cached[1])
    found = landmarks(world, quantum, most=most)
    names: set[str] = set()
    for thing in creatures(world, quantum):
        if thing.name not in names:
            names.add(thing.name)
            found.append(thing)
    found.sort(key=lambda t: (t.distance, t.name))
    found = found[:most]
    world.memory["things"] = (key, tuple(found))
    return found


def find(world: World, name: str, quantum: int) -> Thing | None:
    """Return the nearest visible thing of a name: mob, stack, landmark, else the ground around."""
    for thing in creatures(world, quantum):
        if thing.name == name:
            return thing
    marks = landmarks(world, quantum, only=name)
    if marks:
        return marks[0]
    x, y, z = (math.floor(c) for c in world.eye())
    cells = [
        (dx * dx + (dy + 1) * (dy + 1) + dz * dz, (x + dx, y + dy, z + dz))
        for dy in range(-4, 3)
        for dz in range(-5, 6)
        for dx in range(-5, 6)
        if NAMES[world.grid.get(x + dx, y + dy, z + dz)] == name
    ]
    cells.sort()
    return next((found for _, cell in cells[:40] if (found := block(world, cell, quantum)) is not None), None)


def every(world: World, name: str, quantum: int, most: int) -> list[Thing]:
    """Return the nearest visible blocks of a name, nearest first."""
    ex, ey, ez = world.eye()
    _, cells, states = world.marks()
    known = {cell for cell, state in zip(cells, states, strict=True) if NAMES[state] == name}
    known |= {cell for cell, state in world.grid.changed_cells() if NAMES[state] == name and cell not in world.hidden}
    order = sorted(((x + 0.5 - ex) ** 2 + (y + 0.5 - ey) ** 2 + (z + 0.5 - ez) ** 2, (x, y, z)) for x, y, z in known)
    found: list[Thing] = []
    for square, cell in order[:200]:
        if square > RANGE * RANGE or len(found) >= most:
            break
        if world.block_at(cell) == name and (thing := block(world, cell, quantum)) is not None:
            found.append(thing)
    return found


def clip(pixels: int, limit: int) -> int:
    """Return a movement cut to what one tick allows."""
    return max(-limit, min(limit, pixels))


def slot_move(world: World, slot: int, quantum: int) -> tuple[int, int]:
    """Return the mouse movement that puts the cursor on a slot of the open window."""
    dx, dy = world.inventory.slot_offset(slot)
    return settle(dx, quantum), settle(dy, quantum)
