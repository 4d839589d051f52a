# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the points of a simulated log mean: ego motion, boxes, counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stages.simulator.boxes import annotate, rotation_to_quaternion
from stages.simulator.log import build_log, log_generator
from stages.simulator.sweep import SCENERY, cast_sweep
from tests.simulator.conftest import scene_parameters
from tests.simulator.logs import inside, read_log, sizes


def test_num_interior_pts_is_what_av2_counts(val_log: Path) -> None:
    from av2.geometry.geometry import compute_interior_points_mask
    from av2.geometry.se3 import SE3
    from av2.structures.cuboid import Cuboid

    log = read_log(val_log)
    table, pose = log.boxes_at(1)
    counts = []
    for T, size in zip(pose, sizes(table), strict=True):
        cuboid = Cuboid(SE3(T[:3, :3], T[:3, 3]), size[0], size[1], size[2], None, 0)
        counts.append(int(compute_interior_points_mask(log.points[1], cuboid.vertices_m).sum()))
    assert counts == table["num_interior_pts"].tolist()
    assert sum(counts) > 500


def test_tracks_keep_their_size_and_some_are_missing_in_one_sweep(val_log: Path) -> None:
    log = read_log(val_log)
    tracks = [set(log.boxes_at(t)[0]["track_uuid"]) for t in range(len(log.stamps))]
    assert any(a - b for a, b in zip(tracks, tracks[1:], strict=False))
    for t in range(len(log.stamps)):
        table, _ = log.boxes_at(t)
        assert len(set(table["track_uuid"])) == len(table["track_uuid"])
    size = sizes(log.boxes)
    for track in tracks[0]:
        assert np.ptp(size[log.boxes["track_uuid"] == track], axis=0).max() == 0.0


def test_points_of_each_actor_lie_in_its_box() -> None:
    parameters = scene_parameters(steps=400)
    log = build_log(log_generator(5, "val", 0), parameters, 0, 3)
    generator = log_generator(5, "val", 0)
    owned = outside = 0
    for stamp, start in zip(log.stamps, log.starts, strict=True):
        sweep = cast_sweep(log.scene, parameters.lidar, float(stamp), float(start), generator)
        boxes = annotate(log.scene.actors, log.scene.ego, parameters.lidar, sweep, float(stamp), float(start))
        for actor, pose, size in zip(boxes.actor, boxes.ego_SE3_box, boxes.size, strict=True):
            points = sweep.xyz[sweep.owner == actor].astype(np.float64)
            owned += len(points)
            # 0.2 m longer and wider, as the official labels grow a box
            outside += int((~inside(points, pose, size + [0.2, 0.2, 0.02])).sum())
    assert owned > 5000
    assert outside / owned < 0.01  # those of actors that the end of the sweep meets again


def test_boxes_move_their_points_onto_the_next_sweep(val_log: Path) -> None:
    log = read_log(val_log)
    before, pose0 = log.boxes_at(0)
    after, pose1 = log.boxes_at(1)
    row = {track: k for k, track in enumerate(after["track_uuid"])}
    tree = cKDTree(log.points[1])
    cars = [k for k in range(len(pose0)) if before["num_interior_pts"][k] > 60 and before["track_uuid"][k] in row]
    assert len(cars) >= 3
    for k in cars:
        points = log.points[0][inside(log.points[0], pose0[k], sizes(before)[k])]
        moved = (points - pose0[k][:3, 3]) @ pose0[k][:3, :3] @ pose1[row[before["track_uuid"][k]]][:3, :3].T
        distance, _ = tree.query(moved + pose1[row[before["track_uuid"][k]]][:3, 3])
        assert np.median(distance) < 0.25  # beams of a coarse test lidar lie 0.2 m apart


def test_static_surfaces_coincide_after_ego_motion() -> None:
    """Facades: points of the second sweep lie in the planes through those of the first."""
    parameters = scene_parameters(noise_m=0.0, steps=400)
    log = build_log(log_generator(6, "val", 0), parameters, 0, 4)
    generator = log_generator(6, "val", 0)
    sweeps = [cast_sweep(log.scene, parameters.lidar, float(log.stamps[k]), 0.0, generator) for k in (0, 3)]
    ego = log.scene.ego.local_SE3_ego(log.stamps[[0, 3]])
    assert np.linalg.norm(ego[1, :2, 3] - ego[0, :2, 3]) > 1.0
    clouds = []
    for sweep, pose in zip(sweeps, ego, strict=True):
        still = (sweep.owner == SCENERY) & (np.abs(sweep.xyz[:, :2]).max(axis=1) < 32)
        clouds.append(sweep.xyz[still].astype(np.float64) @ pose[:3, :3].T + pose[:3, 3])
    distance, index = cKDTree(clouds[0]).query(clouds[1], k=6)
    near = clouds[0][index]
    spread = near - near.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))
    flat = (values[:, 0] < 0.02 * values[:, 1]) & (values[:, 1] > 1e-3) & (distance[:, -1] < 0.6)
    residual = np.abs(np.einsum("ni,ni->n", clouds[1] - near.mean(axis=1), vectors[:, :, 0]))[flat]
    assert flat.sum() > 500
    # float16 steps are 0.016 m from 16 m on and 0.031 m from 32 m on
    assert np.median(residual) < 0.012 and np.percentile(residual, 95) < 0.04


def test_quaternions_turn_back_into_their_rotations() -> None:
    from scipy.spatial.transform import Rotation

    rotation = Rotation.random(200, random_state=1).as_matrix()
    rotation[:3] = Rotation.from_euler("xyz", [[np.pi, 0, 0], [0, np.pi, 0], [0, 0, np.pi]]).as_matrix()
    q = rotation_to_quaternion(rotation)
    np.testing.assert_allclose(Rotation.from_quat(q[:, [1, 2, 3, 0]]).as_matrix(), rotation, atol=1e-12)
    assert np.linalg.norm(q, axis=1) == pytest.approx(1.0)
