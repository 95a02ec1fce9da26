"""Objects that are named by their import path, ``module:name``: factories of plugins, and functions of a recipe.

This module loads no torch itself, so that paths can be checked before anything heavy is loaded.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossagent.errors import RecipeError, did_you_mean


class NameNotFound(AttributeError):
    """A module was imported and does not have the name that was asked for."""


def resolve(path: str | Callable[..., Any]) -> Any:
    """Return the object behind ``module:name``; what is no text is the object itself.

    Every place that takes such a path resolves it here, and says in its own words what could not be found.

    Raises:
        ValueError: The path is not of the form ``module:name``.
        NameNotFound: The module has no such name.
        Exception: Whatever the module raises while it is imported, ``ImportError`` where there is none.
    """
    if not isinstance(path, str):
        return path
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ValueError(f"got {path!r}; expected module:name")
    loaded = importlib.import_module(module)
    if not hasattr(loaded, name):
        raise NameNotFound(f"module {module!r} has no attribute {name!r}")
    return getattr(loaded, name)


@dataclass(frozen=True)
class Signature:
    """How the functions of one option are called."""

    key: str
    """The option's name in a recipe."""
    positional: tuple[str, ...]
    keywords: tuple[str, ...] = ()
    returns: str = "Tensor"

    def __str__(self) -> str:
        return f"({', '.join([*self.positional, *(['*', *self.keywords] if self.keywords else [])])}) -> {self.returns}"


ESTIMATOR = Signature(
    "estimator",
    ("returns", "group", "rewards", "trajectory", "anchor"),
    ("baseline", "scale", "gamma", "step_weight"),
)
"""See :func:`crossagent.algorithms.trajectory_advantages`."""
LOSS = Signature("loss", ("ratio", "advantages"), ("clip_low", "clip_high", "dual_clip"))
"""See :func:`crossagent.algorithms.clipped_loss`."""
LISTENER = Signature("listeners", ("stage", "step", "metrics"), returns="None")
"""See ``tracking.listeners`` of a recipe."""


def check_name(key: str, name: str, known: Sequence[str]) -> None:
    """Refuse what is neither a known name nor of the form ``module:function``; imports nothing.

    Raises:
        RecipeError: It is neither.
    """
    if name in known:
        return
    module, colon, function = name.partition(":")
    if not colon and known:
        raise RecipeError(f"unknown {key} value {name!r}. {did_you_mean(name, list(known))} Or module:function.")
    if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise RecipeError(f"{key}: got {name!r}; expected module:function, e.g. my_package.my_module:my_function")


def find_function(name: str, table: Mapping[str, Callable[..., Any]], signature: Signature) -> Callable[..., Any]:
    """Return ``table[name]``, or the function at the path ``name``, which can be called as ``signature`` says.

    Raises:
        RecipeError: The module cannot be imported, has no such function, or the function takes other arguments.
    """
    check_name(signature.key, name, list(table))
    if name in table:
        return table[name]
    module, _, function = name.partition(":")
    where = f"{signature.key}: {name!r}"
    try:
        found = resolve(name)
    except NameNotFound:
        found = None
    except Exception as error:  # a module of the user's may raise anything
        raise RecipeError(
            f"{where}: cannot import {module} ({type(error).__name__}: {error}); expected an installed module, or one in a "
            "directory of PYTHONPATH"
        ) from error
    if not callable(found):
        names = [n for n, value in vars(sys.modules[module]).items() if callable(value) and not n.startswith("_")]
        kind = "has no function" if found is None else "holds, but not as a function,"
        raise RecipeError(f"{where}: {module} {kind} {function!r}. {did_you_mean(function, names)}")
    try:
        inspect.signature(found).bind(*signature.positional, **dict.fromkeys(signature.keywords))
    except (TypeError, ValueError) as error:
        hint = "; end its parameters with **_" if signature.keywords else ""
        raise RecipeError(f"{where}: cannot be called as {signature} ({error}){hint}") from error
    result: Callable[..., Any] = found
    return result
