"""The named values of an instruction (``username``, ``target`` …), read by MiniWoB++'s own extractors."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from crossagent.plugin import Unavailable


@cache
def package() -> Path:
    """Return the folder of the package ``miniwob``, without importing it; raises :class:`Unavailable` without it."""
    spec = importlib.util.find_spec("miniwob")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            "miniwob needs the pages of MiniWoB++, the package `miniwob`; run: pip install 'miniwob>=1.1'"
        )
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def _extractors() -> dict[str, Callable[[str], Sequence[tuple[str, str]]]]:
    # By its file: the package itself imports gymnasium and selenium, which nothing here needs.
    spec = importlib.util.spec_from_file_location("crossagent_miniwob._package_fields", package() / "fields.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[str], Sequence[tuple[str, str]]]] = module.FIELD_EXTRACTORS
    return found


def slug(text: str, longest: int = 24) -> str:
    """Return a text as a name of lower-case letters, digits and ``_``; it may be empty, or begin with a digit."""
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    name = ""
    for word in words:
        if name and len(name) + 1 + len(word) > longest:
            break
        name = f"{name}_{word}" if name else word[:longest]
    return name


def fields(page: str, instruction: str) -> dict[str, str]:
    """Return name → value, in the instruction's order; empty where it has none."""
    try:
        pairs = list(_extractors()[page](instruction))
    except (KeyError, ValueError):
        pairs = [(f"quote {n}", text) for n, text in enumerate(re.findall(r'"([^"]+)"', instruction), 1)]
    named: dict[str, str] = {}
    for key, value in pairs:
        name = slug(key) or "value"
        if not name[0].isalpha():
            name = f"value_{name}"
        while name in named:
            name += "_also"
        named[name] = str(value)
    return named
