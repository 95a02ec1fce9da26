"""The environment: MineStudio's simulator with CraftWorld's tasks, set up by its own callbacks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from crossagent.plugin import Task, Unavailable
from crossagent_minecraft_data.action_dict import KEYS
from crossagent_minerl.game import GameWorld, KeyControl, Shown
from crossagent_minerl.home import Home, java
from crossagent_minestudio.pointer import ScreenPointer
from crossagent_minestudio.setups import mission

HOME = Home("minestudio")
ADAPTER = Path(str(files("crossagent_minestudio") / "engine" / "minestudio_game.py"))
ENGINE = Path("engine") / "build" / "libs" / "mcprec-6.13.jar"
ACTIONS = frozenset({"attack", "use", "camera", *(a for a in KEYS if a not in ("ESC", "drop", "swapHands"))})
"""What a policy may press; the simulator's ``chat``, ``voxels``, ``mobs`` and ``pickItem`` are not for players."""
_WINDOWS = {"crafting_table": "crafting_table", "furnace": "furnace", "chest": "chest"}


def engine() -> Path:
    """Return the folder that MineStudio takes its engine from."""
    return Path(os.environ.get("MINESTUDIO_DIR") or HOME.folder / "engine-files")


def missing() -> str:
    """Return in one line what is missing before the game can start; empty when nothing is."""
    if problem := HOME.missing("minestudio"):
        return problem
    if not (engine() / ENGINE).is_file():
        return f"MineStudio's engine is not in {engine()}; with a network run: crossagent minestudio install"
    return java()


class MineStudio(GameWorld):
    """MineStudio's simulator (Minecraft 1.16.5), CraftWorld's tasks.

    Args:
        observation: ``text`` (hand, inventory, place), ``pixels`` (the text is empty) or ``both``.
        image_size: Width and height of the picture, scaled from 640×360.
        camera_quantum: Mouse pixels; movements are rounded to multiples of it. 0.15° each.
        camera_limit: Largest movement of one tick, a multiple of the quantum.
        phrasing: How the suite tells its tasks, as in CraftWorld.
        reset_seconds: How long a reset may take: the first one starts the game.
    """

    name = "minestudio"

    def __init__(
        self,
        observation: Shown = "both",
        image_size: Sequence[int] = (224, 224),
        camera_quantum: int = 2,
        camera_limit: int = 300,
        phrasing: str = "plain",
        reset_seconds: float = 900.0,
    ) -> None:
        if len(image_size) != 2 or not all(16 <= int(n) <= 2048 for n in image_size):
            raise ValueError(f"image_size: got {list(image_size)}; expected width and height, 16…2048 each")
        if problem := missing():
            raise Unavailable(problem)
        os.environ["MINESTUDIO_DIR"] = str(engine())
        self._open(HOME.python, ADAPTER, observation, image_size, camera_quantum, camera_limit, reset_seconds)

    def _open(
        self,
        python: Path,
        adapter: Path,
        observation: Shown,
        image_size: Sequence[int],
        quantum: int,
        limit: int,
        reset_seconds: float,
    ) -> None:
        shows = {"pov": observation != "text", "size": [int(n) for n in image_size]}
        super().__init__(python, adapter, shows, observation, quantum, limit, reset_seconds)
        self._interfaces = {"control": KeyControl(self, ACTIONS), "pointer": ScreenPointer(self)}

    def known(self, task: Task) -> frozenset[str]:
        """Return the actions of every task."""
        return ACTIONS

    def mission(self, task: Task, seed: int) -> tuple[str, Mapping[str, Any]]:
        """Return the task's name and its set-up as MineStudio's callbacks take it."""
        return task.name, mission(task, seed)

    def window_of_task(self) -> str:
        """Return the kind of window that opens where the task's set-up put a block with one; empty where it put none."""
        return next((_WINDOWS[name] for name, _ in self.task.setup.get("blocks", ()) if name in _WINDOWS), "")

    def interfaces(self) -> Mapping[str, Any]:
        """Return ``control`` and ``pointer``."""
        return self._interfaces
