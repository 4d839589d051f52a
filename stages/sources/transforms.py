# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Times and rigid transforms of a log, checked: the faults that every kind of data set can have."""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import orthonormal

_TOLERANCE = 1e-3  # of R Rᵀ against the identity: rotations of four digits pass, a scale of 0.1 % does not
_ROUNDING = 1e-12  # likewise: more is no rounding of double precision but of the numbers that were stored


def require_increasing(times: NDArray[np.int64], log_id: str, name: str, remedy: str) -> None:
    """Refuse sweep times (T,) in ns that do not increase; InputError names the first."""
    bad = np.flatnonzero(np.diff(times) <= 0)
    if len(bad):
        row = int(bad[0]) + 1
        raise InputError(
            f"log {log_id}: {name} does not increase at row {row} ({times[row - 1]} ns, then {times[row]} ns); {remedy}"
        )


def require_transforms(
    transforms: NDArray[np.floating], count: int, log_id: str, name: str, remedy: str
) -> NDArray[np.float64]:
    """Rigid transforms (T, 4, 4) in double precision, checked one by one.

    Where `R Rᵀ` is off the identity by more than 1e-12, because numbers were stored with few digits, the nearest
    rotation takes the place of R: with four digits `Rᵀ R` moves points 50 m away by half a centimetre, with three by
    ten times as much. All other transforms are returned as they are given.

    Args:
        transforms: (T, 4, 4), or (T, 3, 4) without the last row.
        count: T that is wanted.
        log_id: log that they belong to.
        name: file that they came from.
        remedy: what to do about a fault of the file.

    Raises:
        InputError: naming the first row that is missing, not finite, no rotation, or left-handed.
    """
    if transforms.ndim != 3 or transforms.shape[1:] not in ((4, 4), (3, 4)):
        raise InputError(f"log {log_id}: {name} has shape {transforms.shape}, wanted (sweeps, 4, 4); {remedy}")
    if len(transforms) != count:
        raise InputError(f"log {log_id}: {name} has {len(transforms)} poses for {count} sweeps; {remedy}")
    full = np.tile(np.eye(4), (count, 1, 1))
    full[:, : transforms.shape[1]] = transforms
    _require_rows(np.asarray(np.isfinite(full).all(axis=(1, 2))), "holds NaN or infinity", log_id, name, remedy)
    R = full[:, :3, :3]
    right = np.asarray(np.linalg.det(R) > 0)
    _require_rows(right, "is left-handed (its determinant is negative: an axis is mirrored)", log_id, name, remedy)
    off = np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max(axis=(1, 2))
    homogeneous = (full[:, 3] == [0, 0, 0, 1]).all(axis=1)
    _require_rows(np.asarray((off <= _TOLERANCE) & homogeneous), "is no rigid transform", log_id, name, remedy)
    rounded = off > _ROUNDING
    full[rounded, :3, :3] = orthonormal(R[rounded])
    return full


def _require_rows(fine: NDArray[np.bool_], fault: str, log_id: str, name: str, remedy: str) -> None:
    bad = np.flatnonzero(~fine)
    if len(bad):
        raise InputError(f"log {log_id}: {name} row {bad[0]} {fault} ({len(bad)} of {len(fine)} rows); {remedy}")
