"""Container windows: where their slots lie on a 640×360 screen, and what clicks do (vanilla 1.16 rules).

Slots are numbered as in vanilla. A window owns a list of stacks; the player's part of it lies at
``PLAYER_SLOTS[kind]`` (hotbar 1–9, then the 27 main slots), so a world copies its inventory in and out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from crossagent_minecraft_data import recipes
from crossagent_minecraft_data.items import stack_size

Kind = Literal["inventory", "crafting_table", "chest", "furnace"]
Stack = tuple[str, int]
"""(item, count), count ≥ 1."""
Button = Literal["left", "right"]
SCREEN = (640, 360)
OUTSIDE = -999
"""What :func:`hit` says outside the panel; a click there throws the cursor's stack."""
NO_SLOT = -1
"""What :func:`hit` says inside the panel between slots."""
ARMOR = ("helmet", "chestplate", "leggings", "boots")
# Worn items that do not end in one of ARMOR.
_WORN = {"elytra": 1, "turtle_helmet": 0, "carved_pumpkin": 0, "player_head": 0, "zombie_head": 0, "creeper_head": 0}
_WORN |= {"dragon_head": 0, "skeleton_skull": 0, "wither_skeleton_skull": 0}


class _Layout(NamedTuple):
    height: int
    own: tuple[tuple[str, int, int], ...]
    """Slots before the player's: (name, x, y) inside the panel."""
    main_y: int
    grid: int
    """Width of the crafting grid, which starts at slot 1; 0: none."""


def _grid(name: str, width: int, height: int, x: int, y: int) -> tuple[tuple[str, int, int], ...]:
    return tuple((f"{name}{r * width + c + 1}", x + 18 * c, y + 18 * r) for r in range(height) for c in range(width))


_ARMOR_SLOTS = tuple((name, 8, 8 + 18 * i) for i, name in enumerate(ARMOR))
_LAYOUTS: dict[str, _Layout] = {
    "inventory": _Layout(166, (("result", 154, 28), *_grid("grid", 2, 2, 98, 18), *_ARMOR_SLOTS), 84, 2),
    "crafting_table": _Layout(166, (("result", 124, 35), *_grid("grid", 3, 3, 30, 17)), 84, 3),
    "furnace": _Layout(166, (("input", 56, 17), ("fuel", 56, 53), ("output", 116, 35)), 84, 0),
    "chest": _Layout(168, _grid("chest", 9, 3, 8, 18), 85, 0),
}
KINDS: tuple[Kind, ...] = ("inventory", "crafting_table", "chest", "furnace")
_PANEL_WIDTH = 176


def _slots(kind: str) -> tuple[tuple[str, int, int], ...]:
    layout = _LAYOUTS[kind]
    main = _grid("inv", 9, 3, 8, layout.main_y)
    hotbar = _grid("hot", 9, 1, 8, layout.main_y + 58)
    offhand = (("offhand", 77, 62),) if kind == "inventory" else ()
    return (*layout.own, *main, *hotbar, *offhand)


_SLOTS: dict[str, tuple[tuple[str, int, int], ...]] = {kind: _slots(kind) for kind in KINDS}
_NAMES: dict[str, tuple[str, ...]] = {kind: tuple(name for name, _, _ in _SLOTS[kind]) for kind in KINDS}
MAIN_FIRST: dict[str, int] = {kind: len(_LAYOUTS[kind].own) for kind in KINDS}
"""First of the 27 main slots, per kind; the nine hotbar slots follow them."""
PLAYER_SLOTS: dict[str, tuple[int, ...]] = {
    kind: (*range(first + 27, first + 36), *range(first, first + 27)) for kind, first in MAIN_FIRST.items()
}
"""The window's slots of the player's 36 in the player's own order: hotbar 1–9, then main 1–27."""


def panel(kind: str) -> tuple[int, int, int, int]:
    """Return the panel's (x, y, width, height) on the screen; it is centred, at GUI scale 1."""
    height = _LAYOUTS[kind].height
    return (SCREEN[0] - _PANEL_WIDTH) // 2, (SCREEN[1] - height) // 2, _PANEL_WIDTH, height


def slot_names(kind: str) -> tuple[str, ...]:
    """Return the slots' names in slot order: result, grid1…, helmet…, inv1–inv27, hot1–hot9, offhand, as they exist."""
    return _NAMES[kind]


def slot_rect(kind: str, slot: int) -> tuple[int, int, int, int]:
    """Return the (x, y, width, height) of a slot's 16×16 item area, in screen pixels."""
    left, top, _, _ = panel(kind)
    _, x, y = _SLOTS[kind][slot]
    return left + x, top + y, 16, 16


def hit(kind: str, x: int, y: int) -> int:
    """Return the slot under a screen pixel (areas are 1 px larger than the item), -1 between slots, -999 outside."""
    left, top, width, height = panel(kind)
    if not (left <= x < left + width and top <= y < top + height):
        return OUTSIDE
    for slot, (_, sx, sy) in enumerate(_SLOTS[kind]):
        if left + sx - 1 <= x < left + sx + 17 and top + sy - 1 <= y < top + sy + 17:
            return slot
    return NO_SLOT


@dataclass(frozen=True, slots=True)
class WindowEvent:
    """What a click did beyond moving stacks."""

    kind: Literal["craft", "drop"]
    """``craft``: items taken from a crafting result; ``drop``: a stack thrown into the world."""
    item: str
    count: int


class Window:
    """An open window. Operations never create or lose an item; what leaves the window is returned as ``drop`` events."""

    def __init__(self, kind: Kind, slots: list[Stack | None] | None = None, cursor: Stack | None = None) -> None:
        """Open a window of a kind over ``slots`` (kept and changed in place; default: all empty)."""
        if kind not in _LAYOUTS:
            raise ValueError(f"unknown window kind {kind!r}; known: {', '.join(KINDS)}")
        size = len(_SLOTS[kind])
        self.kind = kind
        self.slots: list[Stack | None] = [None] * size if slots is None else slots
        if len(self.slots) != size:
            raise ValueError(f"a {kind} window has {size} slots, not {len(self.slots)}")
        self.cursor = cursor
        self._update_result()

    # -- what a slot takes ---------------------------------------------------------------------------------------
    @property
    def grid_width(self) -> int:
        """Width of the crafting grid (slots 1…width²); 0 without one."""
        return _LAYOUTS[self.kind].grid

    def _is_result(self, slot: int) -> bool:
        return slot == 0 and self.grid_width > 0

    def accepts(self, slot: int, item: str) -> bool:
        """True when ``item`` may be put into ``slot``."""
        if self._is_result(slot) or (self.kind == "furnace" and slot == 2):
            return False
        if self.kind == "furnace" and slot == 1:
            return recipes.fuel_ticks(item) > 0 or item == "bucket"
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
            made = recipes.match([s[0] if s else None for s in self.slots[1 : 1 + width * width]], width)
            self.slots[0] = (made.result, made.count) if made else None

    def _consume(self, events: list[WindowEvent]) -> None:
        """Take one item from each cell of the grid; containers stay, or go to the player, or are dropped."""
        width = self.grid_width
        made = recipes.match([s[0] if s else None for s in self.slots[1 : 1 + width * width]], width)
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
            if recipes.smelts(item):
                return [0]
            return [1] if recipes.fuel_ticks(item) else list(across)
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
    if item in _WORN:
        return _WORN[item]
    return next((i for i, part in enumerate(ARMOR) if item.endswith(f"_{part}")), None)
