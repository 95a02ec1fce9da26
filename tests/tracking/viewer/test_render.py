import io
import shutil
import stat
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from crossagent.errors import CrossAgentError, MissingExtraError
from crossagent.tracking.viewer.catalogue import Catalogue
from crossagent.tracking.viewer.render import _plain, frames, render


def test_a_gif_has_a_frame_a_turn_and_the_end(made_up, tmp_path):
    catalogue = Catalogue(made_up)
    one = catalogue.find("mtrl/1/0.0")
    assert render(one, tmp_path / "deep" / "one.gif", catalogue.weights, 0.5) == 4
    with Image.open(tmp_path / "deep" / "one.gif") as gif:
        seen = [
            (frame.info["duration"], np.asarray(frame.convert("RGB")).copy()) for frame in ImageSequence.Iterator(gif)
        ]
        assert gif.info["loop"] == 0
    assert [duration for duration, _ in seen] == [500, 500, 500, 3000]
    assert len({pixels.tobytes() for _, pixels in seen}) == 4
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["one.gif"]


def test_stored_images_are_shown_and_text_where_there_are_none(made_up):
    catalogue = Catalogue(made_up)
    red = (220, 30, 30)
    drawn = frames(catalogue.find("sft/id-mixed/1.0"), {})
    assert len(drawn) == 201
    assert len({frame.size for frame in drawn}) == 1
    places = []
    for frame in drawn[:3]:
        where = np.argwhere((np.asarray(frame) == red).all(-1))
        assert len(where) == pytest.approx(4 * 4 * (360 / 32) ** 2, rel=0.1), "enlarged, sharp"
        places.append(where[:, 1].min())
    assert places[0] < places[1] < places[2]
    text = frames(catalogue.find("mtrl/1/0.0"), {})
    assert not any((np.asarray(frame) == red).all(-1).any() for frame in text)
    assert all((np.asarray(frame) < 100).all(-1).sum() > 200 for frame in text), "something is written on each"


def test_text_stays_inside_the_frame():
    from crossagent.tracking.viewer.render import LINE, MARGIN, WIDTH, _font, _line, _wrapped

    for text in ("W" * 300, "see oak_log " * 40, "i" * 300):
        assert "".join(_wrapped(text)).replace(" ", "") == text.replace(" ", "")
        for line in (*_wrapped(text), _line(text, "")[0]):
            assert _font().getlength(line) <= WIDTH - 2 * MARGIN - LINE


def test_an_episode_without_turns_and_hostile_text_are_frames_too(made_up):
    catalogue = Catalogue(made_up)
    assert len(frames(catalogue.find("sft/id-mixed/4.0"), {})) == 1
    assert len(frames(catalogue.find("sft/id-mixed/0.0"), {})) == 2
    assert _plain("a\u202eb\x00\nü") == "a\\u202eb\\x00 ü"


def test_another_suffix_is_refused(made_up, tmp_path):
    one = Catalogue(made_up).find("mtrl/1/0.0")
    for name in ("a.png", "a"):
        with pytest.raises(CrossAgentError, match=r"expected a name that ends in .gif or .mp4"):
            render(one, tmp_path / name, {})
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_an_mp4_names_the_extra(made_up, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossagent\[video\]'"):
        render(Catalogue(made_up).find("mtrl/1/0.0"), tmp_path / "one.mp4", {})
    assert list(tmp_path.iterdir()) == []


def fake_ffmpeg(directory, lines):
    path = directory / "ffmpeg"
    path.write_text(f"#!{sys.executable}\n" + lines)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_ffmpeg_gets_every_frame_for_as_long_as_it_lasts(made_up, tmp_path, monkeypatch):
    one = Catalogue(made_up).find("mtrl/1/0.0")
    width, height = frames(one, {})[0].size
    assert height % 2 == width % 2 == 0, "yuv420p needs even sides"
    fake_ffmpeg(tmp_path, "import sys\nopen(sys.argv[-1], 'w').write(f'{len(sys.stdin.buffer.read())} {sys.argv}')\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render(one, tmp_path / "one.mp4", {}, 0.5) == 4
    said = (tmp_path / "one.mp4").read_text()
    assert int(said.split()[0]) == (3 * 5 + 30) * width * height * 3
    assert f"{width}x{height}" in said
    fake_ffmpeg(
        tmp_path,
        "import sys\nopen(sys.argv[-1], 'w').write('half')\nprint('no such codec', file=sys.stderr)\nsys.exit(1)\n",
    )
    with pytest.raises(CrossAgentError, match="ffmpeg failed: no such codec"):
        render(one, tmp_path / "two.mp4", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ffmpeg", "one.mp4"], "nothing half-written"


def test_a_real_mp4(made_up, tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.importorskip("imageio_ffmpeg", reason="neither ffmpeg nor the extra 'video' is installed")
    render(Catalogue(made_up).find("mtrl/1/0.0"), tmp_path / "one.mp4", {})
    content = (tmp_path / "one.mp4").read_bytes()
    assert content[4:8] == b"ftyp"
    assert io.BytesIO(content).getbuffer().nbytes > 1000
