"""Puts a task's things into a fresh world: the player, his items, blocks and mobs within sight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crossagent_craftworld import sight
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import AIR, CODE, EMPTY, FLUID, FULL, NAMES, intern
from crossagent_craftworld.physics import overlaps_blocks
from crossagent_craftworld.world import World
from crossagent_minecraft_data.items import stack_size

NEAR, FAR = 3.0, 8.0
"""Distance of a target whose set-up names none."""
_SIDE = 120.0
"""Degrees to either side within which things are put."""
_ATTEMPTS = 60


def prepare(world: World, setup: Mapping[str, Any], quantum: int) -> None:
    """Set a fresh world up for a task; everything random comes from the world's generator.

    Keys: ``hand`` (item held), ``inventory`` ([[item, count], …] in random slots), ``blocks`` and ``mobs``
    ([[name, distance], …]), ``target_block`` with ``support`` (what it stands on) and ``distance``, ``resistance``
    (level of the effect), ``goal`` (read by the environment).
    """
    _spawn(world, quantum)
    hand = setup.get("hand")
    if hand:
        world.inventory.own[world.inventory.selected] = (hand, 1)
    _fill(world, setup.get("inventory", ()))
    world.resistance = int(setup.get("resistance", 0))
    for name, distance in setup.get("blocks", ()):
        _put_block(world, name, None, float(distance), quantum)
    if setup.get("target_block"):
        away = float(setup.get("distance", world.rng.uniform(NEAR, FAR)))
        _put_block(world, setup["target_block"], setup.get("support"), away, quantum)
    for name, distance in setup.get("mobs", ()):
        _put_mob(world, name, float(distance) if distance else world.rng.uniform(NEAR, FAR), quantum)


def _spawn(world: World, quantum: int) -> None:
    sx, _, sz = world.scene.size
    while True:
        x, z = sx // 2 + world.rng.randint(-4, 4), sz // 2 + world.rng.randint(-4, 4)
        y = world.surface(x, z)
        if NAMES[world.grid.get(x, y, z)] == "grass_block" and all(
            world.grid.get(x + i, y + up, z + k) == AIR for up in (1, 2, 3) for i in (-1, 0, 1) for k in (-1, 0, 1)
        ):
            break
    world.body.x, world.body.y, world.body.z = x + 0.5, y + 1.0, z + 0.5
    world.fell_from = world.body.y
    world.yaw = (world.rng.randrange(2400 // quantum) * quantum) - 1200


def _fill(world: World, stacks: Any) -> None:
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


def _put_block(world: World, name: str, support: str | None, distance: float, quantum: int) -> None:
    state = intern(name)
    spots = _spots(world, distance)
    for last, cell in enumerate(spots, 1):
        x, y, z = cell
        before, under = world.grid.get(*cell), world.grid.get(x, y - 1, z)
        world.grid.set(*cell, state)
        if support:
            world.grid.set(x, y - 1, z, intern(support))
            world.hidden |= {(x, y - 1, z)}
        if last == len(spots) or any(t.cell == cell for t in sight.things(world, quantum)):
            return
        world.grid.set(*cell, before)
        if support:
            world.grid.set(x, y - 1, z, under)
            world.hidden -= {(x, y - 1, z)}


def _put_mob(world: World, kind: str, distance: float, quantum: int) -> None:
    for last, (x, y, z) in enumerate(spots := _spots(world, distance), 1):
        mob = world.add_mob(kind, x + 0.5, float(y), z + 0.5)
        free = not overlaps_blocks(world.grid, mob.body.box())
        if last == len(spots) or (free and any(t.mob is mob for t in sight.things(world, quantum))):
            return
        world.mobs.remove(mob)
        world.next_ident -= 1
        world.moved += 1
    world.add_mob(kind, world.body.x, world.body.y, world.body.z + 2.0)
