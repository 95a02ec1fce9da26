"""The task suite: MineRL 0.4.4's missions by name. Those that only people can judge are listed with that reason."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from crossagent.plugin import Task, TaskList
from crossagent_minerl.missions import MISSIONS, Mission

_JUDGED = "people judge it: the game cannot tell whether it is done"
_TRAINED = ("Treechop", "Navigate", "NavigateDense", "ObtainIronPickaxe", "ObtainIronPickaxeDense")


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
def _suite() -> TaskList:
    return TaskList(sorted((_task(n, m) for n, m in MISSIONS.items()), key=lambda task: task.name))


def suite(**options: Any) -> TaskList:
    """Return the suite; the environment's options change none of it."""
    return _suite()
