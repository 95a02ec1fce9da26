"""Progress of long work on standard error: bars on a terminal, plain lines elsewhere, or one JSON object per line.

What a bar or a line shows is what matters: success, return or loss, the share of each space, tokens per second, time left.
Warnings of any library pass through here while work is shown, and each appears once.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_EVERY_S = 15.0
"""Off a terminal: one line per task in this many seconds, and one when it ends; a task that is quicker says nothing."""
JSON_EVERY_S = 1.0
"""With ``json``: at most one progress event per task in this many seconds, besides its last."""

Mode = Literal["auto", "quiet", "json"]
_NAMES = {"success": "success", "rollout/success": "success", "rollout/return": "return", "sft/loss": "loss",
          "train/entropy": "entropy"}  # fmt: skip


def headline(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return the few numbers worth a place beside a bar: name → text, in a fixed order."""
    shown = {label: _short(metrics[name]) for name, label in _NAMES.items() if name in metrics}
    if "success" in shown:
        value = metrics["success"] if "success" in metrics else metrics["rollout/success"]
        shown["success"] = f"{100 * value:.0f} %"
    for name, value in metrics.items():
        area, _, rest = name.partition("/")
        if area == "space" and rest.endswith("/share") and (value > 0 or not rest.startswith("none/")):
            shown[rest.removesuffix("/share")] = f"{100 * value:.0f} %"
    if "rollout/tokens_per_second" in metrics:
        shown["tok/s"] = f"{metrics['rollout/tokens_per_second']:.0f}"
    return shown


class _Bars(Progress):
    """Bars with the numbers of each below it: beside it they would push time and count off a narrow terminal."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield self.make_tasks_table([task])
            if task.fields["what"]:
                yield Padding(Text(task.fields["what"], style="dim"), (0, 0, 0, 2))


class ProgressTask:
    """One bar, or one series of lines."""

    def __init__(self, display: ProgressDisplay, name: str, total: int) -> None:
        self._display, self.name, self._total = display, name, total
        self._done = 0
        self._started = self._last_line = time.monotonic()
        self._tokens = 0.0
        self._begun: tuple[float, int] | None = None
        self._said = -1
        self._metrics: Mapping[str, float] = {}
        bars = display._bars
        self._bar = bars.add_task(name, total=total, what="") if bars else None

    def update(self, done: int, metrics: Mapping[str, float] | None = None, total: int | None = None) -> None:
        """Show that ``done`` of the total (which may become known only now) are done, and the numbers that matter."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, done
        self._done, self._total = done, self._total if total is None else total
        self._metrics = dict(metrics or {})
        if "sft/tokens" in self._metrics:
            self._tokens += self._metrics["sft/tokens"]
            self._metrics = {
                **self._metrics,
                "rollout/tokens_per_second": self._tokens / max(now - self._started, 1e-9),
            }
        if self._bar is not None:
            self._display._bars.update(self._bar, completed=done, total=self._total, what=self._what())  # type: ignore[union-attr]
            return
        every = JSON_EVERY_S if self._display.mode == "json" else PLAIN_EVERY_S
        if now - self._last_line >= every:
            self._say(now)

    def _what(self) -> str:
        return "  ".join(f"{name} {text}" for name, text in headline(self._metrics).items())

    def _left(self, now: float) -> float | None:
        """Return the seconds left at the speed since the first update (a resumed task begins in the middle)."""
        if self._begun is None or self._done <= self._begun[1]:
            return None
        return (now - self._begun[0]) / (self._done - self._begun[1]) * max(self._total - self._done, 0)

    def _say(self, now: float) -> None:
        self._last_line, self._said = now, self._done
        elapsed, left = now - self._started, self._left(now)
        if self._display.mode == "json":
            self._display.event(
                "progress",
                task=self.name,
                done=self._done,
                total=self._total,
                seconds=round(elapsed, 3),
                seconds_left=None if left is None else round(left, 3),
                metrics={name: value for name, value in self._metrics.items() if math.isfinite(value)},
            )
            return
        when = f"{_clock(elapsed)}" + ("" if left is None or not self._total - self._done else f", {_clock(left)} left")
        self._display.line(f"{self.name}: {self._done}/{self._total}  {when}  {self._what()}".rstrip())

    def _close(self) -> None:
        if self._bar is not None:
            self._display._bars.remove_task(self._bar)  # type: ignore[union-attr]
        elif self._done > max(self._said, 0) and (self._said >= 0 or self._display.mode == "json"):
            self._say(time.monotonic())


