"""What one recorded episode is, and the words that tell the policy how its last action went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIXED = "mixed"
"""The kind of a demonstration in which several spaces took turns."""
_LONGEST_ERROR = 48


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """One decision of an expert, written in one space."""

    observation: str
    """What the policy would have seen, feedback on the turn before included."""
    text: str
    """The canonical text of the action, header included."""
    space: str
    anchor_key: str = ""
    """Coarse state before the turn."""
    ticks: int = 0
    reward: float = 0.0
    cost: float = 0.0
    """The space's own cost, before λ."""
    error: str = ""
    """Why the action did not do what it says; empty when it did."""
    segments: tuple[tuple[str, int], ...] = ()
    """Parts of the text: (name, character); see ``ActionTokenizer.segments``."""
    image: bytes = b""
    """The picture before it, as PNG, or as an imported data set has it (JPEG); empty where there is none."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode played by experts through spaces."""

    task: str
    category: str
    seed: int
    """Seed of the world."""
    spaces: tuple[str, ...]
    """The spaces that its prompt lists."""
    turns: tuple[DemoTurn, ...]
    success: bool
    kind: str
    """The one space it is written in, or ``mixed``."""
    instruction: str = ""
    end: str = ""
    """``terminated``, ``max_turns``, ``max_ticks`` or ``stuck`` (no expert could go on)."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Every action's text, in order; a prefix of it replays the episode."""
        return tuple(turn.text for turn in self.turns)


def images_of(turns: Sequence[DemoTurn]) -> list[bytes]:
    """Return the picture of each turn; [] where none of them has one."""
    images = [turn.image for turn in turns]
    return images if any(images) else []


def with_feedback(observation: str, invalid: str, error: str) -> str:
    """Return an observation's text with a word on the turn before: ``; last invalid``, ``; last failed: no path`` or
    ``; last ok``. The one rule for playing and for recording: what SFT shows is what the policy meets.

    Why an action is invalid is left out on purpose: it quotes what was sampled, and the suffix has to stay short.
    """
    if invalid:
        return f"{observation}; last invalid"
    if error:
        return f"{observation}; last failed: {' '.join(error.split())[:_LONGEST_ERROR].rstrip()}"
    return f"{observation}; last ok"


def order_of_choice(
    names: Sequence[str], current: str | None, failed: str | None, keep: bool, shuffled: Sequence[str]
) -> list[str]:
    """Return the spaces to try this turn, first choice first.

    Args:
        names: The spaces that may take turns.
        current: The space of the turn before.
        failed: The space whose last action failed; it comes last, so that mixed episodes show a way out.
        keep: Whether to stay with ``current`` if it can go on.
        shuffled: ``names`` in a seeded order.
    """
    order = [name for name in shuffled if name in names]
    if keep and current in order:
        order.remove(current)
        order.insert(0, current)
    if failed in order:
        order.remove(failed)
        order.append(failed)
    return order
