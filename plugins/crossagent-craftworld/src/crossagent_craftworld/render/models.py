"""How mobs, stacks on the ground and the player's hand look: boxes of one texture a face, and extruded icons."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld.render import blockart, paint, sprites
from crossagent_craftworld.render.atlas import ATLAS
from crossagent_craftworld.render.paint import Colour, Picture, noise

if TYPE_CHECKING:
    from crossagent_craftworld.mobs import Mob
    from crossagent_craftworld.shots import Shot

Box = tuple[float, float, float, float, float, float]
Turn = NDArray[np.float64]
"""[3, 3] rows: the axes of a box in world coordinates."""
BOX, SPRITE = 0.0, 1.0


class Part(NamedTuple):
    """One box of a model, in blocks from the middle of the feet: x to the left, y up, z ahead."""

    box: Box
    hide: str
    """Texture of the sides."""
    face: str | None = None
    """Texture of the front."""
    swing: float = 0.0
    """How it swings when the mob walks, −1…1; legs of one pair have opposite signs."""


# kind → model, main colour, second colour, pattern of the hide, colour of the eyes
_KINDS: dict[str, tuple[str, Colour, Colour, str, Colour]] = {
    "cow": ("four", (74, 54, 40), (232, 228, 220), "patches", (20, 20, 20)),
    "mooshroom": ("four", (150, 22, 24), (226, 222, 214), "patches", (20, 20, 20)),
    "pig": ("four", (238, 160, 156), (214, 120, 120), "plain", (30, 20, 20)),
    "sheep": ("four", (236, 234, 228), (222, 190, 160), "wool", (20, 20, 20)),
    "goat": ("four", (224, 216, 200), (190, 180, 160), "plain", (20, 20, 20)),
    "horse": ("four", (136, 92, 52), (70, 46, 28), "plain", (20, 20, 20)),
    "donkey": ("four", (124, 108, 92), (190, 180, 168), "plain", (20, 20, 20)),
    "mule": ("four", (96, 66, 44), (150, 120, 96), "plain", (20, 20, 20)),
    "skeleton_horse": ("four", (196, 196, 190), (120, 120, 116), "ribs", (20, 20, 20)),
    "zombie_horse": ("four", (84, 122, 72), (54, 80, 48), "patches", (20, 20, 20)),
    "llama": ("four", (214, 188, 142), (160, 130, 90), "wool", (20, 20, 20)),
    "trader_llama": ("four", (214, 188, 142), (60, 90, 170), "patches", (20, 20, 20)),
    "wolf": ("four", (214, 210, 206), (150, 140, 132), "plain", (20, 20, 20)),
    "fox": ("four", (226, 124, 42), (240, 236, 228), "plain", (20, 20, 20)),
    "cat": ("four", (188, 132, 70), (120, 78, 40), "patches", (70, 160, 60)),
    "ocelot": ("four", (222, 190, 90), (130, 96, 50), "spots", (70, 160, 60)),
    "rabbit": ("four", (172, 136, 98), (220, 200, 176), "plain", (20, 20, 20)),
    "panda": ("four", (238, 236, 230), (34, 34, 38), "patches", (20, 20, 20)),
    "polar_bear": ("four", (240, 240, 238), (206, 206, 204), "plain", (20, 20, 20)),
    "turtle": ("flat", (72, 140, 66), (196, 190, 120), "spots", (20, 20, 20)),
    "hoglin": ("four", (198, 112, 92), (130, 66, 60), "patches", (240, 240, 220)),
    "zoglin": ("four", (200, 140, 128), (100, 140, 84), "patches", (240, 240, 220)),
    "ravager": ("four", (94, 98, 98), (56, 50, 48), "plain", (60, 110, 170)),
    "strider": ("strider", (152, 48, 52), (92, 60, 80), "plain", (240, 240, 230)),
    "chicken": ("bird", (240, 240, 236), (230, 160, 40), "plain", (20, 20, 20)),
    "parrot": ("bird", (216, 34, 30), (50, 90, 200), "patches", (20, 20, 20)),
    "bat": ("bird", (84, 66, 52), (50, 38, 30), "plain", (20, 20, 20)),
    "bee": ("bee", (236, 190, 60), (60, 42, 26), "bands", (40, 40, 60)),
    "vex": ("bird", (150, 176, 196), (110, 130, 160), "plain", (200, 40, 40)),
    "phantom": ("flat", (66, 84, 146), (46, 56, 96), "plain", (120, 240, 90)),
    "zombie": ("two", (86, 132, 76), (44, 148, 150), "plain", (20, 20, 20)),
    "husk": ("two", (152, 134, 98), (120, 98, 66), "plain", (20, 20, 20)),
    "drowned": ("two", (92, 160, 146), (70, 106, 90), "plain", (110, 240, 220)),
    "zombie_villager": ("robe", (86, 132, 76), (104, 74, 58), "plain", (180, 40, 40)),
    "giant": ("two", (86, 132, 76), (44, 148, 150), "plain", (20, 20, 20)),
    "skeleton": ("thin", (198, 198, 194), (150, 150, 146), "ribs", (30, 30, 30)),
    "stray": ("thin", (176, 192, 196), (110, 130, 136), "ribs", (30, 40, 46)),
    "wither_skeleton": ("thin", (52, 52, 54), (34, 34, 36), "ribs", (10, 10, 10)),
    "zombified_piglin": ("two", (232, 158, 144), (110, 150, 84), "patches", (240, 240, 240)),
    "piglin": ("two", (236, 172, 116), (110, 76, 40), "plain", (20, 20, 20)),
    "piglin_brute": ("two", (220, 150, 100), (40, 36, 36), "plain", (20, 20, 20)),
    "villager": ("robe", (196, 146, 116), (112, 78, 54), "plain", (40, 120, 60)),
    "wandering_trader": ("robe", (196, 146, 116), (54, 88, 158), "plain", (40, 120, 60)),
    "witch": ("robe", (196, 146, 116), (70, 40, 92), "plain", (120, 40, 140)),
    "pillager": ("robe", (146, 158, 158), (72, 66, 62), "plain", (40, 110, 60)),
    "vindicator": ("robe", (146, 158, 158), (52, 56, 60), "plain", (40, 110, 60)),
    "evoker": ("robe", (146, 158, 158), (40, 42, 50), "plain", (40, 110, 60)),
    "illusioner": ("robe", (146, 158, 158), (46, 70, 130), "plain", (40, 110, 60)),
    "enderman": ("tall", (22, 20, 26), (14, 12, 18), "plain", (216, 110, 250)),
    "iron_golem": ("golem", (212, 204, 194), (150, 140, 128), "vines", (170, 40, 30)),
    "snow_golem": ("snowman", (244, 250, 252), (206, 126, 30), "plain", (30, 20, 10)),
    "creeper": ("creeper", (92, 178, 82), (168, 206, 152), "mottled", (16, 16, 16)),
    "spider": ("spider", (52, 44, 40), (32, 28, 26), "mottled", (200, 24, 24)),
    "cave_spider": ("spider", (22, 56, 66), (16, 36, 44), "mottled", (200, 24, 24)),
    "silverfish": ("worm", (136, 142, 144), (96, 100, 104), "bands", (20, 20, 20)),
    "endermite": ("worm", (72, 54, 84), (40, 28, 52), "bands", (140, 60, 180)),
    "slime": ("cube", (116, 196, 98), (82, 150, 70), "plain", (34, 60, 30)),
    "magma_cube": ("cube", (54, 26, 20), (230, 120, 30), "bands", (250, 200, 60)),
    "shulker": ("cube", (150, 106, 150), (110, 76, 112), "plain", (230, 220, 160)),
    "blaze": ("blaze", (246, 190, 50), (200, 120, 26), "mottled", (40, 24, 10)),
    "ghast": ("ghast", (240, 240, 240), (206, 206, 206), "plain", (60, 60, 60)),
    "cod": ("fish", (178, 152, 116), (212, 196, 168), "plain", (20, 20, 20)),
    "salmon": ("fish", (166, 62, 54), (96, 112, 86), "patches", (20, 20, 20)),
    "pufferfish": ("cube", (230, 186, 46), (240, 230, 200), "spots", (30, 60, 110)),
    "tropical_fish": ("fish", (234, 112, 38), (240, 240, 240), "bands", (20, 20, 20)),
    "dolphin": ("fish", (128, 152, 176), (216, 222, 226), "plain", (20, 20, 20)),
    "squid": ("ghast", (62, 82, 106), (48, 62, 82), "plain", (220, 220, 220)),
    "guardian": ("cube", (92, 146, 132), (220, 120, 60), "spots", (200, 60, 120)),
    "elder_guardian": ("cube", (198, 192, 172), (150, 136, 150), "spots", (160, 60, 120)),
    "wither": ("golem", (30, 30, 32), (16, 16, 18), "ribs", (240, 240, 240)),
    "ender_dragon": ("four", (26, 24, 28), (60, 56, 64), "plain", (216, 110, 250)),
}  # fmt: skip


def _hide(kind: str) -> Picture:
    _, main, second, pattern, _ = _KINDS[kind]
    out = paint.grain(main, kind, 0.14, 0.1)
    other = paint.grain(second, kind + "2", 0.14, 0.08)
    at = {
        "patches": paint.smooth(kind + "patch", 4) > 0.58,
        "spots": noise(kind + "spot") > 0.82,
        "bands": (np.mgrid[0:16, 0:16][0] % 6) > 3,
        "mottled": paint.smooth(kind, 2) > 0.58,
        "ribs": ((np.mgrid[0:16, 0:16][0] % 4) == 3),
        "vines": (noise(kind) > 0.86),
        "wool": (paint.smooth(kind, 2) > 0.7),
    }.get(pattern)
    if at is not None:
        if pattern == "wool":
            out[at] *= 0.9
        elif pattern == "vines":
            out[at] = (110, 140, 80)
        else:
            out[at] = other[at]
    return out


def _face(kind: str) -> Picture:
    model, main, second, _, eyes = _KINDS[kind]
    skin = second if kind in ("sheep", "snow_golem") else main
    out = paint.grain(skin, kind + "face", 0.1, 0.08)
    white: Colour = (238, 238, 238)
    if kind == "creeper":
        out = _hide(kind)
        for x0, y0, x1, y1 in ((3, 5, 6, 8), (9, 5, 12, 8), (6, 8, 9, 12), (5, 10, 6, 14), (9, 10, 10, 14)):
            paint.box(out, x0, y0, x1, y1, eyes)
        return out
    if model == "spider":
        for x, y in ((4, 5), (11, 5), (6, 8), (9, 8), (3, 8), (12, 8)):
            paint.box(out, x, y, x + 1, y + 1, eyes)
        return out
    if kind == "enderman":
        paint.box(out, 1, 7, 5, 8, (120, 50, 150))
        paint.box(out, 10, 7, 14, 8, (120, 50, 150))
        paint.box(out, 2, 7, 4, 8, eyes)
        paint.box(out, 11, 7, 13, 8, eyes)
        return out
    if kind in (
        "skeleton",
        "stray",
        "wither_skeleton",
        "zombie",
        "husk",
        "drowned",
        "giant",
        "ghast",
        "zombie_villager",
    ):
        paint.box(out, 3, 7, 6, 9, eyes)
        paint.box(out, 9, 7, 12, 9, eyes)
        paint.box(out, 5, 12, 10, 13, [c * 0.5 for c in main])
        return out
    paint.box(out, 2, 6, 5, 8, white)
    paint.box(out, 10, 6, 13, 8, white)
    paint.box(out, 4, 6, 5, 8, eyes)
    paint.box(out, 10, 6, 11, 8, eyes)
    if kind == "pig":
        paint.box(out, 5, 9, 10, 12, second)
        paint.dots(out, [(6, 10), (6, 11), (9, 10), (9, 11)], (120, 60, 60))
    elif kind in ("cow", "mooshroom"):
        paint.box(out, 4, 10, 11, 14, (206, 186, 176))
        paint.dots(out, [(5, 11), (10, 11)], (60, 50, 50))
        paint.box(out, 7, 1, 8, 9, second)
    elif model == "robe" or kind == "iron_golem":
        paint.box(out, 3, 4, 12, 5, [c * 0.45 for c in main])
        paint.box(out, 6, 8, 9, 13, [c * 0.82 for c in main])
    elif model == "bird":
        paint.box(out, 5, 9, 10, 11, second)
    elif kind == "snow_golem":
        out = shapes_texture("front:carved_pumpkin")
    else:
        paint.box(out, 5, 11, 10, 12, [c * 0.5 for c in skin])
    return out


def shapes_texture(key: str) -> Picture:
    """Return a block's texture as a picture to draw on."""
    return blockart.texture(key)[..., :3].astype(np.float64)


