"""A furnace: fuel burns, 200 burning ticks smelt one item. Order of a tick as in vanilla 1.16.5."""

from __future__ import annotations

from typing import Any

from crossagent_minecraft_data.cooking import LEFT_BY_FUEL, SMELT_TICKS, fuel_ticks, smelts
from crossagent_minecraft_data.items import stack_size
from crossagent_minecraft_data.windows import Stack

INPUT, FUEL, OUTPUT = range(3)
_COOL = 2
"""Progress lost per tick without fire."""


class Furnace:
    """One furnace's fire. Its three stacks lie in ``slots``, or, while its window is open, in that window."""

    __slots__ = ("burn", "burn_total", "progress", "slots")

    def __init__(self) -> None:
        self.slots: list[Stack | None] = [None] * 3
        """Input, fuel, output."""
        self.burn = 0
        """Ticks the fire goes on."""
        self.burn_total = 0
        """Ticks that the fuel now burning gives in all."""
        self.progress = 0
        """0…199."""

    def save(self) -> tuple[Any, ...]:
        """Return the state, for :meth:`load`."""
        return (tuple(self.slots), self.burn, self.burn_total, self.progress)

    @classmethod
    def load(cls, state: tuple[Any, ...]) -> Furnace:
        """Make one from a :meth:`save`."""
        furnace = cls()
        slots, furnace.burn, furnace.burn_total, furnace.progress = state
        furnace.slots = list(slots)
        return furnace

    def idle(self, slots: list[Stack | None]) -> bool:
        """Return whether a tick would change nothing."""
        return not self.burn and not self.progress and (slots[INPUT] is None or slots[FUEL] is None)

    def tick(self, slots: list[Stack | None]) -> bool:
        """Advance one tick over the stacks (the first three of ``slots``); return whether they changed."""
        changed = False
        if self.burn:
            self.burn -= 1
        makes = _makes(slots)
        fuel = slots[FUEL]
        if not self.burn and makes is not None and fuel is not None and (ticks := fuel_ticks(fuel[0])):
            self.burn = self.burn_total = ticks
            left = LEFT_BY_FUEL.get(fuel[0])
            slots[FUEL] = (fuel[0], fuel[1] - 1) if fuel[1] > 1 else (left, 1) if left is not None else None
            changed = True
        if self.burn:
            if makes is None:
                self.progress = 0
                return changed
            self.progress += 1
            if self.progress == SMELT_TICKS:
                self.progress = 0
                raw, made = slots[INPUT], slots[OUTPUT]
                assert raw is not None
                slots[INPUT] = (raw[0], raw[1] - 1) if raw[1] > 1 else None
                slots[OUTPUT] = (makes, (made[1] if made is not None else 0) + 1)
                changed = True
        else:
            self.progress = max(0, self.progress - _COOL)
        return changed


def _makes(slots: list[Stack | None]) -> str | None:
    """Return what the input becomes, if there is room for one more of it."""
    raw, made = slots[INPUT], slots[OUTPUT]
    result = smelts(raw[0]) if raw is not None else None
    if result is None or made is None:
        return result
    return result if made[0] == result and made[1] < stack_size(result) else None
