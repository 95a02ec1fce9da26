"""The motor controller: which keys, buttons and mouse movement come next to get something done.

Every function looks at the world as it is and returns the next raw tick, or None when nothing is left to do: no memory
between calls, so a skill, an expert of keys and mouse, and a person can take turns. Skills run these to the end;
experts take the first tick. They raise :class:`Stuck` when there is no way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossagent.plugin import RawTick
from crossagent_craftworld import casters, sight
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.mobs import REACH as MOB_REACH
from crossagent_craftworld.mobs import Mob
from crossagent_craftworld.palette import OUTLINES
from crossagent_craftworld.paths import Stuck, feet, next_cell, stand, straight
from crossagent_craftworld.world import EYE, World
from crossagent_minecraft_data.entities import RANGED, weapon
from crossagent_minecraft_data.windows import PLAYER_SLOTS

BLOCK_REACH = 4.0
"""Stops walking when a block is this near: what an observation shows as 4 (reach is 4.5)."""
_BELOW = -0.7
"""What lies deeper than this under one's feet is not picked up."""
ARRIVED = 0.7
"""Near enough to the middle of a cell."""
_HISS = 3
"""From so many ticks of a creeper's hiss on, one backs off."""
_BLOWS_UP = 28
"""By so many ticks the blow that kills it must have been struck."""
_RUN = 0.28
"""Blocks a tick."""
_WALK_UP = ("space", "w")


class Limits:
    """Quantum and limit of the mouse."""

    __slots__ = ("limit", "quantum")

    def __init__(self, quantum: int, limit: int) -> None:
        self.quantum, self.limit = quantum, limit

    def clip(self, dx: int, dy: int) -> tuple[int, int]:
        """Return the part of a movement that one tick can make."""
        return sight.clip(dx, self.limit), sight.clip(dy, self.limit)


# -- looking ---------------------------------------------------------------------------------------------------------
def look(world: World, point: tuple[float, float, float], mouse: Limits) -> RawTick | None:
    """Turn until a point is under the crosshair."""
    turn = sight.aim(world, point, mouse.quantum)
    return None if turn == (0, 0) else RawTick((), (), mouse.clip(*turn))


# -- walking ----------------------------------------------------------------------------------------------------------
def walk(world: World, goals: Sequence[Cell], mouse: Limits, tilt: int | None = None) -> RawTick | None:
    """Walk to the nearest of some cells; None once there.

    Args:
        world: where.
        goals: cells to stand in.
        mouse: quantum and limit.
        tilt: mouse pixels to tilt the view besides; None levels it with the way.
    """
    here = feet(world)
    b = world.body
    for goal in goals:
        if math.hypot(goal[0] + 0.5 - b.x, goal[2] + 0.5 - b.z) < ARRIVED and abs(goal[1] - b.y) < 1.01:
            return None
    way = next_cell(world, goals, here)
    return _towards(world, (way[0] + 0.5, way[2] + 0.5), mouse, tilt)


def _towards(world: World, point: tuple[float, float], mouse: Limits, tilt: int | None) -> RawTick:
    """Turn towards a place on the ground and walk; hop when something is in the way."""
    b = world.body
    level = sight.aim(world, (point[0], world.eye()[1], point[1]), mouse.quantum)
    dx = level[0] if math.hypot(point[0] - b.x, point[1] - b.z) > 0.2 else 0
    camera = mouse.clip(dx, level[1] if tilt is None else tilt)
    if abs(dx) >= mouse.limit:
        return RawTick((), (), camera)
    return RawTick(_WALK_UP if b.hit_wall or b.in_water else ("w",), (), camera)


# -- things ----------------------------------------------------------------------------------------------------------
def stands_near(world: World, cell: Cell, reach: float = BLOCK_REACH - 0.8) -> list[Cell]:
    """Return the cells around a block from which it is in reach, in a fixed order."""
    x, y, z = cell
    out = []
    r = int(reach)
    for dx in range(-r, r + 1):
        for dz in range(-r, r + 1):
            if dx * dx + dz * dz > reach * reach or (dx == 0 and dz == 0):
                continue
            for dy in (0, -1, 1, -2, -3):
                if stand(world, (x + dx, y + dy, z + dz)):
                    out.append((x + dx, y + dy, z + dz))
    return out


def _shows(world: World, at: Cell, cell: Cell) -> bool:
    """Return whether one who stands in a cell sees the middle of a block; kept while no block changes."""
    known = world.memory.setdefault("shows", {})
    key = (world.grid.version, at, cell)
    if key not in known:
        if len(known) > 4096:
            known.clear()
        x, y, z = at[0] + 0.5, at[1] + EYE, at[2] + 0.5
        dx, dy, dz = cell[0] + 0.5 - x, cell[1] + 0.5 - y, cell[2] + 0.5 - z
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        hit = world.grid.cast(x, y, z, dx / length, dy / length, dz / length, length)
        known[key] = hit is not None and hit[0] == cell
    shows: bool = known[key]
    return shows


