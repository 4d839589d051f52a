# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion from the clouds themselves: iterative closest point, point to plane, with a robust weight.

Method: Chen and Medioni 1992 (distance to the tangent plane of the nearest point), Geman and McClure's weight, reach
and scale made smaller from step to step, so that first the scene and then its details are brought together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.geometry import make_SE3, transform_points

Float64 = NDArray[np.float64]

_SOURCE_CELL, _TARGET_CELL = 0.6, 0.3  # m, one point of each cubic cell is kept
_SOURCE_POINTS = 6000  # at most
_NEIGHBOURS = 12  # of a point, that give its plane
_FLATNESS = 0.08  # largest share of the thickness in the spread of these, else the point has no plane
_LINE = 0.02  # least share of the second direction: below it they lie on a line, as in one ring of a lidar
_REACHES = (4.0, 2.0, 1.0, 0.5, 0.25)  # m, points farther from their neighbour do not count
_STEPS = 12  # of each reach
_STILL = 1e-4  # m and rad, a step this short ends a reach
_STARTS = (0.0, 1.5, 3.0, -1.5)  # m along x, tried where no motion is expected: up to 30 m/s at 10 Hz
_COST_CAP = 0.3  # m
_OVERLAP = 0.5  # m, a point with a plane this near is seen in both sweeps
_FEWEST = 30  # pairs of points that six unknowns want


@dataclass(frozen=True)
class Fit:
    """How well one cloud lies on another.

    Attributes:
        cost: mean distance to the nearest planes, each counted up to 0.3 m, m; compares motions of one pair.
        residual: median distance to the planes of the points that overlap, m; NaN where none does.
        overlap: share of the points with a plane within 0.5 m.
    """

    cost: float
    residual: float
    overlap: float


class Scene:
    """The still part of a sweep as points with planes, to lay other sweeps on.

    Args:
        points: finite points, m  # (N, 3)
    """

    def __init__(self, points: NDArray[np.floating]) -> None:
        kept = thinned(points, _TARGET_CELL)
        count = min(_NEIGHBOURS, len(kept))
        _, rows = cKDTree(kept).query(kept, k=count) if count >= 3 else (None, np.zeros((0, 3), dtype=np.int64))
        values, vectors = np.linalg.eigh(_covariances(kept[rows]))
        flat = (values[:, 0] <= _FLATNESS * values[:, 1]) & (values[:, 1] > _LINE * values[:, 2])
        self._points: Float64 = kept[: len(flat)][flat]
        self._normals: Float64 = vectors[flat, :, 0]
        self._tree = cKDTree(self._points)

    def pairs(self, points: Float64, reach: float) -> tuple[NDArray[np.int64], Float64, Float64]:
        """Rows (K,) of the points (N, 3) with a plane within reach, its normal (K, 3) and its distance (K,), m."""
        distance, index = self._tree.query(points, distance_upper_bound=reach)
        rows = np.flatnonzero(np.isfinite(distance))
        normals = self._normals[index[rows]]
        return rows, normals, np.einsum("ij,ij->i", points[rows] - self._points[index[rows]], normals)

    def fit(self, points: Float64, scene_SE3_points: Float64) -> Fit:
        """How well points (N, 3) lie on the scene after a motion."""
        moved = transform_points(scene_SE3_points, points)
        rows, _, distance = self.pairs(moved, _OVERLAP)
        if not len(rows):
            return Fit(_COST_CAP, float("nan"), 0.0)
        near = np.abs(distance)
        missed = (len(points) - len(rows)) * _COST_CAP
        cost = (np.minimum(near, _COST_CAP).sum() + missed) / len(points)
        return Fit(float(cost), float(np.median(near)), len(rows) / len(points))

    def distances(self, points: Float64, scene_SE3_points: Float64) -> Float64:
        """Distance of each point (N, 3) to its plane after a motion, m, at most 0.3, which stands for none too (N,)."""
        rows, _, distance = self.pairs(transform_points(scene_SE3_points, points), _REACHES[0])
        result = np.full(len(points), _COST_CAP)
        result[rows] = np.minimum(np.abs(distance), _COST_CAP)
        return result


def source_points(points: NDArray[np.floating]) -> Float64:
    """The points of a sweep (N, 3) that registration moves: thinned, at most 6000."""
    kept = thinned(points, _SOURCE_CELL)
    return kept[:: max(1, -(-len(kept) // _SOURCE_POINTS))]


def register(
    points: Float64, scene: Scene, guess: Float64 | None = None, reaches: Sequence[float] = _REACHES
) -> Float64:
    """The motion (4, 4) that lays points (N, 3) on a scene.

    Args:
        points: of `source_points`.
        scene: the other sweep.
        guess: motion to begin with; None tries some along x and takes the best.
        reaches: m, the distances within which neighbours count, from coarse to fine.
    """
    starts = [make_SE3(np.eye(3), (x, 0, 0)) for x in _STARTS] if guess is None else [guess]
    if len(starts) > 1:
        coarse = [_settled(points, scene, start, reaches[:2]) for start in starts]
        starts = [min(coarse, key=lambda motion: scene.fit(points, motion).cost)]
    return _settled(points, scene, starts[0], reaches)


def thinned(points: NDArray[np.floating], cell: float) -> Float64:
    """The first point (K, 3) of each cubic cell, in the order of the points."""
    values = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    bound = 1 << 20  # 21 bits an axis; what lies beyond hundreds of km is one cell of garbage
    keys = np.clip(np.floor(values / cell), -bound, bound - 1).astype(np.int64) + bound
    packed = (keys[:, 0] << 42) | (keys[:, 1] << 21) | keys[:, 2]
    kept: Float64 = values[np.sort(np.unique(packed, return_index=True)[1])]
    return kept


def _settled(points: Float64, scene: Scene, start: Float64, reaches: Sequence[float]) -> Float64:
    motion = start
    for reach in reaches:
        for _ in range(_STEPS):
            step = _step(transform_points(motion, points), scene, reach)
            if step is None:
                return motion
            motion = _exponential(step) @ motion
            if np.abs(step).max() < _STILL:
                break
    return motion


def _step(moved: Float64, scene: Scene, reach: float) -> Float64 | None:
    """The small turn and shift (6,) that brings points nearest to their planes; None where too few have one."""
    rows, normals, distance = scene.pairs(moved, reach)
    if len(rows) < _FEWEST:
        return None
    weight = (1 + (distance / (0.5 * reach)) ** 2) ** -2
    jacobian = np.concatenate([np.cross(moved[rows], normals), normals], axis=1)  # (K, 6)
    normal_matrix = jacobian.T @ (weight[:, None] * jacobian) + 1e-6 * len(rows) * np.eye(6)
    step: Float64 = np.linalg.solve(normal_matrix, -jacobian.T @ (weight * distance))
    return step


def _exponential(step: Float64) -> Float64:
    from scipy.spatial.transform import Rotation

    return make_SE3(Rotation.from_rotvec(step[:3]).as_matrix(), step[3:])


def _covariances(groups: Float64) -> Float64:
    """Covariances (N, 3, 3) of groups of points (N, K, 3)."""
    centred = groups - groups.mean(axis=1, keepdims=True)
    result: Float64 = np.einsum("nki,nkj->nij", centred, centred) / max(1, groups.shape[1])
    return result
