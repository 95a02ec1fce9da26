"""Items lying in the world: they fall, come to rest, merge, and are picked up."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Any

from crossagent_craftworld.palette import CODE, EMPTY, FLUID, SLIP
from crossagent_craftworld.physics import Body, move
from crossagent_craftworld.rng import WorldRandom
from crossagent_minecraft_data.items import stack_size

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

LIFETIME = 6000
_MERGE_EVERY = 2
_LAVA = 2


class Drop:
    """One stack on the ground."""

    __slots__ = ("age", "body", "count", "delay", "item", "resting")

    def __init__(self, item: str, count: int, body: Body, delay: int) -> None:
        self.item, self.count, self.body, self.delay = item, count, body, delay
        self.age = 0
        self.resting = False

    def save(self) -> tuple[Any, ...]:
        """Return its state, for :meth:`load`."""
        return (self.item, self.count, self.delay, self.age, self.resting, self.body.save())

    @classmethod
    def load(cls, state: tuple[Any, ...]) -> Drop:
        """Make one from a :meth:`save`."""
        drop = cls(state[0], state[1], Body(0.0, 0.0, 0.0, 0.25, 0.25), state[2])
        drop.age, drop.resting = state[3], state[4]
        drop.body.load(state[5])
        return drop

    def tick(self, world: World) -> None:
        """Fall and slide for one tick."""
        self.age += 1
        if self.delay:
            self.delay -= 1
        body, grid = self.body, world.grid
        if self.resting:
            # the item rests on what lies just below it, which may have been dug away
            if CODE[grid.get(floor(body.x), floor(body.y - 0.01), floor(body.z))] != EMPTY:
                return
            self.resting = False
        fluid = FLUID[grid.get(floor(body.x), floor(body.y + 0.1), floor(body.z))]
        if fluid == _LAVA:
            self.count = 0
            return
        if fluid:  # it floats
            body.vx *= 0.99
            body.vz *= 0.99
            body.vy += 0.0005 if body.vy < 0.06 else 0.0
        else:
            body.vy -= 0.04
        move(body, grid)
        slip = SLIP[grid.get(floor(body.x), floor(body.y - 1.0), floor(body.z))] if body.on_ground else 1.0
        drag = 0.98 * slip
        body.vx *= drag
        body.vz *= drag
        body.vy *= 0.98
        if self.age % _MERGE_EVERY == 0:
            self._merge(world)
        if body.on_ground and abs(body.vx) < 0.003 and abs(body.vz) < 0.003:
            body.vx = body.vy = body.vz = 0.0
            self.resting = True
            self._merge(world)

    def _merge(self, world: World) -> None:
        for other in world.drops:
            if other is self or other.item != self.item or other.count <= 0 or self.count <= 0:
                continue
            b, o = self.body, other.body
            if abs(b.x - o.x) < 0.75 and abs(b.z - o.z) < 0.75 and abs(b.y - o.y) < 0.25:
                if other.count + self.count > stack_size(self.item):
                    continue
                other.count += self.count
                other.age, other.delay = min(self.age, other.age), max(self.delay, other.delay)
                self.count = 0
                return


def from_block(item: str, count: int, x: int, y: int, z: int, rng: WorldRandom) -> Drop:
    """Return what pops out of a broken block."""
    body = Body(x + rng.uniform(0.25, 0.75), y + rng.uniform(0.25, 0.75), z + rng.uniform(0.25, 0.75), 0.25, 0.25)
    body.vx, body.vy, body.vz = rng.uniform(-0.1, 0.1), 0.2, rng.uniform(-0.1, 0.1)
    body.on_ground = False
    return Drop(item, count, body, 10)


def from_mob(item: str, count: int, x: float, y: float, z: float) -> Drop:
    """Return what a mob leaves."""
    body = Body(x, y, z, 0.25, 0.25)
    body.vy = 0.2
    body.on_ground = False
    return Drop(item, count, body, 10)


def thrown(item: str, count: int, eye: tuple[float, float, float], view: tuple[float, float, float]) -> Drop:
    """Return what a player throws along the view."""
    body = Body(eye[0], eye[1] - 0.3, eye[2], 0.25, 0.25)
    body.vx, body.vy, body.vz = 0.3 * view[0], 0.3 * view[1] + 0.1, 0.3 * view[2]
    body.on_ground = False
    return Drop(item, count, body, 40)


def tick(world: World) -> None:
    """Move every item and let the player pick up what he touches."""
    me = world.body
    for drop in world.drops:
        drop.tick(world)
        b = drop.body
        if drop.delay or drop.count <= 0:
            continue
        # the item's box against the player's, grown by 1 sideways and 0.5 up and down
        if (
            abs(b.x - me.x) < 1.425
            and abs(b.z - me.z) < 1.425
            and b.y + 0.25 > me.y - 0.5
            and b.y < me.y + me.height + 0.5
        ):
            taken = drop.count - world.inventory.add(drop.item, drop.count)
            if taken:
                drop.count -= taken
                world.emit("pickup", drop.item, taken)
    if any(d.count <= 0 or d.age >= LIFETIME or d.body.y < -16 for d in world.drops):
        world.drops = [d for d in world.drops if d.count > 0 and d.age < LIFETIME and d.body.y >= -16]
