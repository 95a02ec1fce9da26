"""The player's body: how keys move it, and what hurts it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crossagent_craftworld import mobs, physics
from crossagent_craftworld.palette import CODE, FULL

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

SPRINT_FOOD = 6
"""Sprinting needs more food than this."""
DAMAGE = 0.1
"""Exhaustion of one wound."""
_VOID = -8.0
"""Below this there is nothing to stand on, ever."""
_SAFE_FALL = 3.0


def move(world: World, keys: frozenset[str]) -> None:
    """Move for one tick with these keys held."""
    body = world.body
    forward = ("w" in keys) - ("s" in keys)
    strafe = ("d" in keys) - ("a" in keys)
    sneak = "left.shift" in keys
    if sneak != world.sneaking:
        world.sneaking = sneak
        world.moved += 1
    if forward <= 0 or sneak or body.hit_wall:
        world.sprinting = False
    elif "left.control" in keys:
        world.sprinting = world.hunger is None or world.hunger.food > SPRINT_FOOD
    if (
        not forward and not strafe and body.on_ground and body.vx == 0.0 and body.vz == 0.0
        and "space" not in keys and body.vy == physics.STANDING_VY and not body.in_water
        and CODE[world.grid.get(math.floor(body.x), math.floor(body.y - 0.05), math.floor(body.z))] == FULL
    ):  # fmt: skip
        body.jump_wait = 0
        body.hit_wall = False
        return  # standing still on a full block: the tick below would change nothing
    was, grounded = (body.x, body.y, body.z), body.on_ground
    sin, cos = world.yaw_sin_cos()
    physics.tick(body, world.grid, sin, cos, forward, strafe, jump="space" in keys, sprint=world.sprinting, sneak=sneak)
    if (body.x, body.y, body.z) != was:
        world.moved += 1
    if world.hunger is not None:
        world.hunger.moved(world, was[0], was[2], jumped="space" in keys and grounded and body.vy > 0)
    if body.y < _VOID:
        hurt(world, 100.0, body.x, body.z)
    _land(world)


def _land(world: World) -> None:
    body = world.body
    if not body.on_ground and not body.in_water:
        world.fell_from = max(world.fell_from, body.y)
        return
    fall = world.fell_from - body.y
    world.fell_from = body.y
    if fall > _SAFE_FALL and not body.in_water:
        hurt(world, float(math.ceil(fall - _SAFE_FALL)), body.x, body.z)


def hurt(world: World, damage: float, from_x: float, from_z: float) -> None:
    """Take damage from a place: i-frames, resistance, knockback, death."""
    if damage <= 0 or world.dead:
        return
    damage *= 1 - 0.2 * min(world.resistance, 5)
    if world.hurt > 10:
        if damage <= world.last_damage:
            return
        damage, world.last_damage = damage - world.last_damage, damage
    else:
        world.hurt, world.last_damage = 20, damage
        mobs.knock(world.body, world.body.x - from_x, world.body.z - from_z, 0.4)
    world.health -= damage
    if world.hunger is not None:
        world.hunger.exhaustion += DAMAGE
    if world.dead:
        world.health = 0.0
        world.emit("death", "player")
