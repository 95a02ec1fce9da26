"""A small face for counts and titles: 5 wide, 7 high, the row's bits from the left."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_GLYPHS = {
    "0": "0e 11 13 15 19 11 0e", "1": "04 0c 04 04 04 04 0e", "2": "0e 11 01 06 08 10 1f", "3": "0e 11 01 06 01 11 0e",
    "4": "02 06 0a 12 1f 02 02", "5": "1f 10 1e 01 01 11 0e", "6": "06 08 10 1e 11 11 0e", "7": "1f 01 02 02 04 04 04",
    "8": "0e 11 11 0e 11 11 0e", "9": "0e 11 11 0f 01 02 0c", "C": "0e 11 10 10 10 11 0e", "F": "1f 10 1e 10 10 10 10",
    "I": "0e 04 04 04 04 04 0e", "a": "00 00 0e 01 0f 11 0f", "c": "00 00 0e 10 10 11 0e", "e": "00 00 0e 11 1f 10 0e",
    "f": "06 08 1e 08 08 08 08", "g": "00 00 0f 11 0f 01 0e", "h": "10 10 16 19 11 11 11", "i": "04 00 0c 04 04 04 0e",
    "n": "00 00 1e 11 11 11 11", "o": "00 00 0e 11 11 11 0e", "r": "00 00 16 19 10 10 10", "s": "00 00 0e 10 0e 01 1e",
    "t": "08 08 1e 08 08 08 06", "u": "00 00 11 11 11 13 0d", "v": "00 00 11 11 11 0a 04", "y": "00 00 11 11 0f 01 0e",
    " ": "00 00 00 00 00 00 00",
}  # fmt: skip


@cache
def mask(text: str) -> NDArray[np.bool_]:
    """Return the pixels of a text as [7, 6 · letters − 1]; raises ``KeyError`` for a letter that is not in the face."""
    out = np.zeros((7, 6 * len(text)), dtype=np.bool_)
    for i, letter in enumerate(text):
        for y, row in enumerate(_GLYPHS[letter].split()):
            for x in range(5):
                out[y, 6 * i + x] = int(row, 16) >> (4 - x) & 1
    return out[:, :-1]