def _plain(kind: str) -> Picture:
    return paint.grain(_KINDS[kind][2], kind + "plain", 0.14, 0.1)


def _skin(kind: str) -> Picture:
    return paint.grain(_KINDS[kind][1], kind + "skin", 0.12, 0.08)


_PAINT: dict[str, Callable[[str], Picture]] = {"hide": _hide, "face": _face, "plain": _plain, "skin": _skin}


def _texture(kind: str, what: str) -> int:
    key = f"mob/{kind}/{what}"
    at = ATLAS.known(key)
    return ATLAS.add(key, paint.done(_PAINT[what](kind))) if at is None else at


# -- models: w, h are the width and height of the mob's box -----------------------------------------------------------
def _legs(w: float, z: float, high: float, thick: float, hide: str = "hide") -> list[Part]:
    return [
        Part((sx * w - thick, 0.0, sz * z - thick, sx * w + thick, high, sz * z + thick), hide, None, sx * sz)
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]


def _four(w: float, h: float, kind: str) -> list[Part]:
    leg = 0.45 * h
    second = "plain" if kind in ("sheep", "fox", "cow", "panda") else "hide"
    parts = _legs(0.26 * w, 0.42 * w, leg, 0.13 * w, second)
    parts.append(Part((-0.42 * w, leg, -0.62 * w, 0.42 * w, 0.92 * h, 0.48 * w), "hide"))
    top = 1.0 * h
    parts.append(
        Part(
            (-0.28 * w, top - 0.46 * h, 0.48 * w, 0.28 * w, top, 0.92 * w),
            "hide" if kind != "sheep" else "plain",
            "face",
        )
    )
    if kind in ("horse", "donkey", "mule", "llama", "trader_llama", "skeleton_horse", "zombie_horse"):
        parts[-1] = Part((-0.16 * w, 0.86 * h, 0.4 * w, 0.16 * w, 1.16 * h, 0.92 * w), "hide", "face")
        parts.append(Part((-0.13 * w, 0.7 * h, 0.3 * w, 0.13 * w, 1.0 * h, 0.55 * w), "plain"))
    if kind in ("wolf", "fox", "cat", "ocelot", "horse"):
        parts.append(Part((-0.08 * w, 0.5 * h, -1.0 * w, 0.08 * w, 0.66 * h, -0.6 * w), "plain"))
    if kind in ("cow", "mooshroom"):
        for side in (-1, 1):
            parts.append(
                Part(
                    (side * 0.3 * w - 0.05, 1.0 * h - 0.1, 0.55 * w, side * 0.3 * w + 0.05, 1.06 * h, 0.65 * w), "plain"
                )
            )
    if kind in ("rabbit", "cat", "fox", "wolf", "donkey"):
        for side in (-1, 1):
            high = 1.4 if kind == "rabbit" else 1.16
            parts.append(
                Part((side * 0.18 * w - 0.04, 0.96 * h, 0.55 * w, side * 0.18 * w + 0.04, high * h, 0.66 * w), "plain")
            )
    return parts


