# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Vehicle poses and sensor mounts of a log."""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import make_SE3, quaternion_to_rotation
from stages.av2.layout import CALIBRATION, POSES
from stages.sources.adapter import LIDARS
from stages.sources.tables import REFETCH, read_feather, require_finite, require_unit_quaternions, stack

_QUATERNION = ("qw", "qx", "qy", "qz")
_TRANSLATION = ("tx_m", "ty_m", "tz_m")
_DOUBLES = {name: ("double",) for name in (*_QUATERNION, *_TRANSLATION)}


def read_poses(content: bytes, log_id: str, timestamps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Poses `city_SE3_ego` at exactly the given timestamps.

    Args:
        content: bytes of the poses file.
        log_id: log that it belongs to.
        timestamps: (T,) sweep times in ns.

    Returns:
        (T, 4, 4) float64.

    Raises:
        InputError: if the file is damaged, its timestamps do not increase, or a sweep has no pose.
    """
    table = read_feather(content, log_id, POSES, {"timestamp_ns": ("int64",), **_DOUBLES})
    times = table["timestamp_ns"].to_numpy()
    _require_increasing(times, log_id)
    row = np.searchsorted(times, timestamps)
    present = np.append(times, -1)[row] == timestamps
    if not present.all():
        missing = timestamps[~present]
        raise InputError(
            f"log {log_id}: {POSES} has no pose at sweep {missing[0]} ({len(missing)} sweeps without); {REFETCH}"
        )
    return _transforms(stack(table, _QUATERNION)[row], stack(table, _TRANSLATION)[row], log_id, POSES)


def read_mounts(content: bytes, log_id: str) -> dict[str, NDArray[np.float64]]:
    """Mounts `ego_SE3_lidar` (4, 4) float64 of both lidars by name; InputError if one is not listed."""
    table = read_feather(content, log_id, CALIBRATION, {"sensor_name": ("string", "large_string"), **_DOUBLES})
    names = table["sensor_name"].to_pylist()
    for lidar in LIDARS:
        if names.count(lidar) != 1:
            raise InputError(
                f"log {log_id}: {CALIBRATION} lists {lidar} {names.count(lidar)} times, not once; {REFETCH}"
            )
    rows = [names.index(lidar) for lidar in LIDARS]
    mounts = _transforms(stack(table, _QUATERNION)[rows], stack(table, _TRANSLATION)[rows], log_id, CALIBRATION)
    return dict(zip(LIDARS, mounts, strict=True))


def _transforms(
    wxyz: NDArray[np.float64], translation: NDArray[np.float64], log_id: str, name: str
) -> NDArray[np.float64]:
    require_finite(np.concatenate([wxyz, translation], axis=1), log_id, name, "poses")
    require_unit_quaternions(wxyz, log_id, name)
    return make_SE3(quaternion_to_rotation(wxyz), translation)


def _require_increasing(times: NDArray[np.int64], log_id: str) -> None:
    bad = np.flatnonzero(np.diff(times) <= 0)
    if len(bad):
        kind = "twice" if times[bad[0]] == times[bad[0] + 1] else "out of order"
        raise InputError(
            f"log {log_id}: {POSES} has timestamp {times[bad[0] + 1]} {kind} (row {bad[0] + 1}); {REFETCH}"
        )
