"""The player's body: how keys move it, its pose, how it falls, and what wounds do to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crossagent_craftworld import mobs, physics
from crossagent_craftworld.palette import CODE, FULL, NAMES
from crossagent_minecraft_data.entities import after_armor, worn_armor

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

SPRINT_FOOD = 6
"""Sprinting needs more food than this."""
DAMAGE = 0.1
"""Exhaustion of one wound."""
_VOID = -8.0
"""Below this there is nothing to stand on, ever."""
_SAFE_FALL = 3.0
STANDING, SNEAKING, SWIMMING = 1.8, 1.5, 0.6
"""Heights of the poses."""
_SOFT = {"hay_block": 0.2, "honey_block": 0.2, "slime_block": 0.0}
"""Share of a fall's damage that is left on these."""


def move(world: World, keys: frozenset[str]) -> None:
    """Move for one tick with these keys held."""
    body = world.body
    forward = ("w" in keys) - ("s" in keys)
    strafe = ("d" in keys) - ("a" in keys)
    sneak = "left.shift" in keys
    if sneak != world.sneaking:
        world.sneaking = sneak
        world.moved += 1
    if body.in_water:
        under = physics.submerged(world.grid, *world.eye())
        world.swimming = world.sprinting and (world.swimming or under)
    else:
        under = world.swimming = False
    if forward <= 0 or (not world.swimming and (sneak or body.hit_wall or (body.in_water and not under))):
        world.sprinting = False
    elif "left.control" in keys:
        world.sprinting = world.hunger is None or world.hunger.food > SPRINT_FOOD
    if body.height != STANDING or sneak or world.swimming:
        _pose(world)
    if (
        not forward and not strafe and body.on_ground and body.vx == 0.0 and body.vz == 0.0
        and "space" not in keys and body.vy == physics.STANDING_VY and not body.in_water
        and world.still == world.grid.version
        and CODE[world.grid.get(math.floor(body.x), math.floor(body.y - 0.05), math.floor(body.z))] == FULL
    ):  # fmt: skip
        body.jump_wait = 0
        body.hit_wall, body.squeezed = False, True
        return  # standing still on a full block: the tick below would change nothing
    world.still = world.grid.version
    was, grounded = (body.x, body.y, body.z), body.on_ground
    sin, cos = world.yaw_sin_cos()
    physics.tick(
        body, world.grid, sin, cos, forward, strafe, jump="space" in keys, sprint=world.sprinting, sneak=sneak,
        dive=world.view()[1] if world.swimming else None,
    )  # fmt: skip
    if (body.x, body.y, body.z) != was:
        world.moved += 1
    if world.hunger is not None:
        world.hunger.moved(world, was[0], was[2], jumped="space" in keys and grounded and body.vy > 0)
    if body.y < _VOID:
        hurt(world, 100.0, body.x, body.z)
    _land(world)


def _pose(world: World) -> None:
    """Lie, crouch or stand: what is wanted if there is room, else the tallest pose there is room for."""
    body = world.body
    wanted = SWIMMING if world.swimming else SNEAKING if world.sneaking else STANDING
    was = body.height
    for height in (wanted, SNEAKING, SWIMMING):
        body.height = height
        if height <= min(was, wanted) or not physics.overlaps_blocks(world.grid, body.box()):
            break
    if body.height != was:
        world.moved += 1


def _land(world: World) -> None:
    body = world.body
    if not body.on_ground and not body.in_water and not body.in_web and not physics.climbing(body, world.grid):
        world.fell_from = max(world.fell_from, body.y)
        return
    fall = world.fell_from - body.y
    world.fell_from = body.y
    if fall > _SAFE_FALL and body.on_ground and not body.in_water:
        below = NAMES[world.grid.get(math.floor(body.x), math.floor(body.y - 0.2), math.floor(body.z))]
        soft = 0.5 if below.endswith("_bed") else _SOFT.get(below, 1.0)
        hurt(world, float(math.ceil((fall - _SAFE_FALL) * soft)), body.x, body.z, armored=False)


def hurt(world: World, damage: float, from_x: float, from_z: float, armored: bool = True) -> None:
    """Take damage from a place: i-frames, armour, resistance, knockback, death."""
    if damage <= 0 or world.dead:
        return
    if armored:
        damage = after_armor(damage, *worn_armor(world.inventory.armor()))
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
        world.health = 0.0  # type: ignore[unreachable]  # the health, which `dead` reads, has changed
        world.emit("death", "player")