def _two(w: float, h: float, kind: str, thick: float = 1.0) -> list[Part]:
    a, leg, chest = 0.2 * w * thick, 0.38 * h, 0.74 * h
    arms = "skin" if kind != "zombified_piglin" else "hide"
    reach = kind in ("zombie", "husk", "drowned", "giant")
    parts = [
        Part((-0.4 * w * min(1, thick + 0.1), 0, -a, -0.02, leg, a), "plain", None, 1),
        Part((0.02, 0, -a, 0.4 * w * min(1, thick + 0.1), leg, a), "plain", None, -1),
        Part((-0.4 * w, leg, -0.2 * w, 0.4 * w, chest, 0.2 * w), "hide" if thick < 1 else "plain"),
        Part((-0.38 * w, chest, -0.38 * w, 0.38 * w, h, 0.38 * w), "skin" if thick == 1 else "hide", "face"),
    ]
    for side in (-1, 1):
        x0, x1 = sorted((side * 0.42 * w, side * (0.42 * w + 2 * a)))
        if reach:
            parts.append(Part((x0, chest - 2 * a, -0.1 * w, x1, chest, 1.05 * w), arms))
        else:
            parts.append(Part((x0, leg, -a, x1, chest, a), arms if thick == 1 else "hide", None, -side))
    return parts


