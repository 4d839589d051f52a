# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Poses in a table (.csv, .feather, .parquet), by the names of its columns."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.estimation.pose_rows import Rows, from_quaternions
from stages.estimation.tables import numbers, read_table

_POSITIONS = (("tx_m", "ty_m", "tz_m"), ("tx", "ty", "tz"), ("x", "y", "z"))  # Argoverse 2's names, and usual ones
_QUATERNION = ("qw", "qx", "qy", "qz")
_TIMES = ("timestamp_ns", "timestamp", "time")
_LATEST_S = 2**63 / 1e9  # what fits into whole ns
_EARLIEST_NS = 10**17  # whole numbers beyond are ns: 1973 and later


def read_pose_table(path: Path) -> Rows:
    """Columns qw qx qy qz and tx_m ty_m tz_m (or tx ty tz, or x y z); the time in timestamp_ns, or timestamp (s)."""
    table = read_table(path)
    positions = next((names for names in _POSITIONS if set(names) <= set(table.column_names)), None)
    missing = [name for name in _QUATERNION if name not in table.column_names]
    if positions is None or missing:
        raise InputError(
            f"{path} has no column {missing[0] if missing else _POSITIONS[0][0]} "
            f"(it has {', '.join(table.column_names[:12])}); poses need qw qx qy qz and tx_m ty_m tz_m"
        )

    def stacked(names: Iterable[str]) -> NDArray[Any]:
        return np.stack([numbers(table, name, path) for name in names], axis=1)

    time = next((name for name in _TIMES if name in table.column_names), None)
    time_ns = None if time is None else _nanoseconds(path, numbers(table, time, path))
    return from_quaternions(path, stacked(_QUATERNION), stacked(positions), time_ns)


def _nanoseconds(path: Path, time: NDArray[Any]) -> NDArray[np.int64]:
    if time.dtype.kind in "iu" and len(time) and abs(int(time[0])) > _EARLIEST_NS:
        return time.astype(np.int64)
    bad = np.flatnonzero(~(np.abs(time) < _LATEST_S))
    if len(bad):
        raise InputError(f"{path} has in row {bad[0] + 1} the time {time[bad[0]]}, which is none in seconds since 1970")
    return np.round(time.astype(np.float64) * 1e9).astype(np.int64)
