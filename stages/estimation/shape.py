# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a cloud looks like as a whole: how far it reaches along each axis, and where its ground lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.estimation.registration import thinned

_NEAR = (2.5, 15.0)  # m from the origin in the plane: the road around the vehicle, not the vehicle
_LAYER = 0.2  # m
_WIDE = 0.4  # of the cells of the widest layer: the lowest layer with so many is the road
_CLEAR = 0.6  # m from the widest layer: no more part of it


@dataclass(frozen=True)
class Shape:
    """Extent and ground of a cloud.

    Attributes:
        centre: median point, in the cloud's unit  # (3,)
        spread: from the 5th to the 95th percentile of each axis  # (3,)
        reach: distance from the centre that 99 % of the points keep to.
        ground: height z of the lowest wide layer around the vehicle; NaN without points there.
        above, below: cells of space taken clear above and below the widest layer.
    """

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    reach: float
    ground: float
    above: int
    below: int


def shape(points: NDArray[np.floating]) -> Shape:
    """Shape of finite points (N, 3), N at least 1."""
    values = np.asarray(points, dtype=np.float64)
    low, middle, high = np.percentile(values, (5, 50, 95), axis=0)
    reach = float(np.percentile(np.linalg.norm(values - middle, axis=1), 99))
    around = near(values)
    if not len(around):
        return Shape(middle, high - low, reach, float("nan"), 0, 0)
    layers = _layers(around)
    counts = np.bincount(layers - layers.min())
    widest = int(np.argmax(counts)) + layers.min()
    lowest = int(np.flatnonzero(counts >= _WIDE * counts.max())[0]) + layers.min()
    inside = around[np.abs(around[:, 2] - (lowest + 0.5) * _LAYER) <= _LAYER, 2]
    clear = (layers - widest) * _LAYER
    return Shape(
        centre=middle,
        spread=high - low,
        reach=reach,
        ground=float(np.median(inside)),
        above=int((clear > _CLEAR).sum()),
        below=int((clear < -_CLEAR).sum()),
    )


def near(points: NDArray[np.float64], farthest: float = _NEAR[1]) -> NDArray[np.float64]:
    """Those of the points (N, 3) that lie around the vehicle, up to `farthest` m away, where there is road."""
    radius = np.hypot(points[:, 0], points[:, 1])
    return points[(radius >= _NEAR[0]) & (radius < farthest) & (np.abs(points[:, 2]) < 100)]


def _layers(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Layer of one point of each cell of 1 m by 1 m by one layer, so that near points, which are many, say no more."""
    return np.floor(thinned(points * (1.0, 1.0, 1.0 / _LAYER), 1.0)[:, 2]).astype(np.int64)