def _robe(w: float, h: float, kind: str) -> list[Part]:
    chest = 0.72 * h
    return [
        Part((-0.36 * w, 0, -0.24 * w, 0.36 * w, 0.3 * h, 0.24 * w), "plain"),
        Part((-0.42 * w, 0.12 * h, -0.3 * w, 0.42 * w, chest, 0.3 * w), "plain"),
        Part((-0.36 * w, chest, -0.36 * w, 0.36 * w, h, 0.36 * w), "skin", "face"),
        Part((-0.08 * w, chest + 0.04 * h, 0.36 * w, 0.08 * w, chest + 0.13 * h, 0.5 * w), "skin"),
        Part((-0.58 * w, chest - 0.2 * h, 0.05 * w, 0.58 * w, chest - 0.1 * h, 0.44 * w), "plain"),
        *([Part((-0.55 * w, h, -0.55 * w, 0.55 * w, h + 0.05, 0.55 * w), "plain"),
           Part((-0.25 * w, h, -0.25 * w, 0.25 * w, h + 0.35, 0.25 * w), "plain")] if kind == "witch" else []),
    ]  # fmt: skip


def _tall(w: float, h: float, kind: str) -> list[Part]:
    a, leg, chest = 0.07, 0.5 * h, 0.83 * h
    return [
        Part((-0.14 - a, 0, -a, -0.14 + a, leg, a), "hide", None, 1),
        Part((0.14 - a, 0, -a, 0.14 + a, leg, a), "hide", None, -1),
        Part((-0.25, leg, -0.13, 0.25, chest, 0.13), "hide"),
        Part((-0.25, chest, -0.25, 0.25, h, 0.25), "hide", "face"),
        Part((-0.25 - 2 * a, 0.32 * h, -a, -0.25, chest, a), "hide", None, -1),
        Part((0.25, 0.32 * h, -a, 0.25 + 2 * a, chest, a), "hide", None, 1),
    ]


