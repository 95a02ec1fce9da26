"""The interfaces Control and Pointer on top of raw ticks. What each cannot do: docs/craftworld-interfaces.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from crossagent.plugin import RawTick, Rect
from crossagent_craftworld import sight
from crossagent_minecraft_data.controls import BUTTONS, KEYS, TAPS
from crossagent_minecraft_data.targets import window_targets
from crossagent_minecraft_data.windows import SCREEN

if TYPE_CHECKING:
    from crossagent_craftworld.env import CraftWorld

_FOCAL = SCREEN[1] / 2 / math.tan(math.radians(35.0))
"""Pixels from the eye to the screen at a vertical field of view of 70°."""
_MODIFIERS = {"shift": "left.shift", "left.shift": "left.shift", "ctrl": "left.control", "left.control": "left.control"}


def whole(value: Any) -> int:
    """Return a number as an int, 0 for what is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


class ControlInterface:
    """Held keys, buttons and mouse movement; one call is one tick. A :class:`crossagent.plugin.Control`."""

    def __init__(self, env: CraftWorld) -> None:
        self._env = env
        self.camera_quantum = env.camera_quantum
        self.camera_limit = env.camera_limit

    def keys(self) -> tuple[str, ...]:
        """Names of the keys."""
        return KEYS

    def buttons(self) -> tuple[str, ...]:
        """Names of the mouse buttons."""
        return BUTTONS

    def step(self, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: tuple[int, int] = (0, 0)) -> None:
        """Advance one tick. Unknown keys and buttons are ignored, movements rounded to the quantum and cut."""
        dx, dy = (*camera, 0, 0)[:2] if isinstance(camera, tuple | list) else (0, 0)
        self._env.tick(
            RawTick(
                tuple(k for k in KEYS if k in keys),
                tuple(b for b in BUTTONS if b in buttons),
                (self.round(whole(dx)), self.round(whole(dy))),
            )
        )

    def round(self, pixels: int) -> int:
        """Return a movement rounded to the quantum and cut to the limit."""
        return sight.clip(sight.snap(pixels, self.camera_quantum), self.camera_limit)


