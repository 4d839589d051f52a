# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of AV2's first scene-flow challenge: three-way EPE, accuracies, angle error, dynamic IoU."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums, present, ratio
from stages.evaluation.classes import NUM_CATEGORIES
from stages.evaluation.frame import FrameErrors, FrameTruth, row_norm

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
        rows: scored points  # (K,)
        index: cell of each, flat  # (K,)
        flow: their true total flow  # (K, 3)
        length: its length  # (K,)
    """

    rows: NDArray[np.int64]
    index: NDArray[np.int64]
    flow: NDArray[np.float64]
    length: NDArray[np.float64]


def v1_bins(truth: FrameTruth) -> V1Bins:
    """Scored points of a frame and the cell each belongs to."""
    rows = np.flatnonzero(truth.scored_v1)
    x, y = np.abs(truth.points[rows, 0]), np.abs(truth.points[rows, 1])
    far = (x > CLOSE) | (y > CLOSE)
    index = (truth.category[rows].astype(np.int64) * 2 + truth.dynamic[rows]) * 2 + far
    flow = truth.flow[rows]
    return V1Bins(rows, index, flow, row_norm(flow))


def v1_sums(truth: FrameTruth, bins: V1Bins, errors: FrameErrors) -> FrameSums:
    """Counts and sums of one frame."""
    error = errors.error[bins.rows]
    relative = error / (bins.length + _EPSILON)
    guess = truth.rigid[bins.rows] + errors.residual[bins.rows]
    true, guessed = truth.dynamic[bins.rows], errors.dynamic[bins.rows]
    strict = (error < STRICT) | (relative < STRICT)
    relax = (error < RELAX) | (relative < RELAX)
    hits = int(np.count_nonzero(true & guessed))
    missed = int(np.count_nonzero(true)) - hits
    false = int(np.count_nonzero(guessed)) - hits
    return {
        "v1_count": bin_counts(bins.index, _CELLS),
        "v1_error": bin_sums(bins.index, _CELLS, error),
        "v1_speed": bin_sums(bins.index, _CELLS, truth.speed[bins.rows]),
        "v1_strict": bin_counts(bins.index[strict], _CELLS),
        "v1_relax": bin_counts(bins.index[relax], _CELLS),
        "v1_angle": bin_sums(bins.index, _CELLS, _angle(guess, bins.flow, bins.length)),
        "v1_iou": np.array([hits, missed, false], dtype=np.int64),
    }


def _angle(guess: NDArray[Any], flow: NDArray[Any], length: NDArray[Any]) -> NDArray[np.float64]:
    """Angle between the space-time vectors (g, 0.1) and (f, 0.1), radians  # (K,)."""
    dot = np.einsum("ij,ij->i", guess, flow) + _GAP**2
    square = (np.einsum("ij,ij->i", guess, guess) + _GAP**2) * (length**2 + _GAP**2)
    angle: NDArray[np.float64] = np.arccos(np.clip(dot / np.sqrt(square), -1.0, 1.0))
    return angle


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
    cells = [("Background/Static", 0, 0), ("Foreground/Dynamic", 1, 1), ("Foreground/Static", 1, 0)]
    numbers: dict[str, float] = {}
    for name, mean in means.items():
        for cell, c, m in cells:
            numbers[f"{name}/{cell}/Close"], numbers[f"{name}/{cell}/Far"] = mean[c, m]
    for name, key in sums.items():
        pooled = ratio(_classes(totals[key]).sum(axis=-1), both)
        numbers.update({f"{name}/{cell}": pooled[c, m] for cell, c, m in cells})
    numbers["Dynamic IoU"] = float(ratio(totals["v1_iou"][0], totals["v1_iou"].sum()))
    parts = [numbers[f"EPE/{cell}"] for cell, _, _ in cells]
    numbers["EPE 3-Way Average"] = (parts[1] + parts[2] + parts[0]) / 3
    return present(numbers)


def _classes(cells: NDArray[Any]) -> NDArray[Any]:
    """Sum the categories into background and foreground (2, 2, 2): all thirty, signs and animals included."""
    return np.stack([cells[0], cells[1:].sum(axis=0)])


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
