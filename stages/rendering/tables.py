# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The headline of the report: numbers of the model beside those of the baselines, with their intervals."""

from collections.abc import Mapping
from html import escape
from typing import Any

from stages.evaluation.find import find
from stages.rendering.charts import CLASSES, PREDICTIONS
from stages.rendering.html import number, table

_Path = tuple[str, ...]
_GROUPS: Mapping[str, list[tuple[str, _Path]]] = {
    "Dynamic, normalised, within 35 m": [(name, ("bucketed", "dynamic", key)) for key, name in CLASSES.items()],
    "Static, m, within 35 m": [
        (name, ("bucketed", "static", key))
        for key, name in {"mean": "mean", "background": "background", **CLASSES}.items()
    ],
    "Three-way EPE, m": [
        ("mean", ("threeway", "mean")),
        ("moving objects", ("threeway", "fd")),
        ("still objects", ("threeway", "fs")),
        ("background", ("threeway", "bs")),
        ("dynamic IoU", ("threeway", "dynamic_iou")),
    ],
}
TILES = (
    ("mean Dynamic, normalised; 1 is ego motion alone, 0 perfect", ("bucketed", "dynamic", "mean")),
    ("mean Static, m", ("bucketed", "static", "mean")),
    ("three-way EPE, m", ("threeway", "mean")),
    ("dynamic IoU; 1 is perfect", ("threeway", "dynamic_iou")),
)


def headline(report: Mapping[str, Any]) -> str:
    """The table of a metric file; rows without any number are left out."""
    rows: list[list[str]] = []
    for group, lines in _GROUPS.items():
        cells = [[escape(name), *(_cell(report, p, path) for p in PREDICTIONS)] for name, path in lines]
        present = [row for row, (_, path) in zip(cells, lines, strict=True) if _known(report, path)]
        if present:
            rows += [[escape(group)], *present]
    if not rows:
        return ""
    return f'<div class="headline">{table(["", *PREDICTIONS.values()], rows)}</div>'


def _known(report: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    return any(find(report.get(name, {}), path) is not None for name in PREDICTIONS)


def _cell(report: Mapping[str, Any], name: str, path: tuple[str, ...]) -> str:
    bounds = find(report.get("intervals", {}), (name, *path))
    known = bounds is not None and bounds[0] < bounds[1]
    interval = f"<small>{bounds[0]:.3f}–<wbr>{bounds[1]:.3f}</small>" if known else ""
    return number(find(report.get(name, {}), path)) + interval


def tiles(report: Mapping[str, Any]) -> str:
    """The four numbers that are quoted most."""
    shown = []
    for text, path in TILES:
        value = find(report.get("model", {}), path)
        if value is None:
            continue
        bounds = find(report.get("intervals", {}), ("model", *path))
        sure = "" if bounds is None else f"<span>{bounds[0]:.3f} to {bounds[1]:.3f}</span>"
        shown.append(f'<div class="tile"><b>{number(value)}</b>{sure}<span>{escape(text)}</span></div>')
    return f'<div class="tiles">{"".join(shown)}</div>' if shown else ""


def interval_text(report: Mapping[str, Any]) -> str:
    """What the small numbers are."""
    made = report.get("intervals", {})
    if not made.get("units"):
        return ""
    return (
        f"Small numbers are {made['level']:.0%} bootstrap intervals: {made['resamples']} resamples of "
        f"{made['units']} {made['unit']}."
    )
