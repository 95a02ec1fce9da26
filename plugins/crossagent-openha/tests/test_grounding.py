from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import Action, Call, InvalidAction
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_openha import grounding
from crossagent_openha.grounding import ALONE, POINTED, SPECIAL, Ground, GroundingSpace, pixel, thousandths

SPACE = GroundingSpace()
POINT = st.tuples(st.integers(0, 1000), st.integers(0, 1000))
LABEL = st.one_of(st.just(""), st.from_regex(r"[a-z0-9]{1,8}( [a-z0-9]{1,8}){0,2}", fullmatch=True))
PAYLOADS = st.one_of(
    st.builds(Ground, st.sampled_from(POINTED), LABEL, st.lists(POINT, min_size=1, max_size=3).map(tuple)),
    st.sampled_from(ALONE).map(Ground),
)
SCREENS = [(640, 360), (224, 224), (1280, 720), (64, 64)]


def act(text: str, task: str = "mine_block:dirt", seed: int = 0, **options: float) -> tuple[CraftWorld, object]:
    env, space = CraftWorld(), GroundingSpace(**options)  # type: ignore[arg-type]
    env.reset(suite().get(task), seed)
    action = space.tokenizer.decode(text)
    assert isinstance(action, Action), action
    return env, space.executor.execute(action, env)


