"""What an expert of any interface reads off the task: its goal, and what the goal needs first."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from crossagent.plugin import Environment, ExpertStuck
from crossagent_craftworld import motor, sight
from crossagent_minecraft_data.recipes import recipes_for

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

P = ParamSpec("P")
R = TypeVar("R")
MINE, CRAFT, KILL = "mine_block", "craft_item", "kill_entity"


class Goal:
    """The goal of the present episode and the world it is in."""

    def __init__(self, env: Environment) -> None:
        self.env = cast("CraftWorld", env)
        setup = self.env.task.setup
        self.event: str = setup["goal"]["event"]
        self.name: str = setup["goal"]["name"]
        self.tool: str | None = setup.get("hand")
        self.world = self.env.world
        self.mouse = motor.Limits(self.env.camera_quantum, self.env.camera_limit)

    @property
    def window(self) -> str | None:
        """Kind of the open window."""
        window = self.world.inventory.window
        return window.kind if window is not None else None

    @property
    def by_hand(self) -> bool:
        """Whether some recipe fits the 2×2 grid of the inventory."""
        return any(not recipe.needs_table for recipe in recipes_for(self.name))

    @property
    def at_grid(self) -> bool:
        """Whether the open window has a grid in which the item can be made."""
        return self.window == "crafting_table" or (self.by_hand and self.window == "inventory")

    @property
    def lacks_tool(self) -> bool:
        """Whether the task's tool is there but not in the hand."""
        held = self.world.inventory.held()
        if self.tool is None or (held is not None and held[0] == self.tool):
            return False
        return motor.find_item(self.world, self.tool) is not None

    def find(self, name: str | None = None) -> sight.Thing:
        """Return the nearest visible thing of a name; raises :class:`ExpertStuck`."""
        name = name or self.name
        thing = sight.find(self.world, name, self.mouse.quantum)
        if thing is None:
            raise ExpertStuck(f"{name} is not in sight")
        return thing


def stuck_when_lost(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the motor controller's :class:`motor.Stuck` into :class:`ExpertStuck`."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except motor.Stuck as stuck:
            raise ExpertStuck(str(stuck)) from stuck

    return wrapped
