"""Painting 16×16 textures by rule: colours by word, noise by name. Nothing is read from a file of pictures.

A picture is float64 [16, 16, 3 or 4], values 0…255, row 0 at the top; alpha of what has none is 255.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float64]
Layer = NDArray[np.uint8]
"""A screen that pictures are put on: [height, width, 4], alpha premultiplied."""
Colour = tuple[float, float, float]
SIZE = 16
_Y, _X = np.mgrid[0:SIZE, 0:SIZE]

DYES: dict[str, Colour] = {
    "white": (228, 230, 232), "orange": (232, 120, 26), "magenta": (186, 70, 178), "light_blue": (84, 172, 216),
    "yellow": (242, 196, 48), "lime": (116, 182, 36), "pink": (234, 144, 172), "gray": (72, 76, 80),
    "light_gray": (146, 146, 140), "cyan": (32, 138, 148), "purple": (124, 48, 172), "blue": (56, 62, 160),
    "brown": (116, 74, 44), "green": (88, 112, 30), "red": (162, 42, 36), "black": (26, 26, 32),
}  # fmt: skip
WOODS: dict[str, tuple[Colour, Colour, Colour]] = {
    "oak": ((164, 132, 80), (104, 82, 50), (82, 130, 46)),
    "spruce": ((116, 86, 50), (62, 42, 24), (64, 102, 66)),
    "birch": ((196, 178, 124), (214, 212, 204), (112, 148, 66)),
    "jungle": ((162, 116, 82), (88, 70, 28), (58, 140, 30)),
    "acacia": ((170, 92, 52), (106, 98, 88), (104, 142, 40)),
    "dark_oak": ((70, 46, 24), (62, 48, 28), (66, 112, 38)),
    "crimson": ((104, 50, 72), (94, 28, 36), (126, 8, 10)),
    "warped": ((44, 106, 100), (58, 60, 80), (24, 122, 124)),
}
"""Wood → colours of planks, bark and leaves."""
STONES: dict[str, Colour] = {
    "polished_blackstone": (56, 52, 60), "blackstone": (44, 38, 44), "end_stone": (220, 222, 162), "stone": (126, 126, 126),
    "granite": (152, 106, 86), "diorite": (190, 190, 192), "andesite": (138, 138, 138), "cobblestone": (120, 120, 120),
    "red_sandstone": (186, 100, 36), "sandstone": (218, 204, 156), "red_sand": (190, 102, 34), "sand": (220, 208, 162),
    "red_nether_brick": (72, 10, 12), "nether_brick": (48, 24, 28), "netherrack": (100, 40, 40), "quartz": (236, 230, 224),
    "purpur": (170, 126, 170), "dark_prismarine": (54, 94, 78), "prismarine": (98, 158, 148), "basalt": (76, 76, 80),
    "obsidian": (22, 16, 34), "bedrock": (84, 84, 84), "brick": (152, 96, 82), "terracotta": (152, 94, 68),
    "bone": (226, 222, 200), "clay": (160, 166, 178), "gravel": (132, 126, 124), "soul_sand": (82, 62, 50),
    "soul_soil": (76, 58, 46), "magma": (142, 66, 30), "glowstone": (198, 146, 82), "dirt": (134, 96, 66),
    "podzol": (92, 62, 24), "mycelium": (112, 100, 104), "snow": (244, 250, 252), "ice": (146, 180, 244),
    "sponge": (196, 192, 74), "lantern": (230, 210, 150), "slime": (110, 192, 90), "honey": (248, 180, 46),
}  # fmt: skip
METALS: dict[str, Colour] = {
    "iron": (218, 218, 218), "gold": (248, 208, 62), "diamond": (98, 232, 222), "emerald": (42, 204, 88),
    "lapis": (34, 68, 170), "redstone": (176, 24, 8), "coal": (38, 38, 38), "netherite": (68, 60, 64),
    "quartz": (232, 222, 212), "ancient": (98, 66, 58),
}  # fmt: skip
ACCENTS: dict[str, Colour] = {
    "dandelion": (250, 220, 52), "poppy": (214, 42, 30), "blue_orchid": (46, 172, 244), "allium": (184, 120, 236),
    "azure_bluet": (236, 238, 232), "red_tulip": (222, 52, 36), "orange_tulip": (238, 138, 42), "white_tulip": (240, 240, 236),
    "pink_tulip": (238, 176, 214), "oxeye_daisy": (244, 244, 240), "cornflower": (78, 104, 232), "wither_rose": (40, 36, 34),
    "lily_of_the_valley": (248, 248, 248), "sunflower": (248, 200, 40), "lilac": (206, 150, 208), "rose_bush": (212, 36, 32),
    "peony": (236, 188, 226), "crimson": (150, 20, 28), "warped": (30, 150, 136), "brown": (152, 110, 82), "red": (214, 44, 40),
}  # fmt: skip
LEAF: Colour = (78, 138, 46)


@cache
def noise(key: str) -> Picture:
    """Return values in 0…1 [16, 16] drawn by a hash of the key: the same in every process."""
    mixed = (_X * 0x9E3779B1 + _Y * 0x85EBCA77 + zlib.crc32(key.encode())).astype(np.uint64) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        mixed = ((mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    out: Picture = mixed / 2.0**32
    return out


def smooth(key: str, cells: int = 4) -> Picture:
    """Return noise that varies over ``cells`` pixels and tiles."""
    coarse = noise(key)[::1, ::1][: SIZE // cells, : SIZE // cells]
    at = (np.arange(SIZE) / cells) % (SIZE // cells)
    low = at.astype(int)
    high, part = (low + 1) % (SIZE // cells), at - low
    rows = coarse[low] * (1 - part)[:, None] + coarse[high] * part[:, None]
    out: Picture = rows[:, low] * (1 - part) + rows[:, high] * part
    return out


def flat(colour: Sequence[float]) -> Picture:
    """Return one colour."""
    return np.broadcast_to(np.asarray(colour, dtype=np.float64), (SIZE, SIZE, 3)).copy()


def shade(picture: Picture, factor: Picture | float) -> Picture:
    """Return a picture times a factor per pixel."""
    return picture * (factor[..., None] if isinstance(factor, np.ndarray) else factor)


def grain(colour: Sequence[float], key: str, fine: float = 0.2, coarse: float = 0.2) -> Picture:
    """Return a colour with fine and coarse noise: the ground of most textures."""
    return shade(flat(colour), 1 + fine * (noise(key) - 0.5) + coarse * (smooth(key + "~") - 0.5))


def clear() -> Picture:
    """Return a picture with nothing on it, with alpha."""
    return np.zeros((SIZE, SIZE, 4))


def dots(picture: Picture, cells: Sequence[tuple[int, int]], colour: Sequence[float]) -> None:
    """Set pixels (x, y)."""
    for x, y in cells:
        if 0 <= x < SIZE and 0 <= y < SIZE:
            picture[y, x, :3] = colour
            if picture.shape[2] == 4:
                picture[y, x, 3] = 255


def box(picture: Picture, x0: int, y0: int, x1: int, y1: int, colour: Sequence[float]) -> None:
    """Fill a rectangle, ends included."""
    picture[y0 : y1 + 1, x0 : x1 + 1, :3] = colour
    if picture.shape[2] == 4:
        picture[y0 : y1 + 1, x0 : x1 + 1, 3] = 255


def done(picture: Picture) -> NDArray[np.uint8]:
    """Return a picture as bytes [16, 16, 4]."""
    out = np.full((SIZE, SIZE, 4), 255, dtype=np.uint8)
    out[..., : picture.shape[2]] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return out


def named(name: str, table: dict[str, Colour]) -> Colour | None:
    """Return the colour of the longest word of a table that is in a name."""
    found = max((word for word in table if word in name), key=len, default=None)
    return table[found] if found is not None else None


def blit(layer: Layer, x: int, y: int, picture: NDArray[np.uint8]) -> None:
    """Put a picture [h, w, 4] (alpha not premultiplied) on a layer; what is outside is cut."""
    x0, y0 = max(0, -x), max(0, -y)
    picture = picture[y0 : layer.shape[0] - y, x0 : layer.shape[1] - x]
    if not picture.size:
        return
    x, y = x + x0, y + y0
    area = layer[y : y + picture.shape[0], x : x + picture.shape[1]]
    alpha = picture[..., 3:].astype(np.uint16)
    area[..., :3] = (picture[..., :3] * alpha + area[..., :3] * (255 - alpha)) // 255
    area[..., 3:] = alpha + area[..., 3:] * (255 - alpha) // 255
