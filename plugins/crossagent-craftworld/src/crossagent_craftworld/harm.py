"""What the surroundings do to the player: drowning, lava, fire, cacti, hot ground. Minecraft 1.16.5."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

from crossagent_craftworld import physics, player
from crossagent_craftworld.palette import NAMES

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

AIR = 300
"""Ticks of breath."""
_GASP = -20
_BREATH = 4
"""Air that comes back per tick out of the water."""
_BURN, _BURN_FIRE = 300, 160
"""Ticks one burns after lava and after fire."""
_HARMS = {"fire": 1.0, "soul_fire": 2.0, "campfire": 1.0, "soul_campfire": 2.0, "cactus": 1.0, "magma_block": 1.0}
"""Damage of touching these; of magma, of standing on it."""


def tick(world: World) -> None:
    """Apply one tick of it."""
    body = world.body
    if body.in_water:
        if physics.submerged(world.grid, *world.eye()):
            world.air -= 1
            if world.air <= _GASP:
                world.air = 0
                _hurt(world, 2.0)
        world.fire = 0
    if world.air < AIR and not (body.in_water and physics.submerged(world.grid, *world.eye())):
        world.air = min(AIR, world.air + _BREATH)
    if body.in_lava:
        world.fire = _BURN
        _hurt(world, 4.0, armored=True)
    elif world.fire:
        if world.fire % 20 == 0:
            _hurt(world, 1.0)
        world.fire -= 1
    for y, name in _harmful(world):
        if name == "magma_block":
            if body.on_ground and y + 1 <= body.y and not world.sneaking:
                _hurt(world, 1.0, armored=True)
        elif y + 1 > body.y:
            if name in ("fire", "soul_fire"):
                world.fire = max(world.fire, _BURN_FIRE)
            _hurt(world, _HARMS[name], armored=True)


def _harmful(world: World) -> list[tuple[int, str]]:
    """Return (y, name) of what does harm around the body and just below it; kept while neither moves a cell."""
    body = world.body
    h = body.half - 0.001
    cells = (
        floor(body.x - h), floor(body.y - 0.2), floor(body.z - h),
        floor(body.x + h), floor(body.y + body.height - 0.001), floor(body.z + h),
    )  # fmt: skip
    key = (cells, world.grid.version)
    known = world.memory.get("harmful")
    if known is None or known[0] != key:
        found = [(y, NAMES[state]) for _, y, _, state in world.grid.filled(*cells) if NAMES[state] in _HARMS]
        known = world.memory["harmful"] = (key, found)
    harmful: list[tuple[int, str]] = known[1]
    return harmful


def _hurt(world: World, damage: float, armored: bool = False) -> None:
    player.hurt(world, damage, world.body.x, world.body.z, armored)
