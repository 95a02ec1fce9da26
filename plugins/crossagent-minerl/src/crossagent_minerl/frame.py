"""What a game says after a tick, and how the policy is told."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One answer of a game; see ``engine/serve.py``. Items are in the names of Minecraft 1.16."""

    pov: NDArray[np.uint8] | None
    """[height, width, 3]."""
    slots: tuple[tuple[int | None, str, int], ...]
    """(slot, item, count); the slot is None where the game tells counts only."""
    held: str | None
    """Empty: nothing; None: not known."""
    gui: bool
    place: tuple[float, ...] | None
    """x, y, z, pitch, yaw (degrees), where the game tells them."""
    life: float | None
    compass: float | None
    """Degrees to the goal, in tasks that have a compass."""
    counts: Mapping[str, Mapping[str, int]]
    """Statistic → name → how often since the world began."""
    reward: float
    done: bool

    @classmethod
    def of(cls, said: Mapping[str, Any], ours: Mapping[str, str]) -> Frame:
        """Read a game's answer; raises ``ValueError`` for one that is none.

        Args:
            said: The answer.
            ours: The game's name of an item → ours, where they differ.
        """
        try:
            pov = None
            if said.get("pov") is not None:
                width, height = (int(n) for n in said["size"])
                flat = np.frombuffer(base64.b64decode(said["pov"], validate=True), dtype=np.uint8)
                pov = flat.reshape(height, width, 3)

            def name(item: Any) -> str:
                return ours.get(str(item), str(item))

            return cls(
                pov=pov,
                slots=tuple(
                    (None if slot is None else int(slot), name(item), int(count))
                    for slot, item, count in said["inventory"]
                ),
                held=name(said["held"]) if said["held"] else "",
                gui=bool(said["gui"]),
                place=None if said["place"] is None else tuple(float(v) for v in said["place"]),
                life=None if said["life"] is None else float(said["life"]),
                compass=None if said.get("compass") is None else float(said["compass"]),
                counts={k: {name(n): int(c) for n, c in v.items()} for k, v in said["counts"].items()},
                reward=float(said["reward"]),
                done=bool(said["done"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"what the game said is no frame ({type(error).__name__}: {error})") from error

    @property
    def inventory(self) -> dict[str, int]:
        """Item → count, sorted."""
        totals: dict[str, int] = {}
        for _, item, count in self.slots:
            totals[item] = totals.get(item, 0) + count
        return dict(sorted(totals.items()))

    def text(self) -> str:
        """Return the text observation, in CraftWorld's words where they say the same."""
        have = " ".join(f"{item} {count}" for item, count in self.inventory.items()) or "none"
        parts = [f"have {have}" if self.held is None else f"hand {self.held or 'none'} have {have}"]
        if self.place is not None:
            x, y, z, pitch, yaw = self.place
            parts.append(f"at {math.floor(x)} {math.floor(y)} {math.floor(z)} yaw {round(yaw)} pitch {round(pitch)}")
        if self.life is not None:
            parts.append(f"life {round(self.life)}")
        if self.compass is not None:
            parts.append(f"goal {round(self.compass)}")
        if self.gui:
            parts.insert(0, "window open")
        return " ".join(parts)

    def digest(self) -> str:
        """Hash of everything in it."""
        state = hashlib.blake2b(digest_size=16)
        state.update(b"" if self.pov is None else self.pov.tobytes())
        counts = sorted((kind, name, n) for kind, table in self.counts.items() for name, n in table.items())
        told = (self.slots, self.held, self.gui, self.place, self.life, self.compass, counts, self.reward, self.done)
        state.update(repr(told).encode())
        return state.hexdigest()
