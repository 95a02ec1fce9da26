"""The keyboard and the mouse of Minecraft's player, as MineRL and OpenHA name them."""

from __future__ import annotations

_NUMBERS = tuple(str(n) for n in range(1, 10))
KEYS = tuple(sorted(("w", "a", "s", "d", "space", "left.shift", "left.control", "e", "escape", "q", "f", *_NUMBERS)))
"""Names of the keys."""
TAPS = tuple(sorted(("e", "escape", "q", "f", *_NUMBERS)))
"""Keys that do something when they are tapped; the others only work while they are held."""
BUTTONS = ("left", "right")
"""Names of the mouse buttons."""
DEGREES_PER_PIXEL = 0.15
"""How far the view turns when the mouse moves by one pixel."""
