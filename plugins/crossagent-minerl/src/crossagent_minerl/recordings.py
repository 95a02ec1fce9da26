"""VPT's and BASALT's recordings of people playing: one JSON line and one video frame a tick, read as raw ticks.

The files are those that VPT's contractors made (arXiv 2206.11795) and BASALT's data set has: ``NAME.jsonl`` beside
``NAME.mp4``, 20 lines and frames a second, 640×360.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossagent.demonstrations import DataError
from crossagent.plugin import RawTick
from crossagent_minecraft_data.controls import KEYS, TAPS
from crossagent_minerl.frame import Frame

_PREFIX = "key.keyboard."
_BUTTONS = {0: "left", 1: "right"}
_ATTACK = 0
_MOST_PIXELS = 1200
"""A mouse movement of half a turn in one tick is an error of the recorder, not a movement."""


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded tick."""

    raw: RawTick
    text: str
    """What the player's client told before it."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some ticks as one action: what the space ``control`` writes."""

    first: int
    """Number of its first tick: the frame that was seen before it."""
    raw: RawTick
    text: str
    ticks: int


def read(path: Path) -> list[Step]:
    """Return the ticks of a recording.

    Two faults of the recorder are mended, as everybody who uses these files does: an attack button that is down from the
    first line on is up until it is pressed anew; and slots chosen with the wheel, which is not recorded, are number keys.

    Raises:
        DataError: A line is no tick; the message has its number.
    """
    steps: list[Step] = []
    stuck, hotbar = False, 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    fresh = row["mouse"].get("newButtons", [])
                    stuck = fresh == [_ATTACK] if not steps else stuck and _ATTACK not in fresh
                    slot = int(row.get("hotbar", hotbar))
                    steps.append(Step(_raw(row, stuck, slot if slot != hotbar else None), _told(row)))
                    hotbar = slot
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{path}, line {number}: no tick of a VPT or BASALT recording ({type(error).__name__}: {error}); "
                        "expected an object with mouse, keyboard and inventory"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not steps:
        raise DataError(f"{path}: there is no tick in it")
    return steps


def _raw(row: Mapping[str, Any], stuck: bool, chosen: int | None) -> RawTick:
    mouse = row["mouse"]
    held = {str(key).removeprefix(_PREFIX) for key in row["keyboard"]["keys"]}
    if chosen is not None:
        held.add(str(chosen + 1))
    pressed = [button for button in mouse["buttons"] if not (stuck and button == _ATTACK)]
    camera = [float(mouse["dx"]), float(mouse["dy"])]
    if not all(math.isfinite(pixels) for pixels in camera):
        raise ValueError(f"mouse: got {camera}")
    dx, dy = (0 if abs(pixels) > _MOST_PIXELS else round(pixels) for pixels in camera)
    return RawTick(
        tuple(k for k in KEYS if k in held),
        tuple(sorted(_BUTTONS[b] for b in set(pressed) if b in _BUTTONS)),
        (dx, dy),
    )


def _told(row: Mapping[str, Any]) -> str:
    place = [float(row[n]) for n in ("xpos", "ypos", "zpos", "pitch", "yaw")] if "xpos" in row else None
    slots = [(None, str(stack["type"]), int(stack["quantity"])) for stack in row.get("inventory", ())]
    return Frame(
        pov=None,
        slots=tuple(slots),
        held=None,
        gui=bool(row.get("isGuiOpen", False)),
        place=None if place is None else tuple(place),
        life=None,
        compass=None,
        counts={},
        reward=0.0,
        done=False,
    ).text()


def blocks(steps: Sequence[Step], ticks: int, quantum: int, limit: int, *, idle: bool = False) -> Iterator[Block]:
    """Return the recording in actions of ``ticks`` ticks each; ``ticks=1`` loses nothing but the mouse's rounding.

    In a block the mouse moves by the sum of its movements, which keeps what the rounding to ``quantum`` left for the next;
    keys that work when tapped are held if they went down, the others and the buttons if they were down half of the time.

    Args:
        steps: The ticks.
        ticks: As the recipe's ``spaces.control.options.ticks``.
        quantum: Mouse pixels, the environment's.
        limit: Largest movement along an axis, the environment's; what exceeds it is cut.
        idle: Whether blocks in which nothing happens are kept.
    """
    rest = [0, 0]
    before: frozenset[str] = frozenset()
    for first in range(0, len(steps), ticks):
        part = [step.raw for step in steps[first : first + ticks]]
        keys = set()
        for raw in part:
            keys |= {k for k in raw.keys if k in TAPS and k not in before}
            before = frozenset(raw.keys)
        names = {n for raw in part for n in (*raw.keys, *raw.buttons)} - set(TAPS)
        often = {n for n in names if 2 * sum(n in (*raw.keys, *raw.buttons) for raw in part) >= len(part)}
        camera = []
        for axis in (0, 1):
            wanted = rest[axis] + sum(raw.camera[axis] for raw in part)
            made = _snap(wanted, quantum, limit)
            rest[axis] = wanted - made if abs(wanted) <= limit else 0
            camera.append(made)
        raw = RawTick(
            tuple(k for k in KEYS if k in keys or k in often),
            tuple(sorted(often & set(_BUTTONS.values()))),
            (camera[0], camera[1]),
        )
        if idle or not raw.is_noop:
            yield Block(first, raw, steps[first].text, len(part))


def _snap(pixels: int, quantum: int, limit: int) -> int:
    """Round to the quantum, halves away from zero, within the limit."""
    size = min((2 * abs(pixels) + quantum) // (2 * quantum) * quantum, limit // quantum * quantum)
    return size if pixels >= 0 else -size
