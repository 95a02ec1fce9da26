"""Windows: where slots lie, which slot a pixel hits, what clicks do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from crossagent_craftworld.parity.tally import Document, Tally
from crossagent_minecraft_data import cooking, screen
from crossagent_minecraft_data.windows import PLAYER_SLOTS, Rules, Stack, Window, hit, panel, slot_names, slot_rect

# The click cases evaluate no recipes; iron_ore and cobblestone smelt, armour does not (in vanilla, iron armour does).
GOLDEN_RULES = Rules(
    match=lambda grid, width: None,
    smelts=lambda item: None if item.endswith(screen.ARMOR) else cooking.smelts(item),
)
_SCALES = {"scale1": 1, "scale2": 2}
_WIDGETS = {"flame": screen.FURNACE_FLAME, "arrow": screen.FURNACE_ARROW}
_HUD: dict[str, Callable[[int], screen.Rect]] = {
    "hotbar_panel": lambda i: screen.HOTBAR_PANEL,
    "hotbar_slot_i": screen.hotbar_slot,
    "selected_frame": screen.selected_frame,
    "health_hearts": screen.heart,
    "food": screen.food_icon,
    "xp_bar": lambda i: screen.XP_BAR,
    "crosshair": lambda i: screen.CROSSHAIR,
}
_RECT = re.compile(r"\[(\d+)(?:([+-]\d+)\*i)?,\s*(\d+),\s*(\d+),\s*(\d+)\]")


def geometry(document: Document) -> Tally:
    """Panels and the rectangles of slots, exact, at the scales the file gives."""
    tally = Tally("windows")
    for kind, want in document["windows"].items():
        first = min(PLAYER_SLOTS[kind])
        for key, value in want.items():
            if key in _SCALES:
                scale = _SCALES[key]
                tally.check(f"{kind} {key} panel", panel(kind, scale), tuple(value["panel"]))
                tally.check(f"{kind} {key} number of slots", len(slot_names(kind)), len(value["slots"]))
                for slot, rect in value["slots"].items():
                    tally.check(f"{kind} {key} slot {slot}", slot_rect(kind, int(slot), scale), tuple(rect))
            elif key == "local_xy":
                left, top, _, _ = panel(kind)
                for slot, (x, y) in value.items():
                    got = slot_rect(kind, int(slot))
                    tally.check(f"{kind} slot {slot} in its panel", (got[0] - left, got[1] - top), (x, y))
            elif key == "widgets_local":
                for name, rect in value.items():
                    tally.check(f"{kind} {name}", _WIDGETS.get(name), tuple(rect))
            elif key == "texture_size":
                tally.check(f"{kind} size", panel(kind)[2:], tuple(value))
            elif key in ("main_first", "hotbar_first"):
                tally.check(f"{kind} {key}", first + (27 if key == "hotbar_first" else 0), value)
            else:
                tally.leave_out("roles are prose" if key == "roles" else f"{key}: CraftWorld has none")
    return tally


def hud(document: Document) -> Tally:
    """What is drawn over the world, exact at GUI scale 1."""
    tally = Tally("hud")
    for key, value in document["hud"].items():
        if key != "scale1":
            tally.leave_out(f"{key}: prose, or another scale")
            continue
        for name, rect in value.items():
            place = _HUD.get(name)
            found = _RECT.search(str(rect))
            if place is None or found is None:
                tally.case(name, False, f"no such thing on the screen: {rect}")
                continue
            x, step, y, w, h = (int(part or 0) for part in found.groups())
            for i in range(9 if step else 1):
                tally.check(f"{name} {i}", place(i), (x + step * i, y, w, h))
    return tally


def hits(document: Document) -> Tally:
    """The slot under a pixel."""
    tally = Tally("hit_tests")
    for kind, scale, x, y, slot in document["hit_tests"]:
        tally.check(f"{kind} at {x}, {y}, scale {scale}", hit(kind, x, y, scale), slot)
    return tally


def _play(window: Window, click: dict[str, Any]) -> list[list[Any]]:
    mode, button, slot = click["mode"], click["button"], click["slot"]
    side: Any = "right" if button == 1 else "left"
    if mode in (0, 1):
        events = window.click(slot, side, shift=mode == 1)
    elif mode == 2:
        events = window.swap_hotbar(slot, button + 1)
    elif mode == 4:
        events = window.drop(slot, all=bool(button))
    elif mode == 5:
        events = window.drag(click["drag"], side)
    elif mode == 6:
        events = window.double_click(slot)
    else:
        raise ValueError(f"click mode {mode}; expected 0, 1, 2, 4, 5 or 6")
    return [[e.item, e.count] for e in events if e.kind == "drop"]


def clicks(document: Document) -> Tally:
    """What a click does to slots and cursor, and what it throws out."""
    tally = Tally("click_cases")
    for case in document["click_cases"]:
        slots: list[Stack | None] = [None] * len(slot_names(case["win"]))
        for slot, (item, count) in case["before"].items():
            slots[int(slot)] = (item, count)
        cursor = (case["cursor"][0], case["cursor"][1]) if case["cursor"] else None
        window = Window(case["win"], slots, cursor, GOLDEN_RULES)
        dropped = _play(window, case["click"])
        after = {str(slot): list(stack) for slot, stack in enumerate(window.slots) if stack}
        got = (after, list(window.cursor) if window.cursor else None, dropped)
        want = (case["after"], case["cursor_after"], [case["dropped"]] if case.get("dropped") else [])
        tally.case(case["id"], got == want, f"got {got}, expected {want}")
    return tally
