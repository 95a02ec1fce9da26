"""Entering a server that is not ours: what is around the player becomes the scene."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crossagent.plugin import Task
from crossagent_craftworld import terrain
from crossagent_craftworld.palette import NAMES, OUTLINES
from crossagent_minecraft import states
from crossagent_minecraft.link import Link
from crossagent_minecraft.mirror import Mirror

DEPTH = 24
"""Blocks above and below the player that he looks at."""
_TIMEOUT = 30.0
_EVERYWHERE = frozenset(
    [
        "stone",
        "grass_block",
        "dirt",
        "sand",
        "gravel",
        "bedrock",
        "andesite",
        "diorite",
        "granite",
        "netherrack",
        "end_stone",
        "grass",
        "barrier",
        "sandstone",
    ]
)
"""What is all around is no landmark."""
_PER_KIND = 400


def enter(link: Link, server: Mapping[str, Any], task: Task, emit: Callable[[str, str, int], None]) -> Mirror:
    """Join a server and return the world around the player. The task's set-up is the server's business: none is made.

    Raises:
        BridgeFailed: The server cannot be joined; the reason names host and port.
    """
    answer = link.call("connect", timeout=_TIMEOUT + 10, **{**server, "depth": DEPTH, "patience": 1000 * _TIMEOUT})
    x0, y0, z0, x1, y1, z1 = answer["box"]
    raw = np.frombuffer(base64.b64decode(answer["volume"]), dtype="<u2").reshape(y1 - y0, z1 - z0, x1 - x0)
    blocks = states.from_protocol(raw)
    size = (x1 - x0, y1 - y0, z1 - z0)
    features = _features(blocks)
    scene = terrain.Scene(f"server:{x0}:{y0}:{z0}", size, array("H", blocks.astype(np.uint16).tobytes()), (), features)
    world = Mirror(scene, 0, emit, (x0, y0, z0))
    world.take_over(terrain.marks_of(scene))
    yaw, pitch = answer["look"]
    world.yaw, world.pitch = (yaw + 1200) % 2400 - 1200, pitch
    world.begin(link.call, answer)
    world.fell_from = world.body.y
    return world


def _features(blocks: np.ndarray[Any, Any]) -> dict[int, tuple[tuple[int, int, int], ...]]:
    """Return the cells of what stands out, nearest the middle first, some of each kind."""
    middle = [n / 2 for n in blocks.shape]
    found: dict[int, tuple[tuple[int, int, int], ...]] = {}
    for state in np.unique(blocks).tolist():
        if not OUTLINES[state] or NAMES[state] in _EVERYWHERE:
            continue
        cells = [(int(x), int(y), int(z)) for y, z, x in np.argwhere(blocks == state)]
        cells.sort(key=lambda c: math.dist((c[1], c[2], c[0]), middle))
        found[state] = tuple(cells[:_PER_KIND])
    return found
