# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Points and flow as arrays, and the two rules of v1 that a submission follows as a score does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Float64 = NDArray[np.float64]

DYNAMIC_V1 = 0.05  # m a frame, inclusive
V1_BOX = 50.0  # m; v1 scores |x|, |y| up to here in ego frame 0, faces included


def row_norm(vectors: NDArray[np.floating[Any]]) -> Float64:
    """Euclidean norm of each row (N, 3) -> (N,)."""
    length = dot(vectors, vectors)
    return np.sqrt(length, out=length)


def dot(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> Float64:
    """Scalar product of each row of (N, 3) and (N, 3) -> (N,)."""
    # In place: fresh memory costs more than the sums.
    total: Float64 = np.asarray(a[:, 0] * b[:, 0], dtype=np.float64)
    total += a[:, 1] * b[:, 1]
    total += a[:, 2] * b[:, 2]
    return total


def box_distance(points: Float64) -> Float64:
    """Distance max(|x|, |y|) of points (N, 3), whose circles are squares -> (N,)."""
    distance: Float64 = np.maximum(np.abs(points[:, 0]), np.abs(points[:, 1]))
    return distance


def by_columns(vectors: NDArray[np.floating[Any]]) -> Float64:
    """The same (N, 3) in double precision, each of its columns contiguous: x, y and z are worked on in turn."""
    columns: Float64 = np.ascontiguousarray(vectors.T, dtype=np.float64)
    return columns.T


def displacement(points: Float64, dst_SE3_src: Float64) -> Float64:
    """Where a rigid motion takes points, less where they are, ``(R - I) p + t``  # (N, 3)."""
    turn = dst_SE3_src[:3, :3] - np.eye(3)
    moved: Float64 = np.ascontiguousarray(turn) @ points.T  # (3, N)
    moved += dst_SE3_src[:3, 3:]
    return moved.T


def v1_mask(points: Float64, ground: Mask) -> Mask:
    """Points that a v1 submission holds: in the 100 m box and not ground  # (N, 3), (N,) -> (N,)."""
    return ~ground & (box_distance(points) <= V1_BOX)
