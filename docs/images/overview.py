"""Draw docs/images/overview.svg. Run it from anywhere: python docs/images/overview.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, POLICY, SPACE, INTERFACE, WORLD, STAGE = "#22303c", "#ffe3b3", "#cfe8ff", "#e3dcf7", "#d6f0d8", "#f4f4f4"


def box(axes: Axes, x: float, y: float, width: float, height: float, color: str, title: str, text: str = "") -> None:
    """Draw a box with a title and a line below it."""
    style = FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0.02,rounding_size=0.12", fc=color, ec=INK, lw=1.0
    )
    axes.add_patch(style)
    middle = y + height / 2
    axes.text(
        x + width / 2,
        middle + (0.17 if text else 0),
        title,
        ha="center",
        va="center",
        fontsize=10,
        weight="bold",
        color=INK,
    )
    if text:
        axes.text(
            x + width / 2,
            middle - 0.17,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color=INK,
            family="DejaVu Sans Mono",
        )


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", curve: float = 0.0) -> None:
    """Draw an arrow, with a word on it."""
    axes.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.1, "connectionstyle": f"arc3,rad={curve}"},
    )
    if text:
        axes.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.13, text, ha="center", fontsize=8, color=INK)


def main() -> None:
    """Draw the picture."""
    # Equal input, equal file.
    matplotlib.rcParams.update({"svg.hashsalt": "crossagent", "svg.fonttype": "none", "font.family": "DejaVu Sans"})
    figure = Figure(figsize=(11, 5.0))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 11), ylim=(0, 5))
    axes.axis("off")
    axes.text(
        0.3, 4.72, "One turn: the model chooses the level at which it acts", fontsize=12, weight="bold", color=INK
    )
    box(axes, 0.3, 2.75, 1.9, 1.0, POLICY, "policy", "one language model")
    rows = [
        (3.85, "api", "Api: mine(oak_log)", "skills"),
        (2.9, "gui", "Gui: click(result)", "pointer"),
        (1.95, "control", "Action: press(w)", "control"),
    ]
    for y, name, text, interface in rows:
        box(axes, 3.5, y, 2.6, 0.7, SPACE, name, text)
        box(axes, 6.9, y + 0.1, 1.3, 0.5, INTERFACE, interface)
        arrow(axes, (2.25, 3.25), (3.45, y + 0.35))
        arrow(axes, (6.15, y + 0.35), (6.85, y + 0.35))
        arrow(axes, (8.25, y + 0.35), (8.95, 3.25))
    axes.text(2.45, 4.2, "header\ntoken", ha="center", fontsize=8, color=INK)
    axes.text(4.8, 1.66, "action spaces: plugins", ha="center", fontsize=8, style="italic", color=INK)
    axes.text(7.55, 1.66, "interfaces", ha="center", fontsize=8, style="italic", color=INK)
    box(axes, 9.0, 2.75, 1.7, 1.0, WORLD, "environment", "20 ticks/s")
    axes.text(9.85, 2.5, "also a plugin", ha="center", fontsize=8, style="italic", color=INK)
    axes.plot([9.85, 9.85, 1.25], [2.38, 1.4, 1.4], color=INK, lw=1.1)
    arrow(axes, (1.25, 1.39), (1.25, 2.72))
    axes.text(5.5, 1.22, "observation, as text", ha="center", fontsize=8, color=INK)
    axes.text(0.3, 0.92, "One recipe", fontsize=12, weight="bold", color=INK)
    stages = [
        ("demonstrations", "experts"),
        ("SFT", "imitate"),
        ("STRL", "one turn, any space"),
        ("relabel", "keep what matched"),
        ("MTRL", "whole episodes"),
        ("evaluation", "success, J, shares"),
    ]
    for i, (name, text) in enumerate(stages):
        box(axes, 0.3 + 1.76 * i, 0.15, 1.5, 0.62, STAGE, name, text)
        if i:
            arrow(axes, (0.06 + 1.76 * i, 0.46), (0.27 + 1.76 * i, 0.46))
    figure.savefig(Path(__file__).with_name("overview.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
