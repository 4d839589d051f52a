# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Registration finds a known motion: exactly where the points are the same, closely where the scene is sampled anew."""

from pathlib import Path

import numpy as np
import pytest

from models.geometry import inverse_SE3, transform_points
from stages.estimation.cloud import Cloud
from stages.estimation.motion import Overlay, turn_deg
from stages.estimation.registration import Scene, register, source_points, thinned
from stages.estimation.validate_pair import check_motion
from tests.estimation.scene import motion, sweep


def test_one_point_of_each_cell_is_kept() -> None:
    points = np.array([[0.1, 0.1, 0.1], [0.2, 0.1, 0.1], [-0.1, 0.1, 0.1], [1.1, 0, 0], [0.3, 0.3, 0.3]])
    np.testing.assert_array_equal(thinned(points, 1.0), points[[0, 2, 3]])


def test_the_angle_of_a_turn() -> None:
    for degrees in (0.0, 1e-4, 30.0, 120.0):
        assert turn_deg(motion(yaw_deg=degrees)) == pytest.approx(degrees, abs=1e-9)


def test_the_same_points_moved_are_laid_back_exactly() -> None:
    points = sweep(motion(), seed=0).astype(np.float64)
    true = motion(x=-0.6, y=0.05, z=0.02, yaw_deg=1.5)
    found = register(source_points(points), Scene(transform_points(true, points)))
    np.testing.assert_allclose(found, true, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("forward", "yaw"), [(0.0, 0.0), (0.8, 2.0), (2.5, -1.0), (3.3, 0.0), (-0.5, 0.3)])
def test_a_street_sampled_anew_gives_the_motion_to_a_centimetre(forward: float, yaw: float) -> None:
    """Noise is 1 cm; the moving car is in the way. 1 cm and 0.05° are a tenth of what a pedestrian walks in 0.1 s."""
    pose1 = motion(x=forward, y=0.02, yaw_deg=yaw)
    scene = Scene(sweep(pose1, seed=2, car_x=1.2))
    points = source_points(sweep(motion(), seed=1))
    found = register(points, scene)
    off = found @ pose1  # ego1_SE3_ego0 is the inverse of the second pose
    assert np.linalg.norm(off[:3, 3]) < 0.01
    assert turn_deg(off) < 0.05
    fit = scene.fit(points, found)
    assert fit.residual < 0.02 and fit.overlap > 0.7
    assert fit.cost <= scene.fit(points, inverse_SE3(pose1)).cost + 1e-3


def test_the_checks_of_a_pair_measure_each_motion_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[bytes] = []
    distances = Scene.distances

    def counted(scene: Scene, points: np.ndarray, transform: np.ndarray) -> np.ndarray:
        measured.append(transform.tobytes())
        return distances(scene, points, transform)

    monkeypatch.setattr(Scene, "distances", counted)
    poses = motion(), motion(x=1.0)
    clouds = [Cloud(Path(f"{i}.npy"), sweep(pose, seed=i), None) for i, pose in enumerate(poses)]
    overlay = Overlay(*clouds)
    assert list(check_motion(overlay, overlay.judged(inverse_SE3(poses[1]), "poses"), timed=True)) == []
    assert len(measured) == len(set(measured)) > 8  # the eight of other units among them


def test_nothing_to_register_gives_the_start_and_no_overlap() -> None:
    scene = Scene(np.zeros((0, 3)))
    points = sweep(motion(), seed=0)[:1000].astype(np.float64)
    np.testing.assert_array_equal(register(points, scene, np.eye(4)), np.eye(4))
    assert scene.fit(points, np.eye(4)).overlap == 0
