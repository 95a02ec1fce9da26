"""Raw actions: what is held for a tick and how the mouse moves; as text, as MineRL's dict and as VPT's recordings have it.

As text, in OpenHA's words::

    move(19, -4) and press(w, left.control) and click(left)
    no_op
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from crossagent.plugin import Control, InvalidAction, RawTick
from crossagent_openha.camera import DEGREES_PER_PIXEL

KEYS: dict[str, str] = {
    "escape": "ESC", "s": "back", "q": "drop", "w": "forward", **{str(n): f"hotbar.{n}" for n in range(1, 10)},
    "e": "inventory", "space": "jump", "a": "left", "d": "right", "left.shift": "sneak", "left.control": "sprint", "f": "swapHands",
}  # fmt: skip
"""Key → its name in MineRL's dict, in the order in which released texts write keys."""
BUTTONS: dict[str, str] = {"left": "attack", "right": "use", "middle": "pickItem"}
"""Mouse button → its name in MineRL's dict, in order."""
SOMETIMES = ("ESC", "swapHands", "pickItem")
"""Names that a dict has only while they are 1."""
LARGEST = 9999
"""Mouse pixels along an axis that a text can say."""
_RANK = {name: i for i, name in enumerate((*KEYS, *BUTTONS))}
_NAME = r"[A-Za-z0-9][A-Za-z0-9._]*"
_NUMBER = r"['\"]?([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))['\"]?"
_MOVE = re.compile(rf"move\( *(?:dx=)?{_NUMBER} *, *(?:dy=)?{_NUMBER} *\)", re.ASCII)
_PRESS = re.compile(r"(?:press|keyDown)\(((?:keys=)?\(?[A-Za-z0-9._,'\" ]*\)?)\)", re.ASCII)
_CLICK = re.compile(rf"click\( *['\"]?({_NAME})['\"]? *\)", re.ASCII)
_KEY = re.compile(rf"['\"]?(?:keyboard\.)?({_NAME})['\"]?", re.ASCII)
_AND = re.compile(r" *(?: and |, ) *")


