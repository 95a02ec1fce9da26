"""One game that a person plays: what arrives from the page becomes ticks, what is seen goes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from crossagent_craftworld import observe
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_minecraft_data.controls import BUTTONS, KEYS
from crossagent_minecraft_data.windows import SCREEN

_NEWEST = 8
"""Events that the page shows."""
_MOST = 1200
"""Mouse pixels one tick may move."""


class Session:
    """A world at the disposal of one page. Calls come from the server's threads and wait for each other."""

    def __init__(self, task: str, seed: int = 0, options: Mapping[str, Any] | None = None) -> None:
        """Raises ``ValueError`` for an unknown task, ``TypeError`` or ``ValueError`` for a wrong option."""
        self._lock = threading.Lock()
        self._env = CraftWorld(**{"camera_quantum": 1, "camera_limit": _MOST, **(options or {}), "image_size": SCREEN})
        self._suite = suite(**(options or {}))
        self._seed = 0
        self.reset(task, seed)

    def reset(self, task: str, seed: int) -> bytes:
        """Begin an episode; returns what :meth:`act` returns. Raises ``ValueError`` for an unknown task."""
        try:
            found = self._suite.get(task)
        except KeyError:
            raise ValueError(
                f"--task {task}: there is none of this name. Fix: crossagent tasks craftworld lists them"
            ) from None
        if not found.solvable:
            raise ValueError(f"--task {task}: cannot be solved ({found.reason}); choose another")
        with self._lock:
            self._seed = seed
            self._env.reset(found, seed)
            return self._frame()

    def task_names(self) -> list[str]:
        """Return the names of the tasks one can play."""
        return [task.name for task in self._suite.tasks() if task.solvable]

    def act(self, what: Mapping[str, Any]) -> bytes:
        """Take the ticks of one message; returns the state as JSON and the picture (see :func:`pack`).

        ``what``: ``ticks`` 0…20, and for each of them held ``keys`` and ``buttons``; ``camera`` [dx, dy] in mouse pixels
        moves in the first. Raises ``ValueError`` for anything else.
        """
        keys, buttons = (
            _names(what.get(name, []), name, known) for name, known in (("keys", KEYS), ("buttons", BUTTONS))
        )
        dx, dy = _whole(what.get("camera", [0, 0]), "camera", 2, _MOST)
        ticks = _whole([what.get("ticks", 1)], "ticks", 1, 20)[0]
        with self._lock:
            control = self._env.interface("control")
            for i in range(max(0, ticks)):
                control.step(keys, buttons, (dx, dy) if i == 0 else (0, 0))
            return self._frame()

    def _frame(self) -> bytes:
        env = self._env
        world, task = env.world, env.task
        window = world.inventory.window
        state = {
            "task": task.name, "instruction": task.instruction, "category": task.category, "seed": self._seed,
            "tick": len(env.tick_log), "max_ticks": task.max_ticks, "success": env.success, "over": env.over,
            "dead": world.dead, "window": window.kind if window is not None else None, "cursor": world.inventory.cursor,
            "selected": world.inventory.selected, "size": SCREEN,
            "events": [f"{e.kind} {e.name}" + (f" ×{e.count}" if e.count > 1 else "") for e in env.events[-_NEWEST:]],
            "text": observe.text(world, env.camera_quantum, env.camera_limit),
        }  # fmt: skip
        return pack(state, env.view.picture(world).tobytes())


def pack(state: Mapping[str, Any], picture: bytes) -> bytes:
    """Return a message: the length of the JSON as 4 bytes, least first, the JSON, the picture's RGB rows."""
    import json

    words = json.dumps(state).encode()
    return len(words).to_bytes(4, "little") + words + picture


def _names(value: Any, what: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name in known for name in value):
        raise ValueError(f"{what}: got {value!r}; expected a list of {', '.join(known)}")
    return tuple(value)


def _whole(value: Any, what: str, count: int, most: int) -> list[int]:
    good = isinstance(value, list) and len(value) == count
    if not good or not all(isinstance(v, int) and not isinstance(v, bool) and abs(v) <= most for v in value):
        raise ValueError(f"{what}: got {value!r}; expected whole numbers of at most {most}")
    return list(value)
