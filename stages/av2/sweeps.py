# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One lidar sweep as Argoverse 2 stores it."""

import numpy as np

from stages.sources.adapter import Sweep, narrow
from stages.sources.tables import read_feather, require_finite

_FLOATS = ("halffloat", "float", "double")
_COLUMNS = {
    "x": _FLOATS,
    "y": _FLOATS,
    "z": _FLOATS,
    "intensity": ("uint8",),
    "laser_number": ("uint8",),
    "offset_ns": ("int32",),
}


def read_sweep(content: bytes, log_id: str, name: str) -> Sweep:
    """Parse a sweep; InputError names the log and file if it is damaged or holds non-finite points."""
    table = read_feather(content, log_id, name, _COLUMNS)
    xyz = np.stack([table[axis].to_numpy() for axis in "xyz"], axis=-1).reshape(-1, 3)
    stored = narrow(xyz)
    require_finite(stored, log_id, name, "points")  # checked as stored: a double may overflow
    return Sweep(
        xyz=stored,
        intensity=table["intensity"].to_numpy(),
        laser_number=table["laser_number"].to_numpy(),
        offset_ns=table["offset_ns"].to_numpy(),
    )
