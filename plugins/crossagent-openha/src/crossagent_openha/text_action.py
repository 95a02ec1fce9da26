"""The space ``text_action``: OpenHA's raw actions, ``Action: move(19, -4) and press(w) and click(left)``."""

from __future__ import annotations

from collections.abc import Sequence

from crossagent.plugin import Action, ActionTokenizer, Call, Control, Environment, InvalidAction, missing_header
from crossagent_control.space import ControlSpace
from crossagent_openha import raw

HEADER = "Action:"


class TextActionTokenizer(ActionTokenizer):
    """Writes and reads :class:`crossagent_openha.raw.Raw`."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks

    def prompt_fragment(self, env: Environment) -> str:
        """Describe mouse, keys and buttons."""
        control: Control = env.interface("control")
        keys = raw.in_order(control.keys())
        lasts = "one tick" if self._ticks == 1 else f"{self._ticks} ticks"
        lines = [
            f"{HEADER} is a raw action: the mouse moves, and keys and buttons are held for {lasts} (1/20 s each).",
            f"- move(dx, dy): the mouse moves dx pixels right and dy pixels down, at most {control.camera_limit} along an axis; "
            "it turns the view, or the cursor of an open window.",
            f"- press(key, …): keys are held. Keys: {', '.join(keys) or 'none'}.",
            "- click(left): attack or dig; in a window, take or put a stack.",
            "- click(right): use or place what is in the hand; in a window, take half a stack or put one item.",
            "- no_op, alone: nothing is held.",
            f"Join parts with ` and `, in this order. Example: {HEADER} move(19, -4) and press(w) and click(left)",
        ]
        return "\n".join(lines)

    def grammar(self, env: Environment) -> str:
        """Return rules for any movement up to 9999 pixels, and the world's keys and buttons once each, in their order."""
        return "\n".join(
            [
                f'text_action_response: "{HEADER} " text_action_body',
                *raw.rules(env.interface("control"), "text_action", "text_action_body"),
            ]
        )

    def encode(self, action: Action) -> str:
        """Write the parts in order."""
        return f"{HEADER} {raw.write(action.payload)}"

    def decode(self, text: str) -> Action | InvalidAction:
        """Read the parts, in any order; see :func:`crossagent_openha.raw.read`."""
        wrong = missing_header(text, HEADER)
        if wrong is not None:
            return wrong
        read = raw.read(text, len(HEADER), len(text))
        return read if isinstance(read, InvalidAction) else Action("text_action", read)


class TextActionSpace(ControlSpace):
    """Raw actions: what the space ``control`` does, in OpenHA's words. OpenHA asks for one every tick: ``ticks: 1``.

    Cost of an action: ``turn_cost`` (what one more turn of the policy is worth, in seconds) + ``tick_cost`` per tick.

    Args:
        ticks: How long one action lasts.
        turn_cost: Per action.
        tick_cost: Per tick of world time.
    """

    name, version, requires, header = "text_action", "1", ("control",), HEADER

    def __init__(self, ticks: int = 4, turn_cost: float = 0.25, tick_cost: float = 0.05) -> None:
        super().__init__(ticks, turn_cost, tick_cost)
        self.tokenizer = TextActionTokenizer(ticks)

    def from_calls(self, calls: Sequence[Call], env: Environment) -> list[Action]:
        """Merge equal ticks into actions: up to ``ticks`` calls that hold the same, the mouse moving in the first only."""
        return [Action(self.name, held) for held, _, _ in runs(calls, env.interface("control"), self._ticks)]


def runs(calls: Sequence[Call], control: Control, ticks: int) -> list[tuple[raw.Raw, tuple[int, int], int]]:
    """Return the holds that control calls come to: (what is held, the mouse moving in the first tick; the whole movement;
    how many calls), at most ``ticks`` calls each. Calls of other interfaces are left out.
    """
    found: list[tuple[raw.Raw, tuple[int, int], int]] = []
    for call in calls:
        if (call.interface, call.method) != ("control", "step"):
            continue
        now = raw.of_call(control, *call.args)
        if found:
            held, moved, length = found[-1]
            if length < ticks and now == held._replace(camera=(0, 0)):
                found[-1] = (held, moved, length + 1)
                continue
        found.append((now, now.camera, 1))
    return found
