"""What the mouse buttons do in the world: attack, use, place. Attack strikes on its edge and digs while held."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crossagent_craftworld import digging, mobs, physics
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.hunger import ATTACK
from crossagent_craftworld.inventory import WINDOW_OF_BLOCK
from crossagent_craftworld.mobs import Mob
from crossagent_craftworld.palette import CODE, EMPTY, PARTNER, REPLACEABLE, STATES, intern, opened
from crossagent_minecraft_data.blocks import BLOCKS, INTERACTIVE
from crossagent_minecraft_data.entities import attack_charge, attack_damage

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

_MISS = 10
"""Ticks an attack is blocked while held after it hit nothing."""
_WALKS = 0.15
"""Blocks a tick below which a sword sweeps: not running."""
_USE_EVERY = 4
"""A held use button acts again after so many ticks."""


def buttons(world: World, held: frozenset[str]) -> None:
    """Act on the buttons held in this tick; ``world.buttons`` are still those of the last."""
    if "left" in held:
        _attack(world, "left" not in world.buttons)
    else:
        world.miss = 0
        world.dig.stop()
    if "right" not in held or "left" in held:
        _stop_eating(world)
    if "right" in held:
        if world.hunger is not None and not _at_interactive(world) and world.hunger.eat(world):
            return
        if world.use_wait and "right" in world.buttons:
            world.use_wait -= 1
        else:
            _use(world)
            world.use_wait = _USE_EVERY - 1
    else:
        world.use_wait = 0


def _stop_eating(world: World) -> None:
    if world.hunger is not None:
        world.hunger.eating = 0


def _at_interactive(world: World) -> bool:
    hit = world.crosshair()
    return hit is not None and hit.name in INTERACTIVE and not world.sneaking


def _attack(world: World, edge: bool) -> None:
    hit = world.crosshair()
    if edge:
        if hit is not None and hit.mob is not None:
            _strike(world, hit.mob)
            return
        if hit is None:
            world.miss, world.swing = _MISS, 0
    if world.miss:
        world.miss -= 1
        return
    if hit is not None and hit.kind == "block":
        digging.dig(world, hit.cell)
    else:
        world.dig.stop()


def _strike(world: World, mob: Mob) -> None:
    held = world.inventory.held()
    item = held[0] if held else None
    damage = attack_damage(item, world.swing - 1)
    charge = attack_charge(item, world.swing - 1)
    body = world.body
    falling = not body.on_ground and body.vy < 0 and not body.in_water and not physics.climbing(body, world.grid)
    critical = charge > 0.9 and falling and not world.sprinting
    if critical:
        damage *= 1.5
    slow = math.hypot(body.vx, body.vz) < _WALKS
    sweeps = charge > 0.9 and not critical and not world.sprinting and body.on_ground and slow
    world.swing = 0
    world.dig.stop()
    if world.hunger is not None:
        world.hunger.exhaustion += ATTACK
    if item is not None and item.endswith("_sword") and sweeps:
        mobs.sweep(world, mob)
    mobs.hit(world, mob, damage, world.sprinting and charge > 0.9)
    world.moved += 1


def _use(world: World) -> None:
    hit = world.crosshair()
    if hit is None or hit.kind != "block":
        return
    if _at_interactive(world):
        world.emit("interact_block", hit.name)
        kind = WINDOW_OF_BLOCK.get(hit.name)
        if kind is not None:
            world.inventory.open(kind, hit.cell)
            world.dig.stop()
        return
    if not world.sneaking and _move_door(world, hit.cell):
        world.emit("interact_block", hit.name)
        return
    held = world.inventory.held()
    if held is None or held[0] not in BLOCKS:
        return
    x, y, z = hit.cell
    if not REPLACEABLE[world.grid.get(x, y, z)]:
        x, y, z = x + hit.face[0], y + hit.face[1], z + hit.face[2]
    state = intern(held[0])
    partner = PARTNER[state]
    other = (x, y, z) if partner is None else (x + partner[0][0], y + partner[0][1], z + partner[0][2])
    if can_place(world, held[0], (x, y, z)) and (partner is None or can_place(world, held[0], other)):
        world.inventory.take_held(1)
        world.grid.set(x, y, z, state)
        if partner is not None:
            world.grid.set(*other, intern(partner[1]))
        world.emit("place_block", held[0])


def _move_door(world: World, cell: Cell) -> bool:
    """Open or shut a door (both halves), trapdoor or gate; return whether there is one."""
    state = world.grid.get(*cell)
    turned = opened(STATES[state])
    if turned is None:
        return False
    partner = PARTNER[state]
    world.grid.set(*cell, intern(turned))
    if partner is not None:
        (dx, dy, dz), _ = partner
        other = (cell[0] + dx, cell[1] + dy, cell[2] + dz)
        half = opened(STATES[world.grid.get(*other)])
        if half is not None:
            world.grid.set(*other, intern(half))
    return True


def can_place(world: World, block: str, cell: Cell) -> bool:
    """Return whether a block may be put into a cell: it is free, and nobody solid stands in the way."""
    state = world.grid.get(*cell)
    if world.grid.index(*cell) < 0 or not REPLACEABLE[state] or not BLOCKS[block].outline:
        return False
    if not BLOCKS[block].solid and PARTNER[intern(block)] is None:
        return CODE[world.grid.get(cell[0], cell[1] - 1, cell[2])] != EMPTY
    return not world.body.in_cell(cell) and not mobs.occupies(world, cell)
