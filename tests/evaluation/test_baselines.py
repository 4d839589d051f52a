# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
from scipy.spatial import cKDTree

from models.geometry import make_SE3
from stages.evaluation.baselines import Pair, ego_motion, nearest, no_motion
from tests.evaluation.data import yaw
from tests.evaluation.test_metrics import truth_of


def test_by_hand() -> None:
    forward = make_SE3(np.eye(3), [-1.0, 0, 0])
    truth = truth_of([[5, 0, 0], [9, 0, 0], [7, 7, 0]], np.zeros((3, 3)), [0, 0, 0], ego=forward)
    points1 = np.array([[4.5, 0, 0], [3.25, 0, 0], [10.5, 0, 0]], dtype=np.float32)
    pair = Pair(truth, np.array([True, True, False]), points1)
    assert ego_motion(pair).tolist() == [[0, 0, 0]] * 3
    assert no_motion(pair).tolist() == [[1.0, 0, 0]] * 3
    # 5 moves to 4, nearest 4.5; 9 moves to 8, whose nearest is 2.5 m away; the third is ground.
    assert nearest(pair).tolist() == [[0.5, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_nearest_against_scipy() -> None:
    rng = np.random.default_rng(0)
    points0 = rng.uniform(-20, 20, (3000, 3)).astype(np.float16)
    points1 = rng.uniform(-20, 20, (2500, 3)).astype(np.float16)
    truth = truth_of(points0, np.zeros((3000, 3)), np.zeros(3000), ego=make_SE3(yaw(0.05), [-0.5, 0.1, 0]))
    solid = rng.random(3000) < 0.8
    residual = nearest(Pair(truth, solid, points1))
    moved = truth.points + truth.rigid
    distance, index = cKDTree(points1.astype(np.float64)).query(moved)
    expected = np.where((solid & (distance <= 2.0))[:, None], points1[index].astype(np.float64) - moved, 0.0)
    assert np.allclose(np.linalg.norm(residual, axis=1), np.linalg.norm(expected, axis=1), atol=1e-5)
    assert (np.abs(residual - expected).max(axis=1) < 1e-5).mean() > 0.999  # float32 may decide a near tie otherwise


def test_without_points_in_the_second_sweep() -> None:
    truth = truth_of([[1, 1, 0]], [[0, 0, 0]], [0])
    assert nearest(Pair(truth, np.array([True]), np.zeros((0, 3), dtype=np.float16))).tolist() == [[0, 0, 0]]
