# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Range-wise error: far points count as much as near ones (SSF, ICRA 2025)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums, cells, ratio
from stages.evaluation.frame import FrameErrors
from stages.evaluation.points import row_norm
from stages.evaluation.v2 import with_mean

RANGE_EDGES = np.array([35.0, 50.0, 75.0, 100.0])  # m, low edge inside
RANGES = ("0-35", "35-50", "50-75", "75-100", "100-inf")
_FACTOR = 10.0  # frames a second, fixed by the definition
_DYNAMIC = 1.4  # m/s, inclusive

TABLE = (2, len(RANGES))  # static or dynamic, range


@dataclass(frozen=True)
class RangeBins:
    """Cell of each point in the table (N,), and the number of points in each cell."""

    cell: NDArray[np.intp]
    count: NDArray[np.int64]


def range_bins(scored: NDArray[np.bool_], points: NDArray[Any], speed: NDArray[np.float64]) -> RangeBins:
    """The cell that each point belongs to.

    Args:
        scored: points that count  # (N,)
        points: in the frame whose origin distances are taken from, metres  # (N, 3)
        speed: true speed, m a frame  # (N,)
    """
    distance = row_norm(points)
    index = (speed * _FACTOR >= _DYNAMIC) * np.int8(len(RANGES))
    for edge in RANGE_EDGES:
        index += distance >= edge
    cell = cells(scored, index, TABLE)
    return RangeBins(cell, bin_counts(cell, TABLE))


def range_sums(bins: RangeBins, errors: FrameErrors, prefix: str = "range") -> FrameSums:
    """Counts and sums of one frame, under names that begin with a prefix."""
    return {f"{prefix}_count": bins.count, f"{prefix}_error": bin_sums(bins.cell, TABLE, errors.error)}


def range_metrics(totals: Totals, prefix: str = "range") -> dict[str, dict[str, float]]:
    """Error in each range and the unweighted mean of the ranges that have points, metres."""
    mean = ratio(totals[f"{prefix}_error"], totals[f"{prefix}_count"])  # (2, 5)
    return {"dynamic": with_mean(RANGES, mean[1]), "static": with_mean(RANGES, mean[0])}
