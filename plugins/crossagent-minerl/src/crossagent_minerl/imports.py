"""Recordings as demonstrations: the file that a recipe takes as ``demonstrations.file``."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from crossagent.demonstrations import DataError, Demonstration, DemoTurn
from crossagent.plugin import Action, Unavailable
from crossagent_control.space import ControlSpace, Hold
from crossagent_minerl.recordings import Block, blocks, read


@dataclass(frozen=True)
class Wanted:
    """What to make of recordings."""

    task: str
    instruction: str
    ticks: int = 4
    """Of an action."""
    turns: int = 64
    """Longest demonstration: a recording of five minutes is cut into several."""
    quantum: int = 2
    limit: int = 300
    image_size: tuple[int, int] | None = None
    """Width and height of the pictures; None: no pictures, and no video is opened."""
    idle: bool = False


def recordings(path: Path) -> list[Path]:
    """Return the recordings of a folder, sorted by name, or the one that is named.

    Raises:
        DataError: There is none.
    """
    found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise DataError(f"{path}: expected a recording (NAME.jsonl, with NAME.mp4 beside it) or a folder of them")
    return found


def demonstrations(path: Path, number: int, wanted: Wanted) -> Iterator[Demonstration]:
    """Return the demonstrations of one recording.

    Args:
        path: ``NAME.jsonl``; pictures come from ``NAME.mp4`` beside it.
        number: Becomes the demonstrations' seed: it tells them apart.
        wanted: What to make of it.

    Raises:
        DataError: The recording or its video cannot be read; or the video ends before the recording.
        Unavailable: Pictures are wanted and the extra ``video`` is not installed.
    """
    space = ControlSpace(ticks=wanted.ticks)
    found = list(blocks(read(path), wanted.ticks, wanted.quantum, wanted.limit, idle=wanted.idle))
    pictures = _pictures(path.with_suffix(".mp4"), [b.first for b in found], wanted.image_size)
    for begin in range(0, len(found), wanted.turns):
        part = found[begin : begin + wanted.turns]
        yield Demonstration(
            task=wanted.task,
            category="recorded",
            seed=number,
            spaces=(space.name,),
            turns=tuple(_turn(space, block, next(pictures)) for block in part),
            success=True,
            kind=space.name,
            instruction=wanted.instruction,
            end="terminated" if begin + wanted.turns >= len(found) else "max_turns",
        )


def _turn(space: ControlSpace, block: Block, picture: bytes) -> DemoTurn:
    hold = Hold(block.raw.camera, block.raw.keys, block.raw.buttons)
    text = space.tokenizer.encode(Action(space.name, hold))
    return DemoTurn(block.text, text, space.name, ticks=block.ticks, image=picture)


def _pictures(path: Path, numbers: Sequence[int], size: tuple[int, int] | None) -> Iterator[bytes]:
    """Yield the frames of these numbers, ascending, as PNG; empty ones when none are wanted."""
    if size is None:
        for _ in numbers:
            yield b""
        return
    frames = _frames(path)
    at, picture = -1, Image.new("RGB", (1, 1))
    for number in numbers:
        while at < number:
            picture = next(frames, None)  # type: ignore[assignment]
            if picture is None:
                raise DataError(f"{path}: ends after {at + 1} frames; its recording goes on to tick {numbers[-1]}")
            at += 1
        data = io.BytesIO()
        picture.resize(size, Image.Resampling.BILINEAR).save(data, "PNG")
        yield data.getvalue()


def _frames(path: Path) -> Iterator[Image.Image]:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise Unavailable(
            "reading a recording's video needs imageio-ffmpeg; run: pip install 'crossagent-minerl[video]', "
            "or import without pictures: --no-pictures"
        ) from error
    if not path.is_file():
        raise DataError(f"{path}: the recording's video is not there; import without pictures: --no-pictures")
    try:
        reader = imageio_ffmpeg.read_frames(str(path))
        about: dict[str, Any] = next(reader)
    except (OSError, RuntimeError, StopIteration) as error:
        raise DataError(f"{path}: no video that ffmpeg can read ({str(error).strip().splitlines()[-1:]})") from error
    width, height = (int(n) for n in about["size"])
    for data in reader:
        yield Image.frombytes("RGB", (width, height), data)
