# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of frames written out by hand."""

import json
import math
from typing import Any

import numpy as np
import pytest

from models.geometry import make_SE3
from stages.evaluation.accumulate import Accumulator
from stages.evaluation.buckets import BUCKET_EDGES, speed_bucket
from stages.evaluation.families import FrameScorer, all_metrics
from stages.evaluation.frame import FrameTruth, frame_errors, frame_truth

STILL = np.eye(4)


def truth_of(
    points: Any, flow: Any, category: Any, ego: Any = STILL, valid: Any = None, ground: Any = None, ground2: Any = None
) -> FrameTruth:
    n = len(points)
    none = np.zeros(n, dtype=bool)
    return frame_truth(
        points=np.array(points, dtype=np.float32),
        flow=np.array(flow, dtype=np.float64),
        category=np.array(category, dtype=np.uint8),
        valid=~none if valid is None else np.array(valid),
        ground_v1=none if ground is None else np.array(ground),
        ground_v2=none if ground2 is None else np.array(ground2),
        ego1_SE3_ego0=ego,
    )


def score(truth: FrameTruth, residual: Any) -> dict[str, Any]:
    totals = Accumulator()
    totals.add(FrameScorer(truth).sums(frame_errors(truth, np.array(residual, dtype=np.float32))))
    return all_metrics(totals.totals())


def test_four_points_by_hand() -> None:
    truth = truth_of(
        points=[[1, 2, 0], [3, 4, 1], [40, 0, 0], [5, 5, 0]],
        flow=[[0, 0, 0], [1.0, 0, 0], [0.5, 0, 0], [0, 0, 0]],
        category=[0, 19, 19, 17],
    )
    metrics = score(truth, [[0.25, 0, 0], [0.5, 0, 0], [0.5, 0, 0], [0, 0, 0.125]])
    # Within 35 m one car point in the bucket [1.00, 1.04): error 0.5 at speed 1; in all ranges also one of error 0.
    assert metrics["bucketed"]["dynamic"] == {"mean": 0.5, "car": 0.5}
    assert metrics["bucketed_all"]["dynamic"] == {"mean": 0.25, "car": 0.25}
    assert metrics["bucketed"]["static"] == {"mean": 0.1875, "background": 0.25, "pedestrian": 0.125}
    assert metrics["threeway"] == {
        "mean": pytest.approx((0.25 + 0.125 + 0.25) / 3),
        "fd": 0.25,
        "fs": 0.125,
        "bs": 0.25,
        "dynamic_iou": pytest.approx(2 / 4),
    }
    assert metrics["threeway_v2"]["static"] == {"mean": 0.1875, "background": 0.25, "foreground": 0.125}
    assert metrics["range"]["dynamic"] == {"mean": 0.25, "0-35": 0.5, "35-50": 0.0}
    assert metrics["v1"]["EPE/Foreground/Dynamic/Far"] == 0.0
    assert metrics["v1"]["Accuracy Strict/Foreground/Dynamic"] == 0.5
    assert "EPE/Background/Static/Far" not in metrics["v1"]


def test_angle_error_by_hand() -> None:
    truth = truth_of([[1, 1, 0]], [[0.1, 0, 0]], [19])
    metrics = score(truth, [[0, 0.1, 0]])
    # (0.1, 0, 0, 0.1) against (0, 0.1, 0, 0.1): cosine 1/2.
    assert metrics["v1"]["Angle Error/Foreground/Dynamic"] == pytest.approx(math.pi / 3, abs=1e-7)


def test_edges_of_the_official_regions() -> None:
    points = [[50, 0, 0], [50.03125, 0, 0], [35, 0, 0], [0, -35, 0], [34.96875, 0, 0], [0, 0, 2.5], [48, 0, 0]]
    truth = truth_of(points, np.zeros((7, 3)), np.zeros(7))
    assert truth.scored_v1.tolist() == [True, False, True, True, True, True, True]
    assert truth.scored_v2.tolist() == [False, False, True, True, True, False, False]
    assert truth.near_v2.tolist() == [False, False, False, False, True, True, False]
    assert truth.scored_range.all()


def test_v2_regions_are_those_of_ego_frame_1() -> None:
    forward = make_SE3(np.eye(3), [-2.0, 0, 0])  # the vehicle moves 2 m ahead, points come 2 m nearer
    truth = truth_of([[49, 0, 0], [36, 0, 0], [-34, 0, 0]], [[-2.0, 0, 0]] * 3, [0, 0, 0], ego=forward)
    assert truth.scored_v2.tolist() == [True, True, True]
    assert truth.near_v2.tolist() == [False, True, False]
    assert np.allclose(truth.speed, 0, atol=1e-12)


def test_each_ground_rule_and_validity_remove_points() -> None:
    truth = truth_of(
        np.ones((4, 3)),
        np.zeros((4, 3)),
        [0] * 4,
        valid=[True, True, True, False],
        ground=[True, False, False, False],
        ground2=[False, True, False, False],
    )
    assert truth.scored_v1.tolist() == [False, True, True, False]
    assert truth.scored_v2.tolist() == [True, False, True, False]


