"""The player's stacks and the window that is open over them."""

from __future__ import annotations

from typing import Any

from crossagent_craftworld.furnace import OUTPUT, Furnace
from crossagent_craftworld.grid import Cell
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.windows import (
    PLAYER_SLOTS,
    SCREEN,
    Kind,
    Stack,
    Window,
    WindowEvent,
    hit,
    slot_names,
    slot_rect,
)

CENTER = (SCREEN[0] // 2, SCREEN[1] // 2)
WINDOW_OF_BLOCK: dict[str, Kind] = {"crafting_table": "crafting_table", "chest": "chest", "furnace": "furnace"}
"""Blocks that open a window when used."""
_DOUBLE = 5
"""Two clicks within this many ticks are a double click (250 ms)."""


class Inventory:
    """36 stacks (hotbar 1–9, then main 1–27), armour and offhand, and the mouse in an open window."""

    def __init__(self) -> None:
        self.own: list[Stack | None] = [None] * 36
        """The stacks while no window is open; while one is, the window holds them: use :meth:`stack`."""
        self.worn: list[Stack | None] = [None] * 5
        """Helmet, chestplate, leggings, boots, offhand; in the window while the inventory is open."""
        self.selected = 0
        """Held hotbar slot, 0…8."""
        self.window: Window | None = None
        self.at: Cell | None = None
        """The block whose window is open, None for the inventory."""
        self.cursor = CENTER
        """Pixel of the mouse while a window is open."""
        self.chests: dict[Cell, tuple[Stack | None, ...]] = {}
        self.furnaces: dict[Cell, Furnace] = {}
        """Every furnace that has been opened."""
        self._press: tuple[str, tuple[Stack | None, ...], Stack, tuple[int, ...]] | None = None
        """A drag: button, slots and cursor stack before it, slots dragged over."""
        self._last: tuple[int, int] = (-1, -1000)
        """Slot and tick of the last left click, for double clicks."""

    # -- stacks --------------------------------------------------------------------------------------------------
    def stacks(self) -> list[Stack | None]:
        """Return the player's 36 stacks, from the open window when there is one."""
        if self.window is None:
            return self.own
        slots = self.window.slots
        return [slots[i] for i in PLAYER_SLOTS[self.window.kind]]

    def held(self) -> Stack | None:
        """Return the stack in the hand."""
        if self.window is None:
            return self.own[self.selected]
        return self.window.slots[PLAYER_SLOTS[self.window.kind][self.selected]]

    def armor(self) -> list[str]:
        """Return what is worn: helmet, chestplate, leggings, boots, as far as there are any."""
        open_here = self.window is not None and self.window.kind == "inventory"
        worn = self.window.slots[5:9] if open_here and self.window is not None else self.worn[:4]
        return [stack[0] for stack in worn if stack is not None]

    def put(self, index: int, stack: Stack | None) -> None:
        """Set one of the 36 stacks."""
        if self.window is None:
            self.own[index] = stack
        else:
            self.window.slots[PLAYER_SLOTS[self.window.kind][index]] = stack

    def add(self, item: str, count: int) -> int:
        """Put items in: onto equal stacks (the held one first), then into the first free slot; return the rest."""
        self.end_drag()
        most = stack_size(item)
        stacks = self.stacks()
        order = [self.selected, *(i for i in range(36) if i != self.selected)]
        for i in order:
            stack = stacks[i]
            if stack is not None and stack[0] == item and stack[1] < most and count:
                moved = min(count, most - stack[1])
                self.put(i, (item, stack[1] + moved))
                count -= moved
        for i in range(36):
            if not count:
                break
            if stacks[i] is None:
                moved = min(count, most)
                self.put(i, (item, moved))
                count -= moved
        return count

    def take_held(self, count: int) -> Stack | None:
        """Remove up to ``count`` of the held stack and return them."""
        stack = self.held()
        if stack is None:
            return None
        taken = min(count, stack[1])
        self.put(self.selected, (stack[0], stack[1] - taken) if stack[1] > taken else None)
        return stack[0], taken

    def totals(self) -> dict[str, int]:
        """Return item → count over the player's stacks, armour, the grid and the cursor, in slot order."""
        out: dict[str, int] = {}
        loose: list[Stack | None] = list(self.worn)
        if self.window is not None:
            width = self.window.grid_width
            loose = [self.window.cursor, *self.window.slots[1 : 1 + width * width]]
            loose += [self.window.slots[i] for i in (5, 6, 7, 8, 45)] if self.window.kind == "inventory" else self.worn
        for stack in (*self.stacks(), *loose):
            if stack is not None:
                out[stack[0]] = out.get(stack[0], 0) + stack[1]
        return out

    # -- windows -------------------------------------------------------------------------------------------------
    def open(self, kind: Kind, at: Cell | None = None) -> None:
        """Open a window over the stacks; the cursor starts in the middle of the screen."""
        slots: list[Stack | None] = [None] * len(slot_names(kind))
        for index, slot in enumerate(PLAYER_SLOTS[kind]):
            slots[slot] = self.own[index]
        if kind == "inventory":
            slots[5:9] = self.worn[:4]
            slots[45] = self.worn[4]
        elif kind == "chest" and at is not None:
            slots[:27] = self.chests.get(at, (None,) * 27)
        elif kind == "furnace" and at is not None:
            slots[:3] = self.furnaces.setdefault(at, Furnace()).slots
        self.window, self.at, self.cursor = Window(kind, slots), at, CENTER
        self._press, self._last = None, (-1, -1000)

    def close(self) -> list[Stack]:
        """Close the window; return the stacks that found no room."""
        window = self.window
        if window is None:
            return []
        lost = window.close()
        self.own = [window.slots[i] for i in PLAYER_SLOTS[window.kind]]
        if window.kind == "inventory":
            self.worn = [*window.slots[5:9], window.slots[45]]
        elif window.kind == "chest" and self.at is not None:
            self.chests[self.at] = tuple(window.slots[:27])
        elif window.kind == "furnace" and self.at is not None:
            self.furnaces[self.at].slots = window.slots[:3]
        self.window, self.at, self._press = None, None, None
        return lost

    # -- blocks that hold stacks ---------------------------------------------------------------------------------
    def contents(self, cell: Cell) -> tuple[Stack | None, ...]:
        """Return the stacks in the chest or furnace at a cell; none when there is none, or it is empty."""
        if self.window is not None and self.at == cell and self.window.kind in ("chest", "furnace"):
            return tuple(self.window.slots[: 27 if self.window.kind == "chest" else 3])
        furnace = self.furnaces.get(cell)
        return self.chests.get(cell, ()) if furnace is None else tuple(furnace.slots)

    def empty_out(self, cell: Cell) -> list[Stack]:
        """Take everything out of a chest or furnace whose block is broken."""
        stacks = [stack for stack in self.contents(cell) if stack is not None]
        self.chests.pop(cell, None)
        self.furnaces.pop(cell, None)
        return stacks

    def tick_furnaces(self) -> None:
        """Let every furnace burn for one tick."""
        for cell, furnace in self.furnaces.items():
            window = self.window if self.at == cell else None
            slots = window.slots if window is not None else furnace.slots
            if not furnace.idle(slots) and furnace.tick(slots) and window is not None:
                self.end_drag()  # a drag goes back to the stacks before it, which are others now

    def smelted(self) -> Stack | None:
        """Return what lies in the output of the open furnace."""
        return self.window.slots[OUTPUT] if self.window is not None and self.window.kind == "furnace" else None

    # -- the mouse in a window -----------------------------------------------------------------------------------
    def hovered(self) -> int:
        """Return the slot under the cursor; -1 between slots, -999 outside the panel."""
        return hit(self.window.kind, *self.cursor) if self.window is not None else -1

    def slot_offset(self, slot: int) -> tuple[int, int]:
        """Return (dx, dy) pixels from the cursor to the middle of a slot."""
        assert self.window is not None
        x, y, w, h = slot_rect(self.window.kind, slot)
        return x + w // 2 - self.cursor[0], y + h // 2 - self.cursor[1]

    @property
    def dragging(self) -> tuple[int, ...]:
        """Slots the drag under way has passed over; empty when no stack is being dragged."""
        return self._press[3] if self._press is not None else ()

    def move_cursor(self, dx: int, dy: int) -> list[int]:
        """Move the cursor, within the screen; return the slots it passed over, the last one included."""
        x, y = self.cursor
        nx, ny = min(max(x + dx, 0), SCREEN[0] - 1), min(max(y + dy, 0), SCREEN[1] - 1)
        self.cursor = (nx, ny)
        if self._press is None or self.window is None:
            return []
        steps = max(abs(nx - x), abs(ny - y)) // 6 + 1
        passed: list[int] = []
        for i in range(1, steps + 1):
            slot = hit(self.window.kind, x + (nx - x) * i // steps, y + (ny - y) * i // steps)
            if slot >= 0 and slot not in passed:
                passed.append(slot)
        return passed

    def press(self, button: str, shift: bool, now: int) -> list[WindowEvent]:
        """Press a mouse button where the cursor is.

        With a stack in hand this starts a drag. Minecraft acts when the button is released; here the slots always
        show what releasing now would give, so that a click is complete in the tick it is made.
        """
        window, slot = self.window, self.hovered()
        assert window is not None
        self.end_drag()
        double = button == "left" and not shift and self.double_clicked(slot, now)
        self.note_click(slot if button == "left" else None, now)
        result = slot == 0 and window.grid_width > 0
        if double and slot >= 0 and not result and window.cursor is not None and window.slots[slot] is None:
            return window.double_click(slot)
        carried = window.cursor
        if carried is not None and slot >= 0 and not shift and not result:
            self.begin_drag(button, slot)
        return window.click(slot, "left" if button == "left" else "right", shift)

    def double_clicked(self, slot: int, now: int) -> bool:
        """Return whether a left click now would be the second of a double click."""
        return self._last[0] == slot and now - self._last[1] <= _DOUBLE

    def note_click(self, slot: int | None, now: int) -> None:
        """Remember a left click for :meth:`double_clicked`; None: the last click was another one."""
        self._last = (slot, now) if slot is not None else (-1, -1000)

    def begin_drag(self, button: str, slot: int) -> None:
        """Begin a drag of the cursor's stack over slots, the first one known."""
        window = self.window
        if window is not None and window.cursor is not None:
            self._press = (button, tuple(window.slots), window.cursor, (slot,))

    def drag(self, passed: list[int]) -> None:
        """Extend the drag that :meth:`press` began over more slots."""
        window = self.window
        if self._press is None or window is None:
            return
        button, before, carried, slots = self._press
        more = tuple(s for s in passed if s not in slots)
        if not more:
            return
        slots += more
        self._press = (button, before, carried, slots)
        window.slots[:] = before
        window.cursor = carried
        window.drag(slots, "left" if button == "left" else "right")

    def end_drag(self) -> None:
        """Let the drag under way be what it is; whatever else changes the slots does this first."""
        self._press = None

    def release(self, button: str) -> None:
        """Let a mouse button go: the drag is what it is."""
        if self._press is not None and self._press[0] == button:
            self.end_drag()

    # -- snapshots -----------------------------------------------------------------------------------------------
    def save(self) -> tuple[Any, ...]:
        """Return the whole state as nested tuples, for :meth:`load`; JSON-able and canonical."""
        window = None if self.window is None else (self.window.kind, tuple(self.window.slots), self.window.cursor)
        chests = tuple(sorted(self.chests.items())) if self.chests else ()
        furnaces = tuple((cell, self.furnaces[cell].save()) for cell in sorted(self.furnaces))
        return (
            tuple(self.own) if window is None else (), tuple(self.worn), self.selected, window, self.at, self.cursor,
            chests, furnaces, self._press, self._last,
        )  # fmt: skip

    def load(self, state: tuple[Any, ...]) -> None:
        """Go back to a :meth:`save`."""
        own, worn, self.selected, window, self.at, self.cursor, chests, furnaces, self._press, self._last = state
        self.own = list(own) if window is None else [None] * 36
        self.worn = list(worn)
        self.window = None if window is None else Window(window[0], list(window[1]), window[2])
        self.chests = dict(chests)
        self.furnaces = {cell: Furnace.load(s) for cell, s in furnaces}
