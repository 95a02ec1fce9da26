"""Windows against prismarine-windows and the vanilla rules (see tests/golden/README.md)."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossagent_minecraft_data import recipes, windows
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.windows import (
    KINDS,
    PLAYER_SLOTS,
    Rules,
    Window,
    WindowEvent,
    hit,
    panel,
    slot_names,
    slot_rect,
)

GOLDEN = json.loads((Path(__file__).parents[3] / "tests" / "golden" / "minecraft" / "windows.json").read_text())
# The golden's own rules: no recipes, and iron_ore and cobblestone alone smelt (in vanilla an iron_helmet does too).
RULES = Rules(match=lambda grid, width: None, smelts={"iron_ore": "iron_ingot", "cobblestone": "stone"}.get)
MODES = {0: "plain", 1: "shift", 2: "number key", 4: "drop key", 5: "drag", 6: "double click"}


def test_geometry():
    for kind, window in GOLDEN["windows"].items():
        assert panel(kind) == tuple(window["scale1"]["panel"])
        assert len(slot_names(kind)) == len(window["scale1"]["slots"])
        for slot, rect in window["scale1"]["slots"].items():
            assert slot_rect(kind, int(slot)) == tuple(rect)
    for kind, scale, x, y, slot in GOLDEN["hit_tests"]:
        if scale == 1:
            assert hit(kind, x, y) == slot, (kind, x, y)


def test_slot_names():
    names = slot_names("inventory")
    assert names[:9] == ("result", "grid1", "grid2", "grid3", "grid4", "helmet", "chestplate", "leggings", "boots")
    assert (names[9], names[36], names[45]) == ("inv1", "hot1", "offhand")
    for kind in KINDS:
        assert [slot_names(kind)[s] for s in PLAYER_SLOTS[kind]] == [
            *(f"hot{i}" for i in range(1, 10)),
            *(f"inv{i}" for i in range(1, 28)),
        ]


@pytest.mark.parametrize("mode", MODES, ids=MODES.values())
def test_clicks(mode):
    compared = 0
    for case in GOLDEN["click_cases"]:
        click = case["click"]
        if click["mode"] != mode:
            continue
        slots = [None] * len(slot_names(case["win"]))
        for slot, stack in case["before"].items():
            slots[int(slot)] = tuple(stack)
        window = Window(case["win"], slots, tuple(case["cursor"]) if case["cursor"] else None, RULES)
        button = ("left", "right")[click["button"]] if mode in (0, 1, 5) else "left"
        if mode in (0, 1):
            events = window.click(click["slot"], button, shift=mode == 1)
        elif mode == 2:
            events = window.swap_hotbar(click["slot"], click["button"] + 1)
        elif mode == 4:
            events = window.drop(click["slot"], all=bool(click["button"]))
        elif mode == 5:
            events = window.drag(click["drag"], button)
        else:
            events = window.double_click(click["slot"])
        after = {str(slot): list(stack) for slot, stack in enumerate(window.slots) if stack}
        assert after == case["after"], case["id"]
        assert (list(window.cursor) if window.cursor else None) == case["cursor_after"], case["id"]
        dropped = [[e.item, e.count] for e in events if e.kind == "drop"]
        assert dropped == ([case["dropped"]] if case.get("dropped") else []), case["id"]
        compared += 1
    assert compared > 20


def _window(kind, **named):
    window = Window(kind)
    for name, stack in named.items():
        window.slots[slot_names(kind).index(name)] = stack
    window._update_result()
    return window


def _at(window, name):
    return window.slots[slot_names(window.kind).index(name)]


def test_taking_a_result_consumes_one_of_each_cell():
    window = _window("inventory", grid1=("oak_log", 2))
    assert _at(window, "result") == ("oak_planks", 4)
    assert window.click(0) == [WindowEvent("craft", "oak_planks", 4)]
    assert window.cursor == ("oak_planks", 4)
    assert _at(window, "grid1") == ("oak_log", 1)
    assert window.click(0) == [WindowEvent("craft", "oak_planks", 4)]
    assert window.cursor == ("oak_planks", 8)
    assert _at(window, "result") is None
    assert window.click(0) == []


def test_a_result_that_does_not_fit_the_cursor_stays():
    window = _window("inventory", grid1=("oak_log", 1))
    window.cursor = ("oak_planks", 61)
    assert window.click(0) == []
    assert window.cursor == ("oak_planks", 61)


def test_shift_click_on_a_result_crafts_until_ingredients_run_out():
    window = _window("crafting_table", grid1=("oak_planks", 3), grid4=("oak_planks", 5))
    events = window.click(0, shift=True)
    assert events == [WindowEvent("craft", "stick", 4)] * 3
    assert _at(window, "hot9") == ("stick", 12)
    assert _at(window, "grid4") == ("oak_planks", 2)


def test_shift_click_on_a_result_stops_when_the_inventory_is_full():
    window = _window("crafting_table", grid1=("oak_log", 9))
    for slot in PLAYER_SLOTS["crafting_table"]:
        window.slots[slot] = ("dirt", 64)
    window.slots[12] = ("oak_planks", 57)
    assert len(window.click(0, shift=True)) == 1
    assert window.slots[12] == ("oak_planks", 61)
    assert _at(window, "grid1") == ("oak_log", 8)


def test_buckets_stay_in_the_grid():
    window = _window("crafting_table")
    cells = ["milk_bucket"] * 3 + ["sugar", "egg", "sugar"] + ["wheat"] * 3
    for cell, item in enumerate(cells):
        window.slots[1 + cell] = (item, 1)
    window._update_result()
    assert window.click(0) == [WindowEvent("craft", "cake", 1)]
    assert window.slots[1:10] == [("bucket", 1)] * 3 + [None] * 6


def test_a_number_key_takes_a_result():
    window = _window("inventory", grid1=("oak_log", 1))
    assert window.swap_hotbar(0, 3) == [WindowEvent("craft", "oak_planks", 4)]
    assert _at(window, "hot3") == ("oak_planks", 4)


def test_closing_returns_what_lies_loose():
    window = _window("inventory", grid1=("oak_log", 2), grid4=("dirt", 1))
    window.cursor = ("stick", 3)
    assert window.close() == []
    assert [_at(window, f"hot{i}") for i in (1, 2, 3)] == [("stick", 3), ("oak_log", 2), ("dirt", 1)]
    full = _window("inventory", grid1=("oak_log", 2))
    for slot in PLAYER_SLOTS["inventory"]:
        full.slots[slot] = ("dirt", 64)
    assert full.close() == [("oak_log", 2)]


def test_unknown_kind_and_wrong_size_are_refused():
    with pytest.raises(ValueError, match="unknown window kind"):
        Window("anvil")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="46 slots"):
        Window("inventory", [None] * 3)


STACKS = st.sampled_from(
    ["oak_log", "oak_planks", "stick", "dirt", "iron_helmet", "ender_pearl", "milk_bucket", "coal"]
)


def _count(window):
    slots = window.slots[1:] if window.grid_width else window.slots
    total = Counter()
    for stack in [*slots, window.cursor]:
        if stack:
            assert 1 <= stack[1] <= stack_size(stack[0])
            total[stack[0]] += stack[1]
    return total


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_items_are_conserved(data):
    """Whatever is clicked, items change only by crafting (what the recipe takes and makes) and by drops."""
    kind = data.draw(st.sampled_from(KINDS))
    window = Window(kind)
    for slot in range(1 if window.grid_width else 0, len(window.slots)):
        item = data.draw(st.none() | STACKS)
        if item and window.accepts(slot, item):
            window.slots[slot] = (item, data.draw(st.integers(1, window.limit(slot, item))))
    window._update_result()
    slots = st.integers(-1, len(window.slots) - 1) | st.just(windows.OUTSIDE)
    for _ in range(12):
        before = _count(window)
        grid = window.slots[1 : 1 + window.grid_width**2]
        made = recipes.match([s[0] if s else None for s in grid], window.grid_width) if window.grid_width else None
        op = data.draw(st.sampled_from(["left", "right", "shift", "double", "drag", "number", "drop"]))
        slot = data.draw(slots)
        if op in ("left", "right", "shift"):
            events = window.click(slot, "right" if op == "right" else "left", shift=op == "shift")
        elif op == "double":
            events = window.double_click(slot)
        elif op == "drag":
            events = window.drag(data.draw(st.lists(slots, max_size=6)), data.draw(st.sampled_from(["left", "right"])))
        elif op == "number":
            events = window.swap_hotbar(slot, data.draw(st.integers(1, 9)))
        else:
            events = window.drop(slot, all=data.draw(st.booleans()))
        expected = Counter(before)
        for event in events:
            expected[event.item] += event.count if event.kind == "craft" else -event.count
            if event.kind == "craft":
                assert made is not None
                for stack, left in zip(grid, made.leftovers, strict=True):
                    if stack:
                        expected[stack[0]] -= 1
                        if left:
                            expected[left] += 1
        assert _count(window) == +expected, (op, slot)
