"""The slots of a window as named rectangles of the screen, which is how the pointer interface offers them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

from crossagent.plugin import Rect
from crossagent_minecraft_data.screen import slot_names, slot_rect


@functools.cache
def window_targets(kind: str) -> Mapping[str, Rect]:
    """Return the slots of a kind of window by name, sorted."""
    named = sorted((name, slot) for slot, name in enumerate(slot_names(kind)))
    return MappingProxyType({name: Rect(*slot_rect(kind, slot)) for name, slot in named})
