"""The state of one episode and the only way it changes: :meth:`World.tick`.

Order of a tick: camera → hotbar, inventory, drop keys → ray → attack, use → the player's motion → mobs → shots → items → furnaces → time.
Yaw and pitch are kept in whole mouse pixels (0.15° each), so that turning is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from crossagent.plugin import RawTick
from crossagent_craftworld import digging, drops, hands, harm, keyboard, mobs, night, physics, player, shots, terrain
from crossagent_craftworld.grid import Cell, Grid
from crossagent_craftworld.hunger import Hunger
from crossagent_craftworld.inventory import Inventory
from crossagent_craftworld.mobs import Mob
from crossagent_craftworld.palette import AIR, CODE, EMPTY, FLUID, NAMES
from crossagent_craftworld.rng import WorldRandom
from crossagent_minecraft_data.controls import DEGREES_PER_PIXEL
from crossagent_minecraft_data.entities import weapon

TURN = 2400
"""Mouse pixels of a full turn."""
PITCH_LIMIT = 600
"""Mouse pixels from the horizon to straight up or down."""
REACH = 4.5
EYE, EYE_SNEAKING, EYE_SWIMMING = 1.62, 1.27, 0.4
_RADIANS = math.radians(DEGREES_PER_PIXEL)
_REGENERATE = 80
MOVEMENT = ("w", "a", "s", "d", "space", "left.shift", "left.control")


class Hit(NamedTuple):
    """What the crosshair is on."""

    kind: str
    """``block`` or ``mob``."""
    name: str
    distance: float
    cell: Cell
    """The block's cell; of a mob, its ident three times."""
    face: Cell
    """Outward normal of the block's face."""
    mob: Mob | None = None


