"""Mobs: what they want, and how they and the player hurt each other; :mod:`casters` has those that shoot or cast."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crossagent_craftworld import casters, drops, motions, physics, player
from crossagent_craftworld.grid import Cell, ray_boxes
from crossagent_craftworld.palette import CODE, EMPTY, FLUID
from crossagent_minecraft_data.entities import FLYERS, MOBS, RANGED, SPLITTING, SWIMMERS, after_armor
from crossagent_minecraft_data.loot import mob_drops

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

REACH = 3.0
"""How far the player's arm reaches a mob, from the eye."""
FOLLOW_RANGE = 16.0
_FAR_SIGHTED = {
    **dict.fromkeys(("zombie", "husk", "drowned", "zombie_villager", "zombified_piglin"), 35.0),
    "blaze": 48.0, "enderman": 64.0, "ravager": 32.0, "vindicator": 12.0, "evoker": 12.0, "pillager": 32.0,
    "ghast": 64.0, "wither": 40.0, "ender_dragon": 64.0,
}  # fmt: skip
"""Follow ranges in blocks that are not 16."""
_LOOK_EVERY = 5
"""Ticks between looks of a mob that has not found the player yet."""
_BIG = 4
_WANDER = 120
"""Mean ticks between strolls."""
_STROLL = 6
_PANIC_TICKS = 60
_RECOVER = 20
"""Ticks of the hurt counter after a hit; above 10 only a harder hit counts, and only by the difference."""
_SHELL = 20.0
"""Armour of a closed shulker."""
_UNMOVED = ("ender_dragon", "iron_golem", "shulker")
"""Blows do not push these."""
DIFFICULTY = {"peaceful": 0.0, "easy": 0.5, "normal": 1.0, "hard": 1.5}


def player_damage(attack: float, difficulty: str) -> float:
    """Return what a mob's blow of ``attack`` (at normal) deals at a difficulty."""
    if difficulty == "easy":
        return min(attack / 2 + 1, attack)
    return attack * DIFFICULTY[difficulty]


