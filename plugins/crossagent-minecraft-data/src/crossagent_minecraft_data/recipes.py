"""Crafting: recipes with alternatives per cell, and matching a grid against all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from crossagent_minecraft_data._source import facts, table

Cells = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Craft:
    """What a grid makes."""

    result: str
    count: int
    leftovers: tuple[str | None, ...]
    """Per cell of the grid: the container that stays when the cell loses one item (milk bucket → bucket), or None."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make an item. Each cell accepts any of its alternatives, whatever the other cells hold."""

    result: str
    count: int
    shaped: bool
    width: int
    """Columns of a shaped pattern; number of ingredients for a shapeless one."""
    cells: tuple[tuple[str, ...], ...]
    """Row-major pattern of alternatives (empty: no item), or the ingredients of a shapeless recipe."""

    @property
    def height(self) -> int:
        """Rows of the pattern; 1 when shapeless."""
        return len(self.cells) // self.width

    @property
    def needs_table(self) -> bool:
        """True when it does not fit the 2×2 grid of the hand."""
        return self.width > 2 or self.height > 2 if self.shaped else len(self.cells) > 4

    def place(self, grid_width: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """Return (cell index in a ``grid_width``² grid, alternatives) for each ingredient, packed to the top left."""
        step = self.width if self.shaped else grid_width
        return tuple(
            (index // step * grid_width + index % step, options) for index, options in enumerate(self.cells) if options
        )


def _merge(variants: list[Cells], count: int) -> list[tuple[tuple[str, ...], ...]]:
    """Merge recipes that differ in one kind of ingredient: the cells that always hold the same item form one key.

    minecraft-data lists a recipe once per wood; vanilla accepts any mixture. A set of variants is merged only when it
    is the full product of its keys' alternatives, so that no recipe is invented.
    """
    keys: dict[tuple[str | None, ...], list[int]] = {}
    for index in range(len(variants[0])):
        keys.setdefault(tuple(v[index] for v in variants), []).append(index)
    options = {column: tuple(dict.fromkeys(c for c in column if c)) for column in keys}
    if math.prod(max(len(o), 1) for o in options.values()) != len(variants):
        if len(variants) == 1:
            raise ValueError(f"a single variant that is no product: {variants}")
        half = len(variants) // 2
        return _merge(variants[:half], count) + _merge(variants[half:], count)
    merged: list[tuple[str, ...]] = [()] * len(variants[0])
    for column, indices in keys.items():
        for index in indices:
            merged[index] = options[column]
    return [tuple(merged)]


def _build() -> dict[str, tuple[Recipe, ...]]:
    names = {row["id"]: row["name"] for row in table("items")}

    def cell(value: Any) -> str | None:
        value = value["id"] if isinstance(value, dict) else value
        return None if value is None else names[value]

    out: dict[str, tuple[Recipe, ...]] = {}
    for rows in table("recipes").values():
        groups: dict[tuple[bool, int, int, tuple[bool, ...]], list[Cells]] = {}
        result = names[rows[0]["result"]["id"]]
        for row in rows:
            shaped = "inShape" in row
            if shaped:
                width = max(len(line) for line in row["inShape"])
                cells = tuple(cell(line[i]) if i < len(line) else None for line in row["inShape"] for i in range(width))
            else:
                cells = tuple(sorted(names[i] if isinstance(i, int) else names[i["id"]] for i in row["ingredients"]))
                width = len(cells)
            key = (shaped, width, row["result"]["count"], tuple(c is None for c in cells))
            variants = groups.setdefault(key, [])
            if cells not in variants:
                variants.append(cells)
        out[result] = tuple(
            Recipe(result, count, shaped, width, merged)
            for (shaped, width, count, _), variants in groups.items()
            for merged in _merge(variants, count)
        )
    return out


RECIPES: dict[str, tuple[Recipe, ...]] = _build()
"""Crafted item → the ways to make it (562 items; no smelting, smithing or stonecutting)."""
LEFTOVERS: dict[str, str] = dict(facts()["leftovers"])
"""Ingredient → the container that stays in its cell."""


def recipes_for(item: str) -> tuple[Recipe, ...]:
    """Return the crafting recipes of ``item``; empty when it is not crafted."""
    return RECIPES.get(item, ())


@cache
def _by_shape() -> tuple[dict[tuple[int, int], list[Recipe]], dict[int, list[Recipe]]]:
    shaped: dict[tuple[int, int], list[Recipe]] = {}
    shapeless: dict[int, list[Recipe]] = {}
    for recipes in RECIPES.values():
        for recipe in recipes:
            if recipe.shaped:
                shaped.setdefault((recipe.width, recipe.height), []).append(recipe)
            else:
                shapeless.setdefault(len(recipe.cells), []).append(recipe)
    return shaped, shapeless


def _fits(cells: Cells, pattern: Sequence[tuple[str, ...]]) -> bool:
    return all(cell in options if options else cell is None for cell, options in zip(cells, pattern, strict=True))


def _assign(items: list[str], ingredients: list[tuple[str, ...]]) -> bool:
    """True when items and ingredients can be paired off, each item accepted by its ingredient."""
    if not items:
        return True
    rest = items[1:]
    return any(
        items[0] in options and _assign(rest, ingredients[:i] + ingredients[i + 1 :])
        for i, options in enumerate(ingredients)
    )


@lru_cache(maxsize=4096)
def _match(grid: Cells, width: int) -> Craft | None:
    filled = [i for i, item in enumerate(grid) if item]
    if not filled:
        return None
    rows, columns = [i // width for i in filled], [i % width for i in filled]
    top, left = min(rows), min(columns)
    w, h = max(columns) - left + 1, max(rows) - top + 1
    box = tuple(grid[(top + r) * width + left + c] for r in range(h) for c in range(w))
    mirror = tuple(box[r * w + (w - 1 - c)] for r in range(h) for c in range(w))
    shaped, shapeless = _by_shape()
    items = [grid[i] or "" for i in filled]
    found = next((r for r in shaped.get((w, h), ()) if _fits(box, r.cells) or _fits(mirror, r.cells)), None)
    found = found or next((r for r in shapeless.get(len(items), ()) if _assign(items, list(r.cells))), None)
    if found is None:
        return None
    return Craft(found.result, found.count, tuple(LEFTOVERS.get(item) if item else None for item in grid))


def match(grid: Sequence[str | None], width: int) -> Craft | None:
    """Return what a crafting grid makes, or None.

    Args:
        grid: item names row by row, ``width``² of them; None or "" where empty.
        width: 2 for the hand, 3 for the table.

    Patterns match at any offset and mirrored left to right; nothing else may lie in the grid.
    """
    return _match(tuple(item or None for item in grid), width)
