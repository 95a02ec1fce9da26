"""Every texture in use, with its smaller versions, and every block state's shape, as arrays that the kernel reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld.palette import STATES
from crossagent_craftworld.render import blockart, shapes
from crossagent_minecraft_data.blocks import Box

TEXELS = 256 + 64 + 16 + 4 + 1
"""Of one texture: 16×16, 8×8, 4×4, 2×2, 1×1, one after the other."""


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a texture [16, 16, 4] with its halvings as [:data:`TEXELS`, 4]; colours are weighted with alpha."""
    levels = [picture.reshape(-1, 4)]
    now = picture.astype(np.float64)
    while now.shape[0] > 1:
        half = now.shape[0] // 2
        blocks = now.reshape(half, 2, half, 2, 4)
        alpha = blocks[..., 3:].sum(axis=(1, 3))
        colour = (blocks[..., :3] * blocks[..., 3:]).sum(axis=(1, 3)) / np.maximum(alpha, 1e-9)
        colour = np.where(alpha > 0, colour, 0.0)
        now = np.concatenate([colour, alpha / 4], axis=-1)
        levels.append((now + 0.5).astype(np.uint8).reshape(-1, 4))
    return np.concatenate(levels)


class Atlas:
    """Grows as states, mobs and items turn up; indices stay what they are."""

    def __init__(self) -> None:
        self.texels = np.zeros((64, TEXELS, 4), dtype=np.uint8)
        """[texture, texel, RGBA]."""
        self._index: dict[str, int] = {}
        self.states = 0
        """Number of block states below."""
        self.kind = np.zeros(0, dtype=np.uint8)
        """[state] one of :mod:`shapes`' kinds."""
        self.faces = np.zeros((0, 6), dtype=np.uint16)
        """[state, face] texture."""
        self.first = np.zeros(0, dtype=np.int32)
        """[state] first box."""
        self.count = np.zeros(0, dtype=np.int32)
        """[state] boxes."""
        self.boxes = np.zeros((1, 6), dtype=np.float64)
        """[box] x0, y0, z0, x1, y1, z1."""
        self.clear = np.zeros(0, dtype=np.uint8)
        """[state] 0 no light passes, 1 it falls through, 2 it is scattered."""
        self.glow = np.zeros(0, dtype=np.uint8)
        """[state] 0…15."""

    def add(self, key: str, picture: NDArray[np.uint8]) -> int:
        """Return the index of a texture, adding the picture under this key when it is new."""
        at = self._index.get(key)
        if at is None:
            at = self._index[key] = len(self._index)
            if at == len(self.texels):
                self.texels = np.concatenate([self.texels, np.zeros_like(self.texels)])
            self.texels[at] = shrink(picture)
        return at

    def known(self, key: str) -> int | None:
        """Return the index of a texture, or None."""
        return self._index.get(key)

    def block(self, key: str) -> int:
        """Return the index of a block's texture."""
        at = self._index.get(key)
        return self.add(key, blockart.texture(key)) if at is None else at

    def update(self) -> None:
        """Take in the block states that were interned since."""
        fresh = range(self.states, len(STATES))
        if not fresh:
            return
        kinds, faces, firsts, counts, clear, glow = [], [], [], [], [], []
        boxes: list[Box] = []
        start = len(self.boxes)
        for state in fresh:
            kind, parts, keys = shapes.shape(state)
            kinds.append(kind)
            faces.append([self.block(key) for key in keys])
            firsts.append(start + len(boxes))
            counts.append(len(parts))
            boxes += parts
            see_through = self.texels[faces[-1][0], 0:256, 3].min() < 255
            scatters = kind == shapes.FLUID or keys[0].startswith("leaves")
            clear.append(2 if scatters else int(kind != shapes.SOLID or bool(see_through)))
            glow.append(shapes.glow(state))
        self.kind = np.concatenate([self.kind, np.array(kinds, dtype=np.uint8)])
        self.faces = np.concatenate([self.faces, np.array(faces, dtype=np.uint16)])
        self.first = np.concatenate([self.first, np.array(firsts, dtype=np.int32)])
        self.count = np.concatenate([self.count, np.array(counts, dtype=np.int32)])
        self.boxes = np.concatenate([self.boxes, np.array(boxes, dtype=np.float64).reshape(-1, 6)])
        self.clear = np.concatenate([self.clear, np.array(clear, dtype=np.uint8)])
        self.glow = np.concatenate([self.glow, np.array(glow, dtype=np.uint8)])
        self.states = len(STATES)


ATLAS = Atlas()
"""Shared by every renderer of the process: block state ids are the process's too."""
