# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Poses of the sweeps from a file: KITTI, TUM, CSV, Argoverse 2's Feather, or a NumPy array."""

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import make_SE3
from stages.estimation.arrays import load_npy
from stages.estimation.formats import require_file
from stages.estimation.pose_rows import Float64, Rows, from_matrices
from stages.estimation.precision import resolution
from stages.estimation.sequence import stem

_SAME_NS = 1_000_000  # a pose this near in time is the sweep's own
_GAP_NS = 250_000_000  # between poses farther apart than this nothing is interpolated


@dataclass(frozen=True)
class Poses:
    """Poses of the vehicle, that is of the frame which the points are in, in one fixed frame.

    Attributes:
        path: the file.
        world_SE3_ego: (T, 4, 4).
        time_ns: (T,) increasing, or None where the file tells no times.
        resolution: smallest step of their positions as they are stored, m.
    """

    path: Path
    world_SE3_ego: Float64
    time_ns: NDArray[np.int64] | None
    resolution: float


def read_poses(path: Path) -> Poses:
    """Read poses by the kind of the file.

    `.csv`, `.feather` and `.parquet` are tables by column names, `.npy` is an array (T, 4, 4) or (T, 3, 4); any other
    file is text with 12 numbers a row (KITTI: a 3x4 matrix) or 8 (TUM: seconds tx ty tz qx qy qz qw).

    Raises:
        InputError: the file is missing, of another layout, not rigid, not finite, or its times do not increase.
    """
    rows = _rows(require_file(path))
    if not len(rows.world_SE3_ego):
        raise InputError(f"{path} holds no pose")
    if rows.time_ns is not None and (np.diff(rows.time_ns) <= 0).any():
        row = int(np.flatnonzero(np.diff(rows.time_ns) <= 0)[0]) + 2
        raise InputError(f"{path} has in row {row} a time that is not after the one before; sort its rows by time")
    return Poses(path, rows.world_SE3_ego, rows.time_ns, resolution(rows.positions))


def sweep_poses(poses: Poses, files: list[Path], time_ns: list[int] | None) -> tuple[Float64, list[int] | None]:
    """The pose of each sweep (S, 4, 4), and the sweeps' times where names or poses tell them.

    Where sweeps and poses have times, these are matched, with interpolation between poses that lie close together.
    Else there must be one pose a sweep, or names that are numbers of rows, as KITTI's.

    Raises:
        InputError: the poses do not belong to the sweeps.
    """
    if poses.time_ns is not None and time_ns is not None:
        times = poses.time_ns.tolist()
        return np.stack([_at(poses, times, t, file) for t, file in zip(time_ns, files, strict=True)]), time_ns
    if len(poses.world_SE3_ego) == len(files):
        return poses.world_SE3_ego, time_ns if poses.time_ns is None else poses.time_ns.tolist()
    names = [stem(file) for file in files]
    if poses.time_ns is None and all(name.isdigit() and int(name) < len(poses.world_SE3_ego) for name in names):
        return poses.world_SE3_ego[[int(name) for name in names]], time_ns
    raise InputError(
        f"{poses.path} has {len(poses.world_SE3_ego)} poses for {len(files)} sweeps, and the sweeps' names are neither "
        "times of poses nor numbers of rows; give one pose a sweep"
    )


def _rows(path: Path) -> Rows:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".feather", ".parquet"):
        from stages.estimation.pose_tables import read_pose_table

        return read_pose_table(path)
    if suffix == ".npy":
        return _array(path)
    from stages.estimation.pose_text import read_pose_text

    return read_pose_text(path)


def _array(path: Path) -> Rows:
    array = load_npy(path)
    if array.ndim != 3 or array.shape[1:] not in ((4, 4), (3, 4)) or array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {array.shape} of {array.dtype}; wanted poses (T, 4, 4) or (T, 3, 4)")
    return from_matrices(path, array)


def _at(poses: Poses, times: list[int], time: int, file: Path) -> Float64:
    """The pose at a time: a stored one, or between two by a straight line and an even turn."""
    from scipy.spatial.transform import Rotation, Slerp

    after = bisect_left(times, time)
    around = [row for row in (after - 1, after) if 0 <= row < len(times)]
    nearest = min(around, key=lambda row: abs(times[row] - time))
    if abs(times[nearest] - time) <= _SAME_NS:
        stored: Float64 = poses.world_SE3_ego[nearest]
        return stored
    if len(around) < 2 or times[after] - times[after - 1] > _GAP_NS:
        raise InputError(
            f"{poses.path} has no pose at the time of sweep {file.name} (the nearest is "
            f"{(times[nearest] - time) / 1e9:+.3f} s away); give poses of the same clock that cover all sweeps"
        )
    start, stop = poses.world_SE3_ego[after - 1], poses.world_SE3_ego[after]
    share = (time - times[after - 1]) / (times[after] - times[after - 1])
    turn = Slerp([0, 1], Rotation.from_matrix(np.stack([start[:3, :3], stop[:3, :3]])))(share)
    return make_SE3(turn.as_matrix(), (1 - share) * start[:3, 3] + share * stop[:3, 3])
