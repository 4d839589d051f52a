# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The table of headline numbers that people read."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.find import find

_ROWS = (
    ("Dynamic, normalised, 35 m", None),
    ("  mean", ("bucketed", "dynamic", "mean")),
    ("  background", ("bucketed", "dynamic", "background")),
    ("  car", ("bucketed", "dynamic", "car")),
    ("  other vehicles", ("bucketed", "dynamic", "other_vehicles")),
    ("  pedestrian", ("bucketed", "dynamic", "pedestrian")),
    ("  wheeled VRU", ("bucketed", "dynamic", "wheeled_vru")),
    ("Static, m, 35 m", None),
    ("  mean", ("bucketed", "static", "mean")),
    ("  background", ("bucketed", "static", "background")),
    ("  car", ("bucketed", "static", "car")),
    ("  other vehicles", ("bucketed", "static", "other_vehicles")),
    ("  pedestrian", ("bucketed", "static", "pedestrian")),
    ("  wheeled VRU", ("bucketed", "static", "wheeled_vru")),
    ("Three-way EPE, m", None),
    ("  mean", ("threeway", "mean")),
    ("  foreground dynamic", ("threeway", "fd")),
    ("  foreground static", ("threeway", "fs")),
    ("  background static", ("threeway", "bs")),
    ("  dynamic IoU", ("threeway", "dynamic_iou")),
)
# Shown only where there are such points, as in scenes whose truth moves points outside boxes; they count in the mean.
_RARE = (("bucketed", "dynamic", "background"),)


def headline_table(report: Mapping[str, Any], predictions: Sequence[str]) -> str:
    """Predictions side by side; a number that does not exist is a dash.

    Args:
        report: content of a metric file.
        predictions: its entries to show, in order.
    """
    lines = [f"{'':26}" + "".join(f"{name:>13}" for name in predictions)]
    for label, path in _ROWS:
        if path in _RARE and not any(find(report, (name, *path)) is not None for name in predictions):
            continue
        cells = "" if path is None else "".join(f"{_cell(report.get(name, {}), path):>13}" for name in predictions)
        lines.append(f"{label:26}{cells}".rstrip())
    note = interval_note(report, predictions)
    return "\n".join([*lines, *([note] if note else [])])


def interval_note(report: Mapping[str, Any], predictions: Sequence[str]) -> str:
    """The interval of the first prediction's mean Dynamic, in a sentence; empty where there is none."""
    intervals = report.get("intervals", {})
    bounds = find(intervals.get(predictions[0], {}), ("bucketed", "dynamic", "mean"))
    if bounds is None:
        return ""
    return (
        f"mean Dynamic of {predictions[0]}: {bounds[0]:.4f} to {bounds[1]:.4f} "
        f"({intervals['level']:.0%} of {intervals['resamples']} resamples of {intervals['units']} {intervals['unit']})"
    )


def _cell(metrics: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value = find(metrics, path)
    return "-" if value is None else f"{value:.4f}"
