"""Looking for what is not in sight: walk to places not looked at yet, nearest first."""

from __future__ import annotations

import math

from crossagent.plugin import RawTick
from crossagent_craftworld import motor
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.paths import Flow, Stuck, feet
from crossagent_craftworld.world import World

_SEEN = 6.0
"""A place this near to one where the player has looked round is not looked at again."""
_KEPT = 48
"""Places remembered."""
_FAR = 60.0
"""Steps to the farthest place considered."""


def look_round(world: World) -> None:
    """Remember that the player has looked round where he is."""
    here = feet(world)
    if not any(_near(here, place) for place in world.searched):
        world.searched = (*world.searched, here)[-_KEPT:]


def _near(a: Cell, b: Cell) -> bool:
    return math.dist(a, b) < _SEEN


def next_place(world: World) -> Cell:
    """Return the nearest place that can be walked to and was not looked at; raises :class:`Stuck` when there is none."""
    flow = Flow(world, [feet(world)])
    for cost, cell in flow.around(_FAR):
        if cost and not any(_near(cell, place) for place in world.searched):
            return cell
    raise Stuck("nowhere left to look")


def step(world: World, place: Cell, mouse: motor.Limits) -> RawTick | None:
    """Return the next tick of the walk to a place; None once there."""
    return motor.walk(world, [place], mouse)
