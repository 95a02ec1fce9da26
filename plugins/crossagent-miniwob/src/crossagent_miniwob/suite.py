"""The task suite: MiniWoB++'s pages as tasks, by ``tasks.toml``; needs neither the pages nor a browser."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from crossagent.plugin import Task

ENVIRONMENT = "miniwob"
INSTRUCTION = "Do what the page asks for."
TICKS_PER_TURN = 16


class Suite:
    """A fixed list of tasks. A :class:`crossagent.plugin.TaskSuite`."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)
        self._by_name = {task.name: task for task in self._tasks}

    def tasks(self) -> Sequence[Task]:
        """Return every task, sorted by name."""
        return self._tasks

    def get(self, name: str) -> Task:
        """Return one task; raises ``KeyError``."""
        return self._by_name[name]


@cache
def _build() -> Suite:
    table = tomllib.loads((files("crossagent_miniwob") / "tasks.toml").read_text(encoding="utf-8"))
    splits: dict[str, str] = {page: split for split, pages in table["splits"].items() for page in pages}
    tasks = []
    for category, group in table["categories"].items():
        for page in group["pages"]:
            tasks.append(
                Task(
                    name=f"miniwob:{page}",
                    category=category,
                    instruction=INSTRUCTION,
                    env=ENVIRONMENT,
                    setup={"page": page},
                    max_turns=group["turns"],
                    max_ticks=group["turns"] * TICKS_PER_TURN,
                    splits=(splits.get(page, "wide"),),
                )
            )
    return Suite(sorted(tasks, key=lambda task: task.name))


def suite(**options: Any) -> Suite:
    """Return the suite; no option of the environment changes it."""
    return _build()
