"""The mouse on MineStudio's screen of 640×360: in a window its cursor, else the view. A :class:`crossagent.plugin.Pointer`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from crossagent.plugin import RawTick, Rect
from crossagent_minecraft_data.controls import DEGREES_PER_PIXEL
from crossagent_minecraft_data.targets import window_targets
from crossagent_minecraft_data.windows import SCREEN
from crossagent_minerl.frame import Frame

if TYPE_CHECKING:
    from crossagent_minestudio.env import MineStudio

TAPS = tuple(sorted(("e", *(str(n) for n in range(1, 10)))))
"""Keys that do something when tapped; MineStudio has neither escape nor q nor f."""
_MODIFIERS = {"shift": "left.shift", "left.shift": "left.shift", "ctrl": "left.control", "left.control": "left.control"}
_FOCAL = SCREEN[1] / 2 / math.tan(math.radians(35.0))
"""Pixels from the eye to the screen at a vertical field of view of 70°."""
_MIDDLE = (SCREEN[0] // 2, SCREEN[1] // 2)


class ScreenPointer:
    """The game tells that a window is open, not which, nor where its cursor is.

    The cursor starts in the middle and follows the mouse; which window it is follows from how it was opened: by ``e`` the
    inventory, else the task's own block (a table, a furnace, a chest).
    """

    def __init__(self, env: MineStudio) -> None:
        self._env = env
        self.size = SCREEN
        self.reset()

    # -- state ---------------------------------------------------------------------------------------------------
    def reset(self) -> None:
        """Forget everything: a new episode."""
        self._at: tuple[int, int] | None = None
        self._cursor = _MIDDLE
        self._window = ""

    def save(self) -> Any:
        """Return the state, for :meth:`load`."""
        return (self._at, self._cursor, self._window)

    def load(self, state: Any) -> None:
        """Go back to a :meth:`save`."""
        self._at, self._cursor, self._window = state

    def follow(self, before: Frame, raw: RawTick) -> None:
        """Follow what a tick did to the cursor and the window."""
        after = self._env.frame
        if not after.gui:
            self._window = ""
        elif not before.gui:
            self._cursor = _MIDDLE
            self._window = "inventory" if "e" in raw.keys else self._env.window_of_task()
        else:
            x, y = self._cursor[0] + raw.camera[0], self._cursor[1] + raw.camera[1]
            self._cursor = (min(max(x, 0), SCREEN[0] - 1), min(max(y, 0), SCREEN[1] - 1))

    # -- the protocol --------------------------------------------------------------------------------------------
    def keys(self) -> tuple[str, ...]:
        """Names :meth:`press` takes."""
        return TAPS

    def move_to(self, x: int, y: int) -> None:
        """Choose the pixel of the next click or drag; takes no tick."""
        self._at = (min(max(int(x), 0), SCREEN[0] - 1), min(max(int(y), 0), SCREEN[1] - 1))

    def click(self, button: Literal["left", "right"] = "left", count: int = 1, modifiers: Sequence[str] = ()) -> None:
        """Move there, then press and let go, as the game reads a click: in ticks after the movement."""
        keys = tuple(sorted({_MODIFIERS[m] for m in modifiers if m in _MODIFIERS}))
        self._go(keys)
        for _ in range(min(max(int(count), 1), 3)):
            self._tick(keys, (button,))
            self._tick(keys)
        self._at = None

    def drag(self, x: int, y: int, button: Literal["left", "right"] = "left") -> None:
        """Press where the pointer is, move to (x, y) with the button down, let go."""
        self._go(())
        self._tick((), (button,))
        self.move_to(x, y)
        self._go((), (button,))
        self._tick(())
        self._at = None

    def scroll(self, dy: int) -> None:
        """Do nothing: MineStudio has no wheel; press a number instead."""

    def press(self, key: str) -> None:
        """Tap a key: one tick down, one up."""
        if key in TAPS:
            self._tick((key,))
            self._tick(())

    def targets(self) -> Mapping[str, Rect]:
        """Name the slots of the open window; without one the game names nothing on the screen."""
        return window_targets(self._window) if self._window else {}

    # -- how -----------------------------------------------------------------------------------------------------
    def _goal(self) -> tuple[int, int]:
        """Return the mouse movement from here to the chosen pixel."""
        if self._at is None:
            return 0, 0
        if self._env.frame.gui:
            return self._at[0] - self._cursor[0], self._at[1] - self._cursor[1]
        place = self._env.frame.place
        pitch = math.radians(place[3]) if place is not None else 0.0
        right, down = (self._at[0] + 0.5 - SCREEN[0] / 2) / _FOCAL, (self._at[1] + 0.5 - SCREEN[1] / 2) / _FOCAL
        # The ray through the pixel, in the frame of the player's heading: forward, up.
        forward = math.cos(pitch) - down * math.sin(pitch)
        up = -math.sin(pitch) - down * math.cos(pitch)
        yaw = math.degrees(math.atan2(right, forward))
        steeper = math.degrees(-math.atan2(up, math.hypot(right, forward)) - pitch)
        return round(yaw / DEGREES_PER_PIXEL), round(steeper / DEGREES_PER_PIXEL)

    def _go(self, keys: tuple[str, ...], buttons: tuple[str, ...] = ()) -> None:
        left, env = self._goal(), self._env
        quantum, limit = env.camera_quantum, env.camera_limit
        left = (_snap(left[0], quantum), _snap(left[1], quantum))
        while left != (0, 0) and not env.over:
            step = (min(max(left[0], -limit), limit), min(max(left[1], -limit), limit))
            self._tick(keys, buttons, step)
            left = (left[0] - step[0], left[1] - step[1])

    def _tick(self, keys: tuple[str, ...], buttons: tuple[str, ...] = (), camera: tuple[int, int] = (0, 0)) -> None:
        self._env.tick(RawTick(keys, buttons, camera))


def _snap(pixels: int, quantum: int) -> int:
    """Round to a multiple, halves away from zero."""
    nearest = (2 * abs(pixels) + quantum) // (2 * quantum) * quantum
    return nearest if pixels >= 0 else -nearest
