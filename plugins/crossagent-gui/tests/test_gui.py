from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import Action, Call, InvalidAction, RawTick
from crossagent.testing import GrammarSampler, ToySuite, ToyWorld, check_action_space
from crossagent_gui.space import GuiSpace

SPACE = GuiSpace()
TASK = ToySuite().get("make:bow")


def bench() -> ToyWorld:
    """A world with the bench open, the cursor in its middle."""
    world = ToyWorld()
    world.reset(TASK, 0)
    world.interface("pointer").press("e")
    return world


WORLD = bench()
GRAMMAR = GrammarSampler(SPACE.tokenizer.grammar(WORLD), "gui_response")


@given(st.randoms(use_true_random=False))
def test_round_trip_over_the_grammar(rng: random.Random) -> None:
    text = GRAMMAR.sample(rng)
    action = SPACE.tokenizer.decode(text)
    assert isinstance(action, Action)
    assert SPACE.tokenizer.encode(action) == text


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("Gui: click(result)", ("click", "result")),
        ("Gui: click(212, 140)", ("click", 212, 140)),
        ("Gui: drag(hot1, 3, 4)", ("drag", "hot1", 3, 4)),
        ("Gui: drag(3, 4, hot1)", ("drag", 3, 4, "hot1")),
        ("Gui: press(left.shift)", ("press", "left.shift")),
        ("Gui: scroll(-2)", ("scroll", -2)),
    ],
)
def test_examples(text: str, payload: tuple[str | int, ...]) -> None:
    assert SPACE.tokenizer.decode(text) == Action("gui", payload)
    assert SPACE.tokenizer.encode(Action("gui", payload)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Gui: tap(result)", "no gesture 'tap'; expected click, right_click"),
        ("Gui: click(1)", "click takes a target's name or x, y"),
        ("Gui: click(-1, 2)", "click takes"),
        ("Gui: drag(a)", "drag takes two targets"),
        ("Gui: scroll(0)", "scroll takes -9…-1 or 1…9"),
        ("Gui: press(w, s)", "press takes a key"),
        ("Gui: click result", "expected gesture"),
        ("Api: click(a)", "expected 'Gui:'"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    result = SPACE.tokenizer.decode(text)
    assert isinstance(result, InvalidAction)
    assert reason in result.reason


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("click(wood)", [RawTick((), ("left",), (-50, -30))]),
        ("click(10, 10)", [RawTick((), ("left",), (-50, -30))]),
        ("right_click(string)", [RawTick((), ("right",), (50, 30))]),
        ("shift_click(result)", [RawTick(("shift",), ("left",))]),
        ("double_click(result)", [RawTick((), ("left",)), RawTick(), RawTick((), ("left",))]),
        ("drag(result, 70, 50)", [RawTick((), ("left",)), RawTick((), ("left",), (10, 10))]),
        ("press(e)", [RawTick(), RawTick(("e",))]),
        ("scroll(1)", [RawTick()]),
    ],
)
def test_gestures_become_raw_ticks(text: str, ticks: list[RawTick]) -> None:
    world = bench()
    action = SPACE.tokenizer.decode(f"Gui: {text}")
    assert isinstance(action, Action)
    outcome = SPACE.executor.execute(action, world)
    assert world.tick_log[1:] == ticks
    assert outcome.error == ""
    assert SPACE.cost(action, outcome) == pytest.approx(0.25 + 0.05 * len(ticks))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("click(banana)", "no banana on the screen"),
        ("click(120, 0)", "(120, 0) is off the screen"),
        ("press(w)", "no key w"),
    ],
)
def test_what_is_not_there_is_an_error_without_ticks(text: str, error: str) -> None:
    world = bench()
    action = SPACE.tokenizer.decode(f"Gui: {text}")
    assert isinstance(action, Action)
    outcome = SPACE.executor.execute(action, world)
    assert (outcome.error, outcome.ticks) == (error, 0)


def test_recorded_calls_are_named_where_there_is_a_name() -> None:
    calls = [
        Call("pointer", "move_to", (60, 40)),
        Call("pointer", "click", ("left", 1, ())),
        Call("pointer", "move_to", [61, 40]),
        Call("pointer", "click", ["left", 2, []]),
        Call("pointer", "click", ("left", 1, ("shift",))),
        Call("pointer", "drag", (10, 10)),
        Call("pointer", "press", ("e",)),
        Call("pointer", "scroll", (20,)),
        Call("pointer", "click", ("right", 2, ())),
        Call("skills", "call", ("goto", "apple")),
    ]
    assert [SPACE.tokenizer.encode(a) for a in SPACE.from_calls(calls, bench())] == [
        "Gui: click(result)",
        "Gui: double_click(61, 40)",
        "Gui: shift_click(61, 40)",
        "Gui: drag(61, 40, wood)",
        "Gui: press(e)",
        "Gui: scroll(9)",
    ]
    assert SPACE.from_calls([Call("pointer", "click", ("left", 1, ()))], bench()) == []


def test_the_contract() -> None:
    assert check_action_space(SPACE, ToyWorld(), TASK) == []
