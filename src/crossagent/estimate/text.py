"""Bytes, numbers and seconds for people."""

from __future__ import annotations

from crossagent.estimate.memory import GIB


def gib(size: float) -> str:
    """Return bytes, e.g. ``15.4 GiB`` or ``38 MiB``."""
    return f"{size / GIB:,.1f} GiB" if size >= 0.1 * GIB else f"{size / 2**20:,.0f} MiB"


def count(number: float) -> str:
    """Return how many, e.g. ``8.29 billion``."""
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:,.2f} {name}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds, e.g. ``3.5 s``, ``18 min`` or ``9.3 h``."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
