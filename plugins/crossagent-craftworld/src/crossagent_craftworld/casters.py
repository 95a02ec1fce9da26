"""Mobs that do not fight hand to hand: archers, casters, what explodes, and what flies and shoots. Minecraft 1.16.5.

Left out: effects of arrows and potions other than damage, levitation, teleporting, charged creepers, deflected fireballs.
What flies stays within a player's reach of the ground, as CraftWorld's sky is low.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import floor
from typing import TYPE_CHECKING

from crossagent_craftworld import mobs, motions, physics, player, shots
from crossagent_craftworld.palette import CODE, EMPTY
from crossagent_minecraft_data.entities import RANGED

if TYPE_CHECKING:
    from crossagent_craftworld.mobs import Mob
    from crossagent_craftworld.world import World

_DIFFICULTY = {"peaceful": 0, "easy": 1, "normal": 2, "hard": 3}
_SWELL, _SWELL_AT, _SWELL_UNTIL, _CREEPER_POWER = 30, 3.0, 7.0, 3.0
_BOW_RANGE, _DRAW = 15.0, 20
_CROSSBOW_RANGE, _LOAD = 8.0, 25
_WITCH_RANGE, _THROW, _DRINK, _HARM, _HEAL = 10.0, 60, 32, 6.0, 4.0
_FANGS, _SUMMON, _CAST, _FANG_DAMAGE = 100, 340, 40, 6.0
_FLEE = 8.0
_GHAST_RANGE, _GHAST_CHARGE, _GHAST_REST = 64.0, 20, 40
_SKULL, _SKULL_DAMAGE, _WITHER_RANGE = 40, 8.0, 20.0
_BULLET_RANGE, _BULLET_DAMAGE = 20.0, 4.0
_RING, _CYCLE, _PERCH = 9.0, 240, 80
_DRAGON_SPEED = 0.5


def act(mob: Mob, world: World, distance: float) -> None:
    """Do one tick of what this kind does."""
    _WAYS[mob.kind](mob, world, distance, mob.hunts(world, distance))


def _face(mob: Mob, world: World) -> None:
    dx, dz = world.body.x - mob.body.x, world.body.z - mob.body.z
    if dx or dz:
        mob.yaw = math.atan2(-dx, dz)


def _sees(mob: Mob, world: World, reach: float) -> bool:
    return world.sees(mob.center(), reach)


def _shoot(mob: Mob, world: World, damage: float, spread: float) -> None:
    """Shoot an arrow at a third of the player's height, a little high."""
    b, me = mob.body, world.body
    y = b.y + b.height * 0.85 - 0.1
    dx, dz = me.x - b.x, me.z - b.z
    flat = math.hypot(dx, dz)
    dy = me.y + me.height / 3 - y + flat * 0.2
    length = max(1e-6, math.sqrt(dx * dx + dy * dy + dz * dz))
    v = [1.6 * (c / length + world.rng.normalvariate() * 0.0075 * spread) for c in (dx, dy, dz)]
    world.shots.append(shots.Shot("arrow", (b.x, y, b.z), (v[0], v[1], v[2]), damage))


