"""The task suite: the benchmark's tasks as :mod:`crossagent_minecraft_data.suite` sets them up."""

from __future__ import annotations

from typing import Any

from crossagent.plugin import TaskList
from crossagent_minecraft_data.suite import benchmark

ENVIRONMENT = "craftworld"


def suite(phrasing: str = "plain", tasks: str = "benchmark", **options: Any) -> TaskList:
    """Return the suite; the environment's other options change how tasks are solved, not which exist."""
    return benchmark(ENVIRONMENT, phrasing, tasks)
