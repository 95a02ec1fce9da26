"""What lies over the world on the 640×360 screen: crosshair, hotbar, hearts and food; or the open window with its cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld.harm import AIR
from crossagent_craftworld.render import blockart, font, paint, sprites
from crossagent_craftworld.render.paint import Layer
from crossagent_minecraft_data import screen
from crossagent_minecraft_data.windows import SCREEN, Stack, panel, slot_names, slot_rect

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

_TITLES = {
    "inventory": ("Crafting", 97, 6),
    "crafting_table": ("Crafting", 28, 6),
    "furnace": ("Furnace", 60, 6),
    "chest": ("Chest", 8, 6),
}
_WIDE = frozenset({("crafting_table", 0), ("furnace", 2)})
"""Results with a larger frame."""
_HEART = ("..11.11..", ".1221221.", "122222221", "122222221", ".1222221.", "..12221..", "...121...", "....1....")
_LEG = (".....11..", "....1221.", "...12221.", "..122221.", "..12221..", ".31111...", "331......", "33.......")
_BUBBLE = ("...111...", "..1..21..", ".1...221.", ".1....21.", ".1.....1.", "..1...1..", "...111...")
_ARROW = (
    "1...........", "11..........", "121.........", "1221........", "12221.......", "122221......", "1222221.....",
    "12222221....", "122222221...", "12222111....", "121221......", "11.1221.....", "1..1221.....", "....11......",
)  # fmt: skip
_EMPTY_SLOTS = {
    "helmet": "helmet",
    "chestplate": "chestplate",
    "leggings": "leggings",
    "boots": "boots",
    "offhand": "shield",
}


class Hud:
    """Draws the layer of a world, and knows when it is the same as before."""

    def __init__(self) -> None:
        self._base: tuple[Any, Layer] | None = None

    def key(self, world: World) -> tuple[Any, ...]:
        """Return what the layer depends on."""
        inventory = world.inventory
        food = world.hunger.food if world.hunger is not None else 20
        bars = (math.ceil(world.health), food, world.hurt > 5, _bubbles(world), world.fire and world.time % 3 + 1)
        if inventory.window is None:
            return (*bars, inventory.selected, tuple(inventory.own[:9]))
        return (*bars, *self._window_key(world), inventory.window.cursor, inventory.cursor)

    def _window_key(self, world: World) -> tuple[Any, ...]:
        inventory = world.inventory
        window = inventory.window
        assert window is not None
        fire = inventory.furnaces.get(inventory.at) if inventory.at is not None else None
        state = () if fire is None else (14 * fire.burn // max(1, fire.burn_total), 24 * fire.progress // 200)
        return (window.kind, tuple(window.slots), inventory.selected, state)

    def draw(self, world: World) -> Layer:
        """Return the layer; do not change it."""
        inventory = world.inventory
        window = inventory.window
        if window is None:
            layer = _blank()
            if world.fire:
                _flames(layer, world.time)
            _bars(layer, world)
            _crosshair(layer)
            return layer
        key = (*self._window_key(world), math.ceil(world.health), world.hurt > 5, _bubbles(world))
        if self._base is None or self._base[0] != key:
            layer = _blank()
            _bars(layer, world)
            _veil(layer)
            _window(layer, world, key[3])
            self._base = (key, layer)
        layer = self._base[1].copy()
        hovered = inventory.hovered()
        if hovered >= 0:
            x, y, w, h = slot_rect(window.kind, hovered)
            area = layer[y : y + h, x : x + w, :3]
            area[:] = area + (255 - area) // 2
        x, y = inventory.cursor
        if window.cursor is not None:
            stack(layer, x - 8, y - 8, window.cursor)
        stencil(layer, x, y, _ARROW, {"1": (16, 16, 20), "2": (246, 246, 248)})
        return layer


def _blank() -> Layer:
    return np.zeros((SCREEN[1], SCREEN[0], 4), dtype=np.uint8)


# -- drawing on a layer -----------------------------------------------------------------------------------------------
def fill(layer: Layer, rect: Sequence[int], colour: Sequence[int], alpha: int = 255) -> None:
    """Fill a rectangle (x, y, width, height)."""
    x, y, w, h = rect
    layer[y : y + h, x : x + w] = [c * alpha // 255 for c in colour] + [alpha]


def text(layer: Layer, x: int, y: int, words: str, colour: Sequence[int], shadow: Sequence[int] | None = None) -> None:
    """Write words, their upper left corner at (x, y)."""
    mask = font.mask(words)
    for dx, tone in ((1, shadow), (0, colour)):
        if tone is None:
            continue
        left, top = x + dx, y + dx
        cut = mask[max(0, -top) : SCREEN[1] - top, max(0, -left) : SCREEN[0] - left]
        area = layer[max(0, top) : max(0, top) + cut.shape[0], max(0, left) : max(0, left) + cut.shape[1]]
        area[cut] = (*tone, 255)


def stencil(layer: Layer, x: int, y: int, rows: Sequence[str], tones: dict[str, tuple[int, int, int]]) -> None:
    """Draw rows of characters, each a tone; a character without one is left out."""
    paint.blit(layer, x, y, _stencil(tuple(rows), tuple(sorted(tones.items()))))


@cache
def _stencil(rows: tuple[str, ...], tones: tuple[tuple[str, tuple[int, int, int]], ...]) -> NDArray[np.uint8]:
    out = np.zeros((len(rows), len(rows[0]), 4), dtype=np.uint8)
    table = dict(tones)
    for y, row in enumerate(rows):
        for x, mark in enumerate(row):
            if mark in table:
                out[y, x] = (*table[mark], 255)
    return out


def stack(layer: Layer, x: int, y: int, what: Stack) -> None:
    """Draw a stack's icon, 16×16 at (x, y), with its count when there are several."""
    paint.blit(layer, x, y, sprites.icon(what[0]))
    if what[1] > 1:
        words = str(what[1])
        text(layer, x + 18 - 6 * len(words), y + 9, words, (255, 255, 255), (62, 62, 62))


