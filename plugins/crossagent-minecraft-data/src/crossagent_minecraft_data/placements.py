"""How a task's target is put down: which states on, under or beside it, so that it stands as the game would have it."""

from __future__ import annotations

from crossagent_minecraft_data import blocks

Cell = tuple[int, int, int]
_ON_WATER = ("lily_pad",)
_SIDES = {"north": (0, 0, 1), "south": (0, 0, -1), "west": (1, 0, 0), "east": (-1, 0, 0)}
"""facing → where the block is that a ladder facing so hangs on."""
_HANGING: dict[str, tuple[str, str, int]] = {
    "ladder": ("ladder[facing={0}]", "stone", 1),
    "wall_torch": ("wall_torch[facing={0}]", "stone", 1),
    "vine": ("vine[{0}=true]", "stone", -1),
    "cocoa": ("cocoa[facing={0}]", "jungle_log", -1),
}
"""What hangs on another block: its state, what that block is, and whether it faces away from it (1) or it (-1)."""
_DRY = {"sea_pickle": "sea_pickle[waterlogged=false]"}
"""States in which water plants stand on land."""


def placements(name: str, support: str | None = None) -> list[list[tuple[Cell, str]]]:
    """Return the ways to put a target down, each as (offset, state): itself, then what it hangs or stands on, or is.

    Offset (0, 0, 0) is the cell on top of the ground.
    """
    if name in blocks.UNDER_WATER:
        return [[((0, -1, 0), name)]]
    if name in _ON_WATER:
        return [[((0, 0, 0), name), ((0, -1, 0), "water")]]
    if name in _HANGING:
        state, behind, sign = _HANGING[name]
        return [
            [((0, 0, 0), state.format(side)), ((x * sign, 0, z * sign), behind)] for side, (x, _, z) in _SIDES.items()
        ]
    parts: list[tuple[Cell, str]] = [((0, 0, 0), _DRY.get(name, name))]
    other_half = blocks.partner(name)
    if other_half is not None:
        parts.append(other_half)
    if support:
        parts.append(((0, -1, 0), support))
    return [parts]
