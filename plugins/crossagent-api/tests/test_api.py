from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import Action, Call, InvalidAction
from crossagent.testing import GrammarSampler, ToySuite, ToyWorld, check_action_space
from crossagent_api.space import ApiSpace

SPACE = ApiSpace()
WORLD = ToyWorld()
TASK = ToySuite().get("get:apple")
WORLD.reset(TASK, 0)
GRAMMAR = GrammarSampler(SPACE.tokenizer.grammar(WORLD), "api_response")


def run(text: str, space: ApiSpace = SPACE, seed: int = 0):  # type: ignore[no-untyped-def]
    world = ToyWorld()
    world.reset(TASK, seed)
    action = space.tokenizer.decode(text)
    assert isinstance(action, Action)
    return space.executor.execute(action, world), world


@given(st.randoms(use_true_random=False))
def test_round_trip_over_the_grammar(rng: random.Random) -> None:
    text = GRAMMAR.sample(rng)
    action = SPACE.tokenizer.decode(text)
    assert isinstance(action, Action)
    assert SPACE.tokenizer.encode(action) == text


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("Api: mine(oak_log)", ("mine", "oak_log")),
        ("Api: close()", ("close",)),
        ("Api: craft(oak_planks, 4)", ("craft", "oak_planks", 4)),
        ("Api:mine( oak_log ) ", ("mine", "oak_log")),
    ],
)
def test_examples(text: str, payload: tuple[str | int, ...]) -> None:
    assert SPACE.tokenizer.decode(text) == Action("api", payload)


@pytest.mark.parametrize(
    "text",
    ["Api: mine oak_log", "Api: mine(Oak)", "Api: mine(oak log)", "Api: mine(12345)", "Api: mine(a,)", "Api: a() b()"],
)
def test_what_is_no_call_is_refused(text: str) -> None:
    assert isinstance(SPACE.tokenizer.decode(text), InvalidAction)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Api: fly(apple)", "no skill fly"),
        ("Api: goto(7)", "expected goto(thing: name)"),
        ("Api: goto()", "expected goto(thing: name)"),
        ("Api: walk_to(apple)", "expected walk_to(cell: int)"),
        ("Api: goto(bug)", "bug does not wait"),
    ],
)
def test_a_call_that_cannot_be_done_says_why_and_takes_no_time(text: str, error: str) -> None:
    outcome, _ = run(text)
    assert (outcome.error, outcome.ticks) == (error, 0)


def test_a_skill_runs_to_its_end_and_costs_its_time() -> None:
    outcome, world = run("Api: goto(apple)")
    assert outcome.error == ""
    assert outcome.ticks == len(world.tick_log) >= 2
    assert SPACE.cost(Action("api", ()), outcome) == pytest.approx(1.0 + outcome.ticks / 20)


def test_a_skill_that_takes_too_long_is_stopped() -> None:
    outcome, _ = run("Api: goto(apple)", ApiSpace(max_ticks=1))
    assert (outcome.ticks, outcome.error) == (1, "stopped after 1 ticks")


def test_skills_are_listed_with_signatures_and_recorded_calls_are_written() -> None:
    assert "- walk_to(cell: int): walk to a cell by number" in SPACE.tokenizer.prompt_fragment(WORLD)
    calls = [Call("skills", "call", ("goto", "apple")), Call("control", "step"), Call("skills", "call", ["walk_to", 3])]
    assert [SPACE.tokenizer.encode(a) for a in SPACE.from_calls(calls, WORLD)] == [
        "Api: goto(apple)",
        "Api: walk_to(3)",
    ]


def test_the_contract() -> None:
    assert check_action_space(SPACE, ToyWorld(), TASK) == []
