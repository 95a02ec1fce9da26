"""The live page as text, for a terminal at the other end of a line: the same state, drawn with block characters.

Text of a run may hold anything, escape sequences for the terminal too; what is not printable is shown as its code.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crossagent.tracking.viewer.watch import Watched

EVERY_S = 2.0
CURVES = ("eval/value", "rollout/success", "rollout/return", "sft/loss", "train/entropy", "train/kl", "rollout/invalid")
"""Shown of a stage, and the share of each space."""
EPISODES, EVALUATIONS, WIDTH = 8, 8, 32
SHRINK = ("last response", "spaces")
"""Columns that give way where a terminal is narrow."""
BLOCKS = "▁▂▃▄▅▆▇█"
SIGNS = {"evaluated": "✓", "trained": "✓ being evaluated", "training": "▶", "waiting": "·"}


def follow(run: Path, console: Console) -> None:
    """Draw a run again and again until it is complete or Ctrl-C; once where the output is no terminal.

    Raises:
        DataError: The directory is no run.
    """
    watched = Watched(run)
    state = watched.state()
    if not console.is_terminal:
        console.print(drawn(watched.catalogue.title, state))
        return
    with Live(drawn(watched.catalogue.title, state), console=console, auto_refresh=False) as live:
        while not state["complete"]:
            time.sleep(EVERY_S)
            state = watched.state()
            live.update(drawn(watched.catalogue.title, state), refresh=True)


def drawn(title: str, state: Mapping[str, Any]) -> RenderableType:
    """Return what :meth:`Watched.state` says, to print."""
    age = max(0, round(time.time() - state["changed"])) if state["changed"] else None
    parts: list[RenderableType] = [
        Text.assemble((plain(title), "bold"), "   ", "complete" if state["complete"] else "running or stopped",
                      f"; last file written {age} s ago" if age is not None else "; nothing written yet"),
        Text("   ".join(_stage(stage) for stage in state["stages"])),
    ]  # fmt: skip
    if state["problem"]:
        parts.append(Text(plain(state["problem"]), style="bold red"))
    shown = [stage for stage in state["stages"] if stage["metrics"]]
    if shown:
        parts += [Text(), _curves(shown[-1], state["spaces"])]
    if state["evaluations"]:
        parts += [Text(), _evaluations(state["evaluations"])]
    if state["episodes"]["rows"]:
        parts += [Text(), _episodes(state["episodes"])]
    return Group(*parts)


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """Return a curve as block characters, its lowest value the lowest block; means of neighbours where there are more than fit."""
    count = min(width, len(values))
    cuts = [len(values) * k // count for k in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if high <= low:
        return BLOCKS[3] * count
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int((v - low) / (high - low) * len(BLOCKS)))] for v in means)


def plain(text: str) -> str:
    """Return a text in which everything that could steer a terminal is its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _stage(stage: Mapping[str, Any]) -> str:
    at = f" step {stage['step']}" if stage["status"] == "training" and stage["step"] else ""
    return f"{SIGNS[stage['status']]} {plain(stage['name'])}{at}"


def _curves(stage: Mapping[str, Any], spaces: Sequence[str]) -> Table:
    table = _table(plain(stage["name"]), "metric", "over the steps", "first", "last", right=2)
    for name in (*CURVES, *(f"space/{space}/share" for space in (*spaces, "none"))):
        if points := stage["metrics"].get(name):
            values = [value for _, value in points]
            _add(table, name, sparkline(values), f"{values[0]:.3g}", f"{values[-1]:.3g}")
    return table


def _episodes(episodes: Mapping[str, Any]) -> Table:
    rows = episodes["rows"][:EPISODES]
    title = f"{plain(episodes['which'])}: {len(rows)} of {episodes['total']} episodes"
    table = _table(title, "", "task", "ending", "J", "spaces", "last response")
    for row in rows:
        turns = " ".join(f"{space}×{len(list(same))}" for space, same in groupby(s or "none" for s in row["spaces"]))
        _add(
            table,
            Text("✓", "green") if row["success"] else Text("✗", "red"),
            *(row["task"], row["ending"], f"{row['return']:.2f}", turns, row["said"]),
        )
    return table


def _evaluations(rows: Sequence[Mapping[str, Any]]) -> Table:
    title = "Evaluations" if len(rows) <= EVALUATIONS else f"Evaluations: the last {EVALUATIONS} of {len(rows)}"
    table = _table(title, "after", "suite", "agent", "success", "95 %", "J", "episodes", right=4)
    for row in rows[-EVALUATIONS:]:
        low, high = row["ci95"]
        _add(
            table,
            *(row[key] for key in ("stage", "suite", "agent")),
            *(f"{100 * row['success']:.1f} %", f"{100 * low:.0f}–{100 * high:.0f}", f"{row['return']:.3f}"),
            str(row["episodes"]),
        )
    return table


def _table(title: str, *columns: str, right: int = 0) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if number >= len(columns) - right else "left"
        table.add_column(
            Text(column, no_wrap=True), justify=side, no_wrap=column not in SHRINK, min_width=min(len(column), 6)
        )
    return table


def _add(table: Table, *cells: str | Text) -> None:
    lines = (Text(plain(cell), no_wrap=True, overflow="ellipsis") if isinstance(cell, str) else cell for cell in cells)
    table.add_row(*lines)
