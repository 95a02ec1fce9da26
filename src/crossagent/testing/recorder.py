"""Watching which interfaces a space uses, and what it calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crossagent.plugin import Call, Environment

_ACTS = {
    "control": ("step",),
    "pointer": ("move_to", "click", "drag", "scroll", "press"),
    "skills": ("call",),
}
"""Methods that do something; of an interface that is not here, all count."""


class Recorder:
    """An interface that notes each call before it passes it on."""

    def __init__(self, name: str, interface: Any, calls: list[Call]) -> None:
        self._name, self._interface, self._calls = name, interface, calls

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._interface, attribute)
        if not callable(value) or attribute not in _ACTS.get(self._name, (attribute,)):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            bound = inspect.signature(value).bind(*args, **kwargs)
            self._calls.append(Call(self._name, attribute, tuple(bound.args)))
            return value(*args, **kwargs)

        return call


@contextmanager
def each_interface(env: Environment, wrap: Callable[[str, Any], Any]) -> Iterator[None]:
    """Hand out ``wrap(name, interface)`` instead of each interface of ``env`` inside the block."""
    original = env.interface
    env.interface = lambda name: wrap(name, original(name))  # type: ignore[method-assign]
    try:
        yield
    finally:
        del env.interface