class World:
    """One episode's state. Everything mutable is in :meth:`save`."""

    def __init__(
        self,
        scene: terrain.Scene,
        seed: int,
        emit: Callable[[str, str, int], None],
        difficulty: str = "easy",
        hunger: bool = False,
        day_night: bool = False,
    ) -> None:
        """``emit(kind, name, count)`` hears of events; ``difficulty`` scales what mobs deal.

        Without ``hunger`` the player never tires, and heals 1 per 80 ticks. With ``day_night`` the sun sets: hostile
        mobs appear in the dark, and the undead burn in the sun; without it, it is always morning.
        """
        self.scene = scene
        self.grid = Grid(scene.blocks, scene.size, sticky=scene.sticky)
        self.rng = WorldRandom(seed)
        self._emit = emit
        self.difficulty = difficulty
        self.resistance = 0
        """Level of the resistance effect: a fifth less damage each."""
        self.body = physics.Body(scene.size[0] / 2, 10.0, scene.size[2] / 2)
        self.yaw = 0
        """Mouse pixels clockwise from +z, −1200…1199."""
        self.pitch = 0
        """Mouse pixels down from the horizon, −600…600."""
        self.inventory = Inventory()
        self.mobs: list[Mob] = []
        self.drops: list[drops.Drop] = []
        self.shots: list[shots.Shot] = []
        """What mobs have shot and what they cast."""
        self.health = 20.0
        self.hunger = Hunger() if hunger else None
        self.time = 0
        self.dawn = 0
        """Time of the day, in ticks after sunrise, at which the episode began."""
        self.day_night = day_night
        self.keys: frozenset[str] = frozenset()
        """Held in the last tick."""
        self.buttons: frozenset[str] = frozenset()
        self.sneaking = False
        self.sprinting = False
        self.swimming = False
        """Flat in the water, sprinting."""
        self.air = harm.AIR
        """Ticks of breath left."""
        self.fire = 0
        """Ticks the player goes on burning."""
        self.hurt = 0
        self.last_damage = 0.0
        self.fell_from = 0.0
        self.swing = 100
        """Ticks since the last swing, or since another slot was selected."""
        self.miss = 0
        self.use_wait = 0
        self.dig = digging.Dig()
        self.next_ident = 1
        self.searched: tuple[str, tuple[Cell, ...]] = ("", ())
        """What the player looks for, and where he has looked round for it (:mod:`explore`)."""
        self.named = 4
        """Things around that an observation names."""
        self.headroom = False
        """Whether straight ways mind the leaves above a step; off in the plains, on which published figures were made."""
        self.hidden: frozenset[Cell] = frozenset()
        """Cells the set-up changed in the ground (sand under a cactus): no landmarks, so observations leave them out."""
        self.moved = 0
        """Counts changes of the view, of the position and of mobs; caches hang on it. Not part of the state."""
        self.still = -1
        """Version of the grid at the player's last motion: while it stays, one who stands still need not be moved."""
        self._hit: tuple[int, int, Hit | None] = (-1, -1, None)
        self.memory: dict[str, Any] = {}
        """Caches of others (observation, paths), keyed by what they depend on. Not part of the state."""

    def marks(self) -> terrain.Marks:
        """Return the landmarks: what stands out in the scene as it was at the start."""
        return terrain.marks(self.scene.name)

    # -- looking -------------------------------------------------------------------------------------------------
    @property
    def dead(self) -> bool:
        """Whether the player has died."""
        return self.health <= 0

    def eye(self) -> tuple[float, float, float]:
        """Return the position of the eye."""
        b = self.body
        lies = b.height < 1.0
        return b.x, b.y + (EYE_SWIMMING if lies else EYE_SNEAKING if self.sneaking or b.height < 1.8 else EYE), b.z

    def yaw_sin_cos(self) -> tuple[float, float]:
        """Return sine and cosine of the yaw."""
        angle = self.yaw * _RADIANS
        return math.sin(angle), math.cos(angle)

    def view(self, dx: int = 0, dy: int = 0) -> tuple[float, float, float]:
        """Return the unit vector of the view, after a mouse movement."""
        yaw, pitch = (self.yaw + dx) * _RADIANS, max(-PITCH_LIMIT, min(PITCH_LIMIT, self.pitch + dy)) * _RADIANS
        cos = math.cos(pitch)
        return -math.sin(yaw) * cos, -math.sin(pitch), math.cos(yaw) * cos

    def crosshair(self) -> Hit | None:
        """Return what the crosshair is on within reach (blocks 4.5, mobs 3), or None."""
        key = (self.moved, self.grid.version)
        if self._hit[:2] == key:
            return self._hit[2]
        found = self.grid.cast(*self.eye(), *self.view(), REACH)
        hit = None if found is None else Hit("block", self.grid.name(*found[0]), found[2], found[0], found[1])
        if self.mobs:
            other = mobs.target(self)
            if other is not None and (hit is None or other[1] < hit.distance):
                mob = other[0]
                hit = Hit("mob", mob.kind, other[1], (mob.ident,) * 3, (0, 0, 0), mob)
        self._hit = (*key, hit)
        return hit

    def sees(self, point: tuple[float, float, float], reach: float = 24.0) -> bool:
        """Return whether nothing stands between the eye and a point."""
        ex, ey, ez = self.eye()
        dx, dy, dz = point[0] - ex, point[1] - ey, point[2] - ez
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        if length > reach:
            return False
        if length < 1e-6:
            return True
        found = self.grid.cast(ex, ey, ez, dx / length, dy / length, dz / length, length)
        return found is None or found[2] >= length - 1e-6

    # -- the tick ------------------------------------------------------------------------------------------------
    def emit(self, kind: str, name: str, count: int = 1) -> None:
        """Tell the environment that something happened."""
        self._emit(kind, name, count)

    def tick(self, raw: RawTick) -> None:
        """Advance 1/20 s with these keys, buttons and mouse movement held."""
        keys, buttons = frozenset(raw.keys), frozenset(raw.buttons)
        inventory = self.inventory
        was_open = inventory.window is not None
        dx, dy = raw.camera
        if was_open:
            for button in sorted(self.buttons - buttons):
                inventory.release(button)  # a movement with the button up is no drag
            passed = inventory.move_cursor(dx, dy)
            if passed:
                inventory.drag(passed)
        elif dx or dy:
            self.yaw = (self.yaw + dx + TURN // 2) % TURN - TURN // 2
            self.pitch = max(-PITCH_LIMIT, min(PITCH_LIMIT, self.pitch + dy))
            self.moved += 1
        if keys != self.keys:
            keyboard.pressed(self, keys - self.keys, keys)
        is_open = inventory.window is not None
        self.swing = min(self.swing + 1, 100)
        if was_open and is_open:
            keyboard.mouse_in_window(self, buttons, "left.shift" in keys)
        elif not is_open and not was_open:
            hands.buttons(self, buttons)
        self.keys, self.buttons = keys, buttons
        player.move(self, frozenset() if inventory.window is not None else keys)
        harm.tick(self)
        if self.mobs:
            for mob in list(self.mobs):
                if mob.health > 0:
                    mob.tick(self)
            self.moved += 1
        if self.shots:
            shots.tick(self)
        if self.drops:
            drops.tick(self)
        if inventory.furnaces:
            inventory.tick_furnaces()
        if self.hurt:
            self.hurt -= 1
        self.time += 1
        if self.day_night:
            night.tick(self)
        if self.hunger is not None:
            self.hunger.tick(self)
        elif self.health < 20 and not self.dead and self.time % _REGENERATE == 0:
            self.health = min(20.0, self.health + 1)

    def daytime(self) -> int:
        """Return the time of the day in ticks, 0…23999: 0 sunrise, 6000 noon, 13000 night; with no sun, when it began."""
        return (self.dawn + (self.time if self.day_night else 0)) % 24000

    def cooldown(self) -> float:
        """Return the ticks between full blows with what is held."""
        held = self.inventory.held()
        return 20.0 / weapon(held[0] if held else None)[1]

    def charged(self) -> bool:
        """Return whether a blow in the next tick would be a full one."""
        return self.swing + 0.5 >= self.cooldown()

    # -- state ---------------------------------------------------------------------------------------------------
    def save(self) -> tuple[Any, ...]:
        """Return the whole state, for :meth:`load`."""
        return (self.grid.save(), self._scalars(), self.inventory.save(), self._things())

    def _scalars(self) -> tuple[Any, ...]:
        return (
            self.rng.state, self.body.save(), self.yaw, self.pitch, self.health, self.time, self.keys, self.buttons,
            self.sneaking, self.sprinting, self.hurt, self.last_damage, self.fell_from, self.swing, self.miss,
            self.use_wait, self.next_ident, self.dig.save(), self.resistance, self.swimming, self.air, self.fire, self.dawn, self.searched,
            None if self.hunger is None else self.hunger.save(),
        )  # fmt: skip

    def _things(self) -> tuple[Any, ...]:
        return (
            tuple([m.save() for m in self.mobs]), tuple([d.save() for d in self.drops]),
            tuple([s.save() for s in self.shots]),
        )  # fmt: skip

    def load(self, state: tuple[Any, ...]) -> None:
        """Go back to a :meth:`save`, of this world only."""
        changes, scalars, inventory, things = state
        self.grid.load(changes)
        (
            self.rng.state, body, self.yaw, self.pitch, self.health, self.time, self.keys, self.buttons,
            self.sneaking, self.sprinting, self.hurt, self.last_damage, self.fell_from, self.swing, self.miss,
            self.use_wait, self.next_ident, dig, self.resistance, self.swimming, self.air, self.fire, self.dawn,
            self.searched, hunger,
        ) = scalars  # fmt: skip
        self.body.load(body)
        self.dig.load(dig)
        if self.hunger is not None:
            self.hunger.load(hunger)
        self.inventory.load(inventory)
        self.mobs = [Mob.load(s) for s in things[0]]
        self.drops = [drops.Drop.load(s) for s in things[1]]
        self.shots = [shots.Shot.load(s) for s in things[2]]
        self.moved += 1

    def canonical(self) -> tuple[Any, ...]:
        """Return the whole state by names, in a fixed order: equal iff the future is equal."""
        scalars = tuple(tuple(sorted(v)) if isinstance(v, frozenset) else v for v in self._scalars())
        return (self.scene.name, self.difficulty, self.grid.canonical(), scalars, self.inventory.save(), self._things())

    # -- setting up ----------------------------------------------------------------------------------------------
    def surface(self, x: int, z: int) -> int:
        """Return the y of the topmost block of a column that is neither air nor a plant; −1 outside."""
        if not (0 <= x < self.scene.size[0] and 0 <= z < self.scene.size[2]):
            return -1
        for y in range(self.scene.size[1] - 1, -1, -1):
            state = self.grid.get(x, y, z)
            if state != AIR and (CODE[state] != EMPTY or FLUID[state]):
                return y
        return -1

    def add_mob(self, kind: str, x: float, y: float, z: float, size: int = 4) -> Mob:
        """Put a mob into the world; ``size`` of slimes: 4, 2 or 1."""
        mob = Mob(kind, self.next_ident, x, y, z, size)
        self.next_ident += 1
        self.mobs.append(mob)
        self.moved += 1
        return mob

    def block_at(self, cell: Cell) -> str:
        """Return the name of the block at a cell."""
        return NAMES[self.grid.get(*cell)]