class Mob:
    """One mob."""

    __slots__ = (
        "angry", "attack_wait", "body", "charge", "goal", "health", "hunting", "hurt", "ident", "info", "kind",
        "last_damage", "panic", "side", "size", "yaw",
    )  # fmt: skip

    def __init__(self, kind: str, ident: int, x: float, y: float, z: float, size: int = _BIG) -> None:
        self.kind = kind
        self.info = MOBS[kind]
        self.ident = ident
        self.size = size
        """Of slimes and magma cubes, 4, 2 or 1; the others have always 4, which is their whole size."""
        share = size / _BIG
        self.body = physics.Body(x, y, z, self.info.width * share, self.info.height * share)
        if kind in ("iron_golem", "horse", "donkey", "enderman"):
            self.body.step = 1.0
        self.health = self.info.health * share * share
        self.yaw = 0.0
        self.angry = self.info.hostile
        self.hunting = False
        """Angry, and it has seen the player within its range and not lost him since."""
        self.hurt = 0
        self.last_damage = 0.0
        self.panic = 0
        self.attack_wait = 0
        self.charge = 0
        """Ticks of what its kind prepares: a drawn bow, a hiss, a spell."""
        self.side = 1
        """Which way it circles, 1 or -1."""
        self.goal: tuple[float, float] | None = None

    def save(self) -> tuple[Any, ...]:
        """Return its state, for :meth:`load`."""
        return (
            self.kind, self.ident, self.health, self.yaw, self.angry, self.hurt, self.last_damage, self.panic,
            self.attack_wait, self.goal, self.hunting, self.charge, self.side, self.size, self.body.save(),
        )  # fmt: skip

    @classmethod
    def load(cls, state: tuple[Any, ...]) -> Mob:
        """Make one from a :meth:`save`."""
        mob = cls(state[0], state[1], 0.0, 0.0, 0.0, state[-2])
        (
            _, _, mob.health, mob.yaw, mob.angry, mob.hurt, mob.last_damage, mob.panic, mob.attack_wait, mob.goal,
            mob.hunting, mob.charge, mob.side, _, body,
        ) = state  # fmt: skip
        mob.body.load(body)
        return mob

    def center(self) -> tuple[float, float, float]:
        """Return the middle of its box, where one aims."""
        return self.body.x, self.body.y + self.body.height / 2, self.body.z

    # -- what it does --------------------------------------------------------------------------------------------
    def tick(self, world: World) -> None:
        """Think and move for one tick."""
        if self.hurt:
            self.hurt -= 1
        if self.attack_wait:
            self.attack_wait -= 1
        me, body = world.body, self.body
        dx, dz = me.x - body.x, me.z - body.z
        distance = math.hypot(dx, dz)
        if self.kind in RANGED:
            casters.act(self, world, distance)
            return
        if self.kind in SWIMMERS or self.kind in FLYERS:
            self._float(world, distance)
            return
        pace = 0.0
        if self.hunts(world, distance):
            if distance > 1e-6:
                self.yaw = math.atan2(-dx, dz)
            pace = 1.0 if distance > (body.half + me.half) * 0.9 else 0.0
            self._strike(world, distance)
        elif self.panic:
            self.panic -= 1
            if distance > 1e-6 and distance < 12:
                self.yaw = math.atan2(dx, -dz)
            pace = 1.5
        elif self.goal is not None:
            gx, gz = self.goal[0] - body.x, self.goal[1] - body.z
            if gx * gx + gz * gz < 0.25 or world.rng.random() < 0.01:
                self.goal = None
            else:
                self.yaw = math.atan2(-gx, gz)
                pace = 1.0
        elif world.rng.random() < 1 / _WANDER:
            self.goal = (body.x + world.rng.uniform(-_STROLL, _STROLL), body.z + world.rng.uniform(-_STROLL, _STROLL))
        if (
            pace == 0.0
            and body.on_ground
            and -0.003 < body.vx < 0.003
            and -0.003 < body.vz < 0.003
            and CODE[world.grid.get(math.floor(body.x), math.floor(body.y - 0.05), math.floor(body.z))] != EMPTY
        ):
            return  # at rest
        sin, cos = math.sin(self.yaw), math.cos(self.yaw)
        if pace and not self.angry and self._edge_ahead(world, sin, cos):
            self.goal, pace = None, 0.0
        speed = self.info.speed * self.info.pace * pace
        physics.tick(
            body, world.grid, sin, cos, speed, 0.0, jump=bool(pace) and (body.hit_wall or body.in_water), speed=speed
        )

    def hunts(self, world: World, distance: float) -> bool:
        """Return whether it goes for the player: angry, near enough, and it has seen him."""
        if not self.angry or world.dead or distance > _FAR_SIGHTED.get(self.kind, FOLLOW_RANGE):
            self.hunting = False
        elif not self.hunting and (world.time + self.ident) % _LOOK_EVERY == 0:
            self.hunting = world.sees(self.center(), 64.0)
        return self.hunting

    def _float(self, world: World, distance: float) -> None:
        """Swim or fly; strike when near enough."""
        self.panic = max(0, self.panic - 1)
        hunts = self.hunts(world, distance)
        if hunts:
            self._strike(world, distance)
        if self.kind in SWIMMERS:
            motions.swim(self, world)
        else:
            motions.fly(self, world, hunts)

    def _edge_ahead(self, world: World, sin: float, cos: float) -> bool:
        """Strolling mobs turn at water and at drops of more than three blocks."""
        b = self.body
        x, y, z = math.floor(b.x - sin), math.floor(b.y), math.floor(b.z + cos)
        for below in range(4):
            state = world.grid.get(x, y - below, z)
            if FLUID[state]:
                return not b.in_water
            if CODE[state] != EMPTY:
                return False
        return True

    def strike_range(self, half: float) -> float:
        """Return how near, centre to centre, it must be to strike a body of that half width."""
        if self.kind in RANGED:
            return self.body.half + half + 0.2  # no blows, but one keeps out of its box
        return math.sqrt((4 * self.body.half) ** 2 + 2 * half)

    def _strike(self, world: World, distance: float) -> None:
        dy = world.body.y - self.body.y
        if self.attack_wait or math.hypot(distance, dy) > self.strike_range(world.body.half) or not self.info.attack:
            return
        if not world.sees(self.center()):
            return
        self.attack_wait = 20
        player.hurt(world, player_damage(self.info.attack, world.difficulty), self.body.x, self.body.z)