def approach(world: World, thing: sight.Thing, reach: float, mouse: Limits) -> RawTick | None:
    """Walk up to a visible thing until it is within reach; None once it is.

    With nothing in the way the crosshair stays on the thing, so the movement is the one an observation shows for it.
    """
    if thing.distance <= reach:
        return None
    if thing.kind == "block" and abs(thing.point[1] - world.eye()[1]) > reach and not stands_near(world, thing.cell):
        raise Stuck("too high or too low")
    b = world.body
    away_x, away_z = thing.point[0] - b.x, thing.point[2] - b.z
    share = max(0.0, 1.0 - 1.5 / max(math.hypot(away_x, away_z), 1.5))
    x, z = math.floor(b.x + away_x * share), math.floor(b.z + away_z * share)
    here = feet(world)
    ahead = next((c for c in ((x, here[1] + up, z) for up in (0, 1, -1)) if stand(world, c)), None)
    if ahead is not None and straight(world, ahead):
        camera = mouse.clip(thing.dx, thing.dy)
        if abs(thing.dx) >= mouse.limit:
            return RawTick((), (), camera)
        return RawTick(_WALK_UP if b.hit_wall or b.in_water else ("w",), (), camera)
    step = walk(world, stands_near(world, thing.cell), mouse)
    if step is not None:
        return step
    # near by the map, yet not in reach (standing in water, on an edge): go for it
    return _towards(world, (thing.point[0], thing.point[2]), mouse, thing.dy)


def dig(world: World, cell: Cell, mouse: Limits) -> RawTick | None:
    """Walk to a block, aim at it and break it; None when it is gone. Equips nothing."""
    if not OUTLINES[world.grid.get(*cell)]:
        return None
    hit = world.crosshair()
    if hit is not None and hit.cell == cell and hit.kind == "block" and "left" in world.buttons:
        return RawTick((), ("left",), (0, 0))
    thing = sight.block(world, cell, mouse.quantum)
    if thing is None:
        goals = [c for c in stands_near(world, cell) if not world.headroom or _shows(world, c, cell)]
        step = walk(world, goals, mouse)
        if step is None:
            raise Stuck("out of sight")
        return step
    step = approach(world, thing, BLOCK_REACH, mouse)
    if step is not None:
        return step
    return _press(world, thing, "left", mouse)


def use(world: World, cell: Cell, mouse: Limits) -> RawTick | None:
    """Walk to a block, aim at it and use it once; None when a window is open."""
    if world.inventory.window is not None:
        return None
    thing = sight.block(world, cell, mouse.quantum)
    if thing is None:
        step = walk(world, stands_near(world, cell), mouse)
        if step is None:
            raise Stuck("out of sight")
        return step
    step = approach(world, thing, BLOCK_REACH, mouse)
    if step is not None:
        return step
    if "right" in world.buttons:
        return RawTick()
    return _press(world, thing, "right", mouse)


def _press(world: World, thing: sight.Thing, button: str, mouse: Limits) -> RawTick:
    """Aim and hold a button; while the turn takes more than one tick, only turn."""
    camera = mouse.clip(thing.dx, thing.dy)
    return RawTick((), (button,) if camera == (thing.dx, thing.dy) else (), camera)


def fight(world: World, mob: Mob, mouse: Limits) -> RawTick | None:
    """Follow a mob and strike it whenever a full blow is ready; None when it is dead."""
    if mob not in world.mobs:
        return None
    thing = sight.mob(world, mob, mouse.quantum)
    if thing is None:
        b = mob.body
        spot = (math.floor(b.x), math.floor(b.y), math.floor(b.z))
        goals = [c for c in (spot, (spot[0], spot[1] + 1, spot[2]), (spot[0], spot[1] - 1, spot[2])) if stand(world, c)]
        step = walk(world, goals or stands_near(world, spot), mouse)
        if step is None:
            raise Stuck("out of sight")
        return step
    if mob.kind == "creeper" and mob.charge >= _HISS and not _ends_it(world, mob, thing.distance):
        return RawTick(_retreat(world, mob), (), mouse.clip(thing.dx, thing.dy))  # until it gives up, 7 blocks away
    if thing.distance > MOB_REACH - 0.1:
        try:
            step = approach(world, thing, MOB_REACH - 0.1, mouse)
        except Stuck:
            if mob.kind not in RANGED:
                raise
            step = _towards(world, (thing.point[0], thing.point[2]), mouse, thing.dy)  # out of the hole it blew
        if step is not None:
            return _sprint(step) if mob.panic or mob.kind in casters.RUN_AFTER else step
    camera = mouse.clip(thing.dx, thing.dy)
    ready = world.charged() and mob.hurt <= 10 and "left" not in world.buttons and camera == (thing.dx, thing.dy)
    return RawTick(_evade(world, mob), ("left",) if ready else (), camera)


