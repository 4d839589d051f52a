# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The frame that the points are in, and the one that the network and the ground method want."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AXLE_HEIGHT = 0.33  # m, the network's frame: Argoverse 2's, origin at the rear axle, this high over the road
SENSOR_HEIGHT = 1.97  # m, of Argoverse 2's upper lidar over the road: what Patchwork++ is told


@dataclass(frozen=True)
class Frame:
    """Where the origin of the points lies; their axes are x forward, y left, z up.

    Attributes:
        height: of the origin over the road, m.
        ground_removed: the clouds hold no ground.
    """

    height: float = AXLE_HEIGHT
    ground_removed: bool = False

    def to_network(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) shifted upright into the network's frame; a shift along x changes nothing that it learned."""
        return points + (0.0, 0.0, self.height - AXLE_HEIGHT)

    def to_sensor(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) shifted upright to a lidar at the height that Patchwork++ is told of."""
        return points + (0.0, 0.0, self.height - SENSOR_HEIGHT)
