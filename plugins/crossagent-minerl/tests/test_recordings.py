"""VPT's and BASALT's files: read tick by tick, written in the words of the space ``control``."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossagent.demonstrations import load_demonstrations
from crossagent.plugin import RawTick
from crossagent_minecraft_data.controls import KEYS, TAPS
from crossagent_minerl.command import command
from crossagent_minerl.recordings import Step, blocks, read


def line(keys=(), buttons=(), fresh=(), move=(0, 0), **more):
    return {
        "mouse": {"x": 0.0, "y": 0.0, "dx": move[0], "dy": move[1], "buttons": list(buttons), "newButtons": list(fresh)},
        "keyboard": {"keys": [f"key.keyboard.{k}" for k in keys], "newKeys": [], "chars": ""},
        "hotbar": 0,
        "isGuiOpen": False,
        "inventory": [{"type": "oak_log", "quantity": 3}, {"type": "oak_log", "quantity": 1}],
        "xpos": 1.5, "ypos": 64.0, "zpos": -2.5, "yaw": 90.4, "pitch": -10.0,
        **more,
    }  # fmt: skip


def write(path, lines):
    path.write_text("\n".join(json.dumps(row) for row in lines) + "\n")
    return path


def test_keys_buttons_and_mouse_of_a_line(tmp_path):
    rows = [line(("w", "left.control"), (0, 1), (1,), (3.0, -7.0)), line(("unknown.key",), (2,), (), (2000.0, 1.0))]
    first, second = read(write(tmp_path / "a.jsonl", rows))
    assert first.raw == RawTick(("left.control", "w"), ("left", "right"), (3, -7))
    assert first.text == "have oak_log 4 at 1 64 -3 yaw 90 pitch -10"
    assert second.raw == RawTick((), (), (0, 1))  # half a turn in one tick is the recorder's error


def test_an_attack_that_is_stuck_from_the_start_is_up_until_pressed_anew(tmp_path):
    rows = [line((), (0,), (0,)), line((), (0,)), line((), (0, 1), (0,)), line((), (0,))]
    held = [step.raw.buttons for step in read(write(tmp_path / "a.jsonl", rows))]
    assert held == [(), (), ("left", "right"), ("left",)]
    rows = [line((), (0,)), line((), (0,))]
    assert [step.raw.buttons for step in read(write(tmp_path / "b.jsonl", rows))] == [("left",)] * 2


def test_a_slot_chosen_with_the_wheel_is_a_number_key(tmp_path):
    rows = [line(), line(hotbar=4), line(hotbar=4), line(hotbar=0)]
    assert [step.raw.keys for step in read(write(tmp_path / "a.jsonl", rows))] == [(), ("5",), (), ("1",)]


def test_an_open_window_is_told(tmp_path):
    assert read(write(tmp_path / "a.jsonl", [line(isGuiOpen=True)]))[0].text.startswith("window open have")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "there is no tick in it"),
        ('{"mouse": {}}\n', "line 1: no tick"),
        (json.dumps(line()) + "\n{broken\n", "line 2: no tick"),
        (json.dumps(line(move=(float("nan"), 0))) + "\n", "line 1: no tick"),
        ("[1, 2]\n", "line 1: no tick"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(tmp_path, capsys, content, reason):
    source = tmp_path / "a.jsonl"
    source.write_text(content)
    target = tmp_path / "out.parquet"
    assert command(["import", str(source), str(target), "--instruction", "x", "--no-pictures"]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert str(source) in said
    assert not target.exists()


ticks = st.builds(
    RawTick,
    st.sets(st.sampled_from(KEYS), max_size=4).map(lambda s: tuple(k for k in KEYS if k in s)),
    st.sets(st.sampled_from(("left", "right"))).map(lambda s: tuple(sorted(s))),
    st.tuples(st.integers(-300, 300), st.integers(-300, 300)),
)


@given(st.lists(ticks, min_size=1, max_size=30))
def test_actions_of_one_tick_lose_nothing_but_the_mouses_rounding(raws):
    made = list(blocks([Step(raw, "") for raw in raws], 1, 1, 600, idle=True))
    assert [b.first for b in made] == list(range(len(raws)))
    before = ()
    for raw, block in zip(raws, made, strict=True):
        taps = {k for k in raw.keys if k in TAPS and k not in before}
        assert set(block.raw.keys) == taps | {k for k in raw.keys if k not in TAPS}
        assert (block.raw.buttons, block.raw.camera) == (raw.buttons, raw.camera)
        before = raw.keys


@given(st.lists(ticks, min_size=1, max_size=40), st.integers(1, 8), st.sampled_from((1, 2, 6)))
def test_the_mouse_ends_within_half_a_quantum_of_where_it_was_recorded(raws, length, quantum):
    raws = [RawTick(r.keys, r.buttons, (r.camera[0] // 8, r.camera[1] // 8)) for r in raws]
    made = list(blocks([Step(raw, "") for raw in raws], length, quantum, 6000, idle=True))
    for axis in (0, 1):
        off = sum(b.raw.camera[axis] for b in made) - sum(r.camera[axis] for r in raws)
        assert abs(off) <= quantum / 2
    assert sum(b.ticks for b in made) == len(raws)
    assert all(pixels % quantum == 0 for b in made for pixels in b.raw.camera)


def test_a_key_held_half_of_the_time_is_held_and_a_tap_never_lost():
    raws = [RawTick(("w",)), RawTick(("e", "w")), RawTick(("e",)), RawTick(("a",))]
    (block,) = blocks([Step(raw, "") for raw in raws], 4, 2, 300)
    assert block.raw == RawTick(("e", "w"))


def test_a_folder_becomes_the_file_that_a_recipe_takes(tmp_path, capsys):
    for name in ("b", "a"):
        write(tmp_path / f"{name}.jsonl", [line(("w",), move=(4, 0))] * 10 + [line()] * 8)
    target = tmp_path / "out.parquet"
    words = ["import", str(tmp_path), str(target), "--instruction", "find a cave", "--task", "basalt_find_cave"]
    assert command([*words, "--no-pictures", "--turns", "2"]) == 0
    assert "4 demonstrations, 6 turns, of 2 recordings" in capsys.readouterr().out
    found = load_demonstrations(target)
    assert [(d.seed, len(d.turns), d.end) for d in found] == [
        (0, 2, "max_turns"),
        (0, 1, "terminated"),
        (1, 2, "max_turns"),
        (1, 1, "terminated"),
    ]
    assert found[0].turns[0].text == "Action: move(16, 0) and press(w)"
    assert (found[0].instruction, found[0].task, found[0].kind) == ("find a cave", "basalt_find_cave", "control")
    assert command([*words, "--no-pictures", "--idle"]) == 0
    assert "2 demonstrations, 10 turns" in capsys.readouterr().out


def film(path, frames):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra crossagent-minerl[video]")
    writer = imageio_ffmpeg.write_frames(str(path), (64, 32), fps=20, quality=10, macro_block_size=1)
    writer.send(None)
    for k in range(frames):
        writer.send(np.full((32, 64, 3), 10 * k, np.uint8).tobytes())
    writer.close()


def test_each_turn_has_the_frame_that_was_seen_before_it(tmp_path):
    write(tmp_path / "a.jsonl", [line(("w",))] * 20)
    film(tmp_path / "a.mp4", 20)
    target = tmp_path / "out.parquet"
    words = ["import", str(tmp_path / "a.jsonl"), str(target), "--instruction", "walk", "--image-size", "16", "8"]
    assert command(words) == 0
    (found,) = load_demonstrations(target)
    pictures = [np.asarray(Image.open(io.BytesIO(turn.image))) for turn in found.turns]
    assert {p.shape for p in pictures} == {(8, 16, 3)}
    assert [float(p.mean()) for p in pictures] == pytest.approx([0, 40, 80, 120, 160], abs=6)


def test_a_video_that_ends_early_or_is_none_is_refused(tmp_path, capsys):
    write(tmp_path / "a.jsonl", [line(("w",))] * 20)
    target = tmp_path / "out.parquet"
    words = ["import", str(tmp_path / "a.jsonl"), str(target), "--instruction", "walk"]
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra crossagent-minerl[video]")
    for content, reason in (
        (None, "the recording's video is not there; import without pictures: --no-pictures"),
        (b"no video", "no video that ffmpeg can read"),
        (8, "ends after 8 frames; its recording goes on to tick 16"),
    ):
        if isinstance(content, bytes):
            (tmp_path / "a.mp4").write_bytes(content)
        elif content:
            film(tmp_path / "a.mp4", content)
        assert command(words) == 2
        assert reason in capsys.readouterr().err
        assert not target.exists()