# -- over the world ---------------------------------------------------------------------------------------------------
def _crosshair(layer: Layer) -> None:
    x, y, w, h = screen.CROSSHAIR
    fill(layer, (x + 3, y + h // 2, w - 6, 1), (240, 240, 240), 210)
    fill(layer, (x + w // 2, y + 3, 1, h - 6), (240, 240, 240), 210)


def _bars(layer: Layer, world: World) -> None:
    x, y, w, h = screen.HOTBAR_PANEL
    fill(layer, (x, y, w, h), (16, 16, 18), 235)
    fill(layer, (x + 1, y + 1, w - 2, h - 2), (86, 86, 90), 235)
    stacks = world.inventory.stacks()[:9]
    for i in range(9):
        sx, sy, sw, sh = screen.hotbar_slot(i)
        fill(layer, (sx - 1, sy - 1, sw + 2, sh + 2), (52, 52, 56), 215)
        fill(layer, (sx, sy, sw, sh), (76, 76, 80), 190)
    fx, fy, fw, fh = screen.selected_frame(world.inventory.selected)
    for rect in ((fx, fy, fw, 2), (fx, fy + fh - 1, fw, 2), (fx, fy, 2, fh + 1), (fx + fw - 2, fy, 2, fh + 1)):
        fill(layer, rect, (222, 222, 222))
    for i, what in enumerate(stacks):
        if what is not None:
            stack(layer, *screen.hotbar_slot(i)[:2], what)
    x, y, w, h = screen.XP_BAR
    fill(layer, (x, y, w, h), (10, 12, 8))
    fill(layer, (x + 1, y + 1, w - 2, h - 2), (44, 58, 34))
    full, half = divmod(math.ceil(world.health), 2)
    rim = (255, 255, 255) if world.hurt > 5 else (18, 10, 10)
    for i in range(10):
        red = (216, 34, 30)
        left, right = (red if 2 * i + 1 <= 2 * full + half else (56, 28, 28)), (red if i < full else (56, 28, 28))
        _halved(layer, screen.heart(i)[0], screen.heart(i)[1], _HEART, rim, left, right)
    food = world.hunger.food if world.hunger is not None else 20
    for i in range(10):
        meat, bare = (176, 104, 42), (54, 40, 28)
        left, right = meat if 2 * i + 2 <= food else bare, meat if 2 * i + 1 <= food else bare
        _halved(layer, screen.food_icon(i)[0], screen.food_icon(i)[1], _LEG, (20, 14, 8), left, right)

    for i in range(_bubbles(world)):
        x, y, _, _ = screen.food_icon(i)
        stencil(layer, x, y - 10, _BUBBLE, {"1": (60, 110, 200), "2": (150, 200, 250)})


def _bubbles(world: World) -> int:
    """Return how many bubbles of air are shown: none while there is all of it."""
    return 0 if world.air >= AIR else math.ceil(10 * max(0, world.air) / AIR)


def _flames(layer: Layer, time: int) -> None:
    """Fire from below, when one burns."""
    flame = blockart.texture("fire:fire").repeat(14, axis=0).repeat(20, axis=1)
    picture = np.roll(flame, 20 * (time % 3), axis=1)
    picture = np.where(picture[..., 3:] > 0, [[[255, 255, 255, 150]]], 0).astype(np.uint8) & picture
    for x in (0, SCREEN[0] - picture.shape[1]):
        paint.blit(layer, x, SCREEN[1] - picture.shape[0] + 60, picture)


def _halved(
    layer: Layer,
    x: int,
    y: int,
    rows: Sequence[str],
    rim: tuple[int, int, int],
    left: tuple[int, int, int],
    right: tuple[int, int, int],
) -> None:
    middle = len(rows[0]) // 2
    split = [row[:middle].replace("2", "4") + row[middle:] for row in rows]
    stencil(layer, x, y, split, {"1": rim, "2": right, "3": (226, 216, 200), "4": left})


# -- windows ----------------------------------------------------------------------------------------------------------
_PANEL, _DARK, _LIGHT, _SLOT = (198, 198, 198), (86, 86, 86), (252, 252, 252), (139, 139, 139)


def _veil(layer: Layer) -> None:
    """The world and the bars darken behind a window."""
    alpha = 176
    layer[..., :3] = layer[..., :3].astype(np.uint16) * (255 - alpha) // 255 + 16 * alpha // 255
    layer[..., 3] = alpha + layer[..., 3].astype(np.uint16) * (255 - alpha) // 255


def _sunken(layer: Layer, rect: Sequence[int], colour: Sequence[int] = _SLOT) -> None:
    """A recess: dark above and left, light below and right, one pixel around the rectangle."""
    x, y, w, h = rect
    fill(layer, (x - 1, y - 1, w + 2, h + 2), _LIGHT)
    fill(layer, (x - 1, y - 1, w + 1, h + 1), (55, 55, 55))
    fill(layer, (x, y, w, h), colour)


def _window(layer: Layer, world: World, state: tuple[int, ...]) -> None:
    window = world.inventory.window
    assert window is not None
    kind = window.kind
    left, top, width, height = panel(kind)
    fill(layer, (left, top, width, height), (0, 0, 0))
    fill(layer, (left + 1, top + 1, width - 2, height - 2), _LIGHT)
    fill(layer, (left + 3, top + 3, width - 4, height - 4), _DARK)
    fill(layer, (left + 3, top + 3, width - 6, height - 6), _PANEL)
    title, x, y = _TITLES[kind]
    text(layer, left + x, top + y, title, (64, 64, 64))
    if kind != "inventory":
        text(layer, left + 8, top + height - 94, "Inventory", (64, 64, 64))
    names = slot_names(kind)
    for slot in range(len(names)):
        x, y, w, h = slot_rect(kind, slot)
        _sunken(layer, (x - 4, y - 4, w + 8, h + 8) if (kind, slot) in _WIDE else (x, y, w, h))
    for slot, what in enumerate(window.slots):  # a count may reach into the next slot
        x, y, _, _ = slot_rect(kind, slot)
        if what is not None:
            stack(layer, x, y, what)
        elif names[slot] in _EMPTY_SLOTS:
            _ghost(layer, x, y, _EMPTY_SLOTS[names[slot]])
    if kind == "inventory":
        _sunken(layer, (left + 26, top + 8, 49, 70), (0, 0, 0))
        _figure(layer, left + 50, top + 15)
        _arrow(layer, left + 135, top + 29, 16, 0)
    elif kind == "crafting_table":
        _arrow(layer, left + 90, top + 35, 24, 0)
    elif kind == "furnace":
        burning, done = state or (0, 0)
        x, y, w, _ = screen.FURNACE_ARROW
        _arrow(layer, left + x, top + y, w, done)
        x, y, w, h = screen.FURNACE_FLAME
        for row in range(h):
            wide = (2 * row) // 3 + 3 if row < h - 3 else w - 3
            tone = (246, 170 - 6 * row, 48) if row >= h - burning else (139, 139, 139)
            fill(layer, (left + x + (w - wide) // 2, top + y + row, wide, 1), tone)


def _ghost(layer: Layer, x: int, y: int, drawing: str) -> None:
    shape = sprites.icon(f"iron_{drawing}" if drawing != "shield" else "shield")[..., 3] > 0
    layer[y : y + 16, x : x + 16][shape] = (112, 112, 112, 255)


def _arrow(layer: Layer, x: int, y: int, width: int, done: int) -> None:
    """An arrow to the right, its first ``done`` columns white."""
    for column in range(width):
        half = 2 if column < width - 8 else max(0, width - column)
        tone = (255, 255, 255) if column < done else (139, 139, 139)
        fill(layer, (x + column, y + 8 - half, 1, 2 * half), tone)


def _figure(layer: Layer, x: int, y: int) -> None:
    """The player, from the front."""
    skin, shirt, trousers, hair = (198, 150, 118), (44, 150, 156), (62, 58, 140), (64, 42, 26)
    for rect, tone in (
        ((-6, 0, 12, 12), skin), ((-6, 0, 12, 4), hair), ((-4, 6, 2, 2), (240, 240, 240)), ((2, 6, 2, 2), (240, 240, 240)),
        ((-2, 9, 4, 1), (120, 70, 60)), ((-6, 12, 12, 18), shirt), ((-12, 12, 5, 18), skin), ((7, 12, 5, 18), skin),
        ((-12, 12, 5, 6), shirt), ((7, 12, 5, 6), shirt), ((-6, 30, 6, 18), trousers), ((0, 30, 6, 18), trousers),
        ((-6, 46, 12, 4), (88, 88, 92)),
    ):  # fmt: skip
        fill(layer, (x + rect[0], y + rect[1], rect[2], rect[3]), tone)
