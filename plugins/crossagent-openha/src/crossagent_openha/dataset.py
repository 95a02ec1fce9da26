"""OpenHA's data sets: parquet rows of conversations and pictures, to and from demonstrations.

A row has ``conversations``, a list of {role, content: [{type: text | image | point, …}]}, ``image``, the pictures as bytes (or
{bytes, path}, as the hub stores them) in the order in which the contents name them, and ``id``. A user's turn is an
observation, the assistant's answer the action. The first user's turn begins with a system prompt and the instruction.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from crossagent.demonstrations import DataError, Demonstration, DemoTurn
from crossagent.plugin import InvalidAction
from crossagent_openha import prompts
from crossagent_openha.tasks import resolve

SIDE = 4096
"""Pixels along a side that a picture may have."""
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "conversations": pa.list_(
            pa.struct({"role": pa.string(), "content": pa.list_(pa.struct({"type": pa.string(), "text": pa.string()}))})
        ),
        "image": pa.list_(pa.binary()),
    }
)
"""What :func:`write_rows` writes."""
_AT_ONCE = 64
_REPLACED = {"control": "text_action"}
"""Spaces of ours whose texts are those of one of OpenHA's."""


class Malformed(ValueError):
    """A row that is no conversation of OpenHA's; ``str`` says why."""


@dataclass
class Report:
    """How an import went."""

    rows: int = 0
    kept: int = 0
    turns: int = 0
    pictures: int = 0
    unresolved: int = 0
    """Kept rows whose task is none of the benchmark's."""
    spaces: dict[str, int] = field(default_factory=dict)
    """Turns per space."""
    faults: list[str] = field(default_factory=list)
    """Where and why, of every row that was left out."""


# -- reading ---------------------------------------------------------------------------------------------------------
def count_rows(paths: Iterable[Path]) -> int:
    """Return how many rows these files have; raises :class:`DataError` for one that is none of OpenHA's."""
    return sum(_open(path).metadata.num_rows for path in paths)


