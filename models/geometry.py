# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms in double precision: ``dst_SE3_src`` maps points of frame src into frame dst."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def make_SE3(rotation: ArrayLike, translation: ArrayLike) -> Float64:
    """Homogeneous transforms from rotations (..., 3, 3) and translations (..., 3) in metres -> (..., 4, 4)."""
    R = np.asarray(rotation, dtype=np.float64)  # (..., 3, 3)
    t = np.asarray(translation, dtype=np.float64)  # (..., 3)
    T = np.zeros((*R.shape[:-2], 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t, 1.0
    return T


def inverse_SE3(dst_SE3_src: Float64) -> Float64:
    """Inverse of rigid transforms (..., 4, 4) in closed form: ``(Rᵀ, -Rᵀ t)``."""
    R_T = np.swapaxes(dst_SE3_src[..., :3, :3], -1, -2)
    return make_SE3(R_T, -(R_T @ dst_SE3_src[..., :3, 3:])[..., 0])


def quaternion_to_rotation(wxyz: ArrayLike) -> Float64:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4) in the order w, x, y, z.

    The quaternion is scaled to unit length, which takes out the rounding of stored values; whether it was
    near unit length at all is for the reader of the file to check.
    """
    q = np.asarray(wxyz, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def orthonormal(rotation: ArrayLike) -> Float64:
    """The nearest rotations (..., 3, 3) to matrices that are rotations but for the rounding of stored numbers."""
    u, _, vt = np.linalg.svd(np.asarray(rotation, dtype=np.float64))
    nearest: Float64 = u @ vt
    return nearest


def transform_points(dst_SE3_src: Float64, points: NDArray[np.floating]) -> Float64:
    """Points (N, 3) of frame src, in metres, expressed in frame dst -> (N, 3) float64."""
    return np.asarray(points, dtype=np.float64) @ dst_SE3_src[:3, :3].T + dst_SE3_src[:3, 3]


def rigid_flow(points: NDArray[np.floating], ego1_SE3_ego0: Float64) -> Float64:
    """Flow of a static scene, ``r = E p - p``, for points (N, 3) of ego frame 0 -> (N, 3) float64, metres."""
    return transform_points(ego1_SE3_ego0, points) - np.asarray(points, dtype=np.float64)
