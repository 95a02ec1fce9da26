"""Raw ticks as MineRL's action dict: the same names, units and order of (pitch, yaw) in MineRL, VPT and MineStudio."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from crossagent.plugin import RawTick
from crossagent_minecraft_data.action_dict import BUTTONS, KEYS
from crossagent_minecraft_data.controls import DEGREES_PER_PIXEL

_ACTIONS = {key: action for action, key in (*KEYS.items(), *BUTTONS.items())}
"""Key or button of the control interface → action. No key is named like a button."""


def encode(raw: RawTick, known: Collection[str]) -> dict[str, Any]:
    """Return the action dict of one tick; what the game does not know is not pressed."""
    action: dict[str, Any] = {
        _ACTIONS[name]: 1 for name in (*raw.keys, *raw.buttons) if _ACTIONS.get(name, "") in known
    }
    dx, dy = raw.camera
    if (dx, dy) != (0, 0):
        action["camera"] = [dy * DEGREES_PER_PIXEL, dx * DEGREES_PER_PIXEL]
    return action


def keys_of(known: Collection[str]) -> tuple[str, ...]:
    """Return the keys of the keyboard that a game knows, sorted."""
    return tuple(sorted(key for action, key in KEYS.items() if action in known))


def buttons_of(known: Collection[str]) -> tuple[str, ...]:
    """Return the mouse buttons that a game knows, sorted."""
    return tuple(sorted(button for action, button in BUTTONS.items() if action in known))
