"""What an expert wants next, before it is said in the calls of an interface."""

from __future__ import annotations

from dataclasses import dataclass

from crossagent_miniwob.page import Element, View

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Click:
    """Click an element, or a pixel that no element stands for."""

    on: Element | Point


@dataclass(frozen=True, slots=True)
class Enter:
    """Make this the text of a field."""

    into: Element
    text: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Choose an option of a list, by its index from 0."""

    of: Element
    option: int


@dataclass(frozen=True, slots=True)
class Press:
    """Tap a key."""

    key: str


@dataclass(frozen=True, slots=True)
class Drag:
    """Drag from a place to another."""

    start: Element | Point
    to: Element | Point


@dataclass(frozen=True, slots=True)
class Scroll:
    """Scroll what an element is in (or itself), by notches; positive is down."""

    at: Element
    notches: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""


Intent = Click | Enter | Choose | Press | Drag | Scroll | Wait


class Page:
    """A view with the words of a plan to look things up in it; ``None`` where there is nothing of the kind."""

    def __init__(self, view: View, values: dict[str, str], cursor: Point, held: tuple[str, ...] = ()) -> None:
        self.view, self.values, self.cursor, self.held = view, values, cursor, held

    def all(self, *kinds: str) -> list[Element]:
        """Return the elements of these kinds, in the order of the page."""
        return [e for e in self.view.elements if e.kind in kinds]

    def first(self, *kinds: str) -> Element | None:
        """Return the first element of these kinds."""
        return next(iter(self.all(*kinds)), None)

    def said(self, text: str, *kinds: str) -> Element | None:
        """Return the element that says this (labels count), whatever the case; one on the screen if there is one."""
        wanted = text.strip().lower()
        found = [
            e
            for e in self.view.elements
            if (not kinds or e.kind in kinds) and wanted in (e.text.lower(), e.label.strip().lower())
        ]
        return next((e for e in found if not e.side), next(iter(found), None))

    def value(self, name: str) -> str:
        """Return a value of the instruction, empty when it has no such."""
        return self.values.get(name, "")
