"""Container windows and what clicks in them do (vanilla 1.16 rules); :mod:`screen` says where their slots lie.

Slots are numbered as in vanilla. A window owns a list of stacks; the player's part of it lies at
``PLAYER_SLOTS[kind]`` (hotbar 1–9, then the 27 main slots), so a world copies its inventory in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from crossagent_minecraft_data import cooking, recipes
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.screen import (
    ARMOR,
    KINDS,
    MAIN_FIRST,
    NO_SLOT,
    OUTSIDE,
    PLAYER_SLOTS,
    SCREEN,
    Kind,
    grid_width,
    hit,
    panel,
    slot_names,
    slot_rect,
)

__all__ = [
    "KINDS", "MAIN_FIRST", "NO_SLOT", "OUTSIDE", "PLAYER_SLOTS", "SCREEN", "VANILLA", "WORN", "Button", "Kind", "Rules", "Stack",
    "Window", "WindowEvent", "hit", "panel", "slot_names", "slot_rect",
]  # fmt: skip

Stack = tuple[str, int]
"""(item, count), count ≥ 1."""
Button = Literal["left", "right"]
WORN = {"elytra": 1, "turtle_helmet": 0, "carved_pumpkin": 0, "player_head": 0, "zombie_head": 0, "creeper_head": 0}
WORN |= {"dragon_head": 0, "skeleton_skull": 0, "wither_skeleton_skull": 0}
"""Worn items that do not end in one of ARMOR: item → 0 (helmet) … 3 (boots)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a window knows of items beyond their stacks; vanilla's by default."""

    match: Callable[[Sequence[str | None], int], recipes.Craft | None] = recipes.match
    """What a crafting grid makes."""
    smelts: Callable[[str], str | None] = cooking.smelts
    fuel: Callable[[str], int] = cooking.fuel_ticks


VANILLA = Rules()


@dataclass(frozen=True, slots=True)
class WindowEvent:
    """What a click did beyond moving stacks."""

    kind: Literal["craft", "drop"]
    """``craft``: items taken from a crafting result; ``drop``: a stack thrown into the world."""
    item: str
    count: int


