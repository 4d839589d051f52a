# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""All metric families of one frame, and of totals over frames."""

from collections.abc import Sequence
from typing import Any

from stages.evaluation.accumulate import FrameSums, Totals
from stages.evaluation.frame import FrameErrors, FrameTruth
from stages.evaluation.opensceneflow import opensceneflow_bins, opensceneflow_metrics, opensceneflow_sums
from stages.evaluation.ranges import range_bins, range_metrics, range_sums
from stages.evaluation.v1 import threeway, v1_bins, v1_metrics, v1_sums
from stages.evaluation.v2 import v2_bins, v2_metrics, v2_sums, v2_threeway

FAMILIES = ("v1", "v2", "range", "opensceneflow")
Metrics = dict[str, Any]


class FrameScorer:
    """Scores predictions of one frame; what depends on labels alone is worked out once.

    Args:
        truth: the frame.
        families: which of `FAMILIES` to compute.
    """

    def __init__(self, truth: FrameTruth, families: Sequence[str] = FAMILIES) -> None:
        self._truth = truth
        self._v1 = v1_bins(truth) if "v1" in families else None
        self._v2 = v2_bins(truth) if "v2" in families else None
        self._range = range_bins(truth.scored_range, truth.points, truth.speed) if "range" in families else None
        self._osf = opensceneflow_bins(truth) if "opensceneflow" in families else None

    def sums(self, errors: FrameErrors) -> FrameSums:
        """Counts and sums of a prediction, of all families."""
        sums: FrameSums = {}
        if self._v1 is not None:
            sums.update(v1_sums(self._truth, self._v1, errors))
        if self._v2 is not None:
            sums.update(v2_sums(self._v2, errors))
        if self._range is not None:
            sums.update(range_sums(self._range, errors))
        if self._osf is not None:
            sums.update(opensceneflow_sums(self._truth, self._osf, errors))
        return sums


def all_metrics(totals: Totals) -> Metrics:
    """Every number of the families whose totals are there, by the names of the metric file."""
    metrics: Metrics = {}
    if "v2_count" in totals:
        metrics["bucketed"] = v2_metrics(totals)
        metrics["bucketed_all"] = v2_metrics(totals, unlimited=True)
    if "v1_count" in totals:
        metrics["threeway"] = threeway(totals)
    if "v2_count" in totals:
        metrics["threeway_v2"] = v2_threeway(totals)
        metrics["threeway_v2_all"] = v2_threeway(totals, unlimited=True)
    if "range_count" in totals:
        metrics["range"] = range_metrics(totals)
    if "v1_count" in totals:
        metrics["v1"] = v1_metrics(totals)
    if "osf_count" in totals:
        metrics["opensceneflow"] = opensceneflow_metrics(totals)
    return metrics
