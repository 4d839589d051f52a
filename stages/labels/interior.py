# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which points of a sweep lie inside a box, without testing every point against every box."""

import numpy as np
from numpy.typing import NDArray


class PointsByColumn:
    """Points sorted into columns of x, a metre wide, so that a box looks only at the columns it touches.

    Args:
        points: points in the frame of the boxes, metres, finite  # (N, 3)
    """

    def __init__(self, points: NDArray[np.floating]) -> None:
        # int16 sorts by radix; what lies beyond its range is farther than any box.
        column = np.clip(np.floor(points[:, 0]), -32000, 32000).astype(np.int16)  # (N,)
        self._order = np.argsort(column, kind="stable")  # (N,)
        self._column = column[self._order]
        self._points = points[self._order]

    def inside(self, frame_SE3_box: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows of the points inside a box, its faces included.

        Args:
            frame_SE3_box: pose of the box centre  # (4, 4)
            size: length, width, height, metres  # (3,)

        Returns:
            rows of the points given at construction  # (K,)
        """
        rotation, centre = frame_SE3_box[:3, :3], frame_SE3_box[:3, 3]
        reach = np.abs(rotation) @ (size / 2) + 1e-6  # (3,) half of the bounding box, rounding allowed for
        columns = np.floor([centre[0] - reach[0], centre[0] + reach[0]])
        start = np.searchsorted(self._column, columns[0], side="left")
        stop = np.searchsorted(self._column, columns[1], side="right")
        near = np.abs(self._points[start:stop, 1].astype(np.float64) - centre[1]) <= reach[1]
        rows = start + np.flatnonzero(near)
        local = (self._points[rows].astype(np.float64) - centre) @ rotation  # (K, 3) box axes
        inside: NDArray[np.int64] = self._order[rows[(np.abs(local) <= size / 2).all(axis=1)]]
        return inside
