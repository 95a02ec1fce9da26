"""The protocols where spaces meet environments. An executor touches a world through these and nothing else.

A third party may define another interface in its own package: nothing here lists them. What makes an interface is its
name (``requires`` of a space, ``interfaces`` of an environment) and the object ``env.interface(name)`` returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable


class Rect(NamedTuple):
    """A rectangle on a screen, in pixels; x to the right, y down."""

    x: int
    y: int
    width: int
    height: int

    @property
    def center(self) -> tuple[int, int]:
        """The pixel in the middle."""
        return self.x + self.width // 2, self.y + self.height // 2


@runtime_checkable
class Control(Protocol):
    """Held keys, mouse buttons and relative mouse movement. Name: ``control``."""

    camera_quantum: int
    """Mouse pixels; movements are rounded to multiples of it."""
    camera_limit: int
    """Largest movement of one tick along an axis, in mouse pixels."""

    def keys(self) -> tuple[str, ...]:
        """Names of the keys this world knows, sorted; e.g. ``w``, ``space``, ``left.shift``, ``1``."""

    def buttons(self) -> tuple[str, ...]:
        """Names of the mouse buttons, sorted: ``left``, ``right``."""

    def step(self, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: tuple[int, int] = (0, 0)) -> None:
        """Advance one tick with these held; the camera (dx, dy) moves first. Does nothing once the episode is over."""


@runtime_checkable
class Pointer(Protocol):
    """A screen with a cursor. Name: ``pointer``. With no window open in a 3-D world a click aims at that pixel and
    attacks (left) or uses (right) once.
    """

    size: tuple[int, int]
    """Width and height in pixels."""

    def move_to(self, x: int, y: int) -> None:
        """Put the cursor at a pixel; takes no tick of its own."""

    def click(self, button: Literal["left", "right"] = "left", count: int = 1, modifiers: Sequence[str] = ()) -> None:
        """Click where the cursor is; ``modifiers`` are held keys such as ``shift``."""

    def drag(self, x: int, y: int, button: Literal["left", "right"] = "left") -> None:
        """Press where the cursor is, move to (x, y), release."""

    def scroll(self, dy: int) -> None:
        """Turn the wheel; positive is down."""

    def press(self, key: str) -> None:
        """Press and release a key, e.g. ``e`` to open the inventory, ``escape`` to close a window."""

    def keys(self) -> tuple[str, ...]:
        """Names ``press`` takes, sorted."""

    def targets(self) -> Mapping[str, Rect]:
        """What the environment can name on the screen now; names match ``[a-z][a-z0-9_]*``, sorted."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a skill."""

    name: str
    kind: Literal["name", "int"] = "name"
    """``name``: ``[a-z][a-z0-9_]*``; ``int``: 0…9999."""


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """A typed skill; prompt and grammar are made from it."""

    name: str
    params: tuple[Param, ...] = ()
    doc: str = ""
    """One line: what it does, what it needs, why it can fail."""


class SkillFailed(Exception):
    """A skill could not do what was asked; ``str`` is the reason, in the words of the world."""


@runtime_checkable
class Skills(Protocol):
    """Typed skills, called by name. Name: ``skills``."""

    def list(self) -> tuple[SkillSpec, ...]:
        """Return the skills this world offers, in a fixed order."""

    def call(self, name: str, *args: Any) -> None:
        """Run a skill to its end, taking the ticks it takes. Raises :class:`SkillFailed` with the reason."""
