"""The space ``grounding``: OpenHA's grounded actions, a verb, what it is about, and where that is on the screen.

So::

    Grounding: Mine <|object_ref_start|>oak log<|object_ref_end|><|point_start|>(881,558)<|point_end|>
    Grounding: Explore

Points are thousandths of the screen, x to the right, y down. OpenHA gives them to ROCKET-1, a learned policy, as a mask;
the scripted executor looks for what the world can name there, turns to it, walks up and does what the verb says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    Pointer,
    Rect,
    SkillFailed,
    carry_out,
    missing_header,
)
from crossagent_minecraft_data.entities import MOBS
from crossagent_openha import raw
from crossagent_openha.camera import DEGREES_PER_PIXEL
from crossagent_openha.policies import Goal, LowLevelPolicy, follow, load

HEADER = "Grounding:"
POINTED = ("Kill", "Mine", "Approach", "right click", "move_camera")
"""Verbs with a point."""
ALONE = ("Explore", "no-op")
"""Verbs without."""
SPECIAL = ("<|object_ref_start|>", "<|object_ref_end|>", "<|point_start|>", "<|point_end|>")
THOUSAND = 1000
_LABEL = r"[A-Za-z0-9]+(?:[ _'-][A-Za-z0-9]+)*"
_ACTION = re.compile(
    rf" *(?P<verb>[A-Za-z]+(?:[ _-][A-Za-z]+)?) *"
    rf"(?:<\|object_ref_start\|> *(?P<label>{_LABEL}) *<\|object_ref_end\|> *)?"
    r"(?:<\|point_start\|>(?P<points>[0-9(), ]*)<\|point_end\|>)?",
    re.ASCII,
)
_POINTS = re.compile(r"\( *([0-9]{1,4}) *, *([0-9]{1,4}) *\)")
_SPELLINGS = {"move to": "move_camera", "move_to": "move_camera", "right_click": "right click", "no_op": "no-op"}


class Ground(NamedTuple):
    """Payload."""

    verb: str
    label: str = ""
    points: tuple[tuple[int, int], ...] = ()
    """(x, y) in thousandths; released data has one."""


# -- text ------------------------------------------------------------------------------------------------------------
def write(payload: Sequence[Any], cursor_verb: str = "move_camera") -> str:
    """Return the canonical text, without a header; chains of action say ``move to`` for ``move_camera``."""
    verb, label, points = payload
    words = cursor_verb if verb == "move_camera" else verb
    text = f"<|object_ref_start|>{label}<|object_ref_end|>" if label else ""
    if points:
        text += f"<|point_start|>{','.join(f'({x},{y})' for x, y in points)}<|point_end|>"
    return f"{words} {text}" if text else words


def read(text: str, start: int, end: int) -> Ground | InvalidAction:
    """Read ``text[start:end]``."""
    found = _ACTION.fullmatch(text, start, end)
    if found is None:
        return InvalidAction(
            f"expected a verb ({', '.join((*POINTED, *ALONE))}), then its object and its point", (start, end)
        )
    verb = _SPELLINGS.get(found["verb"], found["verb"])
    if verb in ALONE:
        if found["label"] is not None or found["points"] is not None:
            return InvalidAction(f"{verb} stands alone", found.span())
        return Ground(verb)
    if verb not in POINTED:
        return InvalidAction(f"no verb {verb!r}; expected {', '.join((*POINTED, *ALONE))}", found.span("verb"))
    given = found["points"]
    if given is None:
        return InvalidAction(f"{verb} needs a point, e.g. <|point_start|>(500,500)<|point_end|>", found.span())
    points = tuple((int(x), int(y)) for x, y in _POINTS.findall(given))
    if not points or _POINTS.sub("", given).strip(", ") or max(max(point) for point in points) > THOUSAND:
        return InvalidAction("expected (x,y), both from 0 to 1000", found.span("points"))
    return Ground(verb, found["label"] or "", points)


def rules(name: str, body: str, cursor_verb: str = "move_camera") -> list[str]:
    """Return grammar rules; see :func:`crossagent_openha.raw.rules`. What is on the screen changes: any name is an object."""
    upper = name.upper()
    verbs = " | ".join(f'"{cursor_verb if verb == "move_camera" else verb}"' for verb in POINTED)
    return [
        f"{body}: {' | '.join(f'{chr(34)}{verb}{chr(34)}' for verb in ALONE)}",
        f'  | {name}_verb " " {name}_object? "<|point_start|>(" {upper}_THOUSANDTH "," {upper}_THOUSANDTH ")<|point_end|>"',
        f"{name}_verb: {verbs}",
        f'{name}_object: "<|object_ref_start|>" {upper}_LABEL "<|object_ref_end|>"',
        f"{upper}_LABEL: /[a-z0-9]+(?:[ _'-][a-z0-9]+)*/",
        f"{upper}_THOUSANDTH: /1000|[1-9][0-9]{{0,2}}|0/",
    ]


def vocabulary(cursor_verb: str = "move_camera") -> list[str]:
    """Return lines that list the verbs for a prompt."""
    at = "<|object_ref_start|>object<|object_ref_end|><|point_start|>(x,y)<|point_end|>"
    return [
        f"- Kill {at}: fight the mob there",
        f"- Mine {at}: dig the block there",
        f"- Approach {at}: walk up to it",
        f"- right click {at}: use it, or what is in the hand on it; in a window, right click there",
        f"- {cursor_verb} {at}: look there; in a window, put the cursor there",
        "- Explore: look round for what is not on the screen",
        "- no-op: wait",
        "x and y are thousandths of the screen, from its left and its top; the object may be left out.",
    ]


class GroundingTokenizer(ActionTokenizer):
    """Writes and reads :class:`Ground`."""

    def prompt_fragment(self, env: Environment) -> str:
        """List the verbs."""
        example = write(Ground("Mine", "oak log", ((500, 450),)))
        return "\n".join(
            [
                f"{HEADER} names a thing on the screen and what to do with it:",
                *vocabulary(),
                f"Example: {HEADER} {example}",
            ]
        )

    def special_tokens(self) -> tuple[str, ...]:
        """Return the four marks, which released checkpoints have too."""
        return SPECIAL

    def grammar(self, env: Environment) -> str:
        """Return every verb, with any object and point."""
        return "\n".join([f'grounding_response: "{HEADER} " grounding_body', *rules("grounding", "grounding_body")])

    def encode(self, action: Action) -> str:
        """Write verb, object and point."""
        return f"{HEADER} {write(action.payload)}"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read verb, object and points; whether the object is there is found out when it is looked for."""
        wrong = missing_header(text, HEADER)
        if wrong is not None:
            return wrong
        read_ = read(text, len(HEADER), max(len(HEADER), len(text.rstrip())))
        return read_ if isinstance(read_, InvalidAction) else Action("grounding", read_)