@given(PAYLOADS)
def test_round_trip(payload: Ground) -> None:
    text = SPACE.tokenizer.encode(Action("grounding", payload))
    assert SPACE.tokenizer.decode(text) == Action("grounding", payload)
    chain = grounding.write(payload, "move to")
    assert grounding.read(chain, 0, len(chain)) == payload


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([*SPECIAL, *POINTED, *"(,) 0123456789"])).map("".join).map("Grounding: ".__add__),
    )
)
def test_decode_never_raises(text: str) -> None:
    found = SPACE.tokenizer.decode(text)
    if isinstance(found, InvalidAction):
        assert found.reason
        assert 0 <= found.span[0] <= found.span[1] <= len(text)
    else:
        assert SPACE.tokenizer.decode(SPACE.tokenizer.encode(found)) == found


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("Grounding: Mine <|object_ref_start|>oak log<|object_ref_end|><|point_start|>(881,558)<|point_end|>", Ground("Mine", "oak log", ((881, 558),))),
        ("Grounding: move_camera <|object_ref_start|>empty slot<|object_ref_end|><|point_start|>(881,558)<|point_end|>", Ground("move_camera", "empty slot", ((881, 558),))),
        ("Grounding: right click <|point_start|>(1,2)<|point_end|>", Ground("right click", "", ((1, 2),))),
        ("Grounding: Explore", Ground("Explore")),
    ],
)  # fmt: skip
def test_the_released_format_is_canonical(text: str, payload: Ground) -> None:
    assert SPACE.tokenizer.decode(text) == Action("grounding", payload)
    assert SPACE.tokenizer.encode(Action("grounding", payload)) == text


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("Grounding: move to <|point_start|>( 1, 2 )<|point_end|> ", Ground("move_camera", "", ((1, 2),))),
        ("Grounding: no_op", Ground("no-op")),
    ],
)
def test_other_spellings_are_read(text: str, payload: Ground) -> None:
    assert SPACE.tokenizer.decode(text) == Action("grounding", payload)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Grounding: Mine", "needs a point"),
        ("Grounding: Mine <|point_start|>(1001,0)<|point_end|>", "from 0 to 1000"),
        ("Grounding: Mine <|point_start|>(1,2<|point_end|>", "from 0 to 1000"),
        ("Grounding: Mine <|point_start|><|point_end|>", "from 0 to 1000"),
        ("Grounding: Eat <|point_start|>(1,2)<|point_end|>", "no verb 'Eat'"),
        ("Grounding: Explore <|point_start|>(1,2)<|point_end|>", "stands alone"),
        ("Grounding: Mine oak log", "expected a verb"),
        ("Motion: jump", "expected 'Grounding:'"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    found = SPACE.tokenizer.decode(text)
    assert isinstance(found, InvalidAction)
    assert reason in found.reason


@given(st.sampled_from(SCREENS), st.data())
def test_points_name_pixels_within_one_and_a_half_thousandths(size: tuple[int, int], data: st.DataObject) -> None:
    at = data.draw(st.tuples(st.integers(0, size[0] - 1), st.integers(0, size[1] - 1)))
    found = pixel(thousandths(at, size), size)
    for before, after, side in zip(at, found, size, strict=True):
        assert abs(after - before) <= side / 1000 + 1
    assert all(0 <= value <= 999 for value in thousandths(at, size))
    assert all(0 <= value < side for value, side in zip(pixel((1000, 1000), size), size, strict=True))


def test_one_action_mines_a_block_and_one_kills_a_mob() -> None:
    env, _ = act(
        "Grounding: Mine <|object_ref_start|>dirt<|object_ref_end|><|point_start|>(500,500)<|point_end|>", ticks=80
    )
    assert env.success
    env, outcome = act(
        "Grounding: Kill <|object_ref_start|>chicken<|object_ref_end|><|point_start|>(500,500)<|point_end|>",
        "kill_entity:chicken",
        ticks=120,
    )
    assert env.success, outcome


def test_approach_ends_when_it_is_there_and_hits_nothing() -> None:
    env, outcome = act(
        "Grounding: Approach <|object_ref_start|>cow<|object_ref_end|><|point_start|>(500,500)<|point_end|>",
        "kill_entity:cow",
        seed=1,
        ticks=120,
    )
    assert not any(tick.buttons for tick in env.tick_log)
    assert 0 < outcome.ticks < 120  # type: ignore[attr-defined]
    (near,) = [rect for name, rect in env.interface("pointer").targets().items() if name == "cow"]
    assert near.width > 60


def test_what_is_not_on_the_screen_cannot_be_fought() -> None:
    _, outcome = act("Grounding: Kill <|object_ref_start|>slime<|object_ref_end|><|point_start|>(500,500)<|point_end|>")
    assert (outcome.error, outcome.ticks) == ("no slime on the screen", 0)  # type: ignore[attr-defined]


def test_in_a_window_the_cursor_goes_there_and_right_clicks_and_nothing_else_works() -> None:
    env = CraftWorld()
    env.reset(suite().get("craft_item:stick"), 0)
    pointer = env.interface("pointer")
    assert pointer.cursor is None
    pointer.press("e")
    goal = pointer.targets()["grid1"].center
    x, y = thousandths(goal, pointer.size)
    for verb in ("move_camera", "right click"):
        SPACE.executor.execute(Action("grounding", Ground(verb, "", ((x, y),))), env)
    assert max(abs(a - b) for a, b in zip(pointer.cursor, goal, strict=True)) <= env.camera_quantum
    assert SPACE.executor.execute(Action("grounding", Ground("Mine", "", ((x, y),))), env).error == "Mine in a window"


def test_control_calls_become_what_they_are_about() -> None:
    env = CraftWorld()
    env.reset(suite().get("kill_entity:cow"), 3)
    pointer = env.interface("pointer")
    eye = grounding.Eye(pointer.size, 70.0)
    rect = pointer.targets()["cow"]
    turn = [round(pixels) for pixels in eye.turn(rect.center)]
    (action,) = SPACE.from_calls([Call("control", "step", ([], ["left"], turn))], env)
    assert action.payload[:2] == ("Kill", "cow")
    assert pixel(action.payload.points[0], pointer.size) == pytest.approx(rect.center, abs=2)
    for keys, verb in ((["s"], "Kill"), (["w"], "Approach")):
        (action,) = SPACE.from_calls([Call("control", "step", (keys, [], turn))], env)
        assert action.payload[:2] == (verb, "cow")
    assert SPACE.from_calls([Call("control", "step", (["s"], [], [-turn[0], 0]))], env) == []
    (action,) = SPACE.from_calls([Call("control", "step", ([], [], [0, 0]))], env)
    assert action.payload == Ground("no-op")
    assert SPACE.from_calls([Call("control", "step", (["q"], [], [0, 0]))], env) == []


@pytest.mark.parametrize("options", [{"ticks": 0}, {"fov": 0.0}])
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GroundingSpace(**options)  # type: ignore[arg-type]
