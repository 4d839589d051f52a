# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Poses as plain text: KITTI's matrices and calibration, and TUM's times, positions and quaternions."""

from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import make_SE3, orthonormal
from stages.estimation.formats import require_file
from stages.estimation.pose_rows import Float64, Rows, from_matrices, from_quaternions, require_rigid

_KITTI, _TUM = 12, 8  # numbers in a row
_CALIBRATIONS = ("Tr", "Tr_velo_to_cam", "Tr_velo_cam")


def read_pose_text(path: Path) -> Rows:
    """Rows of 12 numbers (KITTI: a 3x4 matrix) or 8 (TUM: seconds tx ty tz qx qy qz qw); # begins a comment."""
    lines = [line.split() for line in path.read_text(errors="replace").splitlines()]
    rows = [words for words in lines if words and not words[0].startswith("#")]
    widths = sorted({len(row) for row in rows})
    if widths not in ([_KITTI], [_TUM]):
        raise InputError(
            f"{path} has {' or '.join(map(str, widths)) or 'no'} numbers a row; wanted 12 (KITTI: a 3x4 matrix) "
            "or 8 (TUM: seconds tx ty tz qx qy qz qw)"
        )
    values = _numbers(path, [word for row in rows for word in row]).reshape(len(rows), -1)
    if widths == [_KITTI]:
        return from_matrices(path, values.reshape(-1, 3, 4))
    return from_quaternions(path, values[:, [7, 4, 5, 6]], values[:, 1:4], _nanoseconds(path, [row[0] for row in rows]))


def read_calibration(path: Path) -> Float64:
    """`camera_SE3_lidar` (4, 4) of KITTI's calib.txt, row `Tr:` or `Tr_velo_to_cam:`; its poses are the camera's."""
    for line in require_file(path).read_text(errors="replace").splitlines():
        name, _, values = line.partition(":")
        if name.strip() in _CALIBRATIONS:
            numbers = _numbers(path, values.split())
            if len(numbers) != _KITTI:
                raise InputError(f"{path} has {len(numbers)} numbers in its row {name}, wanted 12")
            matrix = numbers.reshape(3, 4)
            require_rigid(path, matrix[None, :, :3])
            return make_SE3(orthonormal(matrix[:, :3]), matrix[:, 3])
    raise InputError(f"{path} has no row Tr: or Tr_velo_to_cam: (lidar to camera); is it KITTI's calib.txt?")


def _numbers(path: Path, words: list[str]) -> Float64:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path} holds a word that is no number ({error})") from error


def _nanoseconds(path: Path, seconds: list[str]) -> NDArray[np.int64]:
    """Whole ns of text: a double would hold a time since 1970 to a quarter of a µs only."""
    try:
        return np.array([int(Decimal(text) * 10**9) for text in seconds], dtype=np.int64)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise InputError(f"{path} has a first column that is no time in seconds ({error})") from error
