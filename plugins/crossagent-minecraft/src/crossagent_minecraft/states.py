"""Block states: the protocol's numbers and CraftWorld's texts (``stone_slab[type=top]``; a bare name is the default)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossagent_craftworld import palette
from crossagent_craftworld.palette import intern
from crossagent_minecraft_data.blocks import block_rows, default_properties, property_values, split_state


@cache
def number(text: str) -> int:
    """Return the protocol's id of a state; raises ``KeyError`` for an unknown block, ``ValueError`` for a property."""
    name, given = split_state(text)
    row = block_rows()[name]
    whole = {**default_properties(name), **given}
    index, place = 0, 1
    for prop in reversed(row["states"]):  # the last property counts fastest
        values = property_values(prop)
        index += place * values.index(whole[prop["name"]])
        place *= len(values)
    return int(row["minStateId"]) + index


@cache
def _owners() -> list[dict[str, Any]]:
    rows = block_rows().values()
    owners: list[dict[str, Any]] = [{}] * (1 + max(row["maxStateId"] for row in rows))
    for row in rows:
        for state in range(row["minStateId"], row["maxStateId"] + 1):
            owners[state] = row
    return owners


@cache
def text(state: int) -> str:
    """Return the text of a protocol state id; air for an unknown one."""
    row = _owners()[state] if 0 <= state < len(_owners()) else {}
    if not row or row["name"].endswith("air"):
        return "air"
    if state == row["defaultState"]:
        return str(row["name"])
    index, parts = state - row["minStateId"], []
    default = default_properties(row["name"])
    for prop in reversed(row["states"]):
        values = property_values(prop)
        index, i = divmod(index, len(values))
        if values[i] != default[prop["name"]]:
            parts.append(f"{prop['name']}={values[i]}")
    return f"{row['name']}[{','.join(reversed(parts))}]"


@cache
def ident(state: int) -> int:
    """Return CraftWorld's id of a protocol state."""
    return intern(text(state))


def to_protocol(blocks: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return protocol state ids for CraftWorld's, element by element."""
    used = np.unique(blocks)
    table = np.zeros(len(palette.STATES), dtype="<u2")
    table[used] = [number(palette.STATES[i]) for i in used]
    return table[blocks]


def from_protocol(states: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return CraftWorld's ids for protocol state ids, element by element."""
    used, inverse = np.unique(states, return_inverse=True)
    return np.array([ident(int(i)) for i in used], dtype=np.uint16)[inverse].reshape(states.shape)
