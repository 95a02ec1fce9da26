"""What the policy reads: the instruction, its values, the elements with their names, and the mouse."""

from __future__ import annotations

from collections.abc import Mapping

from crossagent_miniwob.page import Element, Hand, View

_LONGEST = 160
"""Characters of an element's own text."""
_SIZED = ("box", "circle", "rect", "polygon", "ellipse", "line", "path")
"""Kinds that are told with their size: it may be what matters."""


def listing(view: View, values: Mapping[str, str], hand: Hand, most: int) -> str:
    """Return one line: ``Click button ONE.; target = ONE; one: button at 42,88; …; mouse at 80,105``."""
    parts = [view.told, *(f"{name} = {value}" for name, value in values.items())]
    shown = [e for e in view.elements if not e.side]
    hidden = [e for e in view.elements if e.side]
    listed = (shown + hidden)[:most]
    parts += [describe(e) for e in listed]
    if len(view.elements) > len(listed):
        parts.append(f"{len(view.elements) - len(listed)} more")
    if view.selection:
        parts.append(f"selected {_short(view.selection)}")
    held = " ".join((*hand.keys, *hand.buttons))
    parts.append(f"mouse at {hand.cursor[0]},{hand.cursor[1]}" + (f" holding {held}" if held else ""))
    return "; ".join(parts)


def describe(e: Element) -> str:
    """Return one element: its name, kind, state and place."""
    words = [f"{e.name}:"]
    if e.colour and e.colour not in e.name:
        words.append(e.colour)
    words.append(e.kind)
    if e.text and e.text.lower() != e.name.replace("_", " "):
        words.append(f"'{_short(e.text)}'")
    if isinstance(e.value, bool):
        words.append("on" if e.value else "off")
    elif e.value is not None:
        words.append(f"'{_short(e.value)}'")
    if e.options:
        words.append("of " + "|".join(e.options))
    if len(e.chosen) > 1:
        words.append("chosen " + "|".join(e.options[n] for n in e.chosen))
    if e.kind in _SIZED:
        words.append(f"{e.size[0]}x{e.size[1]}")
    words.append(e.side or "at {},{}".format(*e.rect.center))
    if e.marked:
        words.append("marked")
    if e.focus:
        words.append("focused")
    if e.off:
        words.append("disabled")
    return " ".join(words)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
