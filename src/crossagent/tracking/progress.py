"""Progress of long work on standard error: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY_S = 15.0
"""Off a terminal: one line per task in this many seconds; a task that is quicker says nothing."""


class ProgressTask:
    """One bar, or one series of lines."""

    def __init__(self, display: ProgressDisplay, name: str, total: int) -> None:
        self._display, self._name, self._total = display, name, total
        self._done = 0
        self._started = time.monotonic()
        self._last_line = self._started
        bars = display._bars
        self._bar = bars.add_task(name, total=total, what="") if bars else None

    def update(self, done: int, metrics: Mapping[str, float] | None = None, total: int | None = None) -> None:
        """Show that ``done`` of the total (which may become known only now) are done, and the numbers that matter."""
        self._done = done
        self._total = self._total if total is None else total
        what = " ".join(f"{key.rpartition('/')[2]} {_short(value)}" for key, value in (metrics or {}).items())
        bars = self._display._bars
        if bars and self._bar is not None:
            bars.update(self._bar, completed=self._done, total=self._total, what=what)
            return
        now = time.monotonic()
        if now - self._last_line >= PLAIN_EVERY_S:
            self._last_line = now
            self._display.line(
                f"{self._name}: {self._done}/{self._total}  {now - self._started:.0f} s  {what}".rstrip()
            )

    def _close(self) -> None:
        bars = self._display._bars
        if bars and self._bar is not None:
            bars.remove_task(self._bar)


class ProgressDisplay:
    """Where all progress of one command goes. Use as a context manager."""

    def __init__(self, stream: TextIO | None = None, enabled: bool = True) -> None:
        self._stream = stream or sys.stderr
        self._enabled = enabled
        self._bars: Progress | None = None
        if enabled and self._stream.isatty():
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[what]}"),
                console=Console(file=self._stream),
                transient=True,
            )

    def __enter__(self) -> ProgressDisplay:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def line(self, text: str) -> None:
        """Write one line, above the bars if there are any."""
        if not self._enabled:
            return
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[ProgressTask]:
        """Show progress of ``total`` pieces of work under a name while the block runs."""
        task = ProgressTask(self, name, max(total, 1))
        try:
            yield task
        finally:
            task._close()


def _short(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
