"""The next click at a furnace; shared by the experts that click. Closed-loop, like :mod:`crafting`."""

from __future__ import annotations

from collections.abc import Iterable

from crossagent.plugin import ExpertStuck
from crossagent_craftworld.furnace import FUEL, INPUT, OUTPUT, Furnace
from crossagent_minecraft_data.cooking import fuel_ticks, smelts
from crossagent_minecraft_data.windows import PLAYER_SLOTS, Stack, Window

BLOCK = "furnace"


def covered(item: str, stacks: list[Stack | None]) -> bool:
    """Return whether stacks hold something that smelts to ``item`` and a fuel besides it."""
    raw = [s for s in stacks if s is not None and smelts(s[0]) == item]
    return bool(raw) and any(s is not None and fuel_ticks(s[0]) and (s not in raw or s[1] > 1) for s in stacks)


def next_shift_click(item: str, window: Window, fire: Furnace) -> int | None:
    """Return the slot to shift-click towards ``item``, or None when only waiting helps; raises ``ExpertStuck``."""
    if window.cursor is not None:
        raise ExpertStuck("the cursor holds something")
    raw, fuel, made = window.slots[INPUT], window.slots[FUEL], window.slots[OUTPUT]
    if made is not None:
        return OUTPUT  # what was asked for, or what is in its way
    if raw is not None and smelts(raw[0]) != item:
        return INPUT
    own = PLAYER_SLOTS[window.kind]
    if raw is None:
        return _first(
            f"nothing to smelt to {item}", (s for s in own if (t := window.slots[s]) and smelts(t[0]) == item)
        )
    if fuel is None and not fire.burn:
        burns = (s for s in own if (t := window.slots[s]) and fuel_ticks(t[0]) and not smelts(t[0]))
        return _first("no fuel", burns)
    return None


def _first(missing: str, slots: Iterable[int]) -> int:
    for slot in slots:
        return slot
    raise ExpertStuck(missing)
