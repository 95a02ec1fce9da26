"""Breaking blocks: progress, speed, drops, what falls off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossagent_craftworld import drops, keyboard, physics
from crossagent_craftworld.grid import Cell
from crossagent_craftworld.hunger import BREAK
from crossagent_craftworld.palette import AIR, BARRIER, CODE, EMPTY, NAMES, PARTNER, intern
from crossagent_minecraft_data.blocks import BLOCKS, UNDER_WATER, dig_ticks
from crossagent_minecraft_data.loot import block_drops

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

PAUSE = 5
"""Ticks after a block broke (not at once) before the next one is begun."""


class Dig:
    """The block being broken, with what, and how far: it starts again when any of these changes."""

    __slots__ = ("cell", "pause", "progress", "tool")

    def __init__(self) -> None:
        self.cell: Cell | None = None
        self.tool: str | None = None
        self.progress = 0.0
        """0…1."""
        self.pause = 0

    def stop(self) -> None:
        """Forget the progress: the button was let go, or the crosshair left."""
        self.cell, self.tool, self.progress, self.pause = None, None, 0.0, 0

    def save(self) -> tuple[Any, ...]:
        """Return the state, for :meth:`load`."""
        return (self.cell, self.tool, self.progress, self.pause)

    def load(self, state: tuple[Any, ...]) -> None:
        """Go back to a :meth:`save`."""
        self.cell, self.tool, self.progress, self.pause = state


def dig(world: World, cell: Cell) -> None:
    """Dig at a block for one tick of held attack. ``dig_ticks`` such ticks break it, the first one included."""
    state = world.dig
    if state.pause:
        state.pause -= 1
        return
    held = world.inventory.held()
    tool = held[0] if held else None
    if state.cell != cell or state.tool != tool:
        state.cell, state.tool, state.progress = cell, tool, 0.0
    block = world.grid.get(*cell)
    if block == BARRIER:
        return
    wet = world.body.in_water and physics.submerged(world.grid, *world.eye())
    ticks = dig_ticks(NAMES[block], tool, in_water=wet, on_ground=world.body.on_ground)
    if ticks < 0:
        return
    if ticks:
        state.progress += 1.0 / ticks
        if state.progress < 1.0 - 1e-9:
            return
    destroy(world, cell, tool)
    if world.hunger is not None:
        world.hunger.exhaustion += BREAK
    state.stop()
    if ticks:
        state.pause = PAUSE


def destroy(world: World, cell: Cell, tool: str | None) -> None:
    """Break a block now: the event, its drops, what it contained and what stood on it."""
    name = remove(world, cell)
    world.emit("mine_block", name)
    _leave(world, cell, name, tool)


def remove(world: World, cell: Cell) -> str:
    """Take a block away with its other half; what it contained lies there, what stood on it falls off. Return its name."""
    x, y, z = cell
    state = world.grid.get(x, y, z)
    name = NAMES[state]
    world.grid.set(x, y, z, intern("water") if name in UNDER_WATER else AIR)
    partner = PARTNER[state]
    if partner is not None:
        other = (x + partner[0][0], y + partner[0][1], z + partner[0][2])
        if PARTNER[at := world.grid.get(*other)] is not None and NAMES[at] == name:
            world.grid.set(*other, AIR)
    if world.inventory.at == cell:
        keyboard.throw(world, world.inventory.close())
    for stack in world.inventory.empty_out(cell):
        world.drops.append(drops.from_block(*stack, x, y, z, world.rng))
    above = (x, y + 1, z)
    while needs_floor(fallen := world.grid.get(*above)):
        world.grid.set(*above, AIR)
        _leave(world, above, NAMES[fallen], None)
        above = (x, above[1] + 1, z)
    return name


def needs_floor(state: int) -> bool:
    """Return whether a block falls off when what it stands on is gone: plants, torches, rails, carpets."""
    name = NAMES[state]
    if name in ("cactus", "bamboo") or name.endswith("_carpet"):
        return True
    return CODE[state] == EMPTY and name not in ("cobweb", "vine") and bool(BLOCKS[name].outline)


def _leave(world: World, cell: Cell, name: str, tool: str | None) -> None:
    for item, count in block_drops(name, tool, world.rng):
        world.drops.append(drops.from_block(item, count, *cell, world.rng))
