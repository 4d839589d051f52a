# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground by the map: a point is ground when it lies under, or just above, the height raster of its log."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

# The two published rules: AV2's own labels and leaderboard v1, and the evaluation of leaderboard v2.
V1_BAND = 0.3  # m above the raster that still counts as ground; cell by truncation
V2_BAND = 0.4  # m above the raster that still counts as ground; cell by rounding, halves to even

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class GroundRaster:
    """Ground heights of a log's surroundings.

    Attributes:
        height: heights in the city frame, metres, NaN where unknown; row is y, column is x  # (H, W)
        array_R_city: rotation from city to raster axes  # (2, 2)
        array_t_city: shift in raster axes before scaling, metres  # (2,)
        array_s_city: cells a metre.
    """

    height: NDArray[np.floating]
    array_R_city: NDArray[np.float64]
    array_t_city: NDArray[np.float64]
    array_s_city: float


def read_raster(path: Path) -> GroundRaster:
    """Read a log's map file (schema map/1)."""
    import h5py

    with h5py.File(path, "r") as file:
        if file.attrs.get("schema") != "map/1":
            raise InputError(f"{path} is not a map file of schema map/1: run the ingest stage again.")
        return GroundRaster(
            height=file["height"][()],
            array_R_city=file["array_R_city"][()],
            array_t_city=file["array_t_city"][()],
            array_s_city=float(file.attrs["array_s_city"]),
        )


def height_above(raster: GroundRaster, points: NDArray[np.float64], rounded: bool) -> NDArray[np.float64]:
    """Height of city points over the raster cell that holds them.

    Args:
        raster: the log's ground heights.
        points: points in the city frame, metres  # (N, 3)
        rounded: take the nearest cell (halves to even) instead of cutting the fraction off toward zero.

    Returns:
        metres, NaN outside the raster and where its height is unknown  # (N,)
    """
    cells = raster.array_s_city * (points[:, :2] @ raster.array_R_city.T + raster.array_t_city)  # (N, 2)
    cells = np.rint(cells) if rounded else np.trunc(cells)
    rows, columns = raster.height.shape
    x, y = cells[:, 0], cells[:, 1]
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    above = np.full(len(points), np.nan)
    ground = raster.height[y[inside].astype(np.int64), x[inside].astype(np.int64)].astype(np.float64)
    above[inside] = points[inside, 2] - ground
    return above


def raster_ground(raster: GroundRaster, points: NDArray[np.float64]) -> tuple[Mask, Mask]:
    """Ground masks of city points (N, 3) by both published rules, v1 and v2 -> (N,), (N,)."""
    # NaN compares false: what has no known ground under it is not ground.
    v1 = height_above(raster, points, rounded=False) <= V1_BAND
    v2 = height_above(raster, points, rounded=True) <= V2_BAND
    return v1, v2