def _ends_it(world: World, mob: Mob, distance: float) -> bool:
    """Return whether the next blow comes in time: now, or before a creeper blows up if it kills."""
    held = world.inventory.held()
    kills = weapon(held[0] if held is not None else None)[0] >= mob.health
    wait = max(world.cooldown() - world.swing, mob.hurt - 10.0, (distance - MOB_REACH + 0.1) / _RUN, 0.0)
    return wait <= 0 or (kills and mob.charge + wait < _BLOWS_UP)


def _sprint(step: RawTick) -> RawTick:
    """Run, not walk: what panics flees faster than one walks."""
    return RawTick(tuple(sorted({*step.keys, "left.control"})), step.buttons, step.camera) if "w" in step.keys else step


def _evade(world: World, mob: Mob) -> tuple[str, ...]:
    """Return the key that steps out of an angry mob's striking distance: back, else to a side; none when safe."""
    if not mob.angry or not mob.info.attack:
        return ()
    b, m = world.body, mob.body
    dx, dz = b.x - m.x, b.z - m.z
    away = math.hypot(dx, dz)
    return () if away > mob.strike_range(b.half) + 0.5 else _retreat(world, mob)


def _retreat(world: World, mob: Mob) -> tuple[str, ...]:
    """Return the key that steps away from a mob: back, else to a side; none when there is no room."""
    b, m = world.body, mob.body
    dx, dz = b.x - m.x, b.z - m.z
    away = math.hypot(dx, dz)
    if away < 1e-6:
        return ()
    dx, dz = dx / away, dz / away
    y = feet(world)[1]
    for key, x, z in (("s", dx, dz), ("a", -dz, dx), ("d", dz, -dx)):
        cell_x, cell_z = math.floor(b.x + x), math.floor(b.z + z)
        if any(stand(world, (cell_x, h, cell_z)) for h in (y, y - 1)):
            return (key,)
    return ()


def step_onto(world: World, point: tuple[float, float, float], mouse: Limits, push: bool = False) -> RawTick | None:
    """Walk to where something lies on the ground; None once within arm's length.

    With ``push`` the last bit is walked straight on, for what lies where one cannot stand.
    """
    b = world.body
    if math.hypot(point[0] - b.x, point[2] - b.z) < 1.0 and _BELOW < point[1] - b.y < 1.5:
        return None
    cell = (math.floor(point[0]), math.floor(point[1] + 0.2), math.floor(point[2]))
    goals = [c for c in (cell, (cell[0], cell[1] + 1, cell[2]), (cell[0], cell[1] - 1, cell[2])) if stand(world, c)]
    if not goals:
        goals = stands_near(world, cell, 1.5)
    step = walk(world, goals, mouse)
    return _towards(world, (cell[0] + 0.5, cell[2] + 0.5), mouse, None) if step is None and push else step


# -- windows ---------------------------------------------------------------------------------------------------------
def click_slot(world: World, slot: int, button: str, mouse: Limits, shift: bool = False) -> RawTick:
    """Return the next tick towards one click on a slot; the tick that holds the button is the click."""
    move = sight.slot_move(world, slot, mouse.quantum)
    camera = mouse.clip(*move)
    if camera != move or button in world.buttons:
        return RawTick((), (), camera)  # not there yet, or the button must be let go first
    return RawTick(("left.shift",) if shift else (), (button,), camera)


def tap(world: World, key: str) -> RawTick:
    """Return the next tick towards one tap of a key; the tick that holds it is the tap."""
    return RawTick() if key in world.keys else RawTick((key,), (), (0, 0))


def find_item(world: World, item: str) -> int | None:
    """Return where an item is among the player's 36 stacks, hotbar first, the held one before all."""
    stacks = world.inventory.stacks()
    order = [world.inventory.selected, *(i for i in range(36) if i != world.inventory.selected)]
    return next((i for i in order if (stack := stacks[i]) is not None and stack[0] == item), None)


def equip(world: World, item: str, mouse: Limits) -> RawTick | None:
    """Bring an item into the hand: its number key, or a swap in the inventory window; None when it is held."""
    inventory = world.inventory
    held = inventory.held()
    index = find_item(world, item)
    if index is None:
        raise Stuck(f"no {item}")
    window = inventory.window
    if window is None:
        if held is not None and held[0] == item:
            return None
        return tap(world, str(index + 1)) if index < 9 else tap(world, "e")
    if index < 9:
        return tap(world, "escape")
    if window.cursor is not None:
        raise Stuck("cursor holds something")
    slot = PLAYER_SLOTS[window.kind][index]
    if inventory.hovered() != slot:
        return RawTick((), (), mouse.clip(*sight.slot_move(world, slot, mouse.quantum)))
    return tap(world, str(inventory.selected + 1))
