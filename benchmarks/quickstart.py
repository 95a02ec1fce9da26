"""The quickstart over several seeds: rows, a table with mean and spread, and a plot.

    python benchmarks/quickstart.py [--recipe recipes/quickstart.yaml] [--seeds 0,1,2] [--out benchmarks/quickstart] [KEY=VALUE …]

A seed that has run already is not run again (its run directory is complete); only the rows are rebuilt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes/quickstart.yaml")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="comma-separated")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/quickstart")
    parser.add_argument("--runs-dir", type=Path, default=ROOT / "runs")
    args, overrides = parser.parse_known_args()
    rows: list[dict[str, Any]] = []
    experts: dict[str, Any] = {}
    for seed in args.seeds:
        name = f"{args.recipe.stem}-seed{seed}"
        given = [f"seed={seed}", f"run_name={name}", f"runs_dir={args.runs_dir}", *overrides]
        command = [sys.executable, "-m", "crossagent", "run", str(args.recipe), *given]
        subprocess.run(command, cwd=ROOT, check=True)
        run = args.runs_dir / name
        summary = json.loads((run / "summary.json").read_text())
        if (run / "experts.json").is_file():
            experts = json.loads((run / "experts.json").read_text())
        rows += [
            {
                "stage": stage["stage"],
                "suite": suite,
                "agent": agent,
                "seed": seed,
                **cell,
                "seconds": stage["seconds"],
                "recipe_sha256": summary["recipe_sha256"],
                "commit": commit(),
                "machine": machine(),
                "command": " ".join(
                    ["crossagent", "run", os.path.relpath(args.recipe, ROOT), f"seed={seed}", *overrides]
                ),
            }
            for stage in summary["stages"]
            for suite, kinds in stage["eval"].items()
            for agent, cell in kinds.items()
        ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (args.out / "experts.json").write_text(json.dumps(experts, indent=2) + "\n")
    runs = [args.runs_dir / f"{args.recipe.stem}-seed{seed}" for seed in args.seeds]
    table = (
        render(rows, experts) + "\n" + "".join(gain(runs, suite) for suite in dict.fromkeys(r["suite"] for r in rows))
    )
    (args.out / "table.md").write_text(table)
    plot(rows, experts, args.out / "curves.png")
    print(table)
    return 0


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def commit() -> str:
    """Return the commit that ran, marked when the tree had changes."""
    found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def cells(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Return (suite, stage, agent) → its rows, one per seed, in the order they first appear."""
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["suite"], row["stage"], row["agent"]), []).append(row)
    return grouped


def spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def render(rows: list[dict[str, Any]], experts: dict[str, Any]) -> str:
    """Return a Markdown table: mean ± standard deviation over seeds, and the experts' ceilings."""
    spaces = list(dict.fromkeys(space for row in rows for space in row["shares"]))
    head = ["suite", "after", "agent", "seeds", "success %", "J", "turns", "ticks", "cost", *(f"{s} %" for s in spaces)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (suite, stage, agent), group in cells(rows).items():

        def mean(key: str, scale: float = 1.0, digits: int = 1, group: list[dict[str, Any]] = group) -> str:
            values = [scale * row[key] for row in group]
            return f"{statistics.fmean(values):.{digits}f} ± {spread(values):.{digits}f}"

        shares = [f"{100 * statistics.fmean(row['shares'].get(space, 0.0) for row in group):.0f}" for space in spaces]
        numbers = [
            mean("success", 100),
            mean("return", digits=3),
            mean("turns"),
            mean("ticks", digits=0),
            mean("cost", digits=2),
        ]
        lines.append("| " + " | ".join([suite, stage, agent, str(len(group)), *numbers, *shares]) + " |")
    for suite, kinds in experts.items():
        for agent, cell in kinds.items():
            shares = [f"{100 * cell['shares'].get(space, 0.0):.0f}" for space in spaces]
            numbers = [
                f"{100 * cell['success']:.1f}",
                f"{cell['return']:.3f}",
                f"{cell['turns']:.1f}",
                f"{cell['ticks']:.0f}",
                f"{cell['cost']:.2f}",
            ]
            lines.append("| " + " | ".join([suite, "expert", agent, "–", *numbers, *shares]) + " |")
    return "\n".join(lines) + "\n"


def gain(runs: list[Path], suite: str, before: str = "sft", after: str = "mtrl") -> str:
    """Say how much the mixed agent's success rose between two stages, in the same worlds.

    The differences are averaged over the runs world by world; the interval (95 %, normal) is over the worlds.
    """
    from crossagent.rollout.store import load_trajectories

    rises: dict[tuple[int, int], list[int]] = {}
    for run in runs:
        first, last = (
            {(t.group, t.member): (t.task, t.seed, t.success) for t in load_trajectories(file)}
            for file in (run / stage / f"trajectories/evaluation-{suite}-mixed.parquet" for stage in (before, after))
        )
        for place, (task, seed, success) in first.items():
            if last[place][:2] != (task, seed):
                raise SystemExit(f"{run}: {before} and {after} were not evaluated in the same worlds")
            rises.setdefault(place, []).append(last[place][2] - success)
    worlds = [100 * statistics.fmean(values) for values in rises.values()]
    margin = 1.96 * statistics.stdev(worlds) / len(worlds) ** 0.5
    mean = statistics.fmean(worlds)
    return (
        f"{suite}: from {before} to {after} the mixed agent's success changed by {mean:+.1f} points "
        f"[{mean - margin:+.1f}, {mean + margin:+.1f}], over {len(worlds)} worlds × {len(runs)} seeds.\n"
    )


def plot(rows: list[dict[str, Any]], experts: dict[str, Any], out: Path) -> None:
    """Draw success and J of the mixed agent and the single spaces after each stage, a thin line per seed."""
    from matplotlib.figure import Figure

    grouped = cells(rows)
    suites = list(dict.fromkeys(suite for suite, _, _ in grouped))
    stages = list(dict.fromkeys(stage for _, stage, _ in grouped))
    agents = list(dict.fromkeys(agent for _, _, agent in grouped))
    figure = Figure(figsize=(11, 3.6 * len(suites)), layout="constrained")
    for i, suite in enumerate(suites):
        for j, (key, title) in enumerate((("success", "success"), ("return", "J"))):
            axes = figure.add_subplot(len(suites), 2, 2 * i + j + 1)
            for number, agent in enumerate(agents):
                points = [(x, grouped[suite, s, agent]) for x, s in enumerate(stages) if (suite, s, agent) in grouped]
                color = f"C{number}"
                for seed in sorted({row["seed"] for _, group in points for row in group}):
                    line = [(x, row[key]) for x, group in points for row in group if row["seed"] == seed]
                    axes.plot(*zip(*line, strict=True), color=color, alpha=0.25, linewidth=0.8)
                means = [statistics.fmean(row[key] for row in group) for _, group in points]
                axes.plot([x for x, _ in points], means, "o-" if agent == "mixed" else "s:", color=color, label=agent)
            for interface, cell in experts.get(suite, {}).items():
                axes.axhline(cell[key], color="grey", linestyle="--", linewidth=0.7)
                axes.text(len(stages) - 0.9, cell[key], f"expert {interface}", fontsize=6, va="bottom", ha="right")
            axes.set(title=f"{suite}: {title}", xticks=range(len(stages)))
            axes.set_xticklabels(stages)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=7)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
