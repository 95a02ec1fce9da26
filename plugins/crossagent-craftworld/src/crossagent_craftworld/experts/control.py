"""The expert of keys and mouse: the motor controller's next tick, held as long as an action lasts."""

from __future__ import annotations

from crossagent.plugin import Call, Environment, ExpertStuck, RawTick
from crossagent_craftworld import motor
from crossagent_craftworld.experts.crafting import next_click
from crossagent_craftworld.experts.goal import CRAFT, MINE, Goal, stuck_when_lost

TICKS = 4
"""Ticks of one decision: what the control space's actions last by default."""


class ControlExpert:
    """Keys do anything, slowly."""

    interface = "control"

    @stuck_when_lost
    def propose(self, env: Environment) -> list[Call]:
        """Return one hold of :data:`TICKS` ticks, the mouse moving in the first."""
        raw = _next(Goal(env))
        if raw is None:
            raise ExpertStuck("nothing left to do")
        keys, buttons = list(raw.keys), list(raw.buttons)
        return [
            Call("control", "step", (keys, buttons, list(raw.camera) if index == 0 else [0, 0]))
            for index in range(TICKS)
        ]


def _next(goal: Goal) -> RawTick | None:
    world, mouse = goal.world, goal.mouse
    if goal.event == CRAFT:
        if goal.at_grid:
            window = world.inventory.window
            assert window is not None
            click = next_click(goal.name, window)
            # A button that is down has to be let go first: where either will do, the other one saves a turn.
            button = next((b for b in click.buttons if b not in world.buttons), click.buttons[0])
            return motor.click_slot(world, click.slot, button, mouse)
        if goal.window is not None:
            return motor.tap(world, "escape")
        if goal.by_hand:
            return motor.tap(world, "e")
        return motor.use(world, goal.find("crafting_table").cell, mouse)
    if goal.window is not None:
        return motor.tap(world, "escape")
    if goal.lacks_tool and goal.tool is not None:
        return motor.equip(world, goal.tool)
    if goal.event == MINE:
        hit = world.crosshair()
        if hit is not None and hit.mob is None and hit.name == goal.name and world.dig.progress > 0:
            return motor.dig(world, hit.cell, mouse)
        return motor.dig(world, goal.find().cell, mouse)
    thing = goal.find()
    if thing.mob is None:
        raise ExpertStuck(f"{goal.name} is not in sight")
    return motor.fight(world, thing.mob, mouse)
