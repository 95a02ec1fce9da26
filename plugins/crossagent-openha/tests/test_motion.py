from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import Action, Call, InvalidAction
from crossagent.testing import ToySuite, ToyWorld
from crossagent_craftworld.env import CraftWorld
from crossagent_craftworld.suite import suite
from crossagent_openha import motion
from crossagent_openha.motion import GROUPS, MotionSpace
from crossagent_openha.raw import Raw

SPACE = MotionSpace()
PAYLOADS = st.tuples(*(st.sampled_from(("", *group)) for group in GROUPS)).map(lambda some: tuple(p for p in some if p))


@given(PAYLOADS, st.randoms(use_true_random=False))
def test_any_phrases_in_any_order_round_trip(phrases: tuple[str, ...], rng: object) -> None:
    text = SPACE.tokenizer.encode(Action("motion", phrases))
    assert SPACE.tokenizer.decode(text) == Action("motion", phrases)
    shuffled = list(phrases)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert SPACE.tokenizer.decode(f"Motion: {', '.join(shuffled) or 'no_op'} ") == Action("motion", phrases)


@given(st.one_of(st.text(), st.text("move turnsp, /and_ocurif").map("Motion:".__add__)))
def test_decode_never_raises(text: str) -> None:
    found = SPACE.tokenizer.decode(text)
    if isinstance(found, InvalidAction):
        assert found.reason
        assert 0 <= found.span[0] <= found.span[1] <= len(text)
    else:
        assert SPACE.tokenizer.decode(SPACE.tokenizer.encode(found)) == found


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Motion: cursor move left and down", "Motion: cursor move left and down"),
        ("Motion: sprint, move forward", "Motion: move forward, sprint"),
        ("Motion: move backward and right", "Motion: move back and move right"),
        ("Motion: move left and forward", "Motion: move forward and move left"),
        ("Motion: turn up and left , attack/mine", "Motion: turn left and up, attack / mine"),
        ("Motion: place / use", "Motion: use / place"),
        ("Motion: attack / mine and use / place, jump", "Motion: attack / mine and use / place, jump"),
        ("Motion: switch hotbar 3", "Motion: switch to hotbar 3"),
        ("Motion: no_op \n", "Motion: no_op"),
    ],
)
def test_released_spellings(text: str, canonical: str) -> None:
    found = SPACE.tokenizer.decode(text)
    assert isinstance(found, Action), found
    assert SPACE.tokenizer.encode(found) == canonical


@pytest.mark.parametrize(
    ("text", "reason", "at"),
    [
        ("Motion: fly", "no motion 'fly'", " fly"),
        ("Motion: jump, fly", "no motion 'fly'", " fly"),
        ("Motion: sprint, sneak", "'sneak' does not go with 'sprint'", " sneak"),
        ("Motion: no_op, jump", "no motion 'no_op'", " no_op"),
        ("Motion: switch hotbar", "no motion 'switch hotbar'", " switch hotbar"),
        ("Motion:", "no motion ''", ""),
        ("Action: no_op", "expected 'Motion:'", "Action:"),
    ],
)
def test_what_is_wrong_is_said_and_shown(text: str, reason: str, at: str) -> None:
    found = SPACE.tokenizer.decode(text)
    assert isinstance(found, InvalidAction)
    assert reason in found.reason
    assert text[slice(*found.span)] == at


def ticks(text: str, **options: int) -> list[tuple[tuple[int, int], tuple[str, ...], tuple[str, ...]]]:
    """Return what a motion does in CraftWorld, tick by tick."""
    env, space = CraftWorld(), MotionSpace(**options)  # type: ignore[arg-type]
    env.reset(suite().get("mine_block:dirt"), 0)
    action = space.tokenizer.decode(text)
    assert isinstance(action, Action)
    assert not space.executor.execute(action, env).error
    return [(tick.camera, tick.keys, tick.buttons) for tick in env.tick_log]


def test_a_motion_is_keys_buttons_and_mouse_over_ticks() -> None:
    found = ticks(
        "Motion: move forward and move left, sprint, turn right and up, attack / mine, drop", ticks=3, turn=60
    )
    held = ("a", "left.control", "w")
    assert [keys for _, keys, _ in found] == [("a", "left.control", "q", "w"), held, held]
    assert all(buttons == ("left",) for _, _, buttons in found)
    assert [sum(axis) for axis in zip(*(camera for camera, _, _ in found), strict=True)] == [60, -60]
    assert max(abs(dx) for (dx, _), _, _ in found) <= 24  # spread over the ticks


def test_a_click_comes_when_the_cursor_is_there() -> None:
    found = ticks("Motion: cursor move left, operate gui", ticks=2, cursor=24)
    assert [buttons for _, _, buttons in found] == [(), ("left",)]
    assert [camera for camera, _, _ in found] == [(-12, 0), (-12, 0)]


def test_a_world_without_the_key_fails_and_takes_no_tick() -> None:
    world = ToyWorld()
    world.reset(ToySuite().get("get:apple"), 0)
    outcome = SPACE.executor.execute(Action("motion", ("swap",)), world)
    assert (outcome.ticks, outcome.error) == (0, "no key f")
    assert '"swap"' not in SPACE.tokenizer.grammar(world)


@pytest.mark.parametrize(
    ("held", "window", "phrases"),
    [
        (Raw((70, -40), ("w", "a", "space", "left.control"), ("left",)), False,
         ("move forward and move left", "sprint", "turn right and up", "attack / mine", "jump")),
        (Raw((29, -29), ("s",), ("right",)), False, ("move back", "use / place")),
        (Raw((70, 70), ("w", "space"), ("left",)), True, ("cursor move right and down", "operate gui")),
        (Raw((0, 0), ("e",), ("right",)), True, ("choose", "close inventory")),
        (Raw((0, 0), ("e", "4", "q", "f"), ()), False, ("drop", "swap", "switch to hotbar 4", "open inventory")),
        (Raw((0, 0), ("escape",), ()), True, ("close gui",)),
    ],
)  # fmt: skip
def test_raw_actions_in_words(held: Raw, window: bool, phrases: tuple[str, ...]) -> None:
    assert motion.describe(held, window, 60) == phrases
    assert motion.read(motion.write(phrases), 0, len(motion.write(phrases))) == phrases


def test_calls_of_one_motion_are_one_motion() -> None:
    env = CraftWorld()
    env.reset(suite().get("mine_block:dirt"), 0)
    steps = [Call("control", "step", (["w"], [], [12, 0]))] * 5 + [Call("skills", "call", ("mine", "dirt"))]
    assert [action.payload for action in SPACE.from_calls(steps, env)] == [
        ("move forward", "turn right"),
        ("move forward",),
    ]


@pytest.mark.parametrize("options", [{"ticks": 0}, {"turn": 0}, {"policy": "nothing"}, {"policy": "os:nothing"}])
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        MotionSpace(**options)  # type: ignore[arg-type]
