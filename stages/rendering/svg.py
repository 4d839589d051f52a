# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Two kinds of chart as inline SVG: rows of dots with intervals, and lines. Colours come from the page's style."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 460
_RIGHT, _BOTTOM = 14, 40
_LETTER = 6.6  # width of a letter of a row's name, about
_ROW = 38


@dataclass(frozen=True)
class Dot:
    """A value with its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most `low` to at least `high` in at most `most` steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        high = low + 1.0
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * k for k in (1, 2, 5, 10, 20) if (high - low) / (power * k) <= most)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's text."""
    return f"{value:g}"


def dot_chart(
    title: str, unit: str, rows: Sequence[str], series: Mapping[str, Sequence[Dot | None]], reference: str = ""
) -> str:
    """Rows of dots, one dot for each series, with intervals as bars.

    Args:
        title: what is shown, for those who do not see it.
        unit: name of the horizontal axis with its unit.
        rows: names of the rows.
        series: a dot for each row, or None, by the name of the series.
        reference: name of a vertical line at 1, if there is one.
    """
    dots = [dot for values in series.values() for dot in values if dot is not None]
    top = max([1.0 if reference else 0.0, *(dot.high or dot.value for dot in dots)], default=1.0)
    marks = ticks(0.0, top)
    height = 18 + _ROW * len(rows)
    left = 16 + _LETTER * max(map(len, rows), default=0)
    axis = _Axis(marks[0], marks[-1], left, WIDTH - _RIGHT)
    parts = list(_vertical_grid(axis, marks, 14, height, unit))
    if reference:
        x = axis.place(1.0)
        parts.append(f'<line class="reference" x1="{x}" x2="{x}" y1="14" y2="{height}"/>')
        parts.append(f'<text class="tick" x="{x}" y="10">{escape(reference)}</text>')
    for index, row in enumerate(rows):
        y = 18 + _ROW * (index + 0.5)
        parts.append(f'<text class="row" x="{left - 10:.1f}" y="{y + 4:.1f}">{escape(row)}</text>')
        for place, values in enumerate(series.values()):
            dot = values[index]
            if dot is not None:
                parts += _dot(axis, dot, y + 9 * (place - (len(series) - 1) / 2), place)
    return _svg(title, height + _BOTTOM, parts)


def _dot(axis: "_Axis", dot: Dot, y: float, place: int) -> Iterator[str]:
    if dot.low is not None and dot.high is not None:
        x1, x2 = axis.place(dot.low), axis.place(dot.high)
        yield f'<line class="s{place} interval" x1="{x1}" x2="{x2}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield marker(place, axis.place(dot.value), y)


def marker(place: int, x: float, y: float, r: float = 4.2) -> str:
    """The mark of a series: its shape tells it apart where its colour does not."""
    if place == 0:
        return f'<circle class="s0 mark" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    corners = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -r * 1.3), (r * 1.2, r), (-r * 1.2, r)],
        3: [(0, -r * 1.3), (r * 1.3, 0), (0, r * 1.3), (-r * 1.3, 0)],
    }[place]
    path = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
    return f'<polygon class="s{place} mark" points="{path}"/>'


def line_chart(title: str, unit_x: str, unit_y: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines through points (x, y), one for each series, from y = 0.

    Args:
        title: what is shown, for those who do not see it.
        unit_x: name of the horizontal axis with its unit.
        unit_y: name of the vertical axis with its unit, written above it.
        series: points in order of x by the name of the series.
    """
    points = [point for line in series.values() for point in line]
    height, left = 230, 46
    x_marks = ticks(min((x for x, _ in points), default=0.0), max((x for x, _ in points), default=1.0))
    y_marks = ticks(0.0, max((y for _, y in points), default=1.0), 5)
    across = _Axis(x_marks[0], x_marks[-1], left, WIDTH - _RIGHT)
    up = _Axis(y_marks[0], y_marks[-1], height, 26)
    parts = list(_vertical_grid(across, x_marks, 26, height, unit_x))
    for mark in y_marks:
        y = up.place(mark)
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="row" x="{left - 7}" y="{y + 4}">{number(mark)}</text>')
    parts.append(f'<text class="note" x="0" y="12">{escape(unit_y)}</text>')
    for place, line in enumerate(series.values()):
        path = " ".join(f"{across.place(x)},{up.place(y)}" for x, y in line)
        parts.append(f'<polyline class="s{place} line" points="{path}"/>')
        parts += [marker(place, across.place(x), up.place(y), 3.0) for x, y in line]
    return _svg(title, height + _BOTTOM, parts)


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _vertical_grid(axis: _Axis, marks: Sequence[float], top: float, bottom: float, unit: str) -> Iterator[str]:
    for mark in marks:
        x = axis.place(mark)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        yield f'<text class="tick" x="{x}" y="{bottom + 16}">{number(mark)}</text>'
    middle = (axis.start + axis.end) / 2
    yield f'<text class="unit" x="{middle:.1f}" y="{bottom + 34}">{escape(unit)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    text = escape(title, quote=True)
    body = "\n".join(parts)
    return f'<svg role="img" aria-label="{text}" viewBox="0 0 {WIDTH} {height}">\n{body}\n</svg>'


def legend(names: Sequence[str]) -> str:
    """The series' marks with their names."""
    key = '<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{}</svg>'
    items = [f"<span>{key.format(marker(i, 7, 7, 5.0))}{escape(name)}</span>" for i, name in enumerate(names)]
    return f'<p class="legend">{"".join(items)}</p>'
