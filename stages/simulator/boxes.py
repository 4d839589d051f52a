# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Annotations of one sweep.

Each box stands where its actor was when the beams met it, as a person who fits a box to the points of a sweep puts
it: in a tenth of a second a car drives a metre, and a box at the stamp itself would miss that much of its points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3, make_SE3, transform_points
from stages.simulator.actors import Actors, State
from stages.simulator.ego import Ego
from stages.simulator.lidar import REVOLUTION, passing_time
from stages.simulator.parameters import LidarParameters
from stages.simulator.solids import yaw_rotation
from stages.simulator.sweep import Sweep


@dataclass(frozen=True)
class Boxes:
    """Boxes of one sweep in its ego frame."""

    actor: NDArray[np.intp]  # (B,) row of the actor
    ego_SE3_box: NDArray[np.float64]  # (B, 4, 4)
    size: NDArray[np.float64]  # (B, 3) length, width, height, m
    interior: NDArray[np.int64]  # (B,) points inside, faces included


def annotate(actors: Actors, ego: Ego, lidar: LidarParameters, sweep: Sweep, stamp: float, start: float) -> Boxes:
    """Boxes of all living actors within the lidar's range.

    Args:
        actors: who there is.
        ego: the ego car.
        lidar: what the lidars can do.
        sweep: the points.
        stamp: of the sweep, s.
        start: see `sweep_rays`.
    """
    local_SE3_ego = ego.local_SE3_ego(np.array([stamp]))[0]
    now, then = actors.state(stamp), actors.state(stamp + REVOLUTION)
    place = transform_points(inverse_SE3(local_SE3_ego), now.centre)
    rows = np.flatnonzero(actors.alive(stamp) & (np.hypot(place[:, 0], place[:, 1]) < lidar.range_m))
    met = _meeting_time(sweep, place, lidar, start)
    local_SE3_box = _between(now, then, met)[rows]
    ego_SE3_box = inverse_SE3(local_SE3_ego) @ local_SE3_box
    size = actors.size[rows]
    return Boxes(rows, ego_SE3_box, size, count_inside(sweep.xyz, ego_SE3_box, size))


def _meeting_time(
    sweep: Sweep, place: NDArray[np.float64], lidar: LidarParameters, start: float
) -> NDArray[np.float64]:
    """When the beams met each actor, (A,) s after the stamp: the median of its returns, or when they passed it."""
    met = passing_time(lidar, np.arctan2(place[:, 1], place[:, 0]), start)
    owned = np.flatnonzero(sweep.owner >= 0)
    order = owned[np.argsort(sweep.owner[owned], kind="stable")]  # by owner, and in firing order within
    owner, first, count = np.unique(sweep.owner[order], return_index=True, return_counts=True)
    met[owner] = sweep.offset_ns[order[first + count // 2]] * 1e-9
    return met


def _between(now: State, then: State, met: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses local_SE3_box (A, 4, 4) of actors that move evenly from one state to the other."""
    share = met / REVOLUTION
    centre = now.centre + share[:, None] * (then.centre - now.centre)
    turn = np.arctan2(then.rotation[:, 1, 0], then.rotation[:, 0, 0])
    turn -= np.arctan2(now.rotation[:, 1, 0], now.rotation[:, 0, 0])
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    return make_SE3(yaw_rotation(share * turn) @ now.rotation, centre)


def count_inside(
    points: NDArray[np.floating], ego_SE3_box: NDArray[np.float64], size: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many points (N, 3) lie in each box: poses (B, 4, 4), sizes (B, 3) in m, counts (B,)."""
    cloud = np.asarray(points, dtype=np.float64)
    cloud = cloud[np.argsort(cloud[:, 0], kind="stable")]
    reach = np.linalg.norm(size, axis=1) / 2
    begin = np.searchsorted(cloud[:, 0], ego_SE3_box[:, 0, 3] - reach)
    end = np.searchsorted(cloud[:, 0], ego_SE3_box[:, 0, 3] + reach, side="right")
    out = np.zeros(len(size), dtype=np.int64)
    for row, (pose, half) in enumerate(zip(ego_SE3_box, size / 2, strict=True)):
        near = cloud[begin[row] : end[row]]
        near = near[np.abs(near[:, 1] - pose[1, 3]) <= reach[row]]
        inside = np.abs((near - pose[:3, 3]) @ pose[:3, :3]) <= half
        out[row] = inside.all(axis=1).sum()
    return out


def rotation_to_quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (N, 4), order w, x, y, z, w not negative, of rotations (N, 3, 3)."""
    r = rotation
    trace = [
        1 + r[:, 0, 0] + r[:, 1, 1] + r[:, 2, 2],
        1 + r[:, 0, 0] - r[:, 1, 1] - r[:, 2, 2],
        1 - r[:, 0, 0] + r[:, 1, 1] - r[:, 2, 2],
        1 - r[:, 0, 0] - r[:, 1, 1] + r[:, 2, 2],
    ]
    zy, xz, yx = r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]
    xy, xz_, yz = r[:, 0, 1] + r[:, 1, 0], r[:, 0, 2] + r[:, 2, 0], r[:, 1, 2] + r[:, 2, 1]
    forms = np.stack(
        [
            np.stack([trace[0], zy, xz, yx], axis=1),
            np.stack([zy, trace[1], xy, xz_], axis=1),
            np.stack([xz, xy, trace[2], yz], axis=1),
            np.stack([yx, xz_, yz, trace[3]], axis=1),
        ],
        axis=1,
    )  # (N, 4, 4): the quaternion four times, each scaled by another of its entries
    best = np.argmax(np.stack(trace, axis=1), axis=1)
    q = forms[np.arange(len(r)), best]
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    return np.asarray(np.where(q[:, :1] < 0, -q, q))
