"""The space ``motion``: OpenHA's motions, e.g. ``Motion: move forward and move left, sprint, attack / mine``.

A motion says which way, not how far; OpenHA leaves that to a learned policy. The scripted executor turns by a fixed angle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

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
    carry_out,
    missing_header,
)
from crossagent_control.space import check_known
from crossagent_openha import raw
from crossagent_openha.policies import Goal, LowLevelPolicy, follow, load

HEADER = "Motion:"
WALK = {"forward": "w", "back": "s", "left": "a", "right": "d"}
"""Way → key."""
LOOK = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Way → sign of the mouse movement (dx, dy)."""
_BOTH = "attack / mine and use / place"


def _ways(verb: str, again: str, across: Sequence[str], along: Sequence[str]) -> list[str]:
    """Return ``verb`` with each way and with each two that go together."""
    alone = [f"{verb} {way}" for way in (*across, *along)]
    return alone + [f"{verb} {one} and {again}{other}" for one in across for other in along]


GROUPS: tuple[tuple[str, ...], ...] = (
    tuple(_ways("move", "move ", ("forward", "back"), ("left", "right"))),
    ("sneak", "sprint"),
    (
        *_ways("turn", "", ("left", "right"), ("up", "down")),
        *_ways("cursor move", "", ("left", "right"), ("up", "down")),
    ),
    ("attack / mine", "use / place", _BOTH, "operate gui", "choose"),
    ("jump",),
    ("drop",),
    ("swap",),
    tuple(f"switch to hotbar {n}" for n in range(1, 10)),
    ("open inventory", "close inventory", "open gui", "close gui"),
)
"""The phrases in the order in which they are written; at most one of each group."""
_GROUP = {phrase: i for i, group in enumerate(GROUPS) for phrase in group}
_SPELLINGS = {
    "place / use": "use / place", "attack": "attack / mine", "mine": "attack / mine", "use": "use / place", "place": "use / place",
    "use / place and attack / mine": _BOTH, "no-op": "no_op",
    **{f"switch hotbar {n}": f"switch to hotbar {n}" for n in range(1, 10)},
}  # fmt: skip
_TAPS = {
    "drop": "q", "swap": "f", "open inventory": "e", "close inventory": "e", "close gui": "escape",
    **{f"switch to hotbar {n}": str(n) for n in range(1, 10)},
}  # fmt: skip
_HELD = {"sneak": "left.shift", "sprint": "left.control", "jump": "space"}
_PRESSED = {"attack / mine": ("left",), "use / place": ("right",), _BOTH: ("left", "right"), "open gui": ("right",)}
_CLICKS = {"operate gui": "left", "choose": "right"}


# -- text ------------------------------------------------------------------------------------------------------------
def read(text: str, start: int, end: int) -> tuple[str, ...] | InvalidAction:
    """Read the phrases of ``text[start:end]``, in any order, into their canonical spelling and order."""
    found: dict[int, str] = {}
    at = start
    for part in text[start:end].split(","):
        span = (at, at + len(part))
        at += len(part) + 1
        phrase = _canonical(part)
        if phrase == "no_op" and not text[start : span[0]].strip() and not text[span[1] : end].strip():
            return ()
        if phrase not in _GROUP:
            return InvalidAction(
                f"no motion {part.strip()!r}; expected phrases such as `move forward`, `turn left`", span
            )
        if _GROUP[phrase] in found:
            return InvalidAction(f"{phrase!r} does not go with {found[_GROUP[phrase]]!r}", span)
        found[_GROUP[phrase]] = phrase
    return tuple(found[group] for group in sorted(found))


def _canonical(part: str) -> str:
    phrase = re.sub(r" */ *", " / ", " ".join(part.split(" ")).strip())
    phrase = re.sub(r"\bbackwards?\b", "back", phrase)
    two = re.fullmatch(r"(move|turn|cursor move) (\w+) and (?:move )?(\w+)", phrase)
    if two:
        verb, one, other = two.groups()
        if other in (("forward", "back") if verb == "move" else ("left", "right")):
            one, other = other, one
        return f"{verb} {one} and {'move ' if verb == 'move' else ''}{other}"
    return _SPELLINGS.get(phrase, phrase)


def write(phrases: Sequence[str]) -> str:
    """Return the canonical text, without a header."""
    return ", ".join(phrases) or "no_op"


def rules(control: Control, name: str, body: str) -> list[str]:
    """Return grammar rules for what the world's keys and buttons can do; see :func:`crossagent_openha.raw.rules`."""
    groups = [group for group in (_possible(control, group) for group in GROUPS) if group]
    lines = [f'{body}: "no_op"' + (f" | {name}_phrases0" if groups else "")]
    lines += [f"{name}_kind{i}: " + " | ".join(f'"{phrase}"' for phrase in group) for i, group in enumerate(groups)]
    return lines + raw.subset(f"{name}_phrases", [f"{name}_kind{i}" for i in range(len(groups))], ", ")


