"""Modules that have moved: code and files that name the old place find the new one."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "crossagent.policy.fast_sampler": "crossagent.sampling.fast",
    "crossagent.policy.sampler": "crossagent.sampling.base",
    "crossagent.rollout.batch": "crossagent.training.batch",
    "crossagent.rollout.demos": "crossagent.demonstrations.collect",
}
"""Old name → new name, of the modules whose names were public (docs/reference/python.md of version 0.1.0)."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads the module of the new name where the old one is imported, with a ``DeprecationWarning``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Let the import system make an empty module, which :meth:`exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new name in the place of the empty one."""
        new = MOVED[module.__name__]
        warnings.warn(f"{module.__name__} has moved to {new}", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = importlib.import_module(new)


def install() -> None:
    """Let the import system know the old names; called once, when :mod:`crossagent` is imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
