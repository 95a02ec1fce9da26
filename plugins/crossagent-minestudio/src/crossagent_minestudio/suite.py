"""The task suite: the benchmark's tasks as CraftWorld sets them up, in MineStudio."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from crossagent_craftworld import suite as craftworld
from crossagent_craftworld.suite import Suite

_TICKS = 3
"""How much longer than in CraftWorld an episode may take: the ground is not laid out for it."""


@cache
def _build(phrasing: str) -> Suite:
    tasks = craftworld.suite(phrasing=phrasing).tasks()
    return Suite([replace(task, env="minestudio", max_ticks=_TICKS * task.max_ticks) for task in tasks])


def suite(phrasing: str = "plain", **options: Any) -> Suite:
    """Return the suite; only ``phrasing`` of the environment's options changes its tasks, and only their words."""
    return _build(phrasing)