def vocabulary(control: Control) -> list[str]:
    """Return lines that list the phrases for a prompt."""
    texts = {
        0: "- move forward | back | left | right, or two as in `move forward and move left`",
        1: "- sprint, sneak: while moving",
        2: "- turn left | right | up | down, or two as in `turn left and up`: the view; cursor move …, likewise: the cursor of a window",
        3: "- attack / mine, use / place: with what is in the hand; operate gui, choose: left and right click in a window",
        4: "- jump",
        5: "- drop: one item of the hand",
        6: "- swap: the items of both hands",
        7: "- switch to hotbar 1 … 9",
        8: "- open inventory, close inventory, open gui, close gui",
    }
    return [texts[i] for i, group in enumerate(GROUPS) if _possible(control, group)]


def _possible(control: Control, group: Sequence[str]) -> list[str]:
    keys, buttons = control.keys(), control.buttons()
    return [
        phrase
        for phrase in group
        if all(key in keys for key in _keys_of(phrase)) and all(button in buttons for button in _buttons_of(phrase))
    ]


def _keys_of(phrase: str) -> list[str]:
    walked = [WALK[way] for way in re.findall(r"move (forward|back|left|right)", phrase)] if _GROUP[phrase] == 0 else []
    return walked + [table[phrase] for table in (_HELD, _TAPS) if phrase in table]


def _buttons_of(phrase: str) -> tuple[str, ...]:
    return _PRESSED.get(phrase, ()) + ((_CLICKS[phrase],) if phrase in _CLICKS else ())


class MotionTokenizer(ActionTokenizer):
    """Writes and reads payloads of phrases."""

    def prompt_fragment(self, env: Environment) -> str:
        """List the phrases."""
        return "\n".join(
            [
                f"{HEADER} says in words what the player does for a moment: phrases joined by `, `, in this order, each kind once.",
                *vocabulary(env.interface("control")),
                f"- no_op, alone: wait\nExample: {HEADER} move forward, turn left and up, jump",
            ]
        )

    def grammar(self, env: Environment) -> str:
        """Return at most one phrase of each kind, in order."""
        lines = [f'motion_response: "{HEADER} " motion_body', *rules(env.interface("control"), "motion", "motion_body")]
        return "\n".join(lines)

    def encode(self, action: Action) -> str:
        """Write the phrases."""
        return f"{HEADER} {write(action.payload)}"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read the phrases, in any order."""
        wrong = missing_header(text, HEADER)
        if wrong is not None:
            return wrong
        phrases = read(text, len(HEADER), len(text.rstrip()))
        return phrases if isinstance(phrases, InvalidAction) else Action("motion", phrases)


# -- what it does ----------------------------------------------------------------------------------------------------
class MotionExecutor(Executor):
    """Holds and taps what the phrases say; a click comes last, when the cursor is there."""

    def __init__(self, ticks: int, turn: int, cursor: int, policy: LowLevelPolicy | None) -> None:
        self._ticks, self._turn, self._cursor, self._policy = ticks, turn, cursor, policy

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Take ``ticks`` ticks, fewer when the episode ends; none when the world cannot do a phrase."""
        control: Control = env.interface("control")

        def act() -> None:
            for phrase in action.payload:
                check_known(control, _keys_of(phrase), _buttons_of(phrase))
            if self._policy is not None:
                words = write(action.payload).replace(", ", ",").replace(" / ", "/")
                follow(self._policy, Goal(words), env, self._ticks)
                return
            for held in self._script(action.payload, control):
                if env.over:
                    return
                control.step(held.keys, held.buttons, held.camera)

        return carry_out(env, act)

    def _script(self, phrases: Sequence[str], control: Control) -> list[raw.Raw]:
        keys = [key for phrase in phrases if phrase not in _TAPS for key in _keys_of(phrase)]
        buttons = [b for phrase in phrases if phrase != "open gui" for b in _PRESSED.get(phrase, ())]
        taps = [_TAPS[phrase] for phrase in phrases if phrase in _TAPS]
        first = ["right"] if "open gui" in phrases else []
        last = [_CLICKS[phrase] for phrase in phrases if phrase in _CLICKS]
        moves = self._moves(phrases, control)
        return [
            raw.Raw(
                moves[i],
                raw.in_order([*keys, *(taps if i == 0 else ())]),
                raw.in_order([*buttons, *(first if i == 0 else ()), *(last if i == self._ticks - 1 else ())]),
            )
            for i in range(self._ticks)
        ]

    def _moves(self, phrases: Sequence[str], control: Control) -> list[tuple[int, int]]:
        """Return the mouse movement of each tick: the whole, spread evenly in quanta."""
        phrase = next((p for p in phrases if _GROUP[p] == 2), "")
        far = self._cursor if phrase.startswith("cursor") else self._turn
        signs = [LOOK[way] for way in LOOK if way in phrase.split()]
        quantum, most = control.camera_quantum, self._ticks * control.camera_limit
        axes = []
        for axis in (0, 1):
            whole = raw.snap(sum(sign[axis] for sign in signs) * far, quantum, most)
            marks = [raw.snap(whole * i / self._ticks, quantum, most) for i in range(self._ticks + 1)]
            axes.append([b - a for a, b in pairwise(marks)])
        return list(zip(*axes, strict=True))