def _golem(w: float, h: float, kind: str) -> list[Part]:
    leg, chest = 0.36 * h, 0.8 * h
    return [
        Part((-0.3 * w, 0, -0.13 * w, -0.06 * w, leg, 0.13 * w), "hide", None, 1),
        Part((0.06 * w, 0, -0.13 * w, 0.3 * w, leg, 0.13 * w), "hide", None, -1),
        Part((-0.22 * w, leg, -0.14 * w, 0.22 * w, leg + 0.12 * h, 0.14 * w), "hide"),
        Part((-0.4 * w, leg + 0.1 * h, -0.22 * w, 0.4 * w, chest, 0.22 * w), "hide"),
        Part((-0.18 * w, chest - 0.02 * h, -0.1 * w, 0.18 * w, h, 0.26 * w), "hide", "face"),
        Part((-0.56 * w, 0.12 * h, -0.12 * w, -0.4 * w, chest, 0.12 * w), "hide", None, -0.6),
        Part((0.4 * w, 0.12 * h, -0.12 * w, 0.56 * w, chest, 0.12 * w), "hide", None, 0.6),
    ]


def _creeper(w: float, h: float, kind: str) -> list[Part]:
    return [
        *_legs(0.22 * w, 0.3 * w, 0.24 * h, 0.17 * w),
        Part((-0.36 * w, 0.24 * h, -0.2 * w, 0.36 * w, 0.7 * h, 0.2 * w), "hide"),
        Part((-0.42 * w, 0.7 * h, -0.42 * w, 0.42 * w, h, 0.42 * w), "hide", "face"),
    ]


def _spider(w: float, h: float, kind: str) -> list[Part]:
    parts = [
        Part((-0.28 * w, 0.3 * h, -0.62 * w, 0.28 * w, 0.95 * h, 0.0), "hide"),
        Part((-0.16 * w, 0.35 * h, 0.0, 0.16 * w, 0.8 * h, 0.18 * w), "plain"),
        Part((-0.24 * w, 0.3 * h, 0.16 * w, 0.24 * w, 0.95 * h, 0.52 * w), "hide", "face"),
    ]
    for i in range(4):
        z = (0.2 - 0.14 * i) * w
        for side in (-1, 1):
            x0, x1 = sorted((side * 0.14 * w, side * 0.62 * w))
            parts.append(Part((x0, 0.4 * h, z - 0.035 * w, x1, 0.52 * h, z + 0.035 * w), "plain"))
            x0, x1 = sorted((side * 0.56 * w, side * 0.63 * w))
            parts.append(Part((x0, 0.0, z - 0.035 * w, x1, 0.52 * h, z + 0.035 * w), "plain", None, 0.3 * (-1) ** i))
    return parts


