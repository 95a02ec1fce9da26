"""The task suite: the benchmark's tasks as CraftWorld sets them up, and which of them the embedded server can do."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from crossagent.plugin import Task
from crossagent_craftworld import suite as craftworld
from crossagent_craftworld.suite import Suite
from crossagent_minecraft.facts import WALKERS

_NO_SUCH_MOB = "the embedded server has mobs that walk and strike only; {} does not"


def _here(task: Task) -> Task:
    reason = task.reason
    others = [kind for kind, _ in task.setup.get("mobs", ()) if kind not in WALKERS]
    if others:
        reason = _NO_SUCH_MOB.format(others[0])
    if reason:
        return replace(task, env="minecraft", solvable=False, reason=reason, splits=(), setup={})
    return replace(task, env="minecraft")


@cache
def _build(phrasing: str) -> Suite:
    return Suite([_here(task) for task in craftworld.suite(phrasing=phrasing).tasks()])


def suite(phrasing: str = "plain", **options: Any) -> Suite:
    """Return the suite; only ``phrasing`` of the environment's options changes its tasks, and only their words."""
    return _build(phrasing)
