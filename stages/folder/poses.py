# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Times, poses and mounts of a plain log folder."""

import io
import json
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.folder.layout import REMEDY
from stages.sources.adapter import LIDARS
from stages.sources.transforms import require_increasing, require_transforms


def read_times(content: bytes, log_id: str, name: str, sweeps: int) -> NDArray[np.int64]:
    """Time of each sweep in ns  # (T,): whole numbers are nanoseconds, numbers with a point are seconds.

    Raises:
        InputError: another count than sweeps, no number, or times that do not increase.
    """
    if name.endswith(".npy"):
        array = _load(content, log_id, name)
        _require(array.dtype.kind in "iuf" and array.ndim == 1, f"{name} is no list of times", log_id)
        _require(bool(np.isfinite(array).all()), f"{name} holds NaN or infinity", log_id)
        times = np.rint(array * 1e9).astype(np.int64) if array.dtype.kind == "f" else array.astype(np.int64)
    else:
        times = np.array([_nanoseconds(line, log_id, name) for line in _lines(content, log_id, name)], dtype=np.int64)
    _require(len(times) == sweeps, f"{name} has {len(times)} times for {sweeps} sweeps", log_id)
    require_increasing(times, log_id, name, REMEDY)
    return times


def read_poses(content: bytes, log_id: str, name: str, sweeps: int) -> NDArray[np.float64]:
    """Poses `city_SE3_ego`  # (T, 4, 4); the first 12 or all 16 numbers of each matrix, row by row, in text.

    Raises:
        InputError: another count than sweeps, a wrong shape, single precision, or a row that is no rigid transform.
    """
    if name.endswith(".npy"):
        array = _load(content, log_id, name)
        _require(
            array.dtype == np.float64,
            f"{name} is of type {array.dtype}, wanted float64 (float32 loses half a millimetre at 5 km)",
            log_id,
        )
        return require_transforms(array, sweeps, log_id, name, REMEDY)
    rows = [line.split() for line in _lines(content, log_id, name)]
    even = {len(row) for row in rows} in ({12}, {16})
    _require(even, f"{name} has not 12 or 16 numbers in every row", log_id)
    try:
        matrices = np.array(rows, dtype=np.float64).reshape(len(rows), -1, 4)
    except ValueError as error:
        raise InputError(f"log {log_id}: {name} holds something that is no number ({error}); {REMEDY}") from error
    return require_transforms(matrices, sweeps, log_id, name, REMEDY)


def read_mounts(content: bytes, log_id: str, name: str) -> dict[str, NDArray[np.float64]]:
    """Mounts `ego_SE3_lidar` (4, 4): of `up_lidar`, and of `down_lidar` or the same again where there is one lidar.

    Raises:
        InputError: other names, a wrong shape, or no rigid transform.
    """
    try:
        values = json.loads(content)
        mounts = {lidar: np.array(mount, dtype=np.float64) for lidar, mount in values.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"log {log_id}: {name} holds no 4 x 4 matrix for each lidar; {REMEDY}") from error
    known = "up_lidar" in mounts and set(mounts) <= set(LIDARS)
    _require(known, f"{name} names {', '.join(mounts) or 'no lidar'}, wanted up_lidar, and down_lidar if any", log_id)
    for lidar, mount in mounts.items():
        mounts[lidar] = require_transforms(mount[None], 1, log_id, f"{name}, {lidar},", REMEDY)[0]
    return {lidar: mounts.get(lidar, mounts["up_lidar"]) for lidar in LIDARS}


def _load(content: bytes, log_id: str, name: str) -> NDArray[Any]:
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"log {log_id}: {name} cannot be read as a NumPy array; {REMEDY}") from error
    _require(isinstance(array, np.ndarray), f"{name} holds several arrays", log_id)
    return np.asarray(array)


def _lines(content: bytes, log_id: str, name: str) -> list[str]:
    try:
        lines = [line.strip() for line in content.decode().splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"log {log_id}: {name} is no text; {REMEDY}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _nanoseconds(line: str, log_id: str, name: str) -> int:
    try:
        value = Decimal(line)
        seconds = "." in line or "e" in line.lower()
        return int((value * 10**9 if seconds else value).to_integral_value())
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise InputError(f"log {log_id}: {name} has {line!r}, which is no time; {REMEDY}") from error


def _require(fine: bool, fault: str, log_id: str) -> None:
    if not fine:
        raise InputError(f"log {log_id}: {fault}; {REMEDY}")
