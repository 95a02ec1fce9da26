"""The small files of a run directory: written atomically, read strictly."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from crossagent.errors import DataError


def write_text(path: Path, text: str) -> None:
    """Write a text, in UTF-8, in one step."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader, or a crash, sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step, readable and with a stable order."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return a JSON file's content. Raises :class:`DataError` naming the file when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: unreadable ({error}); expected JSON that crossagent wrote") from error


def read_metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return metric → [(step, value)] of a stage's ``metrics.jsonl``; non-finite values and a torn last line left out."""
    series: dict[str, list[tuple[int, float]]] = {}
    if not path.is_file():
        return series
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        for name, value in row.items():
            if name != "step" and math.isfinite(value):
                series.setdefault(name, []).append((row["step"], value))
    return series
