"""What the report says about one run, section by section: charts, and tables with their numbers. Pure: data in, sections out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from crossagent.tracking.mlflow.tracker import flatten
from crossagent.tracking.report import charts
from crossagent.tracking.report.data import DROPPED, TIME_PARTS

Row = Sequence[Any]


@dataclass
class Table:
    """A table: the first column names the row, the others are numbers unless ``text`` says so."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    text: int = 1
    """Number of leading columns that hold words."""


@dataclass
class Section:
    """A heading, a sentence that says how to read it, charts, and their numbers as tables."""

    title: str
    about: str = ""
    charts: list[Markup] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: bool = True
    """Whether the tables wait behind a click, because a chart says the same."""


def sections(run: Mapping[str, Any]) -> list[Section]:
    """Return the sections about one run; those with nothing to show are left out."""
    made = [
        _success(run),
        _categories(run),
        _learning(run),
        _spaces_of_training(run),
        _phases(run),
        _failures(run),
        _left_out(run),
        _time(run),
        _identity(run),
    ]
    return [section for section in made if section.charts or section.tables]


# -- sections of one run --------------------------------------------------------------------------------------------
CATEGORY_NUMBERS = ("success", "95 %", "ASR", "FT", "tasks", "episodes")
NUMBERS = ("success", "95 %", "J", "episodes", "turns", "ticks", "cost")


def _success(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Success after each stage",
        "Share of episodes that succeed, with its 95 % interval (Wilson). J is success − Σ λ·cost, per episode.",
    )
    for suite in _suites(run):
        stages = [stage for stage in run["stages"] if suite in stage["eval"]]
        groups = {
            stage["stage"]: {kind: (cell["success"], *cell["ci95"]) for kind, cell in stage["eval"][suite].items()}
            for stage in stages
        }
        experts = run["experts"].get(suite, {})
        if experts:
            groups["experts"] = {kind: (cell["success"], *cell["ci95"]) for kind, cell in experts.items()}
        section.charts.append(charts.interval_chart(f"{suite}: success", groups))
        rows = [
            [stage["stage"], kind, *cell_numbers(cell), *_shares(cell, run)]
            for stage in stages
            for kind, cell in stage["eval"][suite].items()
        ]
        rows += [["experts", kind, *cell_numbers(cell), *_shares(cell, run)] for kind, cell in experts.items()]
        section.tables.append(Table(suite, ["after", "agent", *NUMBERS, *spaces_of(run)], rows, text=2))
    return section


def _categories(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Success per category",
        "After the last stage. ASR: mean over the tasks of a category of their success; FT: share of its tasks that were solved at least once.",
    )
    for suite in _suites(run):
        stage = next(stage for stage in reversed(run["stages"]) if suite in stage["eval"])
        cells = stage["eval"][suite]
        categories = unique(name for cell in cells.values() for name in cell.get("categories", {}))
        groups = {
            name: {
                kind: (c["success"], *c["ci95"])
                for kind, cell in cells.items()
                if (c := cell.get("categories", {}).get(name))
            }
            for name in categories
        }
        if groups:
            section.charts.append(
                charts.interval_chart(f"{suite} after {stage['stage']}: success per category", groups)
            )
            rows = [
                [name, kind, *category_numbers(c)]
                for name in categories
                for kind, cell in cells.items()
                if (c := cell.get("categories", {}).get(name))
            ]
            columns = ["category", "agent", *CATEGORY_NUMBERS]
            section.tables.append(Table(f"{suite} after {stage['stage']}", columns, rows, text=2))
    return section


