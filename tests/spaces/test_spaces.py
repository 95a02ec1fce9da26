"""Routing between spaces, measuring and lowering."""

from __future__ import annotations

import pytest
from lark import Lark

from crossagent.plugin import Action, Environment, InvalidAction, Outcome, RawTick, SkillFailed, SpaceSet, carry_out
from crossagent.testing import ToySuite, ToyWorld
from crossagent_api.space import ApiSpace
from crossagent_control.space import ControlExecutor, ControlSpace
from crossagent_gui.space import GuiSpace

SPACES = SpaceSet({"api": ApiSpace(), "gui": GuiSpace(), "control": ControlSpace()}, {"api": 0.02})
TEXTS = ["Api: goto(apple)", "Gui: click(5, 6)", "Action: move(2, -20) and press(a, d) and click(left)"]


@pytest.fixture
def world() -> ToyWorld:
    world = ToyWorld()
    world.reset(ToySuite().get("get:apple"), 0)
    return world


@pytest.mark.parametrize("parser", ["earley", "lalr"])
@pytest.mark.parametrize("allowed", [None, ["gui"], ["control", "api"]])
def test_one_grammar_accepts_the_actions_of_the_allowed_spaces_only(
    world: ToyWorld, parser: str, allowed: list[str] | None
) -> None:
    lark = Lark(SPACES.grammar(world, allowed), parser=parser)  # type: ignore[call-overload]
    for text in TEXTS:
        if allowed is None or SPACES.space_of(text) in allowed:
            assert lark.parse(text)
        else:
            with pytest.raises(Exception, match="No terminal matches"):
                lark.parse(text)


def test_text_is_routed_by_its_header() -> None:
    for name, text in zip(SPACES, TEXTS, strict=True):
        space, action = SPACES.decode(text)
        assert space == name
        assert isinstance(action, Action)
        assert action.space == name


def test_a_space_that_is_not_allowed_was_chosen_all_the_same() -> None:
    space, action = SPACES.decode(TEXTS[0], allowed=["gui"])
    assert space == "api"
    assert isinstance(action, InvalidAction)
    assert "'api' is not allowed" in action.reason


@pytest.mark.parametrize("text", ["", "goto(apple)", "I think Api: goto(apple)", " Api: goto(apple)"])
def test_a_text_that_opens_with_no_header_belongs_to_no_space(text: str) -> None:
    space, action = SPACES.decode(text)
    assert space is None
    assert isinstance(action, InvalidAction)
    assert "'Api:', 'Gui:', 'Action:'" in action.reason


def test_a_failed_skill_is_measured_as_an_outcome_with_its_reason(world: ToyWorld) -> None:
    def act() -> None:
        world.interface("control").step(["d"])
        raise SkillFailed("enough")

    outcome = carry_out(world, act)
    assert (outcome.ticks, outcome.error, outcome.terminated) == (1, "enough", False)


def test_any_other_exception_passes_through(world: ToyWorld) -> None:
    def act() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        carry_out(world, act)


def test_lowering_stops_at_the_horizon_and_strips_trailing_idleness(world: ToyWorld) -> None:
    space = SPACES["control"]
    before = world.state_hash()

    def ticks(text: str, horizon: int) -> tuple[RawTick, ...]:
        action = space.tokenizer.decode(text)
        assert isinstance(action, Action)
        return space.lower(action, world, horizon)

    assert ticks("Action: press(d)", 2) == (RawTick(("d",)), RawTick(("d",)))
    assert len(ticks("Action: press(d)", 99)) == 4
    assert ticks("Action: move(4, 0)", 4) == (RawTick(camera=(4, 0)),)
    assert ticks("Action: no_op", 4) == ()
    assert world.state_hash() == before
    assert world.tick_log == []


class Late(ControlExecutor):
    """Waits before it does what it was asked to, as a mouse does that lets go of a button to press it again."""

    def __init__(self, wait: int) -> None:
        super().__init__(4)
        self._wait = wait

    def execute(self, action: Action, env: Environment) -> Outcome:
        def wait() -> None:
            for _ in range(self._wait):
                env.interface("control").step()

        carry_out(env, wait)
        return super().execute(action, env)


def test_idle_ticks_before_the_first_input_do_not_count_up_to_a_limit(world: ToyWorld) -> None:
    """Else, at a horizon of 1, whatever does nothing in its first tick would be equal to whatever begins with a pause."""
    space = ControlSpace(ticks=4)
    action = space.tokenizer.decode("Action: press(d)")
    assert isinstance(action, Action)
    before = world.state_hash()
    for horizon in (1, 2, 3):
        space.executor = ControlExecutor(4)
        at_once = space.lower(action, world, horizon)
        assert at_once == (RawTick(("d",)),) * horizon
        for wait in (1, 2, 20):
            space.executor = Late(wait)
            assert space.lower(action, world, horizon) == at_once
        space.executor = Late(21)
        assert space.lower(action, world, horizon) == ()
    assert world.state_hash() == before
    assert world.tick_log == []


def test_costs_are_as_documented() -> None:
    """Seconds: a call 1.0, a gesture or a hold 0.25, and 1/20 per tick."""
    world = ToyWorld()
    for text, expected in [("Api: take(bug)", 1.0), ("Gui: press(e)", 0.30), ("Action: no_op", 0.45)]:
        world.reset(ToySuite().get("catch:bug"), 0)
        name, action = SPACES.decode(text)
        assert isinstance(action, Action)
        space = SPACES[str(name)]
        assert space.cost(action, space.executor.execute(action, world)) == pytest.approx(expected)
