"""``report.html``: one self-contained page about a run, or about several side by side. No network, no script, all text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossagent.tracking import report_charts as charts
from crossagent.tracking.files import write_text
from crossagent.tracking.mlflow import flatten
from crossagent.tracking.report_data import collect
from crossagent.tracking.report_sections import (
    NUMBERS,
    Section,
    Table,
    cell_numbers,
    first_cell,
    last_cell,
    sections,
    unique,
)

REPORT = "report.html"


def write_report(runs: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Write the page about these runs, whole or not at all; returns the data it shows, one entry per run.

    Raises:
        DataError: One of them is no run of ours, or its files are damaged.
    """
    data = [collect(run) for run in runs]
    write_text(out, render(data))
    return data


def render(data: Sequence[Mapping[str, Any]]) -> str:
    """Return the page about what :func:`crossagent.tracking.report_data.collect` found."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("crossagent.tracking"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = _distinct([run["name"] for run in data], [run["directory"] for run in data])
    named = [{**run, "name": name} for run, name in zip(data, names, strict=True)]
    return environment.get_template("report.html.j2").render(
        title=", ".join(names),
        patterns=charts.patterns(),
        comparison=compare(named) if len(named) > 1 else [],
        runs=[(run, sections(run)) for run in named],
    )


def compare(runs: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return the sections that put several runs side by side: the end, the way there, and how their recipes differ."""
    end = Section(
        "The end of each run", "The first agent of each run after its last stage; 95 % intervals.", folded=False
    )
    suites = unique(suite for run in runs for stage in run["stages"] for suite in stage["eval"])
    rows = []
    for suite in suites:
        groups = {}
        for run in runs:
            last = last_cell(run, suite)
            if last is None:
                continue
            stage, kind, cell = last
            groups[run["name"]] = {"success": (cell["success"], *cell["ci95"])}
            seconds = sum(sum(s["seconds"].values()) for s in run["stages"])
            rows.append(
                [suite, run["name"], stage, kind, *cell_numbers(cell), run["recipe"].get("seed", ""), f"{seconds:.0f}"]
            )
        if groups:
            end.charts.append(charts.interval_chart(f"{suite}: success at the end", groups))
    columns = ["suite", "run", "after", "agent", *NUMBERS, "seed", "seconds"]
    end.tables.append(Table("At the end", columns, rows, text=4))
    way = Section("On the way there", "After each stage: success of the first agent of each run.")
    for suite in suites:
        stages = unique(stage["stage"] for run in runs for stage in run["stages"])
        groups = {}
        for stage in stages:
            cells = {run["name"]: first_cell(run, stage, suite) for run in runs}
            found = {name: (cell["success"], *cell["ci95"]) for name, cell in cells.items() if cell}
            if found:
                groups[stage] = found
        way.charts.append(charts.interval_chart(f"{suite}: success after each stage", groups))
    for stage in unique(stage for run in runs for stage in run["curves"]):
        for metric in ("rollout/success", "rollout/return", "sft/loss", "train/entropy"):
            series = {run["name"]: run["curves"].get(stage, {}).get(metric) for run in runs}
            lines = {name: points for name, points in series.items() if points}
            if len(lines) > 1:
                way.charts.append(charts.line_chart(f"{stage}: {metric}", lines, percent=metric == "rollout/success"))
    flat = [flatten(run["recipe"]) for run in runs]
    keys = [
        key for key in unique(key for tree in flat for key in tree) if len({str(tree.get(key)) for tree in flat}) > 1
    ]
    recipes = Section("How the recipes differ", folded=False)
    if keys:
        rows = [[key, *(str(tree.get(key, "")) for tree in flat)] for key in keys]
        recipes.tables.append(
            Table("Keys with different values", ["key", *(run["name"] for run in runs)], rows, text=99)
        )
    else:
        recipes.about = "They do not: it is the same recipe."
    return [end, way, recipes]


def _distinct(names: Sequence[str], directories: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else directory for name, directory in zip(names, directories, strict=True)]
