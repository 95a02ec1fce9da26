"""The expert of keys and mouse: the motor controller's next tick, held for one decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossagent.plugin import Call, Environment, ExpertStuck, RawTick
from crossagent_craftworld import motor, sight
from crossagent_craftworld.experts import smelting
from crossagent_craftworld.experts.crafting import Click, layout, next_click
from crossagent_craftworld.experts.goals import (
    TABLE,
    Goal,
    block_to_dig,
    craftworld,
    goal_of,
    mob_to_fight,
    visible,
    wants_tool,
)  # fmt: skip
from crossagent_craftworld.paths import Stuck
from crossagent_minecraft_data.windows import Window, hit

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

TICKS = 4
"""Ticks of one decision; the default of the control space."""


class ControlExpert:
    """Turns, walks, holds the attack button; in windows, moves the cursor and clicks.

    One proposal is one hold: the same keys and buttons for :data:`TICKS` ticks, the mouse moving in the first. So it
    overshoots a little, cannot tap twice within a decision, and has to let a button go before it clicks again.
    """

    interface = "control"

    def propose(self, env: Environment) -> list[Call]:
        """Return the calls of one hold."""
        world_env = craftworld(env)
        goal = goal_of(world_env)
        try:
            raw = self._next(world_env, goal)
        except Stuck as stuck:
            raise ExpertStuck(str(stuck)) from stuck
        if raw is None:
            raise ExpertStuck("nothing left to do")
        keys, buttons = list(raw.keys), list(raw.buttons)
        first = Call("control", "step", (keys, buttons, list(raw.camera)))
        return [first, *[Call("control", "step", (keys, buttons, [0, 0]))] * (TICKS - 1)]

    def _next(self, env: CraftWorld, goal: Goal) -> RawTick | None:
        world = env.world
        mouse = motor.Limits(env.camera_quantum, env.camera_limit)
        window = world.inventory.window
        if goal.event == "craft_item":
            if window is None:
                if goal.needs_table:
                    return motor.use(world, visible(env, TABLE).cell, mouse)
                return motor.tap(world, "e")
            if window.grid_width < (3 if goal.needs_table else 2):
                return motor.tap(world, "escape")
            return self._craft(env, goal.name, window, mouse)
        if goal.event == "smelt_item" and window is not None and window.kind == smelting.BLOCK:
            return self._smelt(env, goal.name, window, mouse)
        if window is not None:
            return motor.tap(world, "escape")
        if goal.event in ("smelt_item", "interact_block"):
            block = smelting.BLOCK if goal.event == "smelt_item" else goal.name
            return motor.use(world, visible(env, block).cell, mouse)
        if wants_tool(env, goal) and goal.tool is not None:
            return motor.equip(world, goal.tool, mouse)
        if goal.event == "mine_block":
            return motor.dig(world, block_to_dig(env, goal.name).cell, mouse)
        return motor.fight(world, mob_to_fight(env, goal.name), mouse)

    def _craft(self, env: CraftWorld, item: str, window: Window, mouse: motor.Limits) -> RawTick:
        """Return the hold that makes the next click; cells in a row are filled by one drag of the right button."""
        world = env.world
        drag = self._drag_on(env, item, window, mouse)
        if drag is not None:
            return drag
        click: Click = next_click(item, window)
        button = next((b for b in click.buttons if b not in world.buttons), click.buttons[0])
        return motor.click_slot(world, click.slot, button, mouse)

    def _smelt(self, env: CraftWorld, item: str, window: Window, mouse: motor.Limits) -> RawTick:
        world = env.world
        slot = smelting.next_shift_click(item, window, world.inventory.furnaces[world.inventory.at or (0, 0, 0)])
        return RawTick() if slot is None else motor.click_slot(world, slot, "left", mouse, shift=True)

    def _drag_on(self, env: CraftWorld, item: str, window: Window, mouse: motor.Limits) -> RawTick | None:
        inventory = env.world.inventory
        if not inventory.dragging or "right" not in env.world.buttons or window.cursor is None:
            return None
        if window.slots[0] is not None and window.slots[0][0] == item:
            return None
        plan = layout(item, window)
        wanted = {slot for slot, name in plan.items() if name == window.cursor[0] and window.slots[slot] is None}
        done = set(inventory.dragging)
        best: tuple[int, int, tuple[int, int]] | None = None
        for slot in sorted(wanted):
            dx, dy = inventory.slot_offset(slot)
            move = (sight.snap(dx, mouse.quantum), sight.snap(dy, mouse.quantum))
            if mouse.clip(*move) == move and passed(inventory.cursor, move, window.kind) <= wanted | done:
                length = abs(dx) + abs(dy)
                if best is None or length < best[0]:
                    best = (length, slot, move)
        return RawTick((), ("right",), best[2]) if best is not None else None


def passed(cursor: tuple[int, int], move: tuple[int, int], kind: str) -> set[int]:
    """Return every slot that a straight mouse movement touches, sampled finely."""
    (x, y), (dx, dy) = cursor, move
    steps = max(abs(dx), abs(dy), 1)
    return {slot for i in range(steps + 1) if (slot := hit(kind, x + dx * i // steps, y + dy * i // steps)) >= 0}
