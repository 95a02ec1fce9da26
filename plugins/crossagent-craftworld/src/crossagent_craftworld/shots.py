"""What flies from a mob to the player, and what explodes. Figures: Minecraft 1.16.5."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crossagent_craftworld import digging, drops, mobs, player
from crossagent_craftworld.grid import Cell, ray_boxes
from crossagent_craftworld.palette import AIR, BARRIER, FLUID, NAMES
from crossagent_minecraft_data.blocks import BLOCKS
from crossagent_minecraft_data.loot import block_drops

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

_LIFE = 200
_REACH = 0.3
"""Blocks a shot's path may miss the player's box by and still hit."""
_PULLS = {"arrow": 0.05, "potion": 0.05}
"""Gravity, of what falls."""
_DRAG = {"arrow": 0.99, "potion": 0.99}
_POWER, _FLAME_DRAG = 0.1, 0.95
"""What drives fireballs and skulls, per tick, and what slows them."""
_BLAST = {"fireball": 1.0, "wither_skull": 1.0}
SPLASH = 4.0
"""Blocks within which a splash potion works."""
_HOMING = 0.15
_RAYS = 16
_STEP = 0.3


class Shot:
    """One thing in flight."""

    __slots__ = ("age", "damage", "kind", "vx", "vy", "vz", "x", "y", "z")

    def __init__(self, kind: str, at: tuple[float, float, float], v: tuple[float, float, float], damage: float) -> None:
        self.kind = kind
        """arrow, potion, small_fireball, fireball, wither_skull, shulker_bullet or fangs."""
        self.x, self.y, self.z = at
        self.vx, self.vy, self.vz = v
        """Blocks a tick; of fireballs and skulls the unit vector they are driven along, of fangs (0, ticks to wait, 0)."""
        self.damage = damage
        """At normal difficulty."""
        self.age = 0

    def save(self) -> tuple[Any, ...]:
        """Return its state, for :meth:`load`."""
        return (self.kind, (self.x, self.y, self.z), (self.vx, self.vy, self.vz), self.damage, self.age)

    @classmethod
    def load(cls, state: tuple[Any, ...]) -> Shot:
        """Make one from a :meth:`save`."""
        shot = cls(*state[:4])
        shot.age = state[4]
        return shot

    def tick(self, world: World) -> bool:
        """Fly for one tick; return whether it goes on."""
        self.age += 1
        if self.kind == "fangs":
            return self._bite(world)
        vx, vy, vz = self._velocity(world)
        length = math.sqrt(vx * vx + vy * vy + vz * vz)
        if length > 1e-9:
            ray = (vx / length, vy / length, vz / length)
            b = world.body
            box = (-b.half - _REACH, -_REACH, -b.half - _REACH, b.half + _REACH, b.height + _REACH, b.half + _REACH)
            hit = ray_boxes((box,), self.x - b.x, self.y - b.y, self.z - b.z, *ray)
            wall = world.grid.cast(self.x, self.y, self.z, *ray, length)
            if hit is not None and hit[0] <= length and (wall is None or hit[0] <= wall[2]) and not world.dead:
                self._at(hit[0], ray)
                self._strike(world)
                return False
            if wall is not None:
                self._at(max(0.0, wall[2] - 0.05), ray)
                self._burst(world)
                return False
        self.x, self.y, self.z = self.x + vx, self.y + vy, self.z + vz
        return self.age < _LIFE and self.y > -16

    def _at(self, length: float, ray: tuple[float, float, float]) -> None:
        self.x, self.y, self.z = self.x + ray[0] * length, self.y + ray[1] * length, self.z + ray[2] * length

    def _velocity(self, world: World) -> tuple[float, float, float]:
        """Return the motion of this tick, and prepare the next one's."""
        v = (self.vx, self.vy, self.vz)
        if self.kind in _PULLS:
            drag = _DRAG[self.kind]
            self.vx, self.vy, self.vz = v[0] * drag, v[1] * drag - _PULLS[self.kind], v[2] * drag
            return v
        if self.kind == "shulker_bullet":
            b = world.body
            away = (b.x - self.x, b.y + b.height / 2 - self.y, b.z - self.z)
            length = max(1e-6, math.hypot(*away))
            self.vx, self.vy, self.vz = (
                c + (_HOMING * a / length - c) * 0.2 for c, a in zip(v, away, strict=True)
            )  # fmt: skip
            return v
        # after n ticks of v = (v + power) · drag from rest
        speed = _POWER * _FLAME_DRAG * (1 - _FLAME_DRAG ** (self.age - 1)) / (1 - _FLAME_DRAG)
        return v[0] * speed, v[1] * speed, v[2] * speed

    def _strike(self, world: World) -> None:
        if self.kind == "potion":
            self._burst(world)
            return
        damage = mobs.player_damage(self.damage, world.difficulty)
        player.hurt(world, damage, self.x - self.vx, self.z - self.vz)
        if self.kind == "small_fireball":
            world.fire = max(world.fire, 100)
        self._burst(world)

    def _burst(self, world: World) -> None:
        if self.kind in _BLAST:
            explode(world, (self.x, self.y, self.z), _BLAST[self.kind], "wither" if self.kind == "wither_skull" else "")
        elif self.kind == "potion":
            b = world.body
            away = math.dist((self.x, self.y, self.z), (b.x, b.y + b.height / 2, b.z))
            if away < SPLASH:
                player.hurt(world, self.damage * (1 - away / SPLASH), b.x, b.z, armored=False)

    def _bite(self, world: World) -> bool:
        """Fangs: wait, then snap once at who stands there."""
        if self.age < self.vy:
            return True
        b = world.body
        if abs(b.x - self.x) < 0.5 and abs(b.z - self.z) < 0.5 and abs(b.y - self.y) < 1.0:
            player.hurt(world, mobs.player_damage(self.damage, world.difficulty), b.x, b.z, armored=False)
        return False


