"""Textures of blocks: each key ``pattern:argument`` is painted by the function of that name."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld.render import paint
from crossagent_craftworld.render.paint import (
    ACCENTS,
    DYES,
    LEAF,
    METALS,
    SIZE,
    STONES,
    WOODS,
    Colour,
    Picture,
    box,
    clear,
    dots,
    flat,
    grain,
    named,
    noise,
    shade,
    smooth,
)

_Y, _X = np.mgrid[0:SIZE, 0:SIZE]


@cache
def texture(key: str) -> NDArray[np.uint8]:
    """Return the texture of a key as [16, 16, 4]; raises ``KeyError`` for an unknown pattern."""
    pattern, _, argument = key.partition(":")
    return paint.done(PATTERNS[pattern](argument))


def colour_of(name: str) -> Colour:
    """Return the main colour of whatever is named so: by dye, wood, stone, metal, else by a hash."""
    for table in (STONES, METALS, {wood: tones[0] for wood, tones in WOODS.items()}, DYES, ACCENTS):
        found = named(name, table)
        if found is not None:
            return found
    hue = noise(name)[0]
    return (90 + 110 * hue[0], 90 + 110 * hue[1], 90 + 110 * hue[2])


# -- ground and stone -------------------------------------------------------------------------------------------------
def _plain(name: str) -> Picture:
    return grain(colour_of(name), name)


def _fine(name: str) -> Picture:
    return grain(colour_of(name), name, 0.1, 0.06)


def _stone(name: str) -> Picture:
    lines = np.where(smooth(name + "/", 2) > 0.72, 0.88, 1.0)
    return shade(grain(colour_of(name), name, 0.1, 0.14), lines)


def _grass_side(name: str) -> Picture:
    top = {"podzol": (96, 66, 28), "mycelium": (116, 102, 112), "snow": (244, 250, 252), "crimson": (132, 26, 28)}
    top |= {"warped": (40, 118, 104), "path": (150, 122, 66)}
    soil = "netherrack" if name in ("crimson", "warped") else "dirt"
    green = grain(top.get(name, (98, 148, 58)), name + "top", 0.3, 0.2)
    depth = 2 + (noise(name + "edge")[0] * 3).astype(int)
    depth[noise("edge" + name)[0] > 0.75] += 1
    return np.where((depth[None, :] > _Y)[..., None], green, grain(STONES[soil], soil, 0.3, 0.25))


def _grass_top(name: str) -> Picture:
    tone = {"podzol": (98, 68, 28), "mycelium": (118, 104, 112), "crimson": (134, 26, 28), "warped": (42, 120, 106)}
    return grain(tone.get(name, (96, 150, 58)), name, 0.32, 0.22)


def _dirt(name: str) -> Picture:
    base = grain(STONES["dirt"], name, 0.28, 0.25)
    base[noise(name + "stones") > 0.94] = (150, 124, 104)
    return base


def _farmland(name: str) -> Picture:
    return shade(grain((104, 68, 42), name, 0.25, 0.2), np.where(_X % 4 == 0, 0.7, np.where(_X % 4 == 1, 0.88, 1.0)))


def _cobble(name: str) -> Picture:
    """Rounded stones: the nearest of a jittered lattice of points, dark where two are equally near."""
    mossy = "mossy" in name
    key = name.replace("mossy_", "")
    jitter = noise(key + "cells")
    points = [
        (4 * i + 2 + 2.6 * (jitter[i, j] - 0.5), 4 * j + 2 + 2.6 * (jitter[j + 5, i + 5] - 0.5), jitter[i + 9, j + 9])
        for i in range(4)
        for j in range(4)
    ]
    dx = np.stack([np.abs(_X - x + 0.0) for x, _, _ in points])
    dy = np.stack([np.abs(_Y - y + 0.0) for _, y, _ in points])
    away = np.hypot(np.minimum(dx, SIZE - dx), np.minimum(dy, SIZE - dy))
    order = np.sort(away, axis=0)
    tone = np.array([0.85 + 0.3 * t for _, _, t in points])[np.argmin(away, axis=0)]
    stone = shade(grain(colour_of(key), key, 0.12, 0.06), tone * np.where(order[1] - order[0] < 0.75, 0.6, 1.0))
    if mossy:
        moss = smooth(name + "moss", 4) > 0.56
        stone[moss] = grain((96, 120, 60), name, 0.3, 0.2)[moss]
    return stone


def _bricks(name: str, width: int = 8, height: int = 4) -> Picture:
    row = _Y // height
    column = (_X + (row % 2) * width // 2) // width
    seam = (_Y % height == height - 1) | ((_X + (row % 2) * width // 2) % width == width - 1)
    tones = noise(name + "bricks")[row % SIZE, column % SIZE]
    base = shade(grain(colour_of(name), name, 0.12, 0.06), 0.88 + 0.24 * tones)
    mortar = 0.55 if name != "bricks" else 1.15
    out = np.where(seam[..., None], flat(colour_of(name)) * mortar, base)
    if "mossy" in name:
        moss = smooth(name + "moss", 4) > 0.6
        out[moss] = grain((96, 120, 60), name, 0.3, 0.2)[moss]
    if "cracked" in name:
        out[(smooth(name + "crack", 2) > 0.5) & (noise(name + "c") > 0.7)] *= 0.5
    return out


def _slabs(name: str) -> Picture:
    """Large cut stones with a bevel: smooth stone, polished stones."""
    out = grain(colour_of(name), name, 0.1, 0.1)
    out[[0, -1]] *= 0.8
    out[:, [0, -1]] *= 0.8
    out[1, 1:-1] *= 1.1
    return out


def _chiseled(name: str) -> Picture:
    out = _slabs(name)
    ring = np.maximum(np.abs(_X - 7.5), np.abs(_Y - 7.5))
    out[(ring > 3) & (ring < 5)] *= 0.72
    out[(ring > 0) & (ring < 1.6)] *= 0.8
    return out


def _sandstone(name: str) -> Picture:
    out = grain(colour_of(name), name, 0.08, 0.08)
    for y, factor in ((0, 1.05), (3, 0.86), (4, 0.92), (9, 0.9), (13, 0.84), (15, 0.8)):
        out[y] *= factor
    return out


def _pillar(name: str) -> Picture:
    out = grain(colour_of(name), name, 0.08, 0.08)
    return shade(out, np.where(_X % 5 == 0, 0.82, np.where(_X % 5 == 1, 1.06, 1.0)))


def _ore(name: str) -> Picture:
    nether = name.startswith("nether")
    key = "netherrack" if nether else "stone"
    base = _rough(key) if nether else _stone(key)
    gem = named(name, METALS) or (200, 200, 200)
    spots = noise(name + "at")
    for i in range(7):
        x, y = int(spots[0, i] * 12) + 1, int(spots[1, i] * 12) + 1
        for dx, dy, light in ((0, 0, 1.25), (1, 0, 1.0), (0, 1, 1.0), (1, 1, 0.75), (2, 1, 0.9), (1, 2, 0.7))[
            : 3 + i % 4
        ]:
            dots(base, [((x + dx) % SIZE, (y + dy) % SIZE)], [min(255, c * light) for c in gem])
        dots(base, [((x - 1) % SIZE, (y + 1) % SIZE)], [c * 0.55 for c in colour_of(key)])
    return base


def _rough(name: str) -> Picture:
    pits = np.where(smooth(name + "pits", 2) > 0.62, 0.72, 1.0)
    return shade(grain(colour_of(name), name, 0.3, 0.2), pits)


def _molten(name: str) -> Picture:
    """Lava, magma: bright veins in dark crust."""
    heat = smooth(name, 4) * 0.6 + smooth(name + "fine", 2) * 0.4
    if name == "lava":
        return np.stack([210 + 45 * heat, 70 + 120 * heat, 10 + 40 * heat], axis=-1)
    crust = grain((86, 40, 28), name, 0.3, 0.2)
    return np.where((np.abs(heat - 0.5) < 0.07)[..., None], flat((238, 132, 36)), crust)


def _bedrock(name: str) -> Picture:
    return shade(flat((96, 96, 96)), 0.35 + 1.1 * smooth(name, 2) * noise(name) + 0.25 * smooth(name + "b", 4))


def _obsidian(name: str) -> Picture:
    base = grain((24, 18, 38), name, 0.5, 0.6)
    veins = np.abs(smooth(name + "v", 4) - 0.5) < 0.05
    base[veins] = (146, 60, 220) if "crying" in name else (60, 44, 92)
    return base


def _ice(name: str) -> Picture:
    tone = {"packed_ice": (142, 180, 246), "blue_ice": (112, 164, 250)}.get(name, (152, 186, 246))
    out = grain(tone, name, 0.06, 0.1)
    streak = np.abs((_X + 2 * _Y + 6 * smooth(name, 4)) % 16 - 8) < 0.8
    out[streak] *= 1.12
    return out


# -- wood and plants --------------------------------------------------------------------------------------------------
def wood_of(name: str) -> str:
    """Return the wood a name begins with or contains; oak when none."""
    return max((w for w in WOODS if w in name), key=len, default="oak")


def _planks(name: str) -> Picture:
    tone = WOODS[name][0]
    board = _Y // 4
    lines = (
        1 + 0.16 * (smooth(name + "grain", 2)[(_Y * 5) % SIZE, _X // 2] - 0.5) + 0.1 * (noise(name)[_Y, _X // 3] - 0.5)
    )
    out = shade(flat(tone), lines * (0.94 + 0.1 * noise(name + "board")[board, 0]))
    out[_Y % 4 == 3] *= 0.72
    joints = (np.array([5, 12, 2, 9])[board] == _X) & (_Y % 4 != 3)
    out[joints] *= 0.76
    return out


def _log(name: str) -> Picture:
    stripped, wood = name.startswith("stripped_"), wood_of(name)
    tone = WOODS[wood][0] if stripped else WOODS[wood][1]
    bark = smooth(name, 2)[(_Y // 3) % SIZE, _X] * 0.6 + noise(name + "col")[0][_X] * 0.4
    out = shade(flat(tone), (0.92 + 0.16 * bark) if stripped else (0.62 + 0.72 * bark))
    if wood == "birch" and not stripped:
        out = grain(tone, name, 0.06, 0.08)
        for i in range(8):
            x, y = int(noise(name + "n")[0, i] * 15), int(noise(name + "n")[1, i] * 15)
            box(out, x, y, min(15, x + 2 + i % 3), y, (58, 54, 50))
    return out


def _rings(name: str) -> Picture:
    wood = wood_of(name)
    ring = np.maximum(np.abs(_X - 7.5), np.abs(_Y - 7.5))
    out = shade(grain(WOODS[wood][0], name, 0.08, 0.06), np.where(ring.astype(int) % 2 == 1, 0.84, 1.04))
    edge = WOODS[wood][0] if name.startswith("stripped_") else WOODS[wood][1]
    out[ring > 6.6] = grain(edge, name + "bark", 0.3, 0.1)[ring > 6.6]
    return out


def _leaves(name: str) -> Picture:
    tone = WOODS[wood_of(name)][2]
    leaf = noise(name) * 0.55 + smooth(name, 2) * 0.45
    out = shade(flat(tone), 0.62 + 0.8 * leaf)
    out[leaf < 0.26] = [c * 0.36 for c in tone]
    return out


def _wart(name: str) -> Picture:
    return shade(grain({"warped": (22, 120, 122)}.get(name, (116, 4, 6)), name, 0.4, 0.2), 1.0)


def _sprout(picture: Picture, x: int, top: int, tone: Colour, lean: int = 0) -> None:
    """One blade of grass or a stem, from the ground up."""
    for y in range(SIZE - 1, top - 1, -1):
        up = (SIZE - 1 - y) / max(1, SIZE - 1 - top)
        dots(picture, [(x + round(lean * up * up), y)], [c * (0.62 + 0.5 * up) for c in tone])


def _blades(name: str) -> Picture:
    """Grass, ferns, roots, kelp: many blades."""
    tones: dict[str, Colour] = {
        "fern": (74, 130, 52), "dead_bush": (112, 80, 40), "seagrass": (42, 112, 48), "kelp": (64, 116, 50),
        "crimson": (134, 18, 24), "warped": (24, 136, 120), "nether_sprouts": (24, 152, 136), "sugar_cane": (146, 190, 106),
        "bamboo": (104, 144, 46), "twisting": (28, 142, 124), "weeping": (122, 16, 20), "vine": (58, 112, 36),
    }  # fmt: skip
    tone = named(name, tones) or (92, 148, 60)
    out = clear()
    values = noise(name + "blade")
    tall = (
        name in ("sugar_cane", "kelp_plant", "kelp", "bamboo", "tall_grass", "tall_seagrass", "vine") or "vines" in name
    )
    for i, x in enumerate(range(2, 15, 2 if not tall else 3)):
        top = 0 if tall else 3 + int(values[0, i] * 8)
        _sprout(out, x, top, [c * (0.85 + 0.3 * values[1, i]) for c in tone], round(4 * (values[2, i] - 0.5)))  # type: ignore[arg-type]
    if name in ("sugar_cane", "bamboo"):
        out[[4, 9, 14], :, :3] *= 0.7
    return out


def _flower(name: str) -> Picture:
    out = clear()
    tone = named(name, ACCENTS) or (230, 230, 230)
    double = name in ("sunflower", "lilac", "rose_bush", "peony")
    for i, (x, top) in enumerate(((7, 5), (4, 2), (11, 3)) if double else ((7, 6),)):
        _sprout(out, x, top + 2, LEAF, (-1, 1, 1)[i] if double else 0)
        petals = [(0, 0), (1, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (2, 0), (1, 2), (2, 1), (-1, 1), (1, -1), (0, 2)]
        if "tulip" in name:
            petals = [(0, 0), (1, 0), (0, 1), (1, 1), (0, -1), (-1, 0), (2, 0), (2, -1), (-1, -1), (0, 2), (1, 2)]
        for k, (dx, dy) in enumerate(petals):
            dots(out, [(x + dx, top + dy)], [min(255, c * (1.1 - 0.035 * k)) for c in tone])
        if name in ("oxeye_daisy", "azure_bluet", "sunflower", "dandelion"):
            dots(
                out,
                [(x, top), (x + 1, top), (x, top + 1), (x + 1, top + 1)],
                (236, 186, 40) if name != "sunflower" else (96, 62, 24),
            )
    dots(out, [(5, 12), (6, 13), (9, 11), (8, 12), (4, 11), (10, 10)], LEAF)
    return out


def _sapling(name: str) -> Picture:
    out = clear()
    leaf, bark = WOODS[wood_of(name)][2], (96, 70, 40)
    for y in range(9, 16):
        dots(out, [(7, y), (8, y)] if y > 12 else [(7, y)], bark)
    crown = (np.hypot(_X - 7.5, (_Y - 6) * 1.1) < 5.2) & (noise(name) > 0.25)
    out[crown, :3] = shade(flat(leaf), 0.7 + 0.6 * noise(name + "l"))[crown]
    out[crown, 3] = 255
    return out


def _mushroom(name: str) -> Picture:
    out = clear()
    cap = named(
        name, {"red": (208, 40, 36), "brown": (150, 112, 84), "crimson": (156, 22, 30), "warped": (26, 152, 136)}
    )
    box(out, 7, 10, 8, 15, (226, 216, 200))
    for y, (a, b) in zip(range(6, 11), ((6, 9), (5, 10), (4, 11), (4, 11), (5, 10)), strict=True):
        box(out, a, y, b, y, [c * (1.1 - 0.06 * (y - 6)) for c in cap or (180, 180, 180)])
    if name != "brown_mushroom":
        dots(out, [(6, 7), (9, 8), (5, 9)], (244, 238, 226))
    return out


def _crop(name: str) -> Picture:
    tones: dict[str, tuple[Colour, Colour]] = {
        "wheat": ((198, 172, 70), (226, 200, 96)), "carrots": ((60, 148, 34), (236, 130, 28)),
        "potatoes": ((78, 146, 56), (200, 170, 84)), "beetroots": ((86, 150, 60), (162, 38, 48)),
        "nether_wart": ((134, 20, 24), (176, 36, 40)), "sweet_berry_bush": ((52, 104, 58), (196, 30, 36)),
    }  # fmt: skip
    stem, fruit = tones.get(name, ((104, 150, 56), (150, 150, 60)))
    out = clear()
    values = noise(name)
    for i, x in enumerate(range(1, 16, 2)):
        top = 3 + int(4 * values[0, i]) if name == "wheat" else 5 + int(5 * values[0, i])
        _sprout(out, x, top, stem, int(3 * (values[1, i] - 0.5)))
        if name == "wheat" or i % 3 == 1:
            dots(out, [(x, top), (x, top + 1), (x + 1, top + 1), (x, top + 2)], fruit)
    return out


def _coral(name: str) -> Picture:
    tone = (132, 124, 120) if name.startswith("dead") else _CORALS[next(c for c in _CORALS if c in name)]
    if "block" in name:
        return grain(tone, name, 0.5, 0.3)
    out = clear()
    for i in range(6):
        x = 2 + 2 * i + int(2 * noise(name)[0, i])
        _sprout(out, x, 3 + int(7 * noise(name)[1, i]), tone, int(4 * (noise(name)[2, i] - 0.5)))
    return out


_CORALS: dict[str, Colour] = {
    "tube": (48, 86, 212), "brain": (208, 92, 160), "bubble": (166, 28, 164), "fire": (166, 38, 48), "horn": (216, 200, 66),
}  # fmt: skip


def _web(name: str) -> Picture:
    out = clear()
    ring = np.maximum(np.abs(_X - 7.5), np.abs(_Y - 7.5)).astype(int)
    lines = (_X == _Y) | (_X + _Y == 15) | (_X == 7) | (_Y == 8) | ((ring % 3 == 2) & (noise(name) > 0.2))
    out[lines] = (228, 230, 232, 255)
    return out


# -- made things ------------------------------------------------------------------------------------------------------
def _wool(name: str) -> Picture:
    weave = np.where((_X + _Y) % 4 < 2, 1.0, 0.92) * np.where(_Y % 4 == 3, 0.92, 1.0)
    return shade(grain(named(name, DYES) or (230, 230, 230), name, 0.12, 0.05), weave)


def _concrete(name: str) -> Picture:
    rough = 0.2 if "powder" in name else 0.03
    return grain(named(name, DYES) or (180, 180, 180), name, rough, rough / 2)


def _terracotta(name: str) -> Picture:
    dye, clay = named(name, DYES), STONES["terracotta"]
    return grain(
        clay if dye is None else [0.5 * a + 0.5 * b * 0.72 for a, b in zip(dye, clay, strict=True)], name, 0.05, 0.05
    )


def _glazed(name: str) -> Picture:
    base, other = named(name, DYES) or (200, 200, 200), noise(name)[0]
    accent = list(DYES.values())[int(other[0] * len(DYES))]
    fold = np.minimum(_X, 15 - _X) * (2 + int(3 * other[1])) + np.minimum(_Y, 15 - _Y) * (2 + int(3 * other[2]))
    out = np.where((fold % 11 < 5)[..., None], flat(base), flat(accent))
    out[(fold % 11 == 0)] = (236, 236, 230)
    return out


def _glass(name: str) -> Picture:
    tone = named(name, DYES)
    out = np.concatenate([flat(tone or (214, 236, 240)), np.full((SIZE, SIZE, 1), 96.0 if tone else 36.0)], axis=-1)
    edge = (_X == 0) | (_Y == 0) | (_X == 15) | (_Y == 15)
    out[edge] = (*(tone or (200, 226, 230)), 235)
    out[((_X + _Y == 7) | (_X + _Y == 9)) & (_X > 1) & (_Y > 1)] = (244, 250, 250, 150)
    return out


def _metal(name: str) -> Picture:
    tone = named(name, METALS) or colour_of(name)
    out = shade(flat(tone), 0.94 + 0.12 * smooth(name, 4))
    out[(_X + _Y) % 8 == 0] *= 1.06
    out[[0, 15]] *= 0.72
    out[:, [0, 15]] *= 0.72
    out[1, 1:15] = np.minimum(255, out[1, 1:15] * 1.22)
    out[1:15, 1] = np.minimum(255, out[1:15, 1] * 1.22)
    return out


def _front(name: str) -> Picture:
    """The side of a block that shows what it is."""
    kind = name.removeprefix("lit_")
    stone = _cobble("cobblestone")
    if kind in ("furnace", "blast_furnace", "smoker"):
        out = _slabs("stone") if kind != "smoker" else _log("spruce_log")
        box(out, 3, 8, 12, 14, (34, 32, 32))
        box(out, 4, 9, 11, 14, (18, 16, 16))
        box(out, 3, 3, 12, 5, (60, 58, 58))
        for x in range(4, 12, 2):
            box(out, x, 3, x, 5, (38, 36, 36))
        if name.startswith("lit_"):
            for x in range(4, 12):
                top = 10 + int(3 * noise(name)[0, x])
                box(out, x, top, x, 14, (240, 150 + 4 * x, 40))
        return out
    if kind in ("dispenser", "dropper", "observer"):
        out = _slabs("stone")
        box(out, 5, 5, 10, 10, (28, 28, 28))
        if kind == "observer":
            dots(out, [(3, 3), (4, 3), (11, 3), (12, 3)], (30, 30, 30))
        return out
    if kind in ("carved_pumpkin", "jack_o_lantern"):
        out = _pumpkin("pumpkin")
        hole = (250, 214, 90) if kind == "jack_o_lantern" else (62, 34, 8)
        for cells in ([(3, 5), (4, 4), (4, 5), (5, 5), (10, 5), (11, 4), (11, 5), (12, 5)],):
            dots(out, cells, hole)
        box(out, 3, 10, 12, 11, hole)
        dots(out, [(4, 9), (8, 9), (11, 9), (5, 12), (9, 12), (10, 12)], hole)
        return out
    if kind in ("bee_nest", "beehive"):
        out = _pillar("honeycomb") if kind == "bee_nest" else _planks("oak")
        box(out, 6, 6, 9, 9, (56, 38, 18))
        return out
    return stone


def _chest(name: str) -> Picture:
    face, _, kind = name.partition("/")
    ender = kind == "ender_chest"
    out = _obsidian("ender") if ender else shade(_planks("oak"), 0.92)
    dark = (18, 30, 30) if ender else (70, 48, 22)
    out[[0, 15]] = dark
    out[:, [0, 15]] = dark
    if face != "top":
        out[5] = dark
    if face == "front":
        box(out, 7, 4, 8, 7, (52, 196, 150) if ender else (190, 186, 176))
        if kind == "trapped_chest":
            box(out, 6, 3, 9, 8, (170, 40, 30))
            box(out, 7, 4, 8, 7, (190, 186, 176))
    return out


def _table(name: str) -> Picture:
    """The crafting table and its relatives."""
    kind, _, face = name.partition("/")
    wood = {"crafting_table": "oak", "cartography_table": "dark_oak", "fletching_table": "birch"}.get(kind, "oak")
    out = _planks(wood) if kind != "smithing_table" or face != "top" else _metal("coal")
    if face == "top":
        box(out, 0, 0, 15, 15, (108, 72, 40)) if kind == "crafting_table" else None
        out[[0, 15]] *= 0.6
        out[:, [0, 15]] *= 0.6
        if kind == "crafting_table":
            for x in range(2, 14):
                for y in range(2, 14):
                    out[y, x] = np.array((176, 138, 88)) * (0.9 + 0.2 * noise("ct")[y, x])
            for at in (2, 6, 10, 13):
                box(out, at, 2, at, 13, (110, 74, 42))
                box(out, 2, at, 13, at, (110, 74, 42))
        elif kind == "cartography_table":
            box(out, 3, 3, 12, 12, (226, 212, 172))
            dots(out, [(5, 5), (6, 6), (7, 6), (8, 8), (9, 9), (10, 8)], (150, 60, 40))
        elif kind == "fletching_table":
            box(out, 3, 7, 12, 8, (120, 84, 40))
            dots(out, [(12, 6), (12, 9), (11, 5), (11, 10)], (230, 230, 230))
        return out
    if kind == "crafting_table":
        box(out, 0, 0, 15, 1, (108, 72, 40))
        for x, y in ((3, 4), (4, 5), (5, 6), (6, 7), (7, 8)):
            dots(out, [(x, y), (x + 1, y)], (84, 60, 34))
        box(out, 2, 4, 5, 5, (182, 182, 182))
        box(out, 10, 5, 12, 9, (196, 196, 196))
        box(out, 10, 10, 12, 13, (92, 62, 34))
    elif kind == "smithing_table":
        box(out, 0, 0, 15, 3, (62, 62, 70))
    elif kind == "cartography_table":
        box(out, 4, 5, 11, 11, (226, 212, 172))
    else:
        box(out, 4, 5, 11, 11, (216, 200, 150))
        box(out, 7, 6, 8, 10, (90, 60, 34))
    return out


def _shelf(name: str) -> Picture:
    out = _planks("oak")
    for top in (2, 9):
        box(out, 1, top, 14, top + 4, (70, 50, 28))
        for x in range(1, 15):
            tone = list(DYES.values())[int(noise("books")[top, x // 2] * 16)]
            box(
                out,
                x,
                top + int(2 * noise("tall")[top, x // 2]),
                x,
                top + 4,
                [c * (0.75 if x % 2 else 0.95) for c in tone],
            )
    return out


def _tnt(name: str) -> Picture:
    out = shade(grain((208, 56, 40), name, 0.06, 0.04), np.where(_X % 4 == 3, 0.76, 1.0))
    if name != "top":
        box(out, 0, 5, 15, 10, (232, 228, 222))
        for x in (2, 7, 11):
            box(out, x, 6, x, 9, (30, 30, 30))
        box(out, 1, 6, 3, 6, (30, 30, 30))
        box(out, 10, 6, 12, 6, (30, 30, 30))
        dots(out, [(6, 6), (6, 7), (6, 8), (6, 9), (8, 7), (9, 8), (9, 6), (9, 7), (9, 9)], (30, 30, 30))
    return out


def _pumpkin(name: str) -> Picture:
    tone = {"melon": (112, 146, 30), "melon_top": (120, 152, 34)}.get(name, (202, 122, 26))
    out = shade(grain(tone, name, 0.1, 0.1), np.where(_X % 4 == 0, 0.74, np.where(_X % 4 == 2, 1.1, 0.96)))
    if name.endswith("top"):
        box(out, 7, 6, 8, 9, (104, 84, 34))
    return out


def _hay(name: str) -> Picture:
    out = shade(grain((200, 164, 34), name, 0.3, 0.1), np.where(_X % 3 == 0, 0.82, 1.0))
    if name != "top":
        out[[3, 4, 11, 12]] = (150, 46, 30)
    return out


def _cactus(name: str) -> Picture:
    out = shade(grain((88, 132, 44), name, 0.1, 0.1), np.where(_X % 4 == 1, 0.7, np.where(_X % 4 == 3, 1.12, 1.0)))
    spikes = (_X % 4 == 1) & (_Y % 4 == 2)
    out[spikes] = (220, 222, 190)
    return out


def _sponge(name: str) -> Picture:
    tone = (150, 152, 62) if name.startswith("wet") else (198, 194, 76)
    return shade(grain(tone, name, 0.15, 0.15), np.where(smooth(name, 2) > 0.66, 0.6, 1.0))


def _lamp(name: str) -> Picture:
    tone = {"glowstone": (250, 206, 122), "sea_lantern": (196, 222, 214), "shroomlight": (246, 152, 76)}.get(
        name, (140, 90, 50)
    )
    out = shade(flat(tone), 0.7 + 0.42 * smooth(name, 4) * 1.2)
    edge = (_X == 0) | (_Y == 0) | (_X == 15) | (_Y == 15)
    out[edge] *= 0.8
    return out


def _door(name: str) -> Picture:
    half, _, kind = name.partition("/")
    out = _metal("iron") if kind.startswith("iron") else _planks(wood_of(kind))
    out[:, [0, 15]] *= 0.62
    if half == "upper":
        for x, y in ((3, 3), (9, 3), (3, 9), (9, 9)):
            box(out, x, y, x + 3, y + 3, (176, 208, 220))
            box(out, x, y, x + 3, y, [c * 0.5 for c in colour_of(kind)])
    else:
        box(out, 3, 4, 12, 4, [c * 0.6 for c in colour_of(kind)])
        box(out, 3, 11, 12, 11, [c * 0.6 for c in colour_of(kind)])
        dots(out, [(13, 1), (13, 2)], (60, 60, 60))
    return out


def _bed(name: str) -> Picture:
    face, _, rest = name.partition("/")
    part, _, kind = rest.partition("/")
    tone = named(kind, DYES) or (180, 40, 40)
    if face == "side":
        out = _planks("oak")
        out[7:12] = grain(tone, kind, 0.08, 0.04)[7:12]
        if part == "head":
            out[7:9] = (232, 232, 232)
        return out
    out = shade(grain(tone, kind, 0.08, 0.04), np.where((_X + _Y) % 4 < 2, 1.0, 0.95))
    if part == "head":
        out[:, :] = np.where((_Y < 6)[..., None], flat((234, 234, 234)), out)
    return out


def _ladder(name: str) -> Picture:
    out = clear()
    for x in (2, 13):
        box(out, x, 0, x + 1, 15, (142, 108, 62))
    for y in (1, 5, 9, 13):
        box(out, 1, y, 15, y + 1, (166, 130, 78))
        box(out, 1, y + 1, 15, y + 1, (120, 90, 50))
    return out


def _bars(name: str) -> Picture:
    out = clear()
    for x in (1, 5, 9, 13):
        box(out, x, 0, x + 1, 15, (136, 138, 140) if x % 2 else (150, 152, 154))
    box(out, 0, 1, 15, 2, (120, 122, 124))
    box(out, 0, 13, 15, 14, (120, 122, 124))
    return out


def _cage(name: str) -> Picture:
    out = grain((20, 30, 40), name, 0.4, 0.2)
    out[(_X % 5 == 0) | (_Y % 5 == 0)] = (48, 62, 76)
    return out


def _rail(name: str) -> Picture:
    out = clear()
    for y in range(1, 16, 4):
        box(out, 1, y, 14, y + 1, (118, 88, 50))
    tone = {"powered_rail": (226, 180, 60), "activator_rail": (150, 50, 40), "detector_rail": (120, 120, 120)}.get(
        name, (150, 150, 150)
    )
    for x in (3, 12):
        box(out, x, 0, x, 15, tone)
    if name != "rail":
        box(out, 7, 0, 8, 15, (170, 30, 20))
    return out


def _wire(name: str) -> Picture:
    out = clear()
    at = ((np.abs(_X - 7.5) < 2) | (np.abs(_Y - 7.5) < 2)) & (noise(name) > 0.3)
    out[at] = (170, 14, 6, 255)
    return out


def _lily(name: str) -> Picture:
    out = clear()
    leaf = (np.hypot(_X - 7.5, _Y - 7.5) < 7.2) & ~((_X > 7) & (np.abs(_Y - 7.5) < (_X - 7) * 0.4))
    out[leaf, :3] = grain((36, 128, 44), name, 0.2, 0.2)[leaf]
    out[leaf, 3] = 255
    return out


def _torch(name: str) -> Picture:
    """A stick from side to side: the box that it is drawn on is thin, and shows the rows from 6 down."""
    flame = {"soul": (90, 220, 230), "redstone": (230, 40, 20)}.get(name, (255, 214, 92))
    out = grain((126, 94, 54), "stick", 0.2, 0.1)
    out[:9] = flame
    out[:8] = [min(255, c * 1.15) for c in flame]
    return out


def _fire(name: str) -> Picture:
    out = clear()
    for x in range(16):
        top = 2 + int(9 * noise(name)[0, x] * (0.5 + abs(x - 7.5) / 12))
        for y in range(top, 16):
            heat = (y - top) / (16 - top)
            hot = (
                (80 + 120 * heat, 210 + 30 * heat, 230)
                if name == "soul"
                else (238, 110 + 130 * heat, 20 + 120 * heat * heat)
            )
            dots(out, [(x, y)], hot)
    return out


def _portal(name: str) -> Picture:
    swirl = smooth(name, 4) * 0.6 + smooth(name + "b", 2) * 0.4
    tone = {"end": (14, 26, 30)}.get(name)
    if tone is not None:
        out = flat(tone)
        out[noise(name) > 0.93] = (90, 200, 180)
        return out
    return np.concatenate([shade(flat((120, 30, 220)), 0.55 + swirl), np.full((SIZE, SIZE, 1), 190.0)], axis=-1)


def _water(name: str) -> Picture:
    ripple = smooth("water", 4) * 0.7 + smooth("ripple", 2) * 0.3
    return np.concatenate([shade(flat((54, 98, 214)), 0.86 + 0.3 * ripple), np.full((SIZE, SIZE, 1), 150.0)], axis=-1)


def _machine(name: str) -> Picture:
    """Pistons, hoppers, cauldrons, anvils and other worked iron and stone."""
    tone: Colour = named(name, {"anvil": (74, 74, 76), "cauldron": (62, 62, 64), "hopper": (70, 70, 74), "bell": (236, 196, 62),
                                "piston": (150, 146, 138), "grindstone": (142, 142, 142), "stonecutter": (124, 122, 120),
                                "chain": (62, 70, 86), "conduit": (160, 144, 118), "brewing": (122, 116, 106),
                                "lodestone": (150, 150, 154), "respawn": (52, 20, 88)}) or (110, 110, 112)  # fmt: skip
    out = grain(tone, name, 0.08, 0.12)
    out[[0, 15]] *= 0.78
    out[:, [0, 15]] *= 0.78
    out[2, 2:14] *= 1.15
    return out


def _piston(name: str) -> Picture:
    out = _planks("oak")
    out[[0, 15]] *= 0.6
    out[:, [0, 15]] *= 0.6
    if name == "sticky":
        box(out, 3, 3, 12, 12, (116, 186, 84))
    return out


def _barrel(name: str) -> Picture:
    out = shade(_planks("spruce").transpose(1, 0, 2), 1.05) if name == "side" else _rings("stripped_spruce_log")
    if name == "side":
        out[[2, 13]] = (78, 78, 80)
    return out


def _loom(name: str) -> Picture:
    out = _planks("oak")
    if name == "front":
        box(out, 3, 3, 12, 12, (222, 212, 190))
        for x in range(4, 12, 2):
            box(out, x, 3, x, 12, (176, 160, 130))
    return out


def _cake(name: str) -> Picture:
    out = flat((236, 230, 222)) if name == "top" else grain((160, 92, 44), name, 0.1, 0.1)
    if name == "top":
        dots(out, [(3, 4), (9, 3), (12, 9), (5, 11), (8, 8)], (206, 42, 42))
    else:
        out[:8] = (238, 232, 226)
        out[8, ::3] = (238, 232, 226)
    return out


def _enchant(name: str) -> Picture:
    out = _obsidian("obsidian")
    if name == "top":
        out[2:14, 2:14] = (128, 28, 34)
        box(out, 5, 5, 10, 10, (60, 214, 206))
        box(out, 6, 6, 9, 9, (216, 200, 160))
    else:
        out[:3] = (128, 28, 34)
        box(out, 0, 0, 2, 3, (60, 214, 206))
        box(out, 13, 0, 15, 3, (60, 214, 206))
    return out


def _banner(name: str) -> Picture:
    return grain(named(name, DYES) or (230, 230, 230), name, 0.06, 0.04)


def _skull(name: str) -> Picture:
    tone: Colour = named(name, {"wither": (54, 54, 54), "zombie": (84, 130, 72), "creeper": (96, 176, 84), "dragon": (34, 32, 36),
                                "player": (188, 140, 112)}) or (198, 198, 194)  # fmt: skip
    out = grain(tone, name, 0.12, 0.1)
    box(out, 2, 7, 5, 9, (24, 24, 24))
    box(out, 10, 7, 13, 9, (24, 24, 24))
    box(out, 5, 12, 10, 13, (40, 40, 40))
    return out


def _scaffold(name: str) -> Picture:
    out = clear()
    box(out, 0, 0, 15, 1, (188, 160, 86))
    for x in (0, 14):
        box(out, x, 0, x + 1, 15, (204, 178, 100))
    box(out, 0, 14, 15, 15, (188, 160, 86))
    return out


def _dragon_egg(name: str) -> Picture:
    out = grain((14, 8, 20), name, 0.5, 0.4)
    out[noise(name) > 0.9] = (58, 14, 76)
    return out


def _target(name: str) -> Picture:
    ring = np.maximum(np.abs(_X - 7.5), np.abs(_Y - 7.5)).astype(int)
    return np.where(
        ((ring // 2) % 2 == 0)[..., None],
        grain((224, 72, 60), name, 0.06, 0.04),
        grain((232, 222, 214), name, 0.06, 0.04),
    )


def _slime(name: str) -> Picture:
    tone = (112, 196, 92) if name == "slime" else (250, 184, 52)
    out = np.concatenate([flat(tone), np.full((SIZE, SIZE, 1), 170.0)], axis=-1)
    ring = np.maximum(np.abs(_X - 7.5), np.abs(_Y - 7.5))
    out[ring < 5.2] = (*[c * 0.8 for c in tone], 235)
    return out


def _command(name: str) -> Picture:
    out = grain(named(name, {"chain": (130, 176, 156), "repeating": (112, 92, 168), "structure": (90, 74, 92),
                             "jigsaw": (96, 80, 96)}) or (176, 128, 100), name, 0.2, 0.1)  # fmt: skip
    box(out, 4, 4, 11, 11, (200, 190, 180))
    box(out, 6, 6, 9, 9, (60, 60, 60))
    return out


PATTERNS = {
    "plain": _plain, "fine": _fine, "stone": _stone, "grass_side": _grass_side, "grass_top": _grass_top, "dirt": _dirt,
    "farmland": _farmland, "cobble": _cobble, "bricks": _bricks, "slabs": _slabs, "chiseled": _chiseled,
    "sandstone": _sandstone, "pillar": _pillar, "ore": _ore, "rough": _rough, "molten": _molten, "bedrock": _bedrock,
    "obsidian": _obsidian, "ice": _ice, "planks": _planks, "log": _log, "rings": _rings, "leaves": _leaves, "wart": _wart,
    "blades": _blades, "flower": _flower, "sapling": _sapling, "mushroom": _mushroom, "crop": _crop, "coral": _coral,
    "web": _web, "wool": _wool, "concrete": _concrete, "terracotta": _terracotta, "glazed": _glazed, "glass": _glass,
    "metal": _metal, "front": _front, "chest": _chest, "table": _table, "shelf": _shelf, "tnt": _tnt, "pumpkin": _pumpkin,
    "hay": _hay, "cactus": _cactus, "sponge": _sponge, "lamp": _lamp, "door": _door, "bed": _bed, "ladder": _ladder,
    "bars": _bars, "cage": _cage, "rail": _rail, "wire": _wire, "lily": _lily, "torch": _torch, "fire": _fire,
    "portal": _portal, "water": _water, "machine": _machine, "piston": _piston, "barrel": _barrel, "loom": _loom,
    "cake": _cake, "enchant": _enchant, "banner": _banner, "skull": _skull, "scaffold": _scaffold,
    "dragon_egg": _dragon_egg, "target": _target, "slime": _slime, "command": _command,
}  # fmt: skip
