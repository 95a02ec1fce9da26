"""Trajectories on disk: parquet, one row each, with the turns as a nested list that DuckDB and pandas can query.

What has no fixed type (an action's payload, events) is a JSON string. Images lie beside, ``step-000012.images.zip``: PNG files
named by their content, so that equal ones are kept once; a turn names its own. Each step of training has files of its own,
so a store only grows; a file is written whole or not at all, the images before what names them, so that a reader of a run
that goes on finds both. Files carry the number of their schema and are never unpickled.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossagent.errors import DataError
from crossagent.types import Event, StopReason, Trajectory, Turn

SCHEMA_VERSION = 3
"""2 added ``space_logprobs``, ``image`` and ``instruction``; 3 keeps images in a file beside, not in ``image``."""
_OLDER = (1, 2)
_KEY = b"crossagent"
_ROWS = 1024
"""Rows written at a time."""
_IDS = pa.list_(pa.int32())
SEGMENTS = pa.list_(pa.struct({"name": pa.string(), "start": pa.int32()}))
"""Type of the column ``segments``."""
_TURN = pa.struct(
    {
        "prompt_ids": _IDS,
        "response_ids": _IDS,
        "sampler_logprobs": pa.list_(pa.float64()),
        "finish_reason": pa.string(),
        "forced": pa.int32(),
        "explored": pa.int32(),
        "segments": SEGMENTS,
        "observation": pa.string(),
        "text": pa.string(),
        "space": pa.string(),
        "payload": pa.string(),
        "invalid": pa.string(),
        "ticks": pa.int64(),
        "reward": pa.float64(),
        "cost": pa.float64(),
        "error": pa.string(),
        "events": pa.string(),
        "anchor_key": pa.string(),
        "space_logprobs": pa.list_(pa.float64()),
        "image": pa.string(),
    }
)
_TRAJECTORY = pa.schema(
    {
        "task": pa.string(),
        "category": pa.string(),
        "env": pa.string(),
        "seed": pa.int64(),
        "group": pa.int64(),
        "member": pa.int64(),
        "turns": pa.list_(_TURN),
        "stop_reason": pa.string(),
        "success": pa.bool_(),
        "state_hash": pa.string(),
        "spaces": pa.list_(pa.string()),
        "failure": pa.string(),
        "instruction": pa.string(),
    }
)
_TURN_FIELDS = tuple(f.name for f in fields(Turn) if f.name != "allowed")
_TRAJECTORY_FIELDS = tuple(f.name for f in fields(Trajectory))


def step_file(directory: Path | str, step: int) -> Path:
    """Return the file of one step; a step that is repeated after a resume replaces its own file and no other."""
    return Path(directory) / f"step-{step:06d}.parquet"


def images_file(path: Path | str) -> Path:
    """Return the file of the images beside a file of trajectories."""
    return Path(path).with_suffix(".images.zip")


def save_trajectories(
    path: Path | str, trajectories: Sequence[Trajectory], meta: Mapping[str, Any] | None = None
) -> None:
    """Write trajectories to a new file, and their images beside it, each atomically.

    Args:
        path: Its directory is made when it is missing.
        trajectories: In the order they will be loaded in.
        meta: JSON-able, about all of them, e.g. stage and step.
    """
    rows: list[dict[str, Any]] = []
    images: dict[str, bytes] = {}
    for trajectory in trajectories:
        row = {name: getattr(trajectory, name) for name in _TRAJECTORY_FIELDS}
        row["stop_reason"] = trajectory.stop_reason.value
        row["turns"] = [_turn_row(turn, images) for turn in trajectory.turns]
        rows.append(row)
    if images:
        _write_whole(images_file(path), lambda temporary: _write_images(temporary, images))
    write_rows(path, rows, _TRAJECTORY, "trajectories", SCHEMA_VERSION, meta)


def load_trajectories(path: Path | str, groups: Collection[int] | None = None) -> list[Trajectory]:
    """Return the trajectories of a file; payloads come back as JSON values (tuples as lists).

    What an older schema does not hold is empty.

    Args:
        path: The file.
        groups: Only these; None: all.

    Raises:
        DataError: The file, or that of its images, is missing, damaged, something else, or of another schema.
    """
    rows, _ = read_rows(path, "trajectories", SCHEMA_VERSION, older=_OLDER, groups=groups)
    try:
        named = sorted(
            {turn["image"] for row in rows for turn in row["turns"] if isinstance(turn.get("image"), str)} - {""}
        )
        images = _read_images(images_file(path), named) if named else {}
        return [
            Trajectory(
                **{
                    **row,
                    "turns": tuple(_turn_of(turn, images) for turn in row["turns"]),
                    "stop_reason": StopReason(row["stop_reason"]),
                    "spaces": tuple(row["spaces"]),
                }
            )
            for row in rows
        ]
    except DataError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not trajectories of schema {SCHEMA_VERSION}: {error}") from error


def load_meta(path: Path | str) -> dict[str, Any]:
    """Return what was given as ``meta`` when a file was written; reads no rows."""
    meta: dict[str, Any] = _header(Path(path))[0]["meta"]
    return meta


def load_groups(path: Path | str) -> list[int]:
    """Return the group of each trajectory of a file; reads that column alone."""
    groups: list[int] = _header(Path(path))[1].read(columns=["group"])["group"].to_pylist()
    return groups


def write_rows(
    path: Path | str,
    rows: Iterable[Mapping[str, Any]],
    schema: pa.Schema,
    kind: str,
    version: int,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write rows as parquet (zstd) with a header naming kind and schema version; the file appears whole.

    ``rows`` may be more than fit into memory: they are taken and written some at a time.
    """
    header = json.dumps({"kind": kind, "schema": version, "meta": dict(meta or {})})
    schema = schema.with_metadata({_KEY: header.encode()})

    def write(temporary: str) -> None:
        left = iter(rows)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            while some := list(itertools.islice(left, _ROWS)):
                writer.write_table(pa.Table.from_pylist(some, schema=schema))

    _write_whole(Path(path), write)


