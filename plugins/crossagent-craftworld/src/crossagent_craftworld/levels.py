"""Levels beyond the first: other things lie about and the target is farther (2); it is in another room (3)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crossagent_craftworld import setup as plain
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import AIR, intern
from crossagent_minecraft_data.entities import MOBS, SPLITTING, SWIMMERS
from crossagent_minecraft_data.placements import placements

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

LEVELS = (1, 2, 3)
_ITEMS = (
    "apple", "arrow", "bone", "book", "bowl", "brick", "bucket", "charcoal", "clay_ball", "cobblestone", "dirt", "egg",
    "feather", "flint", "gravel", "gunpowder", "ink_sac", "leather", "paper", "poppy", "rotten_flesh", "sand", "stick",
    "string", "sugar", "torch", "wheat", "white_wool",
)  # fmt: skip
_BLOCKS = (
    "barrel", "bookshelf", "bricks", "cobblestone", "crafting_table", "hay_block", "jack_o_lantern", "melon", "oak_log",
    "pumpkin", "stone", "white_wool",
)  # fmt: skip
_MOBS = ("chicken", "cow", "pig", "rabbit", "sheep")
_FARTHER = (9.0, 14.0)
_ROOM, _WALL = 7, 3
"""Blocks inside a room along a side, and the height of its walls."""
_STUFF = ("cobblestone", "oak_planks", "bricks", "stone_bricks")


def furnish(world: World, setup: Mapping[str, Any], level: int, quantum: int) -> None:
    """Put a task's things into the world as its level says."""
    _distract(world, setup)
    things = [("block", name, setup.get("support") if i == 0 else None) for i, name in enumerate(_wanted(setup))]
    things += [("mob", name, None) for name, _ in setup.get("mobs", ())]
    if level == 2:
        for kind, name, support in things:
            away = world.rng.uniform(*_FARTHER)
            if kind == "mob":
                plain.put_mob(world, name, away + MOBS[name].width / 2, quantum)
            else:
                plain.put_block(world, name, support, away, quantum)
        avoid = {name for _, name, _ in things}
        for name in _some(world, [b for b in _BLOCKS if b not in avoid], 3):
            plain.put_block(world, name, None, world.rng.uniform(4.0, 9.0), quantum)
        for name in _some(world, [m for m in _MOBS if m not in avoid], 2):
            plain.put_mob(world, name, world.rng.uniform(5.0, 9.0), quantum)
        return
    _rooms(world, things)


def _wanted(setup: Mapping[str, Any]) -> list[str]:
    """Return the blocks a task needs, the target first."""
    target = [setup["target_block"]] if setup.get("target_block") else []
    return target + [name for name, _ in setup.get("blocks", ())]


def _some(world: World, names: list[str], count: int) -> list[str]:
    return world.rng.sample(names, min(count, len(names)))


def _distract(world: World, setup: Mapping[str, Any]) -> None:
    """Put up to five items that the task does not need among the player's own."""
    needed = {item for item, _ in setup.get("inventory", ())} | {setup.get("hand")}
    free = sum(stack is None for stack in world.inventory.own) - 2
    names = _some(world, [item for item in _ITEMS if item not in needed], min(5, free))
    plain.fill(world, [[name, 1 if name == "bucket" else world.rng.randint(1, 16)] for name in names])


def _rooms(world: World, things: list[tuple[str, str, str | None]]) -> None:
    """Build three rooms in a row, with a doorway between each two: the player in the first, the target in the last."""
    sx, _, sz = world.scene.size
    along_x, sign = world.rng.random() < 0.5, world.rng.choice((-1, 1))
    step = _ROOM + 1
    floor = int(world.body.y) - 1
    # the player's room holds the place where he is
    x0, z0 = int(world.body.x) - _ROOM // 2, int(world.body.z) - _ROOM // 2
    ends = [(x0, z0)]
    for n in (1, 2):
        ends.append((x0 + sign * step * n, z0) if along_x else (x0, z0 + sign * step * n))
    if not all(x >= 1 and x + _ROOM < sx - 1 and z >= 1 and z + _ROOM < sz - 1 for x, z in ends):
        ends = [(2 * x0 - x, 2 * z0 - z) for x, z in ends]
    wall = intern(world.rng.choice([s for s in _STUFF if s not in {name for _, name, _ in things}]))
    for x, z in ends:
        _room(world, x, floor, z, wall)
    for a, b in itertools.pairwise(ends):
        _doorway(world, a, b, floor)
    x, z = ends[2]
    inner = [(x + i, z + k) for i in range(1, _ROOM - 1) for k in range(1, _ROOM - 1)]
    world.rng.shuffle(inner)
    for kind, name, support in things:
        _put(world, kind, name, support, inner, floor + 1)
    x, z = ends[1]
    inner = [(x + i, z + k) for i in range(1, _ROOM - 1) for k in range(1, _ROOM - 1) if i != _ROOM // 2 != k]
    world.rng.shuffle(inner)
    avoid = {name for _, name, _ in things}
    for name in _some(world, [b for b in _BLOCKS if b not in avoid], 2):
        _put(world, "block", name, None, inner, floor + 1)


def _set(world: World, cell: Cell, state: int) -> None:
    """Set a cell that is no landmark."""
    world.grid.set(*cell, state)
    world.hidden |= {cell}


def _room(world: World, x0: int, floor: int, z0: int, wall: int) -> None:
    ground = intern("grass_block")
    for x in range(x0 - 1, x0 + _ROOM + 1):
        for z in range(z0 - 1, z0 + _ROOM + 1):
            edge = x in (x0 - 1, x0 + _ROOM) or z in (z0 - 1, z0 + _ROOM)
            for y in range(world.scene.surface[z * world.scene.size[0] + x], floor):
                _set(world, (x, y, z), intern("dirt"))
            _set(world, (x, floor, z), ground)
            for y in range(floor + 1, world.scene.size[1]):
                state = wall if edge and y <= floor + _WALL else AIR
                if world.grid.get(x, y, z) != state:
                    _set(world, (x, y, z), state)


def _doorway(world: World, a: tuple[int, int], b: tuple[int, int], floor: int) -> None:
    at = world.rng.randrange(1, _ROOM - 1)
    if a[1] == b[1]:
        x, z = max(a[0], b[0]) - 1, a[1] + at
    else:
        x, z = a[0] + at, max(a[1], b[1]) - 1
    for up in (1, 2):
        _set(world, (x, floor + up, z), AIR)


def _put(world: World, kind: str, name: str, support: str | None, spots: list[tuple[int, int]], y: int) -> None:
    if kind == "mob":
        x, z = spots.pop()
        if name in SWIMMERS:
            plain.dig_pool(world, x, y - 1, z)
        big = MOBS[name].width > 2 and name not in SPLITTING
        world.add_mob(name, x + 0.5, float(y - (name in SWIMMERS)) + (4.0 if big else 0.0), z + 0.5)
        return
    ways = placements(name, support)
    while spots:
        x, z = spots.pop()
        for parts in ways:
            cells = [(x + dx, y + dy, z + dz) for (dx, dy, dz), _ in parts]
            if all(world.grid.get(*c) == AIR for c in cells if c[1] >= y):
                for cell, (_, state) in zip(cells, parts, strict=True):
                    world.grid.set(*cell, intern(state))
                world.hidden = (world.hidden - {cells[0]}) | {
                    c for c, (_, state) in zip(cells, parts, strict=True) if state != parts[0][1]
                }
                return
