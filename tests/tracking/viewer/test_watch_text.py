"""The live page on a terminal: what it says, that it ends with the run, and that a run's text steers nothing."""

import io
import json
import math

import pytest
from rich.console import Console

from crossagent.tracking.viewer import watch_text
from crossagent.tracking.viewer.watch import Watched
from crossagent.tracking.viewer.watch_text import BLOCKS, drawn, follow, sparkline


def printed(title, state, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(drawn(title, state))
    return console.file.getvalue()


def test_it_says_what_the_page_says(made_up):
    watched = Watched(made_up)
    state = watched.state()
    text = printed("made-up", state)
    for stage in state["stages"]:
        assert stage["name"] in text
    newest = state["episodes"]
    assert f"{newest['which']}: " in text
    assert newest["rows"][0]["task"][:8] in text


def test_curves_are_of_the_newest_stage_that_has_some_with_first_and_last(made_up):
    state = Watched(made_up).state()
    curve = [(step, step / 10) for step in range(1, 9)]
    state["stages"][-1]["metrics"] = {"rollout/success": curve, "space/api/share": [(1, 0.25)], "space/x/valid": curve}
    (line,) = [line for line in printed("t", state).splitlines() if line.startswith("rollout/success")]
    assert line.split() == ["rollout/success", BLOCKS, "0.1", "0.8"]
    assert "space/api/share" in printed("t", state)
    assert "space/x/valid" not in printed("t", state)


def test_text_of_a_run_steers_no_terminal_and_is_no_markup(made_up):
    state = Watched(made_up).state()
    row = {"name": "n", "task": "\x1b[2J[red]t", "success": False, "ending": "cut", "return": 0.0, "spaces": [None],
           "said": "\x1b]0;owned\x07\u202e"}  # fmt: skip
    state["episodes"] = {"which": "mtrl/1", "total": 1, "rows": [row]}
    state["problem"] = "\x9b31m"
    text = printed("\x1b[0m", state, width=140)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "\\x1b[2J[red]t" in text
    assert "none×1" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_row_is_one_line_within_the_width(made_up, width):
    state = Watched(made_up).state()
    row = {"name": "n", "task": "craft_item:cooked_porkchop", "success": True, "ending": "terminated", "return": -0.25,
           "spaces": ["api", "gui"] * 30, "said": "word " * 40}  # fmt: skip
    state["episodes"] = {"which": "mtrl/1", "total": 1, "rows": [row] * 3}
    lines = printed("made-up", state, width).splitlines()
    assert all(len(line) <= width for line in lines)
    shown = [line for line in lines if "✓ " in line and "craft_item" in line]
    assert len(shown) == 3
    for words in ("terminated", "-0.25", "…"):
        assert all(words in line for line in shown)


def test_a_curve_longer_than_its_place_is_averaged_and_a_flat_one_is_flat():
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == BLOCKS[3] * 2
    long = sparkline([math.sin(k / 100) for k in range(1000)], 20)
    assert len(long) == 20
    assert BLOCKS[0] in long
    assert BLOCKS[-1] in long


def test_off_a_terminal_it_prints_once_and_ends(made_up):
    console = Console(file=io.StringIO(), width=100)
    follow(made_up, console)
    assert console.file.getvalue().count("made-up") == 1


def test_on_a_terminal_it_follows_until_the_run_is_complete(made_up, monkeypatch):
    state = Watched(made_up).state()
    states = iter([{**state, "complete": False}, {**state, "complete": False}, {**state, "complete": True}])
    slept = []
    monkeypatch.setattr(Watched, "state", lambda _: json.loads(json.dumps(next(states))))
    monkeypatch.setattr(watch_text.time, "sleep", slept.append)
    console = Console(file=io.StringIO(), width=100, height=60, force_terminal=True)
    follow(made_up, console)
    assert slept == [watch_text.EVERY_S] * 2
    assert "complete; last file written" in console.file.getvalue()
