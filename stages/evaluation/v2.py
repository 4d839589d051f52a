# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of AV2's second scene-flow challenge: end-point error in buckets of speed, normalised by it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums, cells, mean_present, present, ratio
from stages.evaluation.buckets import BUCKETS
from stages.evaluation.classes import META_CLASSES
from stages.evaluation.frame import FrameErrors, FrameTruth

_THREEWAY_DYNAMIC = 0.05  # m a frame; the challenge's own three-way metric splits here

TABLE = (len(META_CLASSES), BUCKETS, 2)  # meta class, bucket, near or far
THREEWAY_TABLE = (2, 2, 2)  # background or foreground, static or dynamic, near or far

Table = NDArray[np.float64]


@dataclass(frozen=True)
class V2Bins:
    """The label side of v2, the same for every prediction of a frame.

    Attributes:
        cell: cell of each point in the bucket table  # (N,)
        threeway: cell of each point in the three-way table  # (N,)
        fixed: sums that no prediction changes.
    """

    cell: NDArray[np.intp]
    threeway: NDArray[np.intp]
    fixed: FrameSums


def v2_bins(truth: FrameTruth) -> V2Bins:
    """The cells that each point of a frame belongs to; a point of no meta class is not scored."""
    meta = truth.meta
    scored, far = truth.scored_v2 & (meta >= 0), ~truth.near_v2
    cell = cells(scored, (meta * BUCKETS + truth.bucket) * 2 + far, TABLE)
    moving = truth.speed >= _THREEWAY_DYNAMIC
    threeway = cells(scored, ((meta > 0) * np.int8(2) + moving) * 2 + far, THREEWAY_TABLE)
    fixed: FrameSums = {
        "v2_count": bin_counts(cell, TABLE),
        "v2_speed": bin_sums(cell, TABLE, truth.speed),
        "v2_threeway_count": bin_counts(threeway, THREEWAY_TABLE),
    }
    return V2Bins(cell, threeway, fixed)


def v2_sums(bins: V2Bins, errors: FrameErrors) -> FrameSums:
    """Counts and sums of one frame."""
    return {
        **bins.fixed,
        "v2_error": bin_sums(bins.cell, TABLE, errors.error),
        "v2_threeway_error": bin_sums(bins.threeway, THREEWAY_TABLE, errors.error),
    }


def class_errors(count: NDArray[Any], error: NDArray[Any], speed: NDArray[Any]) -> tuple[Table, Table]:
    """Static and dynamic error of each class.

    Args:
        count: points of each class and bucket  # (..., C, B)
        error: their summed end-point error, metres  # (..., C, B)
        speed: their summed speed, m a frame  # (..., C, B)

    Returns:
        mean error in the first bucket, metres, and mean over the filled other buckets of error by speed, a
        ratio of means; NaN where there are no points  # (..., C) each
    """
    static = ratio(error[..., 0], count[..., 0])
    filled = count[..., 1:] > 0
    normalised = np.where(filled, ratio(error[..., 1:], speed[..., 1:]), 0.0)
    return static, ratio(normalised.sum(axis=-1), filled.sum(axis=-1))


def bucketed(count: NDArray[Any], error: NDArray[Any], speed: NDArray[Any]) -> dict[str, dict[str, float]]:
    """Report of tables (C, B) as `{"dynamic": {...}, "static": {...}}`; absent classes are left out."""
    static, dynamic = class_errors(count, error, speed)
    return {"dynamic": with_mean(META_CLASSES, dynamic), "static": with_mean(META_CLASSES, static)}


def with_mean(names: tuple[str, ...], values: NDArray[Any]) -> dict[str, float]:
    """Values by name after their unweighted mean, all of them only where they exist."""
    numbers = [float(value) for value in values]
    return present({"mean": mean_present(numbers), **dict(zip(names, numbers, strict=True))})


def region(totals: Totals, name: str, unlimited: bool) -> NDArray[Any]:
    """A v2 table within 35 m, or in the whole crop."""
    table: NDArray[Any] = totals[name]
    return table.sum(axis=-1) if unlimited else table[..., 0]


def v2_metrics(totals: Totals, unlimited: bool = False) -> dict[str, dict[str, float]]:
    """The bucket-normalised errors within 35 m, or in the whole crop."""
    return bucketed(*(region(totals, f"v2_{part}", unlimited) for part in ("count", "error", "speed")))


def v2_threeway(totals: Totals, unlimited: bool = False) -> dict[str, dict[str, float]]:
    """The challenge's own three-way errors, metres: v2's points, signs and animals not among them."""
    count, error = (region(totals, f"v2_threeway_{part}", unlimited) for part in ("count", "error"))
    mean = ratio(error, count)  # (2, 2)
    names = ("background", "foreground")
    return {"dynamic": with_mean(names, mean[:, 1]), "static": with_mean(names, mean[:, 0])}
