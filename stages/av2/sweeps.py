# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One lidar sweep as Argoverse 2 stores it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.av2.tables import read_table, require_finite

_FLOATS = ("halffloat", "float", "double")
_COLUMNS = {
    "x": _FLOATS,
    "y": _FLOATS,
    "z": _FLOATS,
    "intensity": ("uint8",),
    "laser_number": ("uint8",),
    "offset_ns": ("int32",),
}


@dataclass(frozen=True)
class Sweep:
    """Points of one sweep, motion-compensated, in the ego frame at the sweep's timestamp.

    Attributes:
        xyz: (N, 3) metres, float16 where that loses nothing, else float32.
        intensity: (N,) uint8.
        laser_number: (N,) uint8; below 32 the upper lidar, from 32 on the lower one.
        offset_ns: (N,) int32, time of the point after the start of the sweep.
    """

    xyz: NDArray[np.floating]
    intensity: NDArray[np.uint8]
    laser_number: NDArray[np.uint8]
    offset_ns: NDArray[np.int32]


def read_sweep(content: bytes, log_id: str, name: str) -> Sweep:
    """Parse a sweep; InputError names the log and file if it is damaged or holds non-finite points."""
    table = read_table(content, log_id, name, _COLUMNS)
    xyz = np.stack([table[axis].to_numpy() for axis in "xyz"], axis=-1).reshape(-1, 3)
    narrow = _narrow(xyz)
    require_finite(narrow, log_id, name, "points")  # checked as stored: a double may overflow
    return Sweep(
        xyz=narrow,
        intensity=table["intensity"].to_numpy(),
        laser_number=table["laser_number"].to_numpy(),
        offset_ns=table["offset_ns"].to_numpy(),
    )


def _narrow(xyz: NDArray[np.floating]) -> NDArray[np.floating]:
    """The smallest type that keeps every coordinate: AV2's are float16, other sources' often are not."""
    with np.errstate(over="ignore"):
        half = xyz.astype(np.float16)
        single = xyz.astype(np.float32)
    return half if np.array_equal(half.astype(xyz.dtype), xyz) else single