def _archer(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    """Come within range, keep off, circle; draw for 20 ticks, then rest."""
    forward = strafe = 0.0
    if hunts:
        _face(mob, world)
        sees = _sees(mob, world, 64.0)
        near = distance <= _BOW_RANGE and sees
        forward = 1.0 if not near or distance > _BOW_RANGE * 0.75 else -0.5 if distance < _BOW_RANGE * 0.25 else 0.0
        if near and world.time % 20 == 0 and world.rng.random() < 0.3:
            mob.side = -mob.side
        strafe = 0.5 * mob.side if near else 0.0
        level = _DIFFICULTY[world.difficulty]
        if sees and not mob.attack_wait:
            mob.charge += 1
            if mob.charge > _DRAW:  # the first of them is the one it starts in
                mob.charge, mob.attack_wait = 0, 20 if level == 3 else 40
                _shoot(mob, world, 2.0 * 1.6 + world.rng.normalvariate(0, 0.25) + 0.11 * level, 14 - 4 * level)
    _walk(mob, world, forward, strafe)


def _crossbow(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    forward = 0.0
    if hunts:
        _face(mob, world)
        sees = _sees(mob, world, 64.0)
        forward = 0.0 if sees and distance <= _CROSSBOW_RANGE else 1.0
        if sees and not mob.attack_wait:
            mob.charge += 1
            if mob.charge >= _LOAD:
                mob.charge, mob.attack_wait = 0, 20 + world.rng.randrange(20)
                _shoot(mob, world, 2.0 * 1.6, 14 - 4 * _DIFFICULTY[world.difficulty])
    _walk(mob, world, forward)


def _creeper(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    """Come near; hiss for a second and a half, as long as the player stays near; blow up. ``side`` is -1 meanwhile."""
    swells = hunts and (distance < _SWELL_AT or (mob.side < 0 and distance < _SWELL_UNTIL))
    swells = swells and _sees(mob, world, _SWELL_UNTIL + 2)
    mob.side = -1 if swells else 1
    mob.charge = mob.charge + 1 if swells else max(0, mob.charge - 1)
    if hunts:
        _face(mob, world)
    if mob.charge >= _SWELL:
        world.mobs.remove(mob)
        shots.explode(world, mob.center(), _CREEPER_POWER)
        return
    _walk(mob, world, 1.0 if hunts and not swells else 0.0)


def _witch(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    forward = 0.0
    if mob.charge:
        mob.charge -= 1
        if not mob.charge:
            mob.health = min(mob.info.health, mob.health + _HEAL)
    elif mob.health < mob.info.health and world.rng.random() < 0.05:
        mob.charge = _DRINK
    if hunts:
        _face(mob, world)
        sees = _sees(mob, world, 64.0)
        forward = 0.0 if sees and distance <= _WITCH_RANGE else 1.0
        if sees and not forward and not mob.attack_wait and not mob.charge:
            mob.attack_wait = _THROW
            b, me = mob.body, world.body
            y = b.y + b.height * 0.85 - 0.1
            dx, dz = me.x - b.x, me.z - b.z
            dy = me.y + 0.5 - y + math.hypot(dx, dz) * 0.2
            scale = 0.75 / max(1e-6, math.sqrt(dx * dx + dy * dy + dz * dz))
            world.shots.append(shots.Shot("potion", (b.x, y, b.z), (dx * scale, dy * scale, dz * scale), _HARM))
    _walk(mob, world, forward * (0.75 if mob.charge else 1.0))


def _evoker(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    """Keep away; every five seconds let fangs rise, every 17 call three vexes."""
    forward = 0.0
    if hunts:
        _face(mob, world)
        if mob.charge:
            mob.charge -= 1
            if mob.charge == _CAST // 2:
                _fangs(mob, world, distance)
        elif not mob.attack_wait and _sees(mob, world, 64.0):
            mob.charge, mob.attack_wait = _CAST, _FANGS
            vexes = sum(other.kind == "vex" for other in world.mobs)
            if world.time % _SUMMON < _FANGS and world.rng.randrange(8) + 1 > vexes:
                for _ in range(3):
                    x, z = mob.body.x + world.rng.randint(-2, 2), mob.body.z + world.rng.randint(-2, 2)
                    world.add_mob("vex", x, mob.body.y + 1, z)
        elif distance < _FLEE:
            forward = -0.6
    _walk(mob, world, forward)


def _fangs(mob: Mob, world: World, distance: float) -> None:
    b, me = mob.body, world.body
    angle = math.atan2(me.z - b.z, me.x - b.x)
    y = me.y
    if distance < 3.0:
        rings = [(5, 1.5, 0, 0.0), (8, 2.5, 3, math.tau / 8)]
        spots = [
            (b.x + r * math.cos(angle + turn + i * math.tau / n), b.z + r * math.sin(angle + turn + i * math.tau / n), wait)
            for n, r, wait, turn in rings for i in range(n)
        ]  # fmt: skip
    else:
        spots = [(b.x + 1.25 * (i + 1) * math.cos(angle), b.z + 1.25 * (i + 1) * math.sin(angle), i) for i in range(16)]
    for x, z, wait in spots:
        world.shots.append(shots.Shot("fangs", (x, y, z), (0.0, 8.0 + wait, 0.0), _FANG_DAMAGE))


def _shulker(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    """Sit; open and send bullets that follow. ``charge`` is how long it stays open."""
    mob.charge = max(0, mob.charge - 1)
    if hunts and distance < _BULLET_RANGE:
        mob.charge = 100
        if not mob.attack_wait:
            mob.attack_wait = 20 + world.rng.randrange(10) * 10
            world.shots.append(shots.Shot("shulker_bullet", mob.center(), (0.0, 0.15, 0.0), _BULLET_DAMAGE))
    body = mob.body
    if CODE[world.grid.get(floor(body.x), floor(body.y - 0.05), floor(body.z))] == EMPTY:
        physics.tick(body, world.grid)
    else:
        body.vx = body.vz = 0.0


def _flame(mob: Mob, world: World, kind: str, damage: float) -> None:
    b, me = mob.body, world.body
    start = mob.center()
    if kind == "fireball":  # from before its mouth, not from inside its own box
        away = max(1e-6, math.hypot(me.x - b.x, me.z - b.z))
        start = (b.x + (me.x - b.x) / away * min(b.half, away), start[1], b.z + (me.z - b.z) / away * min(b.half, away))
    d = (me.x - start[0], me.y + me.height / 2 - start[1], me.z - start[2])
    length = max(1e-6, math.hypot(*d))
    world.shots.append(shots.Shot(kind, start, (d[0] / length, d[1] / length, d[2] / length), damage))


def _ghast(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    if hunts and distance < _GHAST_RANGE and _sees(mob, world, _GHAST_RANGE):
        mob.charge += 1
        if mob.charge >= _GHAST_CHARGE:
            mob.charge = -_GHAST_REST
            _flame(mob, world, "fireball", 6.0)
    elif mob.charge > 0:
        mob.charge -= 1
    motions.fly(mob, world, False)


def _wither(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    """Come at the player, shoot skulls, heal 1 a second."""
    if world.time % 20 == 0:
        mob.health = min(mob.info.health, mob.health + 1)
    if hunts and not mob.attack_wait and distance < _WITHER_RANGE and _sees(mob, world, _WITHER_RANGE):
        mob.attack_wait = _SKULL
        _flame(mob, world, "wither_skull", _SKULL_DAMAGE)
    motions.fly(mob, world, hunts)


def _dragon(mob: Mob, world: World, distance: float, hunts: bool) -> None:
    """Perch, then circle and swoop, through whatever is in the way; ``charge`` counts the cycle."""
    body, me = mob.body, world.body
    mob.charge = (mob.charge + 1) % _CYCLE
    _face(mob, world)
    ground = world.surface(floor(me.x), floor(me.z)) + 1.0
    if mob.charge < _CYCLE - _PERCH:
        goal = (body.x, max(ground, 1.0), body.z)
    else:
        turn = mob.charge * math.tau / _PERCH
        goal = (me.x + _RING * math.cos(turn), ground + 1.0, me.z + _RING * math.sin(turn))
    d = (goal[0] - body.x, goal[1] - body.y, goal[2] - body.z)
    length = max(1.0, math.hypot(*d))
    body.x, body.y, body.z = (
        c + _DRAGON_SPEED * a / length for c, a in zip((body.x, body.y, body.z), d, strict=True)
    )  # fmt: skip
    inside = abs(me.x - body.x) < body.half + me.half and abs(me.z - body.z) < body.half + me.half
    if hunts and inside and not mob.attack_wait and abs(me.y - body.y) < body.height:
        mob.attack_wait = 20
        player.hurt(world, mobs.player_damage(mob.info.attack, world.difficulty), body.x, body.z)


def _walk(mob: Mob, world: World, forward: float, strafe: float = 0.0) -> None:
    """Walk along the heading, a share of its pace forward and to the right."""
    body = mob.body
    sin, cos = math.sin(mob.yaw), math.cos(mob.yaw)
    speed = mob.info.speed * mob.info.pace * max(abs(forward), abs(strafe))
    moves = bool(forward or strafe)
    physics.tick(
        body, world.grid, sin, cos, math.copysign(speed, forward) if forward else 0.0,
        math.copysign(speed, strafe) if strafe else 0.0,
        jump=moves and (body.hit_wall or body.in_water), speed=speed,
    )  # fmt: skip


_WAYS: dict[str, Callable[[Mob, World, float, bool], None]] = {
    "skeleton": _archer, "stray": _archer, "pillager": _crossbow, "creeper": _creeper, "witch": _witch,
    "evoker": _evoker, "shulker": _shulker, "ghast": _ghast, "wither": _wither, "ender_dragon": _dragon,
}  # fmt: skip
RUN_AFTER = RANGED - {"shulker"}
"""Those that one runs after: most keep away, and a blow on the run throws a creeper far enough to back off from it."""
