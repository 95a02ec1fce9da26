from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import Action, InvalidAction, SpaceSet
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_openha.coa import GroundingCoaSpace, MotionCoaSpace
from crossagent_openha.grounding import Ground
from crossagent_openha.motion import MotionSpace
from crossagent_openha.raw import Raw
from crossagent_openha.text_action import TextActionSpace

MOTION, GROUNDING = MotionCoaSpace(), GroundingCoaSpace()
LOG = Ground("Mine", "oak log", ((615, 505),))
CURSOR = Ground("move_camera", "", ((5, 6),))


@pytest.mark.parametrize(
    ("space", "text", "payload"),
    [
        (MOTION, "Motion: cursor move right and up \n, Action: move(17, 0)", (("cursor move right and up",), Raw((17, 0)))),
        (MOTION, "Motion: no_op \n, Action: no_op", ((), Raw())),
        (GROUNDING, "Grounding: Mine <|object_ref_start|>oak log<|object_ref_end|><|point_start|>(615,505)<|point_end|> \n, Action: move(19, 0) and click(left)",
         (LOG, Raw((19, 0), (), ("left",)))),
        (GROUNDING, "Grounding: move to <|point_start|>(5,6)<|point_end|> \n, Action: no_op", (CURSOR, Raw())),
    ],
)  # fmt: skip
def test_the_released_format_is_canonical(space: MotionCoaSpace, text: str, payload: tuple[object, Raw]) -> None:
    assert space.tokenizer.decode(text) == Action(space.name, payload)
    assert space.tokenizer.encode(Action(space.name, payload)) == text


@pytest.mark.parametrize("joint", ["\n, ", "\n", " \n ", "\n,"])
def test_other_joints_are_read(joint: str) -> None:
    found = MOTION.tokenizer.decode(f"Motion: jump{joint}Action: move(17, 0) and press()")
    assert found == Action("motion_coa", (("jump",), Raw((17, 0))))


@pytest.mark.parametrize(
    ("text", "reason", "at"),
    [
        ("Motion: jump", "on a second line", "Motion: jump"),
        ("Motion: jump \n, Motion: jump", "expected 'Action:'", "Motion: jump"),
        ("Motion: fly \n, Action: no_op", "no motion 'fly'", " fly"),
        ("Motion: jump \n, Action: hop", "expected move", "hop"),
    ],
)
def test_a_fault_in_either_line_is_shown(text: str, reason: str, at: str) -> None:
    found = MOTION.tokenizer.decode(text)
    assert isinstance(found, InvalidAction)
    assert reason in found.reason
    assert text[slice(*found.span)] == at


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["\n", "Action: ", "no_op", "jump", "press(w)", ", "]))
        .map("".join)
        .map("Motion: ".__add__),
    )
)
def test_decode_never_raises(text: str) -> None:
    found = MOTION.tokenizer.decode(text)
    if isinstance(found, InvalidAction):
        assert found.reason
        assert 0 <= found.span[0] <= found.span[1] <= len(text)


def test_the_parts_are_told_apart() -> None:
    text = "Motion: jump \n, Action: no_op"
    assert MOTION.tokenizer.segments(text) == (("header", 0), ("abstract", 7), ("action", 14))
    assert MOTION.tokenizer.segments("Motion: ju") == (("header", 0), ("abstract", 7))


def keys_of(space: MotionCoaSpace, text: str) -> set[tuple[str, ...]]:
    env = CraftWorld()
    env.reset(suite().get("mine_block:dirt"), 0)
    action = space.tokenizer.decode(text)
    assert isinstance(action, Action)
    space.executor.execute(action, env)
    return {tick.keys for tick in env.tick_log}


def test_greedy_does_the_raw_action_and_eager_the_motion_where_it_is_certain() -> None:
    text = "Motion: move forward \n, Action: press(s)"
    turning = "Motion: move forward, turn left \n, Action: press(s)"
    assert keys_of(MotionCoaSpace(), text) == {("s",)}
    assert keys_of(MotionCoaSpace(mode="eager"), text) == {("w",)}
    assert keys_of(MotionCoaSpace(mode="eager"), turning) == {("s",)}


def test_eager_grounding_leaves_the_cursor_to_the_raw_action() -> None:
    space = GroundingCoaSpace(mode="eager")
    explore = "Grounding: Explore \n, Action: press(s)"
    mine = "Grounding: Mine <|point_start|>(500,500)<|point_end|> \n, Action: press(s)"
    assert keys_of(space, explore) == {("s",)}  # type: ignore[arg-type]
    assert ("s",) not in keys_of(space, mine)  # type: ignore[arg-type]


def test_spaces_of_the_released_model_go_together_and_spaces_that_begin_alike_do_not() -> None:
    mixed = SpaceSet({"text_action": TextActionSpace(), "motion_coa": MOTION, "grounding_coa": GROUNDING})
    assert mixed.space_of("Grounding: Explore \n, Action: no_op") == "grounding_coa"
    with pytest.raises(ValueError, match="share the header"):
        SpaceSet({"motion": MotionSpace(), "motion_coa": MOTION})
