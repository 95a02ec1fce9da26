"""The tasks of the toy world, and an expert for each of its interfaces."""

from __future__ import annotations

from typing import Any, cast

from crossagent.envs.base import Environment, ExpertStuck
from crossagent.testing.toy import ANIMALS, FETCHED, LIMIT, REACH, RECIPES, SLOTS, ToyWorld
from crossagent.types import Call, Task

_SPLITS = {
    "train": ("get:apple", "get:shell", "make:bow", "make:axe", "catch:bug", "catch:frog"),
    "demo": ("get:coin", "make:dart", "catch:crab"),
    "ood": ("get:leaf", "make:sling", "catch:moth"),
}
HOLD = 4
"""Ticks of one control decision."""


class ToySuite:
    """Twelve tasks in three categories (get, make, catch) and one that cannot be solved."""

    def __init__(self, **options: Any) -> None:
        self._tasks = {name: _task(name, split) for split, names in _SPLITS.items() for name in names}
        self._tasks["get:moon"] = Task(
            "get:moon",
            "get",
            "get moon",
            "toy",
            {"things": []},
            8,
            60,
            solvable=False,
            reason="it is out of this world",
        )

    def tasks(self) -> tuple[Task, ...]:
        """Return every task in a fixed order."""
        return tuple(self._tasks.values())

    def get(self, name: str) -> Task:
        """Return one task; raises ``KeyError``."""
        return self._tasks[name]


def _task(name: str, split: str) -> Task:
    category, goal = name.split(":")
    if category == "make":
        things = [FETCHED] if FETCHED in RECIPES[goal] else ["leaf"]
    else:
        things = [goal, "coin" if goal != "coin" else "shell"]
    return Task(
        name, category, f"{category} {goal}", "toy", {"things": things}, max_turns=8, max_ticks=60, splits=(split,)
    )


def next_goal(world: ToyWorld) -> tuple[str, str]:
    """Return what a player has to do next: ("thing", name) to take it, ("slot", name) to click it on the bench."""
    kind, goal = world.task.name.split(":")
    if kind != "make":
        return "thing", goal
    parts = RECIPES[goal]
    if FETCHED in parts and FETCHED not in world.have:
        return "thing", FETCHED
    if set(world.picked) - set(parts):
        return "slot", "clear"
    return "slot", next((p for p in parts if p not in world.picked), "result")


def _distance(world: ToyWorld, name: str) -> int:
    if name not in world.things:
        raise ExpertStuck(f"no {name} here")
    return world.things[name] - world.position


class SkillsExpert:
    """Walks to the thing and takes it; stuck at animals and at the bench."""

    interface = "skills"

    def propose(self, env: Environment) -> list[Call]:
        """Return one skill call."""
        world = cast(ToyWorld, env)
        what, name = next_goal(world)
        if what == "slot" or world.bench:
            raise ExpertStuck("skills know no bench")
        if name in ANIMALS:
            raise ExpertStuck("skills know no animals")
        return [Call("skills", "call", ("goto" if abs(_distance(world, name)) > REACH else "take", name))]


class PointerExpert:
    """Uses the bench, and takes what is in reach; stuck where one must walk."""

    interface = "pointer"

    def propose(self, env: Environment) -> list[Call]:
        """Return one press, or one movement with a click."""
        world = cast(ToyWorld, env)
        what, name = next_goal(world)
        if world.bench != (what == "slot"):
            return [Call("pointer", "press", ("e",))]
        if name == "clear":
            return [Call("pointer", "move_to", SLOTS["result"]), Call("pointer", "click", ("right", 1, ()))]
        if what == "thing" and abs(_distance(world, name)) > REACH:
            raise ExpertStuck("a pointer cannot walk")
        return [
            Call("pointer", "move_to", world.targets()[name].center),
            Call("pointer", "click", ("left", 1, ())),
        ]


class ControlExpert:
    """Walks while holding the button, and moves the cursor over the bench in small steps; never stuck, often slow."""

    interface = "control"

    def propose(self, env: Environment) -> list[Call]:
        """Return four ticks of one hold, the mouse moving in the first."""
        world = cast(ToyWorld, env)
        what, name = next_goal(world)
        if world.bench != (what == "slot"):
            return _hold([] if "e" in world.held else ["e"], [], (0, 0))
        if name == "clear":
            return _hold([], ["right"], (0, 0))
        if what == "slot":
            (x, y), (cx, cy) = SLOTS[name], world.cursor
            dx, dy = (max(-LIMIT, min(LIMIT, v)) for v in (x - cx, y - cy))
            there = (dx, dy) == (x - cx, y - cy)
            return _hold([], ["left"] if there else [], (dx, dy))
        d = _distance(world, name)
        walk = ["d"] if d > 0 else ["a"] if d < 0 else []
        return _hold(walk, ["left"] if abs(d) <= HOLD else [], (0, 0))


def _hold(keys: list[str], buttons: list[str], camera: tuple[int, int]) -> list[Call]:
    return [Call("control", "step", (tuple(keys), tuple(buttons), camera if i == 0 else (0, 0))) for i in range(HOLD)]