def _learning(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Learning curves",
        "Over steps (SFT, relabel) or iterations (STRL, MTRL). Training success mostly shows which tasks were drawn; evaluations compare.",
    )
    for stage, series in run["curves"].items():
        for name in ("rollout/success", "eval/value", "rollout/return", "sft/loss", "train/entropy", "train/kl"):
            if name in series:
                section.charts.append(
                    charts.line_chart(f"{stage}: {name}", {name: series[name]}, percent=name == "rollout/success")
                )
        for leaf, what in (
            ("success", "success of those that used it"),
            ("valid", "valid actions"),
            ("advantage", "mean advantage"),
        ):
            lines = {space: points for space in spaces_of(run) if (points := series.get(f"space/{space}/{leaf}"))}
            if lines:
                section.charts.append(
                    charts.line_chart(f"{stage}, per space: {what}", lines, percent=leaf != "advantage")
                )
        rows = [
            [
                name,
                len(points),
                *(
                    f"{value:.4g}"
                    for value in (points[0][1], points[-1][1], min(v for _, v in points), max(v for _, v in points))
                ),
            ]
            for name, points in series.items()
        ]
        section.tables.append(
            Table(f"{stage}: every metric", ["metric", "points", "first", "last", "least", "most"], rows)
        )
    return section


def _spaces_of_training(run: Mapping[str, Any]) -> Section:
    section = Section("Share of the spaces over training", "Share of turns that open with each space's header.")
    names = [*spaces_of(run), "none"]
    for suite in _suites(run):
        rows = {
            stage["stage"]: cell["shares"]
            for stage in run["stages"]
            if (cell := first_cell(run, stage["stage"], suite))
        }
        section.charts.append(charts.stacked_bars(f"{suite}: after each stage", rows, names))
        table = [[stage, *(percent(shares.get(name, 0.0)) for name in names)] for stage, shares in rows.items()]
        section.tables.append(Table(f"{suite}: share of turns", ["after", *names], table))
    for stage, series in run["curves"].items():
        lines = {name: points for name in names if (points := series.get(f"space/{name}/share"))}
        if lines:
            section.charts.append(charts.line_chart(f"{stage}: share of turns in training", lines, percent=True))
    return section


def _phases(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Share of the spaces over an episode",
        "First: the turns of each episode cut into five parts. Then, where observations tell, by what the agent faces.",
    )
    names = [*spaces_of(run), "none"]
    for stage, suites in reversed(run["phases"].items()):
        for suite, views in suites.items():
            for view, title in (("by_turn", "part of the episode"), ("by_situation", "situation")):
                if not views[view]:
                    continue
                rows = {row["phase"]: row["shares"] for row in views[view]}
                if stage == next(reversed(run["phases"])):
                    section.charts.append(charts.stacked_bars(f"{suite} after {stage}: by {title}", rows, names))
                table = [
                    [row["phase"], row["turns"], *(percent(row["shares"].get(name, 0.0)) for name in names)]
                    for row in views[view]
                ]
                section.tables.append(Table(f"{suite} after {stage}", [title, "turns", *names], table))
    return section


def _failures(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Failures by cause",
        "Episodes without success, by how they ended; then the commonest reasons of failed turns in them.",
        folded=False,
    )
    if not run["failures"]:
        return section
    stage = next(reversed(run["failures"]))
    for suite, found in run["failures"][stage].items():
        ends = [[cause, count, percent(count / found["failed"])] for cause, count in found["ends"].items()]
        caption = f"{suite} after {stage}: {found['failed']} of {found['episodes']} episodes failed"
        section.tables.append(Table(caption, ["ending", "episodes", "share"], ends))
        if found["reasons"]:
            reasons = [[row["reason"], row["kind"], row["turns"], row["episodes"]] for row in found["reasons"]]
            section.tables.append(
                Table(f"{suite} after {stage}: reasons", ["reason", "kind", "turns", "episodes"], reasons, text=2)
            )
    return section


def _left_out(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Played and not trained on",
        "Trajectories of training that taught nothing, by cause; each counts under its first.",
        folded=False,
    )
    if any(found["causes"] for found in run["dropped"].values()):
        rows = [
            [stage, DROPPED.get(cause, cause), count, percent(count / max(found["played"], 1))]
            for stage, found in run["dropped"].items()
            for cause, count in found["causes"].items()
        ]
        section.tables.append(Table("By cause", ["stage", "cause", "trajectories", "of those played"], rows, text=2))
    if any(found["faults"] for found in run["dropped"].values()):
        names = unique(name for found in run["dropped"].values() for name in found["faults"])
        rows = [
            [stage, *(found["faults"].get(name, 0) for name in names), found["retried"]]
            for stage, found in run["dropped"].items()
        ]
        caption = "Attempts that failed, by whose fault; retried: begun again, and in no other number"
        section.tables.append(Table(caption, ["stage", *names, "retried"], rows))
    return section


