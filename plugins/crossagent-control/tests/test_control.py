from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import Action, Call, InvalidAction
from crossagent.testing import GrammarSampler, ToySuite, ToyWorld, check_action_space
from crossagent.testing.toy import ToyControl
from crossagent_control.space import ControlSpace, Hold

SPACE = ControlSpace()
WORLD = ToyWorld()
TASK = ToySuite().get("get:apple")
WORLD.reset(TASK, 0)
GRAMMAR = GrammarSampler(SPACE.tokenizer.grammar(WORLD), "control_response")
KEYS = ["w", "s", "a", "d", "q", "e", "space", *"123456789", "left.shift", "left.control", "F5", "zoom_in"]


@given(st.randoms(use_true_random=False))
def test_round_trip_over_the_grammar(rng: random.Random) -> None:
    text = GRAMMAR.sample(rng)
    action = SPACE.tokenizer.decode(text)
    assert isinstance(action, Action)
    assert SPACE.tokenizer.encode(action) == text


@given(
    st.tuples(st.integers(-9999, 9999), st.integers(-9999, 9999)),
    st.lists(st.sampled_from(KEYS), unique=True),
    st.lists(st.sampled_from(["left", "right"]), unique=True),
)
def test_round_trip_over_payloads(camera: tuple[int, int], keys: list[str], buttons: list[str]) -> None:
    text = SPACE.tokenizer.encode(Action("control", (camera, keys, buttons)))
    action = SPACE.tokenizer.decode(text)
    assert isinstance(action, Action)
    assert action.payload.camera == camera
    assert set(action.payload.keys) == set(keys)
    assert set(action.payload.buttons) == set(buttons)
    assert SPACE.tokenizer.encode(action) == text


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("Action: no_op", Hold()),
        ("Action: move(19, 0) and press(w, left.control) and click(left)", Hold((19, 0), ("w", "left.control"), ("left",))),
        ("Action: move(19, -4)", Hold((19, -4))),
        ("Action: click(left) and click(right)", Hold((0, 0), (), ("left", "right"))),
        ("Action: press(s, w, 1, e, space, a, d, left.shift)", Hold((0, 0), ("s", "w", "1", "e", "space", "a", "d", "left.shift"))),
    ],
)  # fmt: skip
def test_the_released_format_is_canonical(text: str, payload: Hold) -> None:
    assert SPACE.tokenizer.decode(text) == Action("control", payload)
    assert SPACE.tokenizer.encode(Action("control", payload)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Action: move(0, 0)", "Action: no_op"),
        ("Action: click(left) and press(left.control,w) and move(3,4) ", "Action: move(3, 4) and press(w, left.control) and click(left)"),
        ("Action:no_op\n", "Action: no_op"),
    ],
)  # fmt: skip
def test_other_spellings_are_read_and_written_canonically(text: str, canonical: str) -> None:
    action = SPACE.tokenizer.decode(text)
    assert isinstance(action, Action)
    assert SPACE.tokenizer.encode(action) == canonical


@pytest.mark.parametrize(
    ("text", "reason", "at"),
    [
        ("Action: press(w) and press(s)", "press is there twice", "press(s)"),
        ("Action: press(w, w)", "a key is there twice", "w, w"),
        ("Action: click(left) and click(left)", "click(left) is there twice", "click(left)"),
        ("Action: move(1, 2) press(w)", "expected ` and ` between parts", " press(w)"),
        ("Action: move(1.5, 2)", "expected move(dx, dy)", " move(1.5, 2)"),
        ("Action: no_op and press(w)", "expected move(dx, dy)", " no_op and press(w)"),
        ("Action:", "expected move(dx, dy)", ""),
        ("Gui: click(a)", "expected 'Action:' at the start", "Gui: cl"),
    ],
)
def test_what_is_wrong_is_said_and_shown(text: str, reason: str, at: str) -> None:
    result = SPACE.tokenizer.decode(text)
    assert isinstance(result, InvalidAction)
    assert reason in result.reason
    assert text[slice(*result.span)] == at


def test_an_action_lasts_k_ticks_and_the_mouse_moves_in_the_first() -> None:
    world = ToyWorld()
    world.reset(TASK, 0)
    space = ControlSpace(ticks=3, turn_cost=0.5, tick_cost=0.1)
    action = space.tokenizer.decode("Action: move(4, 2) and press(d) and click(right)")
    assert isinstance(action, Action)
    outcome = space.executor.execute(action, world)
    assert [t.camera for t in world.tick_log] == [(4, 2), (0, 0), (0, 0)]
    assert all((t.keys, t.buttons) == (("d",), ("right",)) for t in world.tick_log)
    assert outcome.ticks == 3
    assert space.cost(action, outcome) == pytest.approx(0.8)


@pytest.mark.parametrize(("text", "error"), [("press(banana)", "no key banana"), ("click(middle)", "no button middle")])
def test_an_unknown_key_is_an_error_without_ticks(text: str, error: str) -> None:
    world = ToyWorld()
    world.reset(TASK, 0)
    action = SPACE.tokenizer.decode(f"Action: {text}")
    assert isinstance(action, Action)
    outcome = SPACE.executor.execute(action, world)
    assert (outcome.ticks, outcome.error) == (0, error)


def test_equal_calls_are_merged_up_to_k() -> None:
    walk = Call("control", "step", (("d",), (), (0, 0)))
    turn = Call("control", "step", (["d"], [], [5, 0]))  # as JSON brings it back
    actions = SPACE.from_calls([turn, walk, walk, walk, walk, Call("pointer", "press", ("e",)), turn, turn], WORLD)
    assert [a.payload for a in actions] == [
        Hold((6, 0), ("d",)),
        Hold((0, 0), ("d",)),
        Hold((6, 0), ("d",)),
        Hold((6, 0), ("d",)),
    ]


def test_the_contract() -> None:
    assert check_action_space(SPACE, ToyWorld(), TASK) == []


class Limited(ToyControl):
    """Some worlds have no mouse buttons, or no keys."""

    def __init__(self, world: ToyWorld, keys: tuple[str, ...], buttons: tuple[str, ...]) -> None:
        super().__init__(world)
        self.keys, self.buttons = lambda: keys, lambda: buttons  # type: ignore[method-assign]


@pytest.mark.parametrize(("keys", "buttons"), [(("a", "d"), ()), ((), ("left",)), ((), ())])
def test_the_contract_where_there_are_no_keys_or_no_buttons(keys: tuple[str, ...], buttons: tuple[str, ...]) -> None:
    world = ToyWorld()
    world._interfaces["control"] = Limited(world, keys, buttons)
    assert check_action_space(ControlSpace(), world, ToySuite().get("get:apple")) == []
