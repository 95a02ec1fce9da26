"""What a task asks for and where it is: the part all experts share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossagent.plugin import Environment, ExpertStuck
from crossagent_craftworld import sight
from crossagent_craftworld.experts.crafting import table_needed
from crossagent_craftworld.mobs import Mob
from crossagent_craftworld.palette import NAMES

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

TABLE = "crafting_table"


@dataclass(frozen=True, slots=True)
class Goal:
    """The first matching event ends the task."""

    event: str
    """mine_block, craft_item, kill_entity, smelt_item or interact_block."""
    name: str
    tool: str | None
    """What the task gives to hold."""
    needs_table: bool
    """Of a craft: what the player has makes it at a table only."""


def craftworld(env: Environment) -> CraftWorld:
    """Return the environment as what it is; these experts know no other."""
    from crossagent_craftworld.env import CraftWorld

    if not isinstance(env, CraftWorld):
        raise ExpertStuck(f"this expert plays craftworld, not {env.name}")
    return env


def goal_of(env: CraftWorld) -> Goal:
    """Return the goal of the present task; raises :class:`ExpertStuck` when it has none, or the episode is over."""
    goal = env.task.setup.get("goal")
    if goal is None:
        raise ExpertStuck(f"task {env.task.name} has no goal in its set-up")
    if env.over:
        raise ExpertStuck("the episode is over")
    needs_table = goal["event"] == "craft_item" and table_needed(goal["name"], env.world.inventory.totals())
    return Goal(goal["event"], goal["name"], env.task.setup.get("hand"), needs_table)


def block_to_dig(env: CraftWorld, name: str) -> sight.Thing:
    """Return the block to dig: the one being dug, else the nearest visible one; raises :class:`ExpertStuck`."""
    world = env.world
    if world.dig.cell is not None and world.block_at(world.dig.cell) == name:
        thing = sight.block(world, world.dig.cell, env.camera_quantum)
        if thing is not None:
            return thing
    return visible(env, name)


def visible(env: CraftWorld, name: str) -> sight.Thing:
    """Return the nearest visible thing of a name; raises :class:`ExpertStuck`.

    From level 2 on the expert knows where the target stands, and walks there before it is in sight.
    """
    thing = sight.find(env.world, name, env.camera_quantum)
    if thing is None and env.level > 1:
        thing = _placed(env, name)
    if thing is None:
        raise ExpertStuck(f"no {name} in sight")
    return thing


def _placed(env: CraftWorld, name: str) -> sight.Thing | None:
    """Return the nearest block of a name that the set-up put somewhere, seen or not."""
    world = env.world
    x, y, z = world.eye()
    cells = [c for c, state in world.grid.changed_cells() if NAMES[state] == name and c not in world.hidden]
    if not cells:
        return None
    cell = min(cells, key=lambda c: ((c[0] - x) ** 2 + (c[1] - y) ** 2 + (c[2] - z) ** 2, c))
    point = (cell[0] + 0.5, cell[1] + 0.5, cell[2] + 0.5)
    return sight.Thing(name, "block", 0, 0, math.dist(point, (x, y, z)), cell, point)


def mob_to_fight(env: CraftWorld, kind: str) -> Mob:
    """Return the nearest mob of a kind; raises :class:`ExpertStuck` when there is none."""
    body = env.world.body
    found = [m for m in env.world.mobs if m.kind == kind]
    if not found:
        raise ExpertStuck(f"no {kind} left")
    return min(found, key=lambda m: ((m.body.x - body.x) ** 2 + (m.body.z - body.z) ** 2, m.ident))


def wants_tool(env: CraftWorld, goal: Goal) -> bool:
    """Return whether the task's tool is at hand but not in it."""
    held = env.world.inventory.held()
    return (
        goal.tool is not None
        and (held is None or held[0] != goal.tool)
        and any(stack is not None and stack[0] == goal.tool for stack in env.world.inventory.stacks())
    )
