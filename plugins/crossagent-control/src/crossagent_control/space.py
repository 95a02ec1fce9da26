"""The space ``control``: one line says what is held and how the mouse moves; it lasts ``ticks`` ticks.

The text is that of OpenHA's raw actions (arXiv 2509.13347), so that its data and checkpoints fit::

    Action: move(19, -4) and press(w, left.control) and click(left)
    Action: no_op
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionTokenizer,
    Call,
    Control,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    SkillFailed,
    carry_out,
    missing_header,
)

HEADER = "Action:"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._]*"
_PART = re.compile(
    rf" *(?:(?P<move>move\( *(?P<dx>-?[0-9]{{1,4}}) *, *(?P<dy>-?[0-9]{{1,4}}) *\))"
    rf"|(?P<press>press\((?P<keys>{_NAME}(?: *, *{_NAME})*)\))"
    rf"|(?P<click>click\((?P<button>{_NAME})\)))"
)
_RELEASED_ORDER = ("escape", "s", "q", "w", *"123456789", "e", "space", "a", "d", "left.shift", "left.control", "f")
_RANK = {key: i for i, key in enumerate(_RELEASED_ORDER)}


class Hold(NamedTuple):
    """Payload: what is held, and how the mouse moves before it is."""

    camera: tuple[int, int] = (0, 0)
    """(dx, dy) in mouse pixels; y down."""
    keys: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names once each, in the order in which the released data writes keys; other names follow, sorted."""
    return tuple(sorted(set(names), key=lambda name: (_RANK.get(name, len(_RANK)), name)))


class ControlTokenizer(ActionTokenizer):
    """Writes and reads :class:`Hold`."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks

    def prompt_fragment(self, env: Environment) -> str:
        """Describe the parts of an action, with the keys and buttons of this world."""
        control: Control = env.interface("control")
        keys, buttons = in_order(control.keys()), in_order(control.buttons())
        return (
            f"{HEADER} holds keys and mouse buttons for {self._ticks} ticks (1/20 s each). Join parts with ` and `, in this order:\n"
            f"- move(dx, dy): first move the mouse by dx pixels right and dy pixels down; multiples of "
            f"{control.camera_quantum}, at most {control.camera_limit} along an axis.\n"
            f"- press(key, …): hold keys. Keys: {', '.join(keys) or 'none'}.\n"
            f"- click(button): hold a mouse button. Buttons: {', '.join(buttons) or 'none'}.\n"
            f"- no_op, alone: hold nothing.\n"
            f"Example: {HEADER} move({control.camera_quantum}, 0)" + (f" and press({keys[0]})" if keys else "")
        )

    def grammar(self, env: Environment) -> str:
        """Return rules for moves within the limit, and for keys and buttons once each, in their order."""
        control: Control = env.interface("control")
        keys, buttons = in_order(control.keys()), in_order(control.buttons())
        held = ['control_press (" and " control_click0)?'] if keys and buttons else ["control_press"] if keys else []
        held += ["control_click0"] if buttons else []
        return "\n".join(
            [
                f'control_response: "{HEADER} " control_body',
                'control_body: "no_op" | control_move' + (' (" and " control_held)? | control_held' if held else ""),
                *([f"control_held: {' | '.join(held)}"] if held else []),
                'control_move: "move(" CONTROL_FAR ", " (CONTROL_FAR | "0") ")" | "move(0, " CONTROL_FAR ")"',
                f"CONTROL_FAR: /{_multiples(control.camera_quantum, control.camera_limit)}/",
                *(['control_press: "press(" control_key0 ")"'] if keys else []),
                *_subset("control_key", [f'"{key}"' for key in keys], ", "),
                *_subset("control_click", [f'"click({button})"' for button in buttons], " and "),
            ]
        )

    def encode(self, action: Action) -> str:
        """Write the parts in order; ``no_op`` when there is none."""
        camera, keys, buttons = action.payload
        parts = [f"move({camera[0]}, {camera[1]})"] if tuple(camera) != (0, 0) else []
        parts += [f"press({', '.join(in_order(keys))})"] if keys else []
        parts += [f"click({button})" for button in in_order(buttons)]
        return f"{HEADER} {' and '.join(parts) or 'no_op'}"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read the parts, in any order; each of ``move`` and ``press`` at most once."""
        if (wrong := missing_header(text, HEADER)) is not None:
            return wrong
        end = len(text.rstrip())
        if text[len(HEADER) : end].strip(" ") == "no_op":
            return Action("control", Hold())
        camera, keys, buttons = (0, 0), list[str](), list[str]()
        seen, position = set[str](), len(HEADER)
        while True:
            part = _PART.match(text, position, end)
            if not part:
                return InvalidAction("expected move(dx, dy), press(key, …), click(button) or no_op", (position, end))
            what = part["click"] or ("move" if part["move"] else "press")
            if what in seen:
                return InvalidAction(f"{what} is there twice", part.span())
            seen.add(what)
            if part["move"]:
                camera = (int(part["dx"]), int(part["dy"]))
            elif part["press"]:
                keys = [key.strip() for key in part["keys"].split(",")]
                if len(set(keys)) < len(keys):
                    return InvalidAction("a key is there twice", part.span("keys"))
            else:
                buttons.append(part["button"])
            position = part.end()
            if position == end:
                return Action("control", Hold(camera, in_order(keys), in_order(buttons)))
            if not text.startswith(" and ", position, end):
                return InvalidAction("expected ` and ` between parts", (position, end))
            position += len(" and ")


