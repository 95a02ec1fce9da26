"""One episode as a GIF or MP4: a frame a turn, with the image the policy saw, or what it read."""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from crossagent.errors import CrossAgentError, MissingExtraError
from crossagent.tracking.files import write_bytes
from crossagent.tracking.viewer.catalogue import Shown
from crossagent.types import Turn

WIDTH, MARGIN, LINE = 720, 14, 20
COLUMNS = (84, 70, 58, 46)
"""Characters a line: the first at which a text fits the frame; 46 of the widest do."""
SCENE_HEIGHT = 360
"""Of an image."""
PAPER, INK, DIM, GOOD, BAD, ACCENT = "#ffffff", "#16202b", "#4d5966", "#14662f", "#a3200d", "#0b5cad"
LAST_SECONDS = 3.0
"""How long the end is shown."""
KINDS = (".gif", ".mp4")

Line = tuple[str, str]
"""(text, colour)."""


def render(one: Shown, out: Path, weights: Mapping[str, float], seconds: float = 1.0) -> int:
    """Write an episode to ``out``, whole or not at all; return the number of frames.

    Args:
        one: The trajectory.
        out: Its suffix says the format: ``.gif``, or ``.mp4`` where ffmpeg is found.
        weights: λ per space.
        seconds: A turn's frame is shown for so long.

    Raises:
        CrossAgentError: Another suffix, or ffmpeg failed.
        MissingExtraError: There is no ffmpeg.
    """
    kind = out.suffix.lower()
    if kind not in KINDS:
        raise CrossAgentError(f"-o {out}: got {out.suffix or 'no suffix'}; expected a name that ends in .gif or .mp4")
    ffmpeg = _ffmpeg() if kind == ".mp4" else ""
    pictures = frames(one, weights)
    times = [seconds] * (len(pictures) - 1) + [max(seconds, LAST_SECONDS)]
    if kind == ".gif":
        buffer = io.BytesIO()
        few = [picture.quantize(256) for picture in pictures]
        durations = [round(1000 * time) for time in times]
        few[0].save(buffer, "GIF", save_all=True, append_images=few[1:], duration=durations, loop=0)
        write_bytes(out, buffer.getvalue())
    else:
        _write_mp4(out, pictures, times, ffmpeg)
    return len(pictures)


def frames(one: Shown, weights: Mapping[str, float]) -> list[Image.Image]:
    """Return a frame per turn and one of the end; all of one size, which is even."""
    trajectory = one.trajectory
    scenes = [_scene(turn) for turn in trajectory.turns]
    pictures = [_picture(turn) for turn in trajectory.turns]
    height = max((p.height for p in pictures if p), default=0)
    lines = max((len(scene) for scene in scenes), default=0)
    size = (WIDTH, 2 * ((2 * MARGIN + (lines + 7) * LINE + height + 1) // 2))
    total = len(trajectory.turns)
    drawn = []
    for number, (turn, scene, picture) in enumerate(zip(trajectory.turns, scenes, pictures, strict=True)):
        head = _head(one, f"turn {number + 1} of {total}")
        drawn.append(_frame(size, head, picture, height, scene, _action(turn)))
    cost = trajectory.weighted_cost(weights)
    end = [
        ("success" if trajectory.success else "no success", GOOD if trajectory.success else BAD),
        (f"ended: {trajectory.stop_reason.value} {trajectory.failure}", INK),
        (f"{total} turns, {trajectory.ticks} ticks, cost {cost:.3f}, J {float(trajectory.success) - cost:.3f}", INK),
    ]
    last = pictures[-1] if pictures else None
    drawn.append(_frame(size, _head(one, "end"), last, height, [], [_line(*line) for line in end]))
    return drawn


def _frame(
    size: tuple[int, int],
    head: Sequence[Line],
    picture: Image.Image | None,
    height: int,
    scene: Sequence[Line],
    action: Sequence[Line],
) -> Image.Image:
    frame = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(frame)
    font = _font()
    y = MARGIN

    def write(lines: Sequence[Line]) -> None:
        nonlocal y
        for text, colour in lines:
            draw.text((MARGIN, y), text, fill=colour, font=font)
            y += LINE

    write(head)
    y += LINE // 2
    if picture is not None:
        frame.paste(picture, (MARGIN, y))
    y += height
    write(scene)
    y += LINE // 2
    draw.line([(MARGIN, y), (size[0] - MARGIN, y)], fill=DIM)
    y += LINE // 2
    write(action)
    return frame


def _head(one: Shown, where: str) -> list[Line]:
    return [_line(f"{one.trajectory.task}   {where}", INK), _line(one.name, DIM)]


def _scene(turn: Turn) -> list[Line]:
    return [(line, INK) for line in _wrapped(turn.observation)]


def _action(turn: Turn) -> list[Line]:
    if turn.invalid:
        outcome = (f"invalid: {turn.invalid}", BAD)
    elif turn.error:
        outcome = (f"failed: {turn.error}", BAD)
    else:
        events = ", ".join(f"{event.kind} {event.name} {event.count}" for event in turn.events)
        outcome = (f"done{': ' + events if events else ''}", GOOD)
    numbers = f"{turn.space or 'no space'}, {turn.ticks} ticks, reward {turn.reward:g}, cost {turn.cost:g}"
    return [_line(f"> {turn.text}", ACCENT), _line(*outcome), _line(numbers, DIM)]


def _line(text: str, colour: str) -> Line:
    first, *more = _wrapped(text) or [""]
    return f"{first} ..." if more else first, colour


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(15)


def _wrapped(text: str) -> list[str]:
    plain, room = _plain(text), WIDTH - 2 * MARGIN - 2 * LINE
    ways = (textwrap.wrap(plain, columns) for columns in COLUMNS)
    fitting = (lines for lines in ways if all(_font().getlength(line) <= room for line in lines))
    return next(fitting, textwrap.wrap(plain, COLUMNS[-1]))


def _plain(text: str) -> str:
    """Write what the built-in font cannot draw as an escape."""
    drawable = (c if c.isprintable() and ord(c) < 256 else c.encode("unicode_escape").decode() for c in text)
    return "".join(c if c != "\\n" else " " for c in drawable)


def _picture(turn: Turn) -> Image.Image | None:
    if not turn.image:
        return None
    with Image.open(io.BytesIO(turn.image), formats=["PNG"]) as image:
        scale = min((WIDTH - 2 * MARGIN) / image.width, SCENE_HEIGHT / image.height)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _ffmpeg() -> str:
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            "an .mp4 needs ffmpeg, which is not installed. Fix: pip install 'crossagent[video]', install ffmpeg, "
            "or write a .gif"
        ) from error


def _write_mp4(out: Path, pictures: Sequence[Image.Image], times: Sequence[float], ffmpeg: str) -> None:
    """Give ffmpeg raw frames at a steady rate; a frame that lasts longer is given more often."""
    rate = 10
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.tmp.mp4")
    width, height = pictures[0].size
    command = [
        *(ffmpeg, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
        *("-r", str(rate), "-i", "pipe:0", "-pix_fmt", "yuv420p", "-movflags", "+faststart", os.fspath(temporary)),
    ]
    raw = b"".join(p.tobytes() * max(1, round(rate * t)) for p, t in zip(pictures, times, strict=True))
    try:
        done = subprocess.run(command, input=raw, capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise CrossAgentError(f"{out}: ffmpeg failed: {said[-1] if said else f'exit code {done.returncode}'}")
        os.replace(temporary, out)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
