"""A task suite that is a list of tasks, which is what most environments need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossagent.types import Task


class TaskList:
    """A :class:`TaskSuite` of given tasks, in the order in which they are given."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = tuple(tasks)
        self._by_name = {task.name: task for task in self._tasks}

    def tasks(self) -> Sequence[Task]:
        """Return every task."""
        return self._tasks

    def get(self, name: str) -> Task:
        """Return one task; raises ``KeyError``."""
        return self._by_name[name]

    def split(self, name: str) -> tuple[Task, ...]:
        """Return the tasks of a split, in their order."""
        return tuple(task for task in self._tasks if name in task.splits)
