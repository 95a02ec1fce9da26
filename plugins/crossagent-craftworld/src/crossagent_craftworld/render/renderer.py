"""The picture of a world as its player sees it: :class:`Renderer`."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld.grid import Grid
from crossagent_craftworld.palette import FLUID
from crossagent_craftworld.render import kernel, models, sprites
from crossagent_craftworld.render.atlas import ATLAS
from crossagent_craftworld.render.hud import Hud
from crossagent_craftworld.render.paint import smooth
from crossagent_minecraft_data.windows import SCREEN

if TYPE_CHECKING:
    from crossagent_craftworld.world import World

Floats = NDArray[np.float64]
FOV = 70.0
"""Degrees from the top to the bottom of the picture, as MineRL and Minecraft set it."""
DAY = 24000
"""Ticks."""
_SWING_TICKS = 6
_WATER, _LAVA = 1, 2


class Renderer:
    """Draws pictures of one size. A picture depends on the world's state alone.

    The picture is always the 640×360 screen, 70° high and 16:9 wide; another size is that screen sampled at other
    places, so that a share of the width or height means the same thing in every size.
    """

    def __init__(self, size: tuple[int, int] = SCREEN) -> None:
        """``size``: width and height in pixels."""
        self.size = size
        width, height = size
        self.depth = np.full((height, width), kernel.FAR)
        """[height, width] of the last picture: blocks from the eye along the pixel's ray, :data:`kernel.FAR` for the sky."""
        self.picked = np.zeros((height, width), dtype=np.int32)
        """[height, width] of the last picture: index in the grid of the block seen, −1 sky or fluid, −2 mob or stack."""
        self._near = np.full((height, width), kernel.FAR)
        self._hud = Hud()
        self._layer: tuple[Any, NDArray[np.uint8]] | None = None
        self._light, self._queue = np.zeros((0, 0, 0), dtype=np.uint8), np.zeros(0, dtype=np.int32)
        self._lit: tuple[Grid, int] | None = None
        """The grid, and its version, that the light is of."""
        self._top = 0
        """Layers of the grid that have a block, or lie under one: above there is air alone."""
        tall = math.tan(math.radians(FOV / 2))
        self._tans = np.array([tall * SCREEN[0] / SCREEN[1], tall])

    def render(self, world: World) -> NDArray[np.uint8]:
        """Return the picture [height, width, 3] of a world."""
        grid = world.grid
        light = self._lighting(grid)
        eye, frame = np.array(world.eye()) - grid.origin, _frame(world)
        look, lut, fog = _surroundings(world, eye)
        colour = np.zeros((self.size[1], self.size[0], 3), dtype=np.uint8)
        self.depth.fill(kernel.FAR)
        self._boxes(self._entities(world, light, lut), eye, frame, self.depth, colour)
        self.blocks(grid, eye, frame, look, lut, fog, _marked(world), colour)
        if world.inventory.window is None and not world.dead:
            self._near.fill(kernel.FAR)
            self._boxes(_hand(world, eye, frame, _light_at(light, lut, eye)), eye, frame, self._near, colour)
        if world.hurt > 5 or world.dead:
            share = 0.45 if world.dead else 0.05 * (world.hurt - 5)
            colour[:] = colour * (1.0 - share) + np.array([150.0, 12.0, 8.0]) * share
        kernel.lay_over(self._overlay(world), colour)
        return colour

    def blocks(
        self, grid: Grid, eye: Floats, frame: Floats, look: Floats, lut: Floats, fog: Floats, marked: NDArray[np.int64],
        colour: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        """Draw a grid's blocks into ``colour``, :attr:`depth` and :attr:`picked`; arguments as :func:`kernel.cast` has them."""
        light = self._lighting(grid)
        kernel.cast(
            np.frombuffer(grid.blocks, dtype=np.uint16), grid.size[0], self._top, grid.size[2],
            ATLAS.kind, ATLAS.faces, ATLAS.first, ATLAS.count, ATLAS.boxes, ATLAS.texels, light, lut,
            eye, frame, self._tans, look, fog, marked, _CRACKS, *self.size, self.depth, colour, self.picked,
        )  # fmt: skip

    def _boxes(self, prims: models.Prims, eye: Floats, frame: Floats, depth: Floats, colour: NDArray[np.uint8]) -> None:
        if prims.boxes:
            kernel.entities(*prims.arrays(), ATLAS.texels, eye, frame, self._tans, *self.size, depth, colour)

    def warm(self) -> None:
        """Compile what draws, or load it from numba's cache: some seconds on a machine where it never ran."""
        colour, grid = np.zeros((self.size[1], self.size[0], 3), dtype=np.uint8), Grid(array("H", [0]), (1, 1, 1))
        prims = models.Prims()
        prims.add(models.BOX, (0.0, 0.0, 9.0), (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), np.eye(3), (0,) * 6, (1.0, 1.0, 1.0))
        self._boxes(prims, np.zeros(3), np.eye(3), self._near, colour)
        fog, nothing = np.array([1.0, 2.0]), np.full(4, -1)
        self.blocks(grid, np.zeros(3), np.eye(3), np.zeros(17), np.ones((256, 3)), fog, nothing, colour)
        layer = np.zeros((2, 2, 4), dtype=np.uint8)
        kernel.resize(layer, layer[:1, :1].copy())
        kernel.lay_over(layer, colour[:2, :2].copy())

    def _overlay(self, world: World) -> NDArray[np.uint8]:
        key = self._hud.key(world)
        if self._layer is None or self._layer[0] != key:
            layer = self._hud.draw(world)
            if self.size != SCREEN:
                small = np.zeros((self.size[1], self.size[0], 4), dtype=np.uint8)
                kernel.resize(layer, small)
                layer = small
            self._layer = (key, layer)
        return self._layer[1]

    def _lighting(self, grid: Grid) -> NDArray[np.uint8]:
        """Return the light of a grid, spread anew when a block has changed."""
        ATLAS.update()
        sx, sy, sz = grid.size
        shape = (sy + 2, sz + 2, sx + 2)
        if self._light.shape != shape:
            self._light, self._queue = np.zeros(shape, dtype=np.uint8), np.zeros(4 * sx * sy * sz, dtype=np.int32)
            self._lit = None
        if self._lit is None or self._lit[0] is not grid or self._lit[1] != grid.version:
            blocks = np.frombuffer(grid.blocks, dtype=np.uint16)
            kernel.spread_light(blocks, sx, sy, sz, ATLAS.clear, ATLAS.glow, self._light, self._queue)
            self._lit = (grid, grid.version)
            self._top = int(np.flatnonzero(blocks.reshape(sy, -1).any(axis=1)).max(initial=0)) + 1
        return self._light

    def _entities(self, world: World, light: NDArray[np.uint8], lut: Floats) -> models.Prims:
        prims = models.Prims()
        ox, oy, oz = world.grid.origin
        for mob in world.mobs:
            b = mob.body
            models.add_mob(prims, mob, world.time, _light_at(light, lut, (b.x - ox, b.y + b.height / 2 - oy, b.z - oz)))
        for drop in world.drops:
            b = drop.body
            lift = 0.14 + 0.05 * math.sin(drop.age * 0.1)
            tone = _light_at(light, lut, (b.x - ox, b.y + 0.2 - oy, b.z - oz))
            turn = models.turned(drop.age * 0.05)
            size = 0.25 if sprites.is_cube(drop.item) else 0.4
            for i in range(1 + (drop.count > 1) + (drop.count > 16)):
                at = (b.x + 0.06 * i, b.y + lift + 0.02 + 0.05 * i, b.z + 0.05 * i)
                models.add_item(prims, drop.item, at, turn, size, tone)
        for shot in world.shots:
            models.add_shot(prims, shot, _light_at(light, lut, (shot.x - ox, shot.y - oy, shot.z - oz)))
        if (ox, oy, oz) != (0, 0, 0):
            prims.boxes = [(k, x - ox, y - oy, z - oz, *rest) for k, x, y, z, *rest in prims.boxes]
        return prims


def _frame(world: World) -> Floats:
    """Return rows right, up, forward."""
    forward = world.view()
    sin, cos = world.yaw_sin_cos()
    right = (-cos, 0.0, -sin)
    up = (
        right[1] * forward[2] - right[2] * forward[1],
        right[2] * forward[0] - right[0] * forward[2],
        right[0] * forward[1] - right[1] * forward[0],
    )
    return np.array([right, up, forward])


def _light_at(light: NDArray[np.uint8], lut: Floats, at: Any) -> tuple[float, float, float]:
    y, z, x = (
        min(max(math.floor(value) + 1, 0), side - 1)
        for value, side in zip((at[1], at[2], at[0]), light.shape, strict=True)
    )
    tone = lut[light[y, z, x]]
    return float(tone[0]), float(tone[1]), float(tone[2])


def daylight(daytime: int) -> tuple[float, float]:
    """Return (angle of the sun from straight up in radians, brightness of the sky 0…1), as in vanilla."""
    part = (daytime / DAY - 0.25) % 1.0
    part += (1.0 - (math.cos(part * math.pi) + 1.0) / 2.0 - part) / 3.0
    angle = part * math.tau
    return angle, min(1.0, max(0.0, math.cos(angle) * 2.0 + 0.5))


_LEVELS = np.arange(256)
_SKY_LEVEL = ((_LEVELS >> 4) / 15.0) / (4.0 - 3.0 * (_LEVELS >> 4) / 15.0)
_BLOCK_LEVEL = ((_LEVELS & 15) / 15.0) / (3.0 - 2.0 * (_LEVELS & 15) / 15.0)
"""Brightness of a level; of lamps more evenly than vanilla's, so that a torch lights what it stands among."""
_TORCHLIGHT = np.array([1.0, 0.88, 0.7])
_NIGHT, _NOON = np.array([0.16, 0.18, 0.28]), np.array([1.0, 1.0, 1.0])


def _surroundings(world: World, eye: Floats) -> tuple[Floats, Floats, Floats]:
    """Return what :func:`kernel.sky` looks like now, the factor of each light value, and the fog's distances."""
    angle, day = daylight(world.daytime())
    sky_tone = _NIGHT + (_NOON - _NIGHT) * day
    lit = np.maximum(_SKY_LEVEL[:, None] * sky_tone, _BLOCK_LEVEL[:, None] * _TORCHLIGHT)
    lut = 0.12 + 0.88 * lit
    look = np.zeros(17)
    zenith = np.array([6.0, 8.0, 18.0]) + np.array([104.0, 152.0, 230.0]) * day
    horizon = np.array([14.0, 18.0, 32.0]) + np.array([170.0, 192.0, 214.0]) * day
    low = max(0.0, 1.0 - abs(math.cos(angle)) / 0.42)
    horizon += low * np.array([52.0, -14.0, -60.0]) * (0.35 + 0.4 * (1 - day))
    far = float(max(world.grid.size[0], world.grid.size[2]))
    fog = np.array([0.55 * far, 1.15 * far])
    inside = FLUID[world.grid.get(*(math.floor(c) for c in world.eye()))]
    if inside:
        tone = (
            np.array([26.0, 58.0, 140.0]) * (0.25 + 0.75 * day) if inside == _WATER else np.array([200.0, 70.0, 10.0])
        )
        zenith, horizon = tone, tone
        fog = np.array([0.0, 16.0 if inside == _WATER else 2.0])
    look[0:3], look[3:6] = np.clip(zenith, 0, 255), np.clip(horizon, 0, 255)
    look[6:9] = -math.sin(angle), math.cos(angle), 0.0
    look[9] = 0.0 if inside else max(0.0, 1.0 - 1.6 * day)
    look[10:13] = eye
    look[13], look[14], look[15] = 0.0 if inside else 0.25 + 0.75 * day, world.time * 0.03, day
    look[16] = 52.0 + 200.0 * day
    return look, lut, fog


def _marked(world: World) -> NDArray[np.int64]:
    """Return the cell under the crosshair and the stage of its cracks."""
    hit = world.crosshair() if world.inventory.window is None else None
    if hit is None or hit.mob is not None:
        return np.array([-1, -1, -1, -1])
    stage = -1
    if world.dig.progress > 0 and world.dig.cell == hit.cell:
        stage = min(9, int(world.dig.progress * 10))
    cell = [c - o for c, o in zip(hit.cell, world.grid.origin, strict=True)]
    return np.array([*cell, stage])


def _cracks() -> NDArray[np.int64]:
    """Return the stage from which each texel of a face is cracked: lines that grow out of the middle."""
    y, x = np.mgrid[0:16, 0:16]
    line = np.minimum(np.abs(smooth("crack", 4) - 0.5), np.abs(smooth("crack2", 4) - 0.48)) * 30
    return np.where(line < 1.6, np.hypot(x - 7.5, y - 7.5) * 0.85, 99).astype(np.int64)


_CRACKS = _cracks()


def _hand(world: World, eye: Floats, frame: Floats, light: tuple[float, float, float]) -> models.Prims:
    """Return the arm, or what is held, in front of the eye."""
    prims = models.Prims()
    held = world.inventory.held()
    swing = world.swing / _SWING_TICKS if world.swing < _SWING_TICKS else 0.0
    if world.dig.progress > 0:
        swing = world.time % _SWING_TICKS / _SWING_TICKS
    lift = math.sin(math.sqrt(swing) * math.pi)
    walk = min(1.0, 5.0 * math.hypot(world.body.vx, world.body.vz)) if world.body.on_ground else 0.0
    sway, bob = 0.02 * walk * math.sin(world.time * 0.45), 0.02 * walk * abs(math.cos(world.time * 0.45))

    def place(x: float, y: float, z: float) -> tuple[float, float, float]:
        # in the camera's frame: right, up, forward
        p = eye + (x + sway) * frame[0] + (y - bob) * frame[1] + z * frame[2]
        return float(p[0]), float(p[1]), float(p[2])

    if held is None:
        turn = _spun(frame, 0.35 - 0.5 * lift, -0.9 + 0.5 * lift, 0.25)
        at = place(0.52 - 0.22 * lift, -0.5 + 0.1 * lift, 0.72)
        prims.add(models.BOX, at, (-0.1, -0.1, -0.5, 0.1, 0.1, 0.24), turn, (models.arm_texture(),) * 6, light)
        return prims
    if sprites.is_cube(held[0]):
        turn = _spun(frame, math.radians(45), -0.12 - 0.7 * lift, 0.0)
        models.add_item(prims, held[0], place(0.62 - 0.3 * lift, -0.5 - 0.1 * lift, 0.9), turn, 0.42, light)
    else:
        turn = _spun(frame, math.radians(118), -0.05, math.radians(-12 - 60 * lift))
        models.add_item(prims, held[0], place(0.62 - 0.28 * lift, -0.3 - 0.04 * lift, 0.86), turn, 0.5, light)
    return prims


def _spun(frame: Floats, yaw: float, pitch: float, roll: float) -> Floats:
    """Return the camera's axes turned about up, then right, then forward."""
    x, y, z = frame
    x, z = math.cos(yaw) * x + math.sin(yaw) * z, -math.sin(yaw) * x + math.cos(yaw) * z
    y, z = math.cos(pitch) * y + math.sin(pitch) * z, -math.sin(pitch) * y + math.cos(pitch) * z
    x, y = math.cos(roll) * x + math.sin(roll) * y, -math.sin(roll) * x + math.cos(roll) * y
    return np.array([x, y, z])