class Window:
    """An open window. Operations never create or lose an item; what leaves the window is returned as ``drop`` events."""

    def __init__(
        self,
        kind: Kind,
        slots: list[Stack | None] | None = None,
        cursor: Stack | None = None,
        rules: Rules = VANILLA,
    ) -> None:
        """Open a window of a kind over ``slots`` (kept and changed in place; default: all empty)."""
        if kind not in KINDS:
            raise ValueError(f"unknown window kind {kind!r}; known: {', '.join(KINDS)}")
        size = len(slot_names(kind))
        self.kind = kind
        self.slots: list[Stack | None] = [None] * size if slots is None else slots
        if len(self.slots) != size:
            raise ValueError(f"a {kind} window has {size} slots, not {len(self.slots)}")
        self.cursor = cursor
        self.rules = rules
        self._update_result()

    # -- what a slot takes ---------------------------------------------------------------------------------------
    @property
    def grid_width(self) -> int:
        """Width of the crafting grid (slots 1…width²); 0 without one."""
        return grid_width(self.kind)

    def _is_result(self, slot: int) -> bool:
        return slot == 0 and self.grid_width > 0

    def accepts(self, slot: int, item: str) -> bool:
        """True when ``item`` may be put into ``slot``."""
        if self._is_result(slot) or (self.kind == "furnace" and slot == 2):
            return False
        if self.kind == "furnace" and slot == 1:
            return self.rules.fuel(item) > 0 or item == "bucket"
        if self.kind == "inventory" and 5 <= slot <= 8:
            return _armor_index(item) == slot - 5
        return True

    def limit(self, slot: int, item: str) -> int:
        """Return how many of ``item`` one stack in ``slot`` may hold."""
        return 1 if self.kind == "inventory" and 5 <= slot <= 8 else stack_size(item)

    def _set(self, slot: int, item: str, count: int) -> None:
        self.slots[slot] = (item, count) if count > 0 else None

    def _update_result(self) -> None:
        width = self.grid_width
        if width:
            made = self.rules.match([s[0] if s else None for s in self.slots[1 : 1 + width * width]], width)
            self.slots[0] = (made.result, made.count) if made else None

    def _consume(self, events: list[WindowEvent]) -> None:
        """Take one item from each cell of the grid; containers stay, or go to the player, or are dropped."""
        width = self.grid_width
        made = self.rules.match([s[0] if s else None for s in self.slots[1 : 1 + width * width]], width)
        assert made is not None
        for cell, left in enumerate(made.leftovers):
            stack = self.slots[1 + cell]
            if stack is None:
                continue
            self._set(1 + cell, stack[0], stack[1] - 1)
            if left is not None:
                if self.slots[1 + cell] is None:
                    self.slots[1 + cell] = (left, 1)
                elif self._move(left, 1, self._player_order()):
                    events.append(WindowEvent("drop", left, 1))
        events.append(WindowEvent("craft", made.result, made.count))
        self._update_result()

    # -- mouse ---------------------------------------------------------------------------------------------------
    def click(self, slot: int, button: Button = "left", shift: bool = False) -> list[WindowEvent]:
        """Click a slot (-999: outside the panel, -1: nothing there) with the left or right button."""
        if slot == OUTSIDE:
            return self._throw_cursor(button)
        if slot == NO_SLOT:
            return []
        if shift:
            return self._quick_move(slot)
        events: list[WindowEvent] = []
        stack, cursor = self.slots[slot], self.cursor
        if self._is_result(slot):
            if stack is not None and (cursor is None or (cursor[0] == stack[0])):
                total = stack[1] + (cursor[1] if cursor else 0)
                if total <= stack_size(stack[0]):
                    self.cursor = (stack[0], total)
                    self._consume(events)
            return events
        if stack is None:
            if cursor is not None and self.accepts(slot, cursor[0]):
                moved = min(cursor[1] if button == "left" else 1, self.limit(slot, cursor[0]))
                self._set(slot, cursor[0], moved)
                self._take_cursor(moved)
        elif cursor is None:
            taken = stack[1] if button == "left" else (stack[1] + 1) // 2
            self.cursor = (stack[0], taken)
            self._set(slot, stack[0], stack[1] - taken)
        elif self.accepts(slot, cursor[0]):
            if stack[0] == cursor[0]:
                room = self.limit(slot, stack[0]) - stack[1]
                moved = max(0, min(cursor[1] if button == "left" else 1, room))
                self._set(slot, stack[0], stack[1] + moved)
                self._take_cursor(moved)
            elif cursor[1] <= self.limit(slot, cursor[0]):
                self.slots[slot], self.cursor = cursor, stack
        elif stack[0] == cursor[0] and stack[1] + cursor[1] <= stack_size(stack[0]):
            self.cursor = (stack[0], stack[1] + cursor[1])
            self.slots[slot] = None
        self._update_result()
        return events

    def _take_cursor(self, count: int) -> None:
        assert self.cursor is not None
        item, have = self.cursor
        self.cursor = (item, have - count) if have > count else None

    def _throw_cursor(self, button: Button) -> list[WindowEvent]:
        if self.cursor is None:
            return []
        item, have = self.cursor
        count = have if button == "left" else 1
        self._take_cursor(count)
        return [WindowEvent("drop", item, count)]

    def double_click(self, slot: int) -> list[WindowEvent]:
        """Second click on a slot within 250 ms: gather equal items into the cursor, part stacks first."""
        if slot < 0 or self.cursor is None or (self.slots[slot] is not None and not self._is_result(slot)):
            return []
        item, count = self.cursor
        most = stack_size(item)
        for full in (False, True):
            for index, stack in enumerate(self.slots):
                if count >= most or stack is None or stack[0] != item or self._is_result(index):
                    continue
                if (stack[1] >= most) != full:
                    continue
                taken = min(stack[1], most - count)
                self._set(index, item, stack[1] - taken)
                count += taken
        self.cursor = (item, count)
        self._update_result()
        return []

    def drag(self, slots: Sequence[int], button: Button = "left") -> list[WindowEvent]:
        """Drag over slots: the left button spreads the cursor's stack evenly, the right puts one into each."""
        if self.cursor is None:
            return []
        item, have = self.cursor
        chosen: list[int] = []
        for slot in dict.fromkeys(slots):
            if slot < 0 or not self.accepts(slot, item) or (button == "left" and have <= len(chosen)):
                continue
            stack = self.slots[slot]
            if (button == "right" and have <= len(chosen)) or (stack is not None and stack[0] != item):
                continue
            if stack is None or stack[1] <= stack_size(item):
                chosen.append(slot)
        if len(chosen) == 1:
            return self.click(chosen[0], button)
        share = have // len(chosen) if chosen and button == "left" else 1
        for slot in chosen:
            stack = self.slots[slot]
            before = stack[1] if stack else 0
            after = max(before, min(before + share, self.limit(slot, item)))
            self._set(slot, item, after)
            have -= after - before
        self.cursor = (item, have) if have else None
        self._update_result()
        return []

    # -- keys ----------------------------------------------------------------------------------------------------
    def swap_hotbar(self, slot: int, n: int) -> list[WindowEvent]:
        """Press the number key ``n`` (1…9) over a slot: swap it with that hotbar slot. Needs an empty cursor."""
        hot = MAIN_FIRST[self.kind] + 27 + n - 1
        events: list[WindowEvent] = []
        if slot < 0 or self.cursor is not None or slot == hot:
            return events
        here, there = self.slots[slot], self.slots[hot]
        if self._is_result(slot):
            if here is not None and there is None:
                self.slots[hot] = here
                self._consume(events)
            return events
        if there is None:
            self.slots[slot], self.slots[hot] = None, here
        elif self.accepts(slot, there[0]):
            most = self.limit(slot, there[0])
            if there[1] <= most:
                self.slots[slot], self.slots[hot] = there, here
            else:
                self._set(slot, there[0], most)
                self._set(hot, there[0], there[1] - most)
                if here is not None and (left := self._move(*here, self._player_order())):
                    events.append(WindowEvent("drop", here[0], left))
        self._update_result()
        return events

    def drop(self, slot: int, all: bool = False) -> list[WindowEvent]:
        """Press the drop key over a slot: throw one item, or the stack (with control). Needs an empty cursor."""
        stack = self.slots[slot] if slot >= 0 else None
        if stack is None or self.cursor is not None:
            return []
        events: list[WindowEvent] = []
        if self._is_result(slot):  # vanilla would lose the rest of a result of several: throw it whole
            self._consume(events)
            return [*events, WindowEvent("drop", *stack)]
        count = stack[1] if all else 1
        self._set(slot, stack[0], stack[1] - count)
        self._update_result()
        return [WindowEvent("drop", stack[0], count)]

    # -- quick move ----------------------------------------------------------------------------------------------
    def _player_order(self, reverse: bool = False) -> list[int]:
        order = list(range(MAIN_FIRST[self.kind], MAIN_FIRST[self.kind] + 36))
        return order[::-1] if reverse else order

    def _move(self, item: str, count: int, order: Iterable[int]) -> int:
        """Put items into slots: first onto equal stacks in order, then into the first empty one; return the rest."""
        order = list(order)
        for slot in order:
            stack = self.slots[slot]
            if count and stack is not None and stack[0] == item and not self._is_result(slot):
                moved = max(0, min(count, self.limit(slot, item) - stack[1]))
                self._set(slot, item, stack[1] + moved)
                count -= moved
        for slot in order:
            if count and self.slots[slot] is None and self.accepts(slot, item):
                moved = min(count, self.limit(slot, item))
                self._set(slot, item, moved)
                count -= moved
        return count

    def _quick_order(self, slot: int, item: str) -> list[int]:
        main = MAIN_FIRST[self.kind]
        hotbar = range(main + 27, main + 36)
        across = hotbar if main <= slot < main + 27 else range(main, main + 27)
        if slot < main:
            reverse = self._is_result(slot) or self.kind == "chest" or (self.kind == "furnace" and slot == 2)
            return self._player_order(reverse)
        if self.kind == "inventory":
            worn = _armor_index(item)
            if worn is not None and self.slots[5 + worn] is None:
                return [5 + worn]
            if item == "shield" and self.slots[45] is None:
                return [45]
            return self._player_order() if slot == 45 else list(across)
        if self.kind == "chest":
            return list(range(main))
        if self.kind == "furnace":
            if self.rules.smelts(item):
                return [0]
            return [1] if self.rules.fuel(item) else list(across)
        return [*range(1, 10)]  # the table's grid first; `across` when nothing fits, see _quick_move

    def _quick_move(self, slot: int) -> list[WindowEvent]:
        events: list[WindowEvent] = []
        stack = self.slots[slot]
        if stack is None:
            return events
        if self._is_result(slot):
            return self._craft_all()
        item, count = stack
        self.slots[slot] = None
        left = self._move(item, count, [s for s in self._quick_order(slot, item) if s != slot])
        if self.kind == "crafting_table" and left == count and slot >= 10:
            left = self._move(item, left, range(37, 46) if slot < 37 else range(10, 37))
        self._set(slot, item, left)
        self._update_result()
        return events

    def _craft_all(self) -> list[WindowEvent]:
        """Shift-click on the result: craft until the ingredients or the room run out, or the result changes."""
        events: list[WindowEvent] = []
        first = self.slots[0]
        while first is not None and self.slots[0] == first:
            before = list(self.slots)
            if self._move(*first, self._player_order(reverse=True)):
                self.slots[:] = before
                break
            self._consume(events)
        return events

    def close(self) -> list[Stack]:
        """Close: the grid's and the cursor's items go back to the player's slots; returns the stacks that do not fit."""
        out: list[Stack] = []
        width = self.grid_width
        loose = [self.cursor, *self.slots[1 : 1 + width * width]]
        self.cursor = None
        for cell in range(width * width):
            self.slots[1 + cell] = None
        self._update_result()
        for stack in loose:
            if stack is not None and (left := self._move(*stack, self._hotbar_first())):
                out.append((stack[0], left))
        return out

    def _hotbar_first(self) -> tuple[int, ...]:
        return PLAYER_SLOTS[self.kind]


def _armor_index(item: str) -> int | None:
    """Return 0…3 (helmet, chestplate, leggings, boots) for what can be worn, else None."""
    if item in WORN:
        return WORN[item]
    return next((i for i, part in enumerate(ARMOR) if item.endswith(f"_{part}")), None)
