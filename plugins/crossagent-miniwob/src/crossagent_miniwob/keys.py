"""The keyboard: names of keys (as X11 and MineRL spell them), what they are in the DevTools protocol, and what they type."""

from __future__ import annotations

from typing import Any, NamedTuple

SHIFT, CONTROL = "left.shift", "left.control"


class Key(NamedTuple):
    """One physical key."""

    key: str
    """``KeyboardEvent.key`` without shift; also what it types when that is one character."""
    shifted: str
    code: str
    number: int
    """Windows virtual key code, which pages read as ``keyCode``."""


class Stroke(NamedTuple):
    """What is pressed for one tap of the pointer's keyboard."""

    keys: tuple[str, ...]
    """Held together, modifiers first."""
    text: str
    """What it types; empty for keys that type nothing."""


_PUNCTUATION = {
    "minus": Key("-", "_", "Minus", 189),
    "equal": Key("=", "+", "Equal", 187),
    "comma": Key(",", "<", "Comma", 188),
    "period": Key(".", ">", "Period", 190),
    "slash": Key("/", "?", "Slash", 191),
    "semicolon": Key(";", ":", "Semicolon", 186),
    "apostrophe": Key("'", '"', "Quote", 222),
    "bracketleft": Key("[", "{", "BracketLeft", 219),
    "bracketright": Key("]", "}", "BracketRight", 221),
    "backslash": Key("\\", "|", "Backslash", 220),
    "grave": Key("`", "~", "Backquote", 192),
}
_NAMED = {
    "space": Key(" ", " ", "Space", 32),
    "enter": Key("Enter", "Enter", "Enter", 13),
    "backspace": Key("Backspace", "Backspace", "Backspace", 8),
    "delete": Key("Delete", "Delete", "Delete", 46),
    "tab": Key("Tab", "Tab", "Tab", 9),
    "escape": Key("Escape", "Escape", "Escape", 27),
    "up": Key("ArrowUp", "ArrowUp", "ArrowUp", 38),
    "down": Key("ArrowDown", "ArrowDown", "ArrowDown", 40),
    "left": Key("ArrowLeft", "ArrowLeft", "ArrowLeft", 37),
    "right": Key("ArrowRight", "ArrowRight", "ArrowRight", 39),
    "home": Key("Home", "Home", "Home", 36),
    "end": Key("End", "End", "End", 35),
}
_MODIFIERS = {
    SHIFT: Key("Shift", "Shift", "ShiftLeft", 16),
    CONTROL: Key("Control", "Control", "ControlLeft", 17),
}
_DIGITS = ")!@#$%^&*("
KEYS: dict[str, Key] = {
    **{chr(c): Key(chr(c), chr(c).upper(), f"Key{chr(c).upper()}", c - 32) for c in range(ord("a"), ord("z") + 1)},
    **{str(n): Key(str(n), _DIGITS[n], f"Digit{n}", 48 + n) for n in range(10)},
    **_PUNCTUATION,
    **_NAMED,
    **_MODIFIERS,
}
"""What can be held, by name."""
_SHIFTED_NAMES = {
    "_": "underscore", "+": "plus", "<": "less", ">": "greater", "?": "question", ":": "colon", '"': "quotedbl",
    "{": "braceleft", "}": "braceright", "|": "bar", "~": "asciitilde", "!": "exclam", "@": "at", "#": "numbersign",
    "$": "dollar", "%": "percent", "^": "asciicircum", "&": "ampersand", "*": "asterisk", "(": "parenleft",
    ")": "parenright",
}  # fmt: skip


def _strokes() -> dict[str, Stroke]:
    found = {
        name: Stroke((name,), key.key if len(key.key) == 1 else "")
        for name, key in KEYS.items()
        if name not in _MODIFIERS
    }
    for name, key in KEYS.items():
        if len(key.shifted) == 1 and key.shifted != key.key:
            shifted = _SHIFTED_NAMES.get(key.shifted, key.shifted)
            found[shifted] = Stroke((SHIFT, name), key.shifted)
    for name, letter in (("select_all", "a"), ("copy", "c"), ("cut", "x"), ("paste", "v")):
        found[name] = Stroke((CONTROL, letter), "")
    return dict(sorted(found.items()))


STROKES: dict[str, Stroke] = _strokes()
"""What the pointer's keyboard can tap, by name: every key, capitals and signs by their own names, and four chords."""
TYPED: dict[str, str] = {stroke.text: name for name, stroke in STROKES.items() if stroke.text}
"""Character → name of the stroke that types it."""
_EDITING = {"a": "selectAll", "c": "copy", "x": "cut", "v": "paste"}


def event(name: str, down: bool, held: tuple[str, ...]) -> dict[str, Any]:
    """Return the parameters of ``Input.dispatchKeyEvent``; ``held`` are the keys held after it."""
    key = KEYS[name]
    shift, control = SHIFT in held, CONTROL in held
    shown = key.shifted if shift else key.key
    types = {"enter": "\r"}.get(name, shown if len(shown) == 1 else "") if down and not control else ""
    parameters: dict[str, Any] = {
        "type": ("keyDown" if types else "rawKeyDown") if down else "keyUp",
        "key": shown,
        "code": key.code,
        "windowsVirtualKeyCode": key.number,
        "modifiers": (8 if shift else 0) | (2 if control else 0),
    }
    if types:
        parameters["text"] = types
    if down and control and name in _EDITING:
        parameters["commands"] = [_EDITING[name]]
    return parameters