class ControlExecutor(Executor):
    """Holds for a fixed number of ticks; the mouse moves in the first."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Take ``ticks`` ticks, fewer when the episode ends; none when the world has no such key or button."""
        control: Control = env.interface("control")
        camera, keys, buttons = action.payload

        def act() -> None:
            check_known(control, keys, buttons)
            for i in range(self._ticks):
                if env.over:
                    return
                control.step(keys, buttons, tuple(camera) if i == 0 else (0, 0))

        return carry_out(env, act)


def check_known(control: Control, keys: Sequence[str], buttons: Sequence[str]) -> None:
    """Raise :class:`SkillFailed` for a key or button that the environment does not have."""
    for kind, given, known in (("key", keys, control.keys()), ("button", buttons, control.buttons())):
        if unknown := [name for name in given if name not in known]:
            raise SkillFailed(f"no {kind} {unknown[0]}")


class ControlSpace(ActionSpace):
    """Keys, buttons and mouse.

    Cost of an action: ``turn_cost`` (what one more turn of the policy is worth, in seconds) + ``tick_cost`` per tick
    (1/20: the seconds the world went on).

    Args:
        ticks: How long one action lasts.
        turn_cost: Per action.
        tick_cost: Per tick of world time.
    """

    name, version, requires, header = "control", "1", ("control",), HEADER

    def __init__(self, ticks: int = 4, turn_cost: float = 0.25, tick_cost: float = 0.05) -> None:
        if ticks < 1:
            raise ValueError(f"ticks: got {ticks}; expected at least 1")
        self._ticks, self._turn_cost, self._tick_cost = ticks, turn_cost, tick_cost
        self.tokenizer, self.executor = ControlTokenizer(ticks), ControlExecutor(ticks)

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return seconds: the turn's price and the time it took."""
        return self._turn_cost + self._tick_cost * outcome.ticks

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Merge equal ticks into actions: up to ``ticks`` calls that hold the same, the mouse moving in the first only.

        A shorter run of calls becomes an action all the same, and lasts longer than it did.
        """
        control: Control = env.interface("control")
        holds: list[Hold] = []
        length = 0
        for call in calls:
            if (call.interface, call.method) != ("control", "step"):
                continue
            hold = _hold(control, *call.args)
            if holds and length < self._ticks and hold == holds[-1]._replace(camera=(0, 0)):
                length += 1
            else:
                holds.append(hold)
                length = 1
        return [Action(self.name, hold) for hold in holds]


def _hold(
    control: Control, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: Sequence[int] = (0, 0)
) -> Hold:
    """Return the payload of one ``Control.step``, its camera as the world will round it."""
    dx, dy = (_snap(pixels, control.camera_quantum, control.camera_limit) for pixels in camera)
    return Hold((dx, dy), in_order(keys), in_order(buttons))


def _snap(pixels: int, quantum: int, limit: int) -> int:
    """Round to the quantum, halves away from zero, within the limit."""
    size = min((abs(pixels) + quantum // 2) // quantum, limit // quantum) * quantum
    return size if pixels >= 0 else -size


def _multiples(quantum: int, limit: int) -> str:
    """Return a regular expression of the non-zero multiples of ``quantum`` up to ``limit``, both signs.

    The longest first: Python takes the first alternative that matches, and ``2`` opens ``20``.
    """
    return "-?(?:" + "|".join(str(n) for n in reversed(range(quantum, limit + 1, quantum))) + ")"


def _subset(rule: str, items: Sequence[str], separator: str) -> list[str]:
    """Return rules ``{rule}0, …`` that generate every non-empty subset of ``items`` in order, once each."""
    lines = []
    for i, item in enumerate(items):
        more = f' ("{separator}" {rule}{i + 1})?' if i + 1 < len(items) else ""
        skip = f" | {rule}{i + 1}" if i + 1 < len(items) else ""
        lines.append(f"{rule}{i}: {item}{more}{skip}")
    return lines
