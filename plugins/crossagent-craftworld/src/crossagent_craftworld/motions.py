"""How mobs that swim or fly move: along their heading, in their element, with vanilla's collisions."""

from __future__ import annotations

import math
from math import floor
from typing import TYPE_CHECKING

from crossagent_craftworld import physics
from crossagent_craftworld.palette import CODE, EMPTY, FLUID

if TYPE_CHECKING:
    from crossagent_craftworld.mobs import Mob
    from crossagent_craftworld.world import World

_WATER = 1
_TURN = 1 / 40
"""Chance per tick of a new heading."""
_SWIM = 0.04
"""Blocks a tick, undisturbed; twice that in panic."""
_FLY = 0.12
_DRAG = 0.91
_HIGH = 2.0
"""Blocks above the ground beyond which a flyer comes down again: within a player's reach."""


def swim(mob: Mob, world: World) -> None:
    """Swim for one tick; out of water, fall and lie."""
    body = mob.body
    if not _water(world, body.x, body.y, body.z):
        body.vy = (body.vy - physics.GRAVITY) * physics.VERTICAL_DRAG
        physics.move(body, world.grid)
        body.vx *= 0.5
        body.vz *= 0.5
        return
    if world.rng.random() < _TURN:
        mob.yaw = world.rng.uniform(-math.pi, math.pi)
    pace = _SWIM * (2 if mob.panic else 1)
    sin, cos = math.sin(mob.yaw), math.cos(mob.yaw)
    ahead = body.half + pace
    if not _water(world, body.x - sin * ahead, body.y, body.z + cos * ahead):
        mob.yaw = world.rng.uniform(-math.pi, math.pi)
        pace = 0.0
    # what knocked it goes on for a while, but never carries it ashore
    body.vx, body.vz = body.vx * 0.5 - sin * pace * 0.5, body.vz * 0.5 + cos * pace * 0.5
    body.vy = 0.0
    if not _water(world, body.x + body.vx * 2, body.y, body.z + body.vz * 2):
        body.vx = body.vz = 0.0
    physics.move(body, world.grid)


def fly(mob: Mob, world: World, chase: bool) -> None:
    """Fly for one tick: at the player's chest when it hunts him, else about, low over the ground."""
    body, me = mob.body, world.body
    if chase:
        dx, dy, dz = me.x - body.x, me.y + 1.0 - body.y - body.height / 2, me.z - body.z
    else:
        if world.rng.random() < _TURN or body.hit_wall:
            mob.yaw = world.rng.uniform(-math.pi, math.pi)
        wanted = _ground(world, body.x, body.y, body.z) + _HIGH / 2
        dx, dy, dz = -math.sin(mob.yaw), wanted - body.y, math.cos(mob.yaw)
        if mob.panic == 0:
            dx, dz = dx * 0.3, dz * 0.3
    length = max(1.0, math.sqrt(dx * dx + dy * dy + dz * dz))
    push = _FLY * (1 - _DRAG)
    near = chase and math.hypot(me.x - body.x, me.z - body.z) < (body.half + me.half) * 0.9
    body.vx = body.vx * _DRAG + (0.0 if near else push * dx / length)
    body.vy = body.vy * _DRAG + push * dy / length
    body.vz = body.vz * _DRAG + (0.0 if near else push * dz / length)
    physics.move(body, world.grid)


def _water(world: World, x: float, y: float, z: float) -> bool:
    return FLUID[world.grid.get(floor(x), floor(y + 0.05), floor(z))] == _WATER


def _ground(world: World, x: float, y: float, z: float) -> float:
    """Return the height of the first solid block below a point, four blocks down at most."""
    for down in range(5):
        if CODE[world.grid.get(floor(x), floor(y) - down, floor(z))] != EMPTY:
            return floor(y) - down + 1.0
    return floor(y) - 4.0