def _bird(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.06 - 0.1 * w, 0, -0.03, -0.1 * w + 0.02, 0.36 * h, 0.05), "plain", None, 1),
        Part((0.1 * w - 0.02, 0, -0.03, 0.1 * w + 0.06, 0.36 * h, 0.05), "plain", None, -1),
        Part((-0.36 * w, 0.3 * h, -0.5 * w, 0.36 * w, 0.74 * h, 0.36 * w), "hide"),
        Part((-0.24 * w, 0.62 * h, 0.22 * w, 0.24 * w, 1.05 * h, 0.56 * w), "hide", "face"),
        Part((-0.12 * w, 0.78 * h, 0.56 * w, 0.12 * w, 0.88 * h, 0.74 * w), "plain"),
        Part((-0.46 * w, 0.34 * h, -0.4 * w, -0.36 * w, 0.7 * h, 0.26 * w), "hide"),
        Part((0.36 * w, 0.34 * h, -0.4 * w, 0.46 * w, 0.7 * h, 0.26 * w), "hide"),
    ]


def _bee(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.32 * w, 0.2 * h, -0.5 * w, 0.32 * w, 0.9 * h, 0.45 * w), "hide", "face"),
        Part((-0.85 * w, 0.88 * h, -0.2 * w, -0.1 * w, 0.92 * h, 0.2 * w), "plain"),
        Part((0.1 * w, 0.88 * h, -0.2 * w, 0.85 * w, 0.92 * h, 0.2 * w), "plain"),
    ]


def _flat(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.42 * w, 0.2 * h, -0.5 * w, 0.42 * w, 0.9 * h, 0.4 * w), "hide"),
        Part((-0.16 * w, 0.2 * h, 0.4 * w, 0.16 * w, 0.75 * h, 0.66 * w), "plain", "face"),
        Part((-0.7 * w, 0.1 * h, 0.05 * w, -0.36 * w, 0.3 * h, 0.35 * w), "plain"),
        Part((0.36 * w, 0.1 * h, 0.05 * w, 0.7 * w, 0.3 * h, 0.35 * w), "plain"),
        Part((-0.5 * w, 0.1 * h, -0.5 * w, -0.3 * w, 0.3 * h, -0.3 * w), "plain"),
        Part((0.3 * w, 0.1 * h, -0.5 * w, 0.5 * w, 0.3 * h, -0.3 * w), "plain"),
    ]


def _cube(w: float, h: float, kind: str) -> list[Part]:
    return [Part((-0.5 * w, 0, -0.5 * w, 0.5 * w, h, 0.5 * w), "hide", "face")]


def _worm(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.3 * w, 0, 0.1 * w, 0.3 * w, 0.7 * h, 0.6 * w), "hide", "face"),
        Part((-0.4 * w, 0, -0.4 * w, 0.4 * w, h, 0.1 * w), "hide"),
        Part((-0.2 * w, 0, -0.9 * w, 0.2 * w, 0.5 * h, -0.4 * w), "plain"),
    ]


def _blaze(w: float, h: float, kind: str) -> list[Part]:
    parts = [Part((-0.4 * w, 0.72 * h, -0.4 * w, 0.4 * w, h, 0.4 * w), "skin", "face")]
    for i in range(8):
        x, z = math.sin(i * math.tau / 8) * 0.55 * w, math.cos(i * math.tau / 8) * 0.55 * w
        low = (0.1 + 0.28 * (i % 2)) * h
        parts.append(Part((x - 0.07, low, z - 0.07, x + 0.07, low + 0.32 * h, z + 0.07), "hide"))
    return parts


def _ghast(w: float, h: float, kind: str) -> list[Part]:
    parts = [Part((-0.45 * w, 0.4 * h, -0.45 * w, 0.45 * w, h, 0.45 * w), "hide", "face")]
    for i in range(9):
        x, z = (i % 3 - 1) * 0.3 * w, (i // 3 - 1) * 0.3 * w
        low = (0.06 + 0.1 * (i * 7 % 3)) * h
        parts.append(Part((x - 0.06 * w, low, z - 0.06 * w, x + 0.06 * w, 0.42 * h, z + 0.06 * w), "plain"))
    return parts


def _fish(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.2 * w, 0.1 * h, -0.4 * w, 0.2 * w, 0.9 * h, 0.4 * w), "hide"),
        Part((-0.16 * w, 0.2 * h, 0.4 * w, 0.16 * w, 0.8 * h, 0.62 * w), "hide", "face"),
        Part((-0.03, 0.1 * h, -0.85 * w, 0.03, 0.95 * h, -0.4 * w), "plain"),
        Part((-0.03, 0.9 * h, -0.2 * w, 0.03, 1.1 * h, 0.2 * w), "plain"),
    ]


