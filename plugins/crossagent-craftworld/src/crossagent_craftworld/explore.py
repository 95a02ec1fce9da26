"""Looking for what is not in sight: walk to places not looked at yet, nearest first."""

from __future__ import annotations

import math

from crossagent.plugin import RawTick
from crossagent_craftworld import motor
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.paths import Stuck, feet, reachable, stand
from crossagent_craftworld.world import EYE, World

_SEEN = 6.0
"""A place this near to one where the player has looked round is not looked at again."""
_KEPT = 48
"""Places remembered."""


def look_round(world: World, name: str) -> None:
    """Remember that the player has looked round for something where he is; what was looked for before is forgotten."""
    here = feet(world)
    places = world.searched[1] if world.searched[0] == name else ()
    if not any(_near(world, here, place, 2.0) for place in places):
        places = (*places, here)[-_KEPT:]
    world.searched = (name, places)


def found(world: World) -> None:
    """Forget the places: it was there."""
    world.searched = ("", ())


def _near(world: World, cell: Cell, place: Cell, reach: float = _SEEN) -> bool:
    """Return whether a cell is near a place and in sight of it."""
    length = math.dist(cell, place)
    if length >= reach or length < 1e-6:
        return length < 1e-6
    ray = [(c - p) / length for c, p in zip(cell, place, strict=True)]
    hit = world.grid.cast(place[0] + 0.5, place[1] + EYE, place[2] + 0.5, ray[0], ray[1], ray[2], length)
    return hit is None


def next_place(world: World) -> Cell:
    """Return the nearest place that can be walked to and was not looked at; raises :class:`Stuck` when there is none."""
    x, y, z = feet(world)
    around = [(x + i, y + j, z + k) for j in (0, -1, 1) for i in (0, -1, 1) for k in (0, -1, 1)]
    here = next((cell for cell in around if stand(world, cell)), (x, y, z))
    for cell in reachable(world, here):
        if not any(_near(world, cell, place) for place in world.searched[1]):
            return cell
    raise Stuck("nowhere left to look")


def step(world: World, place: Cell, mouse: motor.Limits) -> RawTick | None:
    """Return the next tick of the walk to a place; None once there."""
    return motor.walk(world, [place], mouse)
