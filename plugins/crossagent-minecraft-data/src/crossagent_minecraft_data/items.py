"""Items: names and stack sizes."""

from __future__ import annotations

from dataclasses import dataclass

from crossagent_minecraft_data._source import table


@dataclass(frozen=True, slots=True)
class Item:
    """One item."""

    name: str
    stack_size: int
    """1, 16 or 64."""


ITEMS: dict[str, Item] = {row["name"]: Item(row["name"], row["stackSize"]) for row in table("items")}
"""All 975 items by name."""


def is_item(name: str) -> bool:
    """True when ``name`` is an item (some blocks, e.g. ``carrots``, are not)."""
    return name in ITEMS


def stack_size(item: str) -> int:
    """Return how many fit in one slot; raises ``KeyError`` for an unknown item."""
    return ITEMS[item].stack_size
