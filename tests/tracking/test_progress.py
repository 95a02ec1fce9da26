"""Progress says what matters: bars on a terminal, lines elsewhere, JSON when asked; a warning appears once."""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import warnings
from pathlib import Path

import pytest

from crossagent.tracking import progress
from crossagent.tracking.progress import ProgressDisplay, headline

ROW = {
    "rollout/success": 0.5,
    "rollout/return": 0.25,
    "space/api/share": 0.75,
    "space/gui/share": 0.0,
    "space/none/share": 0.0,
    "space/api/advantage": 1.0,
    "rollout/tokens_per_second": 123.4,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let six seconds pass between any two looks at the clock."""
    now = itertools.count(0, 6)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_headline_is_success_shares_and_speed() -> None:
    assert headline(ROW) == {"success": "50 %", "return": "0.25", "api": "75 %", "gui": "0 %", "tok/s": "123"}
    assert headline({"success": 1.0, "space/none/share": 0.1}) == {"success": "100 %", "none": "10 %"}


@pytest.mark.usefixtures("clock")
def test_off_a_terminal_it_is_a_plain_line_now_and_then_with_the_time_left() -> None:
    out = io.StringIO()
    with ProgressDisplay(stream=out) as display, display.task("sft", 8) as bar:
        for done in range(1, 9):
            bar.update(done, {"sft/loss": 1 / done, "sft/tokens": 600.0})
    lines = out.getvalue().splitlines()
    assert lines == [
        "sft: 3/8  18 s, 30 s left  loss 0.333  tok/s 100",
        "sft: 6/8  36 s, 12 s left  loss 0.167  tok/s 100",
        "sft: 8/8  54 s  loss 0.125  tok/s 100",
    ]
    assert out.getvalue().isprintable() or set(out.getvalue()) - set("\n") <= set(map(chr, range(32, 0x2100)))
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_a_quick_task_says_nothing_off_a_terminal() -> None:
    out = io.StringIO()
    with ProgressDisplay(stream=out) as display, display.task("sft", 8) as bar:
        bar.update(8)
    assert out.getvalue() == ""


def test_on_a_terminal_it_is_a_bar() -> None:
    out = Terminal()
    with ProgressDisplay(stream=out) as display, display.task("mtrl", 2) as bar:
        bar.update(1, ROW)
        display.line("a line above the bar")
        display.warn("[red] is no markup")
        bar.update(4, ROW, total=4)
        display._bars.refresh()
    for words in ("a line above the bar", "warning: [red] is no markup", "4/4", "success 50 %", "api 75 %"):
        assert words in out.getvalue()


def test_a_narrow_terminal_shows_how_far_how_long_and_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal()
    row = {**ROW, "train/entropy": 0.5, "space/control/share": 0.2, "rollout/tokens_per_second": 12345.0}
    with ProgressDisplay(stream=out) as display, display.task("mtrl", 60) as bar:
        bar.update(7, row)
        display._bars.refresh()
        lines = display._bars.console.render_lines(display._bars.get_renderable(), pad=False)
    shown = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert "7/60" in shown[0]
    assert re.search(r"\d:\d\d:\d\d left [\d-]:", shown[0])
    assert all(len(line) <= 60 for line in shown)
    words = " ".join(shown[1:]).split()
    assert {"success", "return", "entropy", "api", "control", "12345"} <= set(words)
    assert "…" not in "".join(shown)


def test_quiet_leaves_warnings_only() -> None:
    out = Terminal()
    with ProgressDisplay("quiet", out) as display, display.task("mtrl", 2) as bar:
        bar.update(2, ROW)
        display.line("a line")
        logging.getLogger("crossagent.x").warning("mind this")
    assert out.getvalue() == "warning: mtrl: mind this\n"


@pytest.mark.usefixtures("clock")
def test_json_is_one_documented_object_per_line() -> None:
    out = io.StringIO()
    with ProgressDisplay("json", out) as display:
        with display.task("mtrl", 2) as bar:
            bar.update(1, {**ROW, "train/kl": float("nan")})
            bar.update(2, ROW)
        display.line("mtrl: id mixed: success 50 %")
        logging.getLogger("crossagent.x").warning("mind this")
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [e["event"] for e in events] == ["progress", "progress", "message", "warning"]
    assert list(events[0]) == ["time", "event", "task", "done", "total", "seconds", "seconds_left", "metrics"]
    assert (events[1]["done"], events[1]["total"], events[1]["seconds_left"]) == (2, 2, 0)
    assert events[0]["metrics"] == ROW, "what is no number is left out"
    assert events[0]["time"].endswith("+00:00")
    assert events[2]["message"] == "mtrl: id mixed: success 50 %"
    documented = (Path(__file__).parents[2] / "docs/tracking.md").read_text()
    for name in {key for event in events for key in event} | {e["event"] for e in events}:
        assert f"`{name}`" in documented


def test_each_warning_appears_once_per_task_whatever_its_numbers() -> None:
    out = io.StringIO()
    logger = logging.getLogger("crossagent.training")
    with ProgressDisplay(stream=out) as display:
        with display.task("strl", 2):
            for iteration in (1, 2, 3):
                logger.warning("iteration %d: nobody used space 'gui' any more", iteration)
                with warnings.catch_warnings():
                    warnings.simplefilter("always")
                    warnings.warn("a library's\nopinion", UserWarning, stacklevel=1)
        with display.task("mtrl", 2):
            logger.warning("iteration %d: nobody used space 'gui' any more", 5)
    assert out.getvalue().splitlines() == [
        "warning: strl: iteration 1: nobody used space 'gui' any more",
        "warning: strl: a library's",
        "opinion",
        "warning: mtrl: iteration 5: nobody used space 'gui' any more",
    ]


def test_a_library_that_writes_to_the_terminal_by_itself_does_so_through_us_meanwhile() -> None:
    own, out = io.StringIO(), io.StringIO()
    chatty = logging.getLogger("chatty_library")
    chatty.propagate, handler = False, logging.StreamHandler(own)
    chatty.addHandler(handler)
    try:
        with ProgressDisplay("json", out):
            chatty.warning("during")
        chatty.warning("after")
    finally:
        chatty.removeHandler(handler)
    assert json.loads(out.getvalue())["message"] == "during"
    assert own.getvalue() == "after\n"
