# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Range-wise error: far points count as much as near ones (SSF, ICRA 2025)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums, ratio
from stages.evaluation.frame import FrameErrors, row_norm
from stages.evaluation.v2 import with_mean

RANGE_EDGES = np.array([35.0, 50.0, 75.0, 100.0])  # m, low edge inside
RANGES = ("0-35", "35-50", "50-75", "75-100", "100-inf")
_FACTOR = 10.0  # frames a second, fixed by the definition
_DYNAMIC = 1.4  # m/s, inclusive

TABLE = (2, len(RANGES))  # static or dynamic, range


@dataclass(frozen=True)
class RangeBins:
    """Scored points (K,) and the cell of each in the table, flat (K,)."""

    rows: NDArray[np.int64]
    index: NDArray[np.int64]


def range_bins(scored: NDArray[np.bool_], points: NDArray[Any], speed: NDArray[np.float64]) -> RangeBins:
    """Cells of the scored points.

    Args:
        scored: points that count  # (N,)
        points: in the frame whose origin distances are taken from, metres  # (N, 3)
        speed: true speed, m a frame  # (N,)
    """
    rows = np.flatnonzero(scored)
    distance = row_norm(points[rows])
    zone = np.zeros(len(rows), dtype=np.int64)
    for edge in RANGE_EDGES:
        zone += distance >= edge
    return RangeBins(rows, (speed[rows] * _FACTOR >= _DYNAMIC) * len(RANGES) + zone)


def range_sums(bins: RangeBins, errors: FrameErrors, prefix: str = "range") -> FrameSums:
    """Counts and sums of one frame, under names that begin with a prefix."""
    return {
        f"{prefix}_count": bin_counts(bins.index, TABLE),
        f"{prefix}_error": bin_sums(bins.index, TABLE, errors.error[bins.rows]),
    }


def range_metrics(totals: Totals, prefix: str = "range") -> dict[str, dict[str, float]]:
    """Error in each range and the unweighted mean of the ranges that have points, metres."""
    mean = ratio(totals[f"{prefix}_error"], totals[f"{prefix}_count"])  # (2, 5)
    return {"dynamic": with_mean(RANGES, mean[1]), "static": with_mean(RANGES, mean[0])}
