# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""OpenSceneFlow's scenes: one HDF5 group a sweep, named by its time, and in it these fields.

Points are in the frame of the upper lidar; poses, ego motion and flow are of the ego frame. What the layout has no
field for lies beside its fields in columns of one axis and in attributes, which its readers, going by name, pass over.
"""

from typing import Any

import numpy as np

# Fields with a row for each point: what follows the points' axis, and type.
POINT_FIELDS: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "lidar": ((3,), np.float32),
    "ground_mask": ((), np.bool_),
    "lidar_id": ((), np.uint8),
    "lidar_dt": ((), np.float32),
    "flow": ((3,), np.float32),
    "flow_is_valid": ((), np.bool_),
    "flow_category_indices": ((), np.uint8),
    "flow_instance_id": ((), np.int16),
    "eval_mask": ((1,), np.bool_),
    "dufo": ((), np.uint8),
    "dufocluster": ((), np.int16),
}
# Fields of a whole sweep: single-precision transforms.
SWEEP_FIELDS = {"pose": (4, 4), "ego_motion": (4, 4)}
# Fields of other labels than this project makes: never written, and passed over.
NOT_WRITTEN = ("cluster", "nnd")

EGO_XYZ = "ego_xyz"  # records x, y, z in the ego frame, in the stored type
OWN_COLUMNS: dict[str, type[np.generic]] = {"intensity": np.uint8, "laser_number": np.uint8, "offset_ns": np.int32}
OWN_GROUND = ("ground_v1", "ground_v2")
OWN_LABEL = "label"
ATTRIBUTE = "sceneflow"  # of the file: JSON of what made each of our files
POSE_ATTRIBUTE, PAIR_ATTRIBUTE = "city_SE3_ego", "pair_next"  # of a sweep
LOWER_LASER = 32  # from this laser number on points are of the lower lidar


def records(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Points (N, 3) as records x, y, z of one axis (N,), which no reader takes for a result."""
    kind = np.dtype([(axis, points.dtype) for axis in "xyz"])
    return np.ascontiguousarray(points).view(kind).reshape(-1)


def unrecorded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The inverse of `records`."""
    points: np.ndarray[Any, Any] = values.view(values.dtype["x"]).reshape(-1, 3)
    return points
