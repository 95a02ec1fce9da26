"""The text a policy reads: what is under the crosshair, what is near, what is held; or the open window.

Regular on purpose: fixed keywords, names copied into actions as they are, offsets that are the mouse movement itself
(clipped to what one action can move), distances in whole blocks, rounded up. An entry of ``see`` is
``name dx dy distance``; a slot is ``slot item count dx dy``.
"""

from __future__ import annotations

import math

from crossagent_craftworld import night, sight
from crossagent_craftworld.world import World
from crossagent_minecraft_data.windows import PLAYER_SLOTS, slot_names

MOST_KINDS = 6
MOST_SLOTS = 8


def text(world: World, quantum: int, limit: int) -> str:
    """Return the observation of a world; ``quantum`` and ``limit`` of the mouse in pixels."""
    parts = _window(world, quantum, limit) if world.inventory.window is not None else _scene(world, quantum, limit)
    if world.health < 20:
        parts.append(f"health {math.ceil(world.health)}")
    if world.hunger is not None and world.hunger.food < 20:
        parts.append(f"food {world.hunger.food}")
    if world.fire:
        parts.append("burning")
    if world.day_night and night.darkening(world.daytime()) > 4:
        parts.append("night")
    if world.buttons:
        parts.append("holding " + " ".join(sorted(world.buttons)))
    return " ".join(parts)


def _scene(world: World, quantum: int, limit: int) -> list[str]:
    hit = world.crosshair()
    parts = [f"aim {hit.name} {math.ceil(hit.distance)}" if hit is not None else "aim none"]
    if world.dig.progress > 0:
        parts.append(f"crack {int(world.dig.progress * 10)}")
    parts.append("see")
    for thing in sight.things(world, quantum, world.named):
        dx, dy = sight.clip(thing.dx, limit), sight.clip(thing.dy, limit)
        parts.append(f"{thing.name} {dx} {dy} {math.ceil(thing.distance - 1e-9)}")
    held = world.inventory.held()
    parts.append(f"hand {held[0]}" if held is not None else "hand none")
    totals = world.inventory.totals()
    if totals:
        parts.append("have")
        parts += [f"{item} {min(count, 99)}" for item, count in list(totals.items())[:MOST_KINDS]]
    if world.body.hit_wall:
        parts.append("bump")
    if world.body.in_water:
        parts.append("water")
    if not world.charged():
        parts.append("charging")
    return parts


def _window(world: World, quantum: int, limit: int) -> list[str]:
    inventory = world.inventory
    window = inventory.window
    assert window is not None
    names = slot_names(window.kind)

    def offset(slot: int) -> str:
        dx, dy = sight.slot_move(world, slot, quantum)
        return f"{sight.clip(dx, limit)} {sight.clip(dy, limit)}"

    cursor, hovered = window.cursor, inventory.hovered()
    parts = [f"window {window.kind}"]
    parts.append(f"cursor {cursor[0]} {cursor[1]}" if cursor is not None else "cursor none")
    parts.append(f"over {names[hovered]}" if hovered >= 0 else "over none")
    width = window.grid_width
    if width:
        cells = range(1, 1 + width * width)
        parts.append("grid " + " ".join(stack[0] if (stack := window.slots[c]) is not None else "-" for c in cells))
        columns = [sight.slot_move(world, c, quantum)[0] for c in range(1, 1 + width)]
        rows = [sight.slot_move(world, c, quantum)[1] for c in range(1, 1 + width * width, width)]
        parts.append("cols " + " ".join(str(sight.clip(c, limit)) for c in columns))
        parts.append("rows " + " ".join(str(sight.clip(r, limit)) for r in rows))
        result = window.slots[0]
        parts.append(f"result {result[0]} {result[1]} {offset(0)}" if result is not None else "result none")
    shown, free = 0, None
    others = [] if width else list(range(len(names) - 36))
    for slot in [*others, *PLAYER_SLOTS[window.kind]]:
        stack = window.slots[slot]
        if stack is None:
            free = slot if free is None and slot not in others else free
        elif shown < MOST_SLOTS:
            shown += 1
            parts.append(f"{names[slot]} {stack[0]} {stack[1]} {offset(slot)}")
    if cursor is not None and free is not None:
        parts.append(f"free {names[free]} {offset(free)}")
    return parts
