"""What the report says about several runs side by side: how they end, the way there, seeds together, how their recipes differ."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from crossagent.tracking.mlflow.tracker import flatten
from crossagent.tracking.report import charts
from crossagent.tracking.report.sections import (
    CATEGORY_NUMBERS,
    NUMBERS,
    Section,
    Table,
    category_numbers,
    cell_numbers,
    first_cell,
    last_cell,
    percent,
    spaces_of,
    unique,
)

OF_A_REPEAT = ("seed", "run_name")
"""Keys in which the recipes of one experiment's repetitions differ."""
CURVES = ("rollout/success", "eval/value", "rollout/return", "sft/loss", "train/entropy")


def compare(runs: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return the sections that put several runs side by side; those with nothing to show are left out."""
    suites = unique(suite for run in runs for stage in run["stages"] for suite in stage["eval"])
    made = [_end(runs, suites), _repeats(runs, suites), _shares(runs, suites), _way(runs, suites), _recipes(runs)]
    return [section for section in made if section.charts or section.tables or section.title == _DIFFER]


def _end(runs: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> Section:
    section = Section(
        "The end of each run", "The first agent of each run after its last stage; 95 % intervals.", folded=False
    )
    rows, categories = [], []
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
            for name, inner in cell.get("categories", {}).items():
                categories.append([suite, name, run["name"], *category_numbers(inner)])
        if groups:
            section.charts.append(charts.interval_chart(f"{suite}: success at the end", groups))
    columns = ["suite", "run", "after", "agent", *NUMBERS, "seed", "seconds"]
    section.tables.append(Table("At the end", columns, rows, text=4))
    if categories:
        categories.sort(key=lambda row: (suites.index(row[0]), row[1]))  # the runs of a category below each other
        columns = ["suite", "category", "run", *CATEGORY_NUMBERS]
        section.tables.append(Table("At the end, per category", columns, categories, text=3))
    return section


def _repeats(runs: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> Section:
    """Runs of one recipe with several seeds, as one: what a difference between recipes must exceed."""
    section = Section(
        "Seeds together",
        "Runs that differ in seed and name only, after the last stage that two of them have reached: mean ± standard deviation of a sample.",
        folded=False,
    )
    experiments: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        recipe = {key: value for key, value in run["recipe"].items() if key not in OF_A_REPEAT}
        experiments.setdefault(json.dumps(recipe, sort_keys=True), []).append(run)
    rows = []
    for suite in suites:
        for repeats in experiments.values():
            for stage in reversed(unique(stage["stage"] for run in repeats for stage in run["stages"])):
                equal = [(run, cell) for run in repeats if (cell := first_cell(run, stage, suite))]
                if len(equal) >= 2:
                    break
            else:
                continue
            success, returns, cost = ([cell[key] for _, cell in equal] for key in ("success", "return", "cost"))
            seeds = ", ".join(str(run["recipe"].get("seed", "")) for run, _ in equal)
            rows.append(
                [suite, equal[0][0]["name"], stage, seeds, len(equal),
                 f"{100 * statistics.mean(success):.1f} ± {100 * statistics.stdev(success):.1f} %",
                 f"{percent(min(success))} to {percent(max(success))}",
                 f"{statistics.mean(returns):.3f} ± {statistics.stdev(returns):.3f}",
                 f"{statistics.mean(cost):.2f} ± {statistics.stdev(cost):.2f}"]
            )  # fmt: skip
    if rows:
        columns = ["suite", "first run", "after", "seeds", "runs", "success", "least to most", "J", "cost"]
        section.tables.append(Table("Mean ± standard deviation", columns, rows, text=4))
    return section


def _shares(runs: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> Section:
    section = Section("Share of the spaces at the end", "Share of turns that open with each space's header.")
    names = [*unique(space for run in runs for space in spaces_of(run)), "none"]
    for suite in suites:
        ends = {run["name"]: last[2]["shares"] for run in runs if (last := last_cell(run, suite))}
        section.charts.append(charts.stacked_bars(f"{suite}: share of turns", ends, names))
        rows = [[run, *(percent(shares.get(name, 0.0)) for name in names)] for run, shares in ends.items()]
        section.tables.append(Table(f"{suite}: share of turns", ["run", *names], rows))
    return section


def _way(runs: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> Section:
    section = Section("On the way there", "After each stage: success of the first agent of each run.")
    for suite in suites:
        groups = {}
        for stage in unique(stage["stage"] for run in runs for stage in run["stages"]):
            cells = {run["name"]: first_cell(run, stage, suite) for run in runs}
            found = {name: (cell["success"], *cell["ci95"]) for name, cell in cells.items() if cell}
            if found:
                groups[stage] = found
        section.charts.append(charts.interval_chart(f"{suite}: success after each stage", groups))
    for stage in unique(stage for run in runs for stage in run["curves"]):
        for metric in CURVES:
            series = {run["name"]: run["curves"].get(stage, {}).get(metric) for run in runs}
            lines = {name: points for name, points in series.items() if points}
            if len(lines) > 1:
                chart = charts.line_chart(f"{stage}: {metric}", lines, percent=metric == "rollout/success")
                section.charts.append(chart)
    return section


_DIFFER = "How the recipes differ"


def _recipes(runs: Sequence[Mapping[str, Any]]) -> Section:
    section = Section(_DIFFER, folded=False)
    flat = [flatten(run["recipe"]) for run in runs]
    keys = [
        key for key in unique(key for tree in flat for key in tree) if len({str(tree.get(key)) for tree in flat}) > 1
    ]
    if keys:
        rows = [[key, *(str(tree.get(key, "")) for tree in flat)] for key in keys]
        section.tables.append(
            Table("Keys with different values", ["key", *(run["name"] for run in runs)], rows, text=99)
        )
    else:
        section.about = "They do not: it is the same recipe."
    return section