def test_bucket_edges_are_inside_below() -> None:
    below = np.nextafter(BUCKET_EDGES[1:], 0)
    assert speed_bucket(BUCKET_EDGES).tolist() == list(range(51))
    assert speed_bucket(below).tolist() == list(range(50))
    assert speed_bucket(np.array([1e9])).tolist() == [50]
    speeds = np.random.default_rng(0).uniform(0, 2.2, 10_000)
    assert np.array_equal(speed_bucket(speeds), np.searchsorted(BUCKET_EDGES, speeds, side="right") - 1)


def test_signs_and_animals_are_foreground_of_v1_and_nothing_in_v2() -> None:
    metrics = score(truth_of([[1, 1, 0]], [[1.0, 0, 0]], [1]), [[1.0, 0, 0]])  # ANIMAL
    assert metrics["v1"]["EPE/Foreground/Dynamic"] == 0.0
    assert metrics["bucketed"] == {"dynamic": {}, "static": {}}


def test_baselines_score_what_their_definition_says() -> None:
    rng = np.random.default_rng(1)
    motion = np.where(rng.random((400, 1)) < 0.5, 1.0, 0.0) * rng.uniform(0.1, 1.5, (400, 3))
    truth = truth_of(rng.uniform(-30, 30, (400, 3)) * [1, 1, 0.05], motion, rng.integers(0, 31, 400))
    ego = score(truth, np.zeros((400, 3)))
    assert ego["bucketed"]["dynamic"]["mean"] == pytest.approx(1.0, abs=1e-12)
    perfect = score(truth, truth.residual)
    assert perfect["bucketed"]["dynamic"]["mean"] == pytest.approx(0.0, abs=1e-7)
    assert perfect["threeway"]["dynamic_iou"] == 1.0


@pytest.mark.parametrize("points", [0, 1, 5])
def test_a_frame_without_valid_points_gives_absent_entries(points: int) -> None:
    shape = (points, 3)
    truth = truth_of(np.ones(shape), np.zeros(shape), np.zeros(points), valid=np.zeros(points, dtype=bool))
    metrics = score(truth, np.zeros(shape))
    for name in ("bucketed", "bucketed_all", "threeway_v2", "threeway_v2_all", "range"):
        assert metrics[name] == {"dynamic": {}, "static": {}}
    assert metrics["threeway"] == {} and metrics["v1"] == {}
    empty = {"dynamic": {}, "static": {}}
    assert metrics["opensceneflow"] == {"threeway": {}, "bucketed": empty, "range": empty}
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_an_empty_frame_changes_no_pooled_number_but_the_frame_means() -> None:
    full = truth_of([[1, 1, 0], [2, 2, 0]], [[1.0, 0, 0], [0, 0, 0]], [19, 0])
    empty = truth_of([[1, 1, 0]], [[0, 0, 0]], [0], valid=[False])
    totals = Accumulator()
    for truth in (full, empty):
        totals.add(FrameScorer(truth).sums(frame_errors(truth, np.zeros_like(truth.points))))
    metrics, alone = all_metrics(totals.totals()), score(full, np.zeros((2, 3)))
    assert metrics["v1"] == alone["v1"] and metrics["bucketed"] == alone["bucketed"]
    # The published local metric counts the empty frame as an error of 0.
    assert metrics["opensceneflow"]["threeway"]["fd"] == alone["opensceneflow"]["threeway"]["fd"] / 2 == 0.5


def test_a_group_of_the_published_local_metric_without_points_is_absent() -> None:
    background = truth_of([[1, 1, 0], [2, 2, 0]], [[0, 0, 0], [0, 0, 0]], [0, 0])
    metrics = score(background, np.zeros((2, 3)))["opensceneflow"]["threeway"]
    assert metrics == {"bs": 0.0}  # nothing moves and nothing was called moving: no IoU either, and so no mean
    false_alarm = score(background, [[1, 0, 0], [0, 0, 0]])["opensceneflow"]["threeway"]
    assert false_alarm == {"bs": 0.5, "dynamic_iou": 0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e6])
def test_refuses_a_prediction_that_is_not_finite(bad: float) -> None:
    truth = truth_of(np.ones((3, 3)), np.zeros((3, 3)), [0, 0, 0])
    residual = np.zeros((3, 3))
    residual[1, 2] = bad
    with pytest.raises(ValueError, match="1 rows are not, the first is row 1"):
        frame_errors(truth, residual)


@pytest.mark.parametrize("shape", [(2, 3), (4, 3), (3, 2)])
def test_refuses_a_wrong_number_of_rows(shape: tuple[int, int]) -> None:
    truth = truth_of(np.ones((3, 3)), np.zeros((3, 3)), [0, 0, 0])
    with pytest.raises(ValueError, match=r"must have shape \(3, 3\)"):
        frame_errors(truth, np.zeros(shape))
