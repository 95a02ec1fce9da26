"""Which check a section of a golden file belongs to: by its name and by what its rows hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from crossagent_craftworld.parity import coverage, crafting, digging, entities, loot, motion, windows
from crossagent_craftworld.parity.tally import Document, Tally

Check = Callable[[Document], Tally]
_NAMED: dict[str, Check] = {
    "recipes": crafting.recipes,
    "grid_cases": crafting.grids,
    "fuel": crafting.fuel,
    "smithing": crafting.smithing,
    "windows": windows.geometry,
    "hud": windows.hud,
    "hit_tests": windows.hits,
    "click_cases": windows.clicks,
    "weapons": entities.weapons,
    "cooldown_vectors": entities.cooldown,
    "tasks": coverage.tasks,
    **{station: partial(crafting.cooking, station=station) for station in crafting.STATIONS},
}
_PROSE = ("header", "semantics")


def _first(section: Any) -> Any:
    rows = list(section.values()) if isinstance(section, dict) else section
    return rows[0] if isinstance(rows, list) and rows else None


def _check(name: str, section: Any) -> Check | None:
    row = _first(section)
    if name in _NAMED:
        return _NAMED[name]
    if name.startswith("stonecutting"):
        return partial(crafting.cutting, section=name)
    if name == "cases" and isinstance(row, dict):
        return motion.traces if "trace" in row else motion.rays if "feet" in row else None
    if name == "blocks":
        return loot.blocks if isinstance(row, list) else digging.digging if isinstance(row, dict) else None
    if name == "mobs" and isinstance(row, dict):
        return loot.mobs if "loot" in row else entities.mobs if "health" in row else None
    return None


def sections(document: Document) -> Iterator[tuple[str, Check | None]]:
    """Yield (name, its check) of every section that holds cases; None: not understood."""
    rays = isinstance(_first(document.get("cases")), dict) and "feet" in _first(document["cases"])
    for name, section in document.items():
        if name in _PROSE or (name == "worlds" and (rays or not document.get("cases"))):
            continue
        if name in ("cases", "blocks", "mobs") and section in ([], {}):
            continue  # nothing in it
        yield name, _check(name, section)
