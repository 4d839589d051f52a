# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What all pose files come down to: rows of rigid transforms, checked, and perhaps their times."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import make_SE3, orthonormal, quaternion_to_rotation

Float64 = NDArray[np.float64]
_RIGID = 1e-3  # by which a rotation may differ from an orthonormal one: what is stored with four digits still passes


class Rows(NamedTuple):
    """Poses as a file gives them."""

    world_SE3_ego: Float64  # (T, 4, 4)
    positions: NDArray[Any]  # (T, 3) m, in the type they are stored in
    time_ns: NDArray[np.int64] | None  # (T,)


def from_matrices(path: Path, matrices: NDArray[Any]) -> Rows:
    """Rows of matrices (T, 3 or 4, 4); InputError if one is not finite or not rigid."""
    matrices = np.asarray(matrices)[:, :3, :]
    _require_finite(path, matrices.reshape(-1, 12))
    rotation = matrices[:, :, :3].astype(np.float64)
    require_rigid(path, rotation)
    return Rows(make_SE3(orthonormal(rotation), matrices[:, :, 3]), matrices[:, :, 3], None)


def from_quaternions(
    path: Path, wxyz: NDArray[Any], positions: NDArray[Any], time_ns: NDArray[np.int64] | None
) -> Rows:
    """Rows of quaternions (T, 4) and positions (T, 3); InputError if one is not finite or no unit quaternion."""
    _require_finite(path, np.concatenate([wxyz, positions], axis=1))
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(wxyz.astype(np.float64), axis=1)
    bad = np.flatnonzero(np.abs(norm - 1) > _RIGID)
    if len(bad):
        raise InputError(f"{path} has in row {bad[0] + 1} a quaternion of length {norm[bad[0]]:.4g}, not 1")
    return Rows(make_SE3(quaternion_to_rotation(wxyz), positions), positions, time_ns)


def require_rigid(path: Path, rotation: Float64) -> None:
    """Refuse matrices (T, 3, 3) that are no rotations within 1e-3."""
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(axis=(1, 2))
    bad = np.flatnonzero(~((off <= _RIGID) & (np.linalg.det(rotation) > 0)))
    if len(bad):
        raise InputError(
            f"{path} has in row {bad[0] + 1} a matrix whose left 3x3 part is no rotation; poses must be rigid, "
            "without scale or mirror"
        )


def _require_finite(path: Path, values: NDArray[Any]) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(f"{path} has {len(bad)} poses with NaN or infinity, the first in row {bad[0] + 1}")
