"""The task suite: MiniWoB++'s pages as tasks, by ``tasks.toml``; needs neither the pages nor a browser."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from crossagent.plugin import Task, TaskList

ENVIRONMENT = "miniwob"
INSTRUCTION = "Do what the page asks for."
TICKS_PER_TURN = 16


@cache
def _build() -> TaskList:
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
    return TaskList(sorted(tasks, key=lambda task: task.name))


def suite(**options: Any) -> TaskList:
    """Return the suite; no option of the environment changes it."""
    return _build()