# -- screens ---------------------------------------------------------------------------------------------------------
def thousandths(pixel: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return a pixel as the released data writes it: rounded down, 999 at most."""
    x, y = (max(0, min(THOUSAND - 1, p * THOUSAND // s)) for p, s in zip(pixel, size, strict=True))
    return x, y


def pixel(point: Sequence[int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the pixel of a point, rounded up as OpenHA reads it, on the screen."""
    x, y = (min(s - 1, -(-p * s // THOUSAND)) for p, s in zip(point, size, strict=True))
    return x, y


class Eye:
    """How the mouse turns the view to a pixel: a pinhole camera with a known vertical field of view, never rolled."""

    def __init__(self, size: tuple[int, int], fov: float) -> None:
        self.size = size
        self.focal = size[1] / 2 / math.tan(math.radians(fov) / 2)

    def turn(self, at: tuple[int, int]) -> tuple[float, float]:
        """Return the mouse movement (dx, dy) that brings what is at this pixel to the middle, nearly."""
        right, up = at[0] + 0.5 - self.size[0] / 2, self.size[1] / 2 - at[1] - 0.5
        yaw = math.degrees(math.atan2(right, self.focal))
        pitch = math.degrees(math.atan2(up, math.hypot(self.focal, right)))
        return yaw / DEGREES_PER_PIXEL, -pitch / DEGREES_PER_PIXEL

    def sees(self, moved: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel that this mouse movement brings to the middle, on the screen."""
        yaw, pitch = (math.radians(max(-80.0, min(80.0, pixels * DEGREES_PER_PIXEL))) for pixels in moved)
        right = self.focal * math.tan(yaw)
        down = math.hypot(self.focal, right) * math.tan(pitch)
        x, y = int(self.size[0] / 2 + right), int(self.size[1] / 2 + down)
        return max(0, min(self.size[0] - 1, x)), max(0, min(self.size[1] - 1, y))

    def distance(self, name: str, width: int) -> float:
        """Return how far off a thing of this name is that looks so many pixels wide, in blocks."""
        mob = MOBS.get(name)
        return self.focal * (mob.width if mob else _BLOCK) / max(width, 1)


_BLOCK = 0.8
"""Width of the middle of a block's face, which is what worlds frame."""


def base_name(target: str) -> str:
    """Return what a target is: ``cow_2`` is the second ``cow``."""
    return re.sub(r"_[0-9]+$", "", target)


def target_at(pointer: Pointer, at: tuple[int, int], label: str = "", slack: float = 0.0) -> tuple[str, Rect] | None:
    """Return the named thing at a pixel: of that label, the nearest; of any, one that it is on, or nearer than ``slack``."""
    wanted = re.sub(r"[ '-]", "_", label.lower())
    named = [
        (name, rect)
        for name, rect in pointer.targets().items()
        if not wanted or base_name(name) == wanted or name == wanted
    ]
    if not wanted:
        named = [(name, rect) for name, rect in named if _on(rect, at) or _apart(rect, at) <= slack]
    return min(named, key=lambda one: (_apart(one[1], at), one[0]), default=None)


def _on(rect: Rect, at: tuple[int, int]) -> bool:
    return rect.x <= at[0] < rect.x + rect.width and rect.y <= at[1] < rect.y + rect.height


def _apart(rect: Rect, at: tuple[int, int]) -> float:
    return math.dist(rect.center, at)


# -- what it does ----------------------------------------------------------------------------------------------------
_REACH = {"Kill": 2.6, "Mine": 3.6, "Approach": 2.2, "right click": 3.2}
"""Blocks at which walking stops."""
_RECOVERY = 13
"""Ticks between blows: what a sword needs."""
_LOST = 24
"""Pixels beyond its size that a thing may seem to jump within a tick and still be the same."""


class GroundingExecutor(Executor):
    """Closed loop over ticks: find it, turn to it, walk up, act."""

    def __init__(self, ticks: int, fov: float, policy: LowLevelPolicy | None) -> None:
        self._ticks, self._fov, self._policy = ticks, fov, policy

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Take at most ``ticks`` ticks; stop when it is done, or the thing is gone."""
        verb, label, points = action.payload

        def act() -> None:
            if env.over:
                return
            if self._policy is not None:
                follow(self._policy, Goal(verb, label, tuple((x, y) for x, y in points)), env, self._ticks)
                return
            run = _Run(env, verb, label, self._fov, self._ticks)
            if verb in ALONE:
                run.explore() if verb == "Explore" else run.wait(self._ticks)
            elif run.cursor is not None:
                run.in_window(pixel(points[0], run.pointer.size))
            else:
                run.in_world(pixel(points[0], run.pointer.size))

        return carry_out(env, act)


class _Run:
    """One grounded action."""

    def __init__(self, env: Environment, verb: str, label: str, fov: float, ticks: int) -> None:
        self.env, self.verb, self.label, self.left = env, verb, label, ticks
        self.control: Control = env.interface("control")
        self.pointer: Pointer = env.interface("pointer")
        self.eye = Eye(self.pointer.size, fov)

    @property
    def cursor(self) -> tuple[int, int] | None:
        """The cursor of an open window, where the world tells."""
        at: tuple[int, int] | None = getattr(self.pointer, "cursor", None)
        return at

    def tick(
        self, keys: Sequence[str] = (), buttons: Sequence[str] = (), camera: tuple[float, float] = (0, 0)
    ) -> tuple[int, int]:
        """Take a tick, keys that the world lacks left out; return the mouse movement that was made."""
        quantum, limit = self.control.camera_quantum, self.control.camera_limit
        moved = raw.snap(camera[0], quantum, limit), raw.snap(camera[1], quantum, limit)
        known = self.control.keys()
        self.control.step(tuple(key for key in keys if key in known), tuple(buttons), moved)
        self.left -= 1
        return moved

    @property
    def goes_on(self) -> bool:
        return self.left > 0 and not self.env.over

    def wait(self, ticks: int) -> None:
        """Do nothing."""
        for _ in range(ticks):
            if self.goes_on:
                self.tick()

    def explore(self) -> None:
        """Turn by 60° to the right, then walk, hopping over what is in the way."""
        turn = 60 / DEGREES_PER_PIXEL
        while turn > 0 and self.goes_on:
            made, _ = self.tick(camera=(turn, 0))
            turn = turn - made if made else 0
        while self.goes_on:
            self.tick(("w", "space"))

    def in_window(self, at: tuple[int, int]) -> None:
        """Move the cursor, or right click; nothing else makes sense there."""
        if self.verb == "right click":
            self.pointer.move_to(*at)
            self.pointer.click("right")
            return
        if self.verb != "move_camera":
            raise SkillFailed(f"{self.verb} in a window")
        while self.goes_on and self.cursor is not None:
            dx, dy = at[0] - self.cursor[0], at[1] - self.cursor[1]
            if self.tick(camera=(dx, dy)) == (0, 0):
                return

    def in_world(self, at: tuple[int, int]) -> None:
        """Turn to the thing and act on it; to the mere pixel where nothing has a name."""
        found = target_at(self.pointer, at, self.label)
        if found is None and self.label and self.verb in ("Kill", "Approach"):
            raise SkillFailed(f"no {self.label} on the screen")
        if found is None:
            self.blindly(at)
            return
        name, rect = base_name(found[0]), found[1]
        best, since, blow = math.inf, 0, 0
        middle = (self.pointer.size[0] // 2, self.pointer.size[1] // 2)
        while self.goes_on:
            turn = self.eye.turn(rect.center)
            far = self.eye.distance(name, rect.width)
            quantum = self.control.camera_quantum
            aimed = max(abs(turn[0]), abs(turn[1])) <= max(quantum, 0.35 * rect.width)
            ahead = abs(turn[0]) < 25 / DEGREES_PER_PIXEL
            near = far <= _REACH.get(self.verb, math.inf)
            if near and aimed and self.verb in ("Approach", "move_camera"):
                break
            keys = [] if near or not ahead or self.verb == "move_camera" else ["w"]
            best, since = (far, 0) if far < best - 0.05 else (best, since + 1)
            if keys and since >= 3:
                keys.append("space")
            buttons: list[str] = []
            if near and aimed and self.verb == "Mine":
                buttons = ["left"]
            elif near and aimed and self.verb == "Kill" and blow <= 0:
                buttons, blow = ["left"], _RECOVERY
            elif near and aimed and self.verb == "right click":
                self.tick((), ("right",), turn)
                return
            blow -= 1
            self.tick(keys, buttons, turn)
            again = target_at(self.pointer, middle if aimed else rect.center, name)
            if again is None or (aimed and _apart(again[1], middle) > again[1].width + _LOST):
                return
            rect = again[1]

    def blindly(self, at: tuple[int, int]) -> None:
        """Turn to a pixel where the world names nothing, then act until the ticks are used up."""
        dx, dy = self.eye.turn(at)
        while self.goes_on:
            moved = self.tick(camera=(dx, dy))
            if moved == (0, 0):
                break
            dx, dy = dx - moved[0], dy - moved[1]
        if self.verb == "right click" and self.goes_on:
            self.tick((), ("right",))
        while self.goes_on and self.verb in ("Kill", "Mine", "Approach"):
            self.tick(("w",) if self.verb == "Approach" else (), () if self.verb == "Approach" else ("left",))


class GroundingSpace(ActionSpace):
    """Grounded actions. Where the world's pointer tells its ``cursor`` (None without a window), they reach windows too.

    Cost of an action: ``turn_cost`` (what one more turn of the policy is worth, in seconds) + ``tick_cost`` per tick.

    Args:
        ticks: The most that one action lasts.
        fov: The world's vertical field of view in degrees.
        policy: ``module:factory`` of a learned low-level policy (``crossagent_openha.policies``) instead of the script.
        turn_cost: Per action.
        tick_cost: Per tick of world time.
    """

    name, version, requires, header = "grounding", "1", ("control", "pointer"), HEADER

    def __init__(
        self,
        ticks: int = 20,
        fov: float = 70.0,
        policy: str | None = None,
        turn_cost: float = 0.25,
        tick_cost: float = 0.05,
    ) -> None:
        if ticks < 1:
            raise ValueError(f"ticks: got {ticks}; expected at least 1")
        if not 0 < fov < 180:
            raise ValueError(f"fov: got {fov}; expected degrees between 0 and 180")
        self._fov, self._turn_cost, self._tick_cost = fov, turn_cost, tick_cost
        self.tokenizer = GroundingTokenizer()
        self.executor = GroundingExecutor(ticks, fov, load(policy) if policy else None)

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return seconds: the turn's price and the time it took."""
        return self._turn_cost + self._tick_cost * outcome.ticks

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Say what the first control call that is not idle is about, in the present state: at most one action.

        Left clicks in a window are left out: no verb makes them.
        """
        control: Control = env.interface("control")
        steps = [raw.of_call(control, *c.args) for c in calls if (c.interface, c.method) == ("control", "step")]
        if not steps:
            return []
        ground = about(next((held for held in steps if held != raw.Raw()), raw.Raw()), env, self._fov)
        return [Action(self.name, ground)] if ground is not None else []


def about(held: raw.Raw, env: Environment, fov: float) -> Ground | None:
    """Return the grounded action that a raw action is part of, in the present state; None when there is no verb for it."""
    pointer: Pointer = env.interface("pointer")
    eye = Eye(pointer.size, fov)
    if held == raw.Raw():
        return Ground("no-op")
    cursor: tuple[int, int] | None = getattr(pointer, "cursor", None)
    if cursor is not None:
        at = (cursor[0] + held.camera[0], cursor[1] + held.camera[1])
        if "left" in held.buttons or held.keys or ("right" not in held.buttons and held.camera == (0, 0)):
            return None
        verb = "right click" if "right" in held.buttons else "move_camera"
    else:
        at = eye.sees(held.camera)
        if set(held.keys) - {*"wasd", "space", "left.control"}:
            return None
        verb = "right click" if "right" in held.buttons else "Mine" if "left" in held.buttons else "Approach"
    at = (max(0, min(pointer.size[0] - 1, at[0])), max(0, min(pointer.size[1] - 1, at[1])))
    found = target_at(pointer, at, slack=_LOST)
    name = base_name(found[0]) if found is not None else ""
    aside = bool(set(held.keys) & set("asd"))
    if name in MOBS and (verb == "Mine" or aside):
        verb = "Kill"  # to step aside is part of a fight
    elif aside:
        return None
    if verb == "Approach" and found is None:
        verb = "move_camera" if held.camera != (0, 0) else "Explore"
    where = thousandths(found[1].center if found is not None and cursor is None else at, pointer.size)
    return Ground(verb, name.replace("_", " "), (where,)) if verb != "Explore" else Ground(verb)
