"""Puts a task's things into a fresh world: the player, his items, blocks and mobs within sight."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from crossagent_craftworld import levels, sight
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import AIR, CODE, EMPTY, FLUID, FULL, NAMES, REPLACEABLE, intern
from crossagent_craftworld.physics import overlaps_blocks
from crossagent_craftworld.world import World
from crossagent_minecraft_data.entities import SWIMMERS
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.placements import placements

NEAR, FAR = 3.0, 8.0
"""Distance of a target whose set-up names none."""
_SIDE = 120.0
"""Degrees to either side within which things are put."""
_ATTEMPTS = 60
_LEVELLED = 500
"""After so many attempts to find a place to begin, one is made."""
_GROUNDS = ("grass_block", "sand")


def prepare(world: World, setup: Mapping[str, Any], quantum: int, level: int = 1) -> None:
    """Set a fresh world up for a task; everything random comes from the world's generator.

    Keys: ``hand`` (item held), ``inventory`` ([[item, count], …] in random slots), ``blocks`` and ``mobs``
    ([[name, distance], …]), ``target_block`` with ``support`` (what it stands on) and ``distance``, ``resistance``
    (level of the effect), ``time`` (of the day, in ticks after sunrise), ``goal`` (read by the environment).
    At level 2 the target is farther and other things lie about; at level 3 it is in another room.
    """
    _spawn(world, quantum)
    world.dawn = int(setup.get("time", 0))
    hand = setup.get("hand")
    if hand:
        world.inventory.own[world.inventory.selected] = (hand, 1)
    fill(world, setup.get("inventory", ()))
    world.resistance = int(setup.get("resistance", 0))
    if level > 1:
        levels.furnish(world, setup, level, quantum)
        return
    for name, distance in setup.get("blocks", ()):
        put_block(world, name, None, float(distance), quantum)
    if setup.get("target_block"):
        away = float(setup.get("distance", world.rng.uniform(NEAR, FAR)))
        put_block(world, setup["target_block"], setup.get("support"), away, quantum)
    for name, distance in setup.get("mobs", ()):
        put_mob(world, name, float(distance) if distance else world.rng.uniform(NEAR, FAR), quantum)


def _spawn(world: World, quantum: int) -> None:
    sx, _, sz = world.scene.size
    for attempt in itertools.count():
        x, z = sx // 2 + world.rng.randint(-4, 4), sz // 2 + world.rng.randint(-4, 4)
        y = world.surface(x, z)
        around = [(x + i, y + up, z + k) for up in (1, 2, 3) for i in (-1, 0, 1) for k in (-1, 0, 1)]
        if attempt > _LEVELLED:  # steep or overgrown: make room
            for cell in around:
                world.grid.set(*cell, AIR)
        if NAMES[world.grid.get(x, y, z)] in _GROUNDS and all(world.grid.get(*cell) == AIR for cell in around):
            break
    world.body.x, world.body.y, world.body.z = x + 0.5, y + 1.0, z + 0.5
    world.fell_from = world.body.y
    world.yaw = (world.rng.randrange(2400 // quantum) * quantum) - 1200


def fill(world: World, stacks: Any) -> None:
    """Put [[item, count], …] into random slots, most of them in the hotbar or the first row."""
    own = world.inventory.own
    for item, count in stacks:
        while count > 0:
            part = min(count, stack_size(item))
            free = [i for i in range(36) if own[i] is None and i != world.inventory.selected]
            if not free:
                return
            # most things lie in the hotbar or the first row, as in a player's inventory
            near = [i for i in free if i < 18] or free
            own[world.rng.choice(near)] = (item, part)
            count -= part


def _free_column(world: World, x: int, z: int) -> Cell | None:
    """Return the cell on top of a column where something may stand: full dry ground, air above."""
    y = world.surface(x, z)
    if y < 0 or abs(y + 1 - world.body.y) > 2.5 or y + 3 >= world.scene.size[1]:
        return None
    ground = world.grid.get(x, y, z)
    if CODE[ground] != FULL or FLUID[ground] or NAMES[ground].endswith(("_leaves", "_log")):
        return None
    for up in (1, 2):
        above = world.grid.get(x, y + up, z)
        if CODE[above] != EMPTY or FLUID[above]:
            return None
    if abs(x + 0.5 - world.body.x) < 1.3 and abs(z + 0.5 - world.body.z) < 1.3:
        return None
    return x, y + 1, z


def _spots(world: World, distance: float) -> list[Cell]:
    """Return free cells about ``distance`` away at random bearings, better ones first."""
    spots = []
    for attempt in range(_ATTEMPTS):
        bearing = math.radians(world.yaw * 0.15 + world.rng.uniform(-_SIDE, _SIDE))
        away = max(2.0, distance * (1.0 - 0.5 * attempt / _ATTEMPTS) + world.rng.uniform(-0.5, 0.5))
        x = math.floor(world.body.x - math.sin(bearing) * away)
        z = math.floor(world.body.z + math.cos(bearing) * away)
        cell = _free_column(world, x, z)
        if cell is not None:
            spots.append(cell)
            if len(spots) >= 12:
                break
    return spots


def put_block(world: World, name: str, support: str | None, distance: float, quantum: int) -> None:
    """Put a block, with what it stands or hangs on, about that far away where the player sees it."""
    ways = placements(name, support)
    spots = _spots(world, distance)
    tries = [(spot, parts) for spot in spots for parts in sorted(ways, key=lambda p: _hides(world, spot, p))]
    for last, ((x, y, z), parts) in enumerate(tries, 1):
        cells = [(x + dx, y + dy, z + dz) for (dx, dy, dz), _ in parts]
        if last < len(tries) and any(c[1] >= y and not _free(world, c) for c in cells):
            continue
        before = [world.grid.get(*cell) for cell in cells]
        for cell, (_, state) in zip(cells, parts, strict=True):
            world.grid.set(*cell, intern(state))
        # what the set-up changed in the ground, or put behind a thing, is no landmark
        hidden = frozenset(c for c, (_, state) in zip(cells, parts, strict=True) if state != parts[0][1])
        world.hidden |= hidden
        if last == len(tries) or any(t.cell == cells[0] for t in sight.things(world, quantum)):
            return
        for cell, state_before in zip(cells, before, strict=True):
            world.grid.set(*cell, state_before)
        world.hidden -= hidden


def _hides(world: World, spot: Cell, parts: list[tuple[Cell, str]]) -> float:
    """Return how far the blocks behind a target stand on the player's side of it."""
    dx, dz = world.body.x - spot[0] - 0.5, world.body.z - spot[2] - 0.5
    return sum(x * dx + z * dz for (x, _, z), _ in parts)