def tick(world: World) -> None:
    """Move everything in flight."""
    world.shots = [shot for shot in list(world.shots) if shot.tick(world)]


def explode(world: World, at: tuple[float, float, float], power: float, spares: str = "") -> None:
    """Blow up: 1,352 rays eat blocks by their resistance; who is near is hurt and thrown by what of him is exposed.

    ``spares`` names the kind of mob that it does nothing to: the one it came from.
    """
    cells = sorted(_eaten(world, at, power))
    _blast(world, at, power, spares)
    for cell in cells:
        name = NAMES[world.grid.get(*cell)]
        if name == "air":
            continue  # it fell off with another one
        digging.remove(world, cell)
        for item, count in block_drops(name, None, world.rng):
            if (left := sum(world.rng.random() < 1 / power for _ in range(count))) > 0:
                world.drops.append(drops.from_block(item, left, *cell, world.rng))


def _eaten(world: World, at: tuple[float, float, float], power: float) -> set[Cell]:
    out: set[Cell] = set()
    last = _RAYS - 1
    for i in range(_RAYS):
        for j in range(_RAYS):
            for k in range(_RAYS):
                if i not in (0, last) and j not in (0, last) and k not in (0, last):
                    continue
                dx, dy, dz = (2 * n / last - 1 for n in (i, j, k))
                scale = _STEP / math.sqrt(dx * dx + dy * dy + dz * dz)
                x, y, z = at
                force = power * (0.7 + world.rng.random() * 0.6)
                while force > 0:
                    cell = (math.floor(x), math.floor(y), math.floor(z))
                    state = world.grid.get(*cell)
                    if state == BARRIER:
                        break
                    if state != AIR:
                        force -= (BLOCKS[NAMES[state]].resistance + 0.3) * _STEP
                        if force > 0 and not FLUID[state]:
                            out.add(cell)
                    x, y, z = x + dx * scale, y + dy * scale, z + dz * scale
                    force -= _STEP * 0.75
    return out


def _blast(world: World, at: tuple[float, float, float], power: float, spares: str) -> None:
    reach = 2 * power
    bodies = [(world.body, None), *((mob.body, mob) for mob in list(world.mobs))]
    for body, mob in bodies:
        middle = (body.x, body.y + (1.62 if mob is None else body.height / 2), body.z)
        away = math.dist(at, (body.x, body.y, body.z)) / reach
        length = math.dist(at, middle)
        if away > 1 or length < 1e-9 or (mob is not None and mob.kind == spares):
            continue
        impact = (1 - away) * _exposed(world, at, body.box())
        damage = math.floor((impact * impact + impact) / 2 * 7 * reach + 1)
        push = [(m - a) / length * impact for m, a in zip(middle, at, strict=True)]
        body.vx, body.vy, body.vz = body.vx + push[0], body.vy + push[1], body.vz + push[2]
        if push[1] > 0:
            body.on_ground = False
        if mob is None:
            player.hurt(world, mobs.player_damage(damage, world.difficulty), body.x, body.z)
        else:
            mobs.wound(world, mob, damage)


def _exposed(world: World, at: tuple[float, float, float], box: tuple[float, ...]) -> float:
    """Return the share of a grid of points in a box with nothing between them and the blast."""
    seen = total = 0
    size = [box[a + 3] - box[a] for a in range(3)]
    steps = [int(2 * s + 1) for s in size]
    for i in range(steps[0] + 1):
        for j in range(steps[1] + 1):
            for k in range(steps[2] + 1):
                x, y, z = (box[a] + size[a] * n / steps[a] for a, n in enumerate((i, j, k)))
                total += 1
                dx, dy, dz = at[0] - x, at[1] - y, at[2] - z
                length = math.sqrt(dx * dx + dy * dy + dz * dz)
                if length < 1e-6:
                    seen += 1
                    continue
                found = world.grid.cast(x, y, z, dx / length, dy / length, dz / length, length)
                seen += found is None or found[2] >= length - 1e-6
    return seen / total
