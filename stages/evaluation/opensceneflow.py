# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The local metrics of OpenSceneFlow, which papers quote and which are not the official ones.

A circle of 35 m around the lidar instead of a box; three-way and IoU are means over frames, in which a frame
without such points counts as 0 (a group that occurs in no frame is absent); all background points count as static
whatever their speed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.bins import bin_counts, bin_sums, cells, present
from stages.evaluation.buckets import BUCKETS
from stages.evaluation.classes import META_CLASSES
from stages.evaluation.frame import FrameErrors, FrameTruth
from stages.evaluation.ranges import RangeBins, range_bins, range_metrics, range_sums
from stages.evaluation.v2 import bucketed

_RADIUS = 35.0  # m in x and y, inclusive
_IOU_EPSILON = 1e-6
_TABLE = (len(META_CLASSES), BUCKETS)
_NAMES = ("bs", "bd", "fs", "fd")  # background or foreground, static or dynamic
_GROUPS = (len(_NAMES),)


@dataclass(frozen=True)
class OpenSceneFlowBins:
    """The label side, the same for every prediction of a frame.

    Attributes:
        scored: scored points in the circle  # (N,)
        group: background static and dynamic, foreground static and dynamic, of each point  # (N,)
        cell: cell of each point in the bucket table  # (N,)
        distances: the range-wise table's bins, outside the circle too.
        fixed: sums that no prediction changes.
    """

    scored: NDArray[np.bool_]
    group: NDArray[np.intp]
    cell: NDArray[np.intp]
    distances: RangeBins
    fixed: FrameSums


def opensceneflow_bins(truth: FrameTruth) -> OpenSceneFlowBins:
    """The cells that each point of a frame belongs to."""
    eligible = truth.scored_v1 & truth.scored_range  # the official mask zips leave some ground in
    x, y = truth.sensor_points[:, 0], truth.sensor_points[:, 1]
    scored = eligible & (x * x + y * y <= _RADIUS**2)
    group = cells(scored, (truth.category > 0) * np.int8(2) + truth.dynamic, _GROUPS)
    points = bin_counts(group, _GROUPS)
    meta = truth.meta
    bucket = np.where(meta > 0, truth.bucket, 0)
    cell = cells(scored & (meta >= 0), meta * BUCKETS + bucket, _TABLE)
    fixed: FrameSums = {
        "osf_frames": np.ones(1, dtype=np.int64),
        "osf_groups": points,
        "osf_count": bin_counts(cell, _TABLE),
        "osf_speed": bin_sums(cell, _TABLE, truth.speed),
    }
    return OpenSceneFlowBins(scored, group, cell, range_bins(eligible, truth.sensor_points, truth.speed), fixed)


def opensceneflow_sums(truth: FrameTruth, bins: OpenSceneFlowBins, errors: FrameErrors) -> FrameSums:
    """Counts and sums of one frame; its three-way errors enter as the frame's means."""
    means = bin_sums(bins.group, _GROUPS, errors.error) / np.maximum(bins.fixed["osf_groups"], 1)
    true, guessed = bins.scored & truth.dynamic, bins.scored & errors.dynamic
    union = np.count_nonzero(true | guessed)
    iou = np.count_nonzero(true & guessed) / (union + _IOU_EPSILON)
    return {
        **bins.fixed,
        "osf_union": np.array([union], dtype=np.int64),
        "osf_means": np.append(means, iou),
        "osf_error": bin_sums(bins.cell, _TABLE, errors.error),
        **range_sums(bins.distances, errors, "osf_range"),
    }


def opensceneflow_metrics(totals: Totals) -> dict[str, dict[str, object]]:
    """Three-way, bucketed and range-wise numbers by the rules of this module."""
    return {
        "threeway": dict(_threeway(totals)),
        "bucketed": dict(bucketed(totals["osf_count"], totals["osf_error"], totals["osf_speed"])),
        "range": dict(range_metrics(totals, "osf_range")),
    }


def _threeway(totals: Totals) -> dict[str, float]:
    """Means over frames; a group that has points in some frame is 0 in the others, one that has none is absent."""
    there = np.append(totals["osf_groups"], totals["osf_union"]) > 0
    values = np.where(there, totals["osf_means"] / max(int(totals["osf_frames"][0]), 1), np.nan)
    means = dict(zip((*_NAMES, "dynamic_iou"), values.tolist(), strict=True))
    mean = (means["fd"] + means["fs"] + means["bs"]) / 3
    return present({"mean": mean, **{name: means[name] for name in ("fd", "fs", "bs", "dynamic_iou")}})
