"""Day and night: how light it is, who comes out in the dark and who burns in the sun. Minecraft 1.16.5.

Mobs appear from 8 blocks on, not 24: a landscape is 48 blocks wide. There are at most four of them.
"""

from __future__ import annotations

import math
from collections import deque
from math import floor
from typing import TYPE_CHECKING

from crossagent_craftworld.grid import Cell
from crossagent_craftworld.palette import CODE, EMPTY, FLUID, FULL, NAMES, OPAQUE

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

DAY = 24000
SOURCES: dict[str, int] = {
    **dict.fromkeys(("lava", "glowstone", "sea_lantern", "jack_o_lantern", "lantern", "beacon", "campfire", "fire"), 15),
    **dict.fromkeys(("shroomlight", "conduit", "end_portal"), 15), **dict.fromkeys(("torch", "wall_torch", "end_rod"), 14),
    **dict.fromkeys(("soul_torch", "soul_wall_torch", "soul_lantern", "soul_fire", "soul_campfire", "crying_obsidian"), 10),
    "redstone_torch": 7, "ender_chest": 7, "magma_block": 3, "brewing_stand": 1, "brown_mushroom": 1, "dragon_egg": 1,
}  # fmt: skip
"""Light of blocks that shine. Source: vanilla 1.16.5."""
UNDEAD = ("zombie", "zombie_villager", "skeleton", "stray", "drowned", "phantom")
"""Whom the sun burns."""
_HOSTILE = ("zombie", "zombie", "skeleton", "spider", "creeper")
_MOST, _NEAR, _FAR = 4, 8.0, 20.0
_SPAWN_EVERY, _SPAWN_LIGHT = 40, 7


def darkening(time: int) -> int:
    """Return what night takes from the light of the sky, 0…11, at a time of the day in ticks after sunrise."""
    d = math.fmod(time / DAY - 0.25, 1.0)
    d += 1.0 if d < 0 else 0.0
    angle = (2 * d + 0.5 - math.cos(math.pi * d) / 2) / 3
    return int(11 * (1 - min(1.0, max(0.0, 2 * math.cos(math.tau * angle) + 0.5))))


def open_sky(world: World, x: int, y: int, z: int) -> bool:
    """Return whether nothing but air, plants and water is above a cell; leaves are in the way, as they dim the light."""
    return all(CODE[world.grid.get(x, up, z)] == EMPTY for up in range(y, world.scene.size[1]))


def light(world: World, cell: Cell, sky: int | None = None) -> int:
    """Return the light in a cell, 0…15: the sky's, or a source's, less 1 per block of the way round what is opaque.

    ``sky`` is the light under the open sky, that of the present time by default.
    """
    sky = 15 - darkening(world.daytime()) if sky is None else sky
    best, seen, queue = 0, {cell}, deque([(cell, 0)])
    while queue:
        here, steps = queue.popleft()
        if best >= 15 - steps:
            break
        state = world.grid.get(*here)
        shines = SOURCES.get(NAMES[state], 0)
        if steps == 0 and shines == 0 and OPAQUE[state]:
            return 0
        if open_sky(world, *here):
            shines = max(shines, sky)
        if NAMES[state] == "furnace" and (fire := world.inventory.furnaces.get(here)) is not None and fire.burn:
            shines = max(shines, 13)
        best = max(best, shines - steps)
        if steps and OPAQUE[state]:
            continue
        x, y, z = here
        for near in ((x + 1, y, z), (x - 1, y, z), (x, y + 1, z), (x, y - 1, z), (x, y, z + 1), (x, y, z - 1)):
            if near not in seen and world.grid.index(*near) >= 0:
                seen.add(near)
                queue.append((near, steps + 1))
    return best


def tick(world: World) -> None:
    """Let the undead burn by day, and hostile mobs appear where it is dark."""
    dark = darkening(world.daytime())
    if dark < 4 and world.time % 20 == 0:
        for mob in list(world.mobs):
            b = mob.body
            if mob.kind in UNDEAD and not b.in_water and open_sky(world, floor(b.x), floor(b.y), floor(b.z)):
                mob.health -= 1
                if mob.health <= 0:
                    world.mobs.remove(mob)
    if world.time % _SPAWN_EVERY == 0 and world.difficulty != "peaceful" and dark > 4:
        _spawn(world)


def _spawn(world: World) -> None:
    if sum(mob.info.hostile for mob in world.mobs) >= _MOST:
        return
    bearing, away = world.rng.uniform(0, math.tau), world.rng.uniform(_NEAR, _FAR)
    x, z = floor(world.body.x + math.cos(bearing) * away), floor(world.body.z + math.sin(bearing) * away)
    kind = world.rng.choice(_HOSTILE)
    y = world.surface(x, z)
    if y < 1 or y + 3 >= world.scene.size[1] or CODE[world.grid.get(x, y, z)] != FULL:
        return
    if any(CODE[s] != EMPTY or FLUID[s] for s in (world.grid.get(x, y + up, z) for up in (1, 2))):
        return
    if light(world, (x, y + 1, z)) <= _SPAWN_LIGHT:
        world.add_mob(kind, x + 0.5, y + 1.0, z + 0.5)
