"""Charts as inline SVG: colours from the page's variables (light and dark), every series told apart without colour too.

Lines differ in dashes and marks, bars in hatching; each chart has a title and a description for screen readers, and
the report puts its numbers in a table below. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from markupsafe import Markup

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 520, 46, 12, 24, 30
LABEL_WIDTH, LETTER = 200, 6.0
"""Most that labels beside rows may take; width of a letter of theirs."""
STYLES = 6
"""Number of styles (colour, dashes, mark, hatching) that repeat after that many series."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "12 4")
Points = Sequence[Sequence[float]]


def line_chart(title: str, series: Mapping[str, Points], percent: bool = False, height: int = 220) -> Markup:
    """Draw lines over steps: name → [[step, value], …]."""
    values = [value for points in series.values() for _, value in points]
    steps = [step for points in series.values() for step, _ in points]
    if not values:
        return Markup("")
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if percent else _ticks(values)
    low, high = ticks[0], ticks[-1]
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def x(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return height - BOTTOM - (value - low) / (high - low) * (height - TOP - BOTTOM)

    parts = _y_axis(ticks, y, percent)
    for step in sorted({first, round((first + last) / 2), last} if len(set(steps)) > 1 else {first}):
        parts.append(f'<text class="tick" x="{x(step):.1f}" y="{height - 12}" text-anchor="middle">{step:g}</text>')
    for index, points in enumerate(series.values()):
        style = index % STYLES
        path = " ".join(f"{'M' if k == 0 else 'L'}{x(s):.1f} {y(v):.1f}" for k, (s, v) in enumerate(points))
        marks = points if len(points) <= 12 else [points[k * (len(points) - 1) // 6] for k in range(7)]
        parts.append(
            f'<g class="s{style}"><path d="{path}" fill="none" stroke="currentColor" stroke-width="1.8" '
            f'stroke-dasharray="{_DASHES[style]}"/>' + "".join(_mark(style, x(s), y(v)) for s, v in marks) + "</g>"
        )
    described = "; ".join(
        f"{name}: from {_number(p[0][1], percent)} to {_number(p[-1][1], percent)}" for name, p in series.items()
    )
    return _svg(title, described, height, parts, legend(series, lines=True) if len(series) > 1 else "")


def interval_chart(title: str, groups: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Markup:
    """Draw fractions with their intervals, one row each: group → series → (value, low, high)."""
    names = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    row, gap, label = 15, 9, _room(groups, 96)
    height = TOP + sum(len(rows) * row + gap for rows in groups.values()) + BOTTOM
    parts: list[str] = []

    def x(value: float) -> float:
        return label + value * (WIDTH - label - RIGHT - 40)

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{height - 12}" text-anchor="middle">{100 * tick:.0f} %</text>'
        )
    at = float(TOP)
    for group, rows in groups.items():
        middle = at + len(rows) * row / 2 + 4
        parts.append(f'<text x="{label - 8}" y="{middle:.1f}" text-anchor="end">{_short(group)}</text>')
        for name, (value, low, high) in rows.items():
            style, y = names.index(name) % STYLES, at + row / 2
            parts.append(
                f'<g class="s{style}"><line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="currentColor" '
                f'stroke-width="2"/>{_mark(style, x(value), y)}</g>'
                f'<text class="tick" x="{WIDTH - RIGHT}" y="{y + 4}" text-anchor="end">{100 * value:.0f} %</text>'
            )
            at += row
        at += gap
    described = "; ".join(
        f"{group}, {name}: {100 * value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        for group, rows in groups.items()
        for name, (value, low, high) in rows.items()
    )
    return _svg(title, described, height, parts, legend(names, lines=True))


def stacked_bars(
    title: str, rows: Mapping[str, Mapping[str, float]], names: Sequence[str], unit: str = "share"
) -> Markup:
    """Draw one horizontal bar a row, made of parts: row → part → amount. ``unit``: ``share`` of 1, or ``seconds``."""
    bar, gap, label = 20, 8, _room(rows, 96)
    height = TOP + len(rows) * (bar + gap) + 10
    most = 1.0 if unit == "share" else max((sum(parts.values()) for parts in rows.values()), default=1.0) or 1.0
    parts: list[str] = []
    for number, (row, amounts) in enumerate(rows.items()):
        y, x = TOP + number * (bar + gap), float(label)
        parts.append(f'<text x="{label - 8}" y="{y + 14}" text-anchor="end">{_short(row)}</text>')
        for name in names:
            amount = amounts.get(name, 0.0)
            width = amount / most * (WIDTH - label - RIGHT)
            if width <= 0:
                continue
            style = names.index(name) % STYLES
            shown = f"{100 * amount:.0f} %" if unit == "share" else f"{amount:.0f} s"
            box = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="{bar}"'
            parts.append(
                f'<g class="s{style}"><rect {box} fill="currentColor" class="bar"/><rect {box} fill="url(#h{style})"/>'
                f"<title>{escape(name)}: {shown}</title></g>"
            )
            if width > 34:
                parts.append(
                    f'<text class="on" x="{x + width / 2:.1f}" y="{y + 14}" text-anchor="middle">{shown}</text>'
                )
            x += width
    scale = 100 if unit == "share" else 1
    described = "; ".join(
        f"{row}: "
        + ", ".join(f"{name} {scale * amounts.get(name, 0.0):.0f}{' %' if unit == 'share' else ' s'}" for name in names)
        for row, amounts in rows.items()
    )
    return _svg(title, described, height, parts, legend(names, lines=False))


def legend(names: Sequence[str] | Mapping[str, object], lines: bool) -> str:
    """Return the key of a chart: each name beside its style."""
    keys = []
    for index, name in enumerate(names):
        style = index % STYLES
        if lines:
            sample = (
                f'<line x1="1" x2="27" y1="7" y2="7" stroke="currentColor" stroke-width="1.8" '
                f'stroke-dasharray="{_DASHES[style]}"/>{_mark(style, 14, 7)}'
            )
        else:
            sample = f'<rect width="28" height="14" fill="currentColor" class="bar"/><rect width="28" height="14" fill="url(#h{style})"/>'
        keys.append(
            f'<span><svg class="key s{style}" width="28" height="14" aria-hidden="true">{sample}</svg> {escape(name)}</span>'
        )
    return f'<figcaption class="legend">{"".join(keys)}</figcaption>'


def patterns() -> Markup:
    """Return the hatchings that bars use; a page holds them once."""
    shapes = (
        "",
        '<path d="M0 8L8 0"/>',
        '<path d="M0 0L8 8"/>',
        '<path d="M4 0V8"/>',
        '<circle cx="4" cy="4" r="1.4" class="dot"/>',
        '<path d="M0 4H8"/>',
    )
    made = "".join(
        f'<pattern id="h{k}" width="8" height="8" patternUnits="userSpaceOnUse" class="hatch">{shape}</pattern>'
        for k, shape in enumerate(shapes)
    )
    return Markup(f'<svg width="0" height="0" aria-hidden="true" class="defs"><defs>{made}</defs></svg>')


def _room(labels: Iterable[str], least: int) -> int:
    """Return the width that labels beside rows take."""
    longest = max((len(label) for label in labels), default=0)
    return min(max(least, round(LETTER * longest) + 12), LABEL_WIDTH)


def _short(label: str) -> str:
    """Return a label's markup: what does not fit is left out near its beginning, where the runs of one experiment are alike."""
    most = round((LABEL_WIDTH - 12) / LETTER)
    if len(label) <= most:
        return escape(label)
    head = most // 4
    return f"<title>{escape(label)}</title>{escape(label[:head])}…{escape(label[1 + head - most :])}"


def _svg(title: str, described: str, height: int, parts: Sequence[str], key: str) -> Markup:
    return Markup(
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(f"{title}. {described}", quote=True)}">'
        f'<text class="title" x="{WIDTH / 2}" y="14" text-anchor="middle">{escape(title)}</text>{"".join(parts)}</svg>{key}</figure>'
    )


def _y_axis(ticks: Sequence[float], y: Callable[[float], float], percent: bool) -> list[str]:
    parts = []
    for value in ticks:
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{_number(value, percent)}</text>'
        )
    return parts


def _mark(style: int, x: float, y: float) -> str:
    if style == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="currentColor"/>'
    if style == 1:
        return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="currentColor"/>'
    shapes = {
        2: f"M{x:.1f} {y - 4:.1f}L{x + 4:.1f} {y + 3:.1f}H{x - 4:.1f}Z",
        3: f"M{x:.1f} {y - 4:.1f}L{x + 4:.1f} {y:.1f}L{x:.1f} {y + 4:.1f}L{x - 4:.1f} {y:.1f}Z",
        4: f"M{x - 3.5:.1f} {y - 3.5:.1f}L{x + 3.5:.1f} {y + 3.5:.1f}M{x - 3.5:.1f} {y + 3.5:.1f}L{x + 3.5:.1f} {y - 3.5:.1f}",
        5: f"M{x:.1f} {y + 4:.1f}L{x + 4:.1f} {y - 3:.1f}H{x - 4:.1f}Z",
    }
    return f'<path d="{shapes[style]}" fill="currentColor" stroke="currentColor"/>'


def _ticks(values: Sequence[float]) -> list[float]:
    """Return three to seven round numbers, evenly spaced, that enclose the values."""
    low, high = min(values), max(values)
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.0f} %" if percent else f"{value:.3g}"
