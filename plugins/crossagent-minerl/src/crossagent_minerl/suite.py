"""The task suite: MineRL 0.4.4's missions by name. Those that only people can judge are listed with that reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from crossagent.plugin import Task
from crossagent_minerl.missions import MISSIONS, Mission

_JUDGED = "people judge it: the game cannot tell whether it is done"
_TRAINED = ("Treechop", "Navigate", "NavigateDense", "ObtainIronPickaxe", "ObtainIronPickaxeDense")


class Missions:
    """A :class:`crossagent.plugin.TaskSuite`."""

    def __init__(self) -> None:
        self._tasks = {t.name: t for t in sorted((_task(n, m) for n, m in MISSIONS.items()), key=lambda t: t.name)}

    def tasks(self) -> Sequence[Task]:
        """Return every mission, sorted by name."""
        return tuple(self._tasks.values())

    def get(self, name: str) -> Task:
        """Return one task; raises ``KeyError``."""
        return self._tasks[name]


def _task(name: str, mission: Mission) -> Task:
    words = re.findall(r"[A-Z][a-z]*", name)
    return Task(
        name="_".join(word.lower() for word in words),
        category=words[0].lower(),
        instruction=mission.instruction,
        env="minerl",
        setup={"mission": name, "goal": dict(mission.goal)},
        max_turns=mission.max_ticks // 10,
        max_ticks=mission.max_ticks,
        splits=() if not mission.goal else ("train",) if name in _TRAINED else ("ood",),
        solvable=bool(mission.goal),
        reason="" if mission.goal else _JUDGED,
    )


@cache
def _suite() -> Missions:
    return Missions()


def suite(**options: Any) -> Missions:
    """Return the suite; the environment's options change none of it."""
    return _suite()
