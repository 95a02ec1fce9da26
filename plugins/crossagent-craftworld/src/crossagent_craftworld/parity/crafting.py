"""Crafting, cooking, fuels, cutting and smithing."""

from __future__ import annotations

from typing import Any

from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_minecraft_data.cooking import STATIONS, Station, cook, cuts, fuel_ticks, smiths
from crossagent_minecraft_data.recipes import Recipe, match, recipes_for

__all__ = ["STATIONS", "cooking", "cutting", "fuel", "grids", "recipes", "smithing"]

Form = tuple[bool, int, bool, int, tuple[tuple[str, ...], ...]]
"""shaped, count, needs a table, width (shapeless: 0), alternatives per cell (shapeless: sorted)."""


def _ours(recipe: Recipe) -> Form:
    cells = [tuple(sorted(c)) for c in recipe.cells]
    return (
        recipe.shaped, recipe.count, recipe.needs_table, recipe.width if recipe.shaped else 0,
        tuple(cells if recipe.shaped else sorted(cells)),
    )  # fmt: skip


def _theirs(row: dict[str, Any]) -> Form:
    if row["kind"] == "shapeless":
        return False, row["count"], row["table"], 0, tuple(sorted(tuple(sorted(c)) for c in row["in"]))
    cells = tuple(tuple(sorted(row["keys"][k])) if k >= 0 else () for k in row["pattern"])
    return True, row["count"], row["table"], row["w"], cells


def _merged(forms: list[Form]) -> set[Form]:
    """Make one of two forms that differ in one cell: a list of variants and a cell of alternatives say the same."""
    rest = list(dict.fromkeys(forms))
    for i, a in enumerate(rest):
        for b in rest[i + 1 :]:
            if a[:4] != b[:4] or len(a[4]) != len(b[4]):
                continue
            unlike = [k for k, (p, q) in enumerate(zip(a[4], b[4], strict=True)) if p != q]
            if len(unlike) == 1:
                cells = list(a[4])
                cells[unlike[0]] = tuple(sorted({*a[4][unlike[0]], *b[4][unlike[0]]}))
                both = (*a[:4], tuple(cells))
                return _merged([f for f in rest if f not in (a, b)] + [both])
    return set(rest)


def recipes(document: Document) -> Tally:
    """Every recipe of an item: shape, count, alternatives of every cell, what stays in the grid."""
    tally = Tally("recipes")
    for item, rows in document["recipes"].items():
        got, want = _merged([_ours(r) for r in recipes_for(item)]), _merged([_theirs(r) for r in rows])
        ok = got == want
        for row in rows:
            if "leaves_in_grid" in row:
                grid: list[str | None] = [None] * 9
                for i, k in enumerate(row["pattern"]):
                    grid[i // row["w"] * 3 + i % row["w"]] = row["keys"][k][0] if k >= 0 else None
                made = match(grid, 3)
                leaves = [cell for line in row["leaves_in_grid"] for cell in line]
                left = [cell for i, cell in enumerate(made.leftovers if made else ()) if i % 3 < row["w"]]
                ok = ok and left[: len(leaves)] == leaves
        tally.case(item, ok, f"got {sorted(got)}, expected {sorted(want)}")
    return tally


def grids(document: Document) -> Tally:
    """What a grid makes."""
    tally = Tally("grid_cases")
    for i, case in enumerate(document["grid_cases"]):
        made = match(case["g"], case["W"])
        tally.check(f"case {i} {case['g']}", None if made is None else [made.result, made.count], case["out"])
    return tally


def cooking(document: Document, station: Station) -> Tally:
    """What a station makes of an item, in how many ticks, for how much experience."""
    tally = Tally(station)
    for row in document[station]:
        for item in row["in"]:
            got = cook(station, item)
            tally.check(item, None if got is None else tuple(got), (row["out"], row["ticks"], row["xp"]))
    return tally


def fuel(document: Document) -> Tally:
    """How long fuels burn."""
    tally = Tally("fuel")
    for item, ticks in document["fuel"].items():
        tally.error = max(tally.error, abs(fuel_ticks(item) - ticks))
        tally.check(item, fuel_ticks(item), ticks)
    return tally


def smithing(document: Document) -> Tally:
    """What a smithing table makes."""
    tally = Tally("smithing")
    for row in document["smithing"]:
        tally.check(row["base"], smiths(row["base"], row["addition"]), row["out"])
    return tally


def cutting(document: Document, section: str) -> Tally:
    """What a stonecutter makes."""
    tally = Tally(section)
    for inputs, result, count in document[section]:
        for item in inputs:
            tally.check(f"{item} to {result}", cuts(item).get(result), count)
    return tally
