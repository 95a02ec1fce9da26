"""The task suite: the benchmark's tasks as CraftWorld sets them up, in MineStudio."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from crossagent.plugin import TaskList
from crossagent_minecraft_data.suite import benchmark

_TICKS = 3
"""How much longer than in CraftWorld an episode may take: the ground is not laid out for it."""


@cache
def _build(phrasing: str) -> TaskList:
    tasks = benchmark("minestudio", phrasing).tasks()
    return TaskList(replace(task, max_ticks=_TICKS * task.max_ticks) for task in tasks)


def suite(phrasing: str = "plain", **options: Any) -> TaskList:
    """Return the suite; only ``phrasing`` of the environment's options changes its tasks, and only their words."""
    return _build(phrasing)
