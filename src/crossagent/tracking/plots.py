"""Curves of a run as PNG, drawn from its files alone, so that they can be drawn again at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossagent.tracking.files import read_metrics

FIRST = ("loss", "success", "return", "reward", "share", "entropy", "kl", "cost", "clip", "ratio", "invalid")
"""Words that a reader looks for first, in this order; metrics whose name holds none of them come last."""
MAX_PANELS = 12


def plot_stage(metrics_file: Path, out: Path, title: str) -> bool:
    """Draw a stage's metrics over its steps, one panel each; curves ``a/x/b`` of several spaces x share one.

    Returns:
        False when the file holds nothing to draw, and then nothing is written.
    """
    series = {name: points for name, points in read_metrics(metrics_file).items() if len(points) > 1}
    panels: dict[str, list[tuple[str, Sequence[tuple[int, float]]]]] = {}
    for name, points in series.items():
        area, _, rest = name.partition("/")
        space, _, leaf = rest.partition("/")
        if area == "space" and leaf:
            panels.setdefault(f"{area}/*/{leaf}", []).append((space, points))
        elif area != "time":
            panels.setdefault(name, []).append(("", points))
    if not panels:
        return False
    names = sorted(panels, key=lambda n: (next((i for i, word in enumerate(FIRST) if word in n), len(FIRST)), n))
    names = names[:MAX_PANELS]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = _figure(4.2 * columns, 2.8 * rows)
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        for label, curve in panels[name]:
            axes.plot([p[0] for p in curve], [p[1] for p in curve], linewidth=1.2, label=label or None)
        axes.set_title(name, fontsize=9)
        axes.grid(alpha=0.3)
        if len(panels[name]) > 1:
            axes.legend(fontsize=7)
    figure.suptitle(title)
    _save(figure, out)
    return True


def plot_stages(summary: Mapping[str, Any], experts: Mapping[str, Any], out: Path) -> bool:
    """Draw success with 95 % intervals and the share of each space after every stage, one row per suite.

    Args:
        summary: Content of ``summary.json``.
        experts: suite → interface → cell: drawn as dashed ceilings.
        out: The PNG to write.
    """
    stages = [s for s in summary["stages"] if any(cells.get("mixed") for cells in s["eval"].values())]
    suites = list(dict.fromkeys(suite for s in stages for suite in s["eval"]))
    if not stages or not suites:
        return False
    figure = _figure(11, 3.4 * len(suites))
    colors = _colors([kind for s in stages for kinds in s["eval"].values() for kind in kinds])
    positions = range(len(stages))
    for row, suite in enumerate(suites):
        left = figure.add_subplot(len(suites), 2, 2 * row + 1)
        kinds = list(dict.fromkeys(kind for s in stages for kind in s["eval"].get(suite, {})))
        for kind in kinds:
            points = [
                (x, s["eval"][suite][kind])
                for x, s in zip(positions, stages, strict=True)
                if kind in s["eval"].get(suite, {})
            ]
            values = [cell["success"] for _, cell in points]
            low = [v - cell["ci95"][0] for v, (_, cell) in zip(values, points, strict=True)]
            high = [cell["ci95"][1] - v for v, (_, cell) in zip(values, points, strict=True)]
            style = "o-" if kind == "mixed" else "s:"
            left.errorbar(
                [x for x, _ in points], values, yerr=[low, high], fmt=style, capsize=3, label=kind, color=colors[kind]
            )
        for interface, cell in experts.get(suite, {}).items():
            left.axhline(cell["success"], linestyle="--", linewidth=0.8, alpha=0.6, color=colors.get(interface))
            left.text(len(stages) - 0.6, cell["success"], f"expert {interface}", fontsize=6, va="bottom", ha="right")
        left.set(title=f"{suite}: success", ylim=(-0.02, 1.05), xticks=list(positions))
        left.set_xticklabels([s["stage"] for s in stages])
        left.legend(fontsize=7)
        left.grid(alpha=0.3)
        right = figure.add_subplot(len(suites), 2, 2 * row + 2)
        bottom = [0.0] * len(stages)
        cells = [s["eval"].get(suite, {}).get("mixed", {}) for s in stages]
        for space in list(dict.fromkeys(name for cell in cells for name in cell.get("shares", {}))):
            heights = [cell.get("shares", {}).get(space, 0.0) for cell in cells]
            right.bar(list(positions), heights, bottom=bottom, label=space, width=0.6, color=colors.get(space))
            bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
        right.set(title=f"{suite}: share of turns per space, mixed agent", ylim=(0, 1.05), xticks=list(positions))
        right.set_xticklabels([s["stage"] for s in stages])
        right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, out)
    return True


def _colors(kinds: Sequence[str]) -> dict[str, str]:
    """Return one colour per agent and space, the same in every panel."""
    spaces = [kind for kind in dict.fromkeys(kinds) if kind != "mixed"]
    return {"mixed": "black", "none": "lightgrey", **{space: f"C{i}" for i, space in enumerate(spaces)}}


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # the object interface: no pyplot, no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Software": None})  # no version in the file: equal curves are equal bytes
