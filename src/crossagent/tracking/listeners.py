"""Whoever else is to get a run's numbers: functions that a recipe names under ``tracking.listeners``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)


class Listeners:
    """Calls each function with (stage, step, metrics). One that raises is said once and called no more; none stops a run."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """``functions``: name in the recipe → function."""
        self._functions = dict(functions)

    def __call__(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell them; each gets a dictionary of its own."""
        for name, function in list(self._functions.items()):
            try:
                function(stage, step, dict(metrics))
            except Exception as error:  # a function of the user's may raise anything
                del self._functions[name]
                log.warning(
                    "tracking.listeners: %s raised %s: %s; it is called no more in this run. Every number is in metrics.jsonl",
                    name, type(error).__name__, error,
                )  # fmt: skip
