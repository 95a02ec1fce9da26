"""The interfaces Control and Pointer on raw ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from crossagent.plugin import RawTick, Rect
from crossagent_miniwob import keys
from crossagent_miniwob.keys import KEYS, STROKES
from crossagent_miniwob.page import BUTTONS, SIZE

if TYPE_CHECKING:
    from crossagent_miniwob.env import MiniWob

DRAG_STEPS = 6
"""Ticks in which a drag moves."""
_MODIFIERS = {"shift": keys.SHIFT, keys.SHIFT: keys.SHIFT, "ctrl": keys.CONTROL, keys.CONTROL: keys.CONTROL}


class ControlInterface:
    """Held keys, buttons and the wheel, and relative mouse movement. A :class:`crossagent.plugin.Control`."""

    def __init__(self, env: MiniWob) -> None:
        self._env = env
        self.camera_quantum, self.camera_limit = env.camera_quantum, env.camera_limit

    def keys(self) -> tuple[str, ...]:
        """Return every key of the keyboard."""
        return tuple(sorted(KEYS))

    def buttons(self) -> tuple[str, ...]:
        """Return the buttons; ``wheel.down`` and ``wheel.up`` turn the wheel by one notch when they go down."""
        return BUTTONS

    def step(self, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: tuple[int, int] = (0, 0)) -> None:
        """Advance one tick: the mouse moves, then keys and buttons go up or down."""
        dx, dy = (self._snap(pixels) for pixels in camera)
        held = tuple(sorted({key for key in keys if key in KEYS}))
        self._env.tick(RawTick(held, tuple(sorted({b for b in buttons if b in BUTTONS})), (dx, dy)))

    def _snap(self, pixels: Any) -> int:
        try:
            given = int(pixels)
        except (TypeError, ValueError, OverflowError):
            return 0
        q = self.camera_quantum
        size = min((abs(given) + q // 2) // q, self.camera_limit // q) * q
        return size if given >= 0 else -size


class PointerInterface:
    """A cursor that goes to any pixel at once, and single keys. A :class:`crossagent.plugin.Pointer`.

    A gesture lasts until the page's own animation is over.
    """

    size = SIZE

    def __init__(self, env: MiniWob) -> None:
        self._env = env
        self.aim: tuple[int, int] | None = None

    def reset(self) -> None:
        """Forget where the next click was to go."""
        self.aim = None

    def move_to(self, x: int, y: int) -> None:
        """Aim the next gesture; no tick passes."""
        self.aim = (max(0, min(SIZE[0] - 1, int(x))), max(0, min(SIZE[1] - 1, int(y))))

    def click(self, button: Literal["left", "right"] = "left", count: int = 1, modifiers: Sequence[str] = ()) -> None:
        """Press and let go, two ticks a click."""
        held = tuple(sorted({_MODIFIERS[name] for name in modifiers if name in _MODIFIERS}))
        self._let_go(button)
        for _ in range(max(1, count)):
            self._env.tick(RawTick(held, (button,), self._way()))
            self._env.tick(RawTick(held))
        self._after(held)

    def drag(self, x: int, y: int, button: Literal["left", "right"] = "left") -> None:
        """Press, move there over some ticks, let go."""
        self._let_go(button)
        self._env.tick(RawTick((), (button,), self._way()))
        start = self._env.hand.cursor
        for step in range(1, DRAG_STEPS + 1):
            self.move_to(
                start[0] + round((x - start[0]) * step / DRAG_STEPS),
                start[1] + round((y - start[1]) * step / DRAG_STEPS),
            )
            self._env.tick(RawTick((), (button,), self._way()))
        self._env.tick(RawTick((), (button,)))
        self._env.tick(RawTick())
        self._after(())

    def scroll(self, dy: int) -> None:
        """Turn the wheel by so many notches where the cursor is, two ticks a notch."""
        wheel = "wheel.down" if dy > 0 else "wheel.up"
        for _ in range(min(abs(int(dy)), 99)):
            self._let_go(wheel)
            self._env.tick(RawTick((), (wheel,), self._way()))
            self._env.tick(RawTick())

    def press(self, key: str) -> None:
        """Tap a key or a chord; two ticks."""
        stroke = STROKES.get(key)
        if stroke is None:
            return
        if stroke.keys[-1] in self._env.hand.keys:
            self._env.tick(RawTick())
        self._env.tick(RawTick(tuple(sorted(stroke.keys)), (), self._way()))
        self._env.tick(RawTick())
        self._env.settle()

    def keys(self) -> tuple[str, ...]:
        """Return what :meth:`press` takes: keys, capitals and signs by their names, and chords."""
        return tuple(STROKES)

    def targets(self) -> Mapping[str, Rect]:
        """Return the elements on the screen, by the names that the text gives them."""
        shown = {e.name: e.rect for e in self._env.view.elements if not e.side and _on_screen(e.rect)}
        return dict(sorted(shown.items()))

    def _let_go(self, button: str) -> None:
        if button in self._env.hand.buttons:
            self._env.tick(RawTick())

    def _way(self) -> tuple[int, int]:
        """Return, once, the movement to where :meth:`move_to` pointed."""
        here = self._env.hand.cursor
        to, self.aim = self.aim or here, None
        return to[0] - here[0], to[1] - here[1]

    def _after(self, held: tuple[str, ...]) -> None:
        if held:
            self._env.tick(RawTick())
        self._env.settle()


def _on_screen(rect: Rect) -> bool:
    x, y = rect.center
    return 0 <= x < SIZE[0] and 0 <= y < SIZE[1]