class Raw(NamedTuple):
    """A raw action."""

    camera: tuple[int, int] = (0, 0)
    """(dx, dy) in mouse pixels; y down."""
    keys: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names once each, in the released order; other names follow, sorted."""
    return tuple(sorted(set(names), key=lambda name: (_RANK.get(name, len(_RANK)), name)))


# -- text ------------------------------------------------------------------------------------------------------------
def write(raw: Sequence[Any]) -> str:
    """Return the canonical text, without a header."""
    camera, keys, buttons = raw
    parts = [f"move({camera[0]}, {camera[1]})"] if tuple(camera) != (0, 0) else []
    parts += [f"press({', '.join(in_order(keys))})"] if keys else []
    parts += [f"click({button})" for button in in_order(buttons)]
    return " and ".join(parts) or "no_op"


def read(text: str, start: int, end: int) -> Raw | InvalidAction:
    """Read ``text[start:end]``: canonical texts, and what else the released data has.

    That is numbers with quotes and decimals (rounded to whole pixels, halves to even, as its writer does), ``press()``,
    ``keyDown(keys=(keyboard.w))``, and commas for ``and``.
    """
    end = start + len(text[start:end].rstrip())
    at = end - len(text[start:end].lstrip())
    if text[at:end] == "no_op":
        return Raw()
    camera: tuple[int, int] | None = None
    keys: list[str] | None = None
    buttons: list[str] = []
    while True:
        if move := _MOVE.match(text, at, end):
            pixels = [round(float(number)) for number in move.groups()]
            if camera is not None:
                return InvalidAction("move is there twice", move.span())
            if max(map(abs, pixels)) > LARGEST:
                return InvalidAction(f"expected at most {LARGEST} pixels", move.span())
            camera, at = (pixels[0], pixels[1]), move.end()
        elif press := _PRESS.match(text, at, end):
            names = _names(press[1])
            if keys is not None:
                return InvalidAction("press is there twice", press.span())
            if names is None:
                return InvalidAction("expected names of keys, e.g. press(w, space)", press.span(1))
            keys, at = names, press.end()
        elif click := _CLICK.match(text, at, end):
            buttons.append(click[1])
            at = click.end()
        else:
            return InvalidAction("expected move(dx, dy), press(key, …), click(button) or no_op", (at, end))
        if at == end:
            return Raw(camera or (0, 0), in_order(keys or ()), in_order(buttons))
        joint = _AND.match(text, at, end)
        if joint is None:
            return InvalidAction("expected ` and ` between parts", (at, end))
        at = joint.end()


def _names(inside: str) -> list[str] | None:
    inside = inside.strip(" ").removeprefix("keys=").removeprefix("(").removesuffix(")")
    words = [word.strip(" ") for word in inside.split(",")] if inside.strip(" ") else []
    found = [_KEY.fullmatch(word) for word in words]
    return [match[1] for match in found if match] if all(found) else None


def rules(control: Control, name: str, body: str) -> list[str]:
    """Return grammar rules that generate the canonical texts of a world's raw actions, the start rule being ``body``.

    ``name`` is the space's: every rule begins with it.
    """
    known = {*control.buttons()}
    keys, buttons = in_order(control.keys()), in_order(known & set(BUTTONS))
    far = f"{name.upper()}_PIXELS"
    held = [f'{name}_press (" and " {name}_click0)?'] if keys and buttons else [f"{name}_press"] if keys else []
    held += [f"{name}_click0"] if buttons else []
    return [
        f'{body}: "no_op" | {name}_move' + (f' (" and " {name}_held)? | {name}_held' if held else ""),
        *([f"{name}_held: {' | '.join(held)}"] if held else []),
        f'{name}_move: "move(" {far} ", " ({far} | "0") ")" | "move(0, " {far} ")"',
        f"{far}: /-?[1-9][0-9]{{0,3}}/",
        *([f'{name}_press: "press(" {name}_key0 ")"'] if keys else []),
        *subset(f"{name}_key", [f'"{key}"' for key in keys], ", "),
        *subset(f"{name}_click", [f'"click({button})"' for button in buttons], " and "),
    ]


def subset(rule: str, items: Sequence[str], separator: str) -> list[str]:
    """Return rules ``{rule}0, …`` that generate every non-empty subset of ``items`` in order, once each."""
    lines = []
    for i, item in enumerate(items):
        more = f' ("{separator}" {rule}{i + 1})?' if i + 1 < len(items) else ""
        skip = f" | {rule}{i + 1}" if i + 1 < len(items) else ""
        lines.append(f"{rule}{i}: {item}{more}{skip}")
    return lines


# -- MineRL's action dict --------------------------------------------------------------------------------------------
def to_env(raw: Sequence[Any]) -> dict[str, Any]:
    """Return MineRL's action dict: 0 or 1 per name, ``camera`` [pitch, yaw] in degrees.

    Raises:
        ValueError: A key or button has no name there.
    """
    camera, keys, buttons = raw
    names = {**KEYS, **BUTTONS}
    held = set()
    for name in (*keys, *buttons):
        if name not in names:
            raise ValueError(f"{name!r} has no name in MineRL's action dict; expected one of {', '.join(names)}")
        held.add(names[name])
    action: dict[str, Any] = {
        name: int(name in held) for name in names.values() if name in held or name not in SOMETIMES
    }
    dx, dy = camera
    return {**action, "camera": [dy * DEGREES_PER_PIXEL, dx * DEGREES_PER_PIXEL]}


def from_env(action: Mapping[str, Any]) -> Raw:
    """Return the raw action of MineRL's dict; names it lacks are 0. Angles are rounded to whole mouse pixels.

    Raises:
        ValueError: A name is none of MineRL's, or the camera is not two finite numbers.
    """
    names = {**{v: k for k, v in KEYS.items()}, **{v: k for k, v in BUTTONS.items()}}
    if unknown := [name for name in action if name not in names and name != "camera"]:
        raise ValueError(f"action dict: got {unknown[0]!r}; expected camera or one of {', '.join(names)}")
    camera = [float(degrees) for degrees in action.get("camera", (0.0, 0.0))]
    if len(camera) != 2 or not all(map(math.isfinite, camera)):
        raise ValueError(f"action dict: camera is {camera}; expected two finite numbers, pitch and yaw in degrees")
    pitch, yaw = camera
    held = [names[name] for name in names if int(action.get(name, 0))]
    keys, buttons = [name for name in held if name in KEYS], [name for name in held if name in BUTTONS]
    return Raw((_pixels(yaw), _pixels(pitch)), in_order(keys), in_order(buttons))


def _pixels(degrees: float) -> int:
    """Round as the released writer does: to thousandths of a pixel, then to whole ones, halves to even."""
    return round(round(degrees / DEGREES_PER_PIXEL, 3))


# -- VPT's recordings ------------------------------------------------------------------------------------------------
def to_json(raw: Sequence[Any]) -> dict[str, Any]:
    """Return a frame of VPT's jsonl: ``mouse`` {dx, dy, buttons} and ``keyboard`` {keys}."""
    camera, keys, buttons = raw
    order = list(BUTTONS)
    return {
        "mouse": {
            "dx": float(camera[0]),
            "dy": float(camera[1]),
            "buttons": [order.index(b) for b in in_order(buttons)],
        },
        "keyboard": {"keys": [f"key.keyboard.{key}" for key in in_order(keys)]},
    }


def from_json(frame: Mapping[str, Any]) -> Raw:
    """Return the raw action of a frame of VPT's jsonl; keys that do nothing in the game are left out, as there."""
    mouse, order = frame["mouse"], list(BUTTONS)
    keys = [str(key).removeprefix("key.keyboard.") for key in frame["keyboard"]["keys"]]
    return Raw(
        (round(float(mouse["dx"])), round(float(mouse["dy"]))),
        in_order(key for key in keys if key in KEYS),
        in_order(order[int(index)] for index in mouse["buttons"] if int(index) < len(order)),
    )


# -- ticks -----------------------------------------------------------------------------------------------------------
def of_call(
    control: Control, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: Sequence[int] = (0, 0)
) -> Raw:
    """Return what one ``Control.step`` does, its camera as the world will round it."""
    quantum, limit = control.camera_quantum, control.camera_limit
    dx, dy = (snap(pixels, quantum, limit) for pixels in camera)
    return Raw((dx, dy), in_order(keys), in_order(buttons))


def of_tick(tick: RawTick | Mapping[str, Any]) -> Raw:
    """Return what a learned policy wants: a :class:`RawTick`, or MineRL's dict."""
    if isinstance(tick, RawTick):
        return Raw(tick.camera, in_order(tick.keys), in_order(tick.buttons))
    return from_env(tick)


def snap(pixels: float, quantum: int, limit: int) -> int:
    """Round to the quantum, halves away from zero, within the limit."""
    size = min(int(abs(pixels) / quantum + 0.5), limit // quantum) * quantum
    return size if pixels >= 0 else -size
