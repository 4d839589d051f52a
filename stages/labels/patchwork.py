# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground by Patchwork++ (Lee et al., IROS 2022), for logs without a map."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.labels.silence import silenced


@dataclass(frozen=True)
class PatchworkParameters:
    """Knobs of Patchwork++.

    Attributes:
        axle_height: height of the ego frame's origin (the rear axle) over the road, metres; added to the
            lidar's mount it gives the sensor height that the method is built on.
        min_range: points nearer to the sensor, in the plane, are never ground, metres.
        max_range: points farther from the sensor, in the plane, are never ground, metres.
        seed_distance: a patch's seeds lie at most this far above its lowest points, metres.
        ground_distance: points at most this far above a patch's plane are ground, metres.
        uprightness: least z component of a ground patch's unit normal.
    """

    axle_height: float
    min_range: float
    max_range: float
    seed_distance: float
    ground_distance: float
    uprightness: float

    def __post_init__(self) -> None:
        if not 0 <= self.min_range < self.max_range:
            raise ValueError(f"min_range must lie between 0 and max_range ({self.max_range}), not {self.min_range}")
        for name in ("seed_distance", "ground_distance"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 < self.uprightness < 1:
            raise ValueError(f"uprightness must lie between 0 and 1, not {self.uprightness}")


def patchwork(
    parameters: PatchworkParameters, lidar_height: float
) -> Callable[[NDArray[np.floating]], NDArray[np.bool_]]:
    """Ground segmentation of the sweeps of one log.

    The method adapts its thresholds from sweep to sweep: make a new one for each log, and give it the sweeps
    in order.

    Args:
        parameters: the knobs.
        lidar_height: height of the sensor over the ego frame's origin, metres.

    Returns:
        a function from points in the sensor's frame, metres (N, 3), to the ground mask (N,).
    """
    import pypatchworkpp

    knobs = pypatchworkpp.Parameters()
    knobs.verbose = False
    knobs.sensor_height = lidar_height + parameters.axle_height
    knobs.min_range, knobs.max_range = parameters.min_range, parameters.max_range
    knobs.th_seeds, knobs.th_dist = parameters.seed_distance, parameters.ground_distance
    knobs.uprightness_thr = parameters.uprightness
    # Removal of mirror points reads reflectivity on the scale of one sensor model.
    knobs.enable_RNR = False
    with silenced():
        method = pypatchworkpp.patchworkpp(knobs)

    def ground(points: NDArray[np.floating]) -> NDArray[np.bool_]:
        mask = np.zeros(len(points), dtype=np.bool_)
        if len(points):
            with silenced():
                method.estimateGround(np.ascontiguousarray(points, dtype=np.float32))
                rows = np.asarray(method.getGroundIndices()).reshape(-1)
            mask[rows] = True
        return mask

    return ground
