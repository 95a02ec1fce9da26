"""``summary.json`` and the one table a run ends with."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crossagent.tracking.files import read_json, write_json

CELL_KEYS = ("success", "ci95", "return", "episodes", "turns", "ticks", "cost", "shares")
"""What a cell of ``summary.json`` holds, in this order."""
VERSIONED = ("crossagent", "torch", "lightning", "transformers", "tokenizers", "numpy", "mlflow", "omegaconf")


def versions(distributions: Sequence[str] = ()) -> dict[str, str]:
    """Return name → version of Python, our main dependencies and the given distributions (plugins), in a fixed order."""
    found = {"python": platform.python_version()}
    for name in [*VERSIONED, *sorted(set(distributions) - set(VERSIONED))]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def summary_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an evaluation's cell that ``summary.json`` states."""
    return {key: cell[key] for key in CELL_KEYS}


def cell_metrics(cell: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an evaluation's cell: name → value, with its interval, shares and categories."""
    numbers = {key: float(value) for key, value in cell.items() if isinstance(value, (int, float))}
    numbers |= {"ci95_low": cell["ci95"][0], "ci95_high": cell["ci95"][1]}
    numbers |= {f"share/{space}": share for space, share in cell["shares"].items()}
    for name, category in (cell.get("categories") or {}).items():
        numbers |= {f"category/{name}/{key}": category[key] for key in ("success", "asr", "ft")}
    return numbers


def cell_rows(cells: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return an evaluation (suite → kind → cell) as the rows of a table: each cell, then its categories."""
    rows = []
    for suite, kinds in cells.items():
        for kind, cell in kinds.items():
            for category, inner in {"all": cell, **(cell.get("categories") or {})}.items():
                low, high = inner["ci95"]
                row = {"suite": suite, "agent": kind, "category": category, "episodes": inner["episodes"]}
                row |= {"success": inner["success"], "ci95_low": low, "ci95_high": high}
                row |= {key: inner.get(key) for key in ("asr", "ft", "return", "cost", "turns", "ticks")}
                shares = inner.get("shares", {})
                rows.append(row | {f"share/{space}": shares.get(space) for space in cell["shares"]})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in columns} for row in rows]


def write_summary(
    path: Path, stages: Sequence[Mapping[str, Any]], recipe_sha256: str, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Write ``summary.json`` and return it.

    Args:
        path: The file.
        stages: ``{"stage", "seconds", "eval": {suite: {kind: cell}}}`` in the order they ran; ``"found"`` if there is any.
        recipe_sha256: Of the composed recipe.
        versions: name → version.
    """
    content = {
        "stages": [
            {
                "stage": stage["stage"],
                "seconds": stage["seconds"],
                "eval": {
                    suite: {kind: summary_cell(cell) for kind, cell in kinds.items()}
                    for suite, kinds in stage["eval"].items()
                },
                **({"found": dict(stage["found"])} if "found" in stage else {}),
            }
            for stage in stages
        ],
        "versions": dict(versions),
        "recipe_sha256": recipe_sha256,
    }
    write_json(path, content)
    return content


def table(summary: Mapping[str, Any], experts: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the run's table: a row per suite, stage and agent; the experts' ceilings close each suite."""
    suites = list(dict.fromkeys(suite for stage in summary["stages"] for suite in stage["eval"]))
    spaces = _spaces(summary, experts)
    result = Table(title="Evaluation (success with 95 % interval; J = success − Σ λ·cost)", title_justify="left")
    for name in ("suite", "after", "agent"):
        result.add_column(name, no_wrap=True)
    for name in ("success", "95 %", "J", "episodes", "turns", "ticks", "cost", *spaces):
        result.add_column(name, justify="right", no_wrap=True)
    for suite in suites:
        for stage in summary["stages"]:
            for kind, cell in stage["eval"].get(suite, {}).items():
                result.add_row(
                    suite, stage["stage"], kind, *_numbers(cell, spaces), style="bold" if kind == "mixed" else ""
                )
        for kind, cell in experts.get(suite, {}).items():
            result.add_row(suite, "expert", kind, *_numbers(cell, spaces), style="dim")
        result.add_section()
    return result


def cells_table(cells: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """Return a table of one evaluation: suite → kind → cell, with a row per category below each."""
    spaces = list(dict.fromkeys(s for kinds in cells.values() for cell in kinds.values() for s in cell["shares"]))
    result = Table(title=title, title_justify="left")
    for name in ("suite", "agent", "category"):
        result.add_column(name, no_wrap=True)
    for name in ("success", "95 %", "J", "episodes", "turns", "ticks", "cost", *spaces):
        result.add_column(name, justify="right", no_wrap=True)
    for suite, kinds in cells.items():
        for kind, cell in kinds.items():
            result.add_row(suite, kind, "all", *_numbers(cell, spaces), style="bold")
            for category, inner in (cell.get("categories") or {}).items():
                result.add_row(suite, kind, category, *_numbers(inner, spaces))
    return result


def show(path: Path, console: Console) -> dict[str, Any]:
    """Print the table of a complete run's directory and return its summary."""
    content: dict[str, Any] = read_json(path / "summary.json")
    experts = path / "experts.json"
    print_wide(console, table(content, read_json(experts) if experts.is_file() else {}))
    total = sum(stage["seconds"] for stage in content["stages"])
    console.print(f"{path / 'summary.json'}: {len(content['stages'])} stages in {total:.0f} s", highlight=False)
    return content


def show_complete(path: Path, console: Console) -> dict[str, Any]:
    """Say that a run is complete, and print its table."""
    console.print(f"{path} is complete; nothing is run again. Its table:", highlight=False, soft_wrap=True)
    return show(path, console)


def print_wide(console: Console, rendered: Table) -> None:
    """Print a table as wide as it needs, also where the output is narrow or redirected: nothing is cut."""
    console.width = max(console.width, console.measure(rendered, options=console.options.update(width=400)).maximum)
    console.print(rendered, crop=False, soft_wrap=True)


def _spaces(summary: Mapping[str, Any], experts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    cells = [cell for stage in summary["stages"] for kinds in stage["eval"].values() for cell in kinds.values()]
    cells += [cell for kinds in experts.values() for cell in kinds.values()]
    return list(dict.fromkeys(space for cell in cells for space in cell["shares"]))


def _numbers(cell: Mapping[str, Any], spaces: Sequence[str]) -> list[str]:
    low, high = cell["ci95"]
    rows = {
        "return": "{:.3f}",
        "episodes": "{}",
        "turns": "{:.1f}",
        "ticks": "{:.0f}",
        "cost": "{:.2f}",
    }
    return [
        f"{100 * cell['success']:.1f} %",
        f"{100 * low:.0f}–{100 * high:.0f}",
        *(form.format(cell[key]) if key in cell else "" for key, form in rows.items()),
        *(f"{100 * cell['shares'].get(space, 0.0):.0f} %" if "shares" in cell else "" for space in spaces),
    ]
