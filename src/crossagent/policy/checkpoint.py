"""Checkpoint directories that are whole or not there: written aside and swapped in, checked before they are read.

``crossagent.json`` is written last; it lists every other file with its size and hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from crossagent.errors import CheckpointError

MANIFEST = "crossagent.json"
FORMAT = 1


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """Give a fresh directory beside ``directory`` and put it in its place when the block ends well.

    An old one steps aside as ``.NAME.old`` for the moment between the two renames; :func:`recover` brings it back if
    the process died just then.
    """
    directory = directory.expanduser().absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    recover(directory)
    for stale in directory.parent.glob(f".{directory.name}.new-*"):  # of a process that died while it wrote
        shutil.rmtree(stale, ignore_errors=True)
    stage = _beside(directory)
    stage.mkdir()
    try:
        yield stage
        for path in sorted(stage.rglob("*")):
            if path.is_file():
                _sync(path)
        old = _aside(directory)
        if directory.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(directory, old)
        os.replace(stage, directory)
        _sync(directory.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def recoverable(directory: Path) -> bool:
    """True when a save died between its two renames and the checkpoint of before can be brought back."""
    return not directory.exists() and (_aside(directory) / MANIFEST).is_file()


def recover(directory: Path) -> Path:
    """Bring back the checkpoint of before, if a save died between its two renames; return ``directory``."""
    if recoverable(directory):
        os.replace(_aside(directory), directory)
    return directory


def discard(directory: Path) -> None:
    """Remove a checkpoint; a process that dies meanwhile leaves all of it, or nothing that could be taken for one."""
    shutil.rmtree(_aside(directory), ignore_errors=True)
    if directory.exists():
        gone = _beside(directory)
        os.replace(directory, gone)
        shutil.rmtree(gone, ignore_errors=True)


def write_manifest(directory: Path, meta: dict[str, Any]) -> None:
    """Write ``crossagent.json``: ``meta``, and the size and hash of every file there."""
    files = {
        path.relative_to(directory).as_posix(): {"size": path.stat().st_size, "blake2b": _hash(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({"format": FORMAT, **meta, "files": files}, indent=2, sort_keys=True) + "\n"
    temporary = directory / (MANIFEST + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, directory / MANIFEST)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return ``crossagent.json`` after checking that every file it lists is there and unchanged.

    Raises:
        CheckpointError: Says which file is missing, truncated, corrupted or of another format.
    """
    if not directory.is_dir():
        raise CheckpointError(f"checkpoint {directory}: no such directory")
    path = directory / MANIFEST
    if not path.is_file():
        hint = (
            "a plain model directory? Give it as policy.model" if (directory / "config.json").is_file() else "not ours"
        )
        raise CheckpointError(f"checkpoint {directory}: no {MANIFEST}; {hint}")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version, files = meta["format"], meta["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {directory}: {MANIFEST} is unreadable ({error}); use another one") from error
    if version != FORMAT:
        raise CheckpointError(
            f"checkpoint {directory}: format {version}; this version of crossagent reads {FORMAT}. Use the version that wrote it"
        )
    for name, facts in files.items():
        file = directory / name
        if not file.is_file():
            raise CheckpointError(f"checkpoint {directory}: {name} is missing; use another one, or copy it anew")
        size = file.stat().st_size
        if size != facts["size"]:
            what = "truncated" if size < facts["size"] else "changed"
            raise CheckpointError(
                f"checkpoint {directory}: {name} is {what}: {size} bytes, expected {facts['size']}; use another one"
            )
        if _hash(file) != facts["blake2b"]:
            raise CheckpointError(f"checkpoint {directory}: {name} is corrupted (its hash differs); use another one")
    check_weights(directory)
    return dict(meta)


def check_weights(directory: Path) -> None:
    """Open every safetensors file under ``directory``; an index must find all of its files.

    Raises:
        CheckpointError: Names the file that is missing, truncated or corrupted.
    """
    for index in sorted(directory.rglob("*.safetensors.index.json")):
        try:
            wanted = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"model {directory}: {index.name} is unreadable ({error})") from error
        for name in wanted:
            if not (index.parent / name).is_file():
                raise CheckpointError(f"model {directory}: {name} is missing, but {index.name} lists it")
    for path in sorted(directory.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - not a dict
                    file.get_slice(key).get_shape()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"model {directory}: {path.name} is truncated or corrupted ({error}); use another checkpoint, or copy it anew"
            ) from error


def _aside(directory: Path) -> Path:
    return directory.parent / f".{directory.name}.old"


def _beside(directory: Path) -> Path:
    return directory.parent / f".{directory.name}.new-{os.getpid()}"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
