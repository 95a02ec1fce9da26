"""The report is one page that needs nothing else, shows what the files say, and escapes all of it."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracking_kit import trajectory, turn

from crossagent.errors import DataError
from crossagent.rollout.store import save_trajectories
from crossagent.tracking.report import charts
from crossagent.tracking.report.compare import compare
from crossagent.tracking.report.data import MAX_POINTS, collect, failures_of, phases_of, situation
from crossagent.tracking.report.page import write_report
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
    from crossagent.tracking.report.data import ENDS

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
    together = text[text.index("Seeds together<") : text.index("Share of the spaces at the end")]
    assert re.search(r">id</th><td[^>]*>[^<]*run</td><td[^>]*>mtrl</td><td[^>]*>3, 4, 4</td><td[^>]*>3</td>", together)
    assert "75.0 ± 0.0 %" in together


def test_seeds_are_summed_up_only_where_nothing_else_differs(run: Path, tmp_path: Path) -> None:
    def another(name: str, success: float, **changes: Any) -> Path:
        path = tmp_path / "runs" / name
        path.mkdir()
        state = json.loads((run / "state.json").read_text())
        state["recipe"].update(changes)
        state["steps"]["mtrl/eval"]["cells"]["id"]["mixed"]["success"] = success
        (path / "state.json").write_text(json.dumps(state))
        return path

    runs = [run, another("b", 0.25, seed=4), another("c", 0.5, stages=["mtrl"])]
    (section,) = [s for s in compare([collect(path) for path in runs]) if s.title == "Seeds together"]
    ((suite, first, after, seeds, count, success, extent, *_),) = section.tables[0].rows
    assert (suite, first, after, seeds, count) == ("id", run.name, "mtrl", "3, 4", 2)
    assert success == "50.0 ± 35.4 %", "the sample's standard deviation of 75 and 25"
    assert extent == "25.0 % to 75.0 %"
    on_its_way = another("d", 0.0, seed=5)
    state = json.loads((on_its_way / "state.json").read_text())
    del state["steps"]["mtrl/train"], state["steps"]["mtrl/eval"]
    (on_its_way / "state.json").write_text(json.dumps(state))
    (section,) = [s for s in compare([collect(p) for p in (run, on_its_way)]) if s.title == "Seeds together"]
    assert section.tables[0].rows[0][2:5] == ["untrained", "3, 5", 2], (
        "a run on its way is compared where both have been"
    )
    alone = compare([collect(run), collect(runs[2])])
    assert all(s.title != "Seeds together" for s in alone)
    assert alone[0].title == "The end of each run"
    assert {row[2] for row in alone[0].tables[1].rows} == {run.name, "c"}, "per category, run beside run"


def test_what_did_not_train_is_counted_by_cause_over_the_whole_stage(run: Path, tmp_path: Path) -> None:
    rows = [
        {"step": 1, "rollout/trajectories": 24, "dropped/all_fail": 8, "dropped/hung": 1, "dropped/raised": 0},
        {
            "step": 2,
            "rollout/trajectories": 24,
            "fault/environment": 3,
            "fault/space": 0,
            "rollout/retried": 2,
            "dropped/all_fail": 4,
            "dropped/hung": 0,
            "dropped/new_kind": 2,
        },
    ]
    (run / "mtrl/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert collect(run)["dropped"]["mtrl"] == {
        "played": 48,
        "causes": {"hung": 1, "all_fail": 12, "new_kind": 2},
        "faults": {"environment": 3},
        "retried": 2,
    }
    write_report([run], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert re.search(r">mtrl</th><td[^>]*>3</td><td[^>]*>2</td>", text), "faults, and what was retried"
    assert re.search(r"nobody in its group succeeded</td><td[^>]*>12</td><td[^>]*>25.0 %<", text)


def test_every_cause_that_training_counts_has_words() -> None:
    from crossagent.tracking.report.data import DROPPED
    from crossagent.training.metrics import CAUSES

    assert set(CAUSES) <= set(DROPPED)


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


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0039, 0.0469, -0.0176], [-0.02, 0.0, 0.02, 0.04, 0.06]),
        ([6.82, 0.4], [0.0, 2.0, 4.0, 6.0, 8.0]),
        ([0.5], [0.0, 0.25, 0.5, 0.75, 1.0]),
        ([-1.84, -1.2], [-2.0, -1.8, -1.6, -1.4, -1.2]),
    ],
)
def test_an_axis_has_round_numbers_that_enclose_the_curve(values: list[float], ticks: list[float]) -> None:
    found = charts._ticks(values)
    assert found[0] <= min(values)
    assert found[-1] >= max(values) - 1e-9
    if len(values) > 1:
        assert found == pytest.approx(ticks)


@given(st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=5))
def test_every_axis_encloses_its_curve_with_few_numbers(values: list[float]) -> None:
    ticks = charts._ticks(values)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] <= min(values) + slack
    assert ticks[-1] >= max(values) - slack
    assert 2 <= len(ticks) <= 7


def test_a_long_label_keeps_its_ends_and_the_chart_its_width() -> None:
    long = "an-experiment-with-a-very-long-name-indeed-seed-17"
    for chart in (
        charts.interval_chart("t", {long: {"x": (0.5, 0.4, 0.6)}}),
        charts.stacked_bars("t", {long: {"x": 1.0}}, ["x"]),
    ):
        assert f"<title>{long}</title>an-expe…" in chart
        assert "seed-17</text>" in chart


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
