"""The next click that brings a crafting window closer to an item; shared by the experts that click.

Closed-loop: it looks at the window as it is, whoever clicked before, so a half-filled grid is finished and a wrong one
is cleared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from crossagent.plugin import ExpertStuck
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.recipes import Recipe, recipes_for
from crossagent_minecraft_data.windows import PLAYER_SLOTS, Window

Button = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Click:
    """A click on a slot that does what is wanted with any of ``buttons``; the first is the usual one."""

    slot: int
    buttons: tuple[Button, ...]


def table_needed(item: str, have: Mapping[str, int]) -> bool:
    """Return whether ``have`` makes ``item`` by a recipe that needs a table and by none that fits the hand's grid."""
    made = [recipe for recipe in recipes_for(item) if _assign(recipe, 3, {}, have) is not None]
    return bool(made) and all(recipe.needs_table for recipe in made)


def _assign(recipe: Recipe, width: int, present: Mapping[int, str], have: Mapping[str, int]) -> dict[int, str] | None:
    """Return grid slot → item, keeping what is ``present`` where it fits; None when ``have`` is not enough."""
    left = Counter(dict(have))
    plan: dict[int, str] = {}
    cells = [(cell + 1, options) for cell, options in recipe.place(width)]
    for slot, options in cells:
        item = present.get(slot)
        if item in options and left[item] > 0:
            plan[slot] = item
            left[item] -= 1
    for slot, options in cells:
        if slot not in plan:
            # Which alternative others need cannot be known here: benchmark tasks give one item per ingredient.
            found = next((option for option in options if left[option] > 0), None)
            if found is None:
                return None
            plan[slot] = found
            left[found] -= 1
    return plan


def layout(item: str, window: Window) -> dict[int, str]:
    """Return grid slot → ingredient that makes ``item`` of what the window holds; raises :class:`ExpertStuck`."""
    have: Counter[str] = Counter()
    grid = range(1, 1 + window.grid_width**2)
    for stack in [window.cursor, *(window.slots[s] for s in (*grid, *PLAYER_SLOTS[window.kind]))]:
        if stack is not None:
            have[stack[0]] += stack[1]
    fitting = [r for r in recipes_for(item) if window.grid_width == 3 or (window.grid_width == 2 and not r.needs_table)]
    if not fitting:
        raise ExpertStuck(f"{item} is not crafted in the {window.kind}")
    present = {slot: stack[0] for slot in grid if (stack := window.slots[slot]) is not None}
    for recipe in fitting:
        plan = _assign(recipe, window.grid_width, present, have)
        if plan is not None:
            return plan
    raise ExpertStuck(f"ingredients of {item} are missing")


def next_click(item: str, window: Window) -> Click:
    """Return the next click towards ``item``; raises :class:`ExpertStuck` when it cannot be made here."""
    result = window.slots[0] if window.grid_width else None
    cursor = window.cursor
    if result is not None and result[0] == item:
        if cursor is None or (cursor[0] == item and cursor[1] + result[1] <= stack_size(item)):
            return Click(0, ("left", "right"))
        return _put_down(window)
    plan = layout(item, window)
    grid = range(1, 1 + window.grid_width**2)
    empty = [slot for slot in sorted(plan) if window.slots[slot] is None]
    if cursor is not None:
        wanted = [slot for slot in empty if plan[slot] == cursor[0]]
        if not wanted:
            return _put_down(window)
        return Click(wanted[0], ("right", "left") if cursor[1] == 1 else ("right",))
    for slot in grid:
        stack = window.slots[slot]
        if stack is not None and plan.get(slot) != stack[0]:
            return Click(slot, ("left", "right") if stack[1] == 1 else ("left",))
    if not empty:
        raise ExpertStuck(f"the grid is filled, and makes {result[0] if result else 'nothing'}")
    item_needed = plan[empty[0]]
    sources = [s for s in PLAYER_SLOTS[window.kind] if (st := window.slots[s]) is not None and st[0] == item_needed]
    if sources:
        single = (window.slots[sources[0]] or ("", 0))[1] == 1
        return Click(sources[0], ("left", "right") if single else ("left",))
    # More than enough lies in one cell of the grid: take that up again.
    for slot in grid:
        stack = window.slots[slot]
        if stack is not None and stack[0] == item_needed and stack[1] > 1:
            return Click(slot, ("right",))
    raise ExpertStuck(f"{item_needed} is out of reach")


def _put_down(window: Window) -> Click:
    assert window.cursor is not None
    item, count = window.cursor
    buttons: tuple[Button, ...] = ("left", "right") if count == 1 else ("left",)
    for slot in PLAYER_SLOTS[window.kind]:
        stack = window.slots[slot]
        if stack is not None and stack[0] == item and stack[1] + count <= stack_size(item):
            return Click(slot, buttons)
    for slot in PLAYER_SLOTS[window.kind]:
        if window.slots[slot] is None:
            return Click(slot, buttons)
    raise ExpertStuck("no room to put the cursor's stack down")
