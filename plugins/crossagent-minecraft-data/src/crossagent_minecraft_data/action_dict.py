"""The action dict of MineRL and MineStudio: the same keys, and a camera of (pitch, yaw) in degrees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crossagent_minecraft_data.controls import DEGREES_PER_PIXEL

KEYS: dict[str, str] = {
    "forward": "w", "back": "s", "left": "a", "right": "d", "jump": "space", "sneak": "left.shift", "sprint": "left.control",
    "inventory": "e", "ESC": "escape", "drop": "q", "swapHands": "f", **{f"hotbar.{n}": str(n) for n in range(1, 10)},
}  # fmt: skip
"""Action → key of the control interface."""
BUTTONS: dict[str, str] = {"attack": "left", "use": "right"}
"""Action → mouse button."""
IGNORED = ("pickItem",)
"""Actions that exist in the dict and do nothing in survival without the block in the hotbar; here they never do."""
NAMES: tuple[str, ...] = tuple(sorted((*KEYS, *BUTTONS, *IGNORED)))
"""Every action that is 0 or 1."""


def decode(action: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, int]]:
    """Return (keys, buttons, camera (dx, dy) in mouse pixels) of an action dict; what it lacks is not pressed.

    Raises ``KeyError`` for a name that is no action, ``ValueError`` for a camera that is not two finite numbers.
    """
    for name in action:
        if name != "camera" and name not in NAMES:
            raise KeyError(f"action: got {name!r}; expected camera or one of {', '.join(NAMES)}")
    keys = tuple(key for name, key in KEYS.items() if _on(action.get(name, 0)))
    buttons = tuple(button for name, button in BUTTONS.items() if _on(action.get(name, 0)))
    camera = [float(degrees) for degrees in action.get("camera", (0.0, 0.0))]
    if len(camera) != 2 or not all(math.isfinite(degrees) for degrees in camera):
        raise ValueError(f"camera: got {camera}; expected two finite numbers, pitch and yaw in degrees")
    pitch, yaw = (_pixels(degrees) for degrees in camera)
    return keys, buttons, (yaw, pitch)


def _on(value: Any) -> bool:
    return bool(int(value))


def _pixels(degrees: float) -> int:
    """Round to whole mouse pixels, halves away from zero."""
    return int(math.copysign(math.floor(abs(degrees) / DEGREES_PER_PIXEL + 0.5 + 1e-9), degrees))
