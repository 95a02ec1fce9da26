"""The system prompts that rows of OpenHA's data begin with, equivalent in content and in our words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossagent.plugin import ActionSpace
from crossagent_openha import raw
from crossagent_openha.coa import GroundingCoaSpace, MotionCoaSpace
from crossagent_openha.grounding import GroundingSpace
from crossagent_openha.motion import MotionSpace
from crossagent_openha.text_action import TextActionSpace

MARK = "## User Instruction"
"""The line after which a row's instruction begins, in the released data and here."""


class _Keyboard:
    """The controls of Minecraft as MineRL has them."""

    camera_quantum, camera_limit = 1, 1200

    def keys(self) -> tuple[str, ...]:
        return tuple(sorted(key for key, name in raw.KEYS.items() if name not in raw.SOMETIMES))

    def buttons(self) -> tuple[str, ...]:
        return ("left", "right")


class _Minecraft:
    """What a tokenizer asks a world for when it writes its part of the prompt."""

    def interface(self, name: str) -> Any:
        if name != "control":
            raise KeyError(name)
        return _Keyboard()


def spaces() -> dict[str, ActionSpace]:
    """Return OpenHA's spaces as its data was recorded: a raw action is one tick."""
    built: list[ActionSpace] = [
        TextActionSpace(ticks=1),
        MotionSpace(),
        GroundingSpace(),
        MotionCoaSpace(ticks=1),
        GroundingCoaSpace(ticks=1),
    ]
    return {space.name: space for space in built}


def system_prompt(names: Sequence[str]) -> str:
    """Return the prompt of a row whose answers are in these spaces; it ends with the line :data:`MARK`."""
    known = spaces()
    fragments = [known[name].tokenizer.prompt_fragment(_Minecraft()) for name in names]  # type: ignore[arg-type]
    choice = (
        "Answer with the next action."
        if len(names) == 1
        else "Answer with the next action, at whichever level suits it."
    )
    opening = f"You play Minecraft: an instruction and a screenshot are given, after those of earlier turns. {choice}"
    return "\n\n".join([opening, *fragments, MARK]) + "\n"