def _free(world: World, cell: Cell) -> bool:
    return world.grid.index(*cell) >= 0 and REPLACEABLE[world.grid.get(*cell)]


def put_mob(world: World, kind: str, distance: float, quantum: int) -> None:
    """Put a mob about that far away where the player sees it; what swims with a pool."""
    swims = kind in SWIMMERS
    for last, (x, y, z) in enumerate(spots := _spots(world, distance), 1):
        if swims:
            undo = dig_pool(world, x, y - 1, z)
            y -= 1
        mob = world.add_mob(kind, x + 0.5, float(y), z + 0.5)
        free = not overlaps_blocks(world.grid, mob.body.box())
        if last == len(spots) or (free and any(t.mob is mob for t in sight.things(world, quantum))):
            return
        if swims:
            for cell, state in undo:
                world.grid.set(*cell, state)
        world.mobs.remove(mob)
        world.next_ident -= 1
        world.moved += 1
    world.add_mob(kind, world.body.x, world.body.y, world.body.z + 2.0)


def dig_pool(world: World, x: int, y: int, z: int) -> list[tuple[Cell, int]]:
    """Fill a square of 3 × 3 cells with water, one deep, on sand, open above; return what was there."""
    before: list[tuple[Cell, int]] = []
    for i, k in itertools.product((-1, 0, 1), repeat=2):
        for up, name in ((-1, "sand"), (0, "water"), (1, "air"), (2, "air")):
            cell = (x + i, y + up, z + k)
            before.append((cell, world.grid.get(*cell)))
            world.grid.set(*cell, intern(name))
        world.hidden |= {(x + i, y - 1, z + k)}
    return before