class MotionSpace(ActionSpace):
    """Motions.

    Cost of an action: ``turn_cost`` (what one more turn of the policy is worth, in seconds) + ``tick_cost`` per tick.

    Args:
        ticks: How long one motion lasts; OpenHA asks again every 4 ticks.
        turn: Mouse pixels of one ``turn`` of the scripted executor (60 px = 9°).
        cursor: Mouse pixels of one ``cursor move``.
        policy: ``module:factory`` of a learned low-level policy (``crossagent_openha.policies``) instead of the script.
        turn_cost: Per action.
        tick_cost: Per tick of world time.
    """

    name, version, requires, header = "motion", "1", ("control",), HEADER

    def __init__(
        self,
        ticks: int = 4,
        turn: int = 60,
        cursor: int = 24,
        policy: str | None = None,
        turn_cost: float = 0.25,
        tick_cost: float = 0.05,
    ) -> None:
        for name, value in (("ticks", ticks), ("turn", turn), ("cursor", cursor)):
            if value < 1:
                raise ValueError(f"{name}: got {value}; expected at least 1")
        self._ticks, self._turn, self._cursor = ticks, turn, cursor
        self._turn_cost, self._tick_cost = turn_cost, tick_cost
        self.tokenizer = MotionTokenizer()
        self.executor = MotionExecutor(ticks, turn, cursor, load(policy) if policy else None)

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return seconds: the turn's price and the time it took."""
        return self._turn_cost + self._tick_cost * outcome.ticks

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Say in words what up to ``ticks`` calls with the same keys and buttons do.

        The mouse counts from half of what one turn is. Whether it turns the view or moves a cursor is known in the present
        state only, so a sequence that opens a window is to be given call by call.
        """
        control: Control = env.interface("control")
        open_ = window_open(env)
        actions: list[Action] = []
        for held in merged(calls, control, self._ticks):
            phrases = describe(held, open_, self._cursor if open_ else self._turn)
            phrases = tuple(p for p in phrases if p in _possible(control, GROUPS[_GROUP[p]]))
            if phrases or held == raw.Raw():
                actions.append(Action(self.name, phrases))
        return actions


def merged(calls: Sequence[Call], control: Control, ticks: int) -> list[raw.Raw]:
    """Return runs of up to ``ticks`` control calls with the same keys and buttons, their mouse movements added up."""
    found: list[tuple[raw.Raw, int]] = []
    for call in calls:
        if (call.interface, call.method) != ("control", "step"):
            continue
        now = raw.of_call(control, *call.args)
        if found and found[-1][0][1:] == now[1:] and found[-1][1] < ticks:
            (camera, keys, buttons), length = found[-1]
            moved = (camera[0] + now.camera[0], camera[1] + now.camera[1])
            found[-1] = (raw.Raw(moved, keys, buttons), length + 1)
        else:
            found.append((now, 1))
    return [held for held, _ in found]


def describe(held: raw.Raw, window: bool, unit: int) -> tuple[str, ...]:
    """Return the phrases of a raw action, as OpenHA's data names them.

    Of opposite keys the first counts, and sneaking before sprinting, where OpenHA tosses a coin.

    Args:
        held: The action.
        window: Whether a window is open: then the mouse moves its cursor, and nobody walks.
        unit: Mouse pixels of one ``turn`` or ``cursor move``; less than half of it along an axis is no movement.
    """
    phrases = []
    dx, dy = held.camera
    if not window:
        across = next((way for way in ("forward", "back") if WALK[way] in held.keys), "")
        along = next((way for way in ("left", "right") if WALK[way] in held.keys), "")
        walked = " and ".join(f"move {way}" for way in (across, along) if way)
        phrases += [walked, next((p for p in ("sneak", "sprint") if _HELD[p] in held.keys), "")]
    aside = "" if 2 * abs(dx) < unit else "right" if dx > 0 else "left"
    level = "" if 2 * abs(dy) < unit else "down" if dy > 0 else "up"
    if aside or level:
        phrases.append(f"{'cursor move' if window else 'turn'} {' and '.join(way for way in (aside, level) if way)}")
    left, right = "left" in held.buttons, "right" in held.buttons
    if window:
        phrases.append("operate gui" if left else "choose" if right else "")
    else:
        phrases.append(_BOTH if left and right else "attack / mine" if left else "use / place" if right else "")
        phrases.append("jump" if "space" in held.keys else "")
    phrases += [phrase for phrase, key in (("drop", "q"), ("swap", "f")) if key in held.keys]
    phrases.append(next((f"switch to hotbar {n}" for n in range(1, 10) if str(n) in held.keys), ""))
    if "e" in held.keys:
        phrases.append("close inventory" if window else "open inventory")
    elif "escape" in held.keys and window:
        phrases.append("close gui")
    return tuple(phrase for phrase in phrases if phrase)


def window_open(env: Environment) -> bool:
    """Tell whether a window is open: where the world's pointer tells its ``cursor``, and it is not None."""
    try:
        pointer: Any = env.interface("pointer")
    except KeyError:
        return False
    return getattr(pointer, "cursor", None) is not None