def read_demonstrations(
    paths: Iterable[Path],
    report: Report,
    *,
    listed: Sequence[str] = (),
    pictures: bool = True,
    strict: bool = False,
    limit: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Iterator[Demonstration]:
    """Yield a demonstration per row, in order. Nothing of a file is ever executed; pictures are decoded to see that they are.

    Args:
        paths: Parquet files.
        report: Filled in on the way.
        listed: The spaces that prompts list; empty: those that the row uses.
        pictures: Keep them.
        strict: Raise for the first malformed row instead of leaving it out.
        limit: Stop after so many demonstrations.
        progress: Called with the number of rows read.

    Raises:
        DataError: A file is unreadable or has other columns; with ``strict``, a row is malformed.
    """
    spaces = prompts.spaces()
    for path in paths:
        file, number = _open(path), -1
        columns = [name for name in ("id", "conversations", "image") if name in file.schema_arrow.names]
        try:
            for batch in file.iter_batches(batch_size=_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    if limit is not None and report.kept >= limit:
                        return
                    number, report.rows = number + 1, report.rows + 1
                    progress(report.rows)
                    try:
                        demonstration = to_demonstration(row, spaces, listed=listed, pictures=pictures)
                    except Malformed as fault:
                        report.faults.append(f"{path}: row {number}: {fault}")
                        if strict:
                            raise DataError(
                                f"{report.faults[-1]}. Fix: mend the row, or import without --strict."
                            ) from fault
                        continue
                    report.kept += 1
                    report.turns += len(demonstration.turns)
                    report.pictures += sum(1 for turn in demonstration.turns if turn.image)
                    report.unresolved += demonstration.category == OTHER
                    for turn in demonstration.turns:
                        report.spaces[turn.space] = report.spaces.get(turn.space, 0) + 1
                    yield demonstration
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: damaged after row {number}: {error}. Fix: fetch the file anew.") from error


OTHER = "openha"
"""Category of a row whose task is none of the benchmark's."""


def _open(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a parquet file of OpenHA's")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a parquet file, or cut short: {error}") from error
    if "conversations" not in file.schema_arrow.names:
        raise DataError(
            f"{path}: its columns are {', '.join(file.schema_arrow.names) or 'none'}; expected conversations, image and id, "
            "as OpenHA's data sets have"
        )
    return file


def to_demonstration(
    row: Mapping[str, Any],
    spaces: Mapping[str, Any],
    *,
    listed: Sequence[str] = (),
    pictures: bool = True,
) -> Demonstration:
    """Return the demonstration of a row; raises :class:`Malformed`."""
    images = _images(row.get("image"))
    used = 0
    instruction: str | None = None
    observation: tuple[str, bytes] | None = None
    turns: list[DemoTurn] = []
    for place, (role, contents) in enumerate(_messages(row.get("conversations"))):
        texts, shown = _contents(place, contents)
        if role == "system" and place == 0:
            continue
        if role == "user":
            if observation is not None:
                raise Malformed(f"message {place}: two of the user's in a row")
            if used + shown > len(images):
                raise Malformed(f"message {place}: picture {used + 1} is named, but image has {len(images)}")
            used += shown
            if instruction is None:
                instruction, texts = _instruction(texts)
            picture = images[used - 1] if shown else b""
            observation = ("\n".join(text for text in texts if text.strip()).strip(), picture)
        elif role == "assistant":
            if observation is None:
                raise Malformed(f"message {place}: an answer to nothing")
            if shown:
                raise Malformed(f"message {place}: a picture in an answer")
            turns.append(_turn(place, "".join(texts), observation, spaces, pictures))
            observation = None
        else:
            raise Malformed(f"message {place}: role is {role!r}; expected user or assistant")
    if not turns or instruction is None:
        raise Malformed("no answer in it")
    if used != len(images):
        raise Malformed(f"{len(images)} pictures, but the messages name {used}")
    names = tuple(dict.fromkeys(turn.space for turn in turns))
    name = str(row.get("id") or "")
    task = resolve(instruction) or resolve(name.split("/")[0])
    return Demonstration(
        task=task.name if task else f"{OTHER}:{_slug(instruction)}",
        category=task.category if task else OTHER,
        seed=0,
        spaces=tuple(listed) or names,
        turns=tuple(turns),
        success=True,
        kind=names[0] if len(names) == 1 else "mixed",
        instruction=instruction,
    )


def _messages(conversations: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(conversations, list) or not conversations:
        raise Malformed(f"conversations is {type(conversations).__name__}; expected a list of messages")
    for place, message in enumerate(conversations):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Malformed(f"message {place}: expected role and content")
        yield message["role"], message.get("content")


def _contents(place: int, contents: Any) -> tuple[list[str], int]:
    """Return the texts of a message and how many pictures it shows."""
    if isinstance(contents, str):
        return [contents], 0
    if not isinstance(contents, list):
        raise Malformed(f"message {place}: content is {type(contents).__name__}; expected a list")
    texts, shown = [], 0
    for item in contents:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "text" and isinstance(item.get("text"), str):
            texts.append(item["text"])
        elif kind == "point":
            texts.append(_point(place, item))
        elif kind == "image":
            shown += 1
        else:
            raise Malformed(f"message {place}: content of type {kind!r}; expected text, image or point")
    return texts, shown


def _point(place: int, item: Mapping[str, Any]) -> str:
    """Write a point as the released model does: percent, to thousandths."""
    try:
        points = [tuple(min(999, int(min(99.9, float(value)) * 10)) for value in point) for point in item["point"]]
        inside = ",".join(f"({x},{y})" for x, y in points)
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"message {place}: a point that is none: {item.get('point')!r}") from error
    label = item.get("label")
    named = f"<|object_ref_start|>{label}<|object_ref_end|>" if label else ""
    return f"{named}<|point_start|>{inside}<|point_end|>"


def _instruction(texts: list[str]) -> tuple[str, list[str]]:
    """Return the instruction that the first message's first text ends with, and the texts that follow it."""
    first, rest = (texts[0], texts[1:]) if texts else ("", [])
    after = first.rpartition(prompts.MARK)[2].strip() if prompts.MARK in first else first.strip().rpartition("\n")[2]
    if not after and rest:  # the prompt and the instruction are texts of their own
        after, rest = rest[0].strip(), rest[1:]
    if not after:
        raise Malformed(f"message 0: no instruction; expected one after {prompts.MARK!r}, or as the last line")
    return " ".join(after.split()), rest


def _turn(
    place: int, answer: str, observation: tuple[str, bytes], spaces: Mapping[str, Any], pictures: bool
) -> DemoTurn:
    answer = answer.removesuffix("<|im_end|>").strip()
    abstract = {"Motion:": "motion", "Grounding:": "grounding", "Action:": "text_action"}
    header = next((header for header in abstract if answer.startswith(header)), None)
    if header is None:
        raise Malformed(f"message {place}: {_short(answer)} begins with none of {', '.join(abstract)}")
    name = abstract[header]
    if header != "Action:" and "Action:" in answer:
        name += "_coa"
    action = spaces[name].tokenizer.decode(answer)
    if isinstance(action, InvalidAction):
        raise Malformed(f"message {place}: {_short(answer)}: {action.reason}")
    text = spaces[name].tokenizer.encode(action)
    segments = spaces[name].tokenizer.segments(text)
    words, picture = observation
    return DemoTurn(words, text, name, segments=segments, image=picture if pictures else b"")


def _images(column: Any) -> list[bytes]:
    found = []
    for number, image in enumerate(column or ()):
        content = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(content, bytes) or not content:
            raise Malformed(f"picture {number + 1} is {type(content).__name__}; expected its bytes")
        _check_picture(number + 1, content)
        found.append(content)
    return found


def _check_picture(number: int, content: bytes) -> None:
    """Decode a picture to see that it is one: JPEG or PNG, whole, and of a size that fits into memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
                if max(image.size) > SIDE:
                    raise Malformed(
                        f"picture {number} has {image.size[0]}x{image.size[1]} pixels; expected at most {SIDE} a side"
                    )
                image.load()
    except Malformed:
        raise
    except Exception as error:  # a decoder of a binary format fails in many ways on bytes that are not whole
        raise Malformed(f"picture {number} is no whole JPEG or PNG: {error}") from error


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:60] or "unnamed"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")


# -- writing ---------------------------------------------------------------------------------------------------------
def to_rows(demonstration: Demonstration, number: int, most: int) -> list[dict[str, Any]]:
    """Return rows of at most ``most`` turns each; raises :class:`Malformed` where a space is none of OpenHA's.

    ``number`` goes into the ids, which are ``task/number/first turn``. Turns without a picture show their text.
    """
    if most < 1:
        raise ValueError(f"turns: got {most}; expected at least 1")
    known = prompts.spaces()
    listed = tuple(dict.fromkeys(_REPLACED.get(name, name) for name in demonstration.spaces))
    if foreign := [
        name for name in (*listed, *(_REPLACED.get(t.space, t.space) for t in demonstration.turns)) if name not in known
    ]:
        raise Malformed(f"space {foreign[0]!r}; OpenHA's are {', '.join(known)}")
    opening = prompts.system_prompt(listed) + demonstration.instruction
    rows = []
    for first in range(0, len(demonstration.turns), most):
        messages: list[dict[str, Any]] = []
        images: list[bytes] = []
        for turn in demonstration.turns[first : first + most]:
            content: list[dict[str, str | None]] = [] if messages else [{"type": "text", "text": opening}]
            content += [{"type": "text", "text": turn.observation}] if turn.observation else []
            if turn.image:
                content.append({"type": "image", "text": None})
                images.append(turn.image)
            messages.append({"role": "user", "content": content})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.text}]})
        rows.append({"id": f"{demonstration.task}/{number}/{first}", "conversations": messages, "image": images})
    return rows


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a parquet file of OpenHA's schema, some rows at a time; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            some: list[Mapping[str, Any]] = []
            for row in rows:
                some.append(row)
                if len(some) == _AT_ONCE:
                    writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
                    some = []
            if some:
                writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
