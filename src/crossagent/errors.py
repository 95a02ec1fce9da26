"""Every error a user can cause, and the one way to look a name up.

A message says where, what was given, what was expected and what to do next. The command line prints it alone (no
traceback) and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class CrossAgentError(Exception):
    """Base of all errors that are the user's to fix; ``str(error)`` is the whole message."""


class RecipeError(CrossAgentError, ValueError):
    """A recipe or an override is wrong; names the file and every key at fault."""


class PluginError(CrossAgentError, LookupError):
    """A plugin is missing, broken, or does not fit what the recipe pairs it with."""


class TaskError(CrossAgentError, LookupError):
    """A task or a split of tasks does not exist in the environment's suite, or cannot be solved there."""


class CheckpointError(CrossAgentError, OSError):
    """A checkpoint is missing, truncated or not ours."""


class MissingExtraError(CrossAgentError, ImportError):
    """An optional dependency is needed; names the extra to install."""


class Unavailable(CrossAgentError, RuntimeError):
    """Something that a plugin needs (a program, its packages, a server) is not on this machine; says how to get it.

    A plugin raises it; checks leave such a world out, and say so.
    """


class DataError(CrossAgentError, ValueError):
    """A data set or a stored trajectory is unreadable or of another schema."""


class StageInterrupted(CrossAgentError):
    """A stage was asked to stop and has written a resume point; the same command goes on from there. No fault."""


def did_you_mean(name: str, known: Mapping[str, object] | list[str] | tuple[str, ...] | set[str]) -> str:
    """Return `` Did you mean 'x'?``, else the known names; a sentence to append to a message."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return f"Known: {shown or 'none'}."


def lookup(name: str, table: Mapping[str, T], kind: str, error: type[CrossAgentError] = CrossAgentError) -> T:
    """Return ``table[name]``; raises ``error`` with a did-you-mean when it is not there."""
    if name in table:
        return table[name]
    raise error(f"unknown {kind} {name!r}. {did_you_mean(name, table)}")
