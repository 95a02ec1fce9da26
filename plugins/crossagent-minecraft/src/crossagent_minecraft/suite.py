"""The task suite: the benchmark's tasks as CraftWorld sets them up, and which of them the embedded server can do."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from crossagent.plugin import Task, TaskList
from crossagent_minecraft.facts import WALKERS
from crossagent_minecraft_data.suite import benchmark

_NO_SUCH_MOB = "the embedded server has mobs that walk and strike only; {} does not"


def _here(task: Task) -> Task:
    reason = task.reason
    others = [kind for kind, _ in task.setup.get("mobs", ()) if kind not in WALKERS]
    if others:
        reason = _NO_SUCH_MOB.format(others[0])
    if reason:
        return replace(task, solvable=False, reason=reason, splits=(), setup={})
    return task


@cache
def _build(phrasing: str) -> TaskList:
    return TaskList(_here(task) for task in benchmark("minecraft", phrasing).tasks())


def suite(phrasing: str = "plain", **options: Any) -> TaskList:
    """Return the suite; only ``phrasing`` of the environment's options changes its tasks, and only their words."""
    return _build(phrasing)
