# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The table of methods in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.comparing.methods import Method
from stages.evaluation.find import find
from stages.evaluation.protocol import require_same

_COLUMNS = (
    ("mean Dynamic", ("bucketed", "dynamic", "mean")),
    ("mean Static, m", ("bucketed", "static", "mean")),
    ("car", ("bucketed", "dynamic", "car")),
    ("other vehicles", ("bucketed", "dynamic", "other_vehicles")),
    ("pedestrian", ("bucketed", "dynamic", "pedestrian")),
    ("wheeled VRU", ("bucketed", "dynamic", "wheeled_vru")),
    ("three-way, m", ("threeway", "mean")),
    ("dynamic IoU", ("threeway", "dynamic_iou")),
)
_BASELINES = (("nearest neighbour", "nearest"), ("ego motion", "ego_motion"), ("no motion", "no_motion"))


def comparison(results: Sequence[tuple[Method, Mapping[str, Any]]]) -> str:
    """Methods and baselines, a row each, with intervals where the metric files have them.

    Raises:
        InputError: Two methods were scored by different protocols.
    """
    (first, content), *others = results
    for method, other in others:
        require_same((first.name, method.name), content["protocol"], other["protocol"])
    rows = [_row(method.name, method.labels, found, "model") for method, found in results]
    rows += [_row(name, "none", content, key) for name, key in _BASELINES if key in content]
    head = ["method", "labels", *(name for name, _ in _COLUMNS)]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * len(_COLUMNS), *rows]
    made = [f"- {method.name}: {_changes(method)}" for method, _ in results]
    note = [_note(content), "", "Each method is `params.yaml` with", "", *made]
    return "\n".join(["# Methods on the current data", "", *lines, "", *note, ""])


def _changes(method: Method) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in method.changes.items())


def _row(name: str, labels: str, content: Mapping[str, Any], key: str) -> str:
    intervals = content.get("intervals", {}).get(key, {})
    cells = [_cell(find(content[key], path), find(intervals, path)) for _, path in _COLUMNS]
    return f"| {name} | {labels} | " + " | ".join(cells) + " |"


def _cell(value: Any, bounds: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({bounds[0]:.3f}–{bounds[1]:.3f})" if bounds else "")


def _note(content: Mapping[str, Any]) -> str:
    protocol, intervals = content["protocol"], content.get("intervals", {})
    note = f"{protocol['logs']} logs, frames: {protocol['frames']}, truth: {protocol['truth']}. Lower is better but for"
    note += " the IoU; Dynamic is normalised (1 is ego motion), Static is not, both within 35 m."
    if intervals:
        note += f" In brackets the {intervals['level']:.0%} interval of {intervals['resamples']} resamples of"
        note += f" {intervals['units']} {intervals['unit']}."
    return note
