"""The environment: MineRL 0.4.4's tasks, through keys and through its own macro actions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from crossagent.plugin import Event, Param, RawTick, SkillFailed, SkillSpec, Task, Unavailable
from crossagent_minerl.frame import Frame
from crossagent_minerl.game import GameWorld, KeyControl, Shown
from crossagent_minerl.home import Home, java
from crossagent_minerl.missions import ITEMS, MISSIONS

HOME = Home("minerl")
ADAPTER = Path(str(files("crossagent_minerl") / "engine" / "minerl_game.py"))
ENGINE = Path("Malmo") / "Minecraft" / "build"
_PATIENCE = 4
"""Ticks that a macro action has to show in the inventory."""


def missing() -> str:
    """Return in one line what is missing before the game can start; empty when nothing is."""
    if problem := HOME.missing("minerl"):
        return problem
    root = HOME.site("minerl")
    assert root is not None
    if not (root / ENGINE).is_dir():
        return f"MineRL's engine is not built in {root / ENGINE}; with a JDK 8 and a network run: crossagent minerl install"
    return java()


class MineRL(GameWorld):
    """MineRL 0.4.4 (Minecraft 1.11): its own tasks, pictures of 64×64.

    Items have the names of Minecraft 1.16 (``oak_log``, ``oak_planks``), so that a policy meets the words it knows.

    Args:
        observation: ``text`` (hand, inventory, compass), ``pixels`` (the text is empty) or ``both``.
        camera_quantum: Mouse pixels; movements are rounded to multiples of it. 0.15° each.
        camera_limit: Largest movement of one tick, a multiple of the quantum.
        reset_seconds: How long a reset may take: the first one starts the game.
    """

    name = "minerl"
    names = ITEMS

    def __init__(
        self,
        observation: Shown = "both",
        camera_quantum: int = 6,
        camera_limit: int = 300,
        reset_seconds: float = 600.0,
    ) -> None:
        if problem := missing():
            raise Unavailable(problem)
        self._open(HOME.python, ADAPTER, observation, camera_quantum, camera_limit, reset_seconds)

    def _open(
        self, python: Path, adapter: Path, observation: Shown, quantum: int, limit: int, reset_seconds: float
    ) -> None:
        shows = {"pov": observation != "text"}
        super().__init__(python, adapter, shows, observation, quantum, limit, reset_seconds)
        self._interfaces = {
            "control": KeyControl(self, frozenset().union(*(m.actions for m in MISSIONS.values()))),
            "skills": Macros(self),
        }

    def known(self, task: Task) -> frozenset[str]:
        """Return the actions of a mission."""
        return MISSIONS[task.setup["mission"]].actions

    def mission(self, task: Task, seed: int) -> tuple[str, Mapping[str, Any]]:
        """Return the name under which MineRL registered the task."""
        return f"MineRL{task.setup['mission']}-v0", {}

    def interfaces(self) -> Mapping[str, Any]:
        """Return ``control`` and ``skills``."""
        return self._interfaces

    def happened(self, before: Frame, after: Frame) -> list[Event]:
        """Return what came into the inventory: MineRL tells nothing else."""
        old = before.inventory
        return [Event("obtain", n, c - old.get(n, 0)) for n, c in after.inventory.items() if c > old.get(n, 0)]


class Macros:
    """MineRL's macro actions as skills. A :class:`crossagent.plugin.Skills`."""

    _SKILLS = (
        SkillSpec("craft", (Param("item"),), "craft an item; table and furnace recipes need the block near"),
        SkillSpec("smelt", (Param("item"),), "smelt an item with a furnace near"),
        SkillSpec("place", (Param("item"),), "place a block where the crosshair is"),
        SkillSpec("equip", (Param("item"),), "take an item into the hand"),
    )
    _ACTIONS: Mapping[str, tuple[str, ...]] = {
        "craft": ("craft", "nearbyCraft"), "smelt": ("nearbySmelt",), "place": ("place",), "equip": ("equip",),
    }  # fmt: skip

    def __init__(self, env: MineRL) -> None:
        self._env = env

    def list(self) -> tuple[SkillSpec, ...]:
        """Return the four macros."""
        return self._SKILLS

    def call(self, name: str, *args: Any) -> None:
        """Do a macro: a tick, and up to three more until it shows. Raises :class:`SkillFailed` with the reason."""
        env = self._env
        if env.over:
            return
        if name not in self._ACTIONS or len(args) != 1:
            raise SkillFailed(f"no skill {name}")
        item = str(args[0])
        choices = MISSIONS[env.task.setup["mission"]].choices
        action = next((a for a in self._ACTIONS[name] if item in choices.get(a, ())), None)
        if action is None:
            can = sorted(i for a in self._ACTIONS[name] for i in choices.get(a, ()))
            raise SkillFailed(f"cannot {name} {item} here; can: {', '.join(can) or 'nothing'}")
        before = env.frame
        if name == "equip" and before.held == item:
            return
        theirs = next((t for t, ours in ITEMS.items() if ours == item), item)
        env.tick(RawTick((f"{name}.{item}",)), {action: theirs})
        for _ in range(_PATIENCE - 1):
            if env.over or (env.frame.inventory, env.frame.held) != (before.inventory, before.held):
                break
            env.tick(RawTick())
        if not env.over and not self._done(name, item, before, env.frame):
            raise SkillFailed(f"{name} {item} did nothing")

    def _done(self, name: str, item: str, before: Frame, after: Frame) -> bool:
        had, has = before.inventory.get(item, 0), after.inventory.get(item, 0)
        return {"equip": after.held == item, "place": has < had}.get(name, has > had)