def _time(run: Mapping[str, Any]) -> Section:
    section = Section(
        "Where the time went",
        "Seconds. Generating, environments, log-probs and update are parts of training; SFT is all update.",
    )
    rows = {stage: {name: parts[name] for name in TIME_PARTS} for stage, parts in run["time"].items()}
    if any(sum(parts.values()) > 0 for parts in rows.values()):
        section.charts.append(charts.stacked_bars("Seconds per stage", rows, TIME_PARTS, unit="seconds"))
        table = [
            [stage, *(f"{parts[name]:.1f}" for name in TIME_PARTS), f"{sum(parts.values()):.1f}"]
            for stage, parts in rows.items()
        ]
        section.tables.append(Table("Seconds", ["stage", *TIME_PARTS, "all"], table))
    return section


def _identity(run: Mapping[str, Any]) -> Section:
    section = Section("What ran")
    section.tables.append(
        Table("Recipe", ["key", "value"], [[key, str(value)] for key, value in flatten(run["recipe"]).items()], text=2)
    )
    if run["versions"]:
        section.tables.append(
            Table("Versions", ["package", "version"], [list(item) for item in run["versions"].items()], text=2)
        )
    return section


# -- small things ---------------------------------------------------------------------------------------------------
def _suites(run: Mapping[str, Any]) -> list[str]:
    return unique(suite for stage in run["stages"] for suite in stage["eval"])


def spaces_of(run: Mapping[str, Any]) -> list[str]:
    """Return a run's spaces in the order of its recipe."""
    return list(run["recipe"].get("order_of_spaces") or run["recipe"]["spaces"])


def first_cell(run: Mapping[str, Any], stage: str, suite: str) -> Mapping[str, Any] | None:
    """Return the first agent's cell: the mixed agent's, where there is a choice of spaces."""
    for candidate in run["stages"]:
        if candidate["stage"] == stage and candidate["eval"].get(suite):
            cell: Mapping[str, Any] = next(iter(candidate["eval"][suite].values()))
            return cell
    return None


def last_cell(run: Mapping[str, Any], suite: str) -> tuple[str, str, Mapping[str, Any]] | None:
    """Return the last stage that played a suite, its first agent, and that agent's cell."""
    for stage in reversed(run["stages"]):
        for kind, cell in stage["eval"].get(suite, {}).items():
            return stage["stage"], kind, cell
    return None


def cell_numbers(cell: Mapping[str, Any]) -> list[str]:
    """Return a cell's figures as text, in the order of :data:`NUMBERS`."""
    return [
        percent(cell["success"]),
        _interval(cell),
        f"{cell['return']:.3f}",
        str(cell["episodes"]),
        f"{cell['turns']:.1f}",
        f"{cell['ticks']:.0f}",
        f"{cell['cost']:.2f}",
    ]


def category_numbers(cell: Mapping[str, Any]) -> list[str]:
    """Return a category's figures as text, in the order of :data:`CATEGORY_NUMBERS`."""
    shares = percent(cell["success"]), _interval(cell), percent(cell["asr"]), percent(cell["ft"])
    return [*shares, str(cell["tasks"]), str(cell["episodes"])]


def _shares(cell: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    return [percent(cell["shares"].get(space, 0.0)) for space in spaces_of(run)]


def percent(value: float) -> str:
    """Return a fraction as text."""
    return f"{100 * value:.1f} %"


def _interval(cell: Mapping[str, Any]) -> str:
    return f"{100 * cell['ci95'][0]:.0f}–{100 * cell['ci95'][1]:.0f}"


def unique(values: Iterable[str]) -> list[str]:
    """Return the values once each, in the order of their first appearance."""
    return list(dict.fromkeys(values))