def target(world: World, reach: float = REACH) -> tuple[Mob, float] | None:
    """Return (mob, distance) of the nearest mob under the crosshair within reach; blocks are not looked at."""
    ex, ey, ez = world.eye()
    vx, vy, vz = world.view()
    best: tuple[Mob, float] | None = None
    for mob in world.mobs:
        b = mob.body
        if abs(b.x - ex) > reach + b.half or abs(b.z - ez) > reach + b.half:
            continue
        box = (-b.half, 0.0, -b.half, b.half, b.height, b.half)
        hit = ray_boxes((box,), ex - b.x, ey - b.y, ez - b.z, vx, vy, vz)
        if hit is not None and hit[0] <= reach and (best is None or hit[0] < best[1]):
            best = (mob, hit[0])
    return best


def hit(world: World, mob: Mob, damage: float, sprinting: bool) -> None:
    """Let the player's blow land on a mob: damage, knockback, anger or panic, death and its drops."""
    armor = _SHELL if mob.kind == "shulker" and not mob.charge else mob.info.armor
    damage = after_armor(damage, armor)
    body = mob.body
    if mob.hurt > 10:
        if damage <= mob.last_damage:
            return
        damage, mob.last_damage = damage - mob.last_damage, damage
    else:
        mob.hurt, mob.last_damage = _RECOVER, damage
        if mob.kind not in _UNMOVED:
            knock(body, body.x - world.body.x, body.z - world.body.z, 0.4)
            if sprinting:
                sin, cos = world.yaw_sin_cos()
                knock(body, -sin, cos, 0.5)
    mob.health -= damage
    mob.hunting = mob.angry
    if mob.info.kind == "neutral" and mob.info.attack > 0:
        mob.angry = mob.hunting = True
    elif not mob.angry:
        mob.panic, mob.goal = _PANIC_TICKS, None
    if mob.health <= 1e-9:
        world.mobs.remove(mob)
        if mob.kind != "slime" or mob.size == 1:  # only the smallest slimes leave slime balls
            for item, count in mob_drops(mob.kind, world.rng):
                world.drops.append(drops.from_mob(item, count, body.x, body.y, body.z))
        world.emit("kill_entity", mob.kind)
        if mob.kind in SPLITTING and mob.size > 1:
            for i in range(world.rng.randint(2, 4)):
                x, z = ((i % 2) - 0.5) * mob.size / 4, ((i // 2) - 0.5) * mob.size / 4
                world.add_mob(mob.kind, body.x + x, body.y + 0.5, body.z + z, mob.size // 2)


def wound(world: World, mob: Mob, damage: float) -> None:
    """Let something other than the player hurt a mob; what dies of it leaves nothing and is no kill."""
    mob.health -= after_armor(damage, mob.info.armor)
    if mob.health <= 1e-9 and mob in world.mobs:
        world.mobs.remove(mob)


def sweep(world: World, struck: Mob) -> None:
    """Deal 1 to every other mob within a block of the one a sword struck."""
    b = struck.body
    for mob in list(world.mobs):
        o = mob.body
        near = abs(o.x - b.x) < b.half + o.half + 1 and abs(o.z - b.z) < b.half + o.half + 1
        if mob is struck or not near or o.y > b.y + b.height + 0.25 or o.y + o.height < b.y - 0.25:
            continue
        if math.dist((o.x, o.y, o.z), (world.body.x, world.body.y, world.body.z)) < REACH:
            hit(world, mob, 1.0, False)


def knock(body: physics.Body, dx: float, dz: float, strength: float) -> None:
    """Push a body away along (dx, dz)."""
    length = math.hypot(dx, dz)
    if length < 1e-9:
        return
    body.vx = body.vx / 2 + strength * dx / length
    body.vz = body.vz / 2 + strength * dz / length
    if body.on_ground:
        body.vy = min(0.4, body.vy / 2 + strength)
        body.on_ground = False


def occupies(world: World, cell: Cell) -> bool:
    """Return whether a mob stands in a cell."""
    return any(mob.body.in_cell(cell) for mob in world.mobs)