class ProgressDisplay:
    """Where all progress and every warning of one command goes. Use as a context manager."""

    def __init__(self, mode: Mode = "auto", stream: TextIO | None = None, rank: int = 0) -> None:
        """Show progress.

        Args:
            mode: ``auto``: bars on a terminal, lines elsewhere; ``quiet``: warnings only; ``json``: one object per line.
            stream: Standard error, if not given.
            rank: Of several processes the first shows everything; of the others nothing but our own warnings (those of
                libraries are the same everywhere) is shown, with their number.
        """
        self.mode, self.rank = mode, rank
        self._stream = stream or sys.stderr
        self._bars: Progress | None = None
        self._task: ProgressTask | None = None
        self._warnings = _Once(self)
        if mode == "auto" and self._stream.isatty() and not rank:
            self._bars = _Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(file=self._stream),
                transient=True,
            )

    def __enter__(self) -> ProgressDisplay:
        self._warnings.install()
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()
        self._warnings.remove()

    def line(self, text: str) -> None:
        """Write one line, above the bars if there are any."""
        if self.rank:
            return
        if self.mode == "json":
            self.event("message", message=text)
        elif self.mode != "quiet":
            self._write(text)

    def warn(self, text: str) -> None:
        """Write a warning, in every mode."""
        text = f"process {self.rank}: {text}" if self.rank else text
        if self.mode == "json":
            self.event("warning", message=text)
        else:
            self._write(f"warning: {text}")

    def event(self, event: str, **content: Any) -> None:
        """With ``json``: write one object, ``{"time": ISO 8601 in UTC, "event": …, …}``; otherwise nothing."""
        if self.mode == "json" and (not self.rank or event == "warning"):
            time_ = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._print(json.dumps({"time": time_, "event": event, **content}, ensure_ascii=False))

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[ProgressTask]:
        """Show progress of ``total`` pieces of work under a name while the block runs."""
        task, outer = ProgressTask(self, name, max(total, 1)), self._task
        self._task = task
        try:
            yield task
        finally:
            self._task = outer
            task._close()

    def _write(self, text: str) -> None:
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _Once(logging.Handler):
    """Shows each warning once per task, whatever numbers are in it, and keeps other handlers off the stream meanwhile."""

    def __init__(self, display: ProgressDisplay) -> None:
        super().__init__(logging.WARNING)
        self._display = display
        self._seen: set[tuple[str, str]] = set()
        self._before: list[tuple[logging.Logger, list[logging.Handler]]] = []

    def install(self) -> None:
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self)
        for name in list(logging.root.manager.loggerDict):
            logger = logging.getLogger(name)
            if not logger.propagate and any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
                self._before.append((logger, list(logger.handlers)))  # a library that writes to the terminal by itself
                logger.handlers = [self]

    def remove(self) -> None:
        for logger, handlers in self._before:
            logger.handlers = handlers
        self._before.clear()
        logging.getLogger().removeHandler(self)
        logging.captureWarnings(False)

    def emit(self, record: logging.LogRecord) -> None:
        if self._display.rank and not record.name.startswith("crossagent"):
            return
        text = record.getMessage().strip()
        if record.name == "py.warnings":  # "file.py:12: UserWarning: text\n  the line of code"
            found = re.match(r".*?:\d+: \w+: (.*?)(?:\n  .*)?$", text, re.DOTALL)
            text = found.group(1) if found else text
        task = self._display._task.name if self._display._task else ""
        key = task, re.sub(r"\d+", "#", text)
        if key not in self._seen:
            self._seen.add(key)
            self._display.warn(f"{task}: {text}" if task else text)


def _short(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
