"""The report is one page that needs nothing else, shows what the files say, and escapes all of it."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tracking_kit import trajectory, turn

from crossagent.errors import DataError
from crossagent.rollout.store import save_trajectories
from crossagent.tracking import report_charts as charts
from crossagent.tracking.report import write_report
from crossagent.tracking.report_data import MAX_POINTS, collect, failures_of, phases_of, situation
from crossagent.types import StopReason

SCRIPT = "<script>alert(1)</script>"


def cell(success: float, **shares: float) -> dict[str, Any]:
    category = {"episodes": 2, "tasks": 2, "success": success, "ci95": [0.1, 0.9], "asr": success, "ft": 0.5}
    return {
        "success": success,
        "ci95": [0.1, 0.9],
        "return": success - 0.1,
        "cost": 0.1,
        "episodes": 2,
        "turns": 3.0,
        "ticks": 12.0,
        "shares": shares,
        "categories": {"mine_block": category, SCRIPT: category},
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory in the middle of its second stage."""
    directory = tmp_path / "runs" / "<b>run"
    steps = {
        "untrained/train": {"seconds": 1.0},
        "untrained/eval": {"seconds": 2.0, "cells": {"id": {"mixed": cell(0.0, api=0.5, gui=0.25, none=0.25)}}},
        "mtrl/train": {"seconds": 20.0},
        "mtrl/eval": {
            "seconds": 3.0,
            "cells": {"id": {"mixed": cell(0.75, api=1.0, gui=0.0), "api": cell(0.5, api=1.0)}},
        },
    }
    recipe = {
        "environment": {"name": SCRIPT},
        "policy": {"model": "scratch-0.1m"},
        "seed": 3,
        "stages": ["mtrl", "sft"],
        "spaces": {"api": {"weight": 0.1}, "gui": {"weight": 0.1}},
        "order_of_spaces": ["api", "gui"],
    }
    directory.mkdir(parents=True)
    state = {"version": 1, "recipe_sha256": "ab" * 32, "recipe": recipe, "steps": steps}
    (directory / "state.json").write_text(json.dumps(state))
    rows = [
        {
            "step": step,
            "rollout/success": 0.5,
            "rollout/return": 0.25,
            "space/api/share": 0.75,
            "space/api/success": 0.5,
            "time/iteration": 9.0,
            "time/rollout": 5.0,
            "time/generate": 3.0,
            "time/environment": 1.0,
            "time/logprobs": 1.0,
            "time/update": 2.0,
        }
        for step in (1, 2)
    ]
    played = [
        trajectory(turn(), turn("gui", observation=f"window {SCRIPT}"), success=True),
        trajectory(
            turn(None, SCRIPT, invalid=f"no header 12 {SCRIPT}"),
            turn("api", error="no oak_log in sight", observation="aim oak_log"),
            success=False,
        ),
    ]
    save_trajectories(directory / "mtrl/trajectories/evaluation-id-mixed.parquet", played)
    (directory / "mtrl/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


class Page(html.parser.HTMLParser):
    """Collects tags and what they refer to, and refuses a page whose tags do not close."""

    VOID = frozenset({"meta", "link", "br", "img", "path", "line", "rect", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []
        self.labels: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if given.get("role") == "img":
            self.labels.append(given.get("aria-label") or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_escaped_and_needs_nothing_else(run: Path, tmp_path: Path) -> None:
    write_report([run], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>run" not in text
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert not re.findall(r"https?://(?!www\.w3\.org)", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert page.labels
    assert all(re.search(r"\d", label) for label in page.labels), "every chart says its numbers to a screen reader"
    assert page.tags.count("table") >= 6
    for words in ("75.0 %", "ASR", "FT", "turn limit", "no oak_log in sight", "not complete"):
        assert words in text


def test_the_data_are_those_of_the_files(run: Path) -> None:
    data = collect(run)
    assert [stage["stage"] for stage in data["stages"]] == ["untrained", "mtrl"], "the third has not begun"
    assert data["complete"] is False
    assert data["curves"]["mtrl"]["rollout/success"] == [[1, 0.5], [2, 0.5]]
    # 20 s of training: 6 s generate, 2 s environments, 2 s log-probs, 4 s update; 6 s are left
    assert data["time"]["mtrl"] == {
        "generate": 6.0,
        "environment": 2.0,
        "log-probs": 2.0,
        "update": 4.0,
        "other": 6.0,
        "evaluation": 3.0,
    }
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    with pytest.raises(DataError, match=r"no run of crossagent.*state\.json"):
        collect(run.parent)


def test_phases_are_shares_of_turns_by_place_in_the_episode_and_by_situation() -> None:
    spaces = ["api", "gui"]
    turns = [{"space": s, "observation": o} for s, o in zip(
        ["api"] * 6 + ["gui"] * 3 + [None],
        ["aim none"] * 4 + ["aim oak_log", "aim cow"] + ["window inventory"] * 3 + ["windows are no matter"],
        strict=True)]  # fmt: skip
    played = [{"task": "mine_block:oak_log", "turns": turns}, {"task": "x", "turns": turns[:1]}]
    found = phases_of(played, spaces)
    assert [row["turns"] for row in found["by_turn"]] == [3, 2, 2, 2, 2]
    assert [row["shares"]["api"] for row in found["by_turn"]] == [1, 1, 1, 0, 0]
    assert found["by_turn"][4]["shares"] == {"api": 0, "gui": 0.5, "none": 0.5}
    assert [(row["phase"], row["turns"]) for row in found["by_situation"]] == [
        ("searching", 5),
        ("aimed at the target", 1),
        ("aimed at something else", 1),
        ("a window is open", 3),
    ]
    assert situation("a browser's text", "task") is None


def test_failures_are_counted_by_ending_and_by_reason() -> None:
    def episode(success: bool, stop: StopReason, *reasons: str) -> dict[str, Any]:
        turns = [{"invalid": "", "error": reason} for reason in reasons]
        return {"success": success, "stop_reason": stop.value, "turns": turns}

    found = failures_of(
        [
            episode(True, StopReason.terminated, "no cow in sight"),
            episode(False, StopReason.max_turns, "no 12 in sight", "no 7 in sight", ""),
            episode(False, StopReason.terminated, "no 1 in sight"),
            episode(False, StopReason.failure),
        ]
    )
    assert (found["episodes"], found["failed"]) == (4, 3)
    assert sum(found["ends"].values()) == 3
    assert found["ends"]["turn limit"] == 1
    assert found["reasons"] == [{"kind": "failed action", "reason": "no # in sight", "turns": 3, "episodes": 2}]


def test_every_ending_has_a_name() -> None:
    from crossagent.tracking.report_data import ENDS

    assert set(ENDS) == {reason.value for reason in StopReason}


def test_several_runs_stand_side_by_side_with_how_their_recipes_differ(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "runs" / "other"
    other.mkdir()
    state = json.loads((run / "state.json").read_text())
    state["recipe"]["seed"] = 4
    (other / "state.json").write_text(json.dumps(state))
    data = write_report([run, other, other], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    Page(text)
    assert len(data) == 3
    assert "Comparison" in text
    differing = text[text.index("How the recipes differ") :]
    assert re.search(r">seed</th><td[^>]*>3</td><td[^>]*>4</td><td[^>]*>4</td>", differing)
    assert "environment.name" not in differing[: differing.index("</section>")]
    assert str(other) in text, "runs of one name are told apart by their directory"


def test_a_long_curve_is_thinned_and_keeps_its_ends(run: Path) -> None:
    (run / "mtrl/metrics.jsonl").write_text("".join(json.dumps({"step": s, "loss": s}) + "\n" for s in range(1, 3002)))
    points = collect(run)["curves"]["mtrl"]["loss"]
    assert len(points) <= MAX_POINTS + 1
    assert (points[0], points[-1]) == ([1, 1], [3001, 3001])


def test_series_differ_without_colour() -> None:
    chart = charts.line_chart("t", {str(k): [[1, 0.1 * k], [2, 0.2 * k]] for k in range(charts.STYLES)})
    assert len(set(re.findall(r'stroke-dasharray="([^"]*)"/>', chart))) == charts.STYLES
    bars = charts.stacked_bars("t", {"row": {str(k): 1 / 6 for k in range(6)}}, [str(k) for k in range(6)])
    assert set(re.findall(r"url\(#(h\d)\)", bars)) == {f"h{k}" for k in range(charts.STYLES)}
    assert all(f'id="h{k}"' in charts.patterns() for k in range(charts.STYLES))


def test_what_is_drawn_lies_inside_the_chart() -> None:
    chart = charts.interval_chart(f"<{SCRIPT}", {"a": {"x": (0.0, 0.0, 0.1), "y": (1.0, 0.9, 1.0)}})
    assert "<script" not in chart
    height = float(re.search(r'viewBox="0 0 520 (\d+)"', chart).group(1))  # type: ignore[union-attr]
    for attribute, most in (
        ("x", charts.WIDTH),
        ("x1", charts.WIDTH),
        ("x2", charts.WIDTH),
        ("y", height),
        ("cy", height),
    ):
        assert all(0 <= float(v) <= most for v in re.findall(rf'\b{attribute}="([-\d.]+)"', chart))
