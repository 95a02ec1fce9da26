"""A space that composes others: the contract, and that only its second line does anything."""

from __future__ import annotations

import random

import pytest

from crossagent.plugin import Action, ActionSpace, ChainSpace, InvalidAction, SpaceSet
from crossagent.testing import GrammarSampler, ToySuite, ToyWorld, check_action_space
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlSpace

TEXT = "Plan: Api: goto(apple)\nAction: press(d) and click(left)"


@pytest.fixture
def space() -> ChainSpace:
    return ChainSpace("plan", "Plan:", abstract=ApiSpace(), executable=ControlSpace(ticks=2))


@pytest.fixture
def world() -> ToyWorld:
    world = ToyWorld()
    world.reset(ToySuite().get("get:apple"), 3)
    return world


def test_it_is_an_action_space_like_any_other(space: ActionSpace, world: ToyWorld) -> None:
    tasks = [task for task in ToySuite().tasks() if task.solvable]
    assert check_action_space(space, world, tasks) == []
    assert space.requires == ("control", "skills")


def test_it_can_be_active_beside_its_parts(space: ActionSpace, world: ToyWorld) -> None:
    spaces = SpaceSet({"api": ApiSpace(), "plan": space, "control": ControlSpace()})
    sampler = GrammarSampler(spaces.grammar(world), "start")
    rng = random.Random(0)
    texts = [sampler.sample(rng) for _ in range(60)]
    names = [spaces.decode(text)[0] for text in texts]
    assert set(names) == {"api", "plan", "control"}
    assert all(isinstance(spaces.decode(text)[1], Action) for text in texts)
    assert spaces.space_of(TEXT) == "plan", "a header on a later line is not an action"


def test_only_the_second_line_is_carried_out_compared_and_paid_for(space: ActionSpace, world: ToyWorld) -> None:
    control = ControlSpace(ticks=2)
    action, plain = space.tokenizer.decode(TEXT), control.tokenizer.decode(TEXT.partition("\n")[2])
    assert isinstance(action, Action)
    assert isinstance(plain, Action)
    assert space.lower(action, world, 2) == control.lower(plain, world, 2) != ()
    before = world.snapshot()
    one = space.executor.execute(action, world)
    world.restore(before)
    other = control.executor.execute(plain, world)
    assert one == other
    assert space.cost(action, one) == control.cost(plain, other)


@pytest.mark.parametrize(
    ("text", "reason", "span"),
    [
        ("Plan: Api: goto(apple)", "second line", (0, 22)),
        ("Plan: Gui: click(apple)\nAction: press(d)", "expected 'Api:'", (6, 10)),
        ("Plan: Api: goto(apple)\nApi: goto(apple)", "expected 'Action:'", (23, 30)),
        ("Api: goto(apple)\nAction: press(d)", "expected 'Plan:'", (0, 5)),
    ],
)
def test_a_fault_in_either_line_is_found_where_it_is(
    space: ActionSpace, text: str, reason: str, span: tuple[int, int]
) -> None:
    found = space.tokenizer.decode(text)
    assert isinstance(found, InvalidAction)
    assert reason in found.reason
    assert found.span == span


def test_segments_are_told_apart_also_in_what_is_no_action(space: ActionSpace) -> None:
    assert space.tokenizer.segments(TEXT) == (("header", 0), ("abstract", 5), ("action", 23))
    assert space.tokenizer.segments("Plan: what?") == (("header", 0), ("abstract", 5))
    assert [name for name, _ in space.tokenizer.segments(TEXT)] == list(space.tokenizer.segment_names)


def test_a_space_cannot_compose_itself() -> None:
    with pytest.raises(ValueError, match="got 'api' twice"):
        ChainSpace("plan", "Plan:", abstract=ApiSpace(), executable=ApiSpace())
