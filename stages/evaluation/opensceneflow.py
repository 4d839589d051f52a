# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The local metrics of OpenSceneFlow, which papers quote and which are not the official ones.

A circle of 35 m around the lidar instead of a box; three-way and IoU are means over frames, in which a frame
without such points counts as 0; all background points count as static whatever their speed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums
from stages.evaluation.classes import META_CLASSES, META_OF_CATEGORY
from stages.evaluation.frame import FrameErrors, FrameTruth
from stages.evaluation.ranges import RangeBins, range_bins, range_metrics, range_sums
from stages.evaluation.v2 import BUCKETS, bucketed, speed_bucket

_RADIUS = 35.0  # m in x and y, inclusive
_IOU_EPSILON = 1e-6
_TABLE = (len(META_CLASSES), BUCKETS)
_CELLS = ("bs", "bd", "fs", "fd")  # background or foreground, static or dynamic


@dataclass(frozen=True)
class OpenSceneFlowBins:
    """The label side, the same for every prediction of a frame.

    Attributes:
        rows: scored points in the circle  # (K,)
        cell: background static, background dynamic, foreground static, foreground dynamic  # (K,)
        meta_rows: those that belong to a meta class  # (L,)
        index: cell of each in the bucket table, flat  # (L,)
        distances: the range-wise table's bins, outside the circle too.
    """

    rows: NDArray[np.int64]
    cell: NDArray[np.int64]
    meta_rows: NDArray[np.int64]
    index: NDArray[np.int64]
    distances: RangeBins


def opensceneflow_bins(truth: FrameTruth) -> OpenSceneFlowBins:
    """Scored points of a frame and the cells each belongs to."""
    scored = truth.scored_v1 & truth.scored_range  # the official mask zips leave some ground in
    x, y = truth.sensor_points[:, 0], truth.sensor_points[:, 1]
    rows = np.flatnonzero(scored & (x * x + y * y <= _RADIUS**2))
    category = truth.category[rows]
    meta = META_OF_CATEGORY[category]
    meta_rows, meta = rows[meta >= 0], meta[meta >= 0]
    bucket = np.where(meta > 0, speed_bucket(truth.speed[meta_rows]), 0)
    return OpenSceneFlowBins(
        rows=rows,
        cell=(category > 0) * 2 + truth.dynamic[rows],
        meta_rows=meta_rows,
        index=meta * BUCKETS + bucket,
        distances=range_bins(scored, truth.sensor_points, truth.speed),
    )


def opensceneflow_sums(truth: FrameTruth, bins: OpenSceneFlowBins, errors: FrameErrors) -> FrameSums:
    """Counts and sums of one frame; its three-way errors enter as the frame's means."""
    count = np.bincount(bins.cell, minlength=4)
    means = np.bincount(bins.cell, errors.error[bins.rows], minlength=4) / np.maximum(count, 1)
    true, guessed = truth.dynamic[bins.rows], errors.dynamic[bins.rows]
    iou = np.count_nonzero(true & guessed) / (np.count_nonzero(true | guessed) + _IOU_EPSILON)
    return {
        "osf_frames": np.ones(1, dtype=np.int64),
        "osf_means": np.append(means, iou),
        "osf_count": bin_counts(bins.index, _TABLE),
        "osf_error": bin_sums(bins.index, _TABLE, errors.error[bins.meta_rows]),
        "osf_speed": bin_sums(bins.index, _TABLE, truth.speed[bins.meta_rows]),
        **range_sums(bins.distances, errors, "osf_range"),
    }


def opensceneflow_metrics(totals: Totals) -> dict[str, dict[str, object]]:
    """Three-way, bucketed and range-wise numbers by the rules of this module."""
    frames = int(totals["osf_frames"][0])
    means = dict(zip((*_CELLS, "dynamic_iou"), (totals["osf_means"] / max(frames, 1)).tolist(), strict=True))
    mean = (means["fd"] + means["fs"] + means["bs"]) / 3
    names = ("fd", "fs", "bs", "dynamic_iou")
    return {
        "threeway": {"mean": mean, **{name: means[name] for name in names}} if frames else {},
        "bucketed": dict(bucketed(totals["osf_count"], totals["osf_error"], totals["osf_speed"])),
        "range": dict(range_metrics(totals, "osf_range")),
    }
