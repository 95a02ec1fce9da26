"""The spaces ``motion_coa`` and ``grounding_coa``: an abstract action, then the raw action that does it.

Two lines, the second after a comma::

    Motion: move forward, turn left
    , Action: move(-34, 0) and press(w)

OpenHA's released model writes these. They have the headers of the spaces ``motion`` and ``grounding``, so a run has one of
each pair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionTokenizer,
    ChainSpace,
    Control,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    missing_header,
)
from crossagent_openha import grounding, motion, raw, text_action
from crossagent_openha.grounding import GroundingSpace
from crossagent_openha.motion import MotionSpace
from crossagent_openha.text_action import TextActionSpace

JOINT = " \n, "
"""Between the two actions."""
_JOINT = re.compile(r"[ ,]*\n[ ,]*")
Mode = Literal["greedy", "eager"]


@dataclass(frozen=True)
class Line:
    """How the abstract action of a chain is written: the functions of its space's module."""

    header: str
    write: Callable[[Sequence[Any]], str]
    read: Callable[[str, int, int], Any]
    rules: Callable[[Control, str, str], list[str]]
    vocabulary: Callable[[Control], list[str]]
    special: tuple[str, ...] = ()


MOTION = Line(
    motion.HEADER,
    motion.write,
    motion.read,
    motion.rules,
    lambda control: [*motion.vocabulary(control), "- no_op, alone: wait"],
)
GROUNDING = Line(
    grounding.HEADER,
    lambda payload: grounding.write(payload, "move to"),
    grounding.read,
    lambda control, name, body: grounding.rules(name, body, "move to"),
    lambda control: grounding.vocabulary("move to"),
    grounding.SPECIAL,
)


class CoaTokenizer(ActionTokenizer):
    """Writes and reads (abstract payload, raw payload)."""

    segment_names = ("header", "abstract", "action")

    def __init__(self, name: str, line: Line, raw_tokenizer: ActionTokenizer) -> None:
        self._name, self._line, self._raw = name, line, raw_tokenizer

    def prompt_fragment(self, env: Environment) -> str:
        """Say that two lines are expected, and what may stand on each."""
        words = "\n".join(self._line.vocabulary(env.interface("control")))
        return (
            f"{self._line.header} says first what is meant, then, on a second line after a comma, the raw action that does it.\n"
            f"First line, {self._line.header}\n{words}\nSecond line, `, `, then:\n{self._raw.prompt_fragment(env)}"
        )

    def special_tokens(self) -> tuple[str, ...]:
        """Return those of the abstract action."""
        return self._line.special

    def grammar(self, env: Environment) -> str:
        """Return both grammars under this space's name."""
        name, control = self._name, env.interface("control")
        joint = JOINT.replace("\n", "\\n")
        return "\n".join(
            [
                f'{name}_response: "{self._line.header} " {name}_meant "{joint}{text_action.HEADER} " {name}_done',
                *self._line.rules(control, f"{name}_a", f"{name}_meant"),
                *raw.rules(control, f"{name}_r", f"{name}_done"),
            ]
        )

    def encode(self, action: Action) -> str:
        """Write the two lines."""
        above, below = action.payload
        return f"{self._line.header} {self._line.write(above)}{JOINT}{text_action.HEADER} {raw.write(below)}"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read both; a fault in either makes the whole invalid."""
        wrong = missing_header(text, self._line.header)
        if wrong is not None:
            return wrong
        joint = _JOINT.search(text, len(self._line.header))
        if joint is None:
            return InvalidAction(f"expected `{text_action.HEADER} …` on a second line", (0, len(text)))
        at, end = joint.end(), len(text.rstrip())
        if not text.startswith(text_action.HEADER, at):
            return InvalidAction(f"expected {text_action.HEADER!r} on the second line", (min(at, end), end))
        above = self._line.read(text, len(self._line.header), joint.start())
        if isinstance(above, InvalidAction):
            return above
        below = raw.read(text, at + len(text_action.HEADER), len(text))
        return below if isinstance(below, InvalidAction) else Action(self._name, (above, below))

    def segments(self, text: str) -> tuple[tuple[str, int], ...]:
        """Tell the header, the abstract action and the raw line apart."""
        header, abstract, action = self.segment_names
        found = ((header, 0), (abstract, len(self._line.header)))
        newline = text.find("\n")
        return found if newline < 0 else (*found, (action, newline + 1))


class CoaExecutor(Executor):
    """Does the raw action (``greedy``), or the abstract one where that is certain (``eager``)."""

    def __init__(self, abstract: ActionSpace, executable: ActionSpace, certain: Callable[[Any], bool]) -> None:
        self._abstract, self._executable, self._certain = abstract, executable, certain

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Execute one of the two."""
        above, below = action.payload
        if self._certain(above):
            return self._abstract.executor.execute(Action(self._abstract.name, above), env)
        return self._executable.executor.execute(Action(self._executable.name, below), env)


