"""Images of observations as PNG bytes: lossless, so that what is stored is what the policy saw."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an image [height, width, 3] as PNG; equal images give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
