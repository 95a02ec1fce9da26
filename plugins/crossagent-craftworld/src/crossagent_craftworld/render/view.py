"""What an environment shows of its world: text, a picture, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossagent.plugin import Observation
from crossagent_craftworld import observe
from crossagent_minecraft_data.windows import SCREEN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crossagent_craftworld.render.renderer import Renderer
    from crossagent_craftworld.world import World

KINDS = ("text", "pixels", "both")
SMALLEST, LARGEST = 64, 2048


class View:
    """Makes the observations of one environment. What draws is made ready here when it shows pixels, else at the first
    picture: where it never ran it is compiled, which takes some seconds, and a worker's first world has the time.
    """

    def __init__(self, kind: str = "text", size: Sequence[int] = SCREEN) -> None:
        """``size``: width and height of the picture. Raises ``ValueError`` for an unknown kind or another size."""
        if kind not in KINDS:
            raise ValueError(f"observation: got {kind!r}; expected one of {', '.join(KINDS)}")
        self.kind = kind
        self.size = image_size(size)
        self._renderer: Renderer | None = None
        if kind != "text":
            self._ready().warm()

    def observe(self, world: World, quantum: int, limit: int) -> Observation:
        """Return the observation of a world; ``quantum`` and ``limit`` of the mouse, in pixels, are for the text."""
        text = "" if self.kind == "pixels" else observe.text(world, quantum, limit)
        return Observation(text, None if self.kind == "text" else self.picture(world))

    def picture(self, world: World) -> NDArray[np.uint8]:
        """Return the picture [height, width, 3] of a world, whatever the kind of observation."""
        return self._ready().render(world)

    def _ready(self) -> Renderer:
        if self._renderer is None:
            from crossagent_craftworld.render.renderer import Renderer  # loads numba

            self._renderer = Renderer(self.size)
        return self._renderer


def image_size(size: Any) -> tuple[int, int]:
    """Return a picture's width and height; raises ``ValueError`` when it is no such pair."""
    try:
        width, height = (int(side) for side in size)
    except (TypeError, ValueError):
        width = height = 0
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise ValueError(f"image_size: got {size!r}; expected [width, height], {SMALLEST}…{LARGEST} pixels a side")
    return width, height
