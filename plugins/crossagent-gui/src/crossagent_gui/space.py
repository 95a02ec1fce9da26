"""The space ``gui``: one gesture of the pointer a turn, at a named target or a pixel.

``Gui: click(result)`` · ``Gui: click(212, 140)`` · ``Gui: drag(hot1, grid1)`` · ``Gui: press(e)`` · ``Gui: scroll(-2)``
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossagent.plugin import (
    Action,
    ActionSpace,
    ActionTokenizer,
    Call,
    Environment,
    Executor,
    InvalidAction,
    Outcome,
    Pointer,
    SkillFailed,
    carry_out,
    missing_header,
)

HEADER = "Gui:"
CLICKS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "click": ("left", 1, ()),
    "right_click": ("right", 1, ()),
    "shift_click": ("left", 1, ("shift",)),
    "double_click": ("left", 2, ()),
}
"""gesture → arguments of ``Pointer.click``."""
MAX_SCROLL = 9
Point = tuple[str] | tuple[int, int]
"""A target's name, or a pixel (x, y)."""

_CALL = re.compile(r" *([a-z_]+)\((.*)\)", re.ASCII)
_TARGET = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_PIXEL = re.compile(r"[0-9]{1,4}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*", re.ASCII)
_SCROLL = re.compile(r"-?[1-9]")