class CoaSpace(ChainSpace):
    """An abstract action, then the raw action that does it; the executor takes one of the two.

    Args:
        name: Of the space.
        line: How the abstract action is written.
        abstract: The space of the abstract action.
        executable: The space of the raw action.
        certain: Whether an abstract action is carried out itself; else the raw action is.
    """

    def __init__(
        self, name: str, line: Line, abstract: ActionSpace, executable: ActionSpace, certain: Callable[[Any], bool]
    ) -> None:
        super().__init__(name, line.header, abstract=abstract, executable=executable)
        self.tokenizer = CoaTokenizer(name, line, executable.tokenizer)
        self.executor = CoaExecutor(abstract, executable, certain)


class MotionCoaSpace(CoaSpace):
    """A motion, then the raw action that does it.

    Args:
        ticks: How long the raw action lasts.
        mode: ``greedy``: the raw action is carried out, always. ``eager``: the motion is, unless it turns or moves a cursor,
            where only the raw action says how far.
        motion: Options of the space ``motion``, for the eager mode.
        turn_cost: Per action.
        tick_cost: Per tick of world time.
    """

    def __init__(
        self,
        ticks: int = 4,
        mode: Mode = "greedy",
        motion: dict[str, Any] | None = None,
        turn_cost: float = 0.25,
        tick_cost: float = 0.05,
    ) -> None:
        abstract = MotionSpace(**(motion or {}))
        executable = TextActionSpace(ticks, turn_cost, tick_cost)
        super().__init__("motion_coa", MOTION, abstract, executable, _certain_motion if mode == "eager" else _never)


class GroundingCoaSpace(CoaSpace):
    """A grounded action, then the raw action that does it.

    Args:
        ticks: How long the raw action lasts.
        mode: ``greedy``: the raw action is carried out, always. ``eager``: Kill, Mine, Approach and right click are, else
            the raw action.
        grounding: Options of the space ``grounding``, for the eager mode.
        turn_cost: Per action.
        tick_cost: Per tick of world time.
    """

    def __init__(
        self,
        ticks: int = 4,
        mode: Mode = "greedy",
        grounding: dict[str, Any] | None = None,
        turn_cost: float = 0.25,
        tick_cost: float = 0.05,
    ) -> None:
        abstract = GroundingSpace(**(grounding or {}))
        executable = TextActionSpace(ticks, turn_cost, tick_cost)
        certain = _certain_grounding if mode == "eager" else _never
        super().__init__("grounding_coa", GROUNDING, abstract, executable, certain)


def _certain_motion(phrases: Sequence[str]) -> bool:
    return bool(phrases) and not any(phrase.startswith(("turn ", "cursor ")) for phrase in phrases)


def _certain_grounding(payload: Sequence[Any]) -> bool:
    return payload[0] in ("Kill", "Mine", "Approach", "right click")


def _never(payload: Any) -> bool:
    return False
