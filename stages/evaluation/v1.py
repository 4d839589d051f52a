# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of AV2's first scene-flow challenge: three-way EPE, accuracies, angle error, dynamic IoU."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums, cells, present, ratio
from stages.evaluation.classes import NUM_CATEGORIES
from stages.evaluation.frame import FrameErrors, FrameTruth
from stages.evaluation.points import box_distance, dot, row_norm

CLOSE = 35.0  # m; |x|, |y| up to here in ego frame 0 is "Close", faces included
STRICT = 0.05  # m, or the same share of the true flow
RELAX = 0.10
_GAP = 0.1  # s; fourth component of the vectors whose angle is measured, whatever the true gap
_EPSILON = 1e-10

_CELLS = (NUM_CATEGORIES, 2, 2)  # category, static or dynamic, close or far


@dataclass(frozen=True)
class V1Bins:
    """The label side of v1, the same for every prediction of a frame.

    Attributes:
        cell: cell of each point  # (N,)
        length: length of the true total flow  # (N,)
        moving: scored points that move  # (N,)
        fixed: sums that no prediction changes.
    """

    cell: NDArray[np.intp]
    length: NDArray[np.float64]
    moving: NDArray[np.bool_]
    fixed: FrameSums


def v1_bins(truth: FrameTruth) -> V1Bins:
    """The cell that each point of a frame belongs to."""
    far = box_distance(truth.points) > CLOSE
    index = (truth.category.astype(np.int16) * 2 + truth.dynamic) * 2 + far
    cell = cells(truth.scored_v1, index, _CELLS)
    fixed: FrameSums = {"v1_speed": bin_sums(cell, _CELLS, truth.speed)}
    return V1Bins(cell, row_norm(truth.flow), truth.scored_v1 & truth.dynamic, fixed)


def v1_sums(truth: FrameTruth, bins: V1Bins, errors: FrameErrors) -> FrameSums:
    """Counts and sums of one frame."""
    error = errors.error
    relative = error / (bins.length + _EPSILON)
    strict = (error < STRICT) | (relative < STRICT)
    relax = (error < RELAX) | (relative < RELAX)  # never false where strict is true
    grade = bins.cell * 3 + strict + relax
    grades = bin_counts(grade, (*_CELLS, 3))
    hits = np.count_nonzero(bins.moving & errors.dynamic)
    missed = np.count_nonzero(bins.moving) - hits
    false = np.count_nonzero(truth.scored_v1 & errors.dynamic) - hits
    return {
        **bins.fixed,
        "v1_count": grades.sum(axis=-1),
        "v1_error": bin_sums(bins.cell, _CELLS, error),
        "v1_strict": grades[..., 2],
        "v1_relax": grades[..., 1] + grades[..., 2],
        "v1_angle": bin_sums(bins.cell, _CELLS, _angle(truth.rigid + errors.residual, truth.flow, bins.length)),
        "v1_iou": np.array([hits, missed, false], dtype=np.int64),
    }


def _angle(guess: NDArray[Any], flow: NDArray[Any], length: NDArray[Any]) -> NDArray[np.float64]:
    """Angle between the space-time vectors (g, 0.1) and (f, 0.1), radians  # (N,)."""
    cosine = dot(guess, flow)
    cosine += _GAP**2
    square = dot(guess, guess)
    square += _GAP**2
    square *= length * length + _GAP**2
    cosine /= np.sqrt(square, out=square)
    return np.arccos(np.clip(cosine, -1.0, 1.0, out=cosine), out=cosine)


def v1_metrics(totals: Totals) -> dict[str, float]:
    """The 38 numbers of the official result, pooled over points; those without points are left out."""
    count = _classes(totals["v1_count"])
    means = {
        "Accuracy Relax": ratio(_classes(totals["v1_relax"]), count),
        "Accuracy Strict": ratio(_classes(totals["v1_strict"]), count),
        "Angle Error": ratio(_classes(totals["v1_angle"]), count),
        "EPE": ratio(_classes(totals["v1_error"]), count),
    }
    both = count.sum(axis=-1)
    sums = {"Accuracy Relax": "v1_relax", "Accuracy Strict": "v1_strict", "Angle Error": "v1_angle", "EPE": "v1_error"}
    groups = [("Background/Static", 0, 0), ("Foreground/Dynamic", 1, 1), ("Foreground/Static", 1, 0)]
    numbers: dict[str, float] = {}
    for name, mean in means.items():
        for cell, c, m in groups:
            numbers[f"{name}/{cell}/Close"], numbers[f"{name}/{cell}/Far"] = mean[c, m]
    for name, key in sums.items():
        pooled = ratio(_classes(totals[key]).sum(axis=-1), both)
        numbers.update({f"{name}/{cell}": pooled[c, m] for cell, c, m in groups})
    numbers["Dynamic IoU"] = float(ratio(totals["v1_iou"][0], totals["v1_iou"].sum()))
    parts = [numbers[f"EPE/{cell}"] for cell, _, _ in groups]
    numbers["EPE 3-Way Average"] = (parts[1] + parts[2] + parts[0]) / 3
    return present(numbers)


def _classes(table: NDArray[Any]) -> NDArray[Any]:
    """Sum the categories into background and foreground (2, 2, 2): all thirty, signs and animals included."""
    return np.stack([table[0], table[1:].sum(axis=0)])


def threeway(totals: Totals) -> dict[str, float]:
    """The headline of v1 under the names of the metric file."""
    numbers = v1_metrics(totals)
    names = {
        "mean": "EPE 3-Way Average",
        "fd": "EPE/Foreground/Dynamic",
        "fs": "EPE/Foreground/Static",
        "bs": "EPE/Background/Static",
        "dynamic_iou": "Dynamic IoU",
    }
    return {short: numbers[name] for short, name in names.items() if name in numbers}