def _snowman(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.5 * w, 0, -0.5 * w, 0.5 * w, 0.38 * h, 0.5 * w), "hide"),
        Part((-0.4 * w, 0.36 * h, -0.4 * w, 0.4 * w, 0.7 * h, 0.4 * w), "hide"),
        Part((-0.36 * w, 0.7 * h, -0.36 * w, 0.36 * w, h, 0.36 * w), "plain", "face"),
    ]


def _strider(w: float, h: float, kind: str) -> list[Part]:
    return [
        Part((-0.3 * w, 0, -0.12 * w, -0.1 * w, 0.5 * h, 0.12 * w), "plain", None, 1),
        Part((0.1 * w, 0, -0.12 * w, 0.3 * w, 0.5 * h, 0.12 * w), "plain", None, -1),
        Part((-0.5 * w, 0.45 * h, -0.5 * w, 0.5 * w, h, 0.5 * w), "hide", "face"),
    ]


_MODELS: dict[str, Callable[[float, float, str], list[Part]]] = {
    "four": _four, "two": _two, "thin": lambda w, h, kind: _two(w, h, kind, 0.5), "robe": _robe, "tall": _tall,
    "golem": _golem, "creeper": _creeper, "spider": _spider, "bird": _bird, "bee": _bee, "flat": _flat, "cube": _cube,
    "worm": _worm, "blaze": _blaze, "ghast": _ghast, "fish": _fish, "snowman": _snowman, "strider": _strider,
}  # fmt: skip


@cache
def _model(kind: str, width: float, height: float) -> tuple[tuple[Part, tuple[int, ...]], ...]:
    """Return the parts of a kind of mob with the textures of their faces."""
    known = kind if kind in _KINDS else "pig"
    parts = _MODELS[_KINDS[known][0]](width, height, known)
    return tuple(
        (part, (*(_texture(known, part.hide),) * 5, _texture(known, part.face or part.hide))) for part in parts
    )


def turned(yaw: float) -> Turn:
    """Return the axes (left, up, ahead) of a body that faces ``yaw`` (radians, 0 = +z, clockwise from above)."""
    sin, cos = math.sin(yaw), math.cos(yaw)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def _pitched(turn: Turn, angle: float) -> Turn:
    sin, cos = math.sin(angle), math.cos(angle)
    return np.array([turn[0], cos * turn[1] + sin * turn[2], -sin * turn[1] + cos * turn[2]])


class Prims:
    """What :func:`kernel.entities` draws, gathered box by box."""

    def __init__(self) -> None:
        self.boxes: list[tuple[float, ...]] = []
        self.turns: list[Turn] = []
        self.faces: list[tuple[int, ...]] = []
        self.lights: list[tuple[float, float, float]] = []

    def add(
        self, kind: float, origin: tuple[float, float, float], box: Box, turn: Turn, faces: tuple[int, ...],
        light: tuple[float, float, float],
    ) -> None:  # fmt: skip
        """Add one box: its place, its extent around it, its axes, its textures and the light on it."""
        self.boxes.append((kind, *origin, *box))
        self.turns.append(turn)
        self.faces.append(faces)
        self.lights.append(light)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Return prims, turns, faces and lights as the kernel wants them."""
        n = len(self.boxes)
        return (
            np.array(self.boxes, dtype=np.float64).reshape(n, 10),
            np.array(self.turns, dtype=np.float64).reshape(n, 3, 3),
            np.array(self.faces, dtype=np.int64).reshape(n, 6),
            np.array(self.lights, dtype=np.float64).reshape(n, 3),
        )


def add_mob(prims: Prims, mob: Mob, time: int, light: tuple[float, float, float]) -> None:
    """Add a mob; its legs swing with its speed, and it is red while it is hurt."""
    body = mob.body
    if mob.hurt > 10:
        light = (min(1.3, light[0] * 1.25 + 0.1), light[1] * 0.5, light[2] * 0.5)
    turn = turned(mob.yaw)
    pace = min(1.0, 10.0 * math.hypot(body.vx, body.vz))
    angle = 0.75 * pace * math.sin(0.7 * time + mob.ident)
    for part, faces in _model(mob.kind, 2 * body.half, body.height):
        if not part.swing or not angle:
            prims.add(BOX, (body.x, body.y, body.z), part.box, turn, faces, light)
            continue
        # around the middle of its upper end
        x0, y0, z0, x1, y1, z1 = part.box
        pivot = ((x0 + x1) / 2, y1, (z0 + z1) / 2)
        at = body_point((body.x, body.y, body.z), turn, pivot)
        inner = (x0 - pivot[0], y0 - y1, z0 - pivot[2], x1 - pivot[0], 0.0, z1 - pivot[2])
        prims.add(BOX, at, inner, _pitched(turn, angle * part.swing), faces, light)


def body_point(
    origin: tuple[float, float, float], turn: Turn, inner: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return a point given in a body's axes in world coordinates."""
    x, y, z = (
        float(origin[i] + inner[0] * turn[0, i] + inner[1] * turn[1, i] + inner[2] * turn[2, i]) for i in range(3)
    )
    return x, y, z