class GuiTokenizer(ActionTokenizer):
    """Writes and reads payloads (gesture, argument, …); a point is one name or two numbers."""

    def prompt_fragment(self, env: Environment) -> str:
        """Describe the gestures, with the screen and the keys of this world."""
        pointer: Pointer = env.interface("pointer")
        width, height = pointer.size
        return (
            f"{HEADER} makes one gesture with the mouse pointer on a screen of {width}x{height} pixels. A target is the "
            f"name of something on the screen, or x, y in pixels. Gestures:\n"
            f"- click(target), right_click(target), shift_click(target), double_click(target)\n"
            f"- drag(target, target): press at the first, release at the second\n"
            f"- press(key): press and release one key. Keys: {', '.join(pointer.keys())}\n"
            f"- scroll(n): turn the wheel n notches down, or up if negative; at most {MAX_SCROLL}\n"
            f"Example: {HEADER} click({width // 2}, {height // 2})"
        )

    def grammar(self, env: Environment) -> str:
        """Return the gestures; any name is a target, since what is on the screen changes."""
        pointer: Pointer = env.interface("pointer")
        keys = " | ".join(f'"{key}"' for key in pointer.keys())  # noqa: SIM118 - no dict
        return "\n".join(
            [
                f'gui_response: "{HEADER} " gui_gesture',
                "gui_gesture: " + " | ".join(f'"{click}(" gui_point ")"' for click in CLICKS),
                '  | "drag(" gui_point ", " gui_point ")" | "scroll(" GUI_NOTCHES ")"'
                + (" | gui_press" if keys else ""),
                *([f'gui_press: "press(" ({keys}) ")"'] if keys else []),
                'gui_point: GUI_TARGET | GUI_PIXEL ", " GUI_PIXEL',
                "GUI_TARGET: /[a-z][a-z0-9_]*/",
                f"GUI_PIXEL: /0|[1-9][0-9]{{0,{len(str(max(pointer.size) - 1)) - 1}}}/",
                "GUI_NOTCHES: /-?[1-9]/",
            ]
        )

    def encode(self, action: Action) -> str:
        """Write ``gesture(argument, …)``."""
        gesture, *args = action.payload
        return f"{HEADER} {gesture}({', '.join(map(str, args))})"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read a gesture; whether its target is on the screen is found out when it is made."""
        if (wrong := missing_header(text, HEADER)) is not None:
            return wrong
        end = len(text.rstrip())
        call = _CALL.fullmatch(text, len(HEADER), end)
        if not call:
            return InvalidAction("expected gesture(argument, …)", (min(len(HEADER), end), end))
        gesture, args = call[1], [arg.strip(" ") for arg in call[2].split(",")]
        read: tuple[str | int, ...] | None
        if gesture in CLICKS:
            read, expected = _points(args, 1), "a target's name or x, y"
        elif gesture == "drag":
            read, expected = _points(args, 2), "two targets, each a name or x, y"
        elif gesture == "press":
            read, expected = (args[0],) if len(args) == 1 and _KEY.fullmatch(args[0]) else None, "a key"
        elif gesture == "scroll":
            read = (int(args[0]),) if len(args) == 1 and _SCROLL.fullmatch(args[0]) else None
            expected = f"-{MAX_SCROLL}…-1 or 1…{MAX_SCROLL}"
        else:
            known = ", ".join([*CLICKS, "drag", "press", "scroll"])
            return InvalidAction(f"no gesture {gesture!r}; expected {known}", call.span(1))
        if read is None:
            return InvalidAction(f"{gesture} takes {expected}", call.span(2))
        return Action("gui", (gesture, *read))


def _points(args: Sequence[str], count: int) -> tuple[str | int, ...] | None:
    """Read exactly ``count`` points, flat; None when the arguments are anything else."""
    read: list[str | int] = []
    rest = list(args)
    for _ in range(count):
        if rest and _TARGET.fullmatch(rest[0]):
            read.append(rest.pop(0))
        elif len(rest) >= 2 and _PIXEL.fullmatch(rest[0]) and _PIXEL.fullmatch(rest[1]):
            read += [int(rest.pop(0)), int(rest.pop(0))]
        else:
            return None
    return tuple(read) if not rest else None


class GuiExecutor(Executor):
    """Makes the gesture; bounded because every gesture is a few ticks of the pointer."""

    def execute(self, action: Action, env: Environment) -> Outcome:
        """Make the gesture, or fail when there is no such target, key or pixel."""
        pointer: Pointer = env.interface("pointer")
        gesture, *args = action.payload

        def act() -> None:
            if env.over:
                return
            if gesture == "press":
                if args[0] not in pointer.keys():  # noqa: SIM118 - no dict
                    raise SkillFailed(f"no key {args[0]}")
                pointer.press(args[0])
            elif gesture == "scroll":
                pointer.scroll(args[0])
            else:
                points = _pixels(args, pointer)
                pointer.move_to(*points[0])
                if gesture == "drag":
                    pointer.drag(*points[1])
                else:
                    pointer.click(*CLICKS[gesture])  # type: ignore[arg-type]

        return carry_out(env, act)


def _pixels(args: Sequence[str | int], pointer: Pointer) -> list[tuple[int, int]]:
    """Return the pixel of each point; raises :class:`SkillFailed` for what is not on the screen."""
    pixels: list[tuple[int, int]] = []
    rest = list(args)
    while rest:
        first = rest.pop(0)
        if isinstance(first, str):
            rect = pointer.targets().get(first)
            if rect is None:
                raise SkillFailed(f"no {first} on the screen")
            pixels.append(rect.center)
        else:
            x, y = first, int(rest.pop(0))
            if not (x < pointer.size[0] and y < pointer.size[1]):
                raise SkillFailed(f"({x}, {y}) is off the screen")
            pixels.append((x, y))
    return pixels


class GuiSpace(ActionSpace):
    """A pointer.

    Cost of an action: ``turn_cost`` (what one more turn of the policy is worth, in seconds) + ``tick_cost`` per tick
    (1/20: the seconds the world went on).

    Args:
        turn_cost: Per gesture.
        tick_cost: Per tick of world time.
    """

    name, version, requires, header = "gui", "1", ("pointer",), HEADER

    def __init__(self, turn_cost: float = 0.25, tick_cost: float = 0.05) -> None:
        self._turn_cost, self._tick_cost = turn_cost, tick_cost
        self.tokenizer, self.executor = GuiTokenizer(), GuiExecutor()

    def cost(self, action: Action, outcome: Outcome) -> float:
        """Return seconds: the turn's price and the time it took."""
        return self._turn_cost + self._tick_cost * outcome.ticks

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Join each ``move_to`` with the click or drag that follows; name what can be named in the present state.

        Left out: clicks that no gesture makes, and clicks without a ``move_to``, whose place is unknown.
        """
        pointer: Pointer = env.interface("pointer")
        names = {rect.center: name for name, rect in sorted(pointer.targets().items(), reverse=True)}
        actions: list[Action] = []
        at: tuple[int, int] | None = None
        for call in calls:
            if call.interface != "pointer":
                continue
            args = call.args
            if call.method == "move_to":
                at = (args[0], args[1])
            elif call.method == "press":
                actions.append(Action(self.name, ("press", args[0])))
            elif call.method == "scroll":
                notches = max(-MAX_SCROLL, min(MAX_SCROLL, args[0]))
                actions += [Action(self.name, ("scroll", notches))] if notches else []
            elif at is not None and call.method == "click":
                gesture = _gesture(*args)
                actions += [Action(self.name, (gesture, *_point(at, names)))] if gesture else []
            elif at is not None and call.method == "drag" and tuple(args[2:]) in ((), ("left",)):
                to = (args[0], args[1])
                actions.append(Action(self.name, ("drag", *_point(at, names), *_point(to, names))))
                at = to
        return actions


def _gesture(button: str = "left", count: int = 1, modifiers: Sequence[str] = ()) -> str | None:
    """Return the gesture that makes this ``Pointer.click``, None when there is none."""
    return next((g for g, click in CLICKS.items() if click == (button, count, tuple(modifiers))), None)


def _point(pixel: tuple[int, int], names: dict[tuple[int, int], str]) -> Point:
    return (names[pixel],) if pixel in names else pixel
