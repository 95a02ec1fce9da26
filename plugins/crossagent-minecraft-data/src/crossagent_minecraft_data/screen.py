"""Where things lie on a 640×360 screen: windows' panels and slots, and what is drawn over the world.

Vanilla limits the GUI scale so that width/scale ≥ 320 and height/scale ≥ 240: at 640×360 that is 1, whatever the option.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["inventory", "crafting_table", "chest", "furnace"]
Rect = tuple[int, int, int, int]
"""x, y, width, height in pixels."""
SCREEN = (640, 360)
OUTSIDE = -999
"""What :func:`hit` says outside the panel; a click there throws the cursor's stack."""
NO_SLOT = -1
"""What :func:`hit` says inside the panel between slots."""
ARMOR = ("helmet", "chestplate", "leggings", "boots")


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


def panel(kind: str, scale: int = 1) -> tuple[int, int, int, int]:
    """Return the panel's (x, y, width, height) on the screen; it is centred."""
    height = _LAYOUTS[kind].height
    left, top = (SCREEN[0] // scale - _PANEL_WIDTH) // 2, (SCREEN[1] // scale - height) // 2
    return left * scale, top * scale, _PANEL_WIDTH * scale, height * scale


def grid_width(kind: str) -> int:
    """Return the width of the crafting grid (slots 1…width²); 0 without one."""
    return _LAYOUTS[kind].grid


def slot_names(kind: str) -> tuple[str, ...]:
    """Return the slots' names in slot order: result, grid1…, helmet…, inv1–inv27, hot1–hot9, offhand, as they exist."""
    return _NAMES[kind]


def slot_rect(kind: str, slot: int, scale: int = 1) -> tuple[int, int, int, int]:
    """Return the (x, y, width, height) of a slot's 16×16 item area, in screen pixels."""
    left, top, _, _ = panel(kind, scale)
    _, x, y = _SLOTS[kind][slot]
    return left + x * scale, top + y * scale, 16 * scale, 16 * scale


def hit(kind: str, x: int, y: int, scale: int = 1) -> int:
    """Return the slot under a screen pixel (areas are 1 px larger than the item), -1 between slots, -999 outside."""
    left, top, width, height = panel(kind, scale)
    if not (left <= x < left + width and top <= y < top + height):
        return OUTSIDE
    gx, gy = (x - left) // scale, (y - top) // scale
    for slot, (_, sx, sy) in enumerate(_SLOTS[kind]):
        if sx - 1 <= gx < sx + 17 and sy - 1 <= gy < sy + 17:
            return slot
    return NO_SLOT


# -- over the world: vanilla's anchors at GUI scale 1 ----------------------------------------------------------------
_MIDDLE, _BOTTOM = SCREEN[0] // 2, SCREEN[1]
HOTBAR_PANEL: Rect = (_MIDDLE - 91, _BOTTOM - 22, 182, 22)
XP_BAR: Rect = (_MIDDLE - 91, _BOTTOM - 29, 182, 5)
CROSSHAIR: Rect = (_MIDDLE - 8, _BOTTOM // 2 - 8, 15, 15)
FURNACE_FLAME: Rect = (56, 36, 14, 14)
"""Inside the furnace's panel."""
FURNACE_ARROW: Rect = (79, 34, 24, 17)
"""Inside the furnace's panel."""


def hotbar_slot(i: int) -> Rect:
    """Return the item area of hotbar slot 0…8."""
    return _MIDDLE - 88 + 20 * i, _BOTTOM - 19, 16, 16


def selected_frame(i: int) -> Rect:
    """Return the frame around the selected hotbar slot 0…8."""
    return _MIDDLE - 92 + 20 * i, _BOTTOM - 23, 24, 22


def heart(i: int) -> Rect:
    """Return heart 0…9, from the left."""
    return _MIDDLE - 91 + 8 * i, _BOTTOM - 39, 9, 9


def food_icon(i: int) -> Rect:
    """Return food icon 0…9, from the right."""
    return _MIDDLE + 82 - 8 * i, _BOTTOM - 39, 9, 9