def item_textures(item: str) -> tuple[float, tuple[int, ...]]:
    """Return (BOX or SPRITE, the six textures) of an item in the hand or on the ground."""
    if sprites.is_cube(item):
        return BOX, tuple(ATLAS.block(key) for key in sprites.item_faces(item))
    key = f"item/{item}"
    at = ATLAS.known(key)
    if at is None:
        at = ATLAS.add(key, sprites.icon(item))
    return SPRITE, (at,) * 6


def item_boxes(item: str, size: float) -> list[Box]:
    """Return the boxes of an item scaled to ``size`` around its middle."""
    from crossagent_craftworld.palette import outline_boxes

    if not sprites.is_cube(item):
        return [(-size / 2, -size / 2, -size / 32, size / 2, size / 2, size / 32)]
    parts = outline_boxes(item)[:6] or ((0.0, 0.0, 0.0, 1.0, 1.0, 1.0),)
    return [tuple(size * (c - 0.5) for c in box) for box in parts]  # type: ignore[misc]


def add_item(
    prims: Prims, item: str, at: tuple[float, float, float], turn: Turn, size: float, light: tuple[float, float, float]
) -> None:
    """Add an item: a small block, or its icon one pixel thick."""
    kind, faces = item_textures(item)
    for box in item_boxes(item, size):
        prims.add(kind, at, box, turn, faces, light)


_SHOTS: dict[str, tuple[str, float]] = {
    "arrow": ("arrow", 0.5), "potion": ("splash_potion", 0.4), "small_fireball": ("fire_charge", 0.4), "fireball": ("fire_charge", 1.0),
    "wither_skull": ("coal_block", 0.32), "shulker_bullet": ("purpur_block", 0.3), "fangs": ("bone_block", 0.6),
}  # fmt: skip
"""What flies → the item it looks like, and its size in blocks."""


def add_shot(prims: Prims, shot: Shot, light: tuple[float, float, float]) -> None:
    """Add what flies: flat things along their way, head first."""
    item, size = _SHOTS[shot.kind]
    if shot.kind == "fangs":
        add_item(prims, item, (shot.x, shot.y + size / 2, shot.z), turned(0.0), size, light)
        return
    # an icon's head is its upper right corner: the corner points ahead when x and y are half ahead, half across
    flat = math.hypot(shot.vx, shot.vz)
    ahead = np.array([shot.vx, shot.vy, shot.vz]) / max(1e-9, math.hypot(flat, shot.vy))
    side = np.array([shot.vz, 0.0, -shot.vx]) / flat if flat > 1e-9 else np.array([1.0, 0.0, 0.0])
    up = np.cross(ahead, side)
    half = math.sqrt(0.5)
    turn = np.array([half * (ahead + up), half * (ahead - up), side]) if item == "arrow" else turned(0.05 * shot.age)
    add_item(prims, item, (shot.x, shot.y, shot.z), turn, size, light)


def arm_texture() -> int:
    """Return the texture of the player's arm."""
    at = ATLAS.known("arm")
    return ATLAS.add("arm", paint.done(paint.grain((198, 150, 118), "arm", 0.08, 0.06))) if at is None else at
