from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import InvalidAction, RawTick
from crossagent_openha import raw
from crossagent_openha.camera import DEGREES_PER_PIXEL
from crossagent_openha.raw import BUTTONS, KEYS, Raw

NULL = {name: 0 for name in (*KEYS.values(), *BUTTONS.values()) if name not in raw.SOMETIMES}
ANGLES = st.floats(-180, 180)
DICTS = st.fixed_dictionaries(
    {"camera": st.tuples(ANGLES, ANGLES).map(list)} | dict.fromkeys(NULL, st.integers(0, 1)),
    optional=dict.fromkeys(raw.SOMETIMES, st.integers(0, 1)),
)
RAWS = st.builds(
    Raw,
    st.tuples(st.integers(-1200, 1200), st.integers(-1200, 1200)),
    st.lists(st.sampled_from(list(KEYS)), unique=True).map(raw.in_order),
    st.lists(st.sampled_from(list(BUTTONS)), unique=True).map(raw.in_order),
)


def read(text: str) -> Raw | InvalidAction:
    return raw.read(text, 0, len(text))


@given(DICTS)
def test_an_action_dict_survives_its_text_up_to_half_a_pixel(action: dict[str, Any]) -> None:
    found = read(raw.write(raw.from_env(action)))
    assert isinstance(found, Raw)
    again = raw.to_env(found)
    assert {name: on for name, on in again.items() if name != "camera" and on} == {
        name: on for name, on in action.items() if name != "camera" and on
    }
    for before, after in zip(action["camera"], again["camera"], strict=True):
        assert abs(before - after) <= DEGREES_PER_PIXEL * 0.5006
    assert raw.from_env(again) == found


@given(RAWS)
def test_text_dict_and_recording_hold_the_same(action: Raw) -> None:
    assert read(raw.write(action)) == action
    assert raw.from_env(raw.to_env(action)) == action
    assert raw.from_json(raw.to_json(action)) == action


@given(RAWS)
def test_nothing_pressed_is_left_out_of_the_dict(action: Raw) -> None:
    names = set(raw.to_env(action))
    assert names >= {*NULL, "camera"}
    assert names - {*NULL, "camera"} <= set(raw.SOMETIMES)


@given(st.one_of(st.text(), st.text("movepresclickno_ (),.0123456789and='\"keyboard")))
def test_reading_never_raises(text: str) -> None:
    found = read(text)
    if isinstance(found, Raw):
        assert read(raw.write(found)) == found
    else:
        assert found.reason
        assert 0 <= found.span[0] <= found.span[1] <= len(text)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ({}, "no_op"),
        ({"camera": [-0.6, 2.85]}, "move(19, -4)"),
        ({"camera": [0.375, 0.225]}, "move(2, 2)"),  # 1.5 and 2.5 pixels: halves go to the even one
        ({"camera": [0, 0.07]}, "no_op"),
        (
            {"sprint": 1, "forward": 1, "attack": 1, "camera": [0.0, 2.85]},
            "move(19, 0) and press(w, left.control) and click(left)",
        ),
        ({"use": 1, "attack": 1, "pickItem": 1}, "click(left) and click(right) and click(middle)"),
        (dict.fromkeys(KEYS.values(), 1), "press(escape, s, q, w, 1, 2, 3, 4, 5, 6, 7, 8, 9, e, space, a, d, left.shift, left.control, f)"),
    ],
)  # fmt: skip
def test_the_released_texts(action: dict[str, Any], text: str) -> None:
    assert raw.write(raw.from_env(action)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("move('3.0', '0.0') and click('left') ", "move(3, 0) and click(left)"),
        ("move(17, 0) and press()", "move(17, 0)"),
        ("press()", "no_op"),
        ("move(dx='4.0', dy='-1.0') and keyDown(keys=(keyboard.left.control, keyboard.w))", "move(4, -1) and press(w, left.control)"),
        ("press('w', 'space'), click('right')", "press(w, space) and click(right)"),
        ("click(left) and press(w,w) and move(2.5,-3.5)", "move(2, -4) and press(w) and click(left)"),
        (" no_op ", "no_op"),
    ],
)  # fmt: skip
def test_other_released_spellings_are_read(text: str, canonical: str) -> None:
    found = read(text)
    assert isinstance(found, Raw)
    assert raw.write(found) == canonical


@pytest.mark.parametrize(
    ("text", "reason", "at"),
    [
        ("press(w) and press(s)", "press is there twice", "press(s)"),
        ("move(1, 2) and move(1, 2)", "move is there twice", "move(1, 2)"),
        ("move(10000, 2)", "at most 9999", "move(10000, 2)"),
        ("press(w,,s)", "names of keys", "w,,s"),
        ("press(w) click(left)", "` and `", " click(left)"),
        ("no_op and press(w)", "expected move", "no_op and press(w)"),
        ("", "expected move", ""),
    ],
)
def test_what_is_wrong_is_said_and_shown(text: str, reason: str, at: str) -> None:
    found = read(text)
    assert isinstance(found, InvalidAction)
    assert reason in found.reason
    assert text[slice(*found.span)] == at


def test_dicts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="'atack'"):
        raw.from_env({"atack": 1})
    with pytest.raises(ValueError, match="two finite numbers"):
        raw.from_env({"camera": [0.0]})
    with pytest.raises(ValueError, match="two finite numbers"):
        raw.from_env({"camera": [0.0, float("nan")]})
    with pytest.raises(ValueError, match="'z'"):
        raw.to_env(Raw(keys=("z",)))


def test_keys_that_do_nothing_are_left_out_of_a_recording() -> None:
    frame = {
        "mouse": {"dx": 2.5, "dy": 0.4, "buttons": [0, 7]},
        "keyboard": {"keys": ["key.keyboard.w", "key.keyboard.f3"]},
    }
    assert raw.from_json(frame) == Raw((2, 0), ("w",), ("left",))


def test_a_policys_tick_is_a_raw_tick_or_a_dict() -> None:
    assert raw.of_tick(RawTick(("w",), ("left",), (3, -4))) == Raw((3, -4), ("w",), ("left",))
    assert raw.of_tick({"forward": 1, "camera": [-0.6, 0.45]}) == Raw((3, -4), ("w",), ())
