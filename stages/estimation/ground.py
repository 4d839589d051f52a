# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground of sweeps without a map, by Patchwork++."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.estimation.cloud import Cloud
from stages.estimation.frame import AXLE_HEIGHT, SENSOR_HEIGHT, Frame
from stages.labels.patchwork import PatchworkParameters, patchwork

# The pipeline's default values: what the section `ground` of params.yaml says where there is no map.
PATCHWORK = PatchworkParameters(
    axle_height=AXLE_HEIGHT,
    min_range=2.0,
    max_range=80.0,
    seed_distance=0.125,
    ground_distance=0.125,
    uprightness=0.707,
)


def ground_method(frame: Frame) -> Callable[[Cloud], NDArray[np.bool_]]:
    """A function from a sweep to its ground mask (N,); give it the sweeps of one drive in order, it adapts to them."""
    if frame.ground_removed:
        return lambda cloud: np.zeros(len(cloud.xyz), dtype=np.bool_)
    segment = patchwork(PATCHWORK, lidar_height=SENSOR_HEIGHT - AXLE_HEIGHT)

    def ground(cloud: Cloud) -> NDArray[np.bool_]:
        mask = np.zeros(len(cloud.xyz), dtype=np.bool_)
        rows = np.flatnonzero(cloud.valid)
        mask[rows] = segment(frame.to_sensor(cloud.xyz[rows].astype(np.float64)))
        return mask

    return ground
