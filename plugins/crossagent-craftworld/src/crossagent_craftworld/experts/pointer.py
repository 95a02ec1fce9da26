"""The expert of the screen: clicks on slots and on what can be seen; cannot walk, cannot hold a button."""

from __future__ import annotations

from crossagent.plugin import Call, Environment, ExpertStuck
from crossagent_craftworld import sight
from crossagent_craftworld.experts.crafting import next_click
from crossagent_craftworld.experts.goal import CRAFT, MINE, Goal, stuck_when_lost
from crossagent_craftworld.interfaces import window_targets
from crossagent_minecraft_data.blocks import dig_ticks
from crossagent_minecraft_data.windows import SCREEN, slot_names

REACH = {"block": 4.5, "mob": 3.0}
"""Blocks from the eye."""
_EDGE = 8
"""Pixels from the screen's border where a click turns the view farthest."""


class PointerExpert:
    """The GUI is how a grid is arranged; in the world a click reaches as far as the arm."""

    interface = "pointer"

    @stuck_when_lost
    def propose(self, env: Environment) -> list[Call]:
        """Return one press of a key, or one click with the movement before it."""
        goal = Goal(env)
        if goal.event == CRAFT:
            if goal.at_grid:
                return _click_slot(goal)
            if goal.window is not None:
                return [Call("pointer", "press", ("escape",))]
            if goal.by_hand:
                return [Call("pointer", "press", ("e",))]
            return _click_thing(goal, goal.find("crafting_table"), "right")
        if goal.window is not None:
            return [Call("pointer", "press", ("escape",))]
        if goal.event == MINE:
            held = goal.world.inventory.held()
            if dig_ticks(goal.name, held[0] if held is not None else None) != 0:
                raise ExpertStuck("a click does not hold the button")
        return _click_thing(goal, goal.find(), "left")


def _click_slot(goal: Goal) -> list[Call]:
    window = goal.world.inventory.window
    assert window is not None
    click = next_click(goal.name, window)
    x, y = window_targets(window.kind)[slot_names(window.kind)[click.slot]].center
    button = next((b for b in click.buttons if b not in goal.world.buttons), click.buttons[0])
    return [Call("pointer", "move_to", (x, y)), Call("pointer", "click", (button,))]


def _click_thing(goal: Goal, thing: sight.Thing, button: str) -> list[Call]:
    if thing.distance > REACH["mob" if thing.kind == "mob" else "block"]:
        raise ExpertStuck(f"{thing.name} is out of reach, and a click does not walk")
    rect = goal.env.interface("pointer").targets().get(thing.name)
    if rect is not None:
        x, y = rect.center
        return [Call("pointer", "move_to", (x, y)), Call("pointer", "click", (button,))]
    # Off the screen: a click near the border turns the view there.
    x = _EDGE if thing.dx < 0 else SCREEN[0] - _EDGE
    return [Call("pointer", "move_to", (x, SCREEN[1] // 2)), Call("pointer", "click", ("left",))]
