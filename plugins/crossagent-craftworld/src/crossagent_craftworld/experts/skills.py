"""The expert of the skill library: names what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossagent.plugin import Call, Environment, ExpertStuck
from crossagent_craftworld import sight
from crossagent_craftworld.experts import progress, smelting
from crossagent_craftworld.experts.goals import TABLE, Goal, craftworld, goal_of, mob_to_fight, visible, wants_tool

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld


class SkillsExpert:
    """Calls one skill at a time. With the basic library it goes to a table and opens it, and gets no further there."""

    interface = "skills"

    def propose(self, env: Environment) -> list[Call]:
        """Return one skill call; with the full library, from level 2 on, what is not in sight is looked for."""
        world_env = craftworld(env)
        goal = goal_of(world_env)
        wanted = _wanted(goal)
        if world_env.level > 1 and wanted and world_env.interface("skills").full:
            window = world_env.world.inventory.window
            hidden = sight.find(world_env.world, wanted, world_env.camera_quantum) is None
            if hidden and (window is None or window.kind == "inventory"):
                return _call("find", wanted)
        return self._next(world_env, goal)

    def _next(self, world_env: CraftWorld, goal: Goal) -> list[Call]:
        if world_env.task.setup.get("long"):
            return self._long(world_env, goal.name)
        if goal.event == "craft_item":
            if not goal.needs_table or world_env.interface("skills").full:
                return _call("craft", goal.name)
            window = world_env.world.inventory.window
            if window is not None and window.kind == TABLE:
                raise ExpertStuck("no skill crafts at a table")
            visible(world_env, TABLE)
            return _call("open", TABLE)
        if goal.event == "smelt_item":
            if world_env.interface("skills").full:
                return _call("smelt", goal.name)
            window = world_env.world.inventory.window
            if window is not None and window.kind == smelting.BLOCK:
                raise ExpertStuck("no skill smelts")
            visible(world_env, smelting.BLOCK)
            return _call("open", smelting.BLOCK)
        if goal.event == "interact_block":
            visible(world_env, goal.name)
            return _call("open", goal.name)
        if wants_tool(world_env, goal) and goal.tool is not None:
            return _call("equip", goal.tool)
        if goal.event == "mine_block":
            visible(world_env, goal.name)
            return _call("mine", goal.name)
        mob_to_fight(world_env, goal.name)
        visible(world_env, goal.name)
        return _call("attack", goal.name)

    @staticmethod
    def _long(env: CraftWorld, item: str) -> list[Call]:
        if not env.interface("skills").full:
            raise ExpertStuck("the basic library crafts nothing at a table")
        return _call(*progress.next_step(env, item))


def _wanted(goal: Goal) -> str:
    """Return what has to be in sight: the target, or the block it is made at; "" when nothing has to."""
    if goal.event == "smelt_item":
        return smelting.BLOCK
    if goal.event == "craft_item":
        return TABLE if goal.needs_table else ""
    return goal.name


def _call(name: str, *args: str) -> list[Call]:
    return [Call("skills", "call", (name, *args))]
