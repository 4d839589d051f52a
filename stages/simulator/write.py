# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Feather files of a log in Argoverse 2's layout: names, columns and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.simulator.boxes import rotation_to_quaternion
from stages.simulator.lidar import MOUNTS
from stages.simulator.sweep import Sweep

POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


def write_table(path: Path, columns: Mapping[str, NDArray[Any] | Sequence[str]]) -> None:
    """Write columns as a Feather file; the same columns give the same bytes."""
    import pyarrow as pa
    import pyarrow.feather

    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [
        pa.array(c if isinstance(c, np.ndarray) else list(c), None if isinstance(c, np.ndarray) else pa.string())
        for c in columns.values()
    ]
    table = pa.Table.from_arrays(arrays, names=list(columns))
    pyarrow.feather.write_feather(table, str(path), compression="lz4")


def write_sweep(folder: Path, timestamp_ns: int, sweep: Sweep) -> None:
    """Write `sensors/lidar/<timestamp_ns>.feather` of a log."""
    write_table(
        folder / "sensors" / "lidar" / f"{timestamp_ns}.feather",
        {
            "x": np.ascontiguousarray(sweep.xyz[:, 0]),
            "y": np.ascontiguousarray(sweep.xyz[:, 1]),
            "z": np.ascontiguousarray(sweep.xyz[:, 2]),
            "intensity": sweep.intensity,
            "laser_number": sweep.laser_number,
            "offset_ns": sweep.offset_ns,
        },
    )


def pose_columns(dst_SE3_src: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The pose columns of transforms (N, 4, 4), quaternions to 1e-9 and places to a micrometre.

    The last bits of sines and products differ between kinds of processor; rounded, the bytes are the same.
    """
    quaternion = np.round(rotation_to_quaternion(dst_SE3_src[:, :3, :3]), 9)
    values = np.concatenate([quaternion, np.round(dst_SE3_src[:, :3, 3], 6)], axis=1)
    return {name: np.ascontiguousarray(column) for name, column in zip(POSE, values.T, strict=True)}


def write_poses(folder: Path, timestamp_ns: NDArray[np.int64], city_SE3_ego: NDArray[np.float64]) -> None:
    """Write `city_SE3_egovehicle.feather`: times (K,), poses (K, 4, 4)."""
    write_table(folder / "city_SE3_egovehicle.feather", {"timestamp_ns": timestamp_ns, **pose_columns(city_SE3_ego)})


def write_calibration(folder: Path) -> None:
    """Write the lidars' mounts and an empty table of cameras."""
    poses = np.array(list(MOUNTS.values()))
    columns = {name: np.ascontiguousarray(column) for name, column in zip(POSE, poses.T, strict=True)}
    write_table(folder / "calibration" / "egovehicle_SE3_sensor.feather", {"sensor_name": list(MOUNTS), **columns})
    real = ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3")
    write_table(
        folder / "calibration" / "intrinsics.feather",
        {
            "sensor_name": [],
            **{name: np.empty(0) for name in real},
            **{name: np.empty(0, dtype=np.uint16) for name in ("height_px", "width_px")},
        },
    )