def _write_whole(path: Path, write: Callable[[str], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_rows(
    path: Path | str, kind: str, version: int, older: Sequence[int] = (), groups: Collection[int] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return (rows, meta) of a file that :func:`write_rows` wrote; raises :class:`DataError` for any other.

    Args:
        path: The file.
        kind: What it must hold.
        version: The schema it must have.
        older: Schemas that are read too: rows as they were written.
        groups: Only rows whose column ``group`` is one of these; None: all.
    """
    path = Path(path)
    header, file = _header(path)
    if header["kind"] != kind:
        raise DataError(f"{path}: holds {header['kind']}; expected {kind}")
    if header["schema"] not in (version, *older):
        raise DataError(
            f"{path}: {kind} of schema {header['schema']}; this version of crossagent reads schema "
            f"{', '.join(map(str, sorted((version, *older))))}. "
            "Fix: write the file again, or read it with the version that wrote it."
        )
    try:
        table = file.read()
        if groups is not None:
            table = table.filter(pc.is_in(table["group"], pa.array(sorted(groups), pa.int64())))
        return table.to_pylist(), header["meta"]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged: {error}. Fix: delete the file and write it again.") from error


def _header(path: Path) -> tuple[dict[str, Any], pq.ParquetFile]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a parquet file, or cut short: {error}") from error
    found = (file.schema_arrow.metadata or {}).get(_KEY)
    try:
        header = json.loads(found or b"")
        return {"kind": header["kind"], "schema": header["schema"], "meta": header["meta"]}, file
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: a parquet file that crossagent did not write (no {_KEY.decode()!r} header)"
        ) from error


def _write_images(path: str, images: Mapping[str, bytes]) -> None:
    """Write PNG files into a zip, stored as they are (PNG is compressed), with a fixed date: equal images, equal bytes."""
    with zipfile.ZipFile(path, "w") as file:
        for name in sorted(images):
            file.writestr(zipfile.ZipInfo(f"{name}.png"), images[name])


def _read_images(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the images of these names."""
    try:
        with zipfile.ZipFile(path) as file:
            return {name: file.read(f"{_image_name(name)}.png") for name in names}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; the trajectories beside it have their images there") from error
    except (KeyError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: damaged, or not the images of the trajectories beside it: {error}") from error


def _image_name(name: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        raise ValueError(f"{name!r} is no name of an image")
    return name


def _turn_row(turn: Turn, images: dict[str, bytes]) -> dict[str, Any]:
    row = {name: getattr(turn, name) for name in _TURN_FIELDS}
    row["image"] = hashlib.blake2b(turn.image, digest_size=16).hexdigest() if turn.image else ""
    if turn.image:
        images[row["image"]] = turn.image
    row["payload"] = None if turn.payload is None else json.dumps(turn.payload)
    row["segments"] = segment_rows(turn.segments)
    row["events"] = json.dumps([asdict(event) for event in turn.events])
    return row


def _turn_of(row: dict[str, Any], images: Mapping[str, bytes]) -> Turn:
    image = row.get("image") or b""  # the bytes themselves, up to schema 2
    return Turn(
        **{
            **row,
            "prompt_ids": tuple(row["prompt_ids"]),
            "response_ids": tuple(row["response_ids"]),
            "sampler_logprobs": tuple(row["sampler_logprobs"]),
            "segments": segments_of(row),
            "payload": None if row["payload"] is None else json.loads(row["payload"]),
            "events": tuple(Event(**event) for event in json.loads(row["events"])),
            "space_logprobs": tuple(row.get("space_logprobs", ())),
            "image": images[image] if isinstance(image, str) else image,
        }
    )


def segment_rows(segments: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return a turn's segments for the column ``segments``."""
    return [{"name": name, "start": start} for name, start in segments]


def segments_of(row: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the segments of a stored turn; none where an older file has no such column."""
    return tuple((segment["name"], segment["start"]) for segment in row.get("segments") or ())


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