class PointerInterface:
    """A 640×360 screen with a mouse. A :class:`crossagent.plugin.Pointer`.

    With a window open the mouse is the window's cursor. Without one, a click turns the view to that pixel and taps the
    button; nothing can be held, so only blocks that break at once can be dug.
    """

    def __init__(self, env: CraftWorld) -> None:
        self._env = env
        self.size = SCREEN
        self._at: tuple[int, int] | None = None

    # -- state ---------------------------------------------------------------------------------------------------
    def reset(self) -> None:
        """Forget where the pointer was put."""
        self._at = None

    def save(self) -> tuple[int, int] | None:
        """Return the state, for :meth:`load`."""
        return self._at

    def load(self, state: tuple[int, int] | None) -> None:
        """Go back to a :meth:`save`."""
        self._at = state

    # -- the protocol --------------------------------------------------------------------------------------------
    @property
    def cursor(self) -> tuple[int, int] | None:
        """Where the cursor of the open window is, in pixels; None without a window. Beyond what the protocol asks for."""
        inventory = self._env.world.inventory
        return inventory.cursor if inventory.window is not None else None

    def keys(self) -> tuple[str, ...]:
        """Names :meth:`press` takes: keys that work when tapped."""
        return TAPS

    def move_to(self, x: int, y: int) -> None:
        """Choose the pixel of the next click or drag; takes no tick."""
        self._at = (sight.clip(whole(x), SCREEN[0] - 1), sight.clip(whole(y), SCREEN[1] - 1))
        self._at = (max(0, self._at[0]), max(0, self._at[1]))

    def click(self, button: Literal["left", "right"] = "left", count: int = 1, modifiers: Sequence[str] = ()) -> None:
        """Click: one tick with the button down where the pointer is, after a tick to let go if it was down."""
        if button not in BUTTONS:
            return
        keys = tuple(sorted({_MODIFIERS[m] for m in modifiers if m in _MODIFIERS}))
        for _ in range(min(max(whole(count), 1), 3)):
            self._go(keys)
            self._let_go(button, keys)
            self._tap(keys, (button,), self._rest())
        self._at = None

    def drag(self, x: int, y: int, button: Literal["left", "right"] = "left") -> None:
        """Press where the pointer is, move to (x, y) with the button down, let go."""
        if button not in BUTTONS:
            return
        self._go(())
        self._let_go(button, ())
        self._tap((), (button,), self._rest())
        self.move_to(x, y)
        self._left = self._goal()
        while (step := self._rest()) != (0, 0) and not self._env.over:
            self._tap((), (button,), step)
        self._tap((), (), (0, 0))
        self._at = None

    def scroll(self, dy: int) -> None:
        """Select another hotbar slot, one notch each; nothing in a window."""
        notches = sight.clip(whole(dy), 9)
        if notches and self._env.world.inventory.window is None:
            self.press(str((self._env.world.inventory.selected + notches) % 9 + 1))

    def press(self, key: str) -> None:
        """Tap a key: one tick, after a tick to let go if it was down."""
        if key not in TAPS:
            return
        if key in self._env.world.keys:
            self._tap((), (), (0, 0))
        self._tap((key,), (), (0, 0))

    def targets(self) -> Mapping[str, Rect]:
        """Name the slots of the open window, or what is visible on the screen; equal things are numbered from near."""
        world = self._env.world
        window = world.inventory.window
        if window is not None:
            return window_targets(window.kind)
        named: dict[str, Rect] = {}
        counts: dict[str, int] = {}
        taken: set[tuple[int, int]] = set()
        for thing in self._things():
            rect = self._project(thing)
            if rect is None or rect.center in taken:
                continue
            taken.add(rect.center)
            counts[thing.name] = counts.get(thing.name, 0) + 1
            named[thing.name if counts[thing.name] == 1 else f"{thing.name}_{counts[thing.name]}"] = rect
        return dict(sorted(named.items()))

    # -- how -----------------------------------------------------------------------------------------------------
    def _things(self) -> list[sight.Thing]:
        env = self._env
        found = sight.landmarks(env.world, env.camera_quantum, most=8)
        found += sight.creatures(env.world, env.camera_quantum)
        hit = env.world.crosshair()
        if hit is not None and hit.mob is None and all(t.cell != hit.cell for t in found):
            thing = sight.block(env.world, hit.cell, env.camera_quantum)
            if thing is not None and all(t.name != thing.name for t in found):
                found.append(thing)
        found.sort(key=lambda t: (t.distance, t.name))
        return found

    def _project(self, thing: sight.Thing) -> Rect | None:
        """Return the rectangle of a thing on the screen, around the pixel that aims at it; None when it is off it."""
        world = self._env.world
        x, y, depth = _camera(world.view(), world.yaw_sin_cos(), world.eye(), thing.point)
        if depth < 0.1:
            return None
        px, py = SCREEN[0] / 2 + _FOCAL * x / depth, SCREEN[1] / 2 - _FOCAL * y / depth
        if not (0 <= px < SCREEN[0] and 0 <= py < SCREEN[1]):
            return None
        half = max(2, round(_FOCAL * (thing.mob.body.half if thing.mob is not None else 0.4) / depth))
        cx, cy = int(px), int(py)
        return Rect(cx - half, cy - half, 2 * half, 2 * half)

    def _goal(self) -> tuple[int, int]:
        """Return the mouse movement from here to the chosen pixel: of the cursor in a window, of the view without."""
        env, at = self._env, self._at
        if at is None:
            return 0, 0
        world, quantum = env.world, env.camera_quantum
        if world.inventory.window is not None:
            x, y = world.inventory.cursor
            return sight.settle(at[0] - x, quantum), sight.settle(at[1] - y, quantum)
        for thing in self._things():
            rect = self._project(thing)
            if rect is not None and rect.center == at:
                return thing.dx, thing.dy
        right, up = (at[0] + 0.5 - SCREEN[0] / 2) / _FOCAL, (SCREEN[1] / 2 - at[1] - 0.5) / _FOCAL
        return _turn(world.view(), world.yaw_sin_cos(), world.eye(), right, up, env)

    def _go(self, keys: tuple[str, ...]) -> None:
        """Turn or move until the rest fits into one tick, the click's."""
        env = self._env
        limit = env.camera_limit
        self._left = self._goal()
        while (abs(self._left[0]) > limit or abs(self._left[1]) > limit) and not env.over:
            self._tap(keys, (), self._rest())

    def _rest(self) -> tuple[int, int]:
        """Return the next movement towards the chosen pixel and count it as made."""
        limit = self._env.camera_limit
        step = (sight.clip(self._left[0], limit), sight.clip(self._left[1], limit))
        self._left = (self._left[0] - step[0], self._left[1] - step[1])
        return step

    def _let_go(self, button: str, keys: tuple[str, ...]) -> None:
        if button in self._env.world.buttons:
            self._tap(keys, (), (0, 0))

    def _tap(self, keys: tuple[str, ...], buttons: tuple[str, ...], camera: tuple[int, int]) -> None:
        self._env.tick(RawTick(keys, buttons, camera))

    _left: tuple[int, int] = (0, 0)


def _camera(
    view: tuple[float, float, float],
    yaw: tuple[float, float],
    eye: tuple[float, float, float],
    point: tuple[float, float, float],
) -> tuple[float, float, float]:
    """Return a point in the camera's frame: right, up, forward."""
    right, up = _frame(view, yaw)
    d = (point[0] - eye[0], point[1] - eye[1], point[2] - eye[2])
    return _dot(d, right), _dot(d, up), _dot(d, view)


def _frame(
    view: tuple[float, float, float], yaw: tuple[float, float]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    sin, cos = yaw
    right = (-cos, 0.0, -sin)
    up = (
        right[1] * view[2] - right[2] * view[1],
        right[2] * view[0] - right[0] * view[2],
        right[0] * view[1] - right[1] * view[0],
    )
    return right, up


def _turn(
    view: tuple[float, float, float],
    yaw: tuple[float, float],
    eye: tuple[float, float, float],
    right: float,
    up: float,
    env: CraftWorld,
) -> tuple[int, int]:
    """Return the mouse movement that aims along a ray of the screen (tangents to the right and up)."""
    r, u = _frame(view, yaw)
    ray = tuple(view[i] + right * r[i] + up * u[i] for i in range(3))
    return sight.aim(env.world, (eye[0] + ray[0], eye[1] + ray[1], eye[2] + ray[2]), env.camera_quantum)


def _dot(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
