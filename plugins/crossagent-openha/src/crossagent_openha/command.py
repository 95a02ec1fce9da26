"""``crossagent openha import | export``: OpenHA's parquet files to demonstrations and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossagent.demonstrations import DataError, Demonstration, load_demonstrations, save_demonstrations
from crossagent_openha import prompts
from crossagent_openha.dataset import Malformed, Report, count_rows, read_demonstrations, to_rows, write_rows

_SHOWN = 10


def command(words: list[str]) -> int:
    """Run ``crossagent openha …``; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="crossagent openha", description="OpenHA's parquet data sets to demonstrations, and back."
    )
    commands = parser.add_subparsers(dest="what", required=True)
    read = commands.add_parser("import", help="read OpenHA's parquet files into a file for demonstrations.file")
    read.add_argument("sources", nargs="+", type=Path, metavar="PARQUET", help="files, or folders of *.parquet")
    read.add_argument("--out", type=Path, required=True, help="the parquet file of demonstrations to write")
    read.add_argument("--limit", type=int, help="stop after so many rows that are kept")
    read.add_argument(
        "--spaces",
        default="",
        metavar="A,B",
        help="the spaces that prompts list, e.g. text_action,motion_coa,grounding_coa (default: those that a row uses)",
    )
    read.add_argument(
        "--no-pictures", action="store_true", help="leave pictures out: a model that reads text alone does without"
    )
    read.add_argument("--strict", action="store_true", help="end at the first malformed row instead of leaving it out")
    write = commands.add_parser("export", help="write a file of demonstrations as OpenHA's parquet")
    write.add_argument("source", type=Path, help="demonstrations.parquet of a run")
    write.add_argument("--out", type=Path, required=True, help="the parquet file to write")
    write.add_argument("--turns", type=int, default=20, help="turns of a row at most (default: 20)")
    chosen = parser.parse_args(words)
    try:
        return _import(chosen) if chosen.what == "import" else _export(chosen)
    except (DataError, ValueError) as error:
        print(f"crossagent openha {chosen.what}: {error}", file=sys.stderr)
        return 2


def _import(chosen: argparse.Namespace) -> int:
    listed = tuple(name for name in chosen.spaces.split(",") if name)
    if unknown := [name for name in listed if name not in prompts.spaces()]:
        raise ValueError(f"--spaces: got {unknown[0]!r}; expected some of {', '.join(prompts.spaces())}")
    if chosen.limit is not None and chosen.limit < 1:
        raise ValueError(f"--limit: got {chosen.limit}; expected at least 1")
    paths = _files(chosen.sources)
    total = count_rows(paths)
    report = Report()
    with _bar() as bar:
        task = bar.add_task("rows", total=total)
        found = read_demonstrations(
            paths,
            report,
            listed=listed,
            pictures=not chosen.no_pictures,
            strict=chosen.strict,
            limit=chosen.limit,
            progress=lambda rows: bar.update(task, completed=rows),
        )
        save_demonstrations(chosen.out, _some(found, report), {"source": "OpenHA", "files": [p.name for p in paths]})
    turns = ", ".join(f"{count} {name}" for name, count in sorted(report.spaces.items()))
    print(
        f"{chosen.out}: {report.kept} of {report.rows} rows, {report.turns} turns ({turns}), {report.pictures} pictures"
    )
    if report.unresolved:
        print(f"{report.unresolved} of them are of tasks that are none of the benchmark's 823: for sft only")
    _show(report.faults, "rows are malformed and left out")
    return 0


def _some(found: Iterator[Demonstration], report: Report) -> Iterator[Demonstration]:
    """Pass demonstrations on; raise when there is none, before anything is written in place."""
    yield from found
    if not report.kept:
        raise DataError(
            f"none of {report.rows} rows is a conversation of OpenHA's; the first: {(report.faults or ['no row'])[0]}"
        )


def _export(chosen: argparse.Namespace) -> int:
    demonstrations = load_demonstrations(chosen.source)
    faults: list[str] = []
    counts = {"rows": 0, "turns": 0}

    def rows() -> Iterator[dict[str, Any]]:
        with _bar() as bar:
            for number, demonstration in enumerate(bar.track(demonstrations, description="episodes")):
                try:
                    made = to_rows(demonstration, number, chosen.turns)
                except Malformed as fault:
                    faults.append(f"{chosen.source}: episode {number}: {fault}")
                    continue
                counts["rows"] += len(made)
                counts["turns"] += len(demonstration.turns)
                yield from made
        if not counts["rows"]:
            raise DataError(f"{chosen.source}: nothing to export; the first: {(faults or ['no episode'])[0]}")

    write_rows(chosen.out, rows())
    print(
        f"{chosen.out}: {counts['rows']} rows, {counts['turns']} turns of {len(demonstrations) - len(faults)} episodes"
    )
    _show(faults, "episodes are left out")
    return 0


def _files(sources: list[Path]) -> list[Path]:
    """Return the files, those of folders by name."""
    found: list[Path] = []
    for source in sources:
        inside = sorted(source.glob("**/*.parquet")) if source.is_dir() else [source]
        if not inside:
            raise DataError(f"{source}: no *.parquet in it")
        found += inside
    return found


def _show(faults: list[str], what: str) -> None:
    if faults:
        print(f"{len(faults)} {what}:", file=sys.stderr)
        for fault in faults[:_SHOWN]:
            print(f"  {fault}", file=sys.stderr)
        if len(faults) > _SHOWN:
            print(f"  … and {len(faults) - _SHOWN} more", file=sys.stderr)


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True))
