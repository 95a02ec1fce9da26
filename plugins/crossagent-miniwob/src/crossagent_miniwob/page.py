"""A task's page in a tab: begin an episode, play raw ticks, look. Knows no interface and no policy."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crossagent.plugin import RawTick, Rect
from crossagent_miniwob import keys
from crossagent_miniwob.browser import BrowserFailed, BrowserLost, Tab, shared
from crossagent_miniwob.fields import package, slug

SIZE = (160, 210)
"""Width and height of a task, in pixels."""
_WINDOW = (500, SIZE[1])
"""Of the page, as wide as MiniWoB++'s own; no higher than the task, so that what does not fit can be scrolled to."""
TICK_MS = 50
NOTCH = 40
"""Pixels that one notch of the wheel scrolls."""
WHEEL = {"wheel.down": NOTCH, "wheel.up": -NOTCH}
BUTTONS = tuple(sorted(("left", "right", *WHEEL)))
_MASK = {"left": 1, "right": 2}
_FLUSH = ("Input.dispatchKeyEvent", {"type": "keyUp", "key": "Unidentified"})
_DOUBLE_TICKS = 10
"""Two clicks within so many ticks at one place are a double click."""


@dataclass(frozen=True, slots=True)
class Element:
    """Something on the page that can be named."""

    name: str
    """Of this look: made of what it says; unique."""
    kind: str
    """``button``, ``link``, ``field``, ``area`` (a text area), ``checkbox``, ``radio``, ``list``, ``text``, ``box``,
    a shape of SVG, …"""
    text: str
    """What it says itself, without what is in it."""
    rect: Rect
    """The part of it that can be seen and clicked in its middle; empty when ``side`` says where else it is."""
    size: tuple[int, int]
    """Of all of it."""
    label: str = ""
    side: str = ""
    """``above`` or ``below`` what is shown now; to be scrolled to."""
    colour: str = ""
    value: str | bool | None = None
    """Of a field; whether a box is ticked."""
    options: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()
    """Indices of the chosen options."""
    focus: bool = False
    marked: bool = False
    """It shows that it is selected, expanded, or was chosen."""
    off: bool = False
    """It is disabled."""
    caret: tuple[int, int] = (0, 0)
    """Of a field: begin and end of the selected characters."""
    scroll: tuple[int, int, int] | None = None
    """Pixels scrolled, at most, and shown at once, of what scrolls it."""


@dataclass(frozen=True, slots=True)
class View:
    """What is on the page."""

    told: str
    """The instruction of this episode."""
    elements: tuple[Element, ...]
    """In the order of the page."""
    selection: str
    """The selected text."""
    done: bool
    reward: float
    """The task's own, without what it takes off for time."""
    still: bool
    """Nothing moves by itself."""
    digest: str
    """Of everything on the page."""

    def find(self, name: str) -> Element | None:
        """Return the element of that name."""
        return next((e for e in self.elements if e.name == name), None)


