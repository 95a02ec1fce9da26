"""Element calls: each runs to its end on raw ticks, scrolling to what it needs, or fails with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crossagent.plugin import Param, RawTick, SkillFailed, SkillSpec
from crossagent_miniwob.keys import STROKES, TYPED
from crossagent_miniwob.page import NOTCH, Element

if TYPE_CHECKING:
    from crossagent_miniwob.env import MiniWob

FIELDS = frozenset({"field", "area", "password", "number", "date", "time", "email", "search", "tel", "url"})
"""Kinds of elements that are typed into."""
_PARTED = {"date": 2, "time": 2}
"""Fields of several parts that go from one to the next by themselves, and how far it is to the first at most."""
_MOST_NOTCHES = 60


class SkillsInterface:
    """Skills on elements by the names that the text gives them. A :class:`crossagent.plugin.Skills`."""

    def __init__(self, env: MiniWob) -> None:
        self._env = env
        element, value = Param("element"), Param("value")
        table: list[tuple[SkillSpec, Callable[..., None]]] = [
            (SkillSpec("click", (element,), "click an element"), self._click),
            (SkillSpec("double_click", (element,), "click an element twice"), self._double_click),
            (
                SkillSpec(
                    "type",
                    (element, value),
                    "replace a field's text by a value of the instruction, or by the text of another element",
                ),
                self._type,
            ),
            (
                SkillSpec("type_number", (element, Param("number", "int")), "replace a field's text by a number"),
                self._type_number,
            ),
            (
                SkillSpec(
                    "type_word",
                    (element, Param("source"), Param("n", "int")),
                    "replace a field's text by the n-th word of an element, without punctuation; 0 is the last",
                ),
                self._type_word,
            ),
            (
                SkillSpec("select", (element, Param("n", "int")), "choose the n-th option of a list, from 1"),
                self._select,
            ),
            (SkillSpec("drag", (element, Param("onto")), "drag an element onto the middle of another"), self._drag),
            (SkillSpec("press", (Param("key"),), "tap a key: enter, tab, escape, up, down, backspace, …"), self._press),
            (
                SkillSpec("scroll", (element, Param("n", "int")), "scroll an element down to pixel n of its content"),
                self._scroll,
            ),
        ]
        self._table = {spec.name: (spec, act) for spec, act in table}

    def list(self) -> tuple[SkillSpec, ...]:
        """Return the skills, always the same."""
        return tuple(spec for spec, _ in self._table.values())

    def call(self, name: str, *args: Any) -> None:
        """Run a skill to its end."""
        if not self._env.over:
            self._table[name][1](*args)

    # -- skills ----------------------------------------------------------------------------------------------------
    def _click(self, name: str) -> None:
        self._aim(self._shown(name))
        self._env.pointer.click()

    def _double_click(self, name: str) -> None:
        self._aim(self._shown(name))
        self._env.pointer.click("left", 2)

    def _type(self, name: str, value: str) -> None:
        text = self._env.values.get(value)
        if text is None:
            source = self._env.view.find(value)
            if source is None:
                raise SkillFailed(f"no value and no element {value}")
            text = source.value if isinstance(source.value, str) else source.text
        self._enter(name, text)

    def _type_number(self, name: str, number: int) -> None:
        self._enter(name, str(number))

    def _type_word(self, name: str, source: str, n: int) -> None:
        element = self._env.view.find(source)
        if element is None:
            raise SkillFailed(f"no element {source}")
        words = words_of(element)
        if not 0 <= n <= len(words) or not words:
            raise SkillFailed(f"{source} has {len(words)} words")
        self._enter(name, words[n - 1])

    def _select(self, name: str, n: int) -> None:
        element = self._shown(name)
        if not element.options:
            raise SkillFailed(f"{name} is no list of options")
        if not 1 <= n <= len(element.options):
            raise SkillFailed(f"{name} has {len(element.options)} options")
        pointer = self._env.pointer
        if not element.focus:
            self._aim(element)
            pointer.click()
        while not self._env.over:
            now = self._env.view.find(name)
            at = now.chosen[0] if now and now.chosen else -1
            if now is None or at == n - 1:
                return
            pointer.press("down" if at < n - 1 else "up")
            after = self._env.view.find(name)
            if after is not None and after.chosen == now.chosen:
                raise SkillFailed(f"option {n} of {name} cannot be chosen")

    def _drag(self, name: str, onto: str) -> None:
        goal = self._shown(onto).rect.center
        self._aim(self._shown(name))
        self._env.pointer.drag(*goal)

    def _press(self, key: str) -> None:
        if key not in STROKES:
            raise SkillFailed(f"no key {key}")
        self._env.pointer.press(key)

    def _scroll(self, name: str, n: int) -> None:
        element = self._shown(name)
        if element.scroll is None:
            raise SkillFailed(f"{name} does not scroll")
        self._aim(element)
        for _ in range(_MOST_NOTCHES):
            now = self._env.view.find(name)
            if now is None or now.scroll is None or self._env.over:
                return
            far = min(n, now.scroll[1]) - now.scroll[0]
            at_an_end = n >= now.scroll[1] or n == 0
            if far == 0 or (abs(far) <= NOTCH // 2 and not at_an_end):
                return
            self._env.pointer.scroll(1 if far > 0 else -1)
            after = self._env.view.find(name)
            if after is not None and after.scroll == now.scroll:
                return

    # -- parts -----------------------------------------------------------------------------------------------------
    def _aim(self, element: Element) -> None:
        self._env.pointer.move_to(*element.rect.center)

    def _shown(self, name: str) -> Element:
        """Return an element that is on the screen, after scrolling to it if need be."""
        element = self._env.view.find(name)
        if element is None:
            raise SkillFailed(f"no {name} on the page")
        if element.side:
            self._scroll_to(element)
            element = self._env.view.find(name)
            if element is None or element.side:
                raise SkillFailed(f"{name} cannot be scrolled to")
        if element.off:
            raise SkillFailed(f"{name} is disabled")
        return element

    def _scroll_to(self, element: Element) -> None:
        """Turn the wheel over what scrolls an element until it is on the screen."""
        if element.scroll is None:
            raise SkillFailed(f"{element.name} cannot be scrolled to")
        beside = next((e for e in self._env.view.elements if not e.side and e.scroll == element.scroll), None)
        if beside is None:
            raise SkillFailed(f"{element.name} cannot be scrolled to")
        self._env.pointer.move_to(*beside.rect.center)
        for _ in range(_MOST_NOTCHES):
            now = self._env.view.find(element.name)
            if now is None or not now.side or self._env.over:
                return
            before = now.scroll
            self._env.pointer.scroll(1 if now.side == "below" else -1)
            after = self._env.view.find(element.name)
            if after is not None and after.side and after.scroll == before:
                return

    def _enter(self, name: str, text: str) -> None:
        element = self._shown(name)
        if element.kind not in FIELDS:
            raise SkillFailed(f"{name} takes no text")
        if wrong := next((c for c in text if c not in TYPED), None):
            raise SkillFailed(f"no key types {wrong!r}")
        pointer = self._env.pointer
        if not element.focus:
            self._aim(element)
            pointer.click()
        if element.kind in _PARTED:
            for _ in range(_PARTED[element.kind]):
                pointer.press("left")
            text = _parts(element.kind, text)
        elif element.value:
            pointer.press("select_all")
            pointer.press("backspace")
        self._strokes(text)

    def _strokes(self, text: str) -> None:
        """Type, a tick a character; the same key again, or a change of shift, is let go first."""
        held: tuple[str, ...] = ()
        for character in text:
            keys = tuple(sorted(STROKES[TYPED[character]].keys))
            if set(keys) & set(held):
                self._env.tick(RawTick())
            self._env.tick(RawTick(keys))
            held = keys
        self._env.tick(RawTick())
        self._env.settle()


def words_of(element: Element) -> list[str]:
    """Return the words that an element says, or that are typed in it, without the punctuation around them."""
    said = element.value if isinstance(element.value, str) else element.text
    return [word for part in said.split() if (word := part.strip(".,;:!?\"'()"))]


def _parts(kind: str, text: str) -> str:
    """Return what is typed into a field of several parts: its figures, without what stands between them."""
    if kind == "date":
        month, *rest = re.split(r"[/-]", text)
        return "".join((month.zfill(2), *(part.zfill(2) for part in rest)))
    found = re.fullmatch(r"(\d+):(\d+) ?([APap]?)[Mm]?", text)
    return f"{found[1].zfill(2)}{found[2]}{found[3].lower()}" if found else text
