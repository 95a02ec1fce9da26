"""The expert of the screen: clicks on what it sees, and keys that are tapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossagent.plugin import Call, Environment, ExpertStuck, Pointer
from crossagent_craftworld import sight
from crossagent_craftworld.experts import smelting
from crossagent_craftworld.experts.crafting import next_click
from crossagent_craftworld.experts.goals import TABLE, Goal, craftworld, goal_of, mob_to_fight, visible, wants_tool
from crossagent_craftworld.mobs import REACH as MOB_REACH
from crossagent_craftworld.motor import find_item
from crossagent_craftworld.world import REACH
from crossagent_minecraft_data.blocks import dig_ticks
from crossagent_minecraft_data.windows import Window, slot_names

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

_SIDE = 300
"""Mouse pixels to the side up to which a thing is well on the screen (its edge is at 340)."""


class PointerExpert:
    """Crafts by clicking slots, opens a table in reach, strikes mobs in reach, breaks what breaks at once.

    It turns the view by clicking at the edge of the screen, and cannot walk or hold a button.
    """

    interface = "pointer"

    def propose(self, env: Environment) -> list[Call]:
        """Return the calls of one gesture."""
        world_env = craftworld(env)
        goal = goal_of(world_env)
        window = world_env.world.inventory.window
        if goal.event == "craft_item":
            if window is None:
                if goal.needs_table:
                    return self._on_thing(world_env, visible(world_env, TABLE), "right", REACH)
                return [Call("pointer", "press", ("e",))]
            if window.grid_width < (3 if goal.needs_table else 2):
                return [Call("pointer", "press", ("escape",))]
            click = next_click(goal.name, window)
            name = slot_names(window.kind)[click.slot]
            return self._click(world_env.interface("pointer").targets()[name].center, click.buttons[0])
        if goal.event == "smelt_item" and window is not None and window.kind == smelting.BLOCK:
            return self._smelt(world_env, goal.name, window)
        if window is not None:
            return [Call("pointer", "press", ("escape",))]
        if goal.event in ("smelt_item", "interact_block"):
            block = smelting.BLOCK if goal.event == "smelt_item" else goal.name
            return self._on_thing(world_env, visible(world_env, block), "right", REACH)
        if wants_tool(world_env, goal) and goal.tool is not None:
            index = find_item(world_env.world, goal.tool)
            if index is None or index > 8:
                raise ExpertStuck(f"{goal.tool} is not in the hotbar")
            return [Call("pointer", "press", (str(index + 1),))]
        return self._break(world_env, goal) if goal.event == "mine_block" else self._strike(world_env, goal)

    def _smelt(self, env: CraftWorld, item: str, window: Window) -> list[Call]:
        inventory = env.world.inventory
        slot = smelting.next_shift_click(item, window, inventory.furnaces[inventory.at or (0, 0, 0)])
        if slot is None:
            raise ExpertStuck("it smelts, and a pointer cannot wait")
        name = slot_names(window.kind)[slot]
        x, y = env.interface("pointer").targets()[name].center
        return [Call("pointer", "move_to", (x, y)), Call("pointer", "click", ("left", 1, ["shift"]))]

    def _break(self, env: CraftWorld, goal: Goal) -> list[Call]:
        held = env.world.inventory.held()
        if dig_ticks(goal.name, held[0] if held else None) > 1:
            raise ExpertStuck(f"{goal.name} does not break at one click")
        return self._on_thing(env, visible(env, goal.name), "left", REACH)

    def _strike(self, env: CraftWorld, goal: Goal) -> list[Call]:
        mob = mob_to_fight(env, goal.name)
        thing = sight.mob(env.world, mob, env.camera_quantum)
        if thing is None:
            raise ExpertStuck(f"no {goal.name} in sight")
        if thing.distance <= MOB_REACH and (not env.world.charged() or mob.hurt > 10):
            raise ExpertStuck("the next blow is not ready, and a pointer cannot wait")
        return self._on_thing(env, thing, "left", MOB_REACH)

    def _on_thing(self, env: CraftWorld, thing: sight.Thing, button: str, reach: float) -> list[Call]:
        """Click on a thing in reach; turn towards it first when it is off the screen."""
        if thing.distance > reach - 0.05:
            raise ExpertStuck(f"{thing.name} is out of reach")
        pointer: Pointer = env.interface("pointer")
        width, height = pointer.size
        if abs(thing.dx) > _SIDE:
            return self._click((width - 4 if thing.dx > 0 else 4, height // 2), "left")
        rect = pointer.targets().get(thing.name)
        if rect is None:
            # above or below the screen: bring it to the middle first
            return self._click((width // 2, height - 4 if thing.dy > 0 else 4), "left")
        return self._click(rect.center, button)

    @staticmethod
    def _click(pixel: tuple[int, int], button: str) -> list[Call]:
        return [Call("pointer", "move_to", pixel), Call("pointer", "click", (button, 1, []))]
