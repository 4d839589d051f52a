# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
from scipy.spatial.transform import Rotation

from models.geometry import make_SE3
from stages.labels.interior import PointsByColumn


def test_faces_belong_to_the_box() -> None:
    on_faces = [[3.0, 0.0, 0.0], [3.0, 0.5, 1.0], [1.0, -0.5, -1.0]]
    outside = [[3.0000002, 0.0, 0.0], [0.9999999, 0.0, 0.0], [2.0, 0.51, 0.0]]
    points = np.array(on_faces + outside)
    pose = make_SE3(np.eye(3), [2.0, 0.0, 0.0])
    rows = PointsByColumn(points).inside(pose, np.array([2.0, 1.0, 2.0]))
    assert sorted(rows.tolist()) == [0, 1, 2]


def test_rotated_box() -> None:
    # 4 m long, turned by 90 degrees: it now reaches 2 m along y and 0.5 m along x.
    pose = make_SE3(Rotation.from_euler("z", 90, degrees=True).as_matrix(), [-7.0, 10.0, 0.0])
    points = np.array([[-7.0, 11.9, 0.0], [-5.1, 10.0, 0.0], [-6.6, 8.1, 0.4], [-6.4, 8.1, 0.4]])
    rows = PointsByColumn(points).inside(pose, np.array([4.0, 1.0, 1.0]))
    assert sorted(rows.tolist()) == [0, 2]


def test_equal_to_testing_every_point() -> None:
    rng = np.random.default_rng(5)
    points = rng.uniform(-40, 40, (5000, 3)).astype(np.float16)
    points[:, 2] *= np.float16(0.05)
    cloud = PointsByColumn(points)
    hits = 0
    for _ in range(50):
        rotation, centre = Rotation.random(rng=rng).as_matrix(), rng.uniform(-42, 42, 3) * [1, 1, 0.02]
        size = rng.uniform(0.5, 12, 3)
        local = (points.astype(np.float64) - centre) @ rotation
        expected = np.flatnonzero((np.abs(local) <= size / 2).all(axis=1))
        assert np.array_equal(np.sort(cloud.inside(make_SE3(rotation, centre), size)), expected)
        hits += len(expected)
    assert hits > 100


def test_no_points_and_points_out_of_every_reach() -> None:
    size, pose = np.array([2.0, 2.0, 2.0]), make_SE3(np.eye(3), [0.0, 0.0, 0.0])
    assert len(PointsByColumn(np.zeros((0, 3), np.float16)).inside(pose, size)) == 0
    far = np.array([[65504.0, 0, 0], [-65504.0, 0, 0]], dtype=np.float16)
    assert len(PointsByColumn(far).inside(pose, size)) == 0
