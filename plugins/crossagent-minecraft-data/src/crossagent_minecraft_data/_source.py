"""Reading the tables: PyPI ``minecraft_data`` (JSON, one file at a time) and our own ``facts.toml``."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "1.16.5"


@cache
def table(kind: str) -> Any:
    """Return one table of ``minecraft_data`` for pc 1.16.5, e.g. ``blocks``; parsed once, not to be changed."""
    import minecraft_data

    # Its own loader parses all 27 files (0.3 s); the map of paths lets one be read alone.
    root = Path(minecraft_data.__path__[0]) / "data" / "data"
    paths = json.loads((root / "dataPaths.json").read_text())["pc"][VERSION]
    return json.loads((root / paths[kind] / f"{kind}.json").read_text())


@cache
def facts() -> dict[str, Any]:
    """Return our reviewed table, ``facts.toml``."""
    return tomllib.loads((files(__package__) / "facts.toml").read_text())


def wildcard(pattern: str, name: str) -> str | None:
    """Return what the ``*`` of a pattern stands for in ``name`` ("" for a pattern without one), else None."""
    if "*" not in pattern:
        return "" if pattern == name else None
    head, tail = pattern.split("*")
    if len(name) > len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
        return name[len(head) : len(name) - len(tail)]
    return None