@dataclass
class Hand:
    """Where the mouse is and what is held; moves with every tick."""

    cursor: tuple[int, int] = (SIZE[0] // 2, SIZE[1] // 2)
    keys: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()
    clicks: tuple[int, tuple[int, int], int] = (-_DOUBLE_TICKS, (-1, -1), 0)
    """Tick, place and count of the last press of the left button."""
    ticks: int = 0

    def state(self) -> tuple[Any, ...]:
        """Return everything, to compare."""
        return self.cursor, self.keys, self.buttons, self.clicks, self.ticks

    def act(self, raw: RawTick) -> list[tuple[str, dict[str, Any]]]:
        """Move on by one tick and return the browser's events for it."""
        commands: list[tuple[str, dict[str, Any]]] = []
        before = self.buttons
        cursor = tuple(
            max(0, min(side - 1, at + by)) for at, by, side in zip(self.cursor, raw.camera, SIZE, strict=True)
        )
        if cursor != self.cursor:
            self.cursor = (cursor[0], cursor[1])
            commands.append(self._mouse("mouseMoved", next((b for b in before if b in _MASK), "none"), 0))
        held = [key for key in self.keys if key in raw.keys]
        for name in sorted(set(self.keys) - set(raw.keys), key=_modifiers_last):
            commands.append(("Input.dispatchKeyEvent", keys.event(name, False, tuple(held))))
        for name in sorted(set(raw.keys) - set(self.keys), key=_modifiers_first):
            held.append(name)
            commands.append(("Input.dispatchKeyEvent", keys.event(name, True, tuple(held))))
        self.keys = tuple(sorted(raw.keys))
        for button in sorted(set(before) - set(raw.buttons)):
            self.buttons = tuple(b for b in self.buttons if b != button)
            if button in _MASK:
                commands.append(self._mouse("mouseReleased", button, self.clicks[2] if button == "left" else 1))
        for button in sorted(set(raw.buttons) - set(before)):
            self.buttons = tuple(sorted((*self.buttons, button)))
            if button in WHEEL:
                commands.append(self._mouse("mouseWheel", "none", 0, deltaX=0, deltaY=WHEEL[button]))
            else:
                commands.append(self._mouse("mousePressed", button, self._count() if button == "left" else 1))
        if [parameters["type"] for _, parameters in commands] == ["mouseMoved"]:
            commands.append(_FLUSH)  # a second movement might be merged with it, or not
        elif commands:
            commands += self.hover()
        self.ticks += 1
        return commands

    def hover(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the events that tell the page at once what is under the mouse. Left alone, Chromium would find out with
        its next frame, sooner or later.
        """
        return [self._mouse("mouseMoved", next((b for b in self.buttons if b in _MASK), "none"), 0), _FLUSH]

    def _count(self) -> int:
        tick, place, count = self.clicks
        again = place == self.cursor and self.ticks - tick <= _DOUBLE_TICKS
        self.clicks = (self.ticks, self.cursor, count + 1 if again else 1)
        return self.clicks[2]

    def _mouse(self, kind: str, button: str, count: int, **more: Any) -> tuple[str, dict[str, Any]]:
        held = tuple(k for k in self.keys if k in (keys.SHIFT, keys.CONTROL))
        return (
            "Input.dispatchMouseEvent",
            {
                "type": kind,
                "x": self.cursor[0],
                "y": self.cursor[1],
                "button": button,
                "buttons": sum(_MASK.get(b, 0) for b in self.buttons),
                "clickCount": count,
                "modifiers": (8 if keys.SHIFT in held else 0) | (2 if keys.CONTROL in held else 0),
                **more,
            },
        )


def _modifiers_first(name: str) -> tuple[bool, str]:
    return name not in (keys.SHIFT, keys.CONTROL), name


def _modifiers_last(name: str) -> tuple[bool, str]:
    return name in (keys.SHIFT, keys.CONTROL), name


@dataclass
class Status:
    """What a tick says of the episode."""

    done: bool = False
    reward: float = 0.0
    still: bool = True
    busy: bool = False
    """Something of the page's own happened in this tick."""


@dataclass
class Page:
    """One tab, used for one episode after another."""

    hand: Hand = field(default_factory=Hand)
    status: Status = field(default_factory=Status)

    def __post_init__(self) -> None:
        self._tab: Tab | None = None

    def begin(self, task: str, seed: int, mode: str) -> None:
        """Load a task's page afresh and start it."""
        self.hand = Hand()
        with self._lost_if_failed():
            tab = self._opened()
            tab.open((package() / "html" / "miniwob" / f"{task}.html").as_uri())
            exact = seed if abs(seed) < 2**53 else str(seed)  # a number seeds otherwise than its digits do
            self._heard(tab.evaluate(f"crossagent.begin({exact!r}, {mode!r})"))

    def play(self, raw: RawTick) -> None:
        """Carry out one tick."""
        commands = self.hand.act(raw)
        with self._lost_if_failed():
            tab = self._running()
            tab.send_all(commands)
            self._heard(tab.evaluate(f"crossagent.tick({TICK_MS}, {int(bool(commands))})"))
            if self.status.busy:
                tab.send_all(self.hand.hover())

    def look(self) -> View:
        """Return what is on the page; changes nothing."""
        with self._lost_if_failed():
            return self._view(self._running().evaluate("crossagent.look()"))

    @staticmethod
    def _view(said: Any) -> View:
        try:
            done, reward, still, _ = said["status"]
            return View(
                told=said["told"],
                elements=_named(said["elements"]),
                selection=said["selection"],
                done=done,
                reward=float(reward),
                still=still,
                digest=said["digest"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BrowserFailed(f"the page said {str(said)[:80]!r}, which is no view ({error})") from error

    def picture(self) -> NDArray[np.uint8]:
        """Return the screen, [210, 160, 3]."""
        clip = {"x": 0, "y": 0, "width": SIZE[0], "height": SIZE[1], "scale": 1}
        with self._lost_if_failed():
            tab = self._running()
            tab.evaluate("crossagent.pictures()")
            data = tab.call("Page.captureScreenshot", clip=clip, optimizeForSpeed=True)["data"]
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return np.asarray(image.convert("RGB"))

    def close(self) -> None:
        """Close the tab. Safe to call twice."""
        tab, self._tab = self._tab, None
        if tab is not None:
            tab.close()

    @contextmanager
    def _lost_if_failed(self) -> Iterator[None]:
        """Close the tab when anything about it fails: an episode is never gone on with."""
        try:
            yield
        except BrowserFailed:
            self.close()
            raise

    def _heard(self, said: Any) -> None:
        if not isinstance(said, list) or len(said) != 4:
            raise BrowserFailed(f"the page said {str(said)[:80]!r}, which is no status")
        self.status = Status(bool(said[0]), float(said[1]), bool(said[2]), bool(said[3]))

    def _running(self) -> Tab:
        if self._tab is None or self._tab.closed:
            raise BrowserFailed("the tab of this episode is closed")
        if not self._tab.alive:
            raise BrowserLost("the browser of this episode is gone")
        return self._tab

    def _opened(self) -> Tab:
        if self._tab is None or not self._tab.alive:
            tab = shared().new_tab(*_WINDOW)
            for method, parameters in (
                ("Page.enable", {}),
                ("Inspector.enable", {}),
                ("Page.addScriptToEvaluateOnNewDocument", {"source": _script()}),
                ("Emulation.setFocusEmulationEnabled", {"enabled": True}),
                (
                    "Emulation.setDeviceMetricsOverride",
                    {"width": _WINDOW[0], "height": _WINDOW[1], "deviceScaleFactor": 1, "mobile": False},
                ),
                ("Emulation.setTimezoneOverride", {"timezoneId": "UTC"}),
                ("Emulation.setLocaleOverride", {"locale": "en-US"}),
            ):
                tab.call(method, **parameters)
            self._tab = tab
        return self._tab


@cache
def _script() -> str:
    return (files("crossagent_miniwob") / "page.js").read_text(encoding="utf-8")


_ACTED_ON = (
    "button",
    "link",
    "checkbox",
    "radio",
    "list",
    "option",
    "field",
    "area",
    "password",
    "number",
    "date",
    "time",
)
"""Kinds that get a name before the texts that say the same."""


def _named(said: Sequence[dict[str, Any]]) -> tuple[Element, ...]:
    names, taken = [""] * len(said), set[str]()
    for n in sorted(range(len(said)), key=lambda n: said[n]["kind"] not in _ACTED_ON):
        item = said[n]
        base = slug(item["label"])
        if not base:
            base = slug(" ".join((item["colour"] if not item["colour"].startswith("#") else "", item["kind"])))
        elif not base[0].isalpha():
            base = f"{slug(item['kind'])}_{base}"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        names[n] = name
    elements = []
    for name, item in zip(names, said, strict=True):
        kind = item["kind"]
        elements.append(
            Element(
                name=name,
                kind=kind,
                text=item["text"],
                rect=Rect(*item["rect"]) if not item["side"] else Rect(0, 0, 0, 0),
                size=(item["w"], item["h"]),
                label=item["label"],
                side=item["side"],
                colour=item["colour"],
                value=item.get("value"),
                options=tuple(item.get("options", ())),
                chosen=tuple(item.get("chosen", ())),
                focus=item["focus"],
                marked=item["marked"],
                off=item["off"],
                caret=(item["caret"][0], item["caret"][1]) if item.get("caret") else (0, 0),
                scroll=(item["scroll"][0], item["scroll"][1], item["scroll"][2]) if item.get("scroll") else None,
            )
        )
    return tuple(elements)
