# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which lidar a point came from, and where that lidar stood."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogFrames

# AV2 numbers the lasers of its two stacked lidars through: 0 to 31 the upper, 32 to 63 the lower.
_LASERS = {"up_lidar": range(0, 32), "down_lidar": range(32, 256)}


def points_by_lidar(frames: LogFrames, frame: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Origin of each lidar in the ego frame, metres (3,), and the rows (K,) of its points within the sweep.

    Lidars in one place are taken together: to a ray caster they are one sensor.
    """
    lasers = frames.column("laser_number")[frames.span(frame)]
    groups: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []
    for name, numbers in _LASERS.items():
        mask = (lasers >= numbers.start) & (lasers < numbers.stop)
        origin = frames.ego_SE3_lidar[name][:3, 3]
        if groups and np.array_equal(groups[0][0], origin):
            groups[0] = (origin, groups[0][1] | mask)
        else:
            groups.append((origin, mask))
    for origin, mask in groups:
        yield origin, np.flatnonzero(mask)


def lidar_range(frames: LogFrames, frame: int) -> NDArray[np.float64]:
    """Distance of each point of a sweep to the lidar that measured it, metres -> (N,)."""
    points = frames.xyz(frame).astype(np.float64)
    distance = np.zeros(len(points))
    for origin, rows in points_by_lidar(frames, frame):
        distance[rows] = np.linalg.norm(points[rows] - origin, axis=1)
    return distance
